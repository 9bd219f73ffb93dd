package auth0

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/directory"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

const (
	// factorName is that of the authenticators that a load has enrolled.
	factorName = "SuperTokens"
	// importTime is how long after its account an authenticator may appear that an import
	// has brought: it has no name, and nobody can sign in before.
	importTime = time.Minute
)

// factors enrols authenticators and takes them away. It is there for whoever is in the
// tenant: an import has them in its file.
type factors struct {
	client *tenant.Client
}

type factor struct {
	ID        string      `json:"id"`
	Type      string      `json:"type"`
	Name      string      `json:"name"`
	LinkID    string      `json:"link_id"`
	CreatedAt tenant.Time `json:"created_at"`
}

// ours tells an authenticator that a load has brought from one of the person's own. What
// is linked goes together with others.
func (f *factor) ours(a *directory.Account) bool {
	imported := f.Name == "" && !f.CreatedAt.IsZero() && f.CreatedAt.Sub(a.CreatedAt.Time).Abs() < importTime
	return f.LinkID == "" && (f.Name == factorName || imported)
}

func (s *factors) list(ctx context.Context, user string) ([]factor, error) {
	all, err := tenant.Pages[factor](ctx, s.client, "users", user, "authentication-methods")
	return slices.DeleteFunc(all, func(f factor) bool { return f.Type != "totp" }), err
}

// enrol adds an authenticator. It returns its id.
func (s *factors) enrol(ctx context.Context, user, seed string) (string, error) {
	var made factor
	err := s.client.Create(ctx, http.MethodPost, s.client.URI("users", user, "authentication-methods"),
		map[string]any{"type": "totp", "name": factorName, "totp_secret": seed}, &made)
	return made.ID, err
}

// replace brings the authenticator of an account up to date; no seed says that there is
// none any more. What the tenant shows afterwards counts. A person who has one of their
// own keeps that and gets no second one.
func (s *factors) replace(ctx context.Context, a *directory.Account, seed string) *sdk.PartLoss {
	held, err := s.list(ctx, a.UserID)
	if err != nil {
		return factorLoss(err, "authenticators cannot be read")
	}
	own := false
	var gone []string
	for i := range held {
		if !held[i].ours(a) {
			own = true
			continue
		}
		err := s.client.Call(ctx, http.MethodDelete, s.client.URI("users", a.UserID, "authentication-methods", held[i].ID), nil, nil)
		if err != nil && tenant.Status(err) != http.StatusNotFound {
			return factorLoss(err, "the old authenticator cannot be removed")
		}
		gone = append(gone, held[i].ID)
	}
	made := ""
	switch {
	case seed != "" && own:
		return &sdk.PartLoss{Feature: sdk.CarriesTOTP, Code: sdk.CodePartKept, Detail: "the person has enrolled an authenticator in the tenant"}
	case seed != "":
		if made, err = s.enrol(ctx, a.UserID, seed); err != nil {
			return factorLoss(err, "the authenticator cannot be enrolled")
		}
	}
	now, err := s.list(ctx, a.UserID)
	switch {
	case err != nil:
		return factorLoss(err, "authenticators cannot be read back")
	case slices.ContainsFunc(now, func(f factor) bool { return slices.Contains(gone, f.ID) }):
		return factorLoss(nil, "the tenant still shows the old authenticator after it was removed")
	case made != "" && !slices.ContainsFunc(now, func(f factor) bool { return f.ID == made }):
		return factorLoss(nil, "the tenant does not show the authenticator after it was enrolled")
	}
	return nil
}

func factorLoss(err error, what string) *sdk.PartLoss {
	l := &sdk.PartLoss{Feature: sdk.CarriesTOTP, Code: sdk.CodePartFailed, Detail: what}
	if err != nil {
		l.Detail += ": " + err.Error()
	}
	if tenant.Refused(err) && tenant.Status(err) != http.StatusNotFound {
		l.Code = sdk.CodePartRefused
	}
	return l
}

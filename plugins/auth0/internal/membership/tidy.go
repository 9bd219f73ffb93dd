package membership

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Janitor removes what loads have made, after an undo.
type Janitor struct {
	mu            sync.Mutex
	organizations map[string]bool // of accounts that were taken back; nil when none were
	left          []string        // what stays, and why
}

// Note says which organizations an account was in that has been taken back.
func (j *Janitor) Note(organizations []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.organizations == nil {
		j.organizations = map[string]bool{}
	}
	for _, name := range organizations {
		j.organizations[name] = true
	}
}

// Tidy removes the roles that loads have made and the organizations that they have made
// for the accounts that were taken back, as long as nobody else uses them, and names those
// that it has to leave.
func (j *Janitor) Tidy(ctx context.Context, b *Book) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.organizations == nil {
		return nil
	}
	for name := range j.organizations {
		if !b.allowed.Organizations {
			break
		}
		if err := j.organization(ctx, b, name); err != nil {
			return fmt.Errorf("tidy up the organization %s: %w", name, err)
		}
	}
	if b.allowed.Roles {
		if err := j.roles(ctx, b); err != nil {
			return err
		}
	}
	if len(j.left) > 0 {
		b.log.Warn("what runs have made and others use stays; delete it by hand if it should go", "left", j.left)
	}
	return nil
}

func (j *Janitor) roles(ctx context.Context, b *Book) error {
	all, err := tenant.Pages[named](ctx, b.client, "roles")
	if err != nil {
		return fmt.Errorf("tidy up roles: %w", err)
	}
	for _, r := range all {
		if r.Description == MadeBy {
			if err := j.role(ctx, b, r); err != nil {
				return fmt.Errorf("tidy up the role %s: %w", r.Name, err)
			}
		}
	}
	return nil
}

func (j *Janitor) organization(ctx context.Context, b *Book, name string) error {
	var o struct {
		ID       string            `json:"id"`
		Metadata map[string]string `json:"metadata"`
	}
	err := b.client.Get(ctx, &o, nil, "organizations", "name", name)
	if tenant.Hidden(err) || err == nil && o.Metadata[MadeByKey] != MadeBy {
		return nil
	}
	if err != nil {
		return err
	}
	why, err := inUse(ctx, b, "organizations", o.ID, "members")
	if why == "" && err == nil {
		var enabled []enabledConnection
		enabled, err = tenant.Pages[enabledConnection](ctx, b.client, "organizations", o.ID, "enabled_connections")
		if slices.ContainsFunc(enabled, func(c enabledConnection) bool { return c.ID != b.names.connection }) {
			why = "it has other connections"
		}
	}
	return j.discard(ctx, b, "organization", name, why, err, "organizations", o.ID)
}

// role leaves roles alone while there are organizations, since nobody can list who has a
// role inside of them.
func (j *Janitor) role(ctx context.Context, b *Book, r named) error {
	why, err := inUse(ctx, b, "roles", r.ID, "users")
	if why == "" && err == nil {
		why, err = inUse(ctx, b, "roles", r.ID, "permissions")
	}
	if why == "" && err == nil {
		if why, err = inUse(ctx, b, "organizations"); tenant.Status(err) == http.StatusNotFound {
			err = nil // a tenant without that feature
		}
	}
	return j.discard(ctx, b, "role", r.Name, why, err, "roles", r.ID)
}

// discard removes what nothing keeps, or says that it stays.
func (j *Janitor) discard(ctx context.Context, b *Book, kind, name, why string, err error, path ...string) error {
	if why == "" && err == nil {
		err = b.client.Call(ctx, http.MethodDelete, b.client.URI(path...), nil, nil)
	}
	if tenant.Refused(err) || tenant.Hidden(err) {
		why = err.Error()
	}
	if why != "" {
		j.left = append(j.left, fmt.Sprintf("%s %s: %s", kind, name, why))
		return nil
	}
	return err
}

// inUse says what keeps something from being removed: a list that is not empty.
func inUse(ctx context.Context, b *Book, path ...string) (why string, err error) {
	list, _, err := tenant.Listed[struct{}](ctx, b.client, url.Values{"per_page": {"1"}, "page": {"0"}}, path...)
	if len(list) > 0 {
		why = "there are " + path[len(path)-1]
	}
	return why, err
}

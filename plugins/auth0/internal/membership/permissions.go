package membership

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// permission is one of an API, as the tenant has it.
type permission struct {
	API  string `json:"resource_server_identifier"`
	Name string `json:"permission_name"`
}

// withPermissions stands in the description of a role between the mark and a digest of the
// permissions that a load has given it, so that a change by somebody else is seen.
const withPermissions = MadeBy + ", with permissions "

// marked reports whether a load has made a role, and the digest in its description.
func (r *named) marked() (ours bool, digest string) {
	if digest, ours = strings.CutPrefix(r.Description, withPermissions); ours {
		return true, digest
	}
	return r.Description == MadeBy, digestOf(nil)
}

// digestOf is the same in whichever order a tenant lists permissions.
func digestOf(all []permission) string {
	if len(all) == 0 {
		return ""
	}
	var lines []string
	for _, p := range all {
		lines = append(lines, p.API+"\x00"+p.Name)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\x01")))
	return hex.EncodeToString(sum[:8])
}

// asLeft reports whether a load has made the role, and nobody has changed its permissions.
func (r *named) asLeft(held []permission) bool {
	ours, digest := r.marked()
	return ours && digest == digestOf(held)
}

// Permissions are those of one API that roles get.
type Permissions struct {
	client *tenant.Client
	api    string
	wanted map[string][]string // by name of the role
}

// NewPermissions are of an API, by its identifier; wanted are names of permissions by name of
// the role.
func NewPermissions(client *tenant.Client, api string, wanted map[string][]string) *Permissions {
	return &Permissions{client, api, wanted}
}

// Odd is a role that does not get what it has in the source, and why.
type Odd struct{ Role, Why string }

// situation is a role of the tenant beside what it should have.
type situation struct {
	role       named
	held, want []permission
	unknown    []string // wanted, and not of the API
}

// Look says what would differ after a run, and writes nothing.
func (p *Permissions) Look(ctx context.Context) ([]Odd, error) {
	all, err := p.compare(ctx)
	var odd []Odd
	for _, s := range all {
		odd = append(odd, s.odd()...)
	}
	return odd, err
}

// Keep gives roles that loads have made the permissions that they have in the source, and
// takes away what they no longer have there. What somebody has changed stays, and so does
// every role that no load has made.
func (p *Permissions) Keep(ctx context.Context) error {
	all, err := p.compare(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := p.write(ctx, &s); err != nil {
			return fmt.Errorf("give the role %s its permissions: %w", s.role.Name, err)
		}
	}
	return nil
}

// compare reads what the roles have.
func (p *Permissions) compare(ctx context.Context) (all []situation, err error) {
	var api struct {
		Scopes []struct{ Value string }
	}
	if err := p.client.Get(ctx, &api, nil, "resource-servers", p.api); err != nil {
		return nil, fmt.Errorf("read the permissions of the API %s: %w", p.api, err)
	}
	roles, err := tenant.Pages[named](ctx, p.client, "roles")
	if err != nil {
		return nil, fmt.Errorf("list the roles: %w", err)
	}
	there := map[string]named{}
	for _, r := range roles {
		there[r.Name] = r
	}
	for _, name := range slices.Sorted(maps.Keys(p.wanted)) {
		s := situation{role: there[name]}
		s.role.Name = name
		for _, one := range slices.Sorted(slices.Values(p.wanted[name])) {
			if !slices.ContainsFunc(api.Scopes, func(s struct{ Value string }) bool { return s.Value == one }) {
				s.unknown = append(s.unknown, one)
				continue
			}
			s.want = append(s.want, permission{p.api, one})
		}
		if s.role.ID != "" {
			if s.held, err = tenant.Pages[permission](ctx, p.client, "roles", s.role.ID, "permissions"); err != nil {
				return nil, fmt.Errorf("read the permissions of the role %s: %w", name, err)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// free reports whether the role is a load's to change.
func (s *situation) free() bool {
	ours, _ := s.role.marked()
	return ours && (s.role.asLeft(s.held) || digestOf(s.held) == digestOf(s.want))
}

func (s *situation) odd() (all []Odd) {
	ours, _ := s.role.marked()
	same := digestOf(s.held) == digestOf(s.want)
	switch {
	case s.role.ID == "" || same || s.free(): // the run makes it so
	case ours:
		all = append(all, Odd{s.role.Name, "somebody has changed its permissions in the tenant, and it keeps them"})
	default:
		all = append(all, Odd{s.role.Name, "no run has made it, and it keeps the permissions that it has in the tenant"})
	}
	if len(s.unknown) > 0 {
		all = append(all, Odd{s.role.Name, "the API has no permission " + strings.Join(s.unknown, ", ")})
	}
	return all
}

// write brings one role up to date. Its description comes last: whoever is stopped before
// finds a role that has what is wanted, or one that somebody seems to have changed.
func (p *Permissions) write(ctx context.Context, s *situation) error {
	if s.role.ID == "" || !s.free() {
		return nil
	}
	without := func(all, these []permission) (out []permission) {
		for _, one := range all {
			if !slices.Contains(these, one) {
				out = append(out, one)
			}
		}
		return out
	}
	for method, part := range map[string][]permission{http.MethodPost: without(s.want, s.held), http.MethodDelete: without(s.held, s.want)} {
		if len(part) == 0 {
			continue
		}
		if err := p.client.Call(ctx, method, p.client.URI("roles", s.role.ID, "permissions"), map[string]any{"permissions": part}, nil); err != nil {
			return err
		}
	}
	description := MadeBy
	if digest := digestOf(s.want); digest != "" {
		description = withPermissions + digest
	}
	if s.role.Description == description {
		return nil
	}
	return p.client.Call(ctx, http.MethodPatch, p.client.URI("roles", s.role.ID), map[string]any{"description": description}, nil)
}

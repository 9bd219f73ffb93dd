package membership

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Janitor removes the roles and organizations that loads have made and that nobody uses any
// more, piece by piece.
type Janitor struct {
	mu     sync.Mutex
	listed bool
	queue  []leftover
	stays  []string // what stays, and why
}

// leftover is something that carries the mark of a load.
type leftover struct {
	kind, id, name string
	why            func(context.Context, *Book, leftover) (string, error)
}

// Step goes on for a while, from where the last one has stopped, and returns how many
// things it has removed and how many are still to be looked at. In the end it names those
// that others use.
func (j *Janitor) Step(ctx context.Context, b *Book, budget time.Duration) (removed, left int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	end := time.Now().Add(budget)
	if !j.listed {
		if j.queue, err = marked(ctx, b); err != nil {
			return 0, 0, err
		}
		j.listed, j.stays = true, nil
	}
	for len(j.queue) > 0 {
		x := j.queue[0]
		gone, err := j.discard(ctx, b, x)
		if err != nil {
			return removed, len(j.queue), fmt.Errorf("tidy up the %s %s: %w", x.kind, x.name, err)
		}
		if gone {
			removed++
		}
		j.queue = j.queue[1:]
		if time.Now().After(end) {
			break
		}
	}
	if len(j.queue) == 0 {
		j.listed = false // whoever asks again wants another look
		if len(j.stays) > 0 {
			b.log.Warn("what runs have made and others use stays; delete it by hand if it is not wanted", "left", j.stays)
		}
	}
	return removed, len(j.queue), nil
}

// marked lists what carries the mark: organizations first, since roles stay as long as there
// are some.
func marked(ctx context.Context, b *Book) (all []leftover, err error) {
	if b.allowed.Organizations {
		organizations, err := tenant.Pages[struct {
			ID       string            `json:"id"`
			Name     string            `json:"name"`
			Metadata map[string]string `json:"metadata"`
		}](ctx, b.client, "organizations")
		if err != nil && !tenant.Hidden(err) { // a tenant without that feature
			return nil, fmt.Errorf("list the organizations: %w", err)
		}
		for _, o := range organizations {
			if o.Metadata[MadeByKey] == MadeBy {
				all = append(all, leftover{"organization", o.ID, o.Name, keepsOrganization})
			}
		}
	}
	if b.allowed.Roles {
		roles, err := tenant.Pages[named](ctx, b.client, "roles")
		if err != nil {
			return nil, fmt.Errorf("list the roles: %w", err)
		}
		for _, r := range roles {
			if ours, _ := r.marked(); ours {
				all = append(all, leftover{"role", r.ID, r.Name, keepsRole(r)})
			}
		}
	}
	return all, nil
}

func keepsOrganization(ctx context.Context, b *Book, o leftover) (string, error) {
	why, err := inUse(ctx, b, "organizations", o.id, "members")
	if why == "" && err == nil {
		var enabled []enabledConnection
		enabled, err = tenant.Pages[enabledConnection](ctx, b.client, "organizations", o.id, "enabled_connections")
		if slices.ContainsFunc(enabled, func(c enabledConnection) bool { return c.ID != b.names.connection }) {
			why = "it has other connections"
		}
	}
	return why, err
}

// keepsRole leaves roles alone while there are organizations, since nobody can list who has
// a role inside of them.
func keepsRole(role named) func(context.Context, *Book, leftover) (string, error) {
	return func(ctx context.Context, b *Book, r leftover) (string, error) {
		why, err := inUse(ctx, b, "roles", r.id, "users")
		if why == "" && err == nil {
			var held []permission
			held, err = tenant.Pages[permission](ctx, b.client, "roles", r.id, "permissions")
			if err == nil && !role.asLeft(held) {
				why = "there are permissions"
			}
		}
		if why == "" && err == nil {
			if why, err = inUse(ctx, b, "organizations"); tenant.Status(err) == http.StatusNotFound {
				err = nil // a tenant without that feature
			}
		}
		return why, err
	}
}

// discard removes what nothing keeps, or notes that it stays.
func (j *Janitor) discard(ctx context.Context, b *Book, x leftover) (bool, error) {
	why, err := x.why(ctx, b, x)
	if why == "" && err == nil {
		err = b.client.Call(ctx, http.MethodDelete, b.client.URI(x.kind+"s", x.id), nil, nil)
	}
	if tenant.Refused(err) || tenant.Hidden(err) {
		why, err = err.Error(), nil
	}
	if why != "" {
		j.stays = append(j.stays, fmt.Sprintf("%s %s: %s", x.kind, x.name, why))
	}
	return why == "" && err == nil, err
}

// inUse says what keeps something from being removed: a list that is not empty.
func inUse(ctx context.Context, b *Book, path ...string) (why string, err error) {
	list, _, err := tenant.Listed[struct{}](ctx, b.client, url.Values{"per_page": {"1"}, "page": {"0"}}, path...)
	if len(list) > 0 {
		why = "there are " + path[len(path)-1]
	}
	return why, err
}

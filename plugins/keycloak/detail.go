package keycloak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// detail is everything of an account that a load sets, as the server shows it.
// Hashes and secrets cannot be read.
type detail struct {
	account
	Credentials   []heldCredential `json:"heldCredentials"`
	Roles         []role           `json:"heldRoles"`
	Groups        []group          `json:"heldGroups"`
	Links         []link           `json:"heldLinks"`
	Organizations []organization   `json:"heldOrganizations,omitempty"`
}

type heldCredential struct {
	ID          string `json:"id"`
	Type        string `json:"type"`
	UserLabel   string `json:"userLabel"`
	CreatedDate int64  `json:"createdDate"`
	// Data says how a secret is kept, not what it is.
	Data string `json:"credentialData,omitempty"`
}

type role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type group struct {
	ID   string `json:"id"`
	Path string `json:"path"`
}

type link struct {
	Alias    string `json:"identityProvider"`
	UserID   string `json:"userId"`
	UserName string `json:"userName"`
}

// digest is of all that a load sets and a read shows, organizations aside, as the provider
// makes it of an account's rows.
func (d *detail) digest(defaultRole string) string {
	var parts []string
	add := func(kind string, values ...string) {
		part := kind
		for _, value := range values {
			part += " " + strconv.Itoa(len(value)) + ":" + value
		}
		parts = append(parts, part+"\n")
	}
	add("user", d.Username, d.Email, strconv.FormatBool(d.EmailVerified), d.FirstName, d.LastName, strconv.FormatBool(d.Enabled))
	for name, values := range d.Attributes {
		for _, value := range values {
			add("attribute", name, value)
		}
	}
	for _, action := range d.RequiredActions {
		add("action", action)
	}
	for _, c := range d.Credentials {
		add("credential", c.ID, c.Type, c.UserLabel, strconv.FormatInt(c.CreatedDate, 10))
	}
	for _, r := range d.Roles {
		if r.Name != defaultRole {
			add("role", r.Name)
		}
	}
	for _, g := range d.Groups {
		add("group", g.Path)
	}
	for _, l := range d.Links {
		add("link", l.Alias, l.UserID)
	}
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// reader reads accounts whole. It is safe for concurrent use.
type reader struct {
	api         *api
	defaultRole string
	bulk        bool // the server has the endpoints of our provider
	matches     bool // and says which accounts are as expected
	links       bool // the server may show some
	listed      bool // the realm is not too large for lists of members
	tenancy     bool // tenants are organizations

	mu    sync.Mutex
	index *memberIndex // nil until it is worth its price
	asked int          // accounts compared since the last write
}

// one reads an account, nil when the realm has no such id. What is known of it already,
// held and its memberships, is not asked for again.
func (r *reader) one(ctx context.Context, id string, held *account, from *memberIndex) (*detail, error) {
	if held == nil {
		var err error
		if held, err = r.api.userByID(ctx, id); held == nil || err != nil {
			return nil, err
		}
	}
	d := &detail{account: *held}
	type part struct {
		path []string
		into any
	}
	parts := []part{{[]string{"users", id, "credentials"}, &d.Credentials}}
	if from != nil {
		d.Roles, d.Groups = from.roles[id], from.groups[id]
	} else {
		parts = append(parts, part{[]string{"users", id, "role-mappings", "realm"}, &d.Roles}, part{[]string{"users", id, "groups"}, &d.Groups})
	}
	if r.links {
		parts = append(parts, part{[]string{"users", id, "federated-identity"}, &d.Links})
	}
	for _, p := range parts {
		err := r.api.read(ctx, r.api.realmPath(p.path...), url.Values{"max": {"1000"}}, p.into)
		if status(err) == http.StatusNotFound {
			return nil, nil //nolint:nilnil // it has gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read the account %s: %w", id, err)
		}
	}
	return d, r.organizations(ctx, d, from)
}

// organizations fills in what the account is a member of, where that counts.
func (r *reader) organizations(ctx context.Context, d *detail, from *memberIndex) error {
	if !r.tenancy {
		return nil
	}
	if from != nil {
		d.Organizations = from.organizations[d.ID]
		return nil
	}
	path := r.api.realmPath("organizations", "members", d.ID, "organizations")
	err := r.api.read(ctx, path, url.Values{"max": {"1000"}}, &d.Organizations)
	if err != nil && status(err) != http.StatusNotFound { // it has gone meanwhile
		return fmt.Errorf("read the organizations of account %s: %w", d.ID, err)
	}
	return nil
}

// again reads one account after it was written, in as few requests as the server lets.
func (r *reader) again(ctx context.Context, id string) (*detail, error) {
	if !r.bulk {
		return r.one(ctx, id, nil, nil)
	}
	found, err := r.some(ctx, []string{id}, func(string) bool { return true }, nil)
	return found[id], err
}

// some reads the accounts with these ids, without those that are not there. With a
// index of members, memberships come from it. Of the ids that expected knows, each is asked for by
// itself where the answer for many does not have it.
func (r *reader) some(ctx context.Context, ids []string, expected func(id string) bool, from *memberIndex) (map[string]*detail, error) {
	var found map[string]*detail
	var err error
	accounts := map[string]*account{}
	if r.bulk {
		found, err = provided{r.api}.accountsByID(ctx, ids)
	} else {
		found = map[string]*detail{}
		accounts, err = r.api.usersByID(ctx, ids)
	}
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(searches)
	for _, id := range ids {
		mu.Lock() // others are at it already
		whole := found[id]
		mu.Unlock()
		switch {
		case r.bulk && whole != nil:
			g.Go(func() error { return r.organizations(ctx, whole, from) })
		case !r.bulk && (accounts[id] != nil || expected(id)):
			g.Go(func() error {
				d, err := r.one(ctx, id, accounts[id], from)
				mu.Lock()
				defer mu.Unlock()
				if d != nil {
					found[id] = d
				}
				return err
			})
		}
	}
	return found, g.Wait()
}

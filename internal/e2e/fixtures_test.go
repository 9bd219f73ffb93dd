package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/signin"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// layouts are the settings of fixtures whose tables are not where they usually are,
// and of those where only the operator knows which tables count.
var layouts = map[string]string{
	"core-3.16.2-prefixed": ", schema: login, table_prefix: auth, tables: {thirdparty_users: social_logins}",
	"modelled-12.0-legacy": ", migration_mode: LEGACY",
}

// resident is what a realm holds of one account.
type resident struct {
	ID, Username string
	Credentials  []struct{ ID, Type, UserLabel string }
	Roles        struct {
		Realm []struct{ Name string } `json:"realmMappings"`
	}
	Groups []struct{ Path string }
	Links  []struct {
		Alias  string `json:"identityProvider"`
		UserID string `json:"userId"`
	}
}

// town is a realm that fixtures move into.
type town struct {
	t      *testing.T
	server *keycloak.Server
	realm  string
	// tenants and tenant are as in the configuration.
	tenants, tenant string
}

// path is one below the realm, whose name may hold a space.
func (w *town) path(below string) string { return "/realms/" + url.PathEscape(w.realm) + below }

func (w *town) get(ctx context.Context, path string, into any) error {
	return w.server.Admin(ctx, http.MethodGet, w.path(path), nil, into)
}

// populate gives the realm somebody who has all that accounts of a load have, some
// of it in the places where a load puts it.
func (w *town) populate() {
	w.t.Helper()
	err := w.server.Admin(w.t.Context(), http.MethodPost, w.path("/partialImport"), map[string]any{
		"ifResourceExists": "FAIL",
		"roles":            map[string]any{"realm": []any{map[string]any{"name": "admin", "description": "of the realm itself"}}},
		"groups":           []any{map[string]any{"name": "tenants", "path": "/tenants", "subGroups": []any{map[string]any{"name": "public", "path": "/tenants/public"}}}},
		"users": []any{map[string]any{
			"username": "neighbour", "email": "neighbour@elsewhere.example", "enabled": true,
			"attributes": map[string]any{"phoneNumber": []string{"1"}}, "realmRoles": []string{"admin"}, "groups": []string{"/tenants/public"},
			"credentials":         []any{map[string]any{"type": "password", "value": "neighbour's own"}},
			"federatedIdentities": []any{map[string]any{"identityProvider": "google", "userId": "neighbour", "userName": "n"}},
		}},
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
}

// each does the same for many at once, a few at a time.
func each[T any](t *testing.T, all []T, do func(context.Context, T) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(4)
	for _, one := range all {
		group.Go(func() error { return do(ctx, one) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// parts are what a resident has beside what a list of users shows, and where.
var parts = map[string]string{"credentials": "/credentials", "roles": "/role-mappings", "groups": "/groups", "links": "/federated-identity"}

// snapshot is everything of a realm that the server exports, its accounts with all
// they have, and its identity providers; and of that the accounts alone, by id.
func (w *town) snapshot() (string, map[string]resident) {
	w.t.Helper()
	var all []any
	get := func(method, path string) any {
		var part any
		if err := w.server.Admin(w.t.Context(), method, w.path(path), nil, &part); err != nil {
			w.t.Fatal(err)
		}
		inOrder(part)
		all = append(all, part)
		return part
	}
	get(http.MethodPost, "/partial-export?exportClients=true&exportGroupsAndRoles=true")
	get(http.MethodGet, "/users/profile")
	users, _ := get(http.MethodGet, "/users?max=1000&briefRepresentation=false").([]any)
	each(w.t, users, func(ctx context.Context, u any) error {
		user, _ := u.(map[string]any)
		for name, path := range parts {
			var part any
			if err := w.get(ctx, "/users/"+url.PathEscape(fmt.Sprint(user["id"]))+path, &part); err != nil {
				return err
			}
			inOrder(part)
			user[name] = part
		}
		return nil
	})
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := json.Marshal(users)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text), w.byID(raw)
}

// inOrder sorts what a server lists as it likes.
func inOrder(part any) {
	if list, ok := part.([]any); ok {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}

// byID reads a list of accounts.
func (w *town) byID(raw []byte) map[string]resident {
	w.t.Helper()
	var list []resident
	if err := json.Unmarshal(raw, &list); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]resident{}
	for _, r := range list {
		all[r.ID] = r
	}
	return all
}

// prediction is, by source id, how people can sign in after a load.
type prediction map[string][]signin.Way

// predict asks before the load.
func (w *town) predict(config string, env []string) prediction {
	w.t.Helper()
	r := runStetl(w.t, env, "run", "--config", config, "--dry-run", "--json")
	var plan struct {
		SignIns []struct {
			SourceID string       `json:"source_id"`
			Ways     []signin.Way `json:"ways"`
		} `json:"sign_ins"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil || len(plan.SignIns) == 0 {
		w.t.Fatalf("exit %d, nothing is predicted: %v\n%s", r.code, err, r.stderr)
	}
	all := prediction{}
	for _, s := range plan.SignIns {
		all[s.SourceID] = s.Ways
	}
	return all
}

// can says whether the old password was predicted to work, and whether anything was
// predicted at all.
func (p prediction) can(a *account) (can, told bool) {
	ways, told := p[a.InternalID]
	return slices.Contains(ways, signin.Way{Way: pluginapi.SignInPassword, State: signin.Works}), told
}

// signInAll has everybody sign in who was loaded: exactly those can of whom it was
// predicted.
func (w *town) signInAll(loaded []account, predicted prediction, seen *sights) {
	w.t.Helper()
	var list json.RawMessage
	if err := w.get(w.t.Context(), "/users?max=1000", &list); err != nil {
		w.t.Fatal(err)
	}
	known := w.byID(list)
	each(w.t, loaded, func(ctx context.Context, a account) error {
		r, ok := known[a.VisibleID]
		if !ok {
			w.t.Errorf("account %s is not there", a.InternalID)
			return nil
		}
		if len(a.TOTP) > 0 {
			if err := w.get(ctx, "/users/"+url.PathEscape(r.ID)+parts["credentials"], &r.Credentials); err != nil {
				return err
			}
		}
		password, has := a.password()
		switch can, told := predicted.can(&a); {
		case !told:
			w.t.Errorf("account %s: nothing was predicted", a.InternalID)
		case can != has:
			w.t.Errorf("account %s: that the old password works was predicted as %v, and it is %v", a.InternalID, can, has)
		}
		if has {
			return w.signIn(ctx, &a, &r, password, seen)
		}
		return w.refused(ctx, &a, &r, seen)
	})
}

// writes are what the server has recorded of changes since it was last asked.
func (w *town) writes() []string {
	w.t.Helper()
	var events []struct{ OperationType, ResourcePath string }
	if err := w.get(w.t.Context(), "/admin-events?max=100000", &events); err != nil {
		w.t.Fatal(err)
	}
	if err := w.server.Admin(w.t.Context(), http.MethodDelete, w.path("/admin-events"), nil, nil); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, e.OperationType+" "+e.ResourcePath)
	}
	return out
}

// moved says what is wrong with one account that was loaded, and counts what was
// looked at.
func (w *town) moved(ctx context.Context, a *account, r *resident, seen *sights) error {
	links := map[string]string{}
	for _, l := range r.Links {
		links[l.Alias] = l.UserID
	}
	tenants := map[string]bool{}
	for _, l := range a.Logins {
		for _, tenant := range l.Tenants {
			tenants[tenant] = true
		}
		if i := l.Identity; i != nil {
			seen.identities.Add(1)
			if links[i.Provider] == "" || (links[i.Provider] != i.UserID && !w.several(a, i.Provider)) {
				w.t.Errorf("account %s: %s is linked to %q, want %q", a.InternalID, i.Provider, links[i.Provider], i.UserID)
			}
		}
	}
	for tenant, names := range a.Roles {
		if w.tenant != "" && w.tenant != tenant {
			continue
		}
		for _, name := range names {
			seen.roles.Add(1)
			if !slices.ContainsFunc(r.Roles.Realm, func(x struct{ Name string }) bool { return x.Name == name }) {
				w.t.Errorf("account %s lacks role %s", a.InternalID, name)
			}
		}
	}
	if w.tenant != "" && !tenants[w.tenant] {
		w.t.Errorf("account %s belongs to %v", a.InternalID, tenants)
	}
	if w.tenant == "" && (len(tenants) > 1 || (len(tenants) == 1 && !tenants["public"])) {
		var joined []struct{ Name string }
		if w.tenants == "organizations" {
			if err := w.get(ctx, "/organizations/members/"+url.PathEscape(a.VisibleID)+"/organizations", &joined); err != nil {
				return err
			}
		}
		for tenant := range tenants {
			seen.groups.Add(1)
			if w.tenants == "organizations" {
				if !slices.Contains(joined, struct{ Name string }{tenant}) {
					w.t.Errorf("account %s is not in the organization of tenant %s", a.InternalID, tenant)
				}
			} else if !slices.ContainsFunc(r.Groups, func(x struct{ Path string }) bool { return x.Path == "/tenants/"+tenant }) {
				w.t.Errorf("account %s is not in the group of tenant %s", a.InternalID, tenant)
			}
		}
	}
	return nil
}

// several says whether an account has more than one identity of a provider, of which
// Keycloak links one.
func (w *town) several(a *account, provider string) bool {
	n := 0
	for _, l := range a.Logins {
		if l.Identity != nil && l.Identity.Provider == provider {
			n++
		}
	}
	return n > 1
}

// refused gives every password that the account has had, or any at all where it had none:
// no one of them signs in.
func (w *town) refused(ctx context.Context, a *account, r *resident, seen *sights) error {
	passwords := []string{"any password at all"}
	for _, l := range a.Logins {
		if l.ClearPassword != nil {
			passwords = append(passwords, *l.ClearPassword)
		}
	}
	for _, password := range passwords {
		form := url.Values{"grant_type": {"password"}, "client_id": {"people"}, "username": {r.Username}, "password": {password}, "scope": {"openid"}}
		g, err := w.server.Token(ctx, w.realm, form)
		if err != nil {
			return err
		}
		seen.refused.Add(1)
		if g.Status == http.StatusOK {
			w.t.Errorf("account %s signs in with a password, and nobody has predicted it", a.InternalID)
		}
	}
	return nil
}

// signIn gives the old password, once with the code of each authenticator.
func (w *town) signIn(ctx context.Context, a *account, r *resident, password string, seen *sights) error {
	grant := func(more url.Values) error {
		form := url.Values{"grant_type": {"password"}, "client_id": {"people"}, "username": {r.Username}, "password": {password}, "scope": {"openid"}}
		maps.Copy(form, more)
		g, err := w.server.Token(ctx, w.realm, form)
		if err != nil {
			return err
		}
		if g.Status != http.StatusOK || g.Claims["sub"] != a.VisibleID {
			w.t.Errorf("account %s: the old password (%v) gives %d %s", a.InternalID, slices.Sorted(maps.Keys(more)), g.Status, g.Body)
		}
		return nil
	}
	seen.passwords.Add(1)
	devices := 0
	for _, d := range a.TOTP {
		if !d.Verified {
			continue
		}
		devices++
		seen.codes.Add(1)
		i := slices.IndexFunc(r.Credentials, func(c struct{ ID, Type, UserLabel string }) bool { return c.Type == "otp" && c.UserLabel == d.Name })
		if i < 0 {
			w.t.Errorf("account %s lacks the authenticator %q", a.InternalID, d.Name)
			continue
		}
		// A direct grant asks for the first.
		first := w.path(fmt.Sprintf("/users/%s/credentials/%s/moveToFirst", url.PathEscape(r.ID), r.Credentials[i].ID))
		if err := w.server.Admin(ctx, http.MethodPost, first, nil, nil); err != nil {
			return err
		}
		otp, err := code(d.Secret, d.Period)
		if err != nil {
			return err
		}
		if err := grant(url.Values{"totp": {otp}}); err != nil {
			return err
		}
	}
	if devices == 0 {
		return grant(nil)
	}
	return nil
}

// sights counts what was looked at, so that a test cannot pass by seeing nothing.
type sights struct{ passwords, refused, codes, identities, roles, groups atomic.Int64 }

// TestEveryFixture moves every recorded SuperTokens into a realm: whoever was loaded
// signs in with the old password and every authenticator, exactly as was predicted, and has identities, roles
// and groups; reading back finds no difference; a second run writes nothing; an undo
// leaves the realm as it was. It has a server of its own, as its people are those of
// TestKeycloak, which takes as long.
func TestEveryFixture(t *testing.T) {
	t.Parallel()
	server := keycloak.Start(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
	dumps, err := filepath.Glob(filepath.Join(fixtures, "*.sql"))
	if err != nil || len(dumps) < 10 {
		t.Fatalf("%d fixtures, %v", len(dumps), err)
	}
	var seen sights
	tried := 0                   // fewer where some were chosen with -run
	for _, dump := range dumps { // one after another: ids are unique over all realms
		fixture := strings.TrimSuffix(filepath.Base(dump), ".sql")
		t.Run(fixture, func(t *testing.T) {
			tried++
			w := &town{t: t, server: server, realm: "all-" + strings.ReplaceAll(fixture, ".", "-")}
			if fixture == "core-9.3.0" { // its tenants become organizations, those of others groups
				w.tenants = "organizations"
			}
			w.create()
			w.moveIn(fixture, &seen)()
		})
	}
	t.Run("realm per tenant", func(t *testing.T) {
		people := map[string]string{}
		var leave []func()
		for _, tenant := range []string{"customer-a", "customer-b"} {
			w := &town{t: t, server: server, realm: "of " + tenant, tenant: tenant}
			w.refusedWithoutRealm("core-10.1.4")
			w.create()
			leave = append(leave, w.moveIn("core-10.1.4", &seen))
			for _, id := range idsOf(t, server, url.PathEscape(w.realm)) {
				if other := people[id]; other != "" {
					t.Errorf("%s is in the realms %s and %s", id, other, w.realm)
				}
				people[id] = w.realm
			}
		}
		for _, undo := range leave {
			undo()
		}
	})
	t.Logf("%d passwords, %d refused, %d codes, %d identities, %d roles, %d groups", seen.passwords.Load(), seen.refused.Load(), seen.codes.Load(), seen.identities.Load(), seen.roles.Load(), seen.groups.Load())
	if tried == len(dumps) && (seen.passwords.Load() < 800 || seen.refused.Load() < 200 || seen.codes.Load() < 20 || seen.identities.Load() < 200 || seen.roles.Load() < 60 || seen.groups.Load() < 20) {
		t.Error("too little was looked at")
	}
}

// create makes the realm, with everything that a load would only warn of.
func (w *town) create() {
	t := w.t
	t.Helper()
	realm(t, w.server, w.realm, "secret")
	for _, alias := range []string{"apple", "custom-oidc-provider-28chars", "github", "active-directory", "google"} {
		err := w.server.Admin(t.Context(), http.MethodPost, w.path("/identity-provider/instances"), map[string]any{
			"alias": alias, "providerId": "oidc", "enabled": true,
			"config": map[string]string{"clientId": "x", "clientSecret": "x", "authorizationUrl": "https://idp.invalid/a", "tokenUrl": "https://idp.invalid/t"},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	w.populate()
	settings := map[string]any{"adminEventsEnabled": true, "organizationsEnabled": w.tenants == "organizations"}
	if err := w.server.Admin(t.Context(), http.MethodPut, w.path(""), settings, nil); err != nil {
		t.Fatal(err)
	}
}

// config writes a configuration, and returns its path and the environment it needs.
func (w *town) config(fixture string) (path string, env []string) {
	t := w.t
	t.Helper()
	dump, err := filepath.Abs(filepath.Join(fixtures, fixture+".sql"))
	if err != nil {
		t.Fatal(err)
	}
	more := ""
	if w.tenant != "" {
		more += ", tenant: " + w.tenant
	}
	if w.tenants != "" {
		more += ", tenants: " + w.tenants
	}
	path = filepath.Join(t.TempDir(), "keycloak.yaml")
	env = []string{"DUMP=" + dump, "SECRET=secret", "URL=" + w.server.URL(), "REALM=" + w.realm}
	writeFile(t, path, `
source: {dump: "${env:DUMP}"`+layouts[fixture]+`}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: "${env:REALM}", client_id: stetl, client_secret: "${env:SECRET}"`+more+`}
`)
	return path, env
}

// refusedWithoutRealm runs before there is the realm.
func (w *town) refusedWithoutRealm(fixture string) {
	w.t.Helper()
	config, env := w.config(fixture)
	for _, args := range [][]string{{"check"}, {"check", "--fix"}, {"run"}} {
		r := runStetl(w.t, env, append(args, "--config", config)...)
		if said := r.stdout + r.stderr; r.code != exitRefused || !strings.Contains(said, "keycloak.realm_missing") || !strings.Contains(said, w.realm) {
			w.t.Errorf("%q without the realm: exit %d\n%s", args, r.code, said)
		}
	}
}

// moveIn loads a fixture and looks at everything; what it returns moves it out again.
func (w *town) moveIn(fixture string, seen *sights) (moveOut func()) {
	t := w.t
	t.Helper()
	before, _ := w.snapshot()
	w.writes()
	config, env := w.config(fixture)
	least := 50
	if w.tenant != "" {
		least = 1
	}
	predicted := w.predict(config, env)
	first := runStetl(t, env, "run", "--config", config, "--json")
	loaded := first.report(t)
	if (first.code != exitDone && first.code != exitRejects) || loaded.Summary.Created < least || loaded.Summary.InDoubt > 0 {
		t.Fatalf("exit %d, %+v\n%s", first.code, loaded.Summary, first.stderr)
	}
	if n := len(w.writes()); n < loaded.Summary.Created {
		t.Fatalf("the server has recorded %d writes of a run that created %d accounts", n, loaded.Summary.Created)
	}
	left := map[string]bool{}
	for _, c := range loaded.Changes {
		left[c.SourceID] = true
	}
	moved := slices.DeleteFunc(readAccounts(t, fixture), func(a account) bool { return left[a.InternalID] })
	w.signInAll(moved, predicted, seen)
	after, residents := w.snapshot()
	each(t, moved, func(ctx context.Context, a account) error {
		r := residents[a.VisibleID]
		return w.moved(ctx, &a, &r, seen)
	})
	w.writes()
	second := runStetl(t, env, "run", "--config", config, "--json").report(t)
	if second.Summary.Created+second.Summary.Updated > 0 || second.Summary.Unchanged != loaded.Summary.Created {
		t.Errorf("the second run: %+v after %+v", second.Summary, loaded.Summary)
	}
	if wrote := w.writes(); len(wrote) > 0 {
		t.Errorf("the server has recorded writes of the second run: %q", wrote)
	}
	again, _ := w.snapshot()
	if d := cmp.Diff(after, again); d != "" {
		t.Errorf("the second run changed the realm:\n%s", d)
	}
	if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
		t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
	}
	return func() {
		t.Helper()
		if r := runStetl(t, env, "undo", "--config", config, "--yes", "--signed-in", "--json"); r.code != exitDone {
			t.Errorf("undo: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
		}
		left, _ := w.snapshot()
		if d := cmp.Diff(before, left); d != "" {
			t.Errorf("the realm is not as it was (-before +after):\n%s", d)
		}
	}
}

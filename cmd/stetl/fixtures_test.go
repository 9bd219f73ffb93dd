package main

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
	Roles        []struct{ Name string }
	Groups       []struct{ Path string }
	Links        []struct {
		Alias  string `json:"identityProvider"`
		UserID string `json:"userId"`
	}
}

// town is a realm that fixtures move into.
type town struct {
	t      *testing.T
	server *keycloak.Server
	realm  string
}

func (w *town) get(ctx context.Context, path string, into any) error {
	return w.server.Admin(ctx, http.MethodGet, "/realms/"+w.realm+path, nil, into)
}

// snapshot is everything of a realm that a load might change.
func (w *town) snapshot() string {
	w.t.Helper()
	var all []any
	for _, path := range []string{"/users?max=1000&briefRepresentation=false", "/roles?max=1000", "/groups?max=1000", "/clients?max=1000", "/identity-provider/instances", "/users/profile"} {
		var part any
		if err := w.get(w.t.Context(), path, &part); err != nil {
			w.t.Fatal(err)
		}
		if list, ok := part.([]any); ok {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		all = append(all, part)
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// moved says what is wrong with one account that was loaded, and counts what was
// looked at.
func (w *town) moved(ctx context.Context, a *account, seen *sights) error {
	path := "/users/" + url.PathEscape(a.VisibleID)
	var r resident
	for part, into := range map[string]any{"": &r, "/credentials": &r.Credentials, "/role-mappings/realm": &r.Roles, "/groups": &r.Groups, "/federated-identity": &r.Links} {
		if err := w.get(ctx, path+part, into); err != nil {
			return err
		}
	}
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
	for _, names := range a.Roles {
		for _, name := range names {
			seen.roles.Add(1)
			if !slices.ContainsFunc(r.Roles, func(x struct{ Name string }) bool { return x.Name == name }) {
				w.t.Errorf("account %s lacks role %s", a.InternalID, name)
			}
		}
	}
	if len(tenants) > 1 || (len(tenants) == 1 && !tenants["public"]) {
		for tenant := range tenants {
			seen.groups.Add(1)
			if !slices.ContainsFunc(r.Groups, func(x struct{ Path string }) bool { return x.Path == "/tenants/"+tenant }) {
				w.t.Errorf("account %s is not in the group of tenant %s", a.InternalID, tenant)
			}
		}
	}
	return w.signIn(ctx, a, &r, seen)
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

// signIn gives the old password, once with the code of each authenticator.
func (w *town) signIn(ctx context.Context, a *account, r *resident, seen *sights) error {
	password, ok := a.password()
	if !ok {
		return nil
	}
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
		first := fmt.Sprintf("/realms/%s/users/%s/credentials/%s/moveToFirst", w.realm, url.PathEscape(r.ID), r.Credentials[i].ID)
		if err := w.server.Admin(ctx, http.MethodPost, first, nil, nil); err != nil {
			return err
		}
		if err := grant(url.Values{"totp": {code(w.t, d.Secret, d.Period)}}); err != nil {
			return err
		}
	}
	if devices == 0 {
		return grant(nil)
	}
	return nil
}

// sights counts what was looked at, so that a test cannot pass by seeing nothing.
type sights struct{ passwords, codes, identities, roles, groups atomic.Int64 }

// TestEveryFixture moves every recorded SuperTokens into a realm: whoever was loaded
// signs in with the old password and every authenticator, and has identities, roles
// and groups; reading back finds no difference; a second run writes nothing; an undo
// leaves the realm as it was.
func TestEveryFixture(t *testing.T) {
	t.Parallel()
	server := keycloak.Start(t, keycloak.Options{
		Providers: map[string][]byte{provider.FileName: provider.Jar()},
		Env:       []string{"JAVA_OPTS_KC_HEAP=-Xms256m -Xmx1g"},
	})
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
			w := &town{t, server, "all-" + strings.ReplaceAll(fixture, ".", "-")}
			w.test(fixture, &seen)
		})
	}
	t.Logf("%d passwords, %d codes, %d identities, %d roles, %d groups", seen.passwords.Load(), seen.codes.Load(), seen.identities.Load(), seen.roles.Load(), seen.groups.Load())
	if tried == len(dumps) && (seen.passwords.Load() < 800 || seen.codes.Load() < 20 || seen.identities.Load() < 200 || seen.roles.Load() < 60 || seen.groups.Load() < 20) {
		t.Error("too little was looked at")
	}
}

func (w *town) test(fixture string, seen *sights) {
	t := w.t
	realm(t, w.server, w.realm, "secret")
	for _, alias := range []string{"apple", "custom-oidc-provider-28chars", "github", "active-directory", "google"} {
		err := w.server.Admin(t.Context(), http.MethodPost, "/realms/"+w.realm+"/identity-provider/instances", map[string]any{
			"alias": alias, "providerId": "oidc", "enabled": true,
			"config": map[string]string{"clientId": "x", "clientSecret": "x", "authorizationUrl": "https://idp.invalid/a", "tokenUrl": "https://idp.invalid/t"},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	before := w.snapshot()
	dump, err := filepath.Abs(filepath.Join(fixtures, fixture+".sql"))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"DUMP=" + dump, "SECRET=secret", "URL=" + w.server.URL(), "REALM=" + w.realm}
	config := filepath.Join(t.TempDir(), "keycloak.yaml")
	writeFile(t, config, `
source: {dump: "${env:DUMP}"`+layouts[fixture]+`}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: "${env:REALM}", client_id: stetl, client_secret: "${env:SECRET}"}
`)
	first := runStetl(t, env, "run", "--config", config, "--json")
	loaded := first.report(t)
	if (first.code != exitDone && first.code != exitRejects) || loaded.Summary.Created < 50 || loaded.Summary.InDoubt > 0 {
		t.Fatalf("exit %d, %+v\n%s", first.code, loaded.Summary, first.stderr)
	}
	left := map[string]bool{}
	for _, c := range loaded.Changes {
		left[c.SourceID] = true
	}
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(4)
	for _, a := range readAccounts(t, fixture) {
		if !left[a.InternalID] {
			group.Go(func() error { return w.moved(ctx, &a, seen) })
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	after := w.snapshot()
	second := runStetl(t, env, "run", "--config", config, "--json").report(t)
	if second.Summary.Created+second.Summary.Updated > 0 || second.Summary.Unchanged != loaded.Summary.Created {
		t.Errorf("the second run: %+v after %+v", second.Summary, loaded.Summary)
	}
	if d := cmp.Diff(after, w.snapshot()); d != "" {
		t.Errorf("the second run changed the realm:\n%s", d)
	}
	if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
		t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
	}
	if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone {
		t.Errorf("undo: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	if d := cmp.Diff(before, w.snapshot()); d != "" {
		t.Errorf("the realm is not as it was (-before +after):\n%s", d)
	}
}

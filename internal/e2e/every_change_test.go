//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// citizen is a person of a source, as far as people change here.
type citizen struct {
	ID, Email, Password, Name, Plan, Role, Tenant, Seed, Google string
}

// city is a database of SuperTokens in which only citizens live.
type city struct {
	t      *testing.T
	dsn    string
	hashes map[string]string
}

// settle has exactly these people live there.
func (c *city) settle(all []citizen) {
	c.t.Helper()
	var b strings.Builder
	b.WriteString("DO $do$ BEGIN\n")
	for _, table := range []string{"app_id_to_user_id", "user_metadata", "user_roles", "totp_users", "userid_mapping"} {
		b.WriteString("DELETE FROM " + table + ";\n")
	}
	insert := func(table string, values ...any) {
		texts := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case string:
				texts[i] = "'" + strings.ReplaceAll(v, "'", "''") + "'"
			default:
				texts[i] = fmt.Sprint(v)
			}
		}
		fmt.Fprintf(&b, "INSERT INTO %s VALUES ('public', %s);\n", table, strings.Join(texts, ", "))
	}
	const joined = 1_700_000_000_000
	for _, p := range all {
		tenant := "public"
		if p.Tenant != "" {
			tenant = p.Tenant
			fmt.Fprintf(&b, "INSERT INTO tenants SELECT app_id, '%s', created_at_time FROM tenants WHERE app_id = 'public' AND tenant_id = 'public' ON CONFLICT DO NOTHING;\n", tenant)
		}
		primary := p.Google != ""
		insert("app_id_to_user_id", p.ID, "emailpassword", p.ID, primary)
		insert("all_auth_recipe_users", tenant, p.ID, p.ID, primary, "emailpassword", joined, joined)
		insert("emailpassword_users", p.ID, p.Email, c.hash(p.Password), joined)
		insert("emailpassword_user_to_tenant", tenant, p.ID, p.Email)
		if primary {
			login := "f" + p.ID[1:]
			insert("app_id_to_user_id", login, "thirdparty", p.ID, true)
			insert("all_auth_recipe_users", tenant, login, p.ID, true, "thirdparty", joined, joined)
			insert("thirdparty_users", "google", p.Google, login, p.Email, joined)
			insert("thirdparty_user_to_tenant", tenant, login, "google", p.Google)
		}
		metadata := map[string]string{}
		for key, value := range map[string]string{"first_name": p.Name, "plan": p.Plan} {
			if value != "" {
				metadata[key] = value
			}
		}
		if len(metadata) > 0 {
			raw, err := json.Marshal(metadata)
			if err != nil {
				c.t.Fatal(err)
			}
			insert("user_metadata", p.ID, string(raw))
		}
		if p.Role != "" {
			fmt.Fprintf(&b, "INSERT INTO roles VALUES ('public', '%s') ON CONFLICT DO NOTHING;\n", p.Role)
			insert("user_roles", tenant, p.ID, p.Role)
		}
		if p.Seed != "" {
			insert("totp_users", p.ID)
			insert("totp_user_devices", p.ID, "phone", p.Seed, 30, 1, true, joined)
		}
	}
	b.WriteString("END $do$")
	postgres.Exec(c.t, c.dsn, b.String())
}

func (c *city) hash(password string) string {
	c.t.Helper()
	if c.hashes[password] == "" {
		h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			c.t.Fatal(err)
		}
		c.hashes[password] = string(h)
	}
	return c.hashes[password]
}

// event is what happens to one person, or to one of two who exchange something.
type event struct {
	name          string
	before, after citizen
}

// events are all kinds of change of all that a citizen has. Ids begin with eight digits of
// a number.
func events(number int) (out []event) {
	kinds := []struct {
		name   string
		always bool // nobody is without it
		of     func(*citizen) *string
		value  func(id string) string
	}{
		{"name", false, func(c *citizen) *string { return &c.Name }, nil},
		{"address", true, func(c *citizen) *string { return &c.Email }, func(id string) string { return id + "@example.com" }},
		{"password", true, func(c *citizen) *string { return &c.Password }, nil},
		{"authenticator", false, func(c *citizen) *string { return &c.Seed }, func(id string) string { return strings.Repeat(strings.ToUpper(id[:1]), 15) + "A" }},
		{"role", false, func(c *citizen) *string { return &c.Role }, func(id string) string { return "role-" + id[:1] }},
		{"tenant", false, func(c *citizen) *string { return &c.Tenant }, func(id string) string { return "tenant-" + id[:1] }},
		{"link", false, func(c *citizen) *string { return &c.Google }, nil},
		{"attribute", false, func(c *citizen) *string { return &c.Plan }, nil},
	}
	person := func() citizen {
		id := fmt.Sprintf("%08d-0000-4000-8000-%012d", number, len(out))
		return citizen{ID: id, Email: "e" + id + "@example.com", Password: "pw-" + id}
	}
	for _, k := range kinds {
		value := k.value
		if value == nil {
			value = func(id string) string { return id }
		}
		for _, change := range []string{"added", "replaced", "removed", "exchanged"} {
			if k.always && (change == "added" || change == "removed") {
				continue
			}
			first := person()
			was, will := value("a"+first.ID), value("c"+first.ID)
			other := value("b" + first.ID)
			switch change {
			case "added":
				was = ""
			case "removed":
				will = ""
			case "exchanged":
				will = other
			}
			e := event{k.name + " " + change, first, first}
			*k.of(&e.before), *k.of(&e.after) = was, will
			out = append(out, e)
			if change == "exchanged" {
				second := person()
				e := event{k.name + " " + change, second, second}
				*k.of(&e.before), *k.of(&e.after) = other, was
				out = append(out, e)
			}
		}
	}
	all := event{"everything added", person(), citizen{}}
	all.after = all.before
	for _, k := range kinds {
		if !k.always {
			value := k.value
			if value == nil {
				value = func(id string) string { return id }
			}
			*k.of(&all.after) = value("c" + all.after.ID)
		}
	}
	out = append(out, all)
	gone := event{"everything removed", person(), citizen{}}
	gone.after = gone.before
	for _, k := range kinds {
		if !k.always {
			*k.of(&gone.before) = *k.of(&all.after) + "x"
		}
	}
	gone.before.Seed = strings.Repeat("B", 16)
	return append(out, gone)
}

// borough is a realm to which a city moves.
type borough struct {
	*city
	server *keycloak.Server
	realm  string
	fixed  bool // user names cannot be changed
	config string
	env    []string
}

func (w *borough) admin(method, path string, body, into any) {
	w.t.Helper()
	if err := w.server.Admin(w.t.Context(), method, "/realms/"+w.realm+path, body, into); err != nil {
		w.t.Fatal(err)
	}
}

// configure writes the configuration, with policies.
func (w *borough) configure(policies string) {
	w.t.Helper()
	writeFile(w.t, w.config, `
source: {url: "${env:SOURCE}"}
`+policies+`
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: "${env:REALM}", client_id: stetl, client_secret: "${env:SECRET}"}
`)
}

func (w *borough) stetl(command string, flags ...string) ran {
	w.t.Helper()
	return runStetl(w.t, w.env, append([]string{command, "--config", w.config, "--json"}, flags...)...)
}

// shown is what the realm shows of a person, by the names of parts.
func (w *borough) shown(id string) map[string]string {
	w.t.Helper()
	var u struct {
		Username, Email, FirstName string
		Attributes                 map[string][]string
	}
	var roles, credentials []struct{ Name, Type, UserLabel string }
	var groups []struct{ Path string }
	var links []struct{ UserID string }
	at := "/users/" + url.PathEscape(id)
	w.admin(http.MethodGet, at, nil, &u)
	w.admin(http.MethodGet, at+"/role-mappings/realm", nil, &roles)
	w.admin(http.MethodGet, at+"/groups", nil, &groups)
	w.admin(http.MethodGet, at+"/federated-identity", nil, &links)
	w.admin(http.MethodGet, at+"/credentials", nil, &credentials)
	out := map[string]string{"username": u.Username, "email": u.Email, "name": u.FirstName, "attribute": strings.Join(u.Attributes["metadata.plan"], ",")}
	for _, r := range roles {
		if !strings.HasPrefix(r.Name, "default-roles-") {
			out["roles"] += r.Name + " "
		}
	}
	for _, g := range groups {
		out["tenants"] += g.Path + " "
	}
	for _, l := range links {
		out["link"] += l.UserID + " "
	}
	for _, c := range credentials {
		if c.Type == "otp" {
			out["authenticators"] += c.UserLabel + " "
		}
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// wanted is the same of the source.
func (w *borough) wanted(p citizen) map[string]string {
	out := map[string]string{"username": p.Email, "email": p.Email, "name": p.Name, "attribute": p.Plan}
	if p.Role != "" {
		out["roles"] = p.Role + " "
	}
	if p.Tenant != "" {
		out["tenants"] = "/tenants/" + p.Tenant + " "
	}
	if p.Google != "" {
		out["link"] = p.Google + " "
	}
	if p.Seed != "" {
		out["authenticators"] = "phone "
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// signs says whether the person signs in with the password of the source, and its
// authenticator.
func (w *borough) signs(p citizen) bool {
	w.t.Helper()
	a := account{}
	if p.Seed != "" {
		raw := fmt.Sprintf(`{"totpDevices":[{"secret":%q,"period":30,"verified":true}]}`, p.Seed)
		if err := json.Unmarshal([]byte(raw), &a); err != nil {
			w.t.Fatal(err)
		}
	}
	g, err := signIn(w.t.Context(), w.server, w.realm, w.shown(p.ID)["username"], p.Password, &a)
	if err != nil {
		w.t.Fatal(err)
	}
	return g.Status == http.StatusOK
}

// invite has somebody else make the accounts, with the same ids, as a server's own import does.
func (w *borough) invite(all []citizen) {
	w.t.Helper()
	var users, groups []any
	seen := map[string]bool{}
	for _, p := range all {
		u := map[string]any{
			"id": p.ID, "username": p.Email, "email": p.Email, "enabled": true, "firstName": p.Name, "createdTimestamp": 1_600_000_000_000,
			"realmRoles":  []string{"default-roles-" + w.realm},
			"credentials": []any{map[string]any{"type": "password", "value": p.Password}},
		}
		if p.Plan != "" {
			u["attributes"] = map[string]any{"metadata.plan": []string{p.Plan}}
		}
		if p.Role != "" {
			u["realmRoles"] = []string{"default-roles-" + w.realm, p.Role}
		}
		if p.Tenant != "" {
			u["groups"] = []string{"/tenants/" + p.Tenant}
			if !seen[p.Tenant] {
				groups = append(groups, map[string]any{"name": p.Tenant})
			}
			seen[p.Tenant] = true
		}
		if p.Google != "" {
			u["federatedIdentities"] = []any{map[string]any{"identityProvider": "google", "userId": p.Google, "userName": p.Google}}
		}
		users = append(users, u)
	}
	w.admin(http.MethodPost, "/groups", map[string]any{"name": "tenants"}, nil)
	var parent struct{ ID string }
	w.admin(http.MethodGet, "/group-by-path/tenants", nil, &parent)
	for _, g := range groups {
		w.admin(http.MethodPost, "/groups/"+parent.ID+"/children", g, nil)
	}
	w.admin(http.MethodPost, "/partialImport", map[string]any{"ifResourceExists": "FAIL", "users": users}, nil)
}

// TestKeycloakEveryChange has every kind of change at the source meet accounts that a run has
// made, that were there before, that others have touched, and whose journal is lost; in a realm
// as Keycloak makes it and in one that lets user names be changed. Plan and run say the same,
// the realm is as the source, or run, verify and their exit codes name each difference, and an
// undo leaves each account as it was, or names it.
func TestKeycloakEveryChange(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL and Keycloak")
	server := keycloak.Shared(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
	number := 7000
	for _, fixed := range []bool{true, false} {
		for _, state := range []string{"ours", "there-before", "touched", "journal-lost"} {
			number++
			w := &borough{city: &city{hashes: map[string]string{}}, server: server, realm: "every-" + state, fixed: fixed}
			if !fixed {
				w.realm += "-relaxed"
			}
			all := events(number)
			t.Run(w.realm, func(t *testing.T) {
				t.Parallel()
				w.t = t
				w.live(state, all)
			})
		}
	}
}

func (w *borough) live(state string, all []event) {
	t := w.t
	t.Helper()
	w.dsn = fixture.Restore(t, "core-9.3.0")
	realm(t, w.server, w.realm, "secret")
	if !w.fixed {
		w.admin(http.MethodPut, "", map[string]any{"editUsernameAllowed": true}, nil)
		var profile map[string]any
		w.admin(http.MethodGet, "/users/profile", nil, &profile)
		profile["unmanagedAttributePolicy"] = "ADMIN_EDIT"
		w.admin(http.MethodPut, "/users/profile", profile, nil)
	}
	w.admin(http.MethodPost, "/identity-provider/instances", map[string]any{"alias": "google", "providerId": "google", "enabled": true}, nil)
	w.config = filepath.Join(t.TempDir(), "stetl.yaml")
	w.env = []string{"SOURCE=" + w.dsn, "URL=" + w.server.URL(), "REALM=" + w.realm, "SECRET=secret"}
	var before, after []citizen
	for _, e := range all {
		before, after = append(before, e.before), append(after, e.after)
	}
	w.settle(before)
	w.configure("")
	made := state != "there-before"
	if made {
		if r := w.stetl("run"); r.code != exitDone {
			t.Fatalf("first run: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
		}
	} else {
		w.invite(before)
	}
	var flags []string
	switch state {
	case "touched":
		for _, e := range all {
			w.admin(http.MethodPut, "/users/"+e.before.ID, map[string]any{"lastName": "by hand"}, nil)
		}
		w.configure("policies: {drift: overwrite}")
		flags = []string{"--full"}
	case "journal-lost":
		if err := os.RemoveAll(filepath.Join(filepath.Dir(w.config), ".stetl")); err != nil {
			t.Fatal(err)
		}
		w.configure("policies: {existing: adopt}")
	case "there-before":
		w.configure("policies: {existing: adopt}")
	}
	was := map[string]map[string]string{}
	for _, p := range before {
		was[p.ID] = w.shown(p.ID)
	}
	w.settle(after)
	planned := w.stetl("run", append([]string{"--dry-run"}, flags...)...)
	run := w.stetl("run", flags...)
	plan, did := planned.report(t), run.report(t)
	said, promised := saidOf(did), saidOf(plan)
	maps.DeleteFunc(promised, func(_ string, s sentence) bool { return s.Code == "" && len(s.Losses) == 0 }) // a run only counts them
	if d := cmp.Diff(plan.Summary, did.Summary) + cmp.Diff(promised, said); d != "" {
		t.Errorf("plan and run differ (-plan +run):\n%s", d)
	}
	losses := 0
	verified := w.stetl("verify")
	found := saidOf(verified.report(t))
	differs := 0
	for _, e := range all {
		named := said[e.after.ID]
		if named.Code != "" || len(named.Losses) > 0 {
			losses++
		}
		want, got := w.wanted(e.after), w.shown(e.after.ID)
		if state == "there-before" {
			delete(got, "link") // a link that others have made is theirs
			delete(want, "link")
		}
		d := cmp.Diff(want, got)
		if d == "" && !w.signs(e.after) && named.Code == "" && !slices.Contains(named.Losses, "password") {
			d = "nobody signs in with the password"
		}
		if d == "" {
			continue
		}
		differs++
		if named.Code == "" && len(named.Losses) == 0 {
			t.Errorf("%s: the run says nothing of (-want +got):\n%s", e.name, d)
		}
		if v, is := found[e.after.ID]; !is || v.Code == "" && len(v.Losses) == 0 {
			t.Errorf("%s: verify says nothing of (-want +got):\n%s", e.name, d)
		}
	}
	if want := map[bool]int{false: exitDone, true: exitRejects}[losses > 0]; run.code != want {
		t.Errorf("the run names %d accounts and exits with %d\n%s", losses, run.code, run.stderr)
	}
	if (differs > 0) != (verified.code == exitDifferences) {
		t.Errorf("%d accounts differ, and verify exits with %d\n%.2000s\n%s", differs, verified.code, verified.stdout, verified.stderr)
	}
	w.undo(all, made && state != "journal-lost", was)
}

// sentence is what is said of an account.
type sentence struct {
	Action  pluginapi.Action
	Code    string
	Changed []string
	Losses  []string
}

func saidOf(r runReport) map[string]sentence {
	out := map[string]sentence{}
	for _, c := range r.Changes {
		s := sentence{Action: c.Action, Code: string(c.Code), Changed: c.Changed}
		for _, l := range c.Losses {
			s.Losses = append(s.Losses, string(l.Feature))
		}
		out[c.SourceID] = s
	}
	return out
}

// undo takes all back: accounts that runs have made go, unless somebody has touched them, and
// others are as they were.
func (w *borough) undo(all []event, made bool, was map[string]map[string]string) {
	t := w.t
	t.Helper()
	r := w.stetl("undo", "--yes", "--signed-in")
	var out struct{ Accounts []pluginapi.Change }
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("undo: exit %d, %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
	}
	named := saidOf(runReport{Changes: out.Accounts})
	if (len(named) > 0) != (r.code == exitRejects) {
		t.Errorf("undo names %d accounts and exits with %d", len(named), r.code)
	}
	there := idsOf(t, w.server, w.realm)
	for _, e := range all {
		n, is := named[e.after.ID]
		if made {
			if slices.Contains(there, e.after.ID) != is {
				t.Errorf("%s: after the undo there %v, and it says %+v", e.name, !is, n)
			}
			continue
		}
		if n.Code != "" {
			continue
		}
		now := w.shown(e.after.ID)
		before := maps.Clone(was[e.after.ID])
		if slices.Contains(n.Losses, "totp") {
			delete(now, "authenticators")
			delete(before, "authenticators")
		}
		if d := cmp.Diff(before, now); d != "" {
			t.Errorf("%s: the undo leaves, and says %+v (-was +is):\n%s", e.name, n, d)
		}
		if !slices.Contains(n.Losses, "password") && !slices.Contains(n.Losses, "totp") && !w.signs(e.before) {
			t.Errorf("%s: the password of before does not work, and the undo says %+v", e.name, n)
		}
	}
}

//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// leaving is a live source from which people go.
type leaving struct {
	t   *testing.T
	dsn string
}

// remove deletes an account as the core does.
func (l *leaving) remove(id string) {
	l.t.Helper()
	postgres.Exec(l.t, l.dsn, `DELETE FROM app_id_to_user_id WHERE app_id = 'public' AND user_id = $1`, id)
}

// link makes an account a way to sign in to another one.
func (l *leaving) link(id, host string) {
	l.t.Helper()
	postgres.Exec(l.t, l.dsn, `UPDATE app_id_to_user_id SET primary_or_recipe_user_id = $2, is_linked_or_is_a_primary_user = true WHERE app_id = 'public' AND user_id = $1`, id, host)
	postgres.Exec(l.t, l.dsn, `UPDATE all_auth_recipe_users SET primary_or_recipe_user_id = $2, is_linked_or_is_a_primary_user = true,
		primary_or_recipe_user_time_joined = (SELECT min(time_joined) FROM all_auth_recipe_users WHERE user_id = $2) WHERE app_id = 'public' AND user_id = $1`, id, host)
}

// again deletes an account, and has its person register once more, with the same address
// and password. It returns the new id.
func (l *leaving) again(id string) string {
	l.t.Helper()
	fresh := uuid.NewString()
	email := postgres.Value[string](l.t, l.dsn, `SELECT email FROM emailpassword_users WHERE user_id = $1`, id)
	hash := postgres.Value[string](l.t, l.dsn, `SELECT password_hash FROM emailpassword_users WHERE user_id = $1`, id)
	l.remove(id)
	postgres.Exec(l.t, l.dsn, `INSERT INTO app_id_to_user_id VALUES ('public', $1, 'emailpassword', $1, false)`, fresh)
	postgres.Exec(l.t, l.dsn, `INSERT INTO all_auth_recipe_users VALUES ('public', 'public', $1, $1, false, 'emailpassword', 1750000000000, 1750000000000)`, fresh)
	postgres.Exec(l.t, l.dsn, `INSERT INTO emailpassword_users VALUES ('public', $1, $2, $3, 1750000000000)`, fresh, email, hash)
	postgres.Exec(l.t, l.dsn, `INSERT INTO emailpassword_user_to_tenant VALUES ('public', 'public', $1, $2)`, fresh, email)
	return fresh
}

// host is an account that others can be linked to.
func (l *leaving) host() string {
	l.t.Helper()
	return postgres.Value[string](l.t, l.dsn, `SELECT user_id FROM app_id_to_user_id WHERE app_id = 'public' AND is_linked_or_is_a_primary_user
		AND user_id = primary_or_recipe_user_id AND user_id IN (SELECT user_id FROM emailpassword_users) ORDER BY user_id LIMIT 1`)
}

// alone says that no other account has the address: else that one would get it.
func (l *leaving) alone(id string) bool {
	l.t.Helper()
	return postgres.Value[int](l.t, l.dsn, `SELECT count(*) FROM (SELECT email FROM emailpassword_users UNION ALL SELECT email FROM thirdparty_users
		UNION ALL SELECT email FROM passwordless_users) AS all_of_them WHERE lower(email) = (SELECT lower(email) FROM emailpassword_users WHERE user_id = $1)`, id) == 1
}

// goers are people of a fixture with one password and nothing else, whose address and id
// are theirs alone, in the order of their ids.
func (l *leaving) goers(name string) (all []account) {
	l.t.Helper()
	for _, a := range readAccounts(l.t, name) {
		if _, ok := a.password(); ok && len(a.Logins) == 1 && a.VisibleID == a.InternalID && len(a.TOTP) == 0 && slices.Equal(a.Logins[0].Tenants, []string{"public"}) && l.alone(a.InternalID) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b account) int { return strings.Compare(a.InternalID, b.InternalID) })
	return all
}

// goneOf is what a run has said of people who have gone.
func goneOf(t *testing.T, r ran) engine.Gone {
	t.Helper()
	var out struct {
		Gone *engine.Gone `json:"gone"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.Gone == nil {
		t.Fatalf("exit %d, nothing is said of who has gone: %v\n%.2000s\n%s", r.code, err, r.stdout, r.stderr)
	}
	return *out.Gone
}

// named are the accounts that stay, with the reason of each.
func named(g *engine.Gone) map[string]diag.Code {
	out := map[string]diag.Code{}
	for _, o := range g.Accounts {
		if o.Code != "" {
			out[o.SourceID] = o.Code
		}
	}
	return out
}

// TestGoneFollowIntoTables deletes fifty people at the source, of whom five were touched in
// the target, three live on as ways to sign in to others, and two register again: exactly
// forty go, in two runs, ten are named, and all can be brought back after the first.
func TestGoneFollowIntoTables(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL")
	const name = "core-9.3.0"
	source := &leaving{t, fixture.Restore(t, name)}
	target := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	postgres.Exec(t, target, `CREATE TABLE people (id text PRIMARY KEY, email text UNIQUE, full_name text, password_hash text, active boolean NOT NULL)`)
	postgres.Exec(t, target, `INSERT INTO people VALUES ('by hand', 'by@hand.example', 'Hand', NULL, true)`)
	config := filepath.Join(t.TempDir(), "gone.yaml")
	writeFile(t, config, `
source: {url: "${env:SOURCE}"}
policies: {gone: delete, gone_after: 0s}
limits: {gone: 50}
target:
  plugin: generic-sql
  config:
    url: ${env:TARGET}
    unique: [email]
    hashes: [bcrypt, argon2id, argon2i]
    tables:
      - name: people
        per: account
        key: [id]
        columns:
          id: {field: id}
          email: {field: email, free: "{id}@gone.invalid"}
          full_name: {template: "{given_name} {family_name}"}
          password_hash: {field: password_hash}
          active: {field: enabled, gone: false}
`)
	env := []string{"SOURCE=" + source.dsn, "TARGET=" + target}
	run := func(args ...string) ran {
		t.Helper()
		r := runStetl(t, env, append([]string{"run", "--config", config, "--json"}, args...)...)
		if r.code != exitDone && r.code != exitRejects {
			t.Fatalf("%q: exit %d\n%.3000s\n%s", args, r.code, r.stdout, r.stderr)
		}
		return r
	}
	rows := func(where string) string {
		return postgres.Value[string](t, target, `SELECT coalesce(string_agg(p::text, E'\n' ORDER BY id), '') FROM people p WHERE `+where)
	}
	count := func(where string) int {
		return postgres.Value[int](t, target, `SELECT count(*) FROM people WHERE `+where)
	}
	run()
	all := slices.DeleteFunc(source.goers(name), func(a account) bool { return count("id = '"+a.InternalID+"'") == 0 })
	if len(all) < 50 {
		t.Fatalf("%d people of %s can go", len(all), name)
	}
	var ids []string
	for _, a := range all[:50] {
		ids = append(ids, a.InternalID)
	}
	people := count("true")
	touched, linked, twice, going := ids[:5], ids[5:8], ids[8:10], ids[10:]
	var fresh []string
	for _, id := range touched {
		postgres.Exec(t, target, `UPDATE people SET full_name = 'by an administrator' WHERE id = $1`, id)
		source.remove(id)
	}
	host := source.host()
	for _, id := range linked {
		source.link(id, host)
	}
	for _, id := range twice {
		fresh = append(fresh, source.again(id))
	}
	for _, id := range going {
		source.remove(id)
	}
	touchedAndAll := rows("true")
	wrong := func(what string, g engine.Gone, disabled, deleted int) {
		t.Helper()
		reasons := named(&g)
		for code, group := range map[diag.Code][]string{diag.LoadMoved: touched, diag.GoneLinked: linked, diag.GoneRegisteredAgain: twice} {
			for _, id := range group {
				if reasons[id] != code {
					t.Errorf("%s: %s stays for %q, want %s", what, id, reasons[id], code)
				}
			}
		}
		if g.Disabled != disabled || g.Deleted != deleted || len(reasons) != 10 {
			t.Errorf("%s: %d switched off, %d deleted, %d named; want %d, %d, 10 (%v)", what, g.Disabled, g.Deleted, len(reasons), disabled, deleted, g.Kept)
		}
	}
	postgres.Exec(t, target, `CREATE FUNCTION nobody() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''nobody may change anything now''; END'`)
	postgres.Exec(t, target, `CREATE TRIGGER nobody BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON people EXECUTE FUNCTION nobody()`)
	planned := run("--dry-run")
	wrong("the plan", goneOf(t, planned), 40, 0)
	postgres.Exec(t, target, `DROP TRIGGER nobody ON people`)
	first := run()
	wrong("the first run", goneOf(t, first), 40, 0)
	if did, said := first.report(t).Summary, planned.report(t).Summary; did != said || did.Created != 2 {
		t.Errorf("the first run did %+v, the plan said %+v", did, said)
	}
	if n := count("NOT active"); n != 42 || count("true") != people+2 {
		t.Errorf("%d are off of %d", n, count("true"))
	}
	for i, id := range fresh {
		same := `SELECT count(*) FROM people n, people o WHERE n.id = $1 AND o.id = $2 AND n.active AND NOT o.active AND n.password_hash = o.password_hash AND o.email = $2 || '@gone.invalid'`
		if postgres.Value[int](t, target, same, id, twice[i]) != 1 {
			t.Errorf("%s has not come in the place of %s: %s", id, twice[i], rows("id IN ('"+id+"', '"+twice[i]+"')"))
		}
	}

	undone := undoGone(t, env, config)
	if undone.Restored != 42 || undone.Deleted != 2 || len(undone.Accounts) != 0 {
		t.Errorf("undo --gone: %+v", undone)
	}
	if now := rows("true"); now != touchedAndAll {
		t.Errorf("it is not as it was:\n%s\nwas\n%s", now, touchedAndAll)
	}

	wrong("switched off once more", goneOf(t, run()), 40, 0)
	wrong("the second run", goneOf(t, run()), 0, 40)
	if n := count("true"); n != people+2-40 || count("id = ANY('{"+strings.Join(going, ",")+"}')") != 0 {
		t.Errorf("%d people are there, of %d", n, people)
	}
	if got := rows("id = 'by hand'"); got != `("by hand",by@hand.example,Hand,,t)` {
		t.Errorf("who was made by hand is %s", got)
	}
	wrong("a run afterwards", goneOf(t, run()), 0, 0)
}

// undoneGone is what an undo of people who have gone has said.
type undoneGone struct {
	Restored, Deleted int
	Accounts          []pluginapi.Outcome
}

// undoGone switches on again what runs have switched off.
func undoGone(t *testing.T, env []string, config string, flags ...string) (u undoneGone) {
	t.Helper()
	r := runStetl(t, env, append([]string{"undo", "--config", config, "--gone", "--yes", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(r.stdout), &u); err != nil {
		t.Fatalf("undo --gone: exit %d, %v\n%.3000s\n%s", r.code, err, r.stdout, r.stderr)
	}
	return u
}

// testGone does the same with a real Keycloak, where people can sign in.
func testGone(t *testing.T, server *keycloak.Server) {
	t.Helper()
	const name, place, users = "core-9.3.0", "gone", "/realms/gone/users"
	source := &leaving{t, fixture.Restore(t, name)}
	realm(t, server, place, "secret")
	admin := func(method, path string, body, into any) {
		t.Helper()
		if err := server.Admin(t.Context(), method, path, body, into); err != nil {
			t.Fatal(err)
		}
	}
	// Else nobody can give a user name free.
	admin(http.MethodPut, "/realms/"+place, map[string]any{"editUsernameAllowed": true}, nil)
	admin(http.MethodPost, users, map[string]any{"username": "by-hand", "email": "by@hand.example", "enabled": true}, nil)
	door, front := newDoorman(t, server)
	config := filepath.Join(t.TempDir(), "keycloak.yaml")
	writeFile(t, config, `
source: {url: "${env:SOURCE}"}
policies: {gone: delete, gone_after: 0s}
limits: {gone: 50}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: `+place+`, client_id: stetl, client_secret: "${env:SECRET}"}
`)
	env := []string{"SOURCE=" + source.dsn, "URL=" + front, "SECRET=secret"}
	run := func(args ...string) ran {
		t.Helper()
		r := runStetl(t, env, append([]string{"run", "--config", config, "--json"}, args...)...)
		if r.code != exitDone && r.code != exitRejects {
			t.Fatalf("%q: exit %d\n%.3000s\n%s", args, r.code, r.stdout, r.stderr)
		}
		return r
	}
	// everybody is who is in the realm, as the server shows them.
	everybody := func() map[string]string {
		t.Helper()
		var all []map[string]any
		admin(http.MethodGet, users+"?max=1000&briefRepresentation=false", nil, &all)
		out := map[string]string{}
		for _, u := range all {
			id, _ := u["id"].(string)
			var roles, credentials []map[string]any
			admin(http.MethodGet, users+"/"+url.PathEscape(id)+"/role-mappings/realm", nil, &roles)
			admin(http.MethodGet, users+"/"+url.PathEscape(id)+"/credentials", nil, &credentials)
			slices.SortFunc(roles, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a["name"]), fmt.Sprint(b["name"])) })
			raw, err := json.Marshal([]any{u, roles, credentials})
			if err != nil {
				t.Fatal(err)
			}
			out[id] = string(raw)
		}
		return out
	}
	run()
	there := everybody()
	all := slices.DeleteFunc(source.goers(name), func(a account) bool { return there[a.VisibleID] == "" })
	if len(all) < 51 {
		t.Fatalf("%d people of %s can go", len(all), name)
	}
	touched, came, linked, twice, going, last := all[:4], all[4], all[5:8], all[8:10], all[10:50], all[50]
	usernames := map[string]string{}
	for _, a := range all[:51] {
		var u struct{ Username string }
		admin(http.MethodGet, users+"/"+url.PathEscape(a.VisibleID), nil, &u)
		usernames[a.InternalID] = u.Username
	}
	// signs says as whom somebody signs in; nobody is empty.
	signs := func(a account) string {
		t.Helper()
		password, _ := a.password()
		g, err := signIn(t.Context(), server, place, usernames[a.InternalID], password, &a)
		if err != nil {
			t.Fatal(err)
		}
		sub, _ := g.Claims["sub"].(string)
		return sub
	}
	want, fresh := map[string]diag.Code{came.InternalID: diag.UndoSignedIn}, map[string]string{}
	for _, a := range touched {
		admin(http.MethodPut, users+"/"+url.PathEscape(a.VisibleID), map[string]any{"firstName": "Touched"}, nil)
		want[a.InternalID] = diag.LoadMoved
		source.remove(a.InternalID)
	}
	if signs(came) != came.VisibleID {
		t.Error("nobody can sign in")
	}
	source.remove(came.InternalID)
	host := source.host()
	for _, a := range linked {
		source.link(a.InternalID, host)
		want[a.InternalID] = diag.GoneLinked
	}
	for _, a := range twice {
		fresh[a.InternalID] = source.again(a.InternalID)
		want[a.InternalID] = diag.GoneRegisteredAgain
	}
	for _, a := range going {
		source.remove(a.InternalID)
	}
	before := everybody()
	said := func(what string, g engine.Gone, disabled, deleted int) {
		t.Helper()
		if reasons := named(&g); g.Disabled != disabled || g.Deleted != deleted || !maps.Equal(reasons, want) {
			t.Errorf("%s: %d switched off, %d deleted, want %d and %d; named %v, want %v", what, g.Disabled, g.Deleted, disabled, deleted, reasons, want)
		}
	}

	var plan ran
	door.during(t, "a plan about people who have gone", func() { plan = run("--dry-run") })
	said("the plan", goneOf(t, plan), 40, 0)
	first := run()
	said("the first run", goneOf(t, first), 40, 0)
	if did, wanted := first.report(t).Summary, plan.report(t).Summary; did != wanted || did.Created != 2 {
		t.Errorf("the run did %+v, the plan said %+v", did, wanted)
	}
	for _, a := range twice {
		if as := signs(a); as != fresh[a.InternalID] {
			t.Errorf("who has registered again signs in as %q, not as %s", as, fresh[a.InternalID])
		}
	}

	// Whoever has signed in as the new account keeps it, unless that is said to go.
	door.during(t, "a look at whose accounts come back", func() {
		r := runStetl(t, env, "undo", "--config", config, "--gone", "--signed-in")
		if r.code == exitDone || !strings.Contains(r.stderr, "there is no terminal to ask on") {
			t.Errorf("exit %d\n%s", r.code, r.stderr)
		}
	})
	undone := undoGone(t, env, config)
	if undone.Restored != 40 || undone.Deleted != 0 || len(undone.Accounts) != 2 {
		t.Errorf("undo --gone: %+v", undone)
	}
	for _, o := range undone.Accounts {
		if o.Code != diag.GoneRegisteredAgain || !strings.Contains(o.Detail, fresh[o.SourceID]) || !strings.Contains(o.Detail, string(diag.UndoSignedIn)) {
			t.Errorf("undo --gone: %+v", o)
		}
	}
	if undone = undoGone(t, env, config, "--signed-in"); undone.Restored != 2 || undone.Deleted != 2 || len(undone.Accounts) != 0 {
		t.Errorf("undo --gone --signed-in: %+v", undone)
	}
	if diff := cmp.Diff(before, everybody()); diff != "" {
		t.Errorf("not everybody is as before (-was +is):\n%s", diff)
	}

	said("switched off once more", goneOf(t, run()), 40, 0)
	said("the second run", goneOf(t, run()), 0, 40)
	now := everybody()
	for _, a := range going {
		if now[a.VisibleID] != "" {
			t.Errorf("%s is still there", a.VisibleID)
		}
	}
	if len(now) != len(before)+2-40 {
		t.Errorf("%d accounts are there, were %d", len(now), len(before))
	}
	said("a run afterwards", goneOf(t, run()), 0, 0)
	if undone = undoGone(t, env, config); undone.Restored != 2 || undone.Deleted != 2 {
		t.Errorf("undo --gone at the end: %+v", undone)
	}
	if as := signs(twice[0]); as != twice[0].VisibleID {
		t.Errorf("who has the account of before signs in as %q, not as %s", as, twice[0].VisibleID)
	}
	source.remove(last.InternalID)
	run()
	if as := signs(last); as != "" {
		t.Errorf("who has gone signs in as %q", as)
	}
	// Who was not of it, is as before, and so is who was made by hand.
	now = everybody()
	other := map[string]bool{last.VisibleID: true}
	for _, a := range all[8:50] {
		other[a.VisibleID] = true
	}
	for id, was := range before {
		if !other[id] && now[id] != was {
			t.Errorf("it is not as it was (-was +is):\n%s", cmp.Diff(was, now[id]))
		}
	}
}

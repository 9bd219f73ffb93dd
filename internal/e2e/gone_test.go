//go:build unix

package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	before, people := rows("true"), count("true")
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
	planned := run("--dry-run")
	wrong("the plan", goneOf(t, planned), 40, 0)
	if count("NOT active") != 0 {
		t.Error("the plan has switched somebody off")
	}
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

	undone := runStetl(t, env, "undo", "--config", config, "--gone", "--yes", "--json")
	var u struct {
		Restored int
		Accounts []pluginapi.Outcome
	}
	if err := json.Unmarshal([]byte(undone.stdout), &u); err != nil || u.Restored != 40 || len(u.Accounts) != 2 {
		t.Errorf("undo --gone: exit %d, %v, %d restored\n%.3000s\n%s", undone.code, err, u.Restored, undone.stdout, undone.stderr)
	}
	for line := range strings.SplitSeq(rows("id = ANY('{"+strings.Join(going, ",")+"}')"), "\n") {
		if !strings.Contains(before, line) {
			t.Errorf("it is not as it was: %s", line)
		}
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

// testGone does the same on a smaller scale with a real Keycloak, where people can sign in.
func testGone(t *testing.T, server *keycloak.Server) {
	t.Helper()
	const name = "core-9.3.0"
	source := &leaving{t, fixture.Restore(t, name)}
	const place = "gone"
	realm(t, server, place, "secret")
	// Else nobody can give a user name free.
	if err := server.Admin(t.Context(), http.MethodPut, "/realms/"+place, map[string]any{"editUsernameAllowed": true}, nil); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "keycloak.yaml")
	writeFile(t, config, `
source: {url: "${env:SOURCE}"}
policies: {gone: delete, gone_after: 0s}
limits: {gone: 10}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: `+place+`, client_id: stetl, client_secret: "${env:SECRET}"}
`)
	env := []string{"SOURCE=" + source.dsn, "URL=" + server.URL(), "SECRET=secret"}
	run := func(args ...string) ran {
		t.Helper()
		r := runStetl(t, env, append([]string{"run", "--config", config, "--json"}, args...)...)
		if r.code != exitDone && r.code != exitRejects {
			t.Fatalf("%q: exit %d\n%.3000s\n%s", args, r.code, r.stdout, r.stderr)
		}
		return r
	}
	left := map[string]bool{}
	for _, c := range run().report(t).Changes {
		left[c.SourceID] = true
	}
	all := slices.DeleteFunc(source.goers(name), func(a account) bool { return left[a.InternalID] })
	going, touched, twice, came := all[0], all[1], all[2], all[3]
	var user struct{ Username string }
	usernames := map[string]string{}
	for _, a := range []account{going, touched, twice, came} {
		if err := server.Admin(t.Context(), http.MethodGet, "/realms/"+place+"/users/"+url.PathEscape(a.VisibleID), nil, &user); err != nil {
			t.Fatal(err)
		}
		usernames[a.InternalID] = user.Username
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
	if err := server.Admin(t.Context(), http.MethodPut, "/realms/"+place+"/users/"+touched.VisibleID, map[string]any{"firstName": "Touched"}, nil); err != nil {
		t.Fatal(err)
	}
	if signs(came) != came.VisibleID {
		t.Error("nobody can sign in")
	}
	source.remove(going.InternalID)
	source.remove(touched.InternalID)
	source.remove(came.InternalID)
	fresh := source.again(twice.InternalID)

	plan := run("--dry-run")
	first := run()
	for what, g := range map[string]engine.Gone{"the plan": goneOf(t, plan), "the run": goneOf(t, first)} {
		reasons := named(&g)
		if g.Disabled != 1 || reasons[touched.InternalID] != diag.LoadMoved || reasons[twice.InternalID] != diag.GoneRegisteredAgain || reasons[came.InternalID] != diag.UndoSignedIn {
			t.Errorf("%s: %d switched off, named %v", what, g.Disabled, reasons)
		}
	}
	if did, said := first.report(t).Summary, plan.report(t).Summary; did != said || did.Created != 1 {
		t.Errorf("the run did %+v, the plan said %+v", did, said)
	}
	if signs(going) != "" || signs(twice) != fresh {
		t.Errorf("who has gone signs in as %q, who has registered again as %q, not %s", signs(going), signs(twice), fresh)
	}
	undone := runStetl(t, env, "undo", "--config", config, "--gone", "--yes", "--json")
	if signs(going) != going.VisibleID || !strings.Contains(undone.stdout, twice.InternalID) {
		t.Errorf("undo --gone: exit %d, who had gone signs in as %q\n%.2000s\n%s", undone.code, signs(going), undone.stdout, undone.stderr)
	}
	// By having signed in, the account is not as a run has left it any more.
	if g := goneOf(t, run()); g.Disabled != 0 || named(&g)[going.InternalID] != diag.UndoSignedIn {
		t.Errorf("after a sign-in: %+v", g)
	}
	other := all[4]
	source.remove(other.InternalID)
	if g := goneOf(t, run()); g.Disabled != 1 {
		t.Errorf("another one: %+v", g)
	}
	if g := goneOf(t, run()); g.Deleted != 1 {
		t.Errorf("the second run: %+v", g)
	}
	if err := server.Admin(t.Context(), http.MethodGet, "/realms/"+place+"/users/"+other.VisibleID, nil, &user); err == nil {
		t.Error("who has gone is still there")
	}
}

//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/betterauth"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// rows reads every row of the tables of Better Auth.
func rows(t *testing.T, dsn string) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"user", "account", "passkey", "twoFactor", "session"} {
		text := postgres.Value[string](t, dsn, `SELECT coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM "`+table+`" AS t`)
		fmt.Fprintf(&all, "%s\n%s\n", table, text)
	}
	return all.String()
}

// betterAuthConfig is the example, for a dump, with the parts of the preset that a fixture
// has something for, and with canaries where they are to be tried.
func betterAuthConfig(t *testing.T, server *betterauth.Server, name string, canary bool) (config string) {
	t.Helper()
	raw, err := os.ReadFile("../../configs/better-auth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(fixture.Dump(t, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	tr := fixture.Read(t, name)
	source := "dump: " + dump
	if tr.Layout.Schema != "public" {
		source += "\n  schema: " + tr.Layout.Schema + "\n  table_prefix: auth\n  tables: {thirdparty_users: social_logins}"
	}
	replaced := map[string]string{
		"url: ${env:SUPERTOKENS_DATABASE_URL}": source,
		"# with: [passkey, phone-number]":      "with: [passkey, phone-number, bridge]",
	}
	if canary {
		replaced[`# sign_in: {url: "https://app.example.com/api/auth/sign-in/email"}`] = "sign_in: {url: " + server.URL + "/api/auth/sign-in/email}"
	}
	for old, with := range replaced {
		if !strings.Contains(text, old) {
			t.Fatalf("the example has no %q", old)
		}
		text = strings.Replace(text, old, with, 1)
	}
	config = filepath.Join(t.TempDir(), "better-auth.yaml")
	writeFile(t, config, text)
	return config
}

// TestBetterAuth moves every fixture into a real Better Auth, one after another: who is
// loaded signs in with the old password and has the old id, a second run writes nothing,
// and an undo leaves every row as it was.
func TestBetterAuth(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "moves every fixture")
	dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	server := betterauth.Start(t, betterauth.Options{
		DSN: dsn, Verify: "../../plugins/generic-sql/verify/index.js", SignerKey: fixture.Read(t, "core-10.1.4").FirebaseSignerKey,
	})
	// Somebody was there before.
	postgres.Exec(t, dsn, `INSERT INTO "user" (id, name, email, "emailVerified") VALUES ('before', 'Before', 'before@example.com', true)`)
	postgres.Exec(t, dsn, `INSERT INTO account (id, "accountId", "providerId", "userId", "updatedAt") VALUES ('before', 'g', 'google', 'before', now())`)
	env := []string{"BETTER_AUTH_DATABASE_URL=" + dsn}
	seen := map[string]int{}
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			everybody := name == "core-10.1.4" || os.Getenv("STETL_TEST_EVERY_SIGN_IN") != ""
			before := rows(t, dsn)
			config := betterAuthConfig(t, server, name, everybody)
			if r := runStetl(t, env, "check", "--config", config); r.code != exitDone {
				t.Fatalf("check: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t)
			if rows(t, dsn) != before {
				t.Error("the dry run has changed the database")
			}
			first := runStetl(t, env, "run", "--config", config, "--json")
			loaded := first.report(t)
			if loaded.Summary != planned.Summary {
				t.Errorf("the run did %+v, the dry run said %+v", loaded.Summary, planned.Summary)
			}
			people := readAccounts(t, name)
			if s := loaded.Summary; s.Read != len(people) || s.Accounted() != len(people) || s.InDoubt > 0 || s.Created == 0 {
				t.Fatalf("exit %d, summary %+v, the record has %d accounts\n%s", first.code, s, len(people), first.stderr)
			}
			if len(loaded.Canaries) == 0 || slices.ContainsFunc(loaded.Canaries, func(p engine.Proof) bool { return p.Proven != everybody && (!everybody || !p.Unasked) }) {
				t.Errorf("canaries: %+v", loaded.Canaries)
			}
			signInToBetterAuth(t, server, dsn, people, &loaded, seen, everybody)
			postgres.Exec(t, dsn, `DELETE FROM session`)
			after := rows(t, dsn)
			again := runStetl(t, env, "run", "--config", config, "--json").report(t)
			if again.Summary.Created != 0 || again.Summary.Updated != 0 || again.Summary.Unchanged != loaded.Summary.Created || rows(t, dsn) != after {
				t.Errorf("the second run did %+v after %+v", again.Summary, loaded.Summary)
			}
			if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
				t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone {
				t.Errorf("undo: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if now := rows(t, dsn); now != before {
				t.Errorf("the undo has left:\n%s\nbefore it was:\n%s", now, before)
			}
		})
	}
	for _, kind := range []string{"bcrypt", "argon2id", "argon2i", "firebase_scrypt", "identity"} {
		if seen[kind] == 0 {
			t.Errorf("nobody was seen with %s: %v", kind, seen)
		}
	}
	t.Logf("seen: %v", seen)
}

// signInToBetterAuth tries the passwords of those who were loaded: of everybody, or of one
// for each kind of hash. Of all the others it looks at what is stored, and at their
// identities.
func signInToBetterAuth(t *testing.T, server *betterauth.Server, dsn string, people []account, loaded *runReport, seen map[string]int, everybody bool) {
	t.Helper()
	here := map[string]string{}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	users, err := conn.Query(t.Context(), `SELECT id, email FROM "user"`)
	if err != nil {
		t.Fatal(err)
	}
	var id, email string
	if _, err := pgx.ForEachRow(users, []any{&id, &email}, func() error { here[id] = email; return nil }); err != nil {
		t.Fatal(err)
	}
	var identities map[string]string // to the id of the user
	raw := postgres.Value[string](t, dsn, `SELECT coalesce(json_object_agg("providerId" || ' ' || "accountId", "userId"), '{}')::text FROM account`)
	if err := json.Unmarshal([]byte(raw), &identities); err != nil {
		t.Fatal(err)
	}
	var stored map[string]string
	raw = postgres.Value[string](t, dsn, `SELECT coalesce(json_object_agg("userId", password), '{}')::text FROM account WHERE "providerId" = 'credential'`)
	if err := json.Unmarshal([]byte(raw), &stored); err != nil {
		t.Fatal(err)
	}
	absent, tried := 0, map[string]bool{}
	var mu sync.Mutex
	// first says whether somebody is to be tried as the first one of a kind.
	first := func(kind string) bool {
		mu.Lock()
		defer mu.Unlock()
		was := tried[kind]
		tried[kind] = true
		return !was
	}
	each(t, people, func(ctx context.Context, a account) error {
		email, ok := here[a.VisibleID]
		if !ok {
			return nil
		}
		if identities["supertokens "+a.VisibleID] != a.VisibleID {
			t.Errorf("%s has no identity of the bridge", a.VisibleID)
		}
		password, ok := a.anyPassword()
		if !ok {
			return nil
		}
		hash := *a.Logins[a.chosen()].Hash
		if got := stored[a.VisibleID]; got != hash {
			t.Errorf("%s has another hash than in the source", a.VisibleID)
		}
		passwords := map[string]string{}
		one := first(hash[:min(7, len(hash))])
		if one || everybody {
			passwords[password] = a.VisibleID
		}
		if one {
			passwords["x"+password] = ""
		}
		for text, want := range passwords {
			if got, err := server.SignIn(ctx, email, text); err != nil || got != want {
				return fmt.Errorf("%s signs in as %q, want %q (%w)", a.VisibleID, got, want, err)
			}
		}
		return nil
	})
	for i := range people {
		a := &people[i]
		if _, ok := here[a.VisibleID]; !ok {
			absent++
			continue
		}
		if _, ok := a.anyPassword(); ok {
			seen[a.format()]++
		}
		for _, l := range a.Logins {
			if l.Identity == nil {
				continue
			}
			if identities[l.Identity.Provider+" "+l.Identity.UserID] != a.VisibleID {
				t.Errorf("%s: the identity at %s is not there", a.VisibleID, l.Identity.Provider)
			}
			seen["identity"]++
		}
	}
	missing := loaded.Summary.Rejected + loaded.Summary.Skipped
	if absent != missing {
		t.Errorf("%d accounts are not there, and the report names %d", absent, missing)
	}
	for _, c := range loaded.Changes {
		if c.Action == pluginapi.Rejected {
			seen["rejected "+string(c.Code)]++
		}
	}
}

// chosen is the login whose password is carried: that under the account's own id, else the
// first that has one.
func (a *account) chosen() int {
	best := -1
	for i, l := range a.Logins {
		if l.Hash != nil && (best < 0 || l.RecipeUserID == a.InternalID) {
			best = i
		}
	}
	return best
}

func (a *account) anyPassword() (string, bool) {
	best := a.chosen()
	if best < 0 || a.Logins[best].ClearPassword == nil {
		return "", false
	}
	return *a.Logins[best].ClearPassword, a.format() != "unknown"
}

func (a *account) format() string { return a.Logins[a.chosen()].Format }

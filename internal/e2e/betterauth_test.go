//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/betterauth"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// betterAuthTables are those of which a load or a sign-in changes rows.
var betterAuthTables = []string{"user", "account", "passkey", "twoFactor", "session", "member"}

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
		"# with: [passkey, phone-number]":      "with: [passkey, phone-number, organization, bridge]",
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
// and an undo leaves every row as it was. On MariaDB it is two of them.
func TestBetterAuth(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "moves every fixture")
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		seen := moveIntoBetterAuth(t, onPostgres(t), fixture.Names(t))
		for _, kind := range []string{"bcrypt", "argon2id", "argon2i", "firebase_scrypt", "identity", "organization"} {
			if seen[kind] == 0 {
				t.Errorf("nobody was seen with %s: %v", kind, seen)
			}
		}
	})
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		seen := moveIntoBetterAuth(t, onMariaDB(t), []string{"core-9.3.0", "core-10.1.4"})
		for _, kind := range []string{"bcrypt", "argon2id", "identity", "organization"} {
			if seen[kind] == 0 {
				t.Errorf("nobody was seen with %s: %v", kind, seen)
			}
		}
	})
}

func moveIntoBetterAuth(t *testing.T, s *sqlSite, names []string) map[string]int {
	t.Helper()
	server := betterauth.Start(t, betterauth.Options{
		DSN: s.dsn, Verify: "../../plugins/generic-sql/verify/index.js", SignerKey: fixture.Read(t, "core-10.1.4").FirebaseSignerKey,
	})
	// Somebody was there before.
	s.exec(t, `INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt") VALUES ('before', 'Before', 'before@example.com', true, now(), now())`)
	s.exec(t, `INSERT INTO account (id, "accountId", "providerId", "userId", "createdAt", "updatedAt") VALUES ('before', 'g', 'google', 'before', now(), now())`)
	env := []string{"BETTER_AUTH_DATABASE_URL=" + s.dsn}
	rows := func() string { return s.rows(t, betterAuthTables...) }
	seen := map[string]int{}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			everybody := name == "core-10.1.4" || os.Getenv("STETL_TEST_EVERY_SIGN_IN") != ""
			people := readAccounts(t, name)
			organize(t, s, people)
			before := rows()
			config := betterAuthConfig(t, server, name, everybody)
			if r := runStetl(t, env, "check", "--config", config); r.code != exitDone {
				t.Fatalf("check: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t)
			if rows() != before {
				t.Error("the dry run has changed the database")
			}
			first := runStetl(t, env, "run", "--config", config, "--json")
			loaded := first.report(t)
			if loaded.Summary != planned.Summary {
				t.Errorf("the run did %+v, the dry run said %+v", loaded.Summary, planned.Summary)
			}
			if s := loaded.Summary; s.Read != len(people) || s.Accounted() != len(people) || s.InDoubt > 0 || s.Created == 0 {
				t.Fatalf("exit %d, summary %+v, the record has %d accounts\n%s", first.code, s, len(people), first.stderr)
			}
			if len(loaded.Canaries) == 0 || slices.ContainsFunc(loaded.Canaries, func(p engine.Proof) bool { return p.Proven != everybody && (!everybody || !p.Unasked) }) {
				t.Errorf("canaries: %+v", loaded.Canaries)
			}
			signInToBetterAuth(t, server, s, people, &loaded, seen, everybody)
			s.exec(t, `DELETE FROM session`)
			after := rows()
			again := runStetl(t, env, "run", "--config", config, "--json").report(t)
			if again.Summary.Created != 0 || again.Summary.Updated != 0 || again.Summary.Unchanged != loaded.Summary.Created || rows() != after {
				t.Errorf("the second run did %+v after %+v", again.Summary, loaded.Summary)
			}
			if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
				t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone {
				t.Errorf("undo: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if now := rows(); now != before {
				t.Errorf("the undo has left:\n%s\nbefore it was:\n%s", now, before)
			}
		})
	}
	t.Logf("seen: %v", seen)
	return seen
}

// tenants are those of all logins of somebody, but the one that everybody is in.
func (a *account) tenants() (out []string) {
	for _, l := range a.Logins {
		for _, tenant := range l.Tenants {
			if tenant != "public" && !slices.Contains(out, tenant) {
				out = append(out, tenant)
			}
		}
	}
	return out
}

// organize makes an organization of each tenant.
func organize(t *testing.T, s *sqlSite, people []account) {
	t.Helper()
	there := s.pairs(t, `SELECT id, slug FROM organization`)
	for i := range people {
		for _, tenant := range people[i].tenants() {
			if there[tenant] == "" {
				s.exec(t, fmt.Sprintf(`INSERT INTO organization (id, name, slug, "createdAt") VALUES ('%[1]s', '%[1]s', '%[1]s', now())`, tenant))
				there[tenant] = tenant
			}
		}
	}
}

// signInToBetterAuth tries the passwords of those who were loaded: of everybody, or of one
// for each kind of hash. Of all the others it looks at what is stored, and at their
// identities.
func signInToBetterAuth(t *testing.T, server *betterauth.Server, s *sqlSite, people []account, loaded *runReport, seen map[string]int, everybody bool) {
	t.Helper()
	here := s.pairs(t, `SELECT id, email FROM "user"`)
	stored := s.pairs(t, `SELECT "userId", password FROM account WHERE "providerId" = 'credential'`)
	identities := map[string]string{} // to the id of the user
	for _, row := range s.table(t, `SELECT "providerId", "accountId", "userId" FROM account`) {
		identities[row[0]+" "+row[1]] = row[2]
	}
	members := map[string]bool{}
	for _, row := range s.table(t, `SELECT "userId", "organizationId" FROM member`) {
		members[row[0]+" "+row[1]] = true
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
		tenants := a.tenants()
		for _, tenant := range tenants {
			if !members[a.VisibleID+" "+tenant] {
				t.Errorf("%s is no member of %s", a.VisibleID, tenant)
			}
		}
		password, ok := a.anyPassword()
		if !ok {
			return nil
		}
		if len(tenants) > 0 && first("organization") {
			if shown, err := server.Organizations(ctx, email, password); err != nil || !slices.Equal(slices.Sorted(slices.Values(shown)), slices.Sorted(slices.Values(tenants))) {
				t.Errorf("%s sees the organizations %v, and is of %v (%v)", a.VisibleID, shown, tenants, err)
			}
			mu.Lock()
			seen["organization"]++
			mu.Unlock()
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

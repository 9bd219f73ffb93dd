//go:build unix

package cutover_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mariadb"
)

// bridgeRole makes a role with the rights that are printed for it, and gives its address.
func bridgeRole(t *testing.T, address string, hashes bool) string {
	t.Helper()
	s, database := mariadb.Start(t), address[strings.LastIndexByte(address, '/')+1:]
	tables, err := supertokens.OpenTables(t.Context(), supertokens.Options{URL: canonical.NewSecret(address)})
	if err != nil {
		t.Fatal(err)
	}
	role := "bridge_" + database
	statements := append([]string{"CREATE USER `" + role + "`@`%` IDENTIFIED BY 'canary'"}, cutover.Grants(tables, "", role, hashes)...)
	if err := tables.Close(); err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		s.Exec(t, "", statement)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "canary")
	return u.String()
}

func refusedByMySQL(t *testing.T, db *cutover.DB, statement string) {
	t.Helper()
	if _, err := db.Sessions().Database().Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("%s: %v", statement, err)
	}
}

// TestLeastPrivilegeOnMySQL does everything with a role that has the printed rights and no
// others, and asks for rights that it lacks.
func TestLeastPrivilegeOnMySQL(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mysql/core-3.3.0", "mysql/core-9.3.0", "mysql/core-9.3.0-prefixed", "mysql/core-10.1.4-latin1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, address := fixture.Read(t, name), fixture.Restore(t, name)
			role := bridgeRole(t, address, true)
			db := open(t, role, tr.FirebaseSignerKey, fixed)
			uses := cutover.Uses{Sessions: true, Resets: true, Verifications: true}
			if missing, err := cutover.MissingRights(t.Context(), db.Sessions(), uses); err != nil || len(missing) > 0 {
				t.Errorf("the printed rights lack %v, %v", missing, err)
			}
			found, user := liveSession(t, db, tr)
			if _, err := db.SigningKey(t.Context()); err != nil {
				t.Error(err)
			}
			c, errCandidate := db.Passwords.Candidate(t.Context(), "public", tr.ResetTokens[0].Email)
			_, _, errWaiting := db.Passwords.Waiting(t.Context(), []canonical.Scheme{canonical.Bcrypt})
			_, errFail := db.Failures.Fail(t.Context(), "s", "x", 3, time.Minute)
			_, errUnlock := db.Failures.UnlockAll(t.Context())
			nothing := func(cutover.Link) error { return nil }
			var live fixture.OneTime
			for _, v := range tr.VerificationTokens {
				if !v.Expired && v.AppID == "public" {
					live = v
				}
			}
			login := cutover.Login{Request: []byte(`{}`), Session: found, UserID: user.ID}
			only := cutover.Binding{ClientID: "c", Challenge: "d"}
			for _, step := range []struct {
				what string
				err  error
			}{
				{"candidate", errCandidate},
				{"waiting", errWaiting},
				{"fail", errFail},
				{"unlock", errUnlock},
				{"arrived", db.Passwords.Arrived(t.Context(), c.User)},
				{"reset", db.Links.ConsumeReset(t.Context(), tr.ResetTokens[0].Token, false, nothing)},
				{"verify", db.Links.ConsumeVerification(t.Context(), live.Token, nothing)},
				{"ticket", db.Logins.IssueTicket(t.Context(), "t", only, login)},
				{"issue", db.Logins.Issue(t.Context(), "c", login)},
				{"redeem", db.Logins.Redeem(t.Context(), "c", found)},
			} {
				if step.err != nil {
					t.Errorf("%s: %v", step.what, step.err)
				}
			}
			if l, err := db.Logins.TakeTicket(t.Context(), "t", only); err != nil || l.Session.Handle != found.Handle || !l.Session.Created.Equal(found.Created) {
				t.Errorf("ticket: %+v, %v", l, err)
			}
			if _, err := db.Logins.TakeTicket(t.Context(), "t", only); !errors.Is(err, cutover.ErrNoTicket) {
				t.Errorf("the ticket again: %v", err)
			}
			table := func(name supertokens.TableName) string {
				from, ok := db.Sessions().Tables().Table(name)
				if !ok {
					t.Fatalf("no table %s", name)
				}
				return from.SQL()
			}
			for _, statement := range []string{
				"DELETE FROM " + table(supertokens.EmailPasswordUsers), "UPDATE " + table(supertokens.EmailPasswordUsers) + " SET email = 'x'",
				"UPDATE " + table(supertokens.SessionInfo) + " SET user_id = 'x'", "DELETE FROM " + table(supertokens.KeyValue), "CREATE DATABASE stetl_bridge_other",
				"CREATE TABLE x (a int)",
			} {
				refusedByMySQL(t, db, statement)
			}
			if metadata, ok := db.Sessions().Tables().Table(supertokens.UserMetadata); ok {
				refusedByMySQL(t, db, "SELECT 1 FROM "+metadata.SQL())
			}
			s := mariadb.Start(t)
			for right, on := range map[string]string{"DELETE": table(supertokens.SessionInfo), "INSERT": table(supertokens.VerifiedEmails)} {
				s.Exec(t, "", fmt.Sprintf("REVOKE %s ON %s FROM `bridge_%s`@`%%`", right, on, address[strings.LastIndexByte(address, '/')+1:]))
			}
			missing, err := cutover.MissingRights(t.Context(), open(t, role, "", fixed).Sessions(), uses)
			want := []string{"DELETE on " + table(supertokens.SessionInfo), "INSERT on " + table(supertokens.VerifiedEmails)}
			if err != nil || fmt.Sprint(missing) != fmt.Sprint(want) {
				t.Errorf("lacks %v, %v; want %v", missing, err, want)
			}
		})
	}
}

// TestMySQLRoleThatReadsNoHashes serves everything but the check of passwords.
func TestMySQLRoleThatReadsNoHashes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mysql/core-3.3.0", "mysql/core-9.3.0"} {
		tr, address := fixture.Read(t, name), fixture.Restore(t, name)
		store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(bridgeRole(t, address, false))}, session.Config{Now: fixed, Connections: 4, WithoutHashes: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		db, err := cutover.Open(t.Context(), store, cutover.Options{})
		if err != nil {
			t.Fatal(err)
		}
		worksWithoutHashes(t, db, name, tr)
		refusedByMySQL(t, db, "SELECT password_hash FROM emailpassword_users LIMIT 1")
	}
}

// TestKilledBetweenSteps ends the connections of an instance while it asks the target: what
// it had taken is there again, and works once.
func TestKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	const name = "mysql/core-9.3.0"
	tr, address := fixture.Read(t, name), fixture.Restore(t, name)
	role := bridgeRole(t, address, true)
	db := open(t, role, "", fixed)
	found, user := liveSession(t, db, tr)
	kill := func() {
		mariadb.KillUser(t, mariadb.Start(t), "bridge_"+address[strings.LastIndexByte(address, '/')+1:])
	}
	rows := func(table string) int { return fixture.Value[int](t, address, "SELECT count(*) FROM "+table) }
	before := map[string]int{}
	tables := []string{"session_info", "emailpassword_pswd_reset_tokens", "emailverification_tokens", "emailverification_verified_emails"}
	for _, table := range tables {
		before[table] = rows(table)
	}
	verify, reset := tr.VerificationTokens[0].Token, tr.ResetTokens[0].Token
	steps := map[string]func(do func() error) error{
		"session": func(do func() error) error { return db.Logins.Exchange(t.Context(), found, do) },
		"reset": func(do func() error) error {
			return db.Links.ConsumeReset(t.Context(), reset, true, func(cutover.Link) error { return do() })
		},
		"verification": func(do func() error) error {
			return db.Links.ConsumeVerification(t.Context(), verify, func(cutover.Link) error { return do() })
		},
	}
	for what, step := range steps {
		asked := false
		if err := step(func() error { asked = true; kill(); return nil }); err == nil || !asked {
			t.Errorf("%s, killed: asked %v, %v", what, asked, err)
		}
	}
	for _, table := range tables {
		if n := rows(table); n != before[table] {
			t.Errorf("%s has %d rows, had %d", table, n, before[table])
		}
	}
	if err := db.Logins.Issue(t.Context(), "c", cutover.Login{Request: []byte(`{}`), Session: found, UserID: user.ID}); err != nil {
		t.Fatal(err)
	}
	if err := db.Logins.Redeem(t.Context(), "c", found); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	for what, step := range steps {
		asked := 0
		var late error
		for range 2 {
			late = step(func() error { asked++; return nil })
		}
		want := map[string]int{"session": 0, "reset": 1, "verification": 1}[what]
		if asked != want || !errors.Is(late, session.ErrRevoked) && !errors.Is(late, cutover.ErrNoLink) {
			t.Errorf("%s, afterwards: asked %d times, then %v", what, asked, late)
		}
	}
}

// TestNothingByCollation: what the server takes for equal is somebody else.
func TestNothingByCollation(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mysql/core-10.1.4", "mysql/core-10.1.4-latin1", "mysql/core-3.3.0"} {
		tr, address := fixture.Read(t, name), fixture.Restore(t, name)
		db := open(t, address, "", fixed)
		store := db.Sessions()
		found, user := liveSession(t, db, tr)
		for _, handle := range []string{strings.ToUpper(found.Handle), found.Handle + " ", found.Handle + "😀"} {
			other := found
			other.Handle = handle
			if _, err := session.ByHandle(t.Context(), store, handle, session.Check{}); !errors.Is(err, session.ErrRevoked) {
				t.Errorf("%s: session %q: %v", name, handle, err)
			}
			if strings.HasSuffix(handle, "😀") {
				continue // in latin1 the server refuses to compare it, and nobody verifies one
			}
			if err := db.Logins.End(t.Context(), other); !errors.Is(err, session.ErrRevoked) {
				t.Errorf("%s: the end of %q: %v", name, handle, err)
			}
		}
		for _, id := range []string{strings.ToUpper(user.ID), user.ID + " ", user.ID + "😀"} {
			if u, err := store.UserByVisibleID(t.Context(), id); !errors.Is(err, session.ErrNoUser) {
				t.Errorf("%s: %q is %+v, %v", name, id, u, err)
			}
		}
		if n, err := store.RevokeAll(t.Context(), session.Selection{UserID: strings.ToUpper(found.RowUserID)}); err != nil || n != 0 {
			t.Errorf("%s: %d sessions of another one, %v", name, n, err)
		}
		email := tr.ResetTokens[0].Email
		for _, name := range []string{strings.ToUpper(email), email + " "} { // the core takes both for this one
			if c, err := db.Passwords.Candidate(t.Context(), "public", name); err != nil || c.Email != email {
				t.Errorf("%q is %+v, %v", name, c.User, err)
			}
		}
		if n := fixture.Value[int](t, address, "SELECT count(*) FROM session_info WHERE session_handle = $1", found.Handle); n != 1 {
			t.Errorf("%s: %d sessions are left", name, n)
		}
	}
}

// TestEngineWithoutTransactions is refused: nothing would happen once.
func TestEngineWithoutTransactions(t *testing.T) {
	t.Parallel()
	address := fixture.Restore(t, "mysql/core-3.3.0")
	// Its keys are too long for this engine.
	fixture.Exec(t, address, "ALTER TABLE session_info DROP PRIMARY KEY, ENGINE = MyISAM")
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(address)}, session.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if _, err := cutover.Open(t.Context(), store, cutover.Options{}); err == nil || !strings.Contains(err.Error(), "ENGINE = InnoDB") {
		t.Errorf("error %v", err)
	}
	_, err = session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(address), Charset: "latin1"}, session.Config{})
	if !errors.As(err, new(*supertokens.SettingError)) {
		t.Errorf("texts that are stored wrong: %v", err)
	}
}

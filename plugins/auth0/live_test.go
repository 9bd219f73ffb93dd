package auth0

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/testenv"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
)

// memory is a journal that survives plugins.
type memory struct {
	mu    sync.Mutex
	saved map[string][]byte
	lose  func(key string, value []byte) bool
}

func (m *memory) Saved(context.Context) (map[string][]byte, error) { return m.held(), nil }

func (m *memory) held() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]byte{}
	for k, v := range m.saved {
		out[k] = v
	}
	return out
}

func (m *memory) Save(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lose != nil && m.lose(key, value) {
		return fmt.Errorf("the disk is full")
	}
	if m.saved == nil {
		m.saved = map[string][]byte{}
	}
	m.saved[key] = value
	return nil
}

type bundle struct {
	t      *testing.T
	server *simulator.Server
	client *plugintest.Client
	memory *memory
	config map[string]any
}

// start serves the plugin against a tenant.
func start(t *testing.T, o simulator.Options, more map[string]any) *bundle {
	t.Helper()
	b := &bundle{t: t, server: simulator.Start(t, o), memory: &memory{}}
	b.config = map[string]any{
		"domain": "tenant.eu.auth0.test", "api_url": b.server.URL, "client_id": "stetl", "client_secret": "client-secret-of-the-tenant",
		"connection": "Username-Password-Authentication", "poll_interval": "10ms", "deferred": filepath.Join(t.TempDir(), "deferred.jsonl"),
		"canary_client_id": "stetl", "canary_client_secret": "client-secret-of-the-tenant",
	}
	for k, v := range more {
		b.config[k] = v
	}
	b.client = b.serve()
	return b
}

// serve starts another process of the plugin, with the same memory.
func (b *bundle) serve() *plugintest.Client {
	return plugintest.ServeWith(b.t, Plugin(), b.config, plugintest.Host{Memory: b.memory, FingerprintKey: []byte("key")})
}

func (b *bundle) load(users ...sdk.User) map[string]sdk.Outcome {
	b.t.Helper()
	outcomes, err := b.client.Load(b.t.Context(), users)
	if err != nil {
		b.t.Fatal(err)
	}
	byID := map[string]sdk.Outcome{}
	for _, o := range outcomes {
		byID[o.SourceID] = o
	}
	return byID
}

func (b *bundle) plan(users ...sdk.User) map[string]sdk.Change {
	b.t.Helper()
	list, err := b.client.Plan(b.t.Context(), users)
	if err != nil {
		b.t.Fatal(err)
	}
	byID := map[string]sdk.Change{}
	for _, c := range list {
		byID[c.SourceID] = c
	}
	return byID
}

func (b *bundle) expect(got map[string]sdk.Outcome, action sdk.Action, n int) {
	b.t.Helper()
	count := 0
	for _, o := range got {
		if o.Action == action {
			count++
		} else if action == sdk.Created {
			b.t.Logf("%s: %s %s: %s", o.SourceID, o.Action, o.Code, o.Detail)
		}
	}
	if count != n {
		b.t.Errorf("%d of %d users are %s, want %d", count, len(got), action, n)
	}
}

// light is a person whose hash is quick to verify.
func light(n int, change ...func(*sdk.User)) sdk.User {
	return person(n, append([]func(*sdk.User){func(u *sdk.User) {
		u.Password = canonical.ParsePasswordHash("$2a$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy")
	}}, change...)...)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Processing: true}, nil)
	users := append(people(1, 30), person(31, everything))
	if l, err := b.client.Check(t.Context(), sdk.Needs{Users: 31, Roles: []string{"admin"}, Tenants: []string{"acme", "public"}}); err != nil || len(l.Diagnostics) > 0 {
		t.Errorf("check: %v, %v", l, err)
	}
	for _, c := range b.plan(users...) {
		if c.Action != sdk.Created {
			t.Errorf("planned %+v", c)
		}
	}
	if n := b.server.Writes(); n != 0 {
		t.Errorf("check and plan made %d writes", n)
	}
	b.expect(b.load(users...), sdk.Created, 31)
	held := b.server.Users()
	if len(held) != 31 || b.server.Imports() != 1 {
		t.Errorf("%d users, %d jobs", len(held), b.server.Imports())
	}
	for _, j := range b.server.Jobs() {
		if j.Mail || j.Upsert || j.Size > importjob.Budget || !strings.HasPrefix(j.ExternalID, "stetl-") {
			t.Errorf("%+v", j)
		}
	}
	ann := held["auth0|"+users[30].ID]
	if ann.Email != "ann@example.com" || !ann.EmailVerified || !ann.Blocked || len(ann.TOTP) != 1 || fmt.Sprint(ann.Roles) != "[admin]" || fmt.Sprint(ann.Organizations) != "map[acme:[owner]]" {
		t.Errorf("%+v", ann)
	}
	writes := b.server.Writes()
	for id, o := range b.load(users...) { // as if the journal were lost
		want := "password  load.unread"
		if id == "source-31" {
			want += ", totp  load.unread"
		}
		if o.Action != sdk.Unchanged || lossText(o) != want {
			t.Errorf("%s again: %s, lost %s", id, o.Action, lossText(o))
		}
	}
	if len(b.server.Users()) != 31 || b.server.Writes() != writes+1 {
		t.Errorf("%d users, %d writes after %d", len(b.server.Users()), b.server.Writes(), writes)
	}
	var evidence int
	for key, value := range b.memory.held() {
		if strings.HasPrefix(key, "job:") {
			evidence++
		}
		if key == importjob.OpenJobs && string(value) != "[]" {
			t.Errorf("open jobs: %s", value)
		}
		if strings.Contains(string(value), "$2a$") || strings.Contains(string(value), "@") {
			t.Errorf("%s holds %s", key, value)
		}
	}
	if evidence != 2 {
		t.Errorf("%d jobs are on record", evidence)
	}
}

// TestPasswordsWork signs in with what was imported, in both shapes.
func TestPasswordsWork(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	users := []sdk.User{light(1), person(2, func(u *sdk.User) {
		u.Password = canonical.ParsePasswordHash("$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")
	})}
	b.expect(b.load(users...), sdk.Created, 2)
	for _, try := range []struct {
		username, password string
		right              bool
	}{
		{users[1].Email, "wrong", false},
		{users[0].Email, "wrong", false},
	} {
		ok, err := b.client.Login(t.Context(), sdk.Login{Username: try.username, Password: sdk.NewSecret(try.password)})
		if err != nil || ok != try.right {
			t.Errorf("%s: %v, %v", try.username, ok, err)
		}
	}
}

// TestExistingAccounts: what others have made is never changed without being told.
func TestExistingAccounts(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Ghosts: []string{"user4@example.com"}}, nil)
	b.server.Put(simulator.User{ID: "auth0|other", Email: "user1@example.com"})
	b.server.Put(simulator.User{ID: "auth0|" + person(2).ID, Email: "user2@example.com", EmailVerified: true, Name: "user2@example.com"})
	b.server.Put(simulator.User{ID: "auth0|" + person(3).ID, Email: "x@example.com", Connection: "another"})
	users := people(1, 5)
	plan, got := b.plan(users...), b.load(users...)
	for n, want := range map[int]struct {
		action sdk.Action
		code   sdk.Code
	}{
		1: {sdk.Rejected, sdk.CodeEmailConflict}, 2: {sdk.Skipped, sdk.CodeExistsDiffers}, 3: {sdk.Rejected, sdk.CodeIDConflict},
		4: {sdk.Rejected, codeGhostUser}, 5: {sdk.Created, ""},
	} {
		id := fmt.Sprintf("source-%d", n)
		if got[id].Action != want.action || got[id].Code != want.code {
			t.Errorf("%s: %+v, want %v", id, got[id], want)
		}
		if n != 4 && plan[id].Action != want.action { // nobody sees a ghost
			t.Errorf("%s: planned %s, want %v", id, plan[id].Action, want)
		}
	}
	if len(b.server.Users()) != 4 {
		t.Errorf("%d users", len(b.server.Users()))
	}
}

// TestUpdateAndUndo follows an account from its creation to its end.
func TestUpdateAndUndo(t *testing.T) {
	t.Parallel()
	for _, replaces := range []bool{false, true} {
		t.Run(fmt.Sprint(replaces), func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{ReplacesMetadata: replaces}, nil)
			u := light(1, func(u *sdk.User) { u.Roles = map[string][]string{"public": {"admin", "editor"}} })
			first := b.load(u)[u.SourceID]
			id := first.TargetID
			b.server.Change(id, func(a *simulator.User) { a.AppMetadata["theirs"] = "kept" })

			u.GivenName, u.FamilyName, u.Email, u.EmailVerified = "Ann", "B", "new@example.com", nil
			u.Roles = map[string][]string{"public": {"editor", "owner"}}
			u.Existing, u.Prior = sdk.Update, sdk.Prior{TargetID: id, State: first.State}
			planned := b.plan(u)[u.SourceID]
			if planned.Action != sdk.Updated || len(planned.Fields) != 7 {
				t.Errorf("planned %+v", planned)
			}
			for _, f := range planned.Fields {
				if f.Drift {
					t.Errorf("%+v is no drift", f)
				}
			}
			u.Expect = planned.State
			second := b.load(u)[u.SourceID]
			a := b.server.Users()[id]
			if second.Action != sdk.Updated || a.Email != "new@example.com" || a.EmailVerified || a.Name != "Ann B" || a.AppMetadata["theirs"] != "kept" || fmt.Sprint(a.Roles) != "[editor owner]" {
				t.Errorf("%+v\n%+v", second, a)
			}
			u.Prior.State, u.Expect = second.State, nil
			if again := b.plan(u)[u.SourceID]; again.Action != sdk.Unchanged || string(again.State) != string(second.State) {
				t.Errorf("again: %+v", again)
			}
			b.server.Change(id, func(a *simulator.User) { a.GivenName = "Eve" })
			drifted := b.plan(u)[u.SourceID]
			if drifted.Action != sdk.Updated || len(drifted.Fields) != 1 || !drifted.Fields[0].Drift {
				t.Errorf("drift: %+v", drifted)
			}
			u.Expect = second.State
			if o := b.load(u)[u.SourceID]; o.Action != sdk.Rejected || o.Code != sdk.CodeMoved {
				t.Errorf("moved: %+v", o)
			}
			undo := func(state, before []byte) sdk.Outcome {
				o, err := b.client.Undo(t.Context(), []sdk.Account{{SourceID: u.SourceID, TargetID: id, State: state, Before: before}})
				if err != nil {
					t.Fatal(err)
				}
				return o[0]
			}
			if o := undo(second.State, nil); o.Action != sdk.Skipped || o.Code != sdk.CodeMoved {
				t.Errorf("undo of a moved account: %+v", o)
			}
			b.server.Change(id, func(a *simulator.User) { a.GivenName = "Ann" })
			if o := undo(second.State, second.Before); o.Action != sdk.Updated {
				t.Errorf("restore: %+v", o)
			}
			a = b.server.Users()[id]
			if a.Email != "user1@example.com" || !a.EmailVerified || a.GivenName != "" || a.AppMetadata["theirs"] != "kept" || fmt.Sprint(a.Roles) != "[admin editor]" {
				t.Errorf("restored %+v", a)
			}
			b.server.Put(simulator.User{ID: "auth0|theirs", Email: "t@example.com"})
			if o, err := b.client.Undo(t.Context(), []sdk.Account{{SourceID: "x", TargetID: "auth0|theirs"}}); err != nil || o[0].Action != sdk.Skipped {
				t.Errorf("undo of a stranger: %+v, %v", o, err)
			}
			if o := undo(nil, nil); o.Action != sdk.Deleted {
				t.Errorf("undo: %+v", o)
			}
			if o := undo(nil, nil); o.Action != sdk.Unchanged {
				t.Errorf("undo again: %+v", o)
			}
		})
	}
}

// TestPasswordChange: a new hash reaches an account nobody has signed in to, and
// nothing else is lost on the way.
func TestPasswordChange(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	u := person(1)
	first := b.load(u)[u.SourceID]
	b.server.Change(first.TargetID, func(a *simulator.User) {
		a.AppMetadata["theirs"], a.UserMetadata = "kept", map[string]any{"theme": "dark"}
	})
	u.Password = light(1).Password
	u.Existing, u.Prior = sdk.Update, sdk.Prior{TargetID: first.TargetID, State: first.State}
	if c := b.plan(u)[u.SourceID]; c.Action != sdk.Updated || len(c.Fields) != 1 || c.Fields[0].Field != fieldPassword || strings.Contains(c.Fields[0].New, "$2") {
		t.Errorf("%+v", c)
	}
	second := b.load(u)[u.SourceID]
	a := b.server.Users()[first.TargetID]
	if second.Action != sdk.Updated || a.AppMetadata["theirs"] != "kept" || a.UserMetadata["theme"] != "dark" || !a.EmailVerified {
		t.Errorf("%+v\n%+v", second, a)
	}
	u.Prior.State = second.State
	if c := b.plan(u)[u.SourceID]; c.Action != sdk.Unchanged {
		t.Errorf("again: %+v", c)
	}
	u.Password = canonical.ParsePasswordHash("$2a$10" + tail) // no upsert takes this shape
	kept := func(what string, o sdk.Outcome) {
		t.Helper()
		if o.Action != sdk.Unchanged || lossText(o) != "password  auth0.password_kept" {
			t.Errorf("%s: %s, lost %s", what, o.Action, lossText(o))
		}
		u.Prior.State = o.State
	}
	kept("a hash of another shape", b.load(u)[u.SourceID])
	u.Password = person(1).Password
	b.server.Change(first.TargetID, func(a *simulator.User) { a.Logins = 1 })
	imports := b.server.Imports()
	kept("after a sign-in", b.plan(u)[u.SourceID].Outcome)
	kept("after a sign-in", b.load(u)[u.SourceID])
	kept("once more", b.load(u)[u.SourceID])
	if b.server.Imports() != imports {
		t.Error("a password that the owner has chosen was sent")
	}
}

// lossText is what an account has lost, in order.
func lossText(o sdk.Outcome) string {
	var out []string
	for _, l := range o.Losses {
		out = append(out, fmt.Sprintf("%s %s %s", l.Feature, l.Attribute, l.Code))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestWhatGoesWrong injects every failure of a job into the first or first two of
// them. Whatever happens, every user is there once and has one outcome.
func TestWhatGoesWrong(t *testing.T) {
	t.Parallel()
	for _, failure := range []simulator.Failure{
		simulator.Dropped, simulator.Busy, simulator.TooLarge, simulator.Broken, simulator.Unparsed, simulator.Explained, simulator.TimedOut, simulator.Vanished,
	} {
		for _, scopes := range []string{"all", "no log"} {
			t.Run(string(failure)+", "+scopes, func(t *testing.T) {
				t.Parallel()
				o := simulator.Options{Status: "thinking", Fails: func(n int) simulator.Failure {
					if n <= 2 {
						return failure
					}
					return ""
				}}
				if scopes == "no log" {
					o.Scopes = append(loadScopes, "read:guardian_factors")
				}
				b := start(t, o, nil)
				got := b.load(people(1, 20)...)
				b.expect(got, sdk.Created, 20)
				if n := len(b.server.Users()); n != 20 {
					t.Errorf("%d users", n)
				}
				if n := b.server.MostActive(); n > 2 {
					t.Errorf("%d jobs at once", n)
				}
				for _, o := range b.plan(people(1, 20)...) {
					if o.Action != sdk.Unchanged {
						t.Errorf("afterwards: %+v", o)
					}
				}
			})
		}
	}
}

// TestOneUserThatNoFileCanHold: a job that fails as a whole costs the user at fault
// only.
func TestBadUserCostsNobodyElse(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Connection: simulator.Connection{Phone: true, EmailOptional: true}, NoFactors: []string{person(3).ID}}, map[string]any{
		"phone_numbers": "attribute", "without_email": "import",
	})
	same := func(u *sdk.User) { u.Phone, u.PhoneVerified = "+49123", new(true) }
	b.server.Put(simulator.User{ID: "auth0|x", Email: "phone@example.com", Phone: "+49123"})
	got := b.load(person(1, same), person(2), person(3, everything), person(4, func(u *sdk.User) { u.Email, u.Phone = "", "+49777" }))
	if got["source-1"].Action == sdk.Created || got["source-1"].Code == "" {
		t.Errorf("%+v", got["source-1"])
	}
	for _, id := range []string{"source-2", "source-3", "source-4"} {
		if got[id].Action != sdk.Created {
			t.Errorf("%+v", got[id])
		}
	}
	if a := b.server.Users()["auth0|"+person(3).ID]; len(a.TOTP) != 1 {
		t.Errorf("the authenticator was not added: %+v", a)
	}
}

// TestManyUsers compares through an export, whose links run out and whose storage
// refuses tokens.
func TestManyUsers(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, map[string]any{"lookups_before_export": 10})
	users := people(1, 300)
	b.server.Put(simulator.User{ID: "auth0|other", Email: "user7@example.com"})
	got := b.load(users...)
	b.expect(got, sdk.Created, 299)
	before := len(b.server.Requests())
	for i := range users {
		users[i].Existing, users[i].Prior = sdk.Update, sdk.Prior{State: got[users[i].SourceID].State, TargetID: got[users[i].SourceID].TargetID}
	}
	same := 0
	for _, c := range b.plan(users...) {
		if c.Action == sdk.Unchanged {
			same++
		}
	}
	if n := len(b.server.Requests()) - before; same != 299 || n > 60 {
		t.Errorf("%d are unchanged, %d requests", same, n)
	}
	b.server.Remove(got["source-9"].TargetID)
	users[9].GivenName = "New"
	users[9].Expect = got["source-10"].State
	if o := b.load(users[9])["source-10"]; o.Action != sdk.Updated {
		t.Errorf("%+v", o)
	}
	if c := b.plan(users[9])["source-10"]; c.Action != sdk.Unchanged { // written since the export
		t.Errorf("%+v", c)
	}
}

// TestPasswordless makes users one by one where that is asked for.
func TestPasswordless(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, map[string]any{"passwordless": "create"})
	nobody := func(u *sdk.User) { u.Class, u.Password = sdk.NoPassword, sdk.PasswordHash{} }
	users := []sdk.User{
		person(1, nobody), person(2, nobody, func(u *sdk.User) { u.Email, u.Phone, u.PhoneVerified = "", "+49123", new(true) }),
		person(3, nobody, func(u *sdk.User) { u.Identities = []sdk.Identity{{Provider: "google", Subject: "7"}} }),
	}
	got := b.load(users...)
	if got["source-1"].TargetID != "email|"+users[0].ID || got["source-2"].TargetID != "sms|"+users[1].ID || got["source-3"].Code != codeSocialDeferred {
		t.Errorf("%+v", got)
	}
	for id, o := range b.load(users...) {
		if id != "source-3" && o.Action != sdk.Unchanged {
			t.Errorf("again: %+v", o)
		}
	}
	if len(b.server.Users()) != 2 || b.server.Imports() != 0 {
		t.Errorf("%d users, %d jobs", len(b.server.Users()), b.server.Imports())
	}
}

// TestRateLimit runs against a tenant that allows little.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "waits as the limit wants it")
	b := start(t, simulator.Options{Burst: 5, PerSecond: 20}, nil)
	users := people(1, 12)
	for i := range users {
		users[i].Roles = map[string][]string{"public": {fmt.Sprintf("role-%d", i)}}
	}
	b.expect(b.load(users...), sdk.Created, 12)
	b.server.Expire()
	if c := b.plan(users[0])["source-1"]; c.Action != sdk.Unchanged {
		t.Errorf("%+v", c)
	}
}

// TestCrash kills the plugin's conversation at every note in its journal, and lets
// another process finish.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"before the request", "before the id is known to be durable"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{JobTime: func(int) time.Duration { return 300 * time.Millisecond }}, nil)
			notes := 0
			b.memory.lose = func(key string, _ []byte) bool {
				if key == importjob.OpenJobs {
					notes++
				}
				return key == importjob.OpenJobs && (moment == "before the request" || notes >= 2)
			}
			users := people(1, 5)
			for i := range users {
				users[i].Roles = map[string][]string{"public": {"admin"}}
			}
			for _, o := range b.load(users...) {
				if o.Action != sdk.InDoubt {
					t.Errorf("%+v", o)
				}
			}
			if jobs := b.server.Imports(); (moment == "before the request") != (jobs == 0) {
				t.Errorf("%d jobs", jobs)
			}
			b.memory.lose = nil
			b.client = b.serve()
			for i := range users {
				users[i].Prior.InDoubt = true
			}
			b.expect(b.load(users...), sdk.Created, 5)
			held := b.server.Users()
			for _, a := range held {
				if fmt.Sprint(a.Roles) != "[admin]" {
					t.Errorf("%+v", a)
				}
			}
			if jobs := b.server.Imports(); len(held) != 5 || jobs != 1 {
				t.Errorf("%d users, %d jobs", len(held), jobs)
			}
			var open []any
			if err := json.Unmarshal(b.memory.held()[importjob.OpenJobs], &open); err != nil || len(open) != 0 {
				t.Errorf("open jobs %v, %v", open, err)
			}
		})
	}
}

// An undo finds an account whose answer was lost by the id that it was to have and by what
// a load has left in it, and touches none that only has the id.
func TestUndoInDoubt(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	users := []sdk.User{light(1), light(2), light(3)}
	made := b.load(users[:1]...)["source-1"].TargetID
	b.server.Put(simulator.User{ID: targetID(users[1].ID), Email: "theirs@example.com", Connection: "Username-Password-Authentication"})
	var doubtful []sdk.Account
	for _, u := range users {
		doubtful = append(doubtful, sdk.Account{SourceID: u.SourceID, ID: u.ID, InDoubt: true})
	}
	out, err := b.client.Undo(t.Context(), doubtful)
	if err != nil || len(out) != 3 {
		t.Fatalf("%v, %v", out, err)
	}
	if out[0].Action != sdk.Deleted || out[0].TargetID != made || out[1].Code != sdk.CodeUndoInDoubt || out[1].TargetID != targetID(users[1].ID) || out[2].Action != sdk.Unchanged {
		t.Errorf("%+v", out)
	}
	if left := b.server.Users(); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// An account with the mark of a load that is older than the first run is not of that run,
// also when the run was killed.
func TestOlderThanTheFirstRun(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	users := []sdk.User{light(1), light(2)}
	made := b.load(users[:1]...)["source-1"].TargetID
	b.server.Change(made, func(u *simulator.User) { u.Created, u.GivenName = time.Now().Add(-time.Hour), "Theirs" })
	b.memory = &memory{} // the journal is lost
	b.client = b.serve()
	b.load(users[1])
	users[0].Prior.InDoubt = true
	if o := b.load(users[0])["source-1"]; o.Action != sdk.Skipped || o.Code != sdk.CodeExistsDiffers {
		t.Errorf("%s %s", o.Action, o.Code)
	}
	out, err := b.client.Undo(t.Context(), []sdk.Account{{SourceID: "source-1", ID: users[0].ID, InDoubt: true}})
	if err != nil || len(out) != 1 || out[0].Code != sdk.CodeUndoInDoubt || len(b.server.Users()) != 2 {
		t.Errorf("%+v, %v", out, err)
	}
}

// A passwordless user has an id of the tenant's own, which no run has learnt when the
// answer was lost.
func TestUndoInDoubtWithoutAnID(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{OwnIDs: true}, map[string]any{"passwordless": "create"})
	u := person(1, func(u *sdk.User) { u.Class, u.Password = sdk.NoPassword, sdk.PasswordHash{} })
	made := b.load(u)[u.SourceID]
	if made.Action != sdk.Created || made.TargetID == "email|"+u.ID {
		t.Fatalf("%+v", made)
	}
	out, err := b.client.Undo(t.Context(), []sdk.Account{{SourceID: u.SourceID, ID: u.ID, InDoubt: true}})
	if err != nil || len(out) != 1 || out[0].Action != sdk.Deleted || out[0].TargetID != made.TargetID || len(b.server.Users()) != 0 {
		t.Errorf("%+v, %v; left: %v", out, err, b.server.Users())
	}
}

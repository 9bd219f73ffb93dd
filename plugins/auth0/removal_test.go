package auth0

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// again is the user as a later run sends it: loaded before, with what that has left.
func again(u sdk.User, last sdk.Outcome) sdk.User {
	u.Existing, u.Prior = sdk.Update, sdk.Prior{TargetID: last.TargetID, State: last.State}
	return u
}

// seated is somebody with roles everywhere.
func seated(u *sdk.User) {
	u.Tenants, u.Roles = []string{"acme", "beta", "public"}, map[string][]string{"public": {"admin", "editor"}, "acme": {"owner", "viewer"}, "beta": {"owner"}}
}

func belongs(a simulator.User) string { return fmt.Sprint(a.Roles, a.Organizations) }

// TestRevoked: a role, a role inside of an organization and an organization are taken
// away. Where the tenant refuses that, or says that it has done it and has not, the run
// says so, and the next one tries again.
func TestRevoked(t *testing.T) {
	t.Parallel()
	fewer := map[string]func(*sdk.User){
		"role":         func(u *sdk.User) { u.Roles["public"] = []string{"editor"} },
		"seat":         func(u *sdk.User) { u.Roles["acme"] = []string{"viewer"} },
		"last seats":   func(u *sdk.User) { delete(u.Roles, "acme") },
		"organization": func(u *sdk.User) { u.Tenants = []string{"acme", "public"}; delete(u.Roles, "beta") },
		"everything":   func(u *sdk.User) { u.Tenants, u.Roles = []string{"public"}, nil },
	}
	left := map[string]string{
		"role": "[editor] map[acme:[owner viewer] beta:[owner]]", "seat": "[admin editor] map[acme:[viewer] beta:[owner]]",
		"last seats": "[admin editor] map[acme:[] beta:[owner]]", "organization": "[admin editor] map[acme:[owner viewer]]", "everything": "[] map[]",
	}
	lost := map[string]string{
		"role": "roles admin load.part_failed", "seat": "roles acme/owner load.part_failed",
		"last seats":   "roles acme/owner load.part_failed, roles acme/viewer load.part_failed",
		"organization": "roles beta/owner load.part_failed, tenants beta load.part_failed",
		"everything": "roles acme/owner load.part_failed, roles acme/viewer load.part_failed, roles admin load.part_failed, roles beta/owner load.part_failed, " +
			"roles editor load.part_failed, tenants acme load.part_failed, tenants beta load.part_failed",
	}
	for what, change := range fewer {
		for answer, status := range map[string]int{"done": 0, "ignored": 204, "refused": 403, "broken": 501} {
			t.Run(what+", "+answer, func(t *testing.T) {
				t.Parallel()
				var meddle atomic.Bool
				b := start(t, simulator.Options{Instead: func(method, path string) int {
					if meddle.Load() && method == http.MethodDelete {
						return status
					}
					return 0
				}}, nil)
				u := person(1, seated)
				first := b.load(u)[u.SourceID]
				before := belongs(b.server.Users()[first.TargetID])
				u = again(person(1, seated, change), first)
				if c := b.plan(u)[u.SourceID]; c.Action != sdk.Updated {
					t.Errorf("planned %s", c.Action)
				}
				meddle.Store(true)
				o := b.load(u)[u.SourceID]
				got, want, parts := belongs(b.server.Users()[first.TargetID]), left[what], ""
				if status != 0 {
					want, parts = before, lost[what]
				}
				if o.Action != sdk.Updated || lossText(o) != parts || got != want {
					t.Errorf("%s, lost %s; the account has %s, want %s", o.Action, lossText(o), got, want)
				}
				meddle.Store(false)
				u = again(u, o)
				for _, action := range []sdk.Action{sdk.Updated, sdk.Unchanged} {
					if status == 0 && action == sdk.Updated {
						continue
					}
					if o = b.load(u)[u.SourceID]; o.Action != action || lossText(o) != "" {
						t.Errorf("again: %s, lost %s", o.Action, lossText(o))
					}
					u = again(u, o)
				}
				if got := belongs(b.server.Users()[first.TargetID]); got != left[what] {
					t.Errorf("in the end the account has %s, want %s", got, left[what])
				}
			})
		}
	}
}

// TestRevokedUnseen: where the tenant shows no memberships, its answer counts, and what
// failed is remembered.
func TestRevokedUnseen(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	b := start(t, simulator.Options{Instead: func(method, path string) int {
		switch {
		case method == http.MethodGet && (strings.HasSuffix(path, "/roles") && strings.Contains(path, "/users/") || strings.HasSuffix(path, "/organizations") && strings.Contains(path, "/users/")):
			return 403
		case method == http.MethodPost && strings.HasSuffix(path, "/users") && strings.Contains(path, "/roles/"),
			method == http.MethodDelete && strings.HasSuffix(path, "/roles"):
			return int(status.Load())
		}
		return 0
	}}, nil)
	u := person(1, func(u *sdk.User) { u.Roles = map[string][]string{"public": {"admin"}} })
	status.Store(501)
	o := b.load(u)[u.SourceID]
	if o.Action != sdk.Created || lossText(o) != "roles admin load.part_failed" {
		t.Errorf("a grant that fails: %s, lost %s", o.Action, lossText(o))
	}
	step := func(what string, action sdk.Action, losses, held string) {
		t.Helper()
		u = again(u, o)
		if o = b.load(u)[u.SourceID]; o.Action != action || lossText(o) != losses {
			t.Errorf("%s: %s, lost %s", what, o.Action, lossText(o))
		}
		if got := fmt.Sprint(b.server.Users()[o.TargetID].Roles); got != held {
			t.Errorf("%s: the account has %s, want %s", what, got, held)
		}
	}
	step("it fails again", sdk.Unchanged, "roles admin load.part_failed", "[]")
	status.Store(0)
	step("tried again", sdk.Updated, "", "[admin]")
	step("nothing to do", sdk.Unchanged, "", "[admin]")
	u.Roles = nil
	status.Store(501)
	step("taking away fails", sdk.Updated, "roles admin load.part_failed", "[admin]")
	status.Store(0)
	step("tried again", sdk.Updated, "", "[]")
	step("nothing to do", sdk.Unchanged, "", "[]")
}

// TestLastPatchRefused: when the mark of an account cannot be put right after everything
// else was written, the account is updated, and the next run puts it right.
func TestLastPatchRefused(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"refused": 400, "broken": 501} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var late, off atomic.Bool
			b := start(t, simulator.Options{Instead: func(method, path string) int {
				late.CompareAndSwap(false, method == http.MethodDelete)
				if method == http.MethodPatch && late.Load() && !off.Load() {
					return status
				}
				return 0
			}}, nil)
			u := person(1, seated)
			first := b.load(u)[u.SourceID]
			u = again(person(1, seated, func(u *sdk.User) { u.Roles["public"] = []string{"editor"} }), first)
			o := b.load(u)[u.SourceID]
			if o.Action != sdk.Updated || lossText(o) != "metadata app_metadata.supertokens load.part_failed" {
				t.Errorf("%s %s, lost %q", o.Action, o.Code, lossText(o))
			}
			off.Store(true)
			for _, action := range []sdk.Action{sdk.Updated, sdk.Unchanged} {
				u = again(u, o)
				if o = b.load(u)[u.SourceID]; o.Action != action || lossText(o) != "" {
					t.Errorf("again: %s, lost %q", o.Action, lossText(o))
				}
			}
		})
	}
}

// TestExchangedAddresses: addresses that accounts pass on are carried, in chains and rings,
// and one that somebody else has is a conflict that leaves everybody as he was.
func TestExchangedAddresses(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]map[int]int{
		"two": {1: 2, 2: 1}, "a ring of four": {1: 2, 2: 3, 3: 4, 4: 1}, "a chain": {1: 2, 2: 3, 3: 9}, "to an outsider": {1: 2, 2: 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{}, nil)
			users := make([]sdk.User, 9)
			for i := range users {
				users[i] = light(i + 1)
			}
			first := b.load(users[:8]...)
			var changed []sdk.User
			for n, to := range next {
				u := again(users[n-1], first[users[n-1].SourceID])
				u.Email = users[to-1].Email
				changed = append(changed, u)
			}
			b.client = b.serve() // another run
			got, held := b.load(changed...), b.server.Users()
			for _, u := range changed {
				want, action := u.Email, sdk.Updated
				if name == "to an outsider" {
					action = sdk.Rejected
					want = map[string]string{users[0].SourceID: users[0].Email, users[1].SourceID: users[1].Email}[u.SourceID]
				}
				o := got[u.SourceID]
				if a := held[u.Prior.TargetID]; o.Action != action || a.Email != want || !a.EmailVerified || action == sdk.Rejected && o.Code != sdk.CodeEmailConflict {
					t.Errorf("%s is %s %s with %s, want %s", u.SourceID, o.Action, o.Code, a.Email, want)
				}
			}
		})
	}
}

const (
	seed      = "JBSWY3DPEHPK3PXP"
	otherSeed = "KRSXG5CTMVRXEZLUKRSXG5CT"
)

func device(seeds ...string) func(*sdk.User) {
	return func(u *sdk.User) {
		u.TOTP = nil
		for _, s := range seeds {
			u.TOTP = append(u.TOTP, sdk.TOTPDevice{Name: "phone", Secret: sdk.NewSecret(s), Period: 30e9, Verified: true})
		}
	}
}

// TestFactors: authenticators are added, replaced and removed after the first run, those of
// the person's own stay, and what fails is named and tried again.
func TestFactors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		first, then []string
		own         bool
		refused     int // status of a request that would write
		lost        string
		held        []string
	}{
		"added":                  {nil, []string{seed}, false, 0, "", []string{seed}},
		"replaced":               {[]string{seed}, []string{otherSeed}, false, 0, "", []string{otherSeed}},
		"removed":                {[]string{seed}, nil, false, 0, "", nil},
		"removed, not their own": {[]string{seed}, nil, true, 0, "", []string{otherSeed}},
		"added to their own":     {nil, []string{seed}, true, 0, "totp  load.part_kept", []string{otherSeed}},
		"added, refused":         {nil, []string{seed}, false, 400, "totp  load.part_refused", nil},
		"removed, fails":         {[]string{seed}, nil, false, 501, "totp  load.part_failed", []string{seed}},
		"removed, ignored":       {[]string{seed}, nil, false, 204, "totp  load.part_failed", []string{seed}},
		"removed, no scope":      {[]string{seed}, nil, false, 403, "totp  load.part_failed", []string{seed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var meddle atomic.Bool
			b := start(t, simulator.Options{Instead: func(method, path string) int {
				if meddle.Load() && method != http.MethodGet && strings.Contains(path, "/authentication-methods") {
					return test.refused
				}
				return 0
			}}, nil)
			u := person(1, device(test.first...))
			o := b.load(u)[u.SourceID]
			if test.own {
				b.server.Change(o.TargetID, func(a *simulator.User) { a.Enrol(otherSeed) })
			}
			u = again(person(1, device(test.then...)), o)
			if c := b.plan(u)[u.SourceID]; c.Action != sdk.Updated || len(c.Fields) != 1 || c.Fields[0].Field != fieldTOTP || strings.Contains(fmt.Sprint(c.Fields), seed) {
				t.Errorf("planned %s %v", c.Action, c.Fields)
			}
			meddle.Store(true)
			o = b.load(u)[u.SourceID]
			want := sdk.Updated
			if test.lost != "" {
				want = sdk.Unchanged
			}
			if got := b.server.Users()[o.TargetID].TOTP; o.Action != want || lossText(o) != test.lost || fmt.Sprint(got) != fmt.Sprint(test.held) {
				t.Errorf("%s, lost %s, the account has %v", o.Action, lossText(o), got)
			}
			for _, l := range o.Losses {
				if strings.Contains(l.Detail, seed) {
					t.Error("a seed is shown")
				}
			}
			meddle.Store(false)
			if test.refused == 0 {
				return
			}
			u = again(u, o)
			o = b.load(u)[u.SourceID]
			if got := b.server.Users()[o.TargetID].TOTP; o.Action != sdk.Updated || lossText(o) != "" || fmt.Sprint(got) != fmt.Sprint(test.then) {
				t.Errorf("again: %s, lost %s, the account has %v", o.Action, lossText(o), got)
			}
		})
	}
}

// TestRefusedFactors: a second factor that an import leaves out and that is refused
// afterwards is a loss of the account, and tried again where that may help.
func TestRefusedFactors(t *testing.T) {
	t.Parallel()
	for status, lost := range map[int]string{403: "totp  load.part_failed", 400: "totp  load.part_refused"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var meddle atomic.Bool
			meddle.Store(true)
			u := person(1, device(seed))
			b := start(t, simulator.Options{NoFactors: []string{u.ID}, Instead: func(method, path string) int {
				if meddle.Load() && method == http.MethodPost && strings.Contains(path, "/authentication-methods") {
					return status
				}
				return 0
			}}, nil)
			o := b.load(u)[u.SourceID]
			if o.Action != sdk.Created || lossText(o) != lost {
				t.Errorf("%s, lost %s", o.Action, lossText(o))
			}
			meddle.Store(false)
			u = again(u, o)
			o = b.load(u)[u.SourceID]
			if got := b.server.Users()[o.TargetID].TOTP; o.Action != sdk.Updated || len(o.Losses) > 0 || fmt.Sprint(got) != fmt.Sprint([]string{seed}) {
				t.Errorf("again: %s, lost %s, the account has %v", o.Action, lossText(o), got)
			}
		})
	}
}

// TestSecondDevice: one that Auth0 has no place for is a loss, and not only a note.
func TestSecondDevice(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	u := person(1, device(seed, otherSeed))
	planned, loaded := b.plan(u)[u.SourceID].Outcome, b.load(u)[u.SourceID]
	for _, o := range []sdk.Outcome{planned, loaded} {
		if o.Action != sdk.Created || lossText(o) != "totp  load.part_refused" {
			t.Errorf("%s, lost %s", o.Action, lossText(o))
		}
	}
}

// TestIDOfAnotherConnection: an account of another database connection that has the id
// keeps it. A run says what the plan has said, also where the tenant would let it.
func TestIDOfAnotherConnection(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Others: []string{"legacy"}, SharesIDs: true}, nil)
	theirs := "auth0|" + person(1).ID
	b.server.Put(simulator.User{ID: theirs, Email: "x@example.com", Connection: "legacy"})
	users := people(1, 3)
	planned, loaded := b.plan(users...), b.load(users...)
	for id, o := range loaded {
		if p := planned[id]; p.Action != o.Action || p.Code != o.Code || (o.Code == sdk.CodeIDConflict) != (id == "source-1") {
			t.Errorf("%s: planned %s %s, loaded %s %s", id, p.Action, p.Code, o.Action, o.Code)
		}
	}
	if a := b.server.Users()[theirs]; a.Connection != "legacy" || a.Email != "x@example.com" || len(b.server.Users()) != 3 {
		t.Errorf("the account of the other connection is now %+v", a)
	}
}

// TestFoundByTheIDOfTheJournal: an account that a run has made is the user's, whatever its
// id and its address have become at the source.
func TestFoundByTheIDOfTheJournal(t *testing.T) {
	t.Parallel()
	for _, exports := range []int{50, 1} {
		t.Run(fmt.Sprint(exports), func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{}, map[string]any{"lookups_before_export": exports})
			u := light(1)
			o := b.load(u)[u.SourceID]
			u = again(light(1, func(u *sdk.User) { u.ID, u.Email, u.Password = "mapped-later", "new@example.com", person(1).Password }), o)
			planned, loaded := b.plan(u, person(2))[u.SourceID].Outcome, b.load(u)[u.SourceID]
			for _, got := range []sdk.Outcome{planned, loaded} {
				if got.Action != sdk.Updated || got.TargetID != o.TargetID || lossText(got) != "" {
					t.Errorf("%s %s %s, lost %s", got.Action, got.Code, got.TargetID, lossText(got))
				}
			}
			all := b.server.Users()
			if a := all[o.TargetID]; len(all) != 1 || a.Email != "new@example.com" || b.server.StoredHash(o.TargetID) != bcryptHash {
				t.Errorf("%d accounts; %+v", len(all), a)
			}
			if c := b.plan(again(u, loaded))[u.SourceID]; c.Action != sdk.Unchanged {
				t.Errorf("afterwards: %s %v", c.Action, c.Fields)
			}
		})
	}
}

// TestDelta: sixty changed passwords are one job, and those that are refused are not sent
// again.
func TestDelta(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	users := people(1, 60)
	first := b.load(users...)
	for id, o := range first {
		if id == "source-7" {
			b.server.Change(o.TargetID, func(a *simulator.User) { a.Logins = 0 })
		}
	}
	if err := b.client.SetPassword(t.Context(), sdk.PasswordChange{TargetID: first["source-7"].TargetID, Password: sdk.NewSecret("another password")}); err != nil {
		t.Fatal(err) // from then on, no import replaces it
	}
	jobs := b.server.Imports()
	var next map[string]sdk.Outcome
	for range 2 {
		var changed []sdk.User
		for i, u := range users {
			last := first[u.SourceID]
			if next != nil {
				last = next[u.SourceID]
			}
			changed = append(changed, again(light(i+1), last))
		}
		got := b.load(changed...)
		for id, o := range got {
			want, lost := sdk.Updated, ""
			if id == "source-7" {
				want, lost = sdk.Unchanged, "password  auth0.password_kept"
			} else if next != nil {
				want = sdk.Unchanged
			}
			if o.Action != want || lossText(o) != lost {
				t.Errorf("%s: %s, lost %s", id, o.Action, lossText(o))
			}
			if hash := b.server.StoredHash(o.TargetID); id != "source-7" && hash != light(1).Password.Encode() {
				t.Errorf("%s has %s", id, hash)
			}
		}
		next = got
	}
	if n := b.server.Imports() - jobs; n > 2 {
		t.Errorf("%d jobs", n)
	}
	for _, j := range b.server.Jobs()[jobs:] {
		if !j.Upsert {
			t.Error("a change went into a job of new users")
		}
	}
}

// TestUnreadableAnswers: an answer that is no JSON is asked for again. It costs nobody.
func TestUnreadableAnswers(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, 4} {
		var polls, others atomic.Int64
		b := start(t, simulator.Options{Instead: func(method, path string) int {
			n := &others
			if strings.Contains(path, "/jobs/job_") {
				n = &polls
			}
			if method == http.MethodGet && n.Add(1)%7 == 1 || n == &polls && polls.Load() <= int64(times) {
				return 200
			}
			return 0
		}}, nil)
		b.expect(b.load(people(1, 20)...), sdk.Created, 20)
		for id, c := range b.plan(people(1, 20)...) {
			if c.Action != sdk.Unchanged {
				t.Errorf("%s: %s %s", id, c.Action, c.Detail)
			}
		}
		if n := b.server.Imports(); n != 1 {
			t.Errorf("%d jobs", n)
		}
	}
}

// TestFailedLookUp: a look-up that fails costs the user whom it was about, of whom nothing
// is sent, and nobody else.
func TestFailedLookUp(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{"account": "", "roles": "/roles", "organizations": "/organizations"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var meddle atomic.Bool
			bad := "auth0|" + person(3).ID
			b := start(t, simulator.Options{Instead: func(method, path string) int {
				switch {
				case !meddle.Load() || method != http.MethodGet:
				case path == "/api/v2/users/"+bad+broken:
					return 501
				case strings.HasPrefix(path, "/api/v2/roles/"), strings.HasSuffix(path, "/members"): // nor by lists
					return 403
				}
				return 0
			}}, nil)
			var users []sdk.User
			for i, o := range b.load(person(1, seated), person(2, seated), person(3, seated)) {
				users = append(users, again(person(int(i[len(i)-1]-'0'), seated, func(u *sdk.User) { u.GivenName = "New" }), o))
			}
			meddle.Store(true)
			writes := b.server.Writes()
			for id, c := range b.plan(users...) {
				if want := map[bool]sdk.Action{true: sdk.InDoubt, false: sdk.Updated}[id == "source-3"]; c.Action != want || (c.Code == sdk.CodeNotSent) != (id == "source-3") {
					t.Errorf("%s: planned %s %s %s", id, c.Action, c.Code, c.Detail)
				}
			}
			if b.server.Writes() != writes {
				t.Error("a plan has written")
			}
			for id, o := range b.load(users...) {
				if want := map[bool]sdk.Action{true: sdk.InDoubt, false: sdk.Updated}[id == "source-3"]; o.Action != want || (o.Code == sdk.CodeNotSent) != (id == "source-3") {
					t.Errorf("%s: %s %s %s", id, o.Action, o.Code, o.Detail)
				}
			}
			if a := b.server.Users()[bad]; a.GivenName != "" {
				t.Error("an account that could not be looked at was changed")
			}
		})
	}
}

// TestMetadataThatGoes: a key of user_metadata that a load has set goes with the source, and
// those of others stay.
func TestMetadataThatGoes(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, map[string]any{"metadata": "user_metadata"})
	with := func(metadata string) func(*sdk.User) {
		return func(u *sdk.User) { u.Metadata = []byte(metadata) }
	}
	o := b.load(person(1, with(`{"plan":"x","theme":"dark"}`)))["source-1"]
	b.server.Change(o.TargetID, func(a *simulator.User) { a.UserMetadata["theirs"] = "kept" })
	u := again(person(1, with(`{"theme":"dark"}`)), o)
	if c := b.plan(u)["source-1"]; c.Action != sdk.Updated || len(c.Fields) != 2 {
		t.Errorf("planned %s %v", c.Action, c.Fields)
	}
	o = b.load(u)["source-1"]
	if got := fmt.Sprint(b.server.Users()[o.TargetID].UserMetadata); o.Action != sdk.Updated || lossText(o) != "" || got != "map[theirs:kept theme:dark]" {
		t.Errorf("%s, lost %s: %s", o.Action, lossText(o), got)
	}
	if c := b.plan(again(u, o))["source-1"]; c.Action != sdk.Unchanged {
		t.Errorf("again: %s %v", c.Action, c.Fields)
	}
}

// TestUpdateThatBreaksOff: the tenant answers nothing from some request on, at every place
// of an update. The next run leaves the account as it is wanted, whatever had arrived.
func TestUpdateThatBreaksOff(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "breaks an update off at every request")
	for n := range 40 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var meddle atomic.Bool
			var requests atomic.Int64
			b := start(t, simulator.Options{Instead: func(string, string) int {
				if meddle.Load() && requests.Add(1) > int64(n) {
					return 501
				}
				return 0
			}}, nil)
			first := b.load(person(1, seated, device(seed)))["source-1"]
			wanted := person(1, device(otherSeed), func(u *sdk.User) {
				u.GivenName, u.Password, u.Tenants, u.Roles = "New", light(1).Password, []string{"acme", "gamma"}, map[string][]string{"public": {"editor", "new"}, "acme": {"viewer", "new"}}
			})
			u := again(wanted, first)
			meddle.Store(true)
			outcomes, err := b.client.Load(t.Context(), []sdk.User{u})
			meddle.Store(false)
			if o := outcomes[0]; o.State != nil && o.Action != sdk.InDoubt {
				u = again(wanted, o)
			} else {
				u.Prior.InDoubt = o.Code != sdk.CodeNotSent
			}
			o := b.load(u)["source-1"]
			a := b.server.Users()[o.TargetID]
			const want = "[editor new] map[acme:[new viewer] gamma:[]]"
			if belongs(a) != want || a.GivenName != "New" || fmt.Sprint(a.TOTP) != fmt.Sprint([]string{otherSeed}) || b.server.StoredHash(o.TargetID) != wanted.Password.Encode() || len(o.Losses) > 0 {
				t.Errorf("at first %s %s (%v, lost %s), then %s, lost %s\n%+v", outcomes[0].Action, outcomes[0].Code, err, lossText(outcomes[0]), o.Action, lossText(o), a)
			}
			if c := b.plan(again(wanted, o))["source-1"]; c.Action != sdk.Unchanged {
				t.Errorf("afterwards: %s %v", c.Action, c.Fields)
			}
		})
	}
}

// Nobody may change the tenant because of the name of a role: one that may use the
// Management API is left out and named, until the configuration accepts it.
func TestPowerByName(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string]bool{"left out": false, "accepted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			more := map[string]any{}
			if accepted {
				more["accept_roles"] = []string{"admin"}
			}
			b := start(t, simulator.Options{}, more)
			for _, role := range []string{"admin", "editor"} {
				b.server.PutRole(role)
			}
			b.server.ChangeRole("admin", func(_, permissions map[string]bool) {
				permissions["update:users@https://tenant.eu.auth0.test/api/v2/"] = true
			})
			b.server.ChangeRole("editor", func(_, permissions map[string]bool) { permissions["edit@https://api.example.com"] = true })
			u := light(1, func(u *sdk.User) { u.Roles = map[string][]string{"public": {"admin", "editor", "viewer"}} })
			l, err := b.client.Check(t.Context(), sdk.Needs{Users: 1, Roles: []string{"admin", "editor", "viewer"}, RoleUsers: map[string]int{"admin": 3, "editor": 7, "viewer": 1}})
			var said []string
			for _, d := range l.Diagnostics {
				if d.Code == codePower {
					said = append(said, d.Summary)
				}
			}
			if err != nil || len(said) != 2 || !strings.Contains(said[0], "3 users") || !strings.Contains(said[1], "1 permissions, which 7 users") {
				t.Errorf("check says %q, %v", said, err)
			}
			for range 2 {
				o := b.load(u)["source-1"]
				want := "[admin editor viewer]"
				if !accepted {
					want = "[editor viewer]"
					if len(o.Losses) != 1 || o.Losses[0].Code != codePower || o.Losses[0].Attribute != "admin" {
						t.Errorf("losses %v", o.Losses)
					}
				}
				if got := fmt.Sprint(b.server.Users()[o.TargetID].Roles); got != want {
					t.Errorf("roles %s, want %s", got, want)
				}
				u.Prior, u.Existing = sdk.Prior{TargetID: o.TargetID, State: o.State}, sdk.Update
			}
			if o := b.load(u)["source-1"]; o.Action != sdk.Unchanged {
				t.Errorf("a later run: %s %v", o.Action, o.Changed)
			}
		})
	}
}

package scim

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
)

// What comes after the first load: everything that is not "create".

// inGroups gives people a role.
func inGroups(users []sdk.User, roles ...string) []sdk.User {
	users = slices.Clone(users)
	for i := range users {
		users[i].Roles = map[string][]string{"public": roles}
	}
	return users
}

// members lists who is in a group, by user name.
func (f *fake) members(group string) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		if g.text("displayName") == group {
			for _, m := range elements(g["members"]) {
				out = append(out, f.users[valueOf(m)].text("userName"))
			}
		}
	}
	slices.Sort(out)
	return out
}

// inDoubt is how a host knows people whom a killed run has sent.
func inDoubt(users []sdk.User) []sdk.User {
	users = slices.Clone(users)
	for i := range users {
		users[i].Prior = sdk.Prior{InDoubt: true}
	}
	return users
}

// lostOf is what an account lacks, but for what a server without the extension has no place
// for.
func lostOf(c sdk.Change) []sdk.PartLoss {
	return slices.DeleteFunc(slices.Clone(c.Losses), func(l sdk.PartLoss) bool { return l.Code == sdk.CodeNoPlace })
}

// A run that is killed between the accounts and their groups is gone on with: the
// accounts are ours, by their externalId, and what they lack is added.
func TestKilledBeforeTheGroups(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	load(t, openLive(t, f.settings(), &memory{}), people(1, 6))
	users := inDoubt(inGroups(people(1, 6), "editor"))
	planned := plan(t, openLive(t, f.settings(), &memory{}), users)
	b := load(t, openLive(t, f.settings(), &memory{}), users)
	if got := b.Counts()[sdk.Created]; got != 6 || planned.Counts()[sdk.Created] != 6 || len(f.members("editor")) != 6 {
		t.Errorf("planned %v, done %v, in the group %v", planned.Counts(), b.Counts(), f.members("editor"))
	}
	for source, c := range b.ByID {
		if c.Before != nil || len(lostOf(c)) > 0 {
			t.Errorf("%s, which a load has made, has a pre-image or losses %v", source, lostOf(c))
		}
	}
	if again := load(t, openLive(t, f.settings(), &memory{}), known(users, b)); again.Counts()[sdk.Unchanged] != 6 {
		t.Errorf("the next run: %v", again.Counts())
	}
}

// What was taken away is read back like what was given: a group that a server does not
// take somebody out of is named, and tried again.
func TestRoleRevoked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile profile
		stays   bool
	}{
		"gone":                              {profile{}, false},
		"gone, in the list form":            {profile{listOnly: true}, false},
		"gone, without value paths":         {profile{noMemberPath: true}, false},
		"stays, and the answer is success":  {profile{keepsMembers: true, noPatch: false}, true},
		"gone, members shown on request":    {profile{membersOnRequest: true}, false},
		"gone, and nobody can see that":     {profile{hideMembers: true}, false},
		"gone, by replacing the whole list": {profile{noPatch: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, tt.profile)
			if tt.stays {
				f.keepsMembers = false
			}
			users := inGroups(people(1, 3), "editor", "billing")
			b := load(t, openLive(t, f.settings(), &memory{}), users)
			if len(f.members("billing")) != 3 {
				t.Fatalf("in the group: %v", f.members("billing"))
			}
			f.mu.Lock()
			f.keepsMembers, f.putKeepsMembers = tt.stays, tt.stays
			f.mu.Unlock()
			less := known(inGroups(people(1, 3), "editor"), b)
			got := load(t, openLive(t, f.settings(), &memory{}), less)
			left := len(f.members("billing"))
			if got.Counts()[sdk.Updated] != 3 || (left == 3) != tt.stays || len(f.members("editor")) != 3 {
				t.Fatalf("%v, still in the group %v", got.Counts(), f.members("billing"))
			}
			for source, c := range got.ByID {
				if tt.stays && (len(lostOf(c)) != 1 || lostOf(c)[0].Feature != sdk.CarriesRoles || lostOf(c)[0].Attribute != "billing" || lostOf(c)[0].Code != sdk.CodePartFailed) {
					t.Errorf("%s has lost %v, want the role that stays", source, lostOf(c))
				}
				if !tt.stays && len(lostOf(c)) > 0 {
					t.Errorf("%s has lost %v", source, lostOf(c))
				}
			}
			f.mu.Lock()
			f.keepsMembers, f.putKeepsMembers = false, false
			f.mu.Unlock()
			again := load(t, openLive(t, f.settings(), &memory{}), known(less, got))
			if want := map[bool]sdk.Action{true: sdk.Updated, false: sdk.Unchanged}[tt.stays]; again.Counts()[want] != 3 || len(f.members("billing")) != 0 {
				t.Errorf("the next run: %v, in the group %v", again.Counts(), f.members("billing"))
			}
		})
	}
}

// A provider that takes hashes takes another one, too. What it holds cannot be read: of
// an account that no journal knows nobody can tell, and adoption sends it again.
func TestPasswordAfterTheLoad(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{hashes: true})
	config := f.settings()
	config.Password = Password{HashesAccepted: true, Templates: map[string]string{"bcrypt": "{bcrypt}{hash}"}}
	users := people(1, 2)
	b := load(t, openLive(t, config, &memory{}), users)
	first := f.passwords[b.ByID["source-1"].TargetID]
	if again := load(t, openLive(t, config, &memory{}), known(users, b)); again.Counts()[sdk.Unchanged] != 2 || first == "" {
		t.Fatalf("the next run: %v, the hash is %q", again.Counts(), first)
	}
	users[0].Password = canonical.ParsePasswordHash(strings.Replace(bcryptHash, "N9qo8uLO", "N9qo8uLP", 1))
	got := load(t, openLive(t, config, &memory{}), known(users, b))
	o := got.ByID["source-1"]
	if o.Action != sdk.Updated || !slices.Equal(o.Changed, []string{"password"}) || f.passwords[o.TargetID] == first || len(lostOf(o)) > 0 {
		t.Errorf("another password: %s %v %v", got.Of("source-1"), o.Changed, lostOf(o))
	}
	now := f.passwords[o.TargetID]
	// The journal is lost.
	lost := load(t, openLive(t, config, &memory{}), users)
	if c := lost.ByID["source-1"]; c.Action != sdk.Unchanged || len(lostOf(c)) != 1 || lostOf(c)[0].Code != sdk.CodeUnread {
		t.Errorf("without a journal: %s, losses %v", lost.Of("source-1"), lostOf(c))
	}
	f.mu.Lock()
	f.passwords[o.TargetID] = "another"
	f.mu.Unlock()
	adopted := slices.Clone(users)
	for i := range adopted {
		adopted[i].Existing, adopted[i].Prior.TargetID = sdk.Update, b.ByID[adopted[i].SourceID].TargetID
	}
	if a := load(t, openLive(t, config, &memory{}), adopted); a.Counts()[sdk.Updated] != 2 || f.passwords[o.TargetID] != now {
		t.Errorf("adopted: %v, the hash was sent again: %v", a.Counts(), f.passwords[o.TargetID] == now)
	}
}

// An undo that switches accounts off is an undo: a new load has them back.
func TestLoadAfterSwitchingOff(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	config, j, users := f.settings(), &memory{}, people(1, 5)
	config.Undo = "deactivate"
	off := people(6, 6)[0]
	f.there("6", off.Username, off.ID)
	f.users["there-6"]["active"] = false // by somebody else
	b := load(t, openLive(t, config, j), users)
	if u := undo(t, openLive(t, config, j), accounts(b)); u.Counts()[sdk.Deleted] != 5 {
		t.Fatalf("undo: %v", u.Counts())
	}
	got := load(t, openLive(t, config, j), append(users, off))
	if got.Counts()[sdk.Created] != 5 || got.ByID["source-6"].Action != sdk.Skipped {
		t.Errorf("loaded again: %v, who was switched off by others is %s", got.Counts(), got.Of("source-6"))
	}
	for id, u := range f.users {
		if active := u["active"]; active != (id != "there-6") {
			t.Errorf("%s is active: %v", id, active)
		}
	}
}

// A group whose making got no answer is ours all the same, and an undo takes it away.
func TestGroupOfALostAnswer(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]profile{"with externalId": {lostGroups: 1}, "without": {lostGroups: 1, strictGroups: true}} {
		f, j := newFake(t, p), &memory{}
		b := load(t, openLive(t, f.settings(), j), inGroups(people(1, 2), "editor"))
		if len(f.groups) == 0 {
			t.Fatalf("%s: no group", name)
		}
		target, err := newLiveOver(f.settings().withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test", Journal: j}, quick)
		if err != nil {
			t.Fatal(err)
		}
		undo(t, target, accounts(b))
		if err := target.Close(t.Context()); err != nil || len(f.groups) != 1 {
			t.Errorf("%s: after the undo there are %d groups, %v", name, len(f.groups), err)
		}
		// Tidying up needs no undo before it: another process may go on with it.
		later := openLive(t, f.settings(), j)
		if removed, left, err := later.Tidy(t.Context()); err != nil || removed != 1 || left != 0 || len(f.groups) != 0 {
			t.Errorf("%s: %d groups removed, %d left to look at, %d there, %v", name, removed, left, len(f.groups), err)
		}
	}
}

// An account that the server has linked on POST is older than the run, and not ours.
func TestLinkedOnPost(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{linkOnPost: true, hideExisting: true})
	f.there("1", "user1@example.com", "")
	f.created = map[string]time.Time{"there-1": time.Now().AddDate(-1, 0, 0)}
	b := load(t, openLive(t, f.settings(), &memory{}), people(1, 2))
	if o := b.ByID["source-1"]; o.Action == sdk.Created || o.Action == sdk.Updated {
		t.Errorf("the user is %s: an undo would delete an account that was there before", b.Of("source-1"))
	}
	if b.ByID["source-2"].Action != sdk.Created {
		t.Errorf("the other one is %s", b.Of("source-2"))
	}
}

// "Duplicate" in an error is no conflict when nobody has the name.
func TestWordsAreNoConflict(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{seats: 1, seatSays: failure{400, "invalidValue", "duplicate value in phoneNumbers"}})
	b := load(t, openLive(t, f.settings(), &memory{}), people(1, 2))
	var refused int
	for source, c := range b.ByID {
		if c.Action == sdk.Rejected {
			refused++
			if c.Code != sdk.CodeTargetRefused || !strings.Contains(c.Detail, "duplicate value in phoneNumbers") {
				t.Errorf("the user is %s %s", b.Of(source), c.Detail)
			}
		}
	}
	if refused != 1 {
		t.Errorf("%v", b.Counts())
	}
}

// A provider that has no seats left, or goes away in mid-run, is named as that.
func TestSeatsAndVanishing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		says failure
		code sdk.Code
	}{
		"seats, 403":      {failure{403, "", "Your plan allows 3 seats"}, codeSeats},
		"seats, 400":      {failure{400, "invalidValue", "license limit reached"}, codeSeats},
		"forbidden":       {failure{403, "", "no"}, codeLoginRefused},
		"no such address": {failure{404, "", "no such thing"}, codeNotSCIM},
	} {
		f := newFake(t, profile{seats: 3, seatSays: tt.says})
		target := openLive(t, f.settings(), &memory{})
		b := newBook(t)
		err := target.Load(t.Context(), people(1, 8), b)
		var codes []string
		if err != nil {
			codes = append(codes, err.Error())
		}
		if err == nil || !strings.Contains(strings.Join(codes, " "), string(tt.code)) {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
		if n := b.Counts()[sdk.Created]; n != 3 {
			t.Errorf("%s: %d are said to be created, 3 are", name, n)
		}
	}
}

// Names that the server makes by itself are no change of others.
func TestServersOwnNames(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{addAttributes: true, silentAboutUser: true})
	users := people(1, 3)
	for i := range users {
		users[i].Metadata = []byte(`{"kind":"Contractor"}`)
	}
	j := &memory{}
	b := load(t, openLive(t, f.settings(), j), users)
	config := f.settings()
	config.Attributes = map[string]string{"kind": "userType"}
	for source, c := range plan(t, openLive(t, config, j), known(users, b)).ByID {
		if c.Action != sdk.Updated || len(c.Fields) != 1 || c.Fields[0].Drift {
			t.Errorf("%s: %s %v", source, c.Action, c.Fields)
		}
	}
}

// A role of one tenant is not the role of another.
func TestRolesPerTenant(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	config := f.settings()
	config.Roles = asGroupsPerTenant
	u := people(1, 1)
	u[0].Roles = map[string][]string{"public": {"viewer"}, "north": {"admin"}}
	b := load(t, openLive(t, config, &memory{}), u)
	if len(f.members("viewer")) != 1 || len(f.members("tenant:north/admin")) != 1 || len(f.members("admin")) != 0 {
		t.Errorf("groups %v, %s", f.groups, b.Of("source-1"))
	}
	merged := load(t, openLive(t, f.settings(), &memory{}), func() []sdk.User {
		v := people(2, 2)
		v[0].Roles = map[string][]string{"north": {"admin"}}
		return v
	}())
	if o := merged.ByID["source-2"]; !strings.Contains(o.Detail, "admin (north)") {
		t.Errorf("a role of one tenant that counts everywhere is not named: %q", o.Detail)
	}
}

// A refusal is told in the server's words, and not in those about a media type that was
// tried because of it.
func TestRefusalOfTheFirstRequest(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{seats: -1, seatSays: failure{400, "invalidValue", "no such department"}})
	b := load(t, openLive(t, f.settings(), &memory{}), people(1, 1))
	if o := b.ByID["source-1"]; !strings.Contains(o.Detail, "no such department") {
		t.Errorf("%s: %s", b.Of("source-1"), o.Detail)
	}
}

// An undo finds an account whose answer was lost by its externalId, and touches none that
// only has the name.
func TestUndoInDoubt(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	target := openLive(t, f.settings(), &memory{})
	users := people(1, 3)
	b := load(t, target, users[:1])
	f.there("2", users[1].Username, "")
	out := newBook(t)
	var doubtful []sdk.Account
	for _, u := range users {
		doubtful = append(doubtful, sdk.Account{SourceID: u.SourceID, ID: u.ID, InDoubt: true})
	}
	if err := openLive(t, f.settings(), &memory{}).UndoInDoubt(t.Context(), doubtful, out); err != nil {
		t.Fatal(err)
	}
	if out.Of("source-1") != "deleted" || out.ByID["source-1"].TargetID != b.ByID["source-1"].TargetID || out.Of("source-2") != "unchanged" || out.Of("source-3") != "unchanged" || len(f.users) != 1 {
		t.Errorf("%s, %s, %s; left %v", out.Of("source-1"), out.Of("source-2"), out.Of("source-3"), f.users)
	}
}

// An account in doubt leaves its groups before it is deleted: servers go on listing who is
// gone.
func TestUndoInDoubtLeavesGroups(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	users := inGroups(people(1, 2), "editor", "admin")
	f.groups["g-admin"] = resource{"id": "g-admin", "displayName": "admin"}
	accepting := f.settings()
	accepting.AcceptGroups = []string{"admin"}
	b := load(t, openLive(t, accepting, &memory{}), users)
	gone, stays := b.ByID["source-1"].TargetID, b.ByID["source-2"].TargetID
	f.users[gone]["groups"] = []any{resource{"value": "g-admin", "display": "admin"}}
	out := newBook(t)
	if err := openLive(t, f.settings(), &memory{}).UndoInDoubt(t.Context(), []sdk.Account{{SourceID: "source-1", ID: users[0].ID, InDoubt: true}}, out); err != nil {
		t.Fatal(err)
	}
	if out.Of("source-1") != "deleted" {
		t.Errorf("%s", out.Of("source-1"))
	}
	for _, g := range f.groups {
		if list := fmt.Sprint(g["members"]); strings.Contains(list, gone) || !strings.Contains(list, stays) {
			t.Errorf("%s has %s", g["displayName"], list)
		}
	}
}

// An account that carries the id of a user and is older than the first run is not of that
// run, also when the run was killed: it is not completed, and an undo leaves it.
func TestOlderThanTheFirstRun(t *testing.T) {
	t.Parallel()
	f, j := newFake(t, profile{}), &memory{}
	users := people(1, 3)
	made := load(t, openLive(t, f.settings(), &memory{}), users[:2]) // by somebody whose journal is lost
	f.created = map[string]time.Time{}
	for _, o := range made.ByID {
		f.created[o.TargetID] = time.Now().Add(-time.Hour)
	}
	load(t, openLive(t, f.settings(), j), users[2:])
	users[0].GivenName = "Somebody else"
	for i := range users {
		users[i].Prior.InDoubt = true
	}
	got, out := load(t, openLive(t, f.settings(), j), users[:2]), newBook(t)
	if o := got.ByID["source-1"]; o.Action != sdk.Skipped || o.Code != sdk.CodeExistsDiffers {
		t.Errorf("one that differs is %s", got.Of("source-1"))
	}
	if o := got.ByID["source-2"]; o.Action != sdk.Unchanged || o.Code != sdk.CodeThereBefore {
		t.Errorf("one that is equal is %s", got.Of("source-2"))
	}
	if err := openLive(t, f.settings(), j).UndoInDoubt(t.Context(), []sdk.Account{{SourceID: "source-1", ID: users[0].ID, InDoubt: true}, {SourceID: "source-3", ID: users[2].ID, InDoubt: true}}, out); err != nil {
		t.Fatal(err)
	}
	if out.ByID["source-1"].Code != sdk.CodeUndoInDoubt || out.Of("source-3") != "deleted" || len(f.users) != 2 {
		t.Errorf("undone: %s, %s", out.Of("source-1"), out.Of("source-3"))
	}
}

// Groups that no run has made are named before anybody gets into them by a name.
func TestGroupsOfOthers(t *testing.T) {
	t.Parallel()
	f, j := newFake(t, profile{}), &memory{}
	load(t, openLive(t, f.settings(), j), inGroups(people(1, 1), "editor"))
	f.groups["g-admin"] = resource{"id": "g-admin", "displayName": "admin"}
	l := openLive(t, f.settings(), j).Check(t.Context(), sdk.Needs{Users: 3, Roles: []string{"admin", "editor", "viewer"}, RoleUsers: map[string]int{"admin": 2, "editor": 1, "viewer": 1}})
	var said []string
	for _, d := range l {
		if d.Code == codeGroupsThere {
			said = append(said, d.Summary)
		}
	}
	if len(said) != 1 || !strings.HasSuffix(said[0], ": admin (2 users)") {
		t.Errorf("check says %q", said)
	}
	// Nobody gets into one by its name alone, in plan and run alike.
	users := inGroups(people(11, 12), "admin")
	for i := range users {
		users[i].Roles["public"] = append(users[i].Roles["public"], "editor")
	}
	live := openLive(t, f.settings(), j)
	planned, made := plan(t, live, users), load(t, live, users)
	for _, u := range users {
		p, o := planned.ByID[u.SourceID], made.ByID[u.SourceID]
		kept := slices.DeleteFunc(slices.Clone(p.Losses), func(l sdk.PartLoss) bool { return l.Feature != sdk.CarriesRoles })
		if len(kept) != 1 || kept[0].Code != codeGroupsThere || kept[0].Attribute != "admin" || o.Action != sdk.Created || !slices.Equal(p.Losses, o.Losses) {
			t.Errorf("planned %+v\nrun %+v", p.Losses, o)
		}
	}
	if n, m := len(f.members("admin")), len(f.members("editor")); n != 0 || m != 3 {
		t.Errorf("%d members of admin, %d of editor", n, m)
	}
	settings := f.settings()
	settings.AcceptGroups = []string{"admin"}
	again := openLive(t, settings, j)
	if n := load(t, again, known(users, made)).Counts(); n[sdk.Updated] != 2 || len(f.members("admin")) != 2 {
		t.Errorf("accepted: %v, %d members", n, len(f.members("admin")))
	}
	// Whoever was put there stays, also when nobody accepts it any more.
	if n := load(t, openLive(t, f.settings(), j), known(users, load(t, again, known(users, made)))).Counts(); n[sdk.Unchanged] != 2 || len(f.members("admin")) != 2 {
		t.Errorf("afterwards: %v, %d members", n, len(f.members("admin")))
	}
}

// A group from which somebody has taken everybody shows no members, and that is a change.
func TestEmptiedGroup(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	users := inGroups(people(1, 2), "editor")
	users = append(users, inGroups(people(3, 3), "billing")...)
	b := load(t, openLive(t, f.settings(), &memory{}), users)
	f.mu.Lock()
	for _, g := range f.groups {
		if g.text("displayName") == "editor" {
			delete(g, "members")
		}
	}
	f.mu.Unlock()
	for source, c := range plan(t, openLive(t, f.settings(), &memory{}), known(users, b)).ByID {
		want := map[bool]sdk.Action{true: sdk.Unchanged, false: sdk.Updated}[source == "source-3"]
		if c.Action != want || want == sdk.Updated && (len(c.Fields) != 1 || !c.Fields[0].Drift) {
			t.Errorf("%s: %s %v", source, c.Action, c.Fields)
		}
	}
}

// What a server quotes of a request is told without the hash, also where the words are cut
// in the middle of it.
func TestQuotedHash(t *testing.T) {
	t.Parallel()
	config := Password{HashesAccepted: true, Templates: map[string]string{"bcrypt": "{bcrypt}{hash}"}}
	hash := "{bcrypt}" + bcryptHash
	for name, tt := range map[string]struct {
		status int
		says   string
	}{
		"refused":                 {400, "no such thing: " + hash},
		"forbidden":               {403, "no such thing: " + hash},
		"cut in the hash":         {400, strings.Repeat("x", maxDetail-40) + hash},
		"spelled as some do":      {400, "no such thing: " + strings.ReplaceAll(hash, "/", `\/`)},
		"cut and spelled like it": {400, strings.Repeat("x", maxDetail-60) + strings.ReplaceAll(hash, "/", `\/`)},
	} {
		f := newFake(t, profile{hashes: true, seats: -1, seatSays: failure{tt.status, "invalidValue", tt.says}})
		c := f.settings()
		c.Password = config
		b := newBook(t)
		err := openLive(t, c, &memory{}).Load(t.Context(), people(1, 1), b)
		said := b.ByID["source-1"].Detail
		if err != nil {
			said += err.Error()
		}
		if strings.Contains(said, bcryptHash[:12]) || said == "" {
			t.Errorf("%s: %s", name, said)
		}
	}
}

// A role that fails in an update is not noted as given: the next run gives it.
func TestRoleThatFailedIsGivenLater(t *testing.T) {
	t.Parallel()
	for _, p := range []profile{{}, {hideMembers: true}} {
		f := newFake(t, p)
		b := load(t, openLive(t, f.settings(), &memory{}), people(1, 2))
		load(t, openLive(t, f.settings(), &memory{}), inGroups(people(3, 3), "editor")) // the group is there
		f.mu.Lock()
		f.stuckGroups = 500
		f.mu.Unlock()
		users := inGroups(people(1, 2), "editor")
		got := load(t, openLive(t, f.settings(), &memory{}), known(users, b))
		if o := got.ByID["source-1"]; len(lostOf(o)) != 1 || lostOf(o)[0].Code != sdk.CodePartFailed || lostOf(o)[0].Attribute != "editor" {
			t.Fatalf("members hidden %v: %s %v", p.hideMembers, got.Of("source-1"), o.Losses)
		}
		f.mu.Lock()
		f.stuckGroups = 0
		f.mu.Unlock()
		again := load(t, openLive(t, f.settings(), &memory{}), known(users, got))
		if again.Counts()[sdk.Updated] != 2 || len(f.members("editor")) != 3 {
			t.Errorf("members hidden %v: the next run: %v, in the group %v", p.hideMembers, again.Counts(), f.members("editor"))
		}
	}
}

// A server with versions takes a change of the profile and of the password in one run.
func TestPasswordAndProfileWithVersions(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{hashes: true, etags: true})
	config := f.settings()
	config.Password = Password{HashesAccepted: true, Templates: map[string]string{"bcrypt": "{bcrypt}{hash}"}}
	users := people(1, 1)
	b := load(t, openLive(t, config, &memory{}), users)
	id := b.ByID["source-1"].TargetID
	first := f.passwords[id]
	users[0].GivenName = "Another"
	users[0].Password = canonical.ParsePasswordHash(strings.Replace(bcryptHash, "N9qo8uLO", "N9qo8uLP", 1))
	users = known(users, b)
	users[0].Expect = plan(t, openLive(t, config, &memory{}), users).ByID["source-1"].State
	got := load(t, openLive(t, config, &memory{}), users)
	if o := got.ByID["source-1"]; o.Action != sdk.Updated || len(lostOf(o)) > 0 || f.passwords[id] == first {
		t.Errorf("%s %s, losses %v, the password is the former one: %v", got.Of("source-1"), o.Detail, o.Losses, f.passwords[id] == first)
	}
}

// An undo says that nothing is there only where it could have been found.
func TestUndoInDoubtWithoutProof(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile profile
		lookup  string
	}{
		"externalId is not kept":         {profile{noKeys: true}, auto},
		"externalId cannot be asked for": {profile{noKeyFilter: true}, byFilter},
	} {
		f, j := newFake(t, tt.profile), &memory{}
		config := f.settings()
		config.Lookup = tt.lookup
		users := people(1, 2)
		load(t, openLive(t, config, j), users)
		out := newBook(t)
		doubtful := []sdk.Account{{SourceID: "source-1", ID: users[0].ID, InDoubt: true}}
		if err := openLive(t, config, j).UndoInDoubt(t.Context(), doubtful, out); err != nil {
			t.Fatal(err)
		}
		if o := out.ByID["source-1"]; o.Action != sdk.Skipped || o.Code != sdk.CodeUndoInDoubt || len(f.users) != 2 {
			t.Errorf("%s: %s, %d accounts", name, out.Of("source-1"), len(f.users))
		}
	}
}

// Only accounts that an undo has switched off are switched on again: not those that it has
// given back what they were, and that somebody else has switched off since.
func TestSwitchedOffAfterRestoring(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	config, j, users := f.settings(), &memory{}, people(1, 1)
	config.Undo = "deactivate"
	f.there("1", users[0].Username, users[0].ID)
	adopted := slices.Clone(users)
	adopted[0].Existing = sdk.Update
	b := load(t, openLive(t, config, j), adopted)
	if u := undo(t, openLive(t, config, j), accounts(b)); b.Of("source-1") != "updated" || u.Of("source-1") != "updated" {
		t.Fatalf("adopted: %s, given back: %s", b.Of("source-1"), u.Of("source-1"))
	}
	f.mu.Lock()
	f.users["there-1"]["active"] = false
	f.mu.Unlock()
	got := load(t, openLive(t, config, j), users)
	if f.users["there-1"]["active"] != false || got.ByID["source-1"].Action != sdk.Skipped {
		t.Errorf("%s, active %v", got.Of("source-1"), f.users["there-1"]["active"])
	}
}

// An account that somebody deletes while it is updated costs nobody else anything.
func TestGoneInMidUpdate(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	b := load(t, openLive(t, f.settings(), &memory{}), people(1, 3))
	f.vanishes = b.ByID["source-2"].TargetID
	users := known(people(1, 3), b)
	for i := range users {
		users[i].GivenName = "Grace"
	}
	got := load(t, openLive(t, f.settings(), &memory{}), users)
	if got.Counts()[sdk.Updated] != 2 || got.Of("source-2") != "rejected load.moved" {
		t.Errorf("%v, the one that has gone is %s", got.Counts(), got.Of("source-2"))
	}
}

// What one account lacks is not what the server drops: only an attribute that it has kept of
// nobody is.
func TestOneAccountTeachesNothingOfAll(t *testing.T) {
	t.Parallel()
	l := recall(&memory{})
	want := fields{"title": "Dr", "nickname": "a"}
	l.learn(want, fields{})
	l.learn(want, fields{"title": "Dr"})
	if l.loses("title") || !l.loses("nickname") {
		t.Errorf("dropped: %v", l.losses())
	}
	l.learn(want, fields{})
	if l.loses("title") {
		t.Error("an attribute that was kept once is said to be dropped")
	}
}

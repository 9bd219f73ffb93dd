package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

func TestLoadTwice(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	users := append(people(1, 450), everything())
	users[450].SourceID, users[450].ID = "ada", "ada-id"
	first := load(t, open(t, f.config()), users)
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 451}, first.Counts()); d != "" {
		t.Fatal(d)
	}
	if got := f.imports(); got != 3 {
		t.Errorf("%d imports for 451 users in batches of 200", got)
	}
	if o := first.ByID["ada"]; o.TargetID != "ada-id" || !strings.Contains(o.Detail, "iphone 2") {
		t.Errorf("ada: %+v", o)
	}
	before := len(f.mutations())
	target := open(t, f.config())
	for range 2 { // from the listing, and from the same process again
		if d := cmp.Diff(map[sdk.Action]int{sdk.Unchanged: 451}, load(t, target, users).Counts()); d != "" {
			t.Error(d)
		}
	}
	if d := cmp.Diff(map[sdk.Action]int{sdk.Unchanged: 451}, plan(t, target, users).Counts()); d != "" {
		t.Error(d)
	}
	if got := f.mutations()[before:]; len(got) > 0 {
		t.Errorf("a second load wrote: %v", got)
	}
}

func TestOwnCreationsAreKnown(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target := open(t, f.config())
	load(t, target, people(1, 3))
	got := load(t, target, append(people(1, 4), person(9, func(u *sdk.User) { u.Email = "user2@example.com" })))
	if d := cmp.Diff(map[sdk.Action]int{sdk.Unchanged: 3, sdk.Created: 1, sdk.Rejected: 1}, got.Counts()); d != "" {
		t.Error(d)
	}
}

func TestMembershipsComeFirst(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.realm["defaultGroups"] = []string{"/everybody"}
	f.groups["/everybody"] = true
	var users []sdk.User
	for n := range 20 {
		users = append(users, person(n, func(u *sdk.User) {
			u.Tenants = []string{"eu", fmt.Sprint("t", n%3)}
			u.Roles = map[string][]string{"eu": {"editor"}, "t1": {"admin"}}
		}))
	}
	load(t, open(t, f.config()), users)
	for _, g := range []string{"/tenants/eu", "/tenants/t0", "/tenants/t1", "/tenants/t2"} {
		if !f.groups[g] {
			t.Errorf("no group %s", g)
		}
	}
	if want := []string{"default-roles-customers", "admin", "editor"}; !slices.Equal(f.get(users[0].ID).RealmRoles, want) {
		t.Errorf("roles %v", f.get(users[0].ID).RealmRoles)
	}
	if want := []string{"/everybody", "/tenants/eu", "/tenants/t0"}; !slices.Equal(f.get(users[0].ID).Groups, want) {
		t.Errorf("groups %v", f.get(users[0].ID).Groups)
	}
}

// existing fills the realm with accounts that are in the way of some users.
func existing(f *fake) []sdk.User {
	name := func(s string) *string { return &s }
	f.put(&fakeUser{ID: person(1).ID, Username: name("user1@example.com"), Email: "user1@example.com", EmailVerified: true, Enabled: true, Credentials: carriedPassword})
	f.put(&fakeUser{ID: person(2).ID, Username: name("user2@example.com"), Email: "other@example.com", Enabled: false, FirstName: "Eve"})
	f.put(&fakeUser{ID: "foreign-3", Username: name("user3@example.com"), Enabled: true})
	f.put(&fakeUser{ID: "foreign-4", Username: name("somebody"), Email: "user4@example.com", Enabled: true})
	f.put(&fakeUser{ID: person(5).ID, Username: name("another"), Enabled: true})
	return append(people(1, 7),
		person(8, func(u *sdk.User) { u.Email = "user7@example.com" }),
		person(9, func(u *sdk.User) { u.Username = "USER6@example.com"; u.Email = "" }),
		person(10, func(u *sdk.User) { u.ID = strings.Repeat("x", 128) }),
		person(11, func(u *sdk.User) { u.Identities = []sdk.Identity{{Provider: "google", Subject: "1"}} }),
		person(12, func(u *sdk.User) { u.Identities = []sdk.Identity{{Provider: "google", Subject: "1"}} }),
		person(13, func(u *sdk.User) { u.ID = person(6).ID }),
	)
}

var existingOutcomes = map[string]string{
	"source-1": "unchanged", "source-2": "skipped load.exists_differs", "source-3": "rejected load.username_conflict",
	"source-4": "rejected load.email_conflict", "source-5": "skipped load.exists_differs", "source-6": "created", "source-7": "created",
	"source-8": "rejected load.email_conflict", "source-9": "rejected load.username_conflict", "source-10": "rejected load.id_too_long",
	"source-11": "created", "source-12": "rejected load.identity_conflict", "source-13": "rejected load.id_conflict",
}

func TestPlanPredictsLoad(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int{"listed realm": listLimit, "searched realm": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			users := existing(f)
			target := open(t, f.config())
			if limit == 0 {
				searched(t, target)
			}
			planned := plan(t, target, users)
			if got := f.mutations(); len(got) > 0 {
				t.Errorf("the plan wrote: %v", got)
			}
			loaded := load(t, target, users)
			for source, want := range existingOutcomes {
				if got := planned.Of(source); got != want {
					t.Errorf("plan of %s: %s, want %s", source, got, want)
				}
				// The state of a plan is the one found: of an account that is not there, none.
				same := cmpopts.IgnoreFields(sdk.Outcome{}, "State")
				if d := cmp.Diff(planned.ByID[source].Outcome, loaded.ByID[source].Outcome, same); d != "" {
					t.Errorf("load of %s differs from its plan:\n%s", source, d)
				}
			}
			want := []sdk.FieldChange{
				{Field: "email", Old: "other@example.com", New: "user2@example.com"},
				{Field: "emailVerified", Old: "false", New: "true"},
				{Field: "enabled", Old: "false", New: "true"},
				{Field: "firstName", Old: "Eve"},
				{Field: "password"}, // it has none
			}
			hashes := cmpopts.IgnoreFields(sdk.FieldChange{}, "New")
			if d := cmp.Diff(want, planned.ByID["source-2"].Fields, hashes); d != "" {
				t.Error(d)
			}
			if u := f.get(person(2).ID); u.FirstName != "Eve" {
				t.Error("an account that was there has been changed")
			}
			if got := f.imports(); got != 1 {
				t.Errorf("%d imports: known conflicts should not be sent", got)
			}
		})
	}
}

// searched makes target look users up one by one, as in a large realm.
func searched(t *testing.T, target *live) {
	t.Helper()
	r, err := target.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.directory.count = listLimit + 1
}

func TestHiddenAttributesAreNotCompared(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	delete(f.profile, "unmanagedAttributePolicy")
	u := everything()
	load(t, open(t, f.config()), []sdk.User{u})
	if got := load(t, open(t, f.config()), []sdk.User{u}).Of(u.SourceID); got != "unchanged" {
		t.Error(got)
	}
	f.profile["unmanagedAttributePolicy"] = "ENABLED"
	u.Metadata = json.RawMessage(`{"plan":"silver"}`)
	if got := load(t, open(t, f.config()), []sdk.User{u}).Of(u.SourceID); got != "skipped load.exists_differs" {
		t.Error(got)
	}
}

// One user that the server cannot digest costs that user only.
func TestPoisonedBatch(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	users := people(1, 200)
	users[77].Username = "poison"
	users[140].Username = "poison too"
	got := load(t, open(t, f.config()), users)
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 198, sdk.Rejected: 2}, got.Counts()); d != "" {
		t.Error(d)
	}
	o := got.ByID[users[77].SourceID]
	if o.Code != sdk.CodeTargetRefused || !strings.Contains(o.Detail, consultLog) || o.Hint == "" {
		t.Errorf("%+v", o)
	}
	if n := len(f.ids()); n != 198 {
		t.Errorf("%d users on the server", n)
	}
	if n := f.imports(); n > 40 {
		t.Errorf("%d imports to find two users", n)
	}
}

// A foreign account that appears after the realm was listed trips the server
// over its own SKIP; the truth is found all the same.
func TestRacesWithOthers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target := open(t, f.config())
	load(t, target, people(1, 1)) // lists the realm
	name := func(s string) *string { return &s }
	f.put(&fakeUser{ID: "foreign-2", Username: name("somebody"), Email: "user2@example.com", Enabled: true})
	f.put(&fakeUser{ID: "foreign-3", Username: name("user3@example.com"), Enabled: true})
	f.put(&fakeUser{ID: person(4).ID, Username: name("user4@example.com"), Email: "user4@example.com", EmailVerified: true, Enabled: true, Credentials: carriedPassword})
	f.put(&fakeUser{ID: person(5).ID, Username: name("other"), Enabled: true})
	got := load(t, target, people(2, 8))
	for source, want := range map[string]string{
		"source-2": "rejected load.email_conflict", "source-3": "rejected load.username_conflict", "source-4": "unchanged",
		"source-5": "skipped load.exists_differs", "source-6": "created", "source-7": "created", "source-8": "created",
	} {
		if o := got.Of(source); o != want {
			t.Errorf("%s: %s, want %s", source, o, want)
		}
	}
}

// A look-up that the server refuses costs the user whom it is about.
func TestRefusedLookUp(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("username") == "user2@example.com" {
			refuse(w, http.StatusInternalServerError, consultLog)
			return true
		}
		return false
	}
	target := open(t, f.config())
	searched(t, target)
	got := load(t, target, people(1, 3))
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 2, sdk.Rejected: 1}, got.Counts()); d != "" || got.Of("source-2") != "rejected load.target_refused" {
		t.Errorf("%s\n%+v", d, got.ByID)
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target := open(t, f.config())
	load(t, target, people(1, 2))
	f.expireTokens() // 401 although it should have lived on
	load(t, target, people(3, 4))
	if f.tokens != 2 {
		t.Errorf("%d sign-ins, want 2", f.tokens)
	}
}

// once does something at the first import only.
func once(f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var done atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/partialImport") || done.Swap(true) {
			return false
		}
		f(w, r)
		return true
	}
}

func status502(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
func hangUp(http.ResponseWriter, *http.Request)        { panic(http.ErrAbortHandler) }

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	type spoiler = func(http.ResponseWriter, *http.Request) bool
	tests := []struct {
		name          string
		before, after spoiler
	}{
		{"proxy fails before the import", once(status502), nil},
		{"proxy fails after the import", nil, once(status502)},
		{"connection breaks before the import", once(hangUp), nil},
		{"connection breaks after the import", nil, once(hangUp)},
		{"too many requests", once(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.before, f.after = tt.before, tt.after
			got := load(t, open(t, f.config()), people(1, 5))
			if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 5}, got.Counts()); d != "" {
				t.Error(d)
			}
			if n := len(f.ids()); n != 5 {
				t.Errorf("%d users on the server", n)
			}
		})
	}
}

// The answers stay away for good: what can be found out is found out.
func TestNoAnswerAtAll(t *testing.T) {
	t.Parallel()
	always := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/partialImport") {
			status502(w, r)
			return true
		}
		return false
	}
	f := newFake(t)
	f.before = always
	if d := cmp.Diff(map[sdk.Action]int{sdk.InDoubt: 3}, load(t, open(t, f.config()), people(1, 3)).Counts()); d != "" {
		t.Error(d)
	}
	f.before, f.after = nil, always
	target := open(t, f.config())
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 3}, load(t, target, people(1, 3)).Counts()); d != "" {
		t.Error(d)
	}
	f.after = nil
	if d := cmp.Diff(map[sdk.Action]int{sdk.Unchanged: 3}, load(t, open(t, f.config()), people(1, 3)).Counts()); d != "" {
		t.Error(d)
	}
}

func TestServerDown(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target := open(t, f.config())
	load(t, target, people(1, 1))
	f.Close()
	b := newBook(t)
	err := target.Load(t.Context(), people(2, 3), b)
	if err == nil || len(b.ByID) != 0 {
		t.Errorf("error %v, outcomes %v", err, b.ByID)
	}
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/partialImport") {
			refuse(w, http.StatusForbidden, "HTTP 403 Forbidden")
			return true
		}
		return false
	}
	b := newBook(t)
	err := open(t, f.config()).Load(t.Context(), people(1, 3), b)
	if err == nil || !strings.Contains(err.Error(), "manage-realm") || len(b.ByID) != 0 {
		t.Errorf("error %v, outcomes %v", err, b.ByID)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	released := make(chan struct{})
	f.before = once(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice
		cancel()
		<-r.Context().Done() // the client hangs up
		close(released)
	})
	err := open(t, f.config()).Load(ctx, people(1, 400), newBook(t))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-released
	if n := f.imports(); n != 1 {
		t.Errorf("%d imports after the run was cancelled", n)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	big := func(size int) func(u *sdk.User) {
		return func(u *sdk.User) { u.Metadata = fmt.Appendf(nil, `{"blob":%q}`, strings.Repeat("x", size)) }
	}
	users := []sdk.User{person(1), person(2, big(maxBody+1)), person(3, big(3<<20)), person(4, big(3<<20)), person(5)}
	got := load(t, open(t, f.config()), users)
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 4, sdk.Rejected: 1}, got.Counts()); d != "" {
		t.Error(d)
	}
	if o := got.Of("source-2"); o != "rejected load.user_too_large" {
		t.Error(o)
	}
	if n := f.imports(); n != 2 {
		t.Errorf("%d imports", n)
	}
}

// A proxy may allow less than the server does.
func TestProxyLimit(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength > 8<<10 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		return false
	}
	users := people(1, 40)
	users[5].Metadata = fmt.Appendf(nil, `{"blob":%q}`, strings.Repeat("x", 9<<10))
	got := load(t, open(t, f.config()), users)
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 39, sdk.Rejected: 1}, got.Counts()); d != "" {
		t.Error(d)
	}
	if o := got.ByID["source-6"]; !strings.Contains(o.Detail, "413") {
		t.Errorf("%+v", o)
	}
}

func TestIDsNotKept(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.before = once(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, map[string]any{"results": []any{map[string]string{"action": "ADDED", "resourceType": "USER", "resourceName": "user1@example.com", "id": "fresh"}}})
	})
	b := newBook(t)
	err := open(t, f.config()).Load(t.Context(), people(1, 1), b)
	if err == nil || !strings.Contains(err.Error(), string(codeIDsNotKept)) {
		t.Errorf("error %v", err)
	}
	if o := b.ByID["source-1"]; o.Action != sdk.Created || o.TargetID != "fresh" {
		t.Errorf("%+v", o)
	}
}

func TestListingIsGuarded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	existing(f)
	f.listsNobody = true // query-users without view-users
	err := open(t, f.config()).Load(t.Context(), people(1, 1), newBook(t))
	if err == nil || !strings.Contains(err.Error(), "view-users") {
		t.Errorf("error %v", err)
	}
	if n := f.imports(); n != 0 {
		t.Error("imported into a realm that could not be read")
	}
}

func TestParallelLoads(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := plugintest.Serve(t, Plugin(), map[string]any{
		"realm": "customers", "url": f.URL, "client_id": "loader", "client_secret": f.secret, "batch_size": 10,
	})
	errs := make(chan error)
	const loads = 6
	for n := range loads {
		go func() {
			var users []sdk.User
			for i := range 25 {
				users = append(users, person(n*25+i, func(u *sdk.User) {
					u.Tenants = []string{"eu"}
					u.Roles = map[string][]string{"eu": {"editor", fmt.Sprint("r", i)}}
				}))
			}
			got, err := c.Load(t.Context(), users)
			for _, o := range got {
				if o.Action != sdk.Created {
					err = errors.Join(err, fmt.Errorf("%+v", o))
				}
			}
			errs <- err
		}()
	}
	for range loads {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(f.ids()); n != loads*25 {
		t.Errorf("%d users", n)
	}
}

func TestNoSecretsInErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.secret = "client-canary"
	wrong := f.config()
	wrong.ClientSecret = secretOf("wrong-canary")
	err := open(t, wrong).Load(t.Context(), people(1, 1), newBook(t))
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("error %v", err)
	}
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/partialImport") {
			refuse(w, http.StatusBadRequest, "no")
			return true
		}
		return false
	}
	u := person(1, func(u *sdk.User) {
		u.TOTP = []sdk.TOTPDevice{{Name: "x", Secret: secretOf("JBSWY3DPEHPK3PXP"), Period: 30 * time.Second}}
		u.Password = canonical.ParsePasswordHash(argon2Hash)
	})
	got := load(t, open(t, f.config()), []sdk.User{u})
	if text := fmt.Sprintf("%+v", got.ByID); strings.Contains(text, "JBSW") || strings.Contains(text, "sNKz") {
		t.Errorf("outcome shows a secret: %s", text)
	}
}

// An undo finds an account whose answer was lost by its id, and takes it for a load's when
// it has a credential that only a load makes.
func TestUndoInDoubt(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	users := people(1, 3)
	load(t, open(t, f.config()), users[:1])
	name := "somebody"
	f.put(&fakeUser{ID: users[1].ID, Username: &name, Enabled: true})
	var doubtful []sdk.Account
	for _, u := range users {
		doubtful = append(doubtful, sdk.Account{SourceID: u.SourceID, ID: u.ID, InDoubt: true})
	}
	out := newBook(t)
	if err := open(t, f.config()).UndoInDoubt(t.Context(), doubtful, out); err != nil {
		t.Fatal(err)
	}
	if out.Of("source-1") != "deleted" || out.Of("source-2") != "skipped undo.in_doubt" || out.Of("source-3") != "unchanged" {
		t.Errorf("%s, %s, %s", out.Of("source-1"), out.Of("source-2"), out.Of("source-3"))
	}
	if f.get(users[0].ID) != nil || f.get(users[1].ID) == nil {
		t.Errorf("left: %v", f.ids())
	}
}

// An account that a run of another journal has made is not of this one, also when a run that
// has sent it was killed: it is not completed, and an undo leaves it.
func TestOlderThanTheFirstRun(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	users := people(1, 3)
	loaded(t, clientOf(t, f.config(), 4), users[:2]...) // whose journal is lost
	c := client(t, f.config())
	loaded(t, c, users[2])
	var doubtful []sdk.Account
	for i := range users {
		users[i].Prior.InDoubt = true
		doubtful = append(doubtful, sdk.Account{SourceID: users[i].SourceID, ID: users[i].ID, InDoubt: true})
	}
	users[0].GivenName, users[2].GivenName = "Somebody else", "Somebody else"
	left := loaded(t, c, users...)
	if o := left[0]; o.Action != sdk.Skipped || o.Code != sdk.CodeExistsDiffers {
		t.Errorf("one of before that differs: %+v", o)
	}
	if o := left[1]; o.Action != sdk.Unchanged || o.Code != sdk.CodeThereBefore {
		t.Errorf("one of before that is equal: %+v", o)
	}
	if o := left[2]; o.Action != sdk.Created {
		t.Errorf("one of this journal: %+v", o)
	}
	undone, err := c.Undo(t.Context(), doubtful)
	if err != nil {
		t.Fatal(err)
	}
	if undone[0].Code != sdk.CodeUndoInDoubt || undone[1].Code != sdk.CodeUndoInDoubt || undone[2].Action != sdk.Deleted {
		t.Errorf("undone: %+v", undone)
	}
}

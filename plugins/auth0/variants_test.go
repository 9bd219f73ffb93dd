package auth0

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// TestPartialUsers: a user whose authenticator an import leaves out is there, whether
// the job counts it as failed or not, and gets the authenticator by another way.
func TestPartialUsers(t *testing.T) {
	t.Parallel()
	for _, counts := range []bool{false, true} {
		t.Run(fmt.Sprint(counts), func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{NoFactors: []string{person(2).ID}, FactorsFail: counts}, nil)
			b.expect(b.load(person(1), person(2, everything), person(3)), sdk.Created, 3)
			if a := b.server.Users()["auth0|"+person(2).ID]; len(a.TOTP) != 1 || b.server.Imports() != 1 {
				t.Errorf("%d authenticators, %d jobs", len(a.TOTP), b.server.Imports())
			}
		})
	}
}

// TestEveryJobFails: a tenant where no job succeeds is not asked for each of the users.
func TestEveryJobFails(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Fails: func(int) simulator.Failure { return simulator.Explained }}, nil)
	for _, o := range b.load(people(1, 40)...) {
		if o.Action != sdk.InDoubt || !strings.Contains(o.Detail, "Failed to parse users file") {
			t.Errorf("%+v", o)
		}
	}
	if n := b.server.Imports(); n > 32 || len(b.server.Users()) != 0 {
		t.Errorf("%d jobs", n)
	}
}

// TestLowerCaseIDs: where the tenant changes the letters of an id, outcomes and later
// runs follow it.
func TestLowerCaseIDs(t *testing.T) {
	t.Parallel()
	for _, lowers := range []bool{false, true} {
		t.Run(fmt.Sprint(lowers), func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{LowersIDs: lowers}, nil)
			users := []sdk.User{person(1, func(u *sdk.User) {
				u.ID, u.Roles = "Firebase-UID-1", map[string][]string{"public": {"admin"}}
			}), person(2, func(u *sdk.User) { u.ID = "Firebase-UID-2" })}
			want := map[bool]string{false: "auth0|Firebase-UID-1", true: "auth0|firebase-uid-1"}[lowers]
			for range 2 {
				for id, o := range b.load(users...) {
					if id == "source-1" && o.TargetID != want || o.Code != "" {
						t.Errorf("%+v, want %s", o, want)
					}
				}
				b.client = b.serve() // and again, as if the journal were lost
			}
			if a := b.server.Users()[want]; fmt.Sprint(a.Roles) != "[admin]" {
				t.Errorf("%+v", a)
			}
			for _, c := range b.plan(users...) {
				if c.Action != sdk.Unchanged {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

// TestMembershipsThatNobodyShows: an application that may assign and not read, or a
// tenant without such lists, does not stop a run.
func TestMembershipsThatNobodyShows(t *testing.T) {
	t.Parallel()
	scopes := slices.Concat(loadScopes, roleScopes, organizationScopes, seatScopes)
	for name, o := range map[string]simulator.Options{
		"no scope":  {Scopes: scopes},
		"no lists":  {ForgetsPlaces: true},
		"no second": {EnabledAlready: 400},
		"nor that":  {Scopes: slices.Concat(scopes, []string{"read:organization_connections"}), EnabledAlready: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, o, nil)
			users := []sdk.User{person(1, everything), person(2, func(u *sdk.User) { u.Tenants = []string{"acme"} })}
			b.expect(b.load(users...), sdk.Created, 2)
			b.client = b.serve()
			third := person(3, func(u *sdk.User) { u.Tenants = []string{"acme"} })
			b.expect(b.load(third), sdk.Created, 1) // the organization is there already
			for _, c := range b.plan(append(users, third)...) {
				if c.Action != sdk.Unchanged {
					t.Errorf("%+v", c)
				}
			}
			for id, u := range b.server.Users() {
				if _, ok := u.Organizations["acme"]; !ok {
					t.Errorf("%s is not in its organization", id)
				}
			}
		})
	}
}

// TestMemberWhoIsGone: a user whom somebody deletes at once costs nobody else a role.
func TestMemberWhoIsGone(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Lost: []string{person(3).ID}}, nil)
	users := people(1, 5)
	for i := range users {
		users[i].Roles, users[i].Tenants = map[string][]string{"public": {"admin"}}, []string{"public", "acme"}
	}
	got := b.load(users...)
	b.expect(got, sdk.Created, 5)
	for id, o := range got {
		want := ""
		if id == "source-3" {
			want = "roles admin load.part_failed, tenants acme load.part_failed"
		}
		if lost := lossText(o); lost != want {
			t.Errorf("%s has lost %q, want %q", id, lost, want)
		}
	}
	for id, u := range b.server.Users() {
		if fmt.Sprint(u.Roles) != "[admin]" || len(u.Organizations) != 1 {
			t.Errorf("%s: %+v", id, u)
		}
	}
}

// TestTornDownload: an export whose download breaks off is fetched again.
func TestTornDownload(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{TornDownloads: 2}, map[string]any{"lookups_before_export": 1})
	b.server.Put(simulator.User{ID: "auth0|theirs", Email: "user2@example.com"})
	if c := b.plan(people(1, 5)...); c["source-2"].Code != sdk.CodeEmailConflict || c["source-1"].Action != sdk.Created {
		t.Errorf("%+v", c)
	}
}

// TestCreatedOnce: a passwordless user is made once, whatever happens to the answer.
func TestCreatedOnce(t *testing.T) {
	t.Parallel()
	for _, failure := range []simulator.Failure{simulator.Broken, simulator.Dropped} {
		t.Run(string(failure), func(t *testing.T) {
			t.Parallel()
			b := start(t, simulator.Options{CreateFails: func(n int) simulator.Failure {
				if n <= 2 {
					return failure
				}
				return ""
			}}, map[string]any{"passwordless": "create"})
			users := people(1, 3)
			for i := range users {
				users[i].Class, users[i].Password = sdk.NoPassword, sdk.PasswordHash{}
			}
			b.expect(b.load(users...), sdk.Created, 3)
			if n := len(b.server.Users()); n != 3 {
				t.Errorf("%d users", n)
			}
		})
	}
}

// TestLongLists reads lists whose server has pages of its own size, tells totals or not.
func TestLongLists(t *testing.T) {
	t.Parallel()
	for name, totals := range map[string]bool{"totals": true, "bare": false} {
		for _, n := range []int{0, 1, 50, 120, 1_000} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				t.Parallel()
				requests := 0
				a, err := tenant.New(Config{Domain: "tenant.test"}.withDefaults().access(), sdk.Env{}, serving(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/oauth/token" {
						_, _ = fmt.Fprint(w, `{"access_token":"x","expires_in":86400,"token_type":"Bearer"}`)
						return
					}
					requests++
					page, _ := strconv.Atoi(r.URL.Query().Get("page"))
					var items []string
					for i := page * 50; i < min(n, (page+1)*50); i++ {
						items = append(items, strconv.Itoa(i))
					}
					list := "[" + strings.Join(items, ",") + "]"
					if totals {
						list = fmt.Sprintf(`{"start":%d,"limit":50,"total":%d,"roles":%s}`, page*50, n, list)
					}
					_, _ = fmt.Fprint(w, list)
				}))
				if err != nil {
					t.Fatal(err)
				}
				all, err := tenant.Pages[int](t.Context(), a, "roles")
				if err != nil || len(all) != n || requests > n/50+1 {
					t.Errorf("%d of %d, %d requests, %v", len(all), n, requests, err)
				}
			})
		}
	}
}

// serving is a tenant without a network.
type serving http.HandlerFunc

func (s serving) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	s(w, r)
	return w.Result(), nil
}

// TestAddresses: ids keep their escapes when the tenant is reached under another
// address, with a path or without.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://tenant.test": "https://tenant.test/api/v2/users/auth0%7Ca%2Fb%3F", "http://127.0.0.1:1/at": "http://127.0.0.1:1/at/api/v2/users/auth0%7Ca%2Fb%3F",
	} {
		got := ""
		c := Config{Domain: "tenant.test", APIURL: base}.withDefaults()
		a, err := tenant.New(c.access(), sdk.Env{}, serving(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/oauth/token") {
				_, _ = fmt.Fprint(w, `{"access_token":"x","expires_in":86400,"token_type":"Bearer"}`)
				return
			}
			got = r.URL.String()
			w.WriteHeader(http.StatusNotFound)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Get(t.Context(), nil, url.Values{}, "users", "auth0|a/b?"); tenant.Status(err) != 404 || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// TestUndoTidiesUp: roles and organizations that a run has made go with the last user,
// those that others have made or use stay.
func TestUndoTidiesUp(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	b.server.PutRole("theirs")
	users := []sdk.User{person(1, everything), person(2, func(u *sdk.User) {
		u.Roles, u.Tenants = map[string][]string{"public": {"theirs", "granted", "shared"}}, []string{"public", "beta"}
	})}
	got := b.load(users...)
	b.expect(got, sdk.Created, 2)
	b.server.ChangeRole("granted", func(_, permissions map[string]bool) { permissions["read:things"] = true })
	undo := func(n ...string) {
		t.Helper()
		var accounts []sdk.Account
		for _, id := range n {
			accounts = append(accounts, sdk.Account{SourceID: id, TargetID: got[id].TargetID, State: got[id].State})
		}
		outcomes, err := b.client.Undo(t.Context(), accounts)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomes {
			if o.Action != sdk.Deleted {
				t.Errorf("%+v", o)
			}
		}
		if err := b.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		b.client = b.serve() // tidying up needs no undo before it
		if _, left, err := b.client.Tidy(t.Context()); err != nil || left != 0 {
			t.Errorf("tidied up: %d left, %v", left, err)
		}
	}
	undo("source-1")
	if got := fmt.Sprint(b.server.Organizations(), b.server.Roles()); got != "[beta] [admin granted owner shared theirs]" {
		t.Errorf("after the first user: %s", got)
	}
	got["source-3"] = b.load(person(3, func(u *sdk.User) { u.Roles = map[string][]string{"public": {"shared", "admin"}} }))["source-3"]
	undo("source-2")
	if got := fmt.Sprint(b.server.Organizations(), b.server.Roles()); got != "[] [admin granted shared theirs]" {
		t.Errorf("after the second: %s", got)
	}
	undo("source-3")
	if got := fmt.Sprint(b.server.Organizations(), b.server.Roles()); got != "[] [granted theirs]" {
		t.Errorf("after the third: %s", got)
	}
}

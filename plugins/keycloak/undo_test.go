//go:build unix

package keycloak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// accountsOf are users as an undo knows them.
func accountsOf(users []sdk.User, left []sdk.Outcome) []sdk.Account {
	all := make([]sdk.Account, len(users))
	for i, u := range users {
		all[i] = sdk.Account{SourceID: u.SourceID, TargetID: u.ID, ID: u.ID, State: left[i].State}
	}
	return all
}

// withoutPassword is of people whom nothing marks as a load's.
func withoutPassword(u *sdk.User) { u.Password, u.Class = sdk.PasswordHash{}, sdk.NoPassword }

func count(t *testing.T, s *keycloak.Server, realm string) (n int) {
	t.Helper()
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/count", nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestServerUndoKeepsTouched: whatever others, or the person, have done keeps an account,
// and having signed in keeps it unless the undo says otherwise.
func TestServerUndoKeepsTouched(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, version string) {
		for i, w := range ways {
			t.Run(w.name, func(t *testing.T) { testKeepsTouched(t, s, w, 62_000+100*i) })
		}
	})
}

func testKeepsTouched(t *testing.T, s *keycloak.Server, w way, n int) {
	t.Helper()
	realm := "touched-" + w.name
	config := newRealmOn(t, s, realm)
	config.URL = w.front(t, s)
	call := func(method, path string, in, out any) {
		t.Helper()
		if err := s.Admin(t.Context(), method, "/realms/"+realm+path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, s, realm, map[string]any{"adminEventsEnabled": true})
	addProvider(t, s, realm, "google")
	var clients []struct{ ID string }
	var manage role
	call(http.MethodGet, "/clients?clientId=account", nil, &clients)
	call(http.MethodGet, "/clients/"+clients[0].ID+"/roles/manage-account", nil, &manage)
	call(http.MethodPost, "/groups", map[string]any{"name": "vip"}, nil)
	call(http.MethodPost, "/roles", map[string]any{"name": "theirs"}, nil)
	var vip group
	var theirs role
	call(http.MethodGet, "/group-by-path/vip", nil, &vip)
	call(http.MethodGet, "/roles/theirs", nil, &theirs)
	signIn := func(u sdk.User, more ...string) {
		t.Helper()
		if got := login(t, s, realm, u.Username, "pw", more...); got != "ok" {
			t.Fatalf("sign-in: %s", got)
		}
	}
	leave := func(u sdk.User) {
		t.Helper()
		var sessions []struct{ ID string }
		call(http.MethodGet, "/users/"+u.ID+"/sessions", nil, &sessions)
		for _, x := range sessions {
			call(http.MethodDelete, "/sessions/"+x.ID, nil, nil)
		}
	}
	with := func(hash sdk.PasswordHash) func(*sdk.User) {
		return func(u *sdk.User) { u.Password, u.Class = hash, sdk.HashCarried }
	}
	bcrypted, argon := with(bcryptOf(t, "2a", "pw")), with(argon2Of("argon2id", "pw", 1024, 1, 1, 32))
	const moved, signedIn = "skipped load.moved", "skipped undo.signed_in"
	tests := []struct {
		name       string
		user       func(*sdk.User)
		touch      func(u sdk.User)
		want, then string // without and with leave to delete who has signed in
	}{
		{"nothing", bcrypted, func(sdk.User) {}, "deleted", "unchanged"},
		{"nothing, and no password", func(u *sdk.User) {
			withoutPassword(u)
			u.Identities = []sdk.Identity{{Provider: "google", Subject: "g" + w.name}}
		}, func(sdk.User) {}, "deleted", "unchanged"},
		{"deleted", bcrypted, func(u sdk.User) { call(http.MethodDelete, "/users/"+u.ID, nil, nil) }, "unchanged", "unchanged"},
		{"an attribute", bcrypted, func(u sdk.User) {
			var whole map[string]any
			call(http.MethodGet, "/users/"+u.ID, nil, &whole)
			whole["attributes"] = map[string]any{"theirs": []string{"1"}}
			call(http.MethodPut, "/users/"+u.ID, whole, nil)
		}, moved, moved},
		{"a name", bcrypted, func(u sdk.User) { call(http.MethodPut, "/users/"+u.ID, map[string]any{"firstName": "New"}, nil) }, moved, moved},
		{"a client role", bcrypted, func(u sdk.User) {
			call(http.MethodPost, "/users/"+u.ID+"/role-mappings/clients/"+clients[0].ID, []role{manage}, nil)
		}, moved, moved},
		{"a role", bcrypted, func(u sdk.User) { call(http.MethodPost, "/users/"+u.ID+"/role-mappings/realm", []role{theirs}, nil) }, moved, moved},
		{"a required action", bcrypted, func(u sdk.User) {
			call(http.MethodPut, "/users/"+u.ID, map[string]any{"requiredActions": []string{"UPDATE_PROFILE"}}, nil)
		}, moved, moved},
		{"a group", bcrypted, func(u sdk.User) { call(http.MethodPut, "/users/"+u.ID+"/groups/"+vip.ID, nil, nil) }, moved, moved},
		{"a link", bcrypted, func(u sdk.User) {
			call(http.MethodPost, "/users/"+u.ID+"/federated-identity/google", link{"google", "own-" + u.ID, "x"}, nil)
		}, moved, moved},
		{"another password", bcrypted, func(u sdk.User) {
			call(http.MethodPut, "/users/"+u.ID+"/reset-password", map[string]any{"type": "password", "value": "Other-pw"}, nil)
		}, moved, moved},
		{"logged out", bcrypted, func(u sdk.User) { call(http.MethodPost, "/users/"+u.ID+"/logout", nil, nil) }, moved, moved},
		{"a session", bcrypted, func(u sdk.User) { signIn(u) }, signedIn, "deleted"},
		{"a hash exchanged", bcrypted, func(u sdk.User) { signIn(u); leave(u) }, signedIn, "deleted"},
		{"an argon2 hash exchanged", argon, func(u sdk.User) { signIn(u); leave(u) }, signedIn, "deleted"},
		{"an offline session", argon, func(u sdk.User) { signIn(u, "scope", "openid offline_access"); leave(u) }, signedIn, "deleted"},
		{"a session and an attribute", bcrypted, func(u sdk.User) {
			signIn(u)
			call(http.MethodPut, "/users/"+u.ID, map[string]any{"lastName": "New"}, nil)
		}, moved, moved},
	}
	users := make([]sdk.User, len(tests))
	for i, tt := range tests {
		users[i] = person(n+i, tt.user)
	}
	c := client(t, config)
	stranger := person(n+90, bcrypted)
	load(t, open(t, config), []sdk.User{stranger})
	all := accountsOf(users, loaded(t, c, users...))
	for i, tt := range tests {
		tt.touch(users[i])
	}
	held := map[string]bool{}
	for _, allow := range []bool{false, true} {
		for i := range all {
			all[i].SignedIn = allow
		}
		undone, err := c.Undo(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		for i, tt := range tests {
			want := tt.want
			if allow {
				want = tt.then
			}
			if got := strings.TrimSpace(fmt.Sprint(undone[i].Action, " ", undone[i].Code)); got != want {
				t.Errorf("%s, with leave %v: %s (%s), want %s", tt.name, allow, got, undone[i].Detail, want)
			}
			held[users[i].ID] = undone[i].Action == sdk.Skipped
		}
	}
	left := 2 // the stranger, and the client itself
	for _, there := range held {
		if there {
			left++
		}
	}
	if got := count(t, s, realm); got < left-1 || got > left { // a service account does not count everywhere
		t.Errorf("%d accounts are left, want %d", got, left)
	}
	var events []struct{ ResourcePath string }
	call(http.MethodGet, "/admin-events?operationTypes=DELETE&resourceTypes=USER&max=100", nil, &events)
	seen := map[string]bool{}
	for _, e := range events {
		seen[strings.TrimPrefix(e.ResourcePath, "users/")] = true
	}
	for i, tt := range tests {
		if gone := !held[users[i].ID]; gone != seen[users[i].ID] {
			t.Errorf("%s: gone %v, and an admin event of it %v", tt.name, gone, seen[users[i].ID])
		}
	}
}

// meddler is before a server and does something when accounts are about to be deleted, or
// have been.
type meddler struct {
	forward       http.Handler
	before, after func(w http.ResponseWriter, r *http.Request) (done bool)
	asked         atomic.Int64
	requests      atomic.Int64
}

func (m *meddler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.requests.Add(1)
	if !strings.HasSuffix(r.URL.Path, "/stetl/deletion") {
		m.forward.ServeHTTP(w, r)
		return
	}
	m.asked.Add(1)
	if m.before != nil && m.before(w, r) {
		return
	}
	answer := httptest.NewRecorder()
	m.forward.ServeHTTP(answer, r)
	if m.after != nil && m.after(w, r) {
		return
	}
	w.WriteHeader(answer.Code)
	_, _ = io.Copy(w, answer.Body)
}

func meddling(t *testing.T, s *keycloak.Server, c *Config) *meddler {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	m := &meddler{forward: httputil.NewSingleHostReverseProxy(u)}
	proxy := httptest.NewServer(m)
	t.Cleanup(proxy.Close)
	c.URL = proxy.URL
	return m
}

// TestServerUndoTogether takes accounts back many at a time, while answers are lost, others
// write, and programs die: who was touched in between stays, who has gone is found to have
// gone, and nobody else goes.
func TestServerUndoTogether(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	hang := func(w http.ResponseWriter, _ *http.Request) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	}
	tests := []struct {
		name string
		set  func(m *meddler, users []sdk.User)
		dies bool
		want map[sdk.Action]int
		then map[sdk.Action]int // of the next undo
	}{
		{"quietly", func(*meddler, []sdk.User) {}, false, map[sdk.Action]int{sdk.Deleted: 150}, map[sdk.Action]int{sdk.Unchanged: 150}},
		{"an answer lost", func(m *meddler, _ []sdk.User) {
			var lost atomic.Bool
			m.after = func(w http.ResponseWriter, r *http.Request) bool {
				return lost.CompareAndSwap(false, true) && hang(w, r)
			}
		}, false, map[sdk.Action]int{sdk.Deleted: 150}, map[sdk.Action]int{sdk.Unchanged: 150}},
		{"somebody writes in between", func(m *meddler, users []sdk.User) {
			m.before = func(_ http.ResponseWriter, r *http.Request) bool {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				if !bytes.Contains(body, []byte(users[3].ID)) {
					return false
				}
				if err := s.Admin(context.Background(), http.MethodPut, "/realms/together-2/users/"+users[3].ID, map[string]any{"lastName": "New"}, nil); err != nil {
					t.Error(err)
				}
				return false
			}
		}, false, map[sdk.Action]int{sdk.Deleted: 149, sdk.Skipped: 1}, map[sdk.Action]int{sdk.Unchanged: 149, sdk.Skipped: 1}},
		{"the program dies", func(m *meddler, _ []sdk.User) {
			m.after = func(w http.ResponseWriter, r *http.Request) bool { return hang(w, r) }
		}, true, nil, nil},
	}
	for i, tt := range tests {
		realm := fmt.Sprint("together-", i)
		config := newRealmOn(t, s, realm)
		m := meddling(t, s, &config)
		users := people(71_000+1000*i, 71_149+1000*i)
		stranger := person(71_900 + 1000*i)
		load(t, open(t, config), []sdk.User{stranger})
		all := accountsOf(users, loaded(t, client(t, config), users...))
		before := count(t, s, realm)
		tt.set(m, users)
		m.requests.Store(0)
		if tt.dies {
			ctx, kill := context.WithCancel(t.Context())
			was := m.after
			var over atomic.Bool
			m.after = func(w http.ResponseWriter, r *http.Request) bool {
				if over.Load() {
					return false
				}
				kill()
				return was(w, r)
			}
			undone, err := client(t, config).Undo(ctx, all)
			if n := actions(undone); err == nil || n[sdk.Deleted] != 0 {
				t.Errorf("%s: %v, %v", tt.name, n, err)
			}
			kill()
			over.Store(true)
		} else {
			undone, err := client(t, config).Undo(t.Context(), all)
			if n := actions(undone); err != nil || fmt.Sprint(n) != fmt.Sprint(tt.want) {
				t.Errorf("%s: %v, %v", tt.name, n, err)
			}
			if n := m.requests.Load(); n > 25 {
				t.Errorf("%s: %d requests for %d accounts", tt.name, n, len(users))
			}
			for n, o := range undone {
				if o.Action == sdk.Skipped && (n != 3 || o.Code != sdk.CodeMoved) {
					t.Errorf("%s: account %d: %+v", tt.name, n, o)
				}
			}
		}
		undone, err := client(t, config).Undo(t.Context(), all)
		n := actions(undone)
		if tt.dies { // by then some or all of the first requests had come to their end
			if n[sdk.Unchanged] < 50 || n[sdk.Unchanged]+n[sdk.Deleted] != 150 {
				t.Errorf("%s, the next undo: %v", tt.name, n)
			}
		} else if fmt.Sprint(n) != fmt.Sprint(tt.then) {
			t.Errorf("%s, the next undo: %v", tt.name, n)
		}
		if err != nil {
			t.Errorf("%s, the next undo: %v", tt.name, err)
		}
		if n := count(t, s, realm); n != before-150+tt.then[sdk.Skipped] {
			t.Errorf("%s: %d accounts are left of %d", tt.name, n, before)
		}
	}
}

// TestServerOldProvider: a server with an older jar is named, and does its work the older way.
func TestServerOldProvider(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "older")
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(u)
	var newer atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/stetl"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"version":1,"most":1000,"direct":true,"compares":true}`)
			return
		case strings.HasSuffix(path, "/stetl/holders"), strings.HasSuffix(path, "/stetl/states"), strings.HasSuffix(path, "/stetl/deletion"):
			newer.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	config.URL = proxy.URL
	c := client(t, config)
	found, err := c.Check(t.Context(), sdk.Needs{})
	if err != nil || !slices.Contains(codes(found.Diagnostics), "warning keycloak.old_provider") {
		t.Errorf("check: %v, %v", codes(found.Diagnostics), err)
	}
	users := people(69_000, 69_002)
	undone, err := c.Undo(t.Context(), accountsOf(users, loaded(t, c, users...)))
	if err != nil || actions(undone)[sdk.Deleted] != 3 || newer.Load() != 0 {
		t.Errorf("undo: %+v, %v, %d requests that the jar does not know", undone, err, newer.Load())
	}
}

// TestServerDeletes: what the provider deletes, and what it does not, whoever asks.
func TestServerDeletes(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, _ string) {
		config := newRealmOn(t, s, "deletes")
		elsewhere := newRealmOn(t, s, "deletes-not")
		users := []sdk.User{person(68_000), person(68_001), person(68_002, withoutPassword)}
		load(t, open(t, config), users)
		other := person(68_010)
		load(t, open(t, elsewhere), []sdk.User{other})
		// An account of others, whose credential has an id that no load gives.
		if err := s.Admin(t.Context(), http.MethodPost, "/realms/deletes/users", map[string]any{
			"username": "eve", "enabled": true, "credentials": []any{map[string]any{"type": "password", "value": "Pw-of-eve"}},
		}, nil); err != nil {
			t.Fatal(err)
		}
		var eve []account
		if err := s.Admin(t.Context(), http.MethodGet, "/realms/deletes/users?username=eve", nil, &eve); err != nil || len(eve) != 1 {
			t.Fatalf("%v, %v", eve, err)
		}
		a := provided{open(t, config).api}
		ids := []string{users[0].ID, users[1].ID, users[2].ID, eve[0].ID, other.ID, "nobody"}
		seen, err := a.seenStates(t.Context(), ids)
		if err != nil || len(seen) != 4 || !seen[users[0].ID].Marked || seen[users[2].ID].Marked || seen[eve[0].ID].Marked {
			t.Fatalf("%+v, %v", seen, err)
		}
		again, err := a.seenStates(t.Context(), ids[:1])
		if err != nil || again[users[0].ID].Digest != seen[users[0].ID].Digest || seen[users[1].ID].Digest == seen[users[0].ID].Digest {
			t.Errorf("digests %+v, then %+v, %v", seen, again, err)
		}
		asked := []doomed{
			{ids[0], seen[ids[0]].Digest},
			{ids[1], seen[ids[0]].Digest},
			{ids[2], seen[ids[2]].Digest},
			{ids[3], seen[ids[3]].Digest},
			{other.ID, "x"},
			{"nobody", "x"},
			{ids[0], "twice"},
			{ids[1], ""},
		}
		results, err := a.deleteAccounts(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{204, 412, 403, 403, 404, 404, 400, 400} {
			if results[i].Status != want {
				t.Errorf("%d: %+v, want %d", i, results[i], want)
			}
		}
		body := bytes.Repeat([]byte(`{"id":"x","digest":"x"},`), 201)
		err = a.call(t.Context(), http.MethodPost, a.realmPath("stetl", "deletion"), nil, append(append([]byte("["), body[:len(body)-1]...), ']'), nil)
		if status(err) != http.StatusBadRequest {
			t.Errorf("too many: %v", err)
		}
	})
}

//go:build unix

package keycloak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// settle changes settings of a realm.
func settle(t *testing.T, s *keycloak.Server, realm string, settings map[string]any) {
	t.Helper()
	if err := s.Admin(t.Context(), http.MethodPut, "/realms/"+realm, settings, nil); err != nil {
		t.Fatal(err)
	}
}

// renaming is a realm that lets user names be changed.
func renaming(t *testing.T, s *keycloak.Server, realm string) Config {
	t.Helper()
	c := newRealmOn(t, s, realm)
	settle(t, s, realm, map[string]any{"editUsernameAllowed": true})
	return c
}

func totpOf(name, secret string) sdk.TOTPDevice {
	return sdk.TOTPDevice{Name: name, Secret: secretOf(secret), Period: 30 * time.Second, Created: joined}
}

// whole is a person with everything that an account can have.
func whole(t *testing.T, n int, change ...func(*sdk.User)) sdk.User {
	t.Helper()
	return person(n, append([]func(*sdk.User){func(u *sdk.User) {
		u.Password, u.Class = bcryptOf(t, "2a", "old password"), sdk.HashCarried
		u.Roles, u.Tenants = map[string][]string{"public": {"editor"}}, []string{"eu"}
		u.Metadata = json.RawMessage(`{"plan":"gold"}`)
		u.GivenName = "Ada"
		u.Identities = []sdk.Identity{{Provider: "google", Subject: fmt.Sprint("g-", n), Name: "g"}}
		u.TOTP = []sdk.TOTPDevice{totpOf("phone", "JBSWY3DPEHPK3PXP")}
	}}, change...)...)
}

func loaded(t *testing.T, c *plugintest.Client, users ...sdk.User) []sdk.Outcome {
	t.Helper()
	out, err := c.Load(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shownOf is what the realm shows of an account, by the names of plans.
func shownOf(t *testing.T, s *keycloak.Server, c Config, id string) map[string]string {
	t.Helper()
	r, err := open(t, c).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.reader.one(t.Context(), id, nil, nil)
	if err != nil || d == nil {
		t.Fatalf("account %s: %v, %v", id, d, err)
	}
	f := r.view.accountFields(&d.account)
	var labels []string
	for _, x := range d.Credentials {
		labels = append(labels, x.Type+" "+x.UserLabel)
	}
	var roles, groups []string
	for _, x := range d.Roles {
		if x.Name != r.view.defaultRole {
			roles = append(roles, x.Name)
		}
	}
	for _, x := range d.Groups {
		groups = append(groups, x.Path)
	}
	for _, l := range d.Links {
		f[prefixIdentity+l.Alias] = l.UserID
	}
	f["credentials"], f[fieldRoles], f[fieldGroups] = list(labels), list(roles), list(groups)
	for name, value := range f {
		if value == "" {
			delete(f, name)
		}
	}
	return f
}

func losses(o sdk.Outcome) (out []string) {
	for _, l := range o.Losses {
		out = append(out, string(l.Feature)+" "+string(l.Code))
	}
	slices.Sort(out)
	return out
}

func fieldsOf(c sdk.Change) (out []string) {
	for _, f := range c.Fields {
		out = append(out, f.Field)
	}
	return out
}

// settled holds an account to its outcome: what a plan says next, with what the run left.
func settled(t *testing.T, c *plugintest.Client, u sdk.User, left sdk.Outcome) {
	t.Helper()
	known := remembering([]sdk.User{u}, []sdk.Outcome{left})
	if p := planOf(t, c, known)[0]; p.Action != sdk.Unchanged || !bytes.Equal(p.State, left.State) {
		t.Errorf("after the run: %s", short(p))
	}
}

// TestServerThereBefore has people in the realm, with the same id, who lack one thing
// each: that is seen, with and without leave to change it, and completed on demand.
func TestServerThereBefore(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	for way, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			realm := "before-" + w.name
			config := renaming(t, s, realm)
			config.URL = w.front(t, s)
			addProvider(t, s, realm, "google")
			lacks := []struct {
				field string
				take  func(*sdk.User)
			}{
				{"password", func(u *sdk.User) { u.Password, u.Class = sdk.PasswordHash{}, sdk.NoPassword }},
				{"totp", func(u *sdk.User) { u.TOTP = nil }},
				{"roles", func(u *sdk.User) { u.Roles = nil }},
				{"groups", func(u *sdk.User) { u.Tenants = nil }},
				{"identity.google", func(u *sdk.User) { u.Identities = nil }},
				{"attributes.metadata.plan", func(u *sdk.User) { u.Metadata = nil }},
				{"firstName", func(u *sdk.User) { u.GivenName = "" }},
				{"username", func(u *sdk.User) { u.Username = "former-" + u.Username }},
				{"", func(*sdk.User) {}},
			}
			var before, after []sdk.User
			for i, l := range lacks {
				u := whole(t, 51_000+1000*way+i)
				after = append(after, u)
				l.take(&u)
				before = append(before, u)
			}
			loaded(t, client(t, config), before...)
			c := client(t, config)
			left := loaded(t, c, after...)
			planned := planOf(t, c, after)
			for i, l := range lacks {
				want := sdk.Skipped
				if l.field == "" {
					want = sdk.Unchanged
				}
				if left[i].Action != want || planned[i].Action != want || l.field != "" && !slices.Contains(fieldsOf(planned[i]), l.field) {
					t.Errorf("without %s: %s, planned %s", l.field, left[i].Action, short(planned[i]))
				}
			}
			unread := []string{"password load.unread", "totp load.unread"}
			if w.bulk {
				unread = nil // the endpoints tell that they are the same
			}
			if d := cmp.Diff(unread, losses(left[len(left)-1])); d != "" {
				t.Errorf("of one that lacks nothing: %s", d)
			}
			for i := range after {
				after[i].Existing = sdk.Update
			}
			for i, p := range planOf(t, c, after) {
				if p.Action != sdk.Updated && (!w.bulk || lacks[i].field != "") {
					t.Errorf("plan of an adoption without %s: %s", lacks[i].field, short(p))
				}
			}
			for i, o := range loaded(t, c, after...) {
				if w.bulk && lacks[i].field == "" {
					if o.Action != sdk.Unchanged {
						t.Errorf("adoption of one that lacks nothing: %+v", o)
					}
					continue
				}
				if o.Action != sdk.Updated || len(o.Losses) > 0 || o.Before == nil {
					t.Errorf("adoption without %s: %+v", lacks[i].field, o)
				}
				settled(t, c, after[i], o)
				if lacks[i].field == "" {
					continue
				}
				got := shownOf(t, s, config, after[i].ID)
				full := shownOf(t, s, config, after[len(after)-1].ID)
				for _, f := range []string{"credentials", "roles", "groups", "firstName", "attributes.metadata.plan"} {
					if got[f] != full[f] {
						t.Errorf("adopted without %s, now has %s %q, want %q", lacks[i].field, f, got[f], full[f])
					}
				}
			}
		})
	}
}

// TestServerAdoptionLeavesOff: who was switched off in the realm stays so, in the next
// runs as well.
func TestServerAdoptionLeavesOff(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "off")
	addProvider(t, s, "off", "google")
	users := []sdk.User{whole(t, 53_000), whole(t, 53_001)}
	for i := range users {
		users[i].Enabled = false
	}
	loaded(t, client(t, config), users...)
	c := client(t, config)
	for i := range users {
		users[i].Enabled, users[i].Existing = true, sdk.Update
	}
	users[0].GivenName = "Other"
	left := loaded(t, c, users...)
	known := remembering(users, left)
	for i, p := range planOf(t, c, known) {
		if p.Action != sdk.Unchanged {
			t.Errorf("the next run: %s", short(p))
		}
		if got := shownOf(t, s, config, users[i].ID)["enabled"]; got != "false" {
			t.Errorf("enabled is %s", got)
		}
	}
	// The source switches one off and on again, which is another matter.
	known[0].Enabled = false
	left = loaded(t, c, known[0])
	known = remembering(known[:1], left)
	known[0].Enabled = true
	loaded(t, c, known[0])
	if got := shownOf(t, s, config, users[0].ID)["enabled"]; got != "true" {
		t.Errorf("switched on by the source: enabled is %s", got)
	}
}

// TestServerLostJournal loads, forgets, changes everything at the source, and runs.
func TestServerLostJournal(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := renaming(t, s, "lost")
	for _, alias := range []string{"google", "github"} {
		addProvider(t, s, "lost", alias)
	}
	u := whole(t, 54_000)
	loaded(t, client(t, config), u)
	if got := login(t, s, "lost", u.Username, "old password", "totp", codeOf(t, "JBSWY3DPEHPK3PXP", 30*time.Second)); got != "ok" {
		t.Fatalf("sign-in: %s", got)
	}
	u.Password = bcryptOf(t, "2a", "new password")
	u.Username, u.Email = "moved@example.com", "moved@example.com"
	u.GivenName, u.FamilyName = "", "Lovelace"
	u.Roles, u.Tenants = map[string][]string{"public": {"auditor"}}, []string{"us"}
	u.Metadata = json.RawMessage(`{"team":"x"}`)
	u.Identities = []sdk.Identity{{Provider: "github", Subject: "7"}}
	u.TOTP = nil
	c := client(t, config)
	if o := loaded(t, c, u)[0]; o.Action != sdk.Skipped || o.Code != sdk.CodeExistsDiffers {
		t.Errorf("left alone: %+v", o)
	}
	u.Existing = sdk.Update
	o := loaded(t, c, u)[0]
	if o.Action != sdk.Updated || len(o.Losses) > 0 {
		t.Errorf("taken up again: %+v", o)
	}
	want := map[string]string{
		"username": "moved@example.com", "email": "moved@example.com", "emailVerified": "true", "enabled": "true", "lastName": "Lovelace",
		"attributes.metadata.team": "x", "identity.github": "7", "roles": "auditor", "groups": "/tenants/us", "credentials": "password supertokens",
	}
	if d := cmp.Diff(want, shownOf(t, s, config, u.ID)); d != "" {
		t.Error(d)
	}
	for password, want := range map[string]string{"old password": wrongAnswer, "new password": "ok"} {
		if got := login(t, s, "lost", u.Username, password); got != want {
			t.Errorf("sign-in with the %s: %s, want %s", password, got, want)
		}
	}
	settled(t, c, u, o)
}

// TestServerComparesSecrets has the endpoints tell whether passwords and authenticators are
// the source's, on both servers: until a sign-in has exchanged the hash.
func TestServerComparesSecrets(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, _ string) {
		config := newRealmOn(t, s, "compared")
		addProvider(t, s, "compared", "google")
		users, _ := zoo(t, 54_500)
		users = slices.DeleteFunc(users, func(u sdk.User) bool { return len(u.Identities) > 0 })
		loaded(t, client(t, config), users...)
		for i, o := range loaded(t, client(t, config), users...) {
			if o.Action != sdk.Unchanged || len(o.Losses) > 0 {
				t.Errorf("%s, with %d authenticators: %+v", users[i].Password.Shape(), len(users[i].TOTP), o)
			}
		}
		if got := login(t, s, "compared", users[0].Username, "testpass"); got != "ok" {
			t.Fatalf("sign-in: %s", got)
		}
		users[1].Password = bcryptOf(t, "2a", "another")
		devices := slices.IndexFunc(users, func(u sdk.User) bool { return len(u.TOTP) == 1 })
		users[devices].TOTP = []sdk.TOTPDevice{totpOf(users[devices].TOTP[0].Name, "AAAAAAAAAAAAAAAA")}
		for i, p := range planOf(t, client(t, config), users) {
			switch i {
			case 0:
				if d := cmp.Diff([]string{"password load.unread"}, losses(p.Outcome)); d != "" {
					t.Errorf("after a sign-in: %s", short(p))
				}
			case 1, devices:
				if p.Action != sdk.Skipped || len(p.Fields) != 1 {
					t.Errorf("changed at the source: %s", short(p))
				}
			default:
				if p.Action != sdk.Unchanged || len(p.Losses) > 0 {
					t.Errorf("not changed: %s", short(p))
				}
			}
		}
	})
}

// TestServerTakesAway has every part of an account go at the source, and an undo bring
// back what can be read.
func TestServerTakesAway(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "away")
	addProvider(t, s, "away", "google")
	tests := map[string]func(*sdk.User){
		"the last attribute": func(u *sdk.User) { u.Metadata = nil },
		"a name":             func(u *sdk.User) { u.GivenName = "" },
		"a name and the last attribute": func(u *sdk.User) {
			u.GivenName, u.Metadata = "", nil
		},
		"the authenticator": func(u *sdk.User) { u.TOTP = nil },
		"an authenticator for another": func(u *sdk.User) {
			u.TOTP = []sdk.TOTPDevice{totpOf("tablet", "AAAAAAAAAAAAAAAA")}
		},
		"the link":     func(u *sdk.User) { u.Identities = nil },
		"the role":     func(u *sdk.User) { u.Roles = nil },
		"the tenant":   func(u *sdk.User) { u.Tenants = nil },
		"the password": func(u *sdk.User) { u.Password, u.Class = sdk.PasswordHash{}, sdk.NoPassword },
		"the address":  func(u *sdk.User) { u.Email = "" },
		"a name of one without attributes": func(u *sdk.User) {
			u.GivenName = ""
		},
	}
	c := client(t, config)
	n := 55_000
	for name, take := range tests {
		n++
		u := whole(t, n)
		if strings.Contains(name, "without attributes") {
			u.Metadata = nil
		}
		first := loaded(t, c, u)[0]
		full := shownOf(t, s, config, u.ID)
		known := remembering([]sdk.User{u}, []sdk.Outcome{first})[0]
		take(&known)
		o := loaded(t, c, known)[0]
		if o.Action != sdk.Updated || len(o.Losses) > 0 {
			t.Errorf("%s: %+v", name, o)
		}
		settled(t, c, known, o)
		r, err := open(t, config).open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rep, _ := r.mapper.user(&known)
		got, want := shownOf(t, s, config, u.ID), r.view.wanted(rep).Fields
		for field, value := range want {
			if got[field] != value {
				t.Errorf("%s: %s is %q, want %q", name, field, got[field], value)
			}
		}
		labels := []string{}
		for _, x := range rep.Credentials {
			labels = append(labels, x.Type+" "+x.UserLabel)
		}
		if got["credentials"] != list(labels) {
			t.Errorf("%s: credentials %q, want %q", name, got["credentials"], list(labels))
		}
		if want["identity.google"] == "" && got["identity.google"] != "" {
			t.Errorf("%s: still linked", name)
		}
		undone, err := c.Undo(t.Context(), []sdk.Account{{SourceID: u.SourceID, TargetID: u.ID, State: o.State, Before: o.Before}})
		if err != nil || undone[0].Action != sdk.Updated {
			t.Errorf("%s: undo: %+v, %v", name, undone, err)
		}
		back := shownOf(t, s, config, u.ID)
		delete(full, "credentials") // hashes and seeds cannot be read
		delete(back, "credentials")
		if d := cmp.Diff(full, back); d != "" {
			t.Errorf("%s: undo (-before +after):\n%s", name, d)
		}
	}
}

// refusing is the server behind a proxy that refuses requests.
func refusing(t *testing.T, server string, refuses func(r *http.Request) bool) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(u)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuses(r) {
			refuse(w, http.StatusInternalServerError, consultLog)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestServerPartsFail: a part that the server refuses costs that part, is named, and is
// tried again.
func TestServerPartsFail(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "parts")
	addProvider(t, s, "parts", "google")
	tests := map[string]struct {
		path   string
		change func(*sdk.User)
		loss   string
	}{
		"role":   {"/role-mappings/realm", func(u *sdk.User) { u.Roles = map[string][]string{"public": {"auditor"}} }, "roles load.part_failed"},
		"group":  {"/groups/", func(u *sdk.User) { u.Tenants = []string{"us"} }, "tenants load.part_failed"},
		"link":   {"/federated-identity/", func(u *sdk.User) { u.Identities = []sdk.Identity{{Provider: "google", Subject: "other"}} }, "identities load.part_failed"},
		"device": {"/credentials/", func(u *sdk.User) { u.TOTP = nil }, "totp load.part_failed"},
	}
	n := 56_000
	for name, tt := range tests {
		n++
		first := loaded(t, client(t, config), whole(t, n))
		u := remembering([]sdk.User{whole(t, n, func(u *sdk.User) { u.GivenName = "Changed" })}, first)[0]
		tt.change(&u)
		broken := config
		broken.URL = refusing(t, s.URL(), func(r *http.Request) bool {
			return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/users/"+u.ID) && strings.Contains(r.URL.Path, tt.path)
		})
		c := client(t, broken)
		o := loaded(t, c, u)[0]
		if o.Action != sdk.Updated || !slices.Contains(losses(o), tt.loss) {
			t.Errorf("%s: %+v", name, o)
		}
		if got := shownOf(t, s, config, u.ID)["firstName"]; got != "Changed" {
			t.Errorf("%s: the name is %s", name, got)
		}
		u = remembering([]sdk.User{u}, []sdk.Outcome{o})[0]
		c = client(t, config)
		if o = loaded(t, c, u)[0]; o.Action != sdk.Updated || len(o.Losses) > 0 {
			t.Errorf("%s again: %+v", name, o)
		}
		settled(t, c, u, o)
	}
}

// TestServerKeepsUsernames: in a realm as Keycloak makes it, user names cannot be
// changed. Everything else is.
func TestServerKeepsUsernames(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "fixed-names")
	if list := open(t, config).Check(t.Context(), sdk.Needs{}); !slices.Contains(codes(list), "warning keycloak.usernames_fixed") {
		t.Errorf("check: %+v", list)
	}
	addProvider(t, s, "fixed-names", "google")
	c := client(t, config)
	u := remembering([]sdk.User{whole(t, 57_000)}, loaded(t, c, whole(t, 57_000)))[0]
	was := u.Username
	u.Username, u.Email, u.Password = "elsewhere@example.com", "elsewhere@example.com", bcryptOf(t, "2a", "new password")
	u.TOTP, u.Roles = nil, map[string][]string{"public": {"auditor"}}
	p := planOf(t, c, []sdk.User{u})[0]
	o := loaded(t, c, u)[0]
	want := []string{"username load.part_failed"}
	if p.Action != sdk.Updated || o.Action != sdk.Updated || !slices.Equal(losses(p.Outcome), want) || !slices.Equal(losses(o), want) || slices.Contains(fieldsOf(p), "username") {
		t.Errorf("planned %s\nrun %+v", short(p), o)
	}
	got := shownOf(t, s, config, u.ID)
	if got["username"] != was || got["email"] != "elsewhere@example.com" || got["roles"] != "auditor" {
		t.Errorf("%v", got)
	}
	if got := login(t, s, "fixed-names", "elsewhere@example.com", "new password"); got != "ok" {
		t.Errorf("sign-in: %s", got)
	}
	u = remembering([]sdk.User{u}, []sdk.Outcome{o})[0]
	if p := planOf(t, c, []sdk.User{u})[0]; p.Action != sdk.Unchanged || !slices.Equal(losses(p.Outcome), want) {
		t.Errorf("the next run: %s", short(p))
	}
	if list := open(t, config).Fix(t.Context(), sdk.Needs{}); !slices.Contains(codes(list), "warning keycloak.usernames_fixed") {
		t.Errorf("fix: %+v", list)
	}
	c = client(t, config)
	if o := loaded(t, c, u)[0]; o.Action != sdk.Updated || len(o.Losses) > 0 {
		t.Errorf("when the realm lets names be changed: %+v", o)
	}
}

// TestServerExchanges has people exchange their addresses, in pairs, in chains and in
// circles, and somebody new take one that is given up.
func TestServerExchanges(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	for way, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			realm := "exchange-" + w.name
			config := renaming(t, s, realm)
			config.URL = w.front(t, s)
			users := make([]sdk.User, 0, 9)
			for n := range 9 {
				users = append(users, person(58_000+1000*way+n, func(u *sdk.User) {
					u.Password, u.Class = bcryptOf(t, "2a", fmt.Sprint("password ", n)), sdk.HashCarried
				}))
			}
			c := client(t, config)
			known := remembering(users, loaded(t, c, users...))
			moves := map[int]int{0: 1, 1: 0, 2: 3, 3: 4, 5: 6, 6: 7, 7: 5}
			address := func(n int) string { return users[n].Email }
			for from, to := range moves {
				known[from].Email, known[from].Username = address(to), address(to)
			}
			known[4].Email, known[4].Username = "fresh-"+w.name+"@example.com", "fresh-"+w.name+"@example.com"
			late := person(58_900 + 1000*way)
			late.Email, late.Username = address(2), address(2)
			known = append(known, late)
			planned := planOf(t, c, known)
			left := loaded(t, c, known...)
			for i := range known {
				want := sdk.Updated
				switch i {
				case 8:
					want = sdk.Unchanged
				case 9:
					want = sdk.Created
				}
				if left[i].Action != want || planned[i].Action != want || len(left[i].Losses) > 0 {
					t.Errorf("user %d: planned %s, run %+v", i, short(planned[i]), left[i])
				}
				got := shownOf(t, s, config, known[i].ID)
				if got["email"] != known[i].Email || got["username"] != known[i].Username {
					t.Errorf("user %d has %s and %s, want %s", i, got["username"], got["email"], known[i].Email)
				}
				settled(t, c, known[i], left[i])
				if i < 9 {
					if got := login(t, s, realm, known[i].Email, fmt.Sprint("password ", i)); got != "ok" {
						t.Errorf("sign-in of user %d: %s", i, got)
					}
				}
			}
		})
	}
}

// TestServerExchangeInterrupted has a run die between two people: the next one finishes.
func TestServerExchangeInterrupted(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := renaming(t, s, "interrupted")
	users := people(59_800, 59_801)
	known := remembering(users, loaded(t, client(t, config), users...))
	for i := range known {
		known[i].Email, known[i].Username = users[1-i].Email, users[1-i].Username
	}
	writes := 0
	dying := config
	dying.URL = refusing(t, s.URL(), func(r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/users/") {
			writes++
			if writes > 1 {
				panic(http.ErrAbortHandler)
			}
		}
		return false
	})
	short := openPatient(t, dying, 100*time.Millisecond)
	b := newBook(t)
	if err := short.Load(t.Context(), known, b); err == nil {
		t.Fatal("the run did not die")
	}
	for i := range known {
		known[i].Prior.InDoubt = true
	}
	c := client(t, config)
	left := loaded(t, c, known...)
	for i := range known {
		if got := shownOf(t, s, config, known[i].ID); left[i].Action != sdk.Updated || got["email"] != known[i].Email || got["username"] != known[i].Username {
			t.Errorf("user %d: %+v\n%v", i, left[i], got)
		}
	}
}

// TestServerForeignAddress: an address of somebody whom no run has made costs the
// address.
func TestServerForeignAddress(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := renaming(t, s, "foreign-address")
	if err := s.Admin(t.Context(), http.MethodPost, "/realms/foreign-address/users", map[string]any{"username": "boss@example.com", "email": "boss@example.com", "enabled": true}, nil); err != nil {
		t.Fatal(err)
	}
	c := client(t, config)
	u := remembering([]sdk.User{person(59_900)}, loaded(t, c, person(59_900)))[0]
	u.Email, u.Username, u.GivenName = "boss@example.com", "boss@example.com", "New"
	p, o := planOf(t, c, []sdk.User{u})[0], loaded(t, c, u)[0]
	want := []string{"email load.part_failed", "username load.part_failed"}
	if p.Action != sdk.Updated || o.Action != sdk.Updated || !slices.Equal(losses(p.Outcome), want) || !slices.Equal(losses(o), want) {
		t.Errorf("planned %s\nrun %+v", short(p), o)
	}
	if got := shownOf(t, s, config, u.ID)["firstName"]; got != "New" {
		t.Errorf("the name is %s", got)
	}
}

// TestServerMovesLinks has an identity go from one person to another, and meet one that
// an account of others holds.
func TestServerMovesLinks(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "links")
	addProvider(t, s, "links", "google")
	subject := func(name string) []sdk.Identity {
		return []sdk.Identity{{Provider: "google", Subject: name, Name: name}}
	}
	users := []sdk.User{whole(t, 60_000), whole(t, 60_001), whole(t, 60_002), whole(t, 60_003)}
	for i := range users {
		users[i].Identities = subject(fmt.Sprint("s", i))
	}
	users[1].Identities = nil
	known := remembering(users, loaded(t, client(t, config), users...))
	err := s.Admin(t.Context(), http.MethodPost, "/realms/links/users", map[string]any{
		"username": "boss", "enabled": true, "federatedIdentities": []any{map[string]any{"identityProvider": "google", "userId": "theirs", "userName": "x"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	holders := func(name string) (ids []string) {
		found, err := open(t, config).api.linkedTo(t.Context(), "google", name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		return ids
	}
	c := client(t, config)
	// Who has it is in the source, and keeps it, whoever wants it as well.
	known[1].Identities = subject("s0")
	refused := func(u sdk.User, holder string) {
		t.Helper()
		for what, o := range map[string]sdk.Outcome{"plan": planOf(t, c, []sdk.User{u})[0].Outcome, "run": loaded(t, c, u)[0]} {
			if o.Action != sdk.Rejected || o.Code != sdk.CodeIdentityConflict || o.Holder != holder {
				t.Errorf("%s: %+v", what, o)
			}
		}
	}
	refused(known[1], users[0].ID)
	if got := holders("s0"); !slices.Equal(got, []string{users[0].ID}) {
		t.Errorf("the identity is with %v", got)
	}
	// It is linked to another at the source, and no part of the run.
	known[1].Prior.Linked = []string{users[0].ID}
	if p := planOf(t, c, known[1:2])[0]; p.Action != sdk.Updated {
		t.Errorf("planned %s", short(p))
	}
	if o := loaded(t, c, known[1])[0]; o.Action != sdk.Updated || len(o.Losses) > 0 {
		t.Errorf("%+v", o)
	}
	if got := holders("s0"); !slices.Equal(got, []string{users[1].ID}) {
		t.Errorf("the identity is with %v", got)
	}
	// Two exchange theirs.
	known[2].Identities, known[3].Identities = subject("s3"), subject("s2")
	for i, o := range loaded(t, c, known[2:]...) {
		if o.Action != sdk.Updated || len(o.Losses) > 0 {
			t.Errorf("%+v", o)
		}
		known[2+i].Prior.State = o.State
	}
	if a, b := holders("s3"), holders("s2"); !slices.Equal(a, []string{users[2].ID}) || !slices.Equal(b, []string{users[3].ID}) {
		t.Errorf("the identities are with %v and %v", a, b)
	}
	// Somebody new wants one of an account of ours, and one that is not ours.
	fresh := []sdk.User{whole(t, 60_010), whole(t, 60_011)}
	fresh[0].Identities, fresh[1].Identities = subject("s2"), subject("theirs")
	c = client(t, config) // another run: in one of them only one user can have an identity
	refused(fresh[0], users[3].ID)
	planned, left := planOf(t, c, fresh[1:])[0], loaded(t, c, fresh[1:]...)[0]
	want := []string{"identities load.part_failed"}
	if left.Action != sdk.Created || !slices.Equal(losses(left), want) || !slices.Equal(losses(planned.Outcome), want) || len(holders("theirs")) != 1 {
		t.Errorf("planned %s\nrun %+v", short(planned), left)
	}
	// The one of ours gives it up, in another batch of the same run.
	known[3].Identities = nil
	before := planOf(t, c, fresh[:1])[0]
	giver := planOf(t, c, known[3:])[0]
	after := planOf(t, c, fresh[:1])[0]
	if before.Code != sdk.CodeIdentityConflict || giver.Action != sdk.Updated || after.Action != sdk.Created {
		t.Errorf("planned %s\n%s\n%s", short(before), short(giver), short(after))
	}
	if got := holders("s2"); !slices.Equal(got, []string{users[3].ID}) {
		t.Errorf("after the plan the identity is with %v", got)
	}
	for _, u := range []sdk.User{known[3], fresh[0]} {
		if o := loaded(t, c, u)[0]; o.Action == sdk.Rejected || len(o.Losses) > 0 {
			t.Errorf("%+v", o)
		}
	}
	if got := holders("s2"); !slices.Equal(got, []string{fresh[0].ID}) {
		t.Errorf("the identity is with %v", got)
	}
	// Whoever does not get what it wants gives nothing up.
	known[1].Identities, known[1].Prior.Linked = subject("s2"), nil
	known[2].Identities = subject("s0")
	c = client(t, config)
	for _, o := range loaded(t, c, known[2], known[1]) {
		if o.Code != sdk.CodeIdentityConflict {
			t.Errorf("%+v", o)
		}
	}
	if a, b := holders("s0"), holders("s3"); !slices.Equal(a, []string{users[1].ID}) || !slices.Equal(b, []string{users[2].ID}) {
		t.Errorf("the identities are with %v and %v", a, b)
	}
}

// TestServerSharedIdentity has two users want one identity: whoever comes first keeps it,
// in this run and in all later ones.
func TestServerSharedIdentity(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "shared-identity")
	addProvider(t, s, "shared-identity", "google")
	users := []sdk.User{whole(t, 60_100), whole(t, 60_101)}
	for i := range users {
		users[i].Identities = []sdk.Identity{{Provider: "google", Subject: "7", Name: "ada"}}
	}
	first := loaded(t, client(t, config), users...)
	if first[0].Action != sdk.Created || first[1].Code != sdk.CodeIdentityConflict {
		t.Fatalf("%+v", first)
	}
	for run := range 2 {
		c := client(t, config)
		planned, o := planOf(t, c, users[1:])[0], loaded(t, c, users[1])[0]
		if planned.Code != sdk.CodeIdentityConflict || o.Code != sdk.CodeIdentityConflict {
			t.Errorf("run %d: planned %s, %+v", run, short(planned), o)
		}
	}
	found, err := open(t, config).api.linkedTo(t.Context(), "google", "7")
	if err != nil || len(found) != 1 || found[0].ID != users[0].ID {
		t.Errorf("the identity is with %+v, %v", found, err)
	}
}

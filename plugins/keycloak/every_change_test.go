//go:build unix

package keycloak

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// part is something that an account has: one value of it, or none.
type part struct {
	name string
	set  func(u *sdk.User, value string)
	// touch has an administrator, or the person, change it by hand; has says that the account
	// has a value of it.
	touch func(t *testing.T, a account, has bool, call func(method, path string, body any))
	// unique says that no two accounts can have the same, so that values are exchanged.
	unique bool
}

// parts are all there are. Values are of one account: they name it.
func parts(t *testing.T) []part {
	t.Helper()
	hashes := map[string]sdk.PasswordHash{}
	all := []part{
		{name: "name", set: func(u *sdk.User, value string) { u.GivenName = value }, touch: func(t *testing.T, a account, _ bool, call func(string, string, any)) {
			t.Helper()
			a.FirstName = "By hand"
			call(http.MethodPut, "", a)
		}},
		{name: "address", unique: true, set: func(u *sdk.User, value string) {
			u.Email, u.Username = "", "nobody-"+u.ID
			if value != "" {
				u.Email, u.Username = value+"@example.com", value+"@example.com"
			}
		}, touch: func(t *testing.T, a account, _ bool, call func(string, string, any)) {
			t.Helper()
			a.Email = "hand-" + a.ID + "@example.com"
			call(http.MethodPut, "", a)
		}},
		{name: "password", set: func(u *sdk.User, value string) {
			u.Password, u.Class = sdk.PasswordHash{}, sdk.NoPassword
			if value == "" {
				return
			}
			if _, made := hashes[value]; !made {
				hashes[value] = bcryptOf(t, "2a", value)
			}
			u.Password, u.Class = hashes[value], sdk.HashCarried
		}, touch: func(t *testing.T, _ account, _ bool, call func(string, string, any)) {
			t.Helper()
			call(http.MethodPut, "/reset-password", map[string]any{"type": "password", "value": "by hand", "temporary": false})
		}},
		{name: "authenticator", set: func(u *sdk.User, value string) {
			u.TOTP = nil
			if value != "" {
				u.TOTP = []sdk.TOTPDevice{totpOf("phone", strings.Repeat(strings.ToUpper(value[:1]), 16))}
			}
		}, touch: func(t *testing.T, a account, has bool, call func(string, string, any)) {
			t.Helper()
			if has {
				call(http.MethodDelete, "/credentials/"+credentialID(a.ID, typeOTP, "phone"), nil)
				return
			}
			// The person's own, of the same name.
			call(http.MethodPut, "", map[string]any{"credentials": []any{map[string]any{
				"type": typeOTP, "userLabel": "phone", "secretData": `{"value":"AAAAAAAAAAAAAAAA"}`,
				"credentialData": `{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}`,
			}}})
		}},
		{name: "role", set: func(u *sdk.User, value string) {
			u.Roles = nil
			if value != "" {
				u.Roles = map[string][]string{"public": {"role-" + value[:1]}}
			}
		}, touch: func(t *testing.T, _ account, _ bool, call func(string, string, any)) {
			t.Helper()
			call(http.MethodPost, "/role-mappings/realm", []any{map[string]any{"id": "HAND", "name": "hand"}})
		}},
		{name: "tenant", set: func(u *sdk.User, value string) {
			u.Tenants = nil
			if value != "" {
				u.Tenants = []string{"tenant-" + value[:1]}
			}
		}, touch: func(t *testing.T, _ account, has bool, call func(string, string, any)) {
			t.Helper()
			if has {
				call(http.MethodDelete, "/tenants", nil)
				return
			}
			call(http.MethodPut, "/tenants", nil)
		}},
		{name: "link", unique: true, set: func(u *sdk.User, value string) {
			u.Identities = nil
			if value != "" {
				u.Identities = []sdk.Identity{{Provider: "google", Subject: value, Name: value}}
			}
		}, touch: func(t *testing.T, a account, has bool, call func(string, string, any)) {
			t.Helper()
			if has {
				call(http.MethodDelete, "/federated-identity/google", nil)
				return
			}
			call(http.MethodPost, "/federated-identity/google", link{"google", "by hand " + a.ID, "x"})
		}},
		{name: "attribute", set: func(u *sdk.User, value string) {
			u.Metadata = nil
			if value != "" {
				u.Metadata = fmt.Appendf(nil, `{"plan":%q}`, value)
			}
		}, touch: func(t *testing.T, a account, _ bool, call func(string, string, any)) {
			t.Helper()
			a.Attributes = map[string][]string{"metadata.plan": {"by hand"}}
			call(http.MethodPut, "", a)
		}},
		{name: "phone", set: func(u *sdk.User, value string) {
			u.Phone, u.PhoneVerified = "", nil
			if value != "" {
				u.Phone = value
			}
		}, touch: func(t *testing.T, a account, _ bool, call func(string, string, any)) {
			t.Helper()
			a.Attributes = map[string][]string{attrPhone: {"+1"}}
			call(http.MethodPut, "", a)
		}},
		{name: "several of each", set: func(u *sdk.User, value string) {
			u.TOTP, u.Roles, u.Tenants, u.Metadata = nil, nil, nil, nil
			if value == "" {
				return
			}
			x := value[:1]
			seed := strings.Repeat(strings.ToUpper(x), 15)
			u.TOTP = []sdk.TOTPDevice{totpOf("phone", seed+"A"), totpOf("tablet", seed+"B"), totpOf("", seed+"C")}
			u.Roles = map[string][]string{"public": {"role-" + x, "everybody"}, "tenant-" + x: {"other-" + x}}
			u.Tenants = []string{"tenant-" + x, "tenant-all", "public"}
			u.Metadata = fmt.Appendf(nil, `{"plan":[%q,"x"],"deep":{"a":%q},"same":1}`, value, value)
		}, touch: func(t *testing.T, a account, has bool, call func(string, string, any)) {
			t.Helper()
			if has {
				call(http.MethodDelete, "/credentials/"+credentialID(a.ID, typeOTP, "tablet"), nil)
			}
			call(http.MethodPost, "/role-mappings/realm", []any{map[string]any{"id": "HAND", "name": "hand"}})
		}},
	}
	return append(all, allAtOnce(all))
}

// allAtOnce is all of an account at once.
func allAtOnce(all []part) part {
	return part{name: "everything", unique: true, set: func(u *sdk.User, value string) {
		for _, p := range all {
			p.set(u, value)
		}
	}, touch: func(t *testing.T, a account, has bool, call func(string, string, any)) {
		t.Helper()
		for _, p := range all {
			if p.name != "address" { // the account would be sent as it was before the name was touched
				p.touch(t, a, has, call)
			}
		}
	}}
}

// The ways in which an account came to be as it is.
const (
	isOurs      = "ours"
	wasThere    = "there before"
	wasTouched  = "touched by hand"
	journalLost = "journal lost"
)

// cell is one account of the matrix.
type cell struct {
	part          part
	change, state string
	before, after sdk.User
	was           string // the value before, which is the password, too
}

func (c *cell) String() string { return c.part.name + " " + c.change + ", " + c.state }

// cells are an account for each kind of change in each state, and two where they exchange
// what they have.
func cells(t *testing.T, from int) (out []*cell) {
	t.Helper()
	for _, p := range parts(t) {
		for _, change := range []string{"added", "replaced", "removed", "exchanged"} {
			for _, state := range []string{isOurs, wasThere, wasTouched, journalLost} {
				a, b := person(from+len(out)), person(from+len(out)+1)
				values := []string{fmt.Sprint("a-", a.ID), fmt.Sprint("b-", b.ID)}
				for i, u := range []sdk.User{a, b} {
					if i == 1 && change != "exchanged" {
						continue // that takes two
					}
					u.Class, u.Tenants = sdk.NoPassword, nil
					was, will := values[i], "c"+values[i]
					switch change {
					case "added":
						was = ""
					case "removed":
						will = ""
					case "exchanged":
						will = values[1-i]
					}
					c := &cell{part: p, change: change, state: state, before: u, after: u, was: was}
					p.set(&c.before, was)
					p.set(&c.after, will)
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// TestServerEveryChange has every kind of change of every part of an account, in every
// state in which an account may be, on a realm as Keycloak makes it, with groups, and on
// a relaxed one, with organizations. Plan and run say the same; afterwards the realm equals
// the source, or each difference is named; and an undo restores what it can.
func TestServerEveryChange(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, _ string) { testEveryChange(t, s) })
}

func testEveryChange(t *testing.T, s *keycloak.Server) {
	t.Helper()
	for i, tenants := range []string{tenantsAsGroups, tenantsAsOrganizations} {
		t.Run(tenants, func(t *testing.T) {
			t.Parallel()
			realm := "every-" + tenants
			config := newRealmOn(t, s, realm)
			config.Tenants = tenants
			if tenants == tenantsAsOrganizations {
				settle(t, s, realm, map[string]any{"editUsernameAllowed": true, "organizationsEnabled": true})
			}
			addProvider(t, s, realm, "google")
			m := &everyChange{t: t, s: s, config: config, cells: cells(t, 70_000+1000*i)}
			m.run()
		})
	}
}

type everyChange struct {
	t      *testing.T
	s      *keycloak.Server
	config Config
	cells  []*cell
}

func (m *everyChange) client() *plugintest.Client {
	m.t.Helper()
	return plugintest.ServeWith(m.t, Plugin(), map[string]any{
		"url": m.config.URL, "realm": m.config.Realm, "client_id": m.config.ClientID, "client_secret": m.config.ClientSecret.Reveal(), "tenants": m.config.Tenants,
	}, plugintest.Host{FingerprintKey: []byte(strings.Repeat("k", 32))})
}

func (m *everyChange) run() {
	t := m.t
	t.Helper()
	var before []sdk.User
	for _, c := range m.cells {
		before = append(before, c.before)
	}
	first := loaded(t, m.client(), before...)
	m.makeForeign(first)
	m.touch()
	users := make([]sdk.User, len(m.cells))
	for i, c := range m.cells {
		if first[i].Action != sdk.Created {
			t.Fatalf("%s: %+v", c, first[i])
		}
		users[i] = c.after
		users[i].Existing = sdk.Update
		if c.state == isOurs || c.state == wasTouched {
			users[i].Prior = sdk.Prior{TargetID: first[i].TargetID, State: first[i].State}
		}
	}
	was := m.shown()
	planned := planOf(t, m.client(), users)
	c := m.client()
	left := loaded(t, c, users...)
	for i, cell := range m.cells {
		d := cmp.Diff(losses(planned[i].Outcome), losses(left[i])) + cmp.Diff(planned[i].Changed, left[i].Changed)
		if planned[i].Action != left[i].Action || d != "" {
			t.Errorf("%s: planned %s\nrun %+v", cell, short(planned[i]), left[i])
		}
		if !left[i].Action.MayLose() {
			t.Errorf("%s: %+v", cell, left[i])
		}
	}
	m.equal(users, left)
	for i, p := range planOf(t, m.client(), remembering(users, left)) {
		if p.Action != sdk.Unchanged && len(left[i].Losses) == 0 {
			t.Errorf("%s: the next run: %s", m.cells[i], short(p))
		}
	}
	m.undo(c, left, was)
}

// realm is what the plugin knows of it now.
func (m *everyChange) realm() *openRealm {
	m.t.Helper()
	r, err := open(m.t, m.config).open(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// shown is what the realm shows of all accounts, by the names of plans.
func (m *everyChange) shown() map[string]map[string]string {
	m.t.Helper()
	r := m.realm()
	var ids []string
	for _, c := range m.cells {
		ids = append(ids, c.before.ID)
	}
	out := map[string]map[string]string{}
	for part := range slices.Chunk(ids, bulkBatch) {
		found, err := r.reader.some(m.t.Context(), part, func(string) bool { return true }, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		for id, d := range found {
			f := r.view.held(d, r.view.wanted(&representation{}), reconcile.State{}).Fields
			maps.DeleteFunc(f, func(name, value string) bool {
				return value == "" || strings.HasPrefix(name, prefixOthers+"credentials")
			})
			for _, l := range d.Links {
				delete(f, prefixOthers+prefixIdentity+l.Alias)
				f[prefixIdentity+l.Alias] = l.UserID
			}
			out[id] = f
		}
	}
	return out
}

// makeForeign has the accounts that were there before be somebody else's: they are deleted
// and come back by the server's own import, with credentials under ids of the server's.
func (m *everyChange) makeForeign(first []sdk.Outcome) {
	m.t.Helper()
	r := m.realm()
	var all []*representation
	for i, c := range m.cells {
		if c.state != wasThere {
			continue
		}
		rep, rejected := r.mapper.user(&c.before)
		if rejected != nil {
			m.t.Fatalf("%+v", rejected)
		}
		for n := range rep.Credentials {
			rep.Credentials[n].ID = uuid.NewString()
		}
		all = append(all, rep)
		if err := r.api.remove(m.t.Context(), "users", first[i].TargetID); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := r.members.prepare(m.t.Context(), all); err != nil {
		m.t.Fatal(err)
	}
	var bodies []json.RawMessage
	for _, rep := range all {
		bodies = append(bodies, json.RawMessage(text(rep)))
	}
	if _, err := r.api.importUsers(m.t.Context(), bodies); err != nil {
		m.t.Fatal(err)
	}
	for _, rep := range all {
		if err := r.members.setOrganizations(m.t.Context(), rep.ID, nil, rep.organizations, nil); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *everyChange) touch() {
	m.t.Helper()
	base := "/realms/" + m.config.Realm
	var hand role
	if err := m.s.Admin(m.t.Context(), http.MethodPost, base+"/roles", map[string]any{"name": "hand"}, nil); err != nil {
		m.t.Fatal(err)
	}
	if err := m.s.Admin(m.t.Context(), http.MethodGet, base+"/roles/hand", nil, &hand); err != nil {
		m.t.Fatal(err)
	}
	r := m.realm()
	for _, c := range m.cells {
		if c.state != wasTouched {
			continue
		}
		a, err := r.api.userByID(m.t.Context(), c.before.ID)
		if err != nil || a == nil {
			m.t.Fatalf("%s: %v, %v", c, a, err)
		}
		c.part.touch(m.t, *a, c.change != "added", func(method, path string, body any) {
			switch {
			case path == "/tenants":
				m.touchTenant(r, a, method)
				return
			case strings.HasSuffix(path, "/realm"):
				body = []role{hand}
			}
			if err := m.s.Admin(m.t.Context(), method, base+"/users/"+a.ID+path, body, nil); err != nil {
				m.t.Errorf("%s: by hand: %v", c, err)
			}
		})
	}
}

// touchTenant has an account join a tenant by hand, or leave its own.
func (m *everyChange) touchTenant(r *openRealm, a *account, method string) {
	m.t.Helper()
	d, err := r.reader.one(m.t.Context(), a.ID, nil, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	user := r.api.realmPath("users", a.ID)
	switch {
	case m.config.Tenants == tenantsAsOrganizations && method == http.MethodPut:
		err = r.members.setOrganizations(m.t.Context(), a.ID, d.Organizations, []string{"tenant-a"}, func(string) bool { return false })
	case m.config.Tenants == tenantsAsOrganizations:
		err = r.members.setOrganizations(m.t.Context(), a.ID, d.Organizations, nil, func(string) bool { return true })
	case method == http.MethodPut:
		var id string
		if id, err = r.members.group(m.t.Context(), tenantGroup("tenant-a")); err == nil {
			err = m.s.Admin(m.t.Context(), method, user+"/groups/"+id, nil, nil)
		}
	default:
		for _, g := range d.Groups {
			err = errors.Join(err, m.s.Admin(m.t.Context(), method, user+"/groups/"+g.ID, nil, nil))
		}
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// equal holds the realm to the source: each difference is named by the outcome.
func (m *everyChange) equal(users []sdk.User, left []sdk.Outcome) {
	t := m.t
	t.Helper()
	r, now := m.realm(), m.shown()
	for i, c := range m.cells {
		rep, rejected := r.mapper.user(&users[i])
		if rejected != nil {
			t.Fatalf("%s: %+v", c, rejected)
		}
		want, got := r.view.wanted(rep).Fields, now[users[i].ID]
		named := map[sdk.Feature]bool{}
		for _, l := range left[i].Losses {
			named[l.Feature] = true
		}
		fields := maps.Clone(want)
		for name, value := range got {
			if _, asked := fields[name]; !asked && strings.HasPrefix(name, prefixIdentity) || ours(strings.TrimPrefix(name, prefixAttribute)) && want[name] != value {
				fields[name] = want[name]
			}
		}
		for name, value := range fields {
			theirs := c.state == wasThere && strings.HasPrefix(name, prefixIdentity) && value == ""
			if got[name] != value && !named[featureOf(name)] && !theirs {
				t.Errorf("%s: %s is %q, want %q, and nothing is said: %+v", c, name, got[name], value, left[i])
			}
		}
		if c.state == wasThere && c.change == "removed" {
			continue // what others have brought is theirs
		}
		if has := got[fieldPassword] != ""; has == users[i].Password.IsZero() && !named[sdk.PartPassword] {
			t.Errorf("%s: password %v, and nothing is said: %+v", c, has, left[i])
		}
		if has := strings.Contains(got[fieldTOTP], "phone"); has != (len(users[i].TOTP) > 0) && !named[sdk.CarriesTOTP] {
			t.Errorf("%s: authenticator %v, and nothing is said: %+v", c, has, left[i])
		}
	}
}

// undo restores each account that was changed, in all that can be read, or names it.
func (m *everyChange) undo(c *plugintest.Client, left []sdk.Outcome, was map[string]map[string]string) {
	t := m.t
	t.Helper()
	var accounts []sdk.Account
	var about []*cell
	for i, o := range left {
		if o.Action == sdk.Updated {
			accounts = append(accounts, sdk.Account{SourceID: m.cells[i].before.SourceID, TargetID: o.TargetID, State: o.State, Before: o.Before})
			about = append(about, m.cells[i])
		}
	}
	undone, err := c.Undo(t.Context(), accounts)
	if err != nil {
		t.Fatal(err)
	}
	// Two who have exchanged something may be in two requests: the next undo has both in one.
	var open []int
	var rest []sdk.Account
	for i, o := range undone {
		if o.Code == sdk.CodeTargetRefused {
			open, rest = append(open, i), append(rest, accounts[i])
		}
	}
	again, err := c.Undo(t.Context(), rest)
	if err != nil {
		t.Fatal(err)
	}
	for n, i := range open {
		undone[i] = again[n]
	}
	now := m.shown()
	for i, o := range undone {
		before, after := maps.Clone(was[o.TargetID]), maps.Clone(now[o.TargetID])
		for _, secret := range []string{fieldPassword, fieldTOTP} { // hashes and seeds cannot be read
			delete(before, secret)
			delete(after, secret)
		}
		if d := cmp.Diff(before, after); d != "" && o.Code == "" {
			t.Errorf("%s: undone as %+v (-before +after):\n%s", about[i], o, d)
		}
		m.secretsBack(about[i], o)
	}
}

// secretsBack holds an account that was undone to what it says of its secrets: the password
// of before works and its authenticators are there, unless it is named that they are not.
func (m *everyChange) secretsBack(c *cell, o sdk.Outcome) {
	t := m.t
	t.Helper()
	named := map[sdk.Feature]bool{}
	for _, l := range o.Losses {
		named[l.Feature] = true
	}
	d, err := m.realm().reader.one(t.Context(), c.before.ID, nil, nil)
	if err != nil || d == nil || o.Code != "" {
		t.Errorf("%s: undone as %+v: %v, %v", c, o, d, err)
		return
	}
	own, devices := 0, len(c.before.TOTP)
	for _, x := range d.Credentials {
		if x.Type == typeOTP {
			own++
		}
	}
	if own != devices && c.state != wasTouched && !named[sdk.CarriesTOTP] {
		t.Errorf("%s: has %d authenticators of %d, and nothing is said: %+v", c, own, devices, o)
	}
	if c.part.name != "password" || c.was == "" || c.state == wasTouched {
		return
	}
	if got := login(t, m.s, m.config.Realm, d.Username, c.was); got != "ok" && !named[sdk.PartPassword] {
		t.Errorf("%s: the password of before: %s, and nothing is said: %+v", c, got, o)
	}
}

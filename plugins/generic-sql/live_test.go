//go:build unix

package sqltarget

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/mariadb"
)

// ownTables is a declaration of the tables of own.sql and own.mysql.sql under testdata.
func ownTables(s *site) Config {
	return Config{
		URL: sdk.NewSecret(s.dsn), Schema: s.schema, Name: "default", IDLength: 36, Unique: []string{"email", "identity"}, FoldsCase: []string{"email"}, Hashes: []string{"bcrypt"},
		Tables: []Table{
			{Name: "People", Per: "account", Key: []string{"Id"}, Columns: map[string]Column{
				"Id": {Field: "id"}, "mail": {Field: "email"}, `Full "Name"`: {Template: "{given_name} {family_name}"}, "phone": {Field: "phone"},
				"state": {CEL: "enabled ? 'active' : 'locked'"}, "joined": {Field: "created"}, "extra": {Field: "metadata"}, "nick": {Field: "metadata.nick"},
			}},
			{Name: "secrets", Per: "password", Key: []string{"person"}, Account: "person", Columns: map[string]Column{
				"person": {Field: "id"}, "hash": {Field: "password.hash", Secret: true}, "algorithm": {Field: "password.scheme", Once: true},
			}},
			{Name: "person_roles", Per: "role", Key: []string{"person", "role"}, Account: "person", When: "role.tenant == 'public'", Columns: map[string]Column{
				"person": {Field: "id"}, "role": {Field: "role.name"},
			}},
			{Name: "links", Per: "identity", Key: []string{"provider", "subject"}, Account: "person", Columns: map[string]Column{
				"person": {Field: "id"}, "provider": {Field: "identity.provider"}, "subject": {Field: "identity.subject"},
			}},
		},
	}
}

// memory is a journal for tests.
type memory struct {
	mu   sync.Mutex
	kept map[string][]byte
}

// Get implements [sdk.Journal].
func (m *memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.kept[key]
	return v, ok
}

// Put implements [sdk.Journal].
func (m *memory) Put(_ context.Context, key string, v []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[key] = v
	return nil
}

func open(tb testing.TB, c Config, j *memory) *live {
	tb.Helper()
	if j == nil {
		j = &memory{kept: map[string][]byte{}}
	}
	target, err := newTarget(c, sdk.Env{Log: slog.New(slog.DiscardHandler), Journal: j, Pulse: func(sdk.Pulse) {}})
	if err != nil {
		tb.Fatal(err)
	}
	l := target.(*live)
	tb.Cleanup(func() { _ = l.Close(context.WithoutCancel(tb.Context())) })
	return l
}

func named(given, family string) func(*sdk.User) {
	return func(u *sdk.User) { u.GivenName, u.FamilyName = given, family }
}

func ordinary(n int, change ...func(*sdk.User)) sdk.User {
	return targettest.Person(n, append([]func(*sdk.User){named("Ada", "Example"), func(u *sdk.User) { u.Tenants = nil }}, change...)...)
}

// Whatever the database would have against an account is said in the plan, and is what the
// load then says. It costs nobody else anything.
func TestPlanIsWhatHappens(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		s.exec(t, `INSERT INTO crm."People" ("Id", mail, "Full ""Name""", phone, nick) VALUES ('10000000-0000-4000-8000-000000000001', 'Taken@Example.com', 'x', '+1', 'Nick'), ('10000000-0000-4000-8000-000000000002', 'other@example.com', 'x', NULL, NULL)`)
		s.exec(t, `INSERT INTO crm.links (person, provider, subject) VALUES ('10000000-0000-4000-8000-000000000001', 'google', 'g1')`)
		tests := map[string]struct {
			change func(*sdk.User)
			want   string
		}{
			"an ordinary one": {func(*sdk.User) {}, "created"},
			"with all that there is": {func(u *sdk.User) {
				u.Phone, u.Metadata, u.Roles = "+49", []byte(`{"a":"\\N\t\n\\"}`), map[string][]string{"public": {"admin"}}
			}, "created"},
			"an address that somebody has":         {func(u *sdk.User) { u.Email = "taken@example.com" }, "rejected load.email_conflict"},
			"a number that somebody has":           {func(u *sdk.User) { u.Phone = "+1" }, "rejected sql.constraint"},
			"the same, where the index is not for": {func(u *sdk.User) { u.Phone, u.Enabled = "+1", false }, "created"},
			"what a generated column makes alike":  {func(u *sdk.User) { u.Metadata = []byte(`{"nick":"nick"}`) }, "rejected sql.constraint"},
			"an identity that somebody has":        {func(u *sdk.User) { u.Identities = []sdk.Identity{{Provider: "google", Subject: "g1"}} }, "rejected load.identity_conflict"},
			"a name that is too long":              {named("Ada", strings.Repeat("n", 20)), "rejected load.field_too_long"},
			"a name that a check has":              {named("Ada", "123456789"), "rejected sql.constraint"},
			"a number that the domain refuses":     {func(u *sdk.User) { u.Phone = "tel:1" }, "rejected sql.constraint"},
			"a role that is not there":             {func(u *sdk.User) { u.Roles = map[string][]string{"public": {"owner"}} }, "rejected sql.constraint"},
			"a role of another tenant":             {func(u *sdk.User) { u.Roles = map[string][]string{"shop": {"owner"}} }, "created"},
			"an id that is none":                   {func(u *sdk.User) { u.ID = "user-1" }, "rejected load.id_invalid"},
			"a zero in the name":                   {named("A\x00", ""), "rejected sql.constraint"},
		}
		if s.mysql != nil && mariadb.IsMySQL(mariadb.Start(t)) {
			delete(tests, "an id that is none") // it has no type for UUIDs
		}
		names, users := sortedKeys(tests), []sdk.User(nil)
		for i, name := range names {
			users = append(users, ordinary(i+1, tests[name].change))
		}
		// Somebody who is rejected keeps nothing from others.
		users = append(users, ordinary(81, func(u *sdk.User) {
			u.Email, u.Identities = "free@example.com", []sdk.Identity{{Provider: "google", Subject: "g1"}}
		}))
		after := ordinary(82, func(u *sdk.User) { u.Email = "free@example.com" })
		twins := []sdk.User{ordinary(91, func(u *sdk.User) { u.Email = "Twin@example.com" }), ordinary(92, func(u *sdk.User) { u.Email = "twin@example.com" })}
		users = append(users, twins...)
		target := open(t, ownTables(s), nil)
		before, err := s.inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		planned := targettest.Plan(t, target, users)
		if got := targettest.Plan(t, target, []sdk.User{after}).Of(after.SourceID); got != "created" {
			t.Errorf("who wants the address of somebody who was rejected: %s", got)
		}
		if after, err := s.inspect(t.Context()); err != nil || after != before {
			t.Errorf("the plan has changed the database (%v)", err)
		}
		loaded := targettest.Load(t, open(t, ownTables(s), nil), users)
		for i, name := range names {
			if got := loaded.Of(users[i].SourceID); got != tests[name].want {
				t.Errorf("%s: %s, want %s (%s)", name, got, tests[name].want, loaded.ByID[users[i].SourceID].Detail)
			}
		}
		for _, u := range users {
			if p, l := planned.Of(u.SourceID), loaded.Of(u.SourceID); p != l {
				t.Errorf("%s: planned %s, then %s", u.SourceID, p, l)
			}
		}
		if one, two := loaded.Of("source-91"), loaded.Of("source-92"); one != "created" || two != "rejected load.email_conflict" {
			t.Errorf("two with one address: %s, %s", one, two)
		}
		// The trigger writes names in capitals, which is no difference as long as nobody changes them.
		at := slices.Index(names, "an ordinary one")
		again := users[at]
		again.Existing, again.Prior = sdk.Update, sdk.Prior{TargetID: again.ID, State: loaded.ByID[again.SourceID].State}
		if got := targettest.Load(t, open(t, ownTables(s), nil), []sdk.User{again}).Of(again.SourceID); got != "unchanged" {
			t.Errorf("the same again: %s", got)
		}
	})
}

// What only a write can tell costs its account, and nobody else.
func TestRowThatATriggerRefuses(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		users := targettest.People(1, 40, named("Ada", "X"))
		users[17].Email = "trigger@example.com"
		got := targettest.Load(t, open(t, ownTables(s), nil), users)
		if n := got.Counts(); n[sdk.Created] != 39 || got.Of(users[17].SourceID) != "rejected sql.constraint" {
			t.Errorf("%v, and %s", n, got.Of(users[17].SourceID))
		}
		if n := s.value(t, `SELECT count(*) FROM crm."People"`); n != "39" {
			t.Errorf("%s people, want 39", n)
		}
	})
}

// accounts are what a host remembers of a load.
func accounts(b *targettest.Book) (out []sdk.Account) {
	for _, id := range sortedKeys(b.ByID) {
		o := b.ByID[id].Outcome
		out = append(out, sdk.Account{SourceID: id, TargetID: o.TargetID, State: o.State, Before: o.Before})
	}
	return out
}

// An account to which something refers stays, whatever the foreign key would do: and is
// named.
func TestUndoLooksAtWhatRefers(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		empty, err := s.inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		target := open(t, ownTables(s), nil)
		users := []sdk.User{ordinary(1), ordinary(2), ordinary(3, func(u *sdk.User) { u.Roles = map[string][]string{"public": {"admin"}} }), ordinary(4)}
		loaded := targettest.Load(t, target, users)
		s.exec(t, `INSERT INTO crm.orders (buyer) VALUES ($1)`, users[0].ID)
		s.exec(t, `UPDATE crm.secrets SET hash = 'of their own' WHERE person = $1`, users[1].ID)
		undone := targettest.Undo(t, open(t, ownTables(s), nil), accounts(loaded))
		for source, want := range map[string]string{"source-1": "skipped sql.referenced", "source-2": "skipped load.moved", "source-3": "deleted", "source-4": "deleted"} {
			if got := undone.Of(source); got != want {
				t.Errorf("%s: %s, want %s", source, got, want)
			}
		}
		if o := undone.ByID["source-1"]; !strings.Contains(o.Detail, "orders") {
			t.Errorf("the detail does not name the table: %s", o.Detail)
		}
		s.exec(t, `DELETE FROM crm.orders`)
		if again := targettest.Undo(t, open(t, ownTables(s), nil), accounts(loaded)); again.Of("source-1") != "deleted" || again.Of("source-4") != "unchanged" {
			t.Errorf("again: %s, %s", again.Of("source-1"), again.Of("source-4"))
		}
		s.exec(t, `DELETE FROM crm."People"`)
		if left, err := s.inspect(t.Context()); err != nil || left != empty {
			t.Errorf("something is left (%v):\n%s", err, left)
		}
	})
}

// An undo of updates leaves every row as it was, also those that were taken away, with the
// columns that nobody has declared.
func TestUndoOfAnUpdate(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		u := ordinary(1, func(u *sdk.User) { u.Roles = map[string][]string{"public": {"admin"}} })
		first := targettest.Load(t, open(t, ownTables(s), nil), []sdk.User{u})
		s.exec(t, `UPDATE crm.person_roles SET note = 'kept'`)
		before, err := s.inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u.Email, u.Roles = "new@example.com", map[string][]string{"public": {"editor"}}
		u.Identities = []sdk.Identity{{Provider: "google", Subject: "1"}}
		u.Existing, u.Prior = sdk.Update, sdk.Prior{TargetID: first.ByID[u.SourceID].TargetID, State: first.ByID[u.SourceID].State}
		planned := targettest.Plan(t, open(t, ownTables(s), nil), []sdk.User{u}).ByID[u.SourceID]
		second := targettest.Load(t, open(t, ownTables(s), nil), []sdk.User{u})
		if got := second.ByID[u.SourceID]; got.Action != sdk.Updated || !slices.Equal(got.Changed, planned.Changed) || !slices.Contains(got.Changed, "People.mail") {
			t.Errorf("%s of %v, planned %v", got.Action, got.Changed, planned.Changed)
		}
		if got := targettest.Undo(t, open(t, ownTables(s), nil), accounts(second)).Of(u.SourceID); got != "updated" {
			t.Errorf("the undo: %s", got)
		}
		if after, err := s.inspect(t.Context()); err != nil || after != before {
			t.Errorf("(%v) before:\n%s\nafter:\n%s", err, before, after)
		}
	})
}

// A password that a person has chosen at the target since is theirs, whatever the source
// says later. What nobody has touched follows the source. Hashes are never shown.
func TestPasswordThatWasChosenSince(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		users := []sdk.User{ordinary(1), ordinary(2)}
		first := targettest.Load(t, open(t, ownTables(s), nil), users)
		const own = "$2b$10$chosenchosenchosenchose.chosenchosenchosenchosenchosench"
		s.exec(t, `UPDATE crm.secrets SET hash = $1 WHERE person = $2`, own, users[0].ID)
		for i := range users {
			o := first.ByID[users[i].SourceID]
			users[i].Existing, users[i].Prior = sdk.Update, sdk.Prior{TargetID: o.TargetID, State: o.State}
		}
		if same := targettest.Plan(t, open(t, ownTables(s), nil), users); same.Counts()[sdk.Unchanged] != 2 {
			t.Errorf("nothing changed at the source: %v, %v", same.Counts(), same.ByID["source-1"].Fields)
		}
		for i := range users {
			users[i].Password = canonical.ParsePasswordHash(targettest.Bcrypt[:len(targettest.Bcrypt)-1] + "2")
		}
		for source, c := range targettest.Plan(t, open(t, ownTables(s), nil), users).ByID {
			for _, f := range c.Fields {
				if strings.Contains(f.Old+f.New, "$2") {
					t.Errorf("%s: the plan shows a hash: %v", source, f)
				}
			}
		}
		second := targettest.Load(t, open(t, ownTables(s), nil), users)
		if o := second.ByID["source-1"]; o.Action != sdk.Unchanged || len(o.Losses) != 1 || o.Losses[0].Code != sdk.CodePartKept {
			t.Errorf("chosen since: %s %v", o.Action, o.Losses)
		}
		if o := second.ByID["source-2"]; o.Action != sdk.Updated {
			t.Errorf("not touched: %s", o.Action)
		}
		if got := s.value(t, `SELECT hash FROM crm.secrets WHERE person = $1`, users[0].ID); got != own {
			t.Error("the person's own password is gone")
		}
		if got := s.value(t, `SELECT hash FROM crm.secrets WHERE person = $1`, users[1].ID); got != users[1].Password.Encode() {
			t.Error("the new password did not arrive")
		}
	})
}

// An account that is there without a load is taken over by its id, and by nothing else;
// what others have made of it stays.
func TestAdoption(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		u := ordinary(1)
		s.exec(t, `INSERT INTO crm."People" ("Id", mail, "Full ""Name""") VALUES ($1, 'theirs@example.com', 'Theirs')`, u.ID)
		s.exec(t, `INSERT INTO crm.person_roles (person, role) VALUES ($1, 'editor')`, u.ID)
		if got := targettest.Load(t, open(t, ownTables(s), nil), []sdk.User{u}).Of(u.SourceID); got != "skipped load.exists_differs" {
			t.Errorf("left alone: %s", got)
		}
		before, err := s.inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u.Existing = sdk.Update
		adopted := targettest.Load(t, open(t, ownTables(s), nil), []sdk.User{u})
		if got := adopted.Of(u.SourceID); got != "updated" {
			t.Errorf("taken over: %s", got)
		}
		if n := s.value(t, `SELECT count(*) FROM crm.person_roles`); n != "1" {
			t.Errorf("%s roles, want the one that was there", n)
		}
		if got := targettest.Undo(t, open(t, ownTables(s), nil), accounts(adopted)).Of(u.SourceID); got != "updated" {
			t.Errorf("given back: %s", got)
		}
		if after, err := s.inspect(t.Context()); err != nil || after != before {
			t.Errorf("(%v) before:\n%s\nafter:\n%s", err, before, after)
		}
	})
}

// proxy passes a connection on and cuts it at a COMMIT: before it arrives, or before its
// answer does.
type proxy struct {
	listener net.Listener
	to       string
	after    bool // the COMMIT arrives
	cuts     atomic.Int32
}

func newProxy(tb testing.TB, dsn string, after bool, cuts int32) (*proxy, string) {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{listener: l, to: u.Host, after: after}
	p.cuts.Store(cuts)
	tb.Cleanup(func() { _ = l.Close() })
	go p.serve()
	u.Host = l.Addr().String()
	return p, u.String()
}

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pass(c)
	}
}

func (p *proxy) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var silent atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if silent.Load() || err != nil {
				return
			}
			_, _ = client.Write(buf[:n])
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		sent := strings.ToLower(string(buf[:n]))
		if (strings.Contains(sent, "commit\x00") || strings.HasSuffix(sent, "\x03commit")) && p.cuts.Add(-1) >= 0 { // as PostgreSQL and MySQL have it
			if !p.after {
				return
			}
			silent.Store(true)
		}
		if _, err := server.Write(buf[:n]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}

// A connection that is lost before or after the COMMIT leads to the same rows and the same
// outcomes as one that is not.
func TestConnectionLostAtCommit(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"before it arrives": false, "before its answer does": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, "own", func(t *testing.T, s *site) {
				p, through := newProxy(t, s.dsn, after, 1)
				got := targettest.Load(t, open(t, ownTables(&site{dsn: through, schema: s.schema}), nil), targettest.People(1, 5, named("Ada", "X")))
				if got.Counts()[sdk.Created] != 5 || p.cuts.Load() > 0 {
					t.Errorf("%v after %d cuts were left", got.Counts(), p.cuts.Load())
				}
				if n := s.value(t, `SELECT count(*) FROM crm."People"`); n != "5" {
					t.Errorf("%s people, want 5", n)
				}
			})
		})
	}
}

// Who is in doubt after a process that died at its COMMIT is known to be a load's: by the
// database's record of the transaction, or by rows that are just what it wrote. Somebody
// else's account with the same id is not taken for one.
func TestDoubtAfterADeath(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		j := &memory{kept: map[string][]byte{}}
		users := []sdk.User{ordinary(1), ordinary(2)}
		targettest.Load(t, open(t, ownTables(s), j), users)
		stranger := ordinary(3)
		s.exec(t, `INSERT INTO crm."People" ("Id", mail, "Full ""Name""") VALUES ($1, 'user3@example.com', 'ADA EXAMPLE')`, stranger.ID)
		var doubtful []sdk.Account
		for _, u := range append(users, stranger) {
			doubtful = append(doubtful, sdk.Account{SourceID: u.SourceID, ID: u.ID})
		}
		b := targettest.NewBook(t)
		if err := open(t, ownTables(s), j).UndoInDoubt(t.Context(), doubtful, b); err != nil {
			t.Fatal(err)
		}
		if one, two, other := b.ByID["source-1"].Action, b.ByID["source-2"].Action, b.ByID["source-3"].Action; one != sdk.Deleted || two != sdk.Deleted || other != sdk.Skipped {
			t.Errorf("%s, %s, and somebody else's %s", one, two, other)
		}
		if n := s.value(t, `SELECT count(*) FROM crm."People"`); n != "1" {
			t.Errorf("%s people are left, want the one who is somebody else's", n)
		}
	})
}

// Everything that is wrong with a declaration is said at once, before anything is written.
func TestCheckOfDeclarations(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		c := ownTables(s)
		c.Unique = nil
		c.Tables[0].Columns["name_length"] = Column{Value: 1.0}
		c.Tables[0].Columns["State"] = Column{Value: "gone"}
		c.Tables[0].Columns["state"] = Column{Value: "gone"}
		delete(c.Tables[0].Columns, `Full "Name"`)
		c.Tables[2].Name = "no_such_table"
		found := map[sdk.Code]int{}
		for _, d := range open(t, c, nil).Check(t.Context(), sdk.Needs{}) {
			found[d.Code]++
		}
		for _, code := range []sdk.Code{codeColumnGenerated, codeColumnMissing, codeColumnType, codeColumnRequired, codeTableMissing, codeUniqueUndeclared} {
			if found[code] == 0 {
				t.Errorf("%s is not found; there are %v", code, found)
			}
		}
		if l := open(t, ownTables(s), nil).Check(t.Context(), sdk.Needs{}); l.HasErrors() {
			t.Errorf("a good declaration: %v", l.Err())
		}
		c = ownTables(s)
		c.Unique = []string{"email"}
		l := open(t, c, nil).Check(t.Context(), sdk.Needs{})
		if len(l) != 1 || l[0].Code != codeUniqueUndeclared || !strings.Contains(l[0].Summary, "links.provider may hold every identity once only") {
			t.Errorf("social logins that occur once, undeclared: %+v", l)
		}
		c.Tables[3].Columns["subject"] = Column{Template: "{id} {identity.subject}"}
		if l := open(t, c, nil).Check(t.Context(), sdk.Needs{}); l.HasErrors() {
			t.Errorf("social logins of each account: %+v", l)
		}
	})
}

// What a role may not do is said by the check.
func TestCheckOfRights(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		role := "reader_" + strings.ToLower(rand.Text())[:20]
		if s.mysql != nil {
			s.exec(t, `CREATE USER `+role+` IDENTIFIED BY 'x'; GRANT SELECT ON `+s.mysql.DBName+`.* TO `+role)
		} else {
			s.exec(t, `CREATE ROLE `+role+` LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA crm TO `+role+`; GRANT SELECT ON ALL TABLES IN SCHEMA crm TO `+role)
		}
		t.Cleanup(func() {
			if s.mysql != nil {
				s.exec(t, `DROP USER `+role)
				return
			}
			s.exec(t, `DROP OWNED BY `+role+`; DROP ROLE `+role)
		})
		as := &site{dsn: s.as(role, "x"), schema: s.schema}
		target := open(t, ownTables(as), nil)
		l := target.Check(t.Context(), sdk.Needs{})
		if n := len(l); n != 4 || l[0].Code != codePrivilege {
			t.Errorf("%v, want a missing right for each of four tables", l.Err())
		}
		if l := target.Check(t.Context(), sdk.Needs{DryRun: true}); len(l) != 0 {
			t.Errorf("for a dry run: %v", l.Err())
		}
		if got := targettest.Plan(t, target, []sdk.User{ordinary(1)}).Of("source-1"); got != "created" {
			t.Errorf("a dry run that may read alone says %s", got)
		}
	})
}

// A journal of one database is not believed at another.
func TestJournalOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	one, two := onPostgres(t, "own"), onPostgres(t, "own")
	j := &memory{kept: map[string][]byte{}}
	env := sdk.Env{Log: slog.New(slog.DiscardHandler), Journal: j}
	var targets []*live
	for _, s := range []*site{one, two} {
		target, err := newTarget(ownTables(s), env)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, target.(*live))
	}
	targettest.Load(t, targets[0], []sdk.User{ordinary(1)})
	if l := targets[1].Check(t.Context(), sdk.Needs{}); len(l) != 1 || l[0].Code != codeOtherDatabase {
		t.Errorf("%v", l.Err())
	}
	if err := targets[1].Load(t.Context(), []sdk.User{ordinary(1)}, targettest.NewBook(t)); err == nil {
		t.Error("the load goes on")
	}
}

// Of a database that cannot be reached, nobody is in doubt for what may have been written.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, dsn := range map[string]string{"PostgreSQL": "postgres://who:s3cret-of-the-test@" + address + "/app?sslmode=disable", "MySQL": "mysql://who:s3cret-of-the-test@" + address + "/app"} {
		unreachableAt(t, name, dsn)
	}
}

func unreachableAt(t *testing.T, name, dsn string) {
	t.Helper()
	target := open(t, ownTables(&site{dsn: dsn}), nil)
	b := targettest.NewBook(t)
	err := target.Load(t.Context(), []sdk.User{ordinary(1)}, b)
	if got := b.ByID["source-1"]; err == nil || got.Action != sdk.InDoubt || got.Code != sdk.CodeNotSent || strings.Contains(err.Error()+got.Detail, "s3cret") {
		t.Errorf("%s: %s %s %s, %v", name, got.Action, got.Code, got.Detail, err)
	}
	if l := target.Check(t.Context(), sdk.Needs{}); len(l) != 1 || l[0].Code != codeUnreachable || strings.Contains(l[0].Summary, "s3cret") {
		t.Errorf("%s: %v", name, l.Err())
	}
}

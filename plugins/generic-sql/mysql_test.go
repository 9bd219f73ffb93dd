//go:build unix

package sqltarget

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
)

// folk is a declaration of the table of folk.mysql.sql.
func folk(s *site) Config {
	return Config{
		URL: sdk.NewSecret(s.dsn), Name: "default", IDLength: 64, Unique: []string{"email"}, FoldsCase: []string{"email"}, Hashes: []string{"bcrypt"},
		Tables: []Table{{Name: "folk", Per: "account", Key: []string{"id"}, Columns: map[string]Column{
			"id": {Field: "id"}, "mail": {Field: "email"}, "name": {Field: "given_name"}, "nick": {Field: "metadata.nick"}, "age": {Field: "metadata.age"},
			"since": {Field: "created"}, "code": {Field: "metadata.code"}, "payload": {Field: "metadata.payload"}, "flag": {CEL: "email_verified == true"},
		}}},
	}
}

// Where the server would fold, cut off, round or replace, the plan says what becomes of an
// account, and the load does just that.
func TestPlanKnowsMySQL(t *testing.T) {
	t.Parallel()
	s := onMariaDB(t, "folk")
	s.exec(t, `INSERT INTO folk (id, mail, nick) VALUES ('taken', 'Zoé@example.com', 'abcdef')`)
	meta := func(text string) func(*sdk.User) { return func(u *sdk.User) { u.Metadata = []byte(text) } }
	tests := map[string]struct {
		change func(*sdk.User)
		want   string
	}{
		"an ordinary one":                            {meta(`{"age":255,"code":"x ","payload":"00ff27","nick":"it's \"\\\n` + "\u2028🙂" + `"}`), "created"},
		"an address that is equal without accents":   {func(u *sdk.User) { u.Email = "zoe@example.com" }, "rejected load.email_conflict"},
		"an address that is equal but for a blank":   {func(u *sdk.User) { u.Email = "zoé@example.com " }, "rejected load.email_conflict"},
		"an id that is equal without case":           {func(u *sdk.User) { u.ID = "TAKEN" }, "rejected load.id_conflict"},
		"an id of this run, without case, the first": {func(u *sdk.User) { u.ID = "twin" }, "created"},
		"an id of this run, without case, then":      {func(u *sdk.User) { u.ID = "TwIn" }, "rejected load.id_conflict"},
		"a beginning that somebody has":              {meta(`{"nick":"ABC"}`), "rejected sql.constraint"},
		"letters that latin1 has":                    {named("Zoë €", ""), "created"},
		"letters that latin1 lacks":                  {named("Żółw", ""), "rejected sql.constraint"},
		"a number out of range":                      {meta(`{"age":256}`), "rejected sql.constraint"},
		"a number with a sign":                       {meta(`{"age":-1}`), "rejected sql.constraint"},
		"more bytes than there is room for":          {meta(`{"nick":"` + strings.Repeat("ż", 128) + `"}`), "rejected load.field_too_long"},
		"as many bytes as there is room for":         {meta(`{"nick":"` + strings.Repeat("ź", 127) + `"}`), "created"},
		"more bytes of bytes":                        {meta(`{"payload":"0001020304"}`), "rejected load.field_too_long"},
		"a time before all times":                    {func(u *sdk.User) { u.Created = time.Unix(0, 0) }, "rejected sql.constraint"},
		"a time after all times":                     {func(u *sdk.User) { u.Created = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC) }, "rejected sql.constraint"},
	}
	var users []sdk.User
	names := sortedKeys(tests)
	for i, name := range names {
		users = append(users, ordinary(i+1, tests[name].change))
	}
	planned := targettest.Plan(t, open(t, folk(s), nil), users)
	loaded := targettest.Load(t, open(t, folk(s), nil), users)
	for i, name := range names {
		p, l := planned.Of(users[i].SourceID), loaded.Of(users[i].SourceID)
		if p != tests[name].want || l != p {
			t.Errorf("%s: planned %s, then %s, want %s (%s)", name, p, l, tests[name].want, loaded.ByID[users[i].SourceID].Detail)
		}
	}
	for i := range users {
		o := loaded.ByID[users[i].SourceID]
		users[i].Existing, users[i].Prior = sdk.Update, sdk.Prior{TargetID: o.TargetID, State: o.State}
	}
	again := targettest.Load(t, open(t, folk(s), nil), users)
	for i, name := range names {
		if loaded.ByID[users[i].SourceID].Action == sdk.Created && again.Of(users[i].SourceID) != "unchanged" {
			t.Errorf("%s again: %s", name, again.Of(users[i].SourceID))
		}
	}
	at := slices.Index(names, "an ordinary one")
	if got := s.value(t, `SELECT concat_ws('|', hex(payload), hex(nick), flag + 0, age, code, "from") FROM folk WHERE id = $1`, users[at].ID); got != "00FF27|697427732022"+"5C0AE280A8F09F9982|1|255|x|it's\\here" {
		t.Errorf("the row has %s", got)
	}
}

// A connection is secure where the server has to prove who it is, or is on this machine.
func TestSecureMySQL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"mysql://u:p@db.internal/app":                          false,
		"mysql://u:p@db.internal/app?ssl-mode=REQUIRED":        false,
		"mysql://u:p@db.internal/app?ssl-mode=VERIFY_IDENTITY": true,
		"mysql://u:p@127.0.0.1/app":                            true,
		"mysql://u:p@[::1]:3307/app":                           true,
		"u:p@unix(/run/mysqld.sock)/app":                       true,
	} {
		s, err := newMySQL(&Config{URL: sdk.NewSecret(address)})
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if got := s.secure(); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := newMySQL(&Config{URL: sdk.NewSecret("mysql://u:s3cret@db.internal/")}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an address without a database: %v", err)
	}
}

// A table that takes no part in transactions is refused, and so is a column that the
// database compares without case where nothing says so.
func TestCheckKnowsMySQL(t *testing.T) {
	t.Parallel()
	s := onMariaDB(t, "folk")
	c := folk(s)
	c.FoldsCase = nil
	c.Tables = append(c.Tables, Table{Name: "plain", Per: "login", Key: []string{"id"}, Account: "id", Columns: map[string]Column{"id": {Field: "id"}}})
	var codes []sdk.Code
	for _, d := range open(t, c, nil).Check(t.Context(), sdk.Needs{}) {
		codes = append(codes, d.Code)
	}
	if want := []sdk.Code{codeUniqueUndeclared, codeNotTransactional}; !slices.Equal(codes, want) {
		t.Errorf("%v, want %v", codes, want)
	}
}

// Who may not see all tables removes nobody: something that is hidden could refer to them.
func TestUndoOfARoleThatSeesLittle(t *testing.T) {
	t.Parallel()
	s := onMariaDB(t, "own")
	role := "writer_" + strings.ToLower(rand.Text())[:20]
	s.exec(t, `CREATE USER `+role+` IDENTIFIED BY 'x'`)
	t.Cleanup(func() { s.exec(t, `DROP USER `+role) })
	for _, table := range []string{"People", "secrets", "roles", "person_roles", "links"} {
		s.exec(t, `GRANT SELECT, INSERT, UPDATE, DELETE ON `+s.mysql.DBName+`.`+table+` TO `+role)
	}
	as := &site{dsn: s.as(role, "x")}
	l := open(t, ownTables(as), nil).Check(t.Context(), sdk.Needs{})
	if l.HasErrors() || len(l) != 1 || l[0].Code != codePrivilege {
		t.Errorf("%v, want one warning", l)
	}
	loaded := targettest.Load(t, open(t, ownTables(as), nil), []sdk.User{ordinary(1)})
	s.exec(t, `INSERT INTO orders (buyer) SELECT Id FROM People`)
	if got := targettest.Undo(t, open(t, ownTables(as), nil), accounts(loaded)).Of("source-1"); got != "skipped sql.referenced" {
		t.Errorf("with little to see: %s", got)
	}
	s.exec(t, `GRANT SELECT ON `+s.mysql.DBName+`.* TO `+role)
	if got := targettest.Undo(t, open(t, ownTables(as), nil), accounts(loaded)); got.Of("source-1") != "skipped sql.referenced" || !strings.Contains(got.ByID["source-1"].Detail, "orders") {
		t.Errorf("with an order in sight: %s %s", got.Of("source-1"), got.ByID["source-1"].Detail)
	}
	s.exec(t, `DELETE FROM orders`)
	if got := targettest.Undo(t, open(t, ownTables(as), nil), accounts(loaded)).Of("source-1"); got != "deleted" {
		t.Errorf("with everything in sight: %s", got)
	}
}

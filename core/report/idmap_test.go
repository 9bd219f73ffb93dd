package report

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/postgres"
)

func TestIDMapIsABijection(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pairs []Pair
		want  string
	}{
		"good":              {[]Pair{{"a", "a", "1", false}, {"b", "b", "2", false}}, ""},
		"one to two":        {[]Pair{{"a", "v", "1", false}, {"b", "v", "2", false}}, "visible id v belongs to accounts a and b"},
		"two to one":        {[]Pair{{"a", "a", "1", false}, {"b", "b", "1", false}}, "target id 1 belongs to accounts a and b"},
		"linked on purpose": {[]Pair{{"a", "a", "1", false}, {"b", "b", "1", true}}, ""},
		"empty":             {[]Pair{{"a", "a", "", false}}, "account a has an id that is empty"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&IDMap{Pairs: tt.pairs}).Check()
			if (err == nil) != (tt.want == "") || err != nil && (!errors.Is(err, ErrNoBijection) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestParseColumn(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Column{
		"orders.user_id": {"orders", "user_id", "text"}, "app.Orders.user id:uuid": {"app.Orders", "user id", "uuid"},
	} {
		if got, err := ParseColumn(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "orders", ".x", "orders.", "orders.id:int", "orders.id:uuid; DROP TABLE x"} {
		if got, err := ParseColumn(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

// The transaction is run by a real server: ids change places, look like SQL, and
// stand in columns of several types with keys between them.
func TestIDMapSQL(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), postgres.Start(t).CreateDatabase(t, postgres.Database{}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	nasty := `a'); DROP TABLE people; --\`
	m := IDMap{Pairs: []Pair{{"1", "old-1", "new-1", false}, {"2", "swap-a", "swap-b", false}, {"3", "swap-b", "swap-a", false}, {"4", nasty, "tame", false}, {"5", "kept", "kept", false}}}
	uuid := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
	for n := range 1200 {
		m.Pairs = append(m.Pairs, Pair{fmt.Sprint("u", n), uuid(n), uuid(n + 5000), false})
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	var sql bytes.Buffer
	columns := []Column{{"people", "Id of", "text"}, {"public.notes", "person", "varchar"}, {"devices", "owner", "uuid"}}
	if err := m.WriteSQL(&sql, columns); err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE people ("Id of" text PRIMARY KEY DEFERRABLE, source text)`)
	exec(`CREATE TABLE notes (person varchar(80), source text)`)
	exec(`CREATE TABLE devices (owner uuid, n int)`)
	for _, p := range m.Pairs[:5] {
		exec(`INSERT INTO people VALUES ($1, $2)`, p.VisibleID, p.SourceID)
		exec(`INSERT INTO notes VALUES ($1, $2)`, p.VisibleID, p.SourceID)
	}
	exec(`INSERT INTO people VALUES ('of nobody', '0')`)
	exec(`INSERT INTO devices VALUES ($1, 7)`, uuid(7))
	exec(sql.String())
	value := func(sql string) (out string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), sql).Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	const want = "of nobody,new-1,swap-b,swap-a,tame,kept"
	if got := value(`SELECT string_agg("Id of", ',' ORDER BY source) FROM people`); got != want {
		t.Errorf("people: %s", got)
	}
	if got := value(`SELECT string_agg(person, ',' ORDER BY source) FROM notes`); "of nobody,"+got != want {
		t.Errorf("notes: %s", got)
	}
	if got := value(`SELECT owner::text FROM devices`); got != uuid(5007) {
		t.Errorf("devices: %s", got)
	}
}

// Ids can come from whoever signs up: in a spreadsheet they are no formula, and on a
// terminal no command.
func TestIDMapCSVIsHarmless(t *testing.T) {
	t.Parallel()
	m := IDMap{Pairs: []Pair{
		{"1", `=HYPERLINK("http://evil")`, "+1", false}, {"2", "-2", "@x", false}, {"3", "a\x1b[2Jb", "plain-=+@", false}, {"4", "x", "y", false},
	}}
	var b strings.Builder
	if err := m.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	want := "source_id,visible_id,target_id\n1,\"'=HYPERLINK(\"\"http://evil\"\")\",'+1\n2,'-2,'@x\n3,a\ufffd[2Jb,plain-=+@\n4,x,y\n"
	if b.String() != want || m.Guarded() != 5 {
		t.Errorf("%d guarded\n%q\nwant\n%q", m.Guarded(), b.String(), want)
	}
}

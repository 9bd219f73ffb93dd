package supertokens

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// TestLedgerKnowsEveryColumn: no column of a released core is unknown, and
// what a generation lacks is said.
func TestLedgerKnowsEveryColumn(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		s, err := Open(t.Context(), Options{Dump: fixture.Dump(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, e := range s.Ledger() {
			if e.Fate == Unknown || e.Fate == "" {
				t.Errorf("%s: %s.%s is unknown", name, e.Table, e.Column)
			}
			if (e.Fate == Dropped || e.Fate == Defaulted) && e.Reason == "" {
				t.Errorf("%s: %s.%s is %s without a reason", name, e.Table, e.Column, e.Fate)
			}
			if key := e.Table + "." + e.Column; seen[key] {
				t.Errorf("%s: %s twice", name, key)
			} else {
				seen[key] = true
			}
		}
		if len(seen) < 15 {
			t.Errorf("%s: only %d columns in the ledger", name, len(seen))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownColumnIsReported(t *testing.T) {
	t.Parallel()
	c := fixtureCatalog(t, "core-3.0.1")
	users := c.find("public", "emailpassword_users")
	users.columns = append(users.columns, "shoe_size")
	c.tables = append(c.tables, &relation{schema: "public", name: "orders", columns: []string{"id"}})
	l, err := look(t, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ledger := l.ledger(c)
	if !slices.Contains(ledger, LedgerEntry{Table: "emailpassword_users", Column: "shoe_size", Fate: Unknown}) {
		t.Errorf("shoe_size is missing from %v", ledger)
	}
	if slices.ContainsFunc(ledger, func(e LedgerEntry) bool { return e.Table == "orders" }) {
		t.Errorf("an application's table is in the ledger: %v", ledger)
	}
}

// TestFindingsAreDocumented keeps the words of findings complete; docs/findings.md is
// made of them.
func TestFindingsAreDocumented(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("finding.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Warn\w+ += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 30 {
		t.Fatalf("only %d codes in finding.go", len(codes))
	}
	for _, code := range codes {
		if _, ok := Findings().Lookup(diag.Code(code[1])); !ok {
			t.Errorf("nobody says what %s means", code[1])
		}
	}
	if len(codes) != len(Findings()) {
		t.Errorf("%d codes, %d with words", len(codes), len(Findings()))
	}
}

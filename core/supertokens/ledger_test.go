package supertokens

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
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

// TestFindingsAreDocumented keeps the words of findings complete, and the page equal to
// them.
func TestFindingsAreDocumented(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("finding.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/supertokens.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(page), "`", "")
	codes := regexp.MustCompile(`Warn\w+ += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 30 {
		t.Fatalf("only %d codes in finding.go", len(codes))
	}
	for _, code := range codes {
		info, ok := Findings().Lookup(diag.Code(code[1]))
		if !ok {
			t.Errorf("nobody says what %s means", code[1])
			continue
		}
		if row := fmt.Sprintf("| %s | %s | %s |\n", info.Code, info.Meaning, info.Remedy); !strings.Contains(plain, row) {
			t.Errorf("docs/supertokens.md lacks the row\n%s", row)
		}
	}
	if len(codes) != len(Findings()) {
		t.Errorf("%d codes, %d with words", len(codes), len(Findings()))
	}
}

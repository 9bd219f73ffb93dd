package report

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
)

// Pair says where an account of the source is in the target.
type Pair struct {
	SourceID  string `json:"source_id"`
	VisibleID string `json:"visible_id"`
	TargetID  string `json:"target_id"`
	// Linked accounts were made one with another, so they share a target id.
	Linked bool `json:"linked,omitempty"`
}

// IDMap is every account that is in the target, ordered by source id.
type IDMap struct {
	Pairs []Pair
	// Missing counts accounts that runs have met and that are not in the target.
	Missing int
}

// ErrNoBijection says that an id map would not lead from one account to one
// account.
var ErrNoBijection = errors.New("the ids do not pair up one to one")

// Check makes sure that the map is a bijection, linked accounts aside.
func (m *IDMap) Check() error {
	seen := map[string]string{}
	var problems []string
	for _, p := range m.Pairs {
		claims := []string{"visible id " + p.VisibleID, "target id " + p.TargetID}
		if p.Linked {
			claims = claims[:1]
		}
		for _, claim := range claims {
			if other, ok := seen[claim]; ok {
				problems = append(problems, fmt.Sprintf("%s belongs to accounts %s and %s", claim, other, p.SourceID))
			}
			seen[claim] = p.SourceID
		}
		if p.VisibleID == "" || p.TargetID == "" || strings.ContainsRune(p.VisibleID+p.TargetID, 0) {
			problems = append(problems, fmt.Sprintf("account %s has an id that is empty or not text", p.SourceID))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	more := ""
	if len(problems) > 5 {
		more = fmt.Sprintf("; and %d more", len(problems)-5)
	}
	return fmt.Errorf("%w: %s%s", ErrNoBijection, strings.Join(problems[:min(5, len(problems))], "; "), more)
}

// Guarded counts ids that [IDMap.WriteCSV] does not write as they are.
func (m *IDMap) Guarded() (n int) {
	for _, p := range m.Pairs {
		for _, id := range []string{p.SourceID, p.VisibleID, p.TargetID} {
			if cell(id) != id {
				n++
			}
		}
	}
	return n
}

// cell is an id that neither a spreadsheet takes for a formula nor a terminal for a
// command: ids can come from whoever signs up.
func cell(id string) string {
	clean := diag.Printable(id)
	if clean != "" && strings.ContainsRune("=+-@", rune(clean[0])) {
		return "'" + clean
	}
	return clean
}

// WriteCSV writes the map with a header. An id that a spreadsheet would take for a formula
// has an apostrophe before it, and control characters are replaced.
func (m *IDMap) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"source_id", "visible_id", "target_id"}); err != nil {
		return err
	}
	for _, p := range m.Pairs {
		if err := c.Write([]string{cell(p.SourceID), cell(p.VisibleID), cell(p.TargetID)}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// WriteNDJSON writes one object a line.
func (m *IDMap) WriteNDJSON(w io.Writer) error { return writeLines(w, m.Pairs) }

// Column is one of the application's tables that holds user ids.
type Column struct{ Table, Name, Type string }

// columnTypes are those that ids are stored in.
var columnTypes = []string{"text", "varchar", "uuid"}

// ParseColumn reads [SCHEMA.]TABLE.COLUMN[:TYPE].
func ParseColumn(s string) (Column, error) {
	name, typ, ok := strings.Cut(s, ":")
	if !ok {
		typ = "text"
	}
	at := strings.LastIndexByte(name, '.')
	if at <= 0 || at == len(name)-1 || strings.ContainsRune(name, 0) || !slices.Contains(columnTypes, typ) {
		return Column{}, fmt.Errorf("%q is not TABLE.COLUMN, SCHEMA.TABLE.COLUMN, or one of them with :uuid, :text or :varchar after it", s)
	}
	return Column{Table: name[:at], Name: name[at+1:], Type: typ}, nil
}

// WriteSQL writes a transaction that replaces, in the application's own
// PostgreSQL tables, the ids that have changed. It names the columns it is
// given.
func (m *IDMap) WriteSQL(w io.Writer, columns []Column) error {
	b := bufio.NewWriter(w)
	var changed []Pair
	for _, p := range m.Pairs {
		if p.VisibleID != p.TargetID {
			changed = append(changed, p)
		}
	}
	fmt.Fprintf(b, "-- %d accounts, %d of them have another id in the target.\n", len(m.Pairs), len(changed))
	if len(changed) == 0 {
		fmt.Fprintln(b, "-- Every id was kept: there is nothing to update.")
		return b.Flush()
	}
	fmt.Fprintln(b, "BEGIN;\nCREATE TEMPORARY TABLE stetl_idmap (old_id text PRIMARY KEY, new_id text NOT NULL) ON COMMIT DROP;")
	for part := range slices.Chunk(changed, 500) {
		fmt.Fprint(b, "INSERT INTO stetl_idmap VALUES")
		for i, p := range part {
			sep := ","
			if i == len(part)-1 {
				sep = ";"
			}
			fmt.Fprintf(b, "\n  (%s, %s)%s", literal(p.VisibleID), literal(p.TargetID), sep)
		}
		fmt.Fprintln(b)
	}
	for _, c := range columns {
		cast := ""
		if c.Type == "uuid" { // other ids in the map need not be any
			cast = "::text"
		}
		// One statement replaces all ids of a column at once, so that an id can take the
		// place of another.
		fmt.Fprintf(b, "UPDATE %s AS t SET %s = m.new_id::%s FROM stetl_idmap AS m WHERE t.%s = m.old_id;\n",
			identifier(c.Table), identifier(c.Name), c.Type, identifier(c.Name)+cast)
	}
	fmt.Fprintln(b, "COMMIT;")
	return b.Flush()
}

// literal quotes text for PostgreSQL, whatever standard_conforming_strings says.
func literal(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return "E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}

func identifier(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}

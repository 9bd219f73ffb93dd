package supertokens

import (
	"fmt"
	"strings"
)

// Fate is what becomes of a column of the source.
type Fate string

// The fates. Every column of every known table has one.
const (
	Carried     Fate = "carried"     // part of the account, as it is stored
	Transformed Fate = "transformed" // part of the account in another form
	Defaulted   Fate = "defaulted"   // this generation lacks it, the account says so
	Dropped     Fate = "dropped"     // no part of the account, for the reason given
	Unknown     Fate = "unknown"     // not known to this program, and not read
)

// LedgerEntry says what becomes of one column.
type LedgerEntry struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	Fate   Fate   `json:"fate"`
	Reason string `json:"reason,omitempty"`
}

// absent is what an account says where a generation has no column for it.
var absent = []struct {
	table  TableName
	column string
	reason string
}{
	{VerifiedEmails, "email", "verified is unknown: core 3.0 did not record it"},
	{TOTPDevices, "created_at", "when a device was enrolled is unknown before core 9.0"},
	{LastActive, "last_active_time", "when an account was last active is unknown before core 4.5"},
}

// ledger says for every column of the installation what becomes of it, in the
// order of the tables' names.
func (l *Layout) ledger(c *catalog) []LedgerEntry {
	var out []LedgerEntry
	for _, r := range c.tables {
		name, ours := l.tableOf(r)
		if !ours {
			continue
		}
		t := specOf(name)
		for _, column := range r.columns {
			fate, reason := t.fateOf(column)
			out = append(out, LedgerEntry{Table: r.name, Column: column, Fate: fate, Reason: reason})
		}
	}
	for _, d := range absent {
		if r := l.tables[d.table]; r == nil || !r.has(d.column) {
			if users := l.tables[EmailPasswordUsers]; d.table == VerifiedEmails && users != nil && users.has("is_email_verified") {
				continue
			}
			out = append(out, LedgerEntry{Table: l.called(d.table), Column: d.column, Fate: Defaulted, Reason: d.reason})
		}
	}
	return out
}

// fateOf says what becomes of a column. Nil is a table that nobody knows.
func (t *tableSpec) fateOf(column string) (Fate, string) {
	if t == nil {
		return Unknown, ""
	}
	if c := t.column(column); c != nil {
		return c.fate, c.reason
	}
	switch {
	case t.role.matters():
		return Unknown, ""
	case t.reason != "":
		return Dropped, t.reason
	default:
		return Dropped, t.columns[0].reason
	}
}

// tableOf names the core's table that r is. Beside an application's own tables
// nothing tells an unknown one of the core apart, unless there is a prefix.
func (l *Layout) tableOf(r *relation) (TableName, bool) {
	if r.schema != l.Schema {
		return "", false
	}
	for t, known := range l.tables {
		if known == r {
			return t, true
		}
	}
	name := r.name
	if l.TablePrefix != "" {
		var ours bool
		if name, ours = strings.CutPrefix(name, l.TablePrefix+"_"); !ours {
			return "", false
		}
	}
	for i := range schema {
		t := &schema[i]
		if name == string(t.name) && t.fits(r) || t.partitioned && strings.HasPrefix(name, string(t.name)+"_") {
			return t.name, true
		}
	}
	return TableName(name), l.TablePrefix != ""
}

// examineColumns reports columns that this program does not know: a newer core,
// or somebody's own addition.
func (o *opened) examineColumns(ledger []LedgerEntry) {
	for _, e := range ledger {
		if e.Fate == Unknown {
			o.general.add(WarnUnknownColumn, e.Table+"."+e.Column, fmt.Sprintf("column %s.%s is not known and not read", e.Table, e.Column))
		}
	}
}

// Ledger says for every column of the installation what becomes of it.
func (s *Source) Ledger() []LedgerEntry { return s.ledger }

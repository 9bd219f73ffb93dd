package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/stetl/stetl/core/supertokens"
)

// CompletenessLine says in one line whether a source was found to be complete.
func CompletenessLine(c supertokens.Completeness) string {
	verdict := "complete"
	if !c.Whole {
		verdict = "NOT COMPLETE"
	}
	return fmt.Sprintf("%s: %s of %s login methods have their row, %s of %s accounts have a login, %d of %d tables of core %s",
		verdict, Number(c.LoginMethodsFound), Number(c.LoginMethods), Number(c.AccountsWithLogin), Number(c.Accounts),
		c.TablesFound, c.TablesExpected, c.Core)
}

// Installations are all that a source has.
type Installations struct {
	Source        string                     `json:"source"`
	Installations []supertokens.Installation `json:"installations"`
}

// WriteJSON writes them as one JSON object on one line.
func (i *Installations) WriteJSON(w io.Writer) error { return WriteJSON(w, i) }

// WriteText writes them for a person.
func (i *Installations) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\nSource   %s\n\n", i.Source)
	t := table{header: []string{"schema", "table prefix", "generation", "app", "login methods#", "tenants"}}
	for _, in := range i.Installations {
		for _, a := range in.Apps {
			t.add(in.Schema, in.TablePrefix, in.Generation, a.ID, Number(a.Users), strings.Join(a.Tenants, ", "))
		}
		if len(in.Apps) == 0 {
			t.add(in.Schema, in.TablePrefix, in.Generation, "", "", in.Problem)
		}
	}
	_ = t.write(b) // a Builder does not fail
	return b.flush(w)
}

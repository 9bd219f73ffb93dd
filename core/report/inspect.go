package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
)

// Inspection is what an installation holds.
type Inspection struct {
	Source    string                 `json:"source"`
	Layout    *supertokens.Layout    `json:"layout"`
	App       string                 `json:"app"`
	Apps      []supertokens.App      `json:"apps"`
	Inventory *supertokens.Inventory `json:"inventory"`
	Findings  []supertokens.Finding  `json:"findings"`
	// Ledger says for every column of the source what becomes of it.
	Ledger []supertokens.LedgerEntry `json:"ledger"`
	// Target is the plugin of the configuration, and Accepts says which shapes
	// of hashes it can verify. Both are empty when it could not be asked.
	Target  string          `json:"target,omitempty"`
	Accepts map[string]bool `json:"target_accepts,omitempty"`
}

// WriteJSON writes the inspection as one JSON object on one line.
func (i *Inspection) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(i)
}

// WriteText writes the inspection for a person.
func (i *Inspection) WriteText(w io.Writer) error {
	var b strings.Builder
	inv := i.Inventory
	fmt.Fprintf(&b, "\nSource   %s\n         SuperTokens %s, schema %s", i.Source, generationText(i.Layout.Generation), i.Layout.Schema)
	if i.Layout.TablePrefix != "" {
		fmt.Fprintf(&b, ", table prefix %s", i.Layout.TablePrefix)
	}
	for _, name := range slices.Sorted(maps.Keys(i.Layout.Renamed)) {
		fmt.Fprintf(&b, "\n         table %s is called %s", name, i.Layout.Renamed[name])
	}
	b.WriteString("\n")
	if len(i.Apps) > 1 {
		b.WriteString("\nApps\n\n")
		t := table{header: []string{"app", "login methods#", "tenants", ""}}
		for _, a := range i.Apps {
			read := ""
			if a.ID == i.App {
				read = "← this one"
			}
			t.add(a.ID, number(a.Users), strings.Join(a.Tenants, ", "), read)
		}
		_ = t.write(&b) // a Builder does not fail
	}
	fmt.Fprintf(&b, "\nAccounts of app %s\n\n", i.App)
	t := table{header: []string{"", "count#"}}
	for _, row := range []struct {
		name string
		n    int
	}{
		{"accounts", inv.Accounts},
		{"login methods", inv.LoginMethods},
		{"with an external id", inv.Mapped},
		{"linked or primary", inv.Primaries},
		{"with metadata", inv.WithMetadata},
		{"with roles", inv.WithRoles},
		{"with an authenticator", inv.WithTOTP},
	} {
		t.add(row.name, number(row.n))
	}
	_ = t.write(&b)
	writeCounts(&b, "Login methods", "recipe", inv.ByRecipe)
	i.writeHashes(&b)
	writeCounts(&b, "Social identities", "provider", inv.ByProvider)
	writeCounts(&b, "Verified", "e-mail or phone", inv.Verified)
	writeCounts(&b, "Accounts by tenant", "tenant", inv.ByTenant)
	writeCounts(&b, "Metadata", "top-level key", inv.MetadataKeys)
	writeFindings(&b, i.Findings)
	i.writeLedger(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (i *Inspection) writeHashes(b *strings.Builder) {
	if len(i.Accepts) == 0 {
		writeCounts(b, "Password hashes", "scheme", i.Inventory.ByHash)
		return
	}
	fmt.Fprintf(b, "\nPassword hashes\n\n")
	t := table{header: []string{"scheme", "count#", "in " + i.Target}}
	i.Inventory.EachHash(func(shape string, _ canonical.PasswordHash, count int) {
		fate := "needs reset"
		if i.Accepts[shape] {
			fate = "old password works"
		}
		t.add(shape, number(count), fate)
	})
	_ = t.write(b)
}

// writeLedger shows per table what is not carried, and why.
func (i *Inspection) writeLedger(b *strings.Builder) {
	fates := map[supertokens.Fate]int{}
	t := table{header: []string{"table", "column", "", "reason"}}
	for n, e := range i.Ledger {
		fates[e.Fate]++
		if e.Fate != supertokens.Dropped && e.Fate != supertokens.Defaulted && e.Fate != supertokens.Unknown {
			continue
		}
		// A table that is dropped as a whole takes one line.
		whole := !slices.ContainsFunc(i.Ledger, func(o supertokens.LedgerEntry) bool {
			return o.Table == e.Table && (o.Fate != e.Fate || o.Reason != e.Reason)
		})
		switch {
		case !whole:
			t.add(e.Table, e.Column, string(e.Fate), e.Reason)
		case n == 0 || i.Ledger[n-1].Table != e.Table:
			t.add(e.Table, "*", string(e.Fate), e.Reason)
		}
	}
	fmt.Fprintf(b, "\nColumns: %d carried, %d transformed, %d defaulted, %d dropped, %d unknown\n\n",
		fates[supertokens.Carried], fates[supertokens.Transformed], fates[supertokens.Defaulted], fates[supertokens.Dropped], fates[supertokens.Unknown])
	_ = t.write(b)
}

func writeCounts[K ~string](b *strings.Builder, title, column string, counts map[K]int) {
	if len(counts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n\n", title)
	t := table{header: []string{column, "count#"}}
	keys := slices.Collect(maps.Keys(counts))
	slices.SortFunc(keys, func(x, y K) int { return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y)) })
	for _, k := range keys {
		t.add(string(k), number(counts[k]))
	}
	_ = t.write(b)
}

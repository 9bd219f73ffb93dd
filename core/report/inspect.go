package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
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
	// Completeness says whether anything is missing from the source.
	Completeness supertokens.Completeness `json:"completeness"`
	// Ledger says for every column of the source what becomes of it.
	Ledger []supertokens.LedgerEntry `json:"ledger"`
	// Target is the plugin of the configuration, and Accepts says which shapes
	// of hashes it can verify. Both are empty when it could not be asked.
	Target  string          `json:"target,omitempty"`
	Accepts map[string]bool `json:"target_accepts,omitempty"`
	// Carries says of each part of an account whether the target can hold it.
	Carries map[pluginapi.Feature]bool `json:"target_carries,omitempty"`
}

// parts are what an account is made of beside its password, in the order of the
// table, with how many accounts or login methods have it.
func (i *Inspection) parts() []part {
	inv := i.Inventory
	social := 0
	for _, n := range inv.ByProvider {
		social += n
	}
	return []part{
		{pluginapi.CarriesID, "ids, as applications store them", inv.Accounts},
		{pluginapi.CarriesEmailVerified, "verified addresses", inv.Verified["true"]},
		{pluginapi.CarriesPhone, "phone numbers", inv.WithPhone},
		{pluginapi.CarriesIdentities, "social identities", social},
		{pluginapi.CarriesTOTP, "authenticators", inv.WithTOTP},
		{pluginapi.CarriesPasskeys, "passkeys", inv.ByRecipe[canonical.WebAuthn]},
		{pluginapi.CarriesRoles, "roles", inv.WithRoles},
		{pluginapi.CarriesRolePermissions, "what roles allow", inv.WithRolePermissions},
		{pluginapi.CarriesTenants, "tenants", inv.WithTenants},
		{pluginapi.CarriesMetadata, "metadata", inv.WithMetadata},
		{pluginapi.CarriesCreated, "joining times", inv.Accounts},
	}
}

type part struct {
	feature pluginapi.Feature
	name    string
	count   int
}

func (i *Inspection) writeCarries(b *sheet) {
	if len(i.Carries) == 0 {
		return
	}
	fmt.Fprintf(b, "\nWhat else an account has\n\n")
	t := table{header: []string{"part", "count#", "in " + i.Target}}
	for _, p := range i.parts() {
		fate := "is lost"
		switch {
		case i.Carries[p.feature]:
			fate = "carried"
		case p.count == 0:
			fate = "nothing to carry"
		}
		t.add(p.name, Number(p.count), fate)
	}
	_ = t.write(b)
}

// WriteJSON writes the inspection as one JSON object on one line.
func (i *Inspection) WriteJSON(w io.Writer) error {
	return WriteJSON(w, i)
}

// WriteText writes the inspection for a person.
func (i *Inspection) WriteText(w io.Writer) error {
	b := newSheet(w)
	inv := i.Inventory
	fmt.Fprintf(b, "\nSource   %s\n         SuperTokens %s, schema %s", i.Source, generationText(i.Layout.Generation), i.Layout.Schema)
	if i.Layout.TablePrefix != "" {
		fmt.Fprintf(b, ", table prefix %s", i.Layout.TablePrefix)
	}
	for _, name := range slices.Sorted(maps.Keys(i.Layout.Renamed)) {
		fmt.Fprintf(b, "\n         table %s is called %s", name, i.Layout.Renamed[name])
	}
	b.WriteString("\n")
	fmt.Fprintf(b, "         %s\n", CompletenessLine(i.Completeness))
	if len(i.Apps) > 1 {
		b.WriteString("\nApps\n\n")
		t := table{header: []string{"app", "login methods#", "tenants", ""}}
		for _, a := range i.Apps {
			read := ""
			if a.ID == i.App {
				read = "← this one"
			}
			t.add(a.ID, Number(a.Users), strings.Join(a.Tenants, ", "), read)
		}
		_ = t.write(b) // a Builder does not fail
	}
	fmt.Fprintf(b, "\nAccounts of app %s\n\n", i.App)
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
		t.add(row.name, Number(row.n))
	}
	_ = t.write(b)
	writeCounts(b, "Login methods", "recipe", inv.ByRecipe)
	i.writeHashes(b)
	i.writeCarries(b)
	writeCounts(b, "Social identities", "provider", inv.ByProvider)
	writeCounts(b, "Verified", "e-mail or phone", inv.Verified)
	writeCounts(b, "Accounts by tenant", "tenant", inv.ByTenant)
	writeCounts(b, "Metadata", "top-level key", inv.MetadataKeys)
	writeFindings(b, i.Findings)
	i.writeLedger(b)
	return b.flush(w)
}

func (i *Inspection) writeHashes(b *sheet) {
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
		t.add(shape, Number(count), fate)
	})
	_ = t.write(b)
}

// writeLedger shows per table what is not carried, and why.
func (i *Inspection) writeLedger(b *sheet) {
	fates := map[supertokens.Fate]int{}
	t := table{header: []string{"table", "columns", "", "reason"}}
	var columns []string // of the line that is being collected
	for n, e := range i.Ledger {
		fates[e.Fate]++
		if e.Fate == supertokens.Carried || e.Fate == supertokens.Transformed {
			continue
		}
		columns = append(columns, e.Column)
		if next := n + 1; next < len(i.Ledger) && sameFate(i.Ledger[next], e) {
			continue
		}
		// A table that is dropped as a whole shows no columns.
		whole := !slices.ContainsFunc(i.Ledger, func(o supertokens.LedgerEntry) bool { return o.Table == e.Table && !sameFate(o, e) })
		list := "*"
		if !whole {
			list = strings.Join(columns[:min(len(columns), 2)], ", ")
			if more := len(columns) - 2; more > 0 {
				list += fmt.Sprintf(" and %d more", more)
			}
		}
		t.add(e.Table, list, string(e.Fate), e.Reason)
		columns = nil
	}
	fmt.Fprintf(b, "\nColumns: %d carried, %d transformed, %d defaulted, %d dropped, %d unknown\n\n",
		fates[supertokens.Carried], fates[supertokens.Transformed], fates[supertokens.Defaulted], fates[supertokens.Dropped], fates[supertokens.Unknown])
	_ = t.write(b)
}

func sameFate(a, b supertokens.LedgerEntry) bool {
	return a.Table == b.Table && a.Fate == b.Fate && a.Reason == b.Reason
}

// maxCounts is how many lines a table of counts has; an application can have
// hundreds of metadata keys.
const maxCounts = 20

func writeCounts[K ~string](b *sheet, title, column string, counts map[K]int) {
	if len(counts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n\n", title)
	t := table{header: []string{column, "count#"}}
	keys := slices.Collect(maps.Keys(counts))
	slices.SortFunc(keys, func(x, y K) int { return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y)) })
	for _, k := range keys[:min(len(keys), maxCounts)] {
		t.add(string(k), Number(counts[k]))
	}
	_ = t.write(b)
	if more := len(keys) - maxCounts; more > 0 {
		fmt.Fprintf(b, "  … and %d more; --json lists all of them\n", more)
	}
}

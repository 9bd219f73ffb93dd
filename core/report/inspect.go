package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

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
	writeCounts(&b, "Password hashes", "scheme", inv.ByHash)
	writeCounts(&b, "Social identities", "provider", inv.ByProvider)
	writeCounts(&b, "Verified", "e-mail or phone", inv.Verified)
	writeCounts(&b, "Accounts by tenant", "tenant", inv.ByTenant)
	writeFindings(&b, i.Findings)
	_, err := io.WriteString(w, b.String())
	return err
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

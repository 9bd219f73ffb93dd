package report

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// Two roles that one account has lost for the same reason are one account.
func TestPartLossesCountAccounts(t *testing.T) {
	t.Parallel()
	p := PartLosses{}
	role := pluginapi.PartLoss{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "a"}
	other := pluginapi.PartLoss{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "b"}
	refused := pluginapi.PartLoss{Feature: pluginapi.CarriesRoles, Code: "acme.refused"}
	p.Add([]pluginapi.PartLoss{role, other})
	p.Add([]pluginapi.PartLoss{role, refused})
	p.Add(nil)
	if got := p[pluginapi.CarriesRoles]; len(p) != 1 || got["acme.no_role"] != 2 || got["acme.refused"] != 1 {
		t.Errorf("%v", p)
	}
}

func TestHistoryShowsPartLosses(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(map[string]any{"part_losses": PartLosses{pluginapi.CarriesRoles: {"acme.no_role": 12}}, "Summary": pluginapi.Summary{Read: 20}})
	if err != nil {
		t.Fatal(err)
	}
	h := History{Run: journal.Run{Result: raw}, Words: diag.Words{{Code: "acme.no_role", Meaning: "Acme has no such role"}}}
	for name, write := range map[string]func(*strings.Builder) error{
		"text": func(b *strings.Builder) error { return h.WriteText(b) },
		"page": func(b *strings.Builder) error { return h.WriteHTML(b) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil || !strings.Contains(b.String(), "roles: acme.no_role") || !strings.Contains(b.String(), "Acme has no such role") {
			t.Errorf("%s (%v) does not say what was lost:\n%s", name, err, b.String())
		}
	}
	var b strings.Builder
	if err := h.WriteJSON(&b); err != nil || !strings.Contains(b.String(), `"part_losses":{"roles":{"acme.no_role":12}}`) {
		t.Errorf("JSON: %v %s", err, b.String())
	}
}

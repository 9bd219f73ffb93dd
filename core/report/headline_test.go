package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

func TestHeadline(t *testing.T) {
	t.Parallel()
	const where = "acme (realm customers, url https://id.example.com)"
	words := diag.Words{{Code: "acme.late", Meaning: "it came too late"}, {Code: "acme.no_role", Meaning: "there is no such role"}}
	for _, tt := range []struct {
		name   string
		result engine.Result
		parts  PartLosses
		want   headline
	}{
		{"all", engine.Result{Summary: pluginapi.Summary{Read: 3, Created: 1, Updated: 1, Unchanged: 1}}, nil, headline{Lead: "3 of 3 accounts are in " + where + "."}},
		{
			"one reason",
			engine.Result{Summary: pluginapi.Summary{Read: 125, Created: 115, Rejected: 10}, Reasons: map[diag.Code]int{"acme.late": 10}},
			nil,
			headline{"115 of 125 accounts are in " + where + ".", []point{{"10 were not loaded, because it came too late (acme.late).", true}}},
		},
		{
			"the commonest first",
			engine.Result{
				DryRun: true, Summary: pluginapi.Summary{Read: 100, Created: 20, Updated: 2, Skipped: 50, Rejected: 20, InDoubt: 8},
				Reasons: map[diag.Code]int{"acme.unknown": 3, "acme.late": 15, "acme.b": 2, "acme.c": 4, "acme.d": 4, diag.RunNotSelected: 30, diag.MapFiltered: 20},
			},
			nil,
			headline{"22 of 100 accounts would be in " + where + " after a run.", []point{
				{"20 would be created, 2 updated, and 0 are as they should be.", false},
				{"30 were not chosen.", false},
				{"20 are left out by mapping.filter.", false},
				{"28 would not be loaded: 15 because it came too late (acme.late); 4 for acme.c; 4 for acme.d; and 2 other reasons, see below.", true},
				{"For 8 of them it is not known yet whether they are there: the next run looks them up.", true},
			}},
		},
		{
			"not proven",
			engine.Result{Summary: pluginapi.Summary{Read: 1, Created: 1}, Canaries: []engine.Proof{
				{Shape: "bcrypt 2a cost 10", Proven: true}, {Shape: "argon2d", Unasked: true, Problem: "nobody can make one"},
			}},
			nil,
			headline{"1 of 1 accounts are in " + where + ".", []point{{"NOT PROVEN that old passwords work: argon2d: nobody can make one.", true}}},
		},
		{
			"left alone on purpose",
			engine.Result{Summary: pluginapi.Summary{Read: 2, Created: 1, Skipped: 1}, Reasons: map[diag.Code]int{"acme.late": 1}},
			nil,
			headline{"1 of 2 accounts are in " + where + ".", []point{{"1 were not loaded, because it came too late (acme.late).", false}}},
		},
		{
			"parts",
			engine.Result{Summary: pluginapi.Summary{Read: 9, Created: 9}, Incomplete: 7},
			PartLosses{
				pluginapi.CarriesRoles:    {"acme.no_role": 2, diag.LoadPartFailed: 5},
				pluginapi.CarriesTOTP:     {diag.LoadUnread: 4},
				pluginapi.CarriesMetadata: {diag.LoadNoPlace: 9, diag.LoadPartRefused: 1},
			},
			headline{"9 of 9 accounts are in " + where + ".", []point{
				{"7 of those that are there lack a part: the target did not take roles (load.part_failed) of 5, roles (acme.no_role) of 2, metadata (load.part_refused) of 1.", true},
				{"It is unknown whether the target has the same as the source: authenticator devices of 4. The target does not show these, and no run knows what was sent.", true},
				{"The target has no place for metadata of 9.", false},
			}},
		},
	} {
		got := newHeadline(&tt.result, tt.parts, where, words)
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// Text and page begin with it, and it never says more than is known.
func TestReportBeginsWithTheHeadline(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(map[string]any{"summary": pluginapi.Summary{Read: 9, Created: 4, Rejected: 5}, "reasons": map[string]int{"acme.late": 5}, "error": "stopped by a limit"})
	if err != nil {
		t.Fatal(err)
	}
	none, err := json.Marshal(map[string]any{"error": "no answer"})
	if err != nil {
		t.Fatal(err)
	}
	differs, err := json.Marshal(map[string]any{"summary": pluginapi.Summary{Read: 4, Created: 4}, "error": engine.ErrDiffers.Error() + ": 1 of 4"})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, tt := range []struct {
		run  journal.Run
		want []string
	}{
		{journal.Run{Began: began, Ended: began, Result: raw, Target: "acme"}, []string{"4 of 9 accounts are in acme.", "The run ended before it was complete.", "5 were not loaded, for acme.late."}},
		{journal.Run{Began: began, Ended: began, Result: differs, Target: "acme"}, []string{"4 of 4 accounts are in acme.", "The target does not have everything that it has confirmed."}},
		{journal.Run{Began: began, Ended: began, Result: none}, []string{"This run loaded nobody."}},
		{journal.Run{Began: began}, []string{"This run is at work, or was killed. Its last sign of life was at 1,234 accounts."}},
	} {
		h := History{Run: tt.run, Samples: []journal.Sample{{At: began, Done: 1234}}}
		var text, page bytes.Buffer
		if err := h.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if err := h.WriteHTML(&page); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), "\n"+strings.Join(tt.want, "\n")+"\n") {
			t.Errorf("the text lacks %q:\n%s", tt.want, text.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(page.String(), ">"+want+"<") {
				t.Errorf("the page lacks %q", want)
			}
		}
	}
}

// Nothing stands under "Proof" on the page that is not proven.
func TestPageOfProofs(t *testing.T) {
	t.Parallel()
	const proof, open = "Proof that old passwords work", "NOT PROVEN that the old password works"
	for _, tt := range []struct {
		proofs      []engine.Proof
		proof, open bool
	}{
		{[]engine.Proof{{Shape: "a", Proven: true}}, true, false},
		{[]engine.Proof{{Shape: "a", Unasked: true, Problem: "no way"}}, false, true},
		{[]engine.Proof{{Shape: "a", Proven: true}, {Shape: "b", Problem: "refused"}}, true, true},
	} {
		raw, err := json.Marshal(engine.Result{Summary: pluginapi.Summary{Read: 1, Created: 1}, Canaries: tt.proofs})
		if err != nil {
			t.Fatal(err)
		}
		var page bytes.Buffer
		if err := (&History{Run: journal.Run{Result: raw, Ended: time.Unix(1, 0)}}).WriteHTML(&page); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), proof) != tt.proof || strings.Contains(page.String(), open) != tt.open {
			t.Errorf("%+v: the page has the wrong headings", tt.proofs)
		}
	}
}

// A bar is a share of all accounts: 10 of 125 take 8 % of the room.
func TestBarsAreSharesOfAll(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(engine.Result{Summary: pluginapi.Summary{Read: 125, Created: 115, Rejected: 10}, Reasons: map[diag.Code]int{"acme.late": 7, "acme.none": 3}})
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := (&History{Run: journal.Run{Result: raw}}).WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`>8.0%</td><td class="b"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="bad" width="8" `, `>92.0%</td>`, `width="92"`, `width="5.6"`, `width="2.4"`} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

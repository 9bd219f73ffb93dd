package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

var update = flag.Bool("update", false, "rewrite the expected output")

// linking is the generation with account linking.
func linking() (g supertokens.Generation) {
	_ = g.UnmarshalText([]byte("G4"))
	return g
}

func example() *Run {
	return &Run{
		Source: "users.sql", Layout: &supertokens.Layout{Generation: linking(), Schema: "public"}, App: "public", Target: "keycloak",
		Result: &engine.Result{
			Summary: pluginapi.Summary{Read: 1_234_567, Created: 1_234_560, Unchanged: 4, Rejected: 2, InDoubt: 1},
			Classes: map[pluginapi.Class]int{pluginapi.HashCarried: 1_000_000, pluginapi.NeedsReset: 3, pluginapi.NoPassword: 234_564},
			Losses:  map[mapping.Loss]int{mapping.Loss(pluginapi.CarriesPasskeys): 7, "something_new": 1},
			Reasons: map[diag.Code]int{diag.MapDuplicateEmail: 2, "plugin.strange": 1},
			Elapsed: 83*time.Second + 456*time.Millisecond,
		},
		PartLosses: PartLosses{pluginapi.CarriesRoles: {"acme.no_role": 12}, pluginapi.CarriesTOTP: {"acme.refused": 3, diag.LoadTOTPInvalid: 1}},
		Words:      diag.Words{{Code: "acme.no_role", Meaning: "Acme has no such role", Remedy: "make it"}},
		Findings:   []supertokens.Finding{{Code: "fake_email", Count: 1200, Examples: []string{"u1", "u2"}, Detail: "made up"}},
		Changes: []pluginapi.Change{
			{Outcome: pluginapi.Outcome{SourceID: "u2", Action: pluginapi.Rejected, Code: diag.MapDuplicateEmail, Detail: "taken by u1"}},
			{Outcome: pluginapi.Outcome{SourceID: "u9", Action: pluginapi.InDoubt, Code: "plugin.strange", Detail: "no answer"}},
			{Outcome: pluginapi.Outcome{SourceID: "u0", Action: pluginapi.Rejected, Code: diag.MapDuplicateEmail, Detail: "taken by u1"}},
		},
	}
}

func TestRunText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := example().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "run.txt", b.String())
}

// A run about a part says so, in whatever form, and which ids were those of logins.
func TestRunOfAPart(t *testing.T) {
	t.Parallel()
	r := example()
	r.Result.Chosen = &engine.Part{Flag: "--users-from ids.txt", Count: 1_003, Of: 1_234_567, Logins: map[string]string{}}
	for i := range 25 {
		r.Result.Chosen.Logins[fmt.Sprintf("login%02d", i)] = "u1"
	}
	r.Result.Reasons[diag.RunNotSelected], r.Result.Summary.Skipped = 1_233_564, 1_233_570
	r.Result.Reasons[diag.MapFiltered] = 6
	var text, object bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n1,003 of 1,234,567 accounts were chosen: --users-from ids.txt\n  login00 is a login method of account u1, which was chosen\n",
		"  login19 is", "\n  … and 5 more; --json lists all of them\n\n", "skipped    1,233,570  6 of them by mapping.filter, 1,233,564 of them not chosen\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	for _, want := range []string{`"chosen":{"flag":"--users-from ids.txt","count":1003,"of":1234567,"logins":{"login00":"u1",`, `"login24":"u1"`} {
		if !strings.Contains(object.String(), want) {
			t.Errorf("the object lacks %q:\n%s", want, object.String())
		}
	}
}

func TestRunJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := example().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "run.json", indented.String())
}

func TestFailureHasASummary(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	list := diag.List{{Code: "x.y", Summary: "no"}}
	if err := (&Run{}).WriteFailure(&b, errors.Join(list.Err())); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Summary     map[string]int `json:"summary"`
		Diagnostics []any          `json:"diagnostics"`
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Summary) != 7 || len(got.Diagnostics) != 1 {
		t.Errorf("got %s", b.String())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), rerun with -update if intended:\n%s", name, diff)
	}
}

// TestNothingDrivesTheTerminal: names of users' making stay text, and on their line.
func TestNothingDrivesTheTerminal(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2Jgone\u202e\nDone: forged"
	r := example()
	r.Findings[0].Examples, r.Findings[0].Detail = []string{evil}, evil
	i := Inspection{
		Layout: r.Layout, Apps: []supertokens.App{{ID: evil, Tenants: []string{evil}}}, Findings: r.Findings,
		Inventory: &supertokens.Inventory{MetadataKeys: map[string]int{evil: 1}, ByProvider: map[string]int{evil: 1}, ByTenant: map[string]int{evil: 1}},
	}
	e := Explanation{SourceID: "i", VisibleID: evil, Account: &AccountShape{Roles: map[string][]string{evil: {evil}}, Metadata: []string{evil}}}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"run":     func(b *bytes.Buffer) error { return r.WriteText(b) },
		"inspect": func(b *bytes.Buffer) error { return i.WriteText(b) },
		"explain": func(b *bytes.Buffer) error { return e.WriteText(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(b.Bytes(), "\x1b\u202e") || !bytes.Contains(b.Bytes(), []byte("[2Jgone")) {
			t.Errorf("%s writes\n%q", name, b.String())
		}
		for line := range bytes.Lines(b.Bytes()) {
			if bytes.HasPrefix(line, []byte("Done: forged")) {
				t.Errorf("%s: a name makes a line of its own", name)
			}
		}
	}
}

// Whoever reads a report learns which plugin does not declare what.
func TestLossesNameFeatureAndPlugin(t *testing.T) {
	t.Parallel()
	for _, f := range pluginapi.Features() {
		l := mapping.Loss(f)
		r := Run{Layout: &supertokens.Layout{}, Result: &engine.Result{
			Losses: map[mapping.Loss]int{l: 12}, Withheld: &engine.Withheld{Plugin: "acme", Features: map[pluginapi.Feature]int{f: 12}},
		}}
		raw, err := json.Marshal(r.Result)
		if err != nil {
			t.Fatal(err)
		}
		var page, run, history, explanation, runJSON, historyJSON strings.Builder
		h := History{Run: journal.Run{Result: raw}}
		e := Explanation{Account: &AccountShape{}, Losses: []mapping.Loss{l}, Plugin: "acme"}
		if err := errors.Join(r.WriteText(&run), h.WriteText(&history), e.WriteText(&explanation), h.WriteHTML(&page), r.WriteJSON(&runJSON), h.WriteJSON(&historyJSON)); err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{"run": run.String(), "report": history.String(), "explain": explanation.String()} {
			if want := `the plugin acme does not declare "` + string(f) + `"`; !strings.Contains(text, want) || !strings.Contains(text, f.Lost()) {
				t.Errorf("%s: no %q in\n%s", where, want, text)
			}
		}
		if !strings.Contains(page.String(), f.Lost()+"; the plugin acme does not declare") {
			t.Errorf("the page does not name %s and the plugin", f)
		}
		for where, text := range map[string]string{"run": runJSON.String(), "report": historyJSON.String()} {
			if want := `"not_declared":{"plugin":"acme","features":{"` + string(f) + `":12}}`; !strings.Contains(text, want) {
				t.Errorf("%s --json: no %s in\n%s", where, want, text)
			}
		}
	}
}

// Every feature has a line in an inspection, but for names, which no inventory counts.
func TestInspectionHasEveryFeature(t *testing.T) {
	t.Parallel()
	parts := (&Inspection{Inventory: &supertokens.Inventory{}}).parts()
	for _, f := range pluginapi.Features() {
		if got := slices.ContainsFunc(parts, func(p part) bool { return p.feature == f }); got == (f == pluginapi.CarriesNames) {
			t.Errorf("%s has a line: %v", f, got)
		}
	}
}

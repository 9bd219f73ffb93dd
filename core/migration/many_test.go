//go:build unix

package migration_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
)

const toEach = "targets:\n  for_each: tenant\n  plugin: file\n  config: {dir: \"./out/{tenant}\"}\n"

// runTargets runs all targets.
func (p place) runTargets(t *testing.T, o migration.Options, run migration.TargetsOptions) (*report.Targets, error) {
	t.Helper()
	o.Plugins.Bundled = bundled
	return migration.RunTargets(t.Context(), migration.Load(p.path, config.Env{}), o, run)
}

// one opens a target of several.
func (p place) one(t *testing.T, name string, o migration.Options) *migration.Migration {
	t.Helper()
	o.Plugins.Bundled = bundled
	cfg, err := migration.Load(p.path, config.Env{}).ForTarget(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := migration.Open(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, m) })
	return m
}

// content is what the targets hold: path and content of the files of accounts.
func (p place) content(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(p.file("out/*/accounts/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(file, p.dir)] = string(raw)
	}
	return all
}

// of are the accounts of one target.
func of(content map[string]string, target string) map[string]string {
	some := map[string]string{}
	for path, text := range content {
		if strings.HasPrefix(path, "/out/"+target+"/") {
			some[path] = text
		}
	}
	return some
}

// lines are the summaries of the targets.
func lines(r *report.Targets) map[string]pluginapi.Summary {
	all := map[string]pluginapi.Summary{}
	for _, one := range r.Targets {
		if one.Run != nil && one.Run.Result != nil {
			all[one.Name] = one.Run.Result.Summary
		}
	}
	return all
}

// The dump has 109 accounts in public, 6 in customer-a, 4 in customer-b, 5 of them in two of
// these, and 2 in no tenant: 116. Three collide with others of public.
func TestTargetOfEachTenant(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toEach)
	dump := read(t, p.file("source.sql"))
	var phases []engine.Phase
	asked := engine.Intent{}
	first, err := p.runTargets(t, migration.Options{Program: "a test", Progress: func(p engine.Progress) {
		if !slices.Contains(phases, p.Phase) {
			phases = append(phases, p.Phase)
		}
	}}, migration.TargetsOptions{RunOptions: migration.RunOptions{Confirm: func(_ context.Context, i engine.Intent) error {
		asked = i
		// Everything has been read: nobody looks at the source again.
		put(t, p.file("source.sql"), "gone")
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	want := report.Dealing{Accounts: 116, One: 109, Several: 5, NoTenant: 2, RolesElsewhere: 1}
	if first.Dealing != want || asked.Accounts != 119 || len(first.Nowhere) != 2 || len(first.Findings) == 0 || first.App != "public" {
		t.Errorf("dealt %+v, asked about %d, %d nowhere, %d findings", first.Dealing, asked.Accounts, len(first.Nowhere), len(first.Findings))
	}
	got := lines(first)
	for name, read := range map[string]int{"public": 109, "customer-a": 6, "customer-b": 4} {
		if s := got[name]; s.Read != read || s.Created+s.Rejected != read || s.Rejected > 0 && name != "public" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := first.Summary(); s.Read != 121 || s.Accounted() != 121 || len(first.Found) != 1 || first.Found[0].Code != diag.TargetsSeveral {
		t.Errorf("together %+v, %v", s, first.Found)
	}
	if !slices.Equal(phases, []engine.Phase{migration.Dealing, migration.Sharing}) {
		t.Errorf("phases are %v", phases)
	}
	loaded := p.content(t)

	put(t, p.file("source.sql"), dump)
	again, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{RunOptions: migration.RunOptions{Confirm: func(context.Context, engine.Intent) error { return errors.New("asked again") }}})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range lines(again) {
		if s.Created+s.Updated > 0 || s.Unchanged != got[name].Created {
			t.Errorf("again, %s: %+v", name, s)
		}
	}
	// One alone sees the source as it does among the others.
	alone := p.one(t, "customer-a", migration.Options{})
	r, err := alone.Run(t.Context(), migration.RunOptions{})
	if err != nil || r.Result.Summary != lines(again)["customer-a"] {
		t.Errorf("alone: %v, %+v", err, r.Result.Summary)
	}
	closed(t, alone)
	aboutOne(t, p)
	if diff := cmp.Diff(loaded, p.content(t)); diff != "" {
		t.Errorf("a look has changed something: %s", diff)
	}

	undo := p.one(t, "customer-a", migration.Options{})
	undone, err := undo.Undo(t.Context(), migration.UndoOptions{})
	if err != nil || undone.Result.Made != 6 {
		t.Errorf("undo: %v, %+v", err, undone)
	}
	closed(t, undo)
	left := p.content(t)
	if len(of(left, "customer-a")) != 0 || cmp.Diff(of(loaded, "public"), of(left, "public")) != "" || cmp.Diff(of(loaded, "customer-b"), of(left, "customer-b")) != "" {
		t.Error("the undo of one target is not about that alone")
	}
}

// aboutOne asks all that can be asked about one target.
func aboutOne(t *testing.T, p place) {
	t.Helper()
	m := p.one(t, "customer-a", migration.Options{ReadOnly: true})
	v, err := m.Verify(t.Context(), migration.VerifyOptions{All: true})
	if err != nil || v.Result.Match != 6 || v.Result.Different() != 0 {
		t.Errorf("verify: %v, %+v", err, v.Result)
	}
	checked, err := m.Check(t.Context())
	if err != nil || checked.Found.HasErrors() {
		t.Errorf("check: %v, %+v", err, checked)
	}
	past, err := m.Past()
	if err != nil {
		t.Fatal(err)
	}
	h, err := past.Report(t.Context(), 0)
	if err != nil || h.Outcomes[pluginapi.Unchanged] != 6 && h.Outcomes[pluginapi.Created] != 6 {
		t.Errorf("report: %v, %v", err, h.Outcomes)
	}
	ids, err := past.IDMap(t.Context(), false)
	if err != nil || len(ids.Pairs) != 6 {
		t.Fatalf("id map: %v, %d pairs", err, len(ids.Pairs))
	}
	e, err := m.Explain(t.Context(), ids.Pairs[0].SourceID, false)
	if err != nil || e.Journal == nil || e.Next == nil || e.Next.Action != pluginapi.Unchanged {
		t.Errorf("explain: %v, %+v", err, e)
	}
	public := p.one(t, "public", migration.Options{ReadOnly: true})
	past, err = public.Past()
	if err != nil {
		t.Fatal(err)
	}
	rejects, err := past.Rejects(t.Context())
	if err != nil || len(rejects) == 0 || rejects[0].Code != string(diag.MapDuplicateUsername) {
		t.Errorf("rejects: %v, %v", err, rejects)
	}
}

// One target that fails stops no other, and is named; a later run makes up for it.
func TestTargetThatFails(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toEach+"  overrides: {customer-a: {config: {dir: ./source.sql}}}\n")
	r, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, one := range r.Targets {
		states[one.Name] = one.State
		if (one.Err != nil) != (one.Name == "customer-a") {
			t.Errorf("%s: %v", one.Name, one.Err)
		}
	}
	if diff := cmp.Diff(map[string]string{"customer-a": report.TargetFailed, "customer-b": report.TargetDone, "public": report.TargetRejects}, states); diff != "" {
		t.Errorf("states differ (-want +got):\n%s", diff)
	}
	p.configure(t, toEach)
	r, err = p.runTargets(t, migration.Options{}, migration.TargetsOptions{Only: []string{"customer-a"}})
	if err != nil || len(r.Targets) != 1 || r.Targets[0].Run.Result.Summary.Created != 6 || r.Dealing.Accounts != 116 {
		t.Errorf("%v, %+v", err, r)
	}
}

// Whoever is in several tenants is where the policy wants it, and has an outcome everywhere.
func TestSeveralTenants(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]pluginapi.Summary{
		"first":  {Read: 121, Skipped: 5},
		"reject": {Read: 121, Rejected: 10},
	} {
		p := newPlace(t, toEach+"policies: {several_tenants: "+policy+", skip: [map.no_tenant, map.duplicate_username]}\n")
		r, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		reasons := map[diag.Code]int{}
		for _, one := range r.Targets {
			for code, n := range one.Run.Result.Reasons {
				reasons[code] += n
			}
		}
		s := r.Summary()
		accepted := reasons[diag.MapDuplicateUsername] + 2
		if reasons[diag.MapSeveralTenants] != want.Skipped+want.Rejected || s.Skipped != want.Skipped+accepted || s.Rejected != want.Rejected || s.Read != want.Read || len(r.Found) != 0 {
			t.Errorf("%s: %+v, %v, %v", policy, s, reasons, r.Found)
		}
		seen := map[string]int{}
		for path := range p.content(t) {
			seen[filepath.Base(path)]++
		}
		for id, n := range seen {
			if n > 1 {
				t.Errorf("%s: %s is in %d targets", policy, id, n)
			}
		}
	}
}

// What is wrong with the targets together is an error before anything is written.
func TestTargetsAreWholeOrRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sections string
		code     diag.Code
		says     []string
	}{
		"a tenant without a target":  {strings.Replace(toEach, "  plugin", "  include: [customer-a]\n  exclude: [customer-b]\n  plugin", 1), diag.TargetsNoTarget, []string{`tenant "public" has 109 accounts and no target`}},
		"of a list":                  {"targets:\n- {name: a, tenants: [customer-a], plugin: file, config: {dir: ./out/a}}\n- leave_out: [public]\n", diag.TargetsNoTarget, []string{`tenant "customer-b" has 4 accounts and no target`, "leave_out"}},
		"the same place":             {strings.Replace(toEach, "{tenant}", "all", 1), diag.TargetsSamePlace, []string{"customer-a and customer-b are the same place", "customer-a and public are", "file (dir ./out/all)"}},
		"a tenant that is not there": {strings.Replace(toEach, "  plugin", "  exclude: [costumer-a]\n  plugin", 1), diag.RunUnknownTenant, []string{`no tenant "costumer-a"`, `did you mean "customer-a"?`, "stetl.yaml:4:13"}},
		"a name that comes to nothing": {
			strings.Replace(toEach, "{tenant}\"}", "{firm}\"}\n  names: {firm: {lookup: tenant, table: {public: p, customer-a: a}}}", 1), diag.ConfigInvalidValue,
			[]string{"for tenant customer-b there is no value: {firm}: the table has no entry", "stetl.yaml:5:17"},
		},
		"a setting that is wrong for one": {toEach + "  overrides: {customer-b: {config: {dir: 7}}}\n", diag.ConfigWrongType, []string{"stetl.yaml:6:42", "targets.config.dir must be a string"}},
		"a name that is unknown":          {strings.Replace(toEach, "{tenant}", "{tennant}", 1), diag.MapUnknownField, []string{`did you mean "tenant"?`, "stetl.yaml:5:25"}},
		"a rule that is wrong":            {toEach + "mapping: {set: {id: {template: \"{tennant}\"}}}\n", diag.MapUnknownField, []string{"stetl.yaml:6:34"}},
	} {
		p := newPlace(t, c.sections)
		_, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{})
		list := (*diag.ListError)(nil)
		if !errors.As(err, &list) || list.List[0].Code != c.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := ""
		for _, d := range list.List {
			text += d.Pos.String() + " " + d.Summary + " " + d.Hint + "\n"
		}
		for _, says := range c.says {
			if !strings.Contains(text, says) {
				t.Errorf("%s: it does not say %q:\n%s", name, says, text)
			}
		}
		if made := p.content(t); len(made) != 0 {
			t.Errorf("%s: something was written", name)
		}
	}
}

// A target for all accounts gets all of them as they are, beside one for a tenant; the mapping
// knows which one it is for.
func TestListOfTargets(t *testing.T) {
	t.Parallel()
	p := newPlace(t, `targets:
- {name: all, plugin: file, config: {dir: ./out/all}}
- {name: a, tenants: [customer-a], plugin: file, config: {dir: ./out/a}}
mapping: {set: {given_name: {cel: "target + ' ' + string(size(tenants))"}}}
`)
	r, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := lines(r)
	if got["all"].Read != 116 || got["a"].Created != 6 || len(r.Nowhere) != 0 || r.Dealing.Accounts != 116 || len(r.Found) != 0 {
		t.Errorf("%+v, %+v", got, r.Dealing)
	}
	names := map[string]int{}
	for path, text := range p.content(t) {
		for _, name := range []string{"all 0", "all 1", "all 2", "a 1", "a 2"} {
			if strings.Contains(text, `"given_name":"`+name+`"`) {
				names[strings.Split(path, "/")[2]+": "+name]++
			}
		}
	}
	if names["a: a 1"] != 6 || names["all: all 2"] != 5 || names["all: all 0"] != 2 {
		t.Errorf("the rule has seen %v", names)
	}
}

// A saved plan is about all targets, and is executed to the letter.
func TestPlanOfTargets(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toEach)
	var plans *migration.Plans
	r, err := p.runTargets(t, migration.Options{ReadOnly: true}, migration.TargetsOptions{
		RunOptions: migration.RunOptions{DryRun: true}, SaveAll: func(all *migration.Plans) error { plans = all; return nil },
	})
	if err != nil || len(plans.Targets) != 3 || len(p.content(t)) != 0 {
		t.Fatalf("%v, %+v", err, plans)
	}
	var saved strings.Builder
	if err := plans.Write(&saved); err != nil {
		t.Fatal(err)
	}
	one, all, err := migration.ReadPlans([]byte(saved.String()))
	if err != nil || one != nil || len(all.Targets["customer-a"].Users) != 6 {
		t.Fatalf("%v, %v", one, err)
	}
	p.configure(t, strings.Replace(toEach, "  plugin", "  exclude: [customer-b]\n  plugin", 1))
	if _, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{Plans: all}); err == nil || !strings.Contains(err.Error(), "the saved plan has the target customer-b") {
		t.Errorf("with a target less: %v", err)
	}
	p.configure(t, toEach)
	done, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{Plans: all})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(r), lines(done)); diff != "" {
		t.Errorf("the run is not what was planned (-plan +run):\n%s", diff)
	}
	delete(all.Targets, "public")
	if _, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{Plans: all}); err == nil || !strings.Contains(err.Error(), "does not have the target public") {
		t.Errorf("with a target more: %v", err)
	}
}

// Only so many plugins are at work at a time: each leaves a file with its process id.
func TestFewTargetsAtATime(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toEach+"  parallel: 1\n")
	most := 0
	_, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{RunOptions: migration.RunOptions{Outcome: func(pluginapi.Change) {
		alive := 0
		pids, _ := filepath.Glob(p.file("out/*/*.pid"))
		for _, file := range pids {
			if _, err := os.Stat("/proc/" + strings.TrimSuffix(filepath.Base(file), ".pid")); err == nil {
				alive++
			}
		}
		most = max(most, alive)
	}}})
	if _, noProc := os.Stat("/proc/self"); err != nil || noProc == nil && most != 1 {
		t.Errorf("%v, %d at a time", err, most)
	}
}

// A command about one target says so where there are several, and a target that is not there
// is no target.
func TestOneOfSeveralTargets(t *testing.T) {
	t.Parallel()
	p := newPlace(t, strings.Replace(toEach, "  plugin", "  include: [customer-a]\n  exclude: ['*']\n  plugin", 1))
	cfg := migration.Load(p.path, config.Env{})
	if _, err := migration.Open(t.Context(), cfg, migration.Options{}); !errors.As(err, new(migration.UsageError)) || !strings.Contains(err.Error(), "--target") {
		t.Errorf("without a name: %v", err)
	}
	if _, err := cfg.ForTarget("costumer-a"); !errors.As(err, new(migration.UsageError)) || !strings.Contains(err.Error(), "did you mean customer-a?") {
		t.Errorf("a wrong name: %v", err)
	}
	p.configure(t, toFolder)
	if _, err := migration.Load(p.path, config.Env{}).ForTarget("customer-a"); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("a single target: %v", err)
	}
	if _, err := p.runTargets(t, migration.Options{}, migration.TargetsOptions{}); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("a run of several: %v", err)
	}
}

//go:build unix

package migration_test

import (
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
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
)

// place is a folder with a configuration, whose dump is source.sql and whose target has
// the rest for its section.
type place struct{ dir, path string }

const (
	toFolder = "target: {plugin: file, config: {dir: ./accounts}}\n"
	toExport = "target: {plugin: export, config: {out: ./out}}\n"
)

func newPlace(t *testing.T, sections string) place {
	t.Helper()
	p := place{dir: t.TempDir()}
	p.path = filepath.Join(p.dir, "stetl.yaml")
	raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "supertokens", "core-6.0.13.sql"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, p.file("source.sql"), string(raw))
	p.configure(t, sections)
	return p
}

func (p place) file(name string) string { return filepath.Join(p.dir, name) }

func (p place) configure(t *testing.T, sections string) {
	t.Helper()
	put(t, p.path, "source: {dump: ./source.sql}\n"+sections)
}

// without rewrites the dump without the lines that have the text.
func (p place) without(t *testing.T, text string) {
	t.Helper()
	raw, err := os.ReadFile(p.file("source.sql"))
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(string(raw), "\n"), func(line string) bool { return strings.Contains(line, text) })
	put(t, p.file("source.sql"), strings.Join(lines, ""))
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens the configuration for the test.
func (p place) open(t *testing.T, o migration.Options) *migration.Migration {
	t.Helper()
	o.Plugins.Bundled = bundled
	m, err := migration.Open(t.Context(), migration.Load(p.path, config.Env{}), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, m) })
	return m
}

// closed closes it before others open the journal; once more is fine.
func closed(t *testing.T, m *migration.Migration) {
	t.Helper()
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// run runs once.
func (p place) run(t *testing.T, o migration.Options, run migration.RunOptions) *report.Run {
	t.Helper()
	m := p.open(t, o)
	r, err := m.Run(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, m)
	return r
}

func (p place) past(t *testing.T) migration.Past {
	t.Helper()
	past, err := p.open(t, migration.Options{ReadOnly: true}).Past()
	if err != nil {
		t.Fatal(err)
	}
	return past
}

func summary(created, unchanged, rejected int) pluginapi.Summary {
	return pluginapi.Summary{Read: created + unchanged + rejected, Created: created, Unchanged: unchanged, Rejected: rejected}
}

// One run and everything that can be done after it.
func TestRunAndAfter(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder)
	var phases []engine.Phase
	outcomes, rows := 0, 0
	m := p.open(t, migration.Options{
		Program: "a test", Rows: func(n int) { rows = n },
		Progress: func(p engine.Progress) {
			if !slices.Contains(phases, p.Phase) {
				phases = append(phases, p.Phase)
			}
		},
	})
	first, err := m.Run(t.Context(), migration.RunOptions{Outcome: func(pluginapi.Change) { outcomes++ }})
	if err != nil || first.Result.Summary != summary(110, 0, 6) || outcomes != 116 || len(first.Changes) != 6 {
		t.Fatalf("%v, %+v, %d outcomes, %d changes", err, first.Result, outcomes, len(first.Changes))
	}
	if len(phases) < 2 || first.App != "public" || len(first.Findings) == 0 || !strings.HasPrefix(first.Target, "file (dir ") {
		t.Errorf("phases %v, %d rows, app %s, target %s", phases, rows, first.App, first.Target)
	}
	if _, err := m.Run(t.Context(), migration.RunOptions{}); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("a second run of the same migration: %v", err)
	}
	closed(t, m)

	again := p.run(t, migration.Options{}, migration.RunOptions{})
	if again.Result.Summary != summary(0, 110, 6) {
		t.Errorf("again: %+v", again.Result.Summary)
	}
	looking := p.open(t, migration.Options{ReadOnly: true})
	v, err := looking.Verify(t.Context(), migration.VerifyOptions{})
	if err != nil || v.Result.Match != 110 || v.Result.Different() != 0 {
		t.Errorf("verify: %v, %+v", err, v.Result)
	}
	checked, err := looking.Check(t.Context())
	if err != nil || checked.Found.HasErrors() || checked.Source == "" {
		t.Errorf("check: %v, %+v", err, checked)
	}

	past := p.past(t)
	rejects, err := past.Rejects(t.Context())
	if err != nil || len(rejects) != 6 || rejects[0].Code != string(diag.MapDuplicateUsername) || rejects[0].Hint == "" {
		t.Errorf("rejects: %v, %+v", err, rejects)
	}
	ids, err := past.IDMap(t.Context(), false)
	if err != nil || len(ids.Pairs) != 110 || ids.Missing != 6 || ids.Check() != nil {
		t.Errorf("id map: %v, %d pairs, %d missing", err, len(ids.Pairs), ids.Missing)
	}
	h, err := past.Report(t.Context(), 0)
	if err != nil || h.Run.ID != 2 || h.Run.Program != "" || len(h.Runs) != 2 || h.Outcomes[pluginapi.Rejected] != 6 {
		t.Errorf("report: %v, %+v", err, h)
	}
	if h, err = past.Report(t.Context(), 1); err != nil || h.Run.Program != "a test" {
		t.Errorf("report of the first: %v, %+v", err, h)
	}
	if _, err := past.Report(t.Context(), 9); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("report of no run: %v", err)
	}
	if len(rejects) > 0 && len(ids.Pairs) > 0 {
		explain(t, looking, rejects[0].SourceID, ids.Pairs[0])
	}

	undo := p.open(t, migration.Options{})
	undone, err := undo.Undo(t.Context(), migration.UndoOptions{})
	left, globErr := filepath.Glob(p.file("accounts/accounts/*.json"))
	if err != nil || globErr != nil || undone.Result.Made != 110 || len(left) != 0 {
		t.Errorf("undo: %v, %+v, %d left", err, undone, len(left))
	}
}

// A run whose last step fails has written accounts all the same: nobody forgets them, and
// an undo names each.
func TestUndoAfterFailedFinish(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "target: {plugin: unfinished, config: {dir: ./accounts}}\n")
	m := p.open(t, migration.Options{})
	r, err := m.Run(t.Context(), migration.RunOptions{})
	if !errors.Is(err, engine.ErrNotCommitted) || r.Result.Summary.InDoubt != 110 {
		t.Fatalf("%v, %+v", err, r.Result.Summary)
	}
	closed(t, m)
	undone, err := p.open(t, migration.Options{}).Undo(t.Context(), migration.UndoOptions{})
	if err != nil || undone.Result.Kept[diag.UndoInDoubt] != 110 || len(undone.Kept) != 110 || undone.Result.Doubtful != 110 {
		t.Fatalf("undo: %v, %+v", err, undone.Result)
	}
	for _, o := range undone.Kept {
		if o.TargetID == "" {
			t.Errorf("an account is kept and has no id: %+v", o)
		}
	}
}

// A plugin that says nothing is ended, and everybody is accounted for.
func TestSilentPlugin(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "target: {plugin: silent}\nlimits: {silence: 1s}\n")
	m := p.open(t, migration.Options{})
	r, err := m.Run(t.Context(), migration.RunOptions{})
	s := r.Result.Summary
	if !errors.As(err, new(*plugin.SilentError)) || !errors.As(err, new(migration.RefusedError)) || s.InDoubt == 0 || s.InDoubt+s.Rejected != s.Read {
		t.Errorf("%v, %+v", err, s)
	}
	closed(t, m)
	if rejects, err := p.past(t).Rejects(t.Context()); err != nil || !slices.ContainsFunc(rejects, func(r report.Reject) bool { return r.Code == string(diag.PluginSilent) }) {
		t.Errorf("%v, %+v", err, rejects)
	}
}

// Reports say where the users went, also where that came by reference, and on one line.
func TestReportsNameTheTarget(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "target: {plugin: file, config: {dir: \"${file:where}\"}}\n")
	put(t, p.file("where"), "./accounts\x1b[2J\n"+strings.Repeat("x", 200)+"\n")
	want := "file (dir ./accounts\uFFFD[2J\uFFFD" + strings.Repeat("x", 105) + "…)"
	if dry := p.run(t, migration.Options{}, migration.RunOptions{DryRun: true}); dry.Target != want {
		t.Errorf("the plan names %q, want %q", dry.Target, want)
	}
	put(t, p.file("where"), "./accounts")
	p.run(t, migration.Options{}, migration.RunOptions{})
	if h, err := p.past(t).Report(t.Context(), 0); err != nil || h.Run.Target != "file (dir ./accounts)" || !strings.HasPrefix(h.Run.Source, "dump /") {
		t.Errorf("the report names %q and %q, %v", h.Run.Source, h.Run.Target, err)
	}
	m := p.open(t, migration.Options{})
	if undone, err := m.Undo(t.Context(), migration.UndoOptions{}); err != nil || undone.Target != "file (dir ./accounts)" {
		t.Errorf("undo names %+v, %v", undone, err)
	}
}

// An account can be named in any way, and what a run would do now is asked for.
func explain(t *testing.T, m *migration.Migration, rejected string, loaded report.Pair) {
	t.Helper()
	for _, name := range []string{loaded.SourceID, loaded.VisibleID, loaded.TargetID} {
		e, err := m.Explain(t.Context(), name, false)
		if err != nil || e.SourceID != loaded.SourceID || e.Account == nil || e.Journal == nil || e.Next == nil || e.Next.Action != pluginapi.Unchanged {
			t.Errorf("explain %s: %v, %+v", name, err, e)
		}
	}
	if e, err := m.Explain(t.Context(), rejected, true); err != nil || e.Next != nil || e.Journal.Code != string(diag.MapDuplicateUsername) {
		t.Errorf("explain a reject: %v, %+v", err, e)
	}
	if _, err := m.Explain(t.Context(), "nobody", true); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("explain nobody: %v", err)
	}
}

// Who looks only, writes nothing, and is told where writing would be needed.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder)
	m := p.open(t, migration.Options{ReadOnly: true})
	if r, err := m.Run(t.Context(), migration.RunOptions{DryRun: true}); err != nil || r.Result.Summary != summary(110, 0, 6) || len(r.Changes) != 116 {
		t.Errorf("dry run: %v, %+v", err, r.Result)
	}
	_, runErr := m.Run(t.Context(), migration.RunOptions{})
	_, undoErr := m.Undo(t.Context(), migration.UndoOptions{})
	_, pastErr := m.Past()
	if !errors.As(runErr, new(migration.UsageError)) || !errors.As(undoErr, new(migration.UsageError)) || !errors.As(pastErr, new(migration.RefusedError)) {
		t.Errorf("run: %v\nundo: %v\npast: %v", runErr, undoErr, pastErr)
	}
	if _, err := os.Stat(p.file(".stetl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a journal: %v", err)
	}
	if left, _ := filepath.Glob(p.file("accounts/accounts/*")); len(left) > 0 {
		t.Errorf("accounts were written: %v", left)
	}
}

// A plan is executed to the letter, and only with the settings that it was made with. A
// journal that it was made without gets its key.
func TestSavedPlan(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder)
	var plan *engine.Plan
	p.run(t, migration.Options{ReadOnly: true}, migration.RunOptions{DryRun: true, Save: func(made *engine.Plan) error {
		plan = made
		return nil
	}})
	if len(plan.Users) != 116 || len(plan.Key) == 0 {
		t.Fatalf("%d users, key %x", len(plan.Users), plan.Key)
	}
	other := *plan
	p.configure(t, toFolder+"policies: {existing: adopt}\n")
	if _, err := p.open(t, migration.Options{ReadOnly: true, Plan: &other}).Run(t.Context(), migration.RunOptions{DryRun: true}); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("with other settings: %v", err)
	}
	p.configure(t, toFolder)
	if r := p.run(t, migration.Options{Plan: plan}, migration.RunOptions{}); r.Result.Summary != summary(110, 0, 6) {
		t.Errorf("executed: %+v", r.Result.Summary)
	}
	// One that was made without the journal that is there by now has another key.
	other.Key = []byte(strings.Repeat("k", 32))
	_, err := migration.Open(t.Context(), migration.Load(p.path, config.Env{}), migration.Options{Plan: &other, Plugins: plugin.Options{Bundled: bundled}})
	if !errors.As(err, new(migration.UsageError)) {
		t.Errorf("made without the journal: %v", err)
	}
}

// What is written as a whole is what the last run has written: the journal forgets who
// has gone, keeps the runs, and a part of the accounts is refused.
func TestTargetWrittenAsAWhole(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toExport)
	if r := p.run(t, migration.Options{}, migration.RunOptions{}); r.Result.Summary != summary(110, 0, 6) {
		t.Fatalf("%+v", r.Result.Summary)
	}
	before, err := p.past(t).IDMap(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	p.without(t, before.Pairs[0].SourceID)
	r := p.run(t, migration.Options{}, migration.RunOptions{})
	past := p.past(t)
	ids, err := past.IDMap(t.Context(), false)
	if err != nil || r.Result.Summary.Created != len(ids.Pairs) || slices.Contains(ids.Pairs, before.Pairs[0]) {
		t.Errorf("%v, %+v, %d pairs", err, r.Result.Summary, len(ids.Pairs))
	}
	if h, err := past.Report(t.Context(), 0); err != nil || len(h.Runs) != 2 {
		t.Errorf("%v, %+v", err, h)
	}
	m := p.open(t, migration.Options{})
	_, partErr := m.Run(t.Context(), migration.RunOptions{Choice: migration.Choice{Flags: []string{"--sample 3"}, Sample: 3}})
	if list, ok := errors.AsType[*diag.ListError](partErr); !ok || list.List[0].Code != diag.RunNeedsEveryone {
		t.Errorf("a part: %v", partErr)
	}
	_, verifyErr := m.Verify(t.Context(), migration.VerifyOptions{})
	_, undoErr := m.Undo(t.Context(), migration.UndoOptions{})
	if !errors.As(verifyErr, new(migration.RefusedError)) || !errors.As(undoErr, new(migration.RefusedError)) {
		t.Errorf("verify: %v\nundo: %v", verifyErr, undoErr)
	}
}

// A run about a part leaves the others as they are.
func TestChoice(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder)
	choose := func(o migration.Options, c migration.Choice, dry bool) (*report.Run, error) {
		m := p.open(t, o)
		defer closed(t, m)
		return m.Run(t.Context(), migration.RunOptions{DryRun: dry, Choice: c})
	}
	looking := migration.Options{ReadOnly: true}
	if _, err := choose(looking, migration.Choice{Flags: []string{"--only-rejects"}, OnlyRejects: true}, true); !errors.As(err, new(migration.UsageError)) {
		t.Errorf("rejects of no run: %v", err)
	}
	_, err := choose(looking, migration.Choice{Flags: []string{"--only-tenant x"}, Tenants: []string{"x"}}, true)
	if list, ok := errors.AsType[*diag.ListError](err); !ok || list.List[0].Code != diag.RunUnknownTenant {
		t.Errorf("a tenant that is not there: %v", err)
	}
	r, err := choose(migration.Options{}, migration.Choice{Flags: []string{"--sample 5"}, Sample: 5}, false)
	if err != nil || r.Result.Summary.Created != 5 || r.Result.Chosen.Count != 5 {
		t.Errorf("a sample: %v, %+v", err, r.Result)
	}
	if r := p.run(t, migration.Options{}, migration.RunOptions{}); r.Result.Summary != summary(105, 5, 6) {
		t.Errorf("the rest: %+v", r.Result.Summary)
	}
	r, err = choose(migration.Options{}, migration.Choice{Flags: []string{"--only-rejects"}, OnlyRejects: true}, false)
	if err != nil || r.Result.Chosen.Count != 6 || r.Result.Summary.Rejected != 6 {
		t.Errorf("the rejects: %v, %+v", err, r.Result)
	}
}

// A plugin that dies is started and configured again, and everybody arrives once.
func TestPluginThatDies(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "target: {plugin: file, config: {dir: ./accounts, kills: ['before:3', 'after:7']}}\n")
	r := p.run(t, migration.Options{}, migration.RunOptions{})
	accounts, err := filepath.Glob(p.file("accounts/accounts/*.json"))
	processes, pidErr := filepath.Glob(p.file("accounts/*.pid"))
	if err != nil || pidErr != nil || r.Result.Summary.Accounted() != 116 || r.Result.Summary.InDoubt != 0 || len(accounts) != 110 || len(processes) != 3 {
		t.Errorf("%+v, %d accounts, %d processes", r.Result.Summary, len(accounts), len(processes))
	}
	// Each process was told what roles allow; of those that the source has, somebody has these.
	for _, process := range processes {
		raw, err := os.ReadFile(strings.TrimSuffix(process, ".pid") + ".roles")
		want := `[{"Name":"admin","Permissions":["billing:*","users:read","users:write"]},{"Name":"editor","Permissions":["posts:read","posts:write"]},{"Name":"rôle spécial","Permissions":null}]`
		if err != nil || string(raw) != want {
			t.Errorf("a process knows %s, %v", raw, err)
		}
	}
}

// A plugin is killed in mid-run until nobody starts it any more. An undo then leaves nothing,
// or names each account that it leaves with its id.
func TestUndoAfterAPluginWasKilled(t *testing.T) {
	t.Parallel()
	for name, finds := range map[string]bool{"file": false, "finder": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, "target: {plugin: "+name+", config: {dir: ./accounts, kills: ['after:3', 'before:4', 'after:5', 'after:6', 'after:7', 'after:8']}}\n")
			m := p.open(t, migration.Options{})
			r, err := m.Run(t.Context(), migration.RunOptions{})
			if !errors.As(err, new(*plugin.CrashError)) || r.Result.Summary.InDoubt == 0 || r.Result.Summary.Accounted() != r.Result.Summary.Read {
				t.Fatalf("%v, %+v", err, r.Result.Summary)
			}
			closed(t, m)
			made, err := accountFiles(p.file("accounts/accounts"))
			if err != nil || len(made) == 0 {
				t.Fatalf("%v, nobody was made", err)
			}
			undone, err := p.open(t, migration.Options{}).Undo(t.Context(), migration.UndoOptions{})
			left, listErr := accountFiles(p.file("accounts/accounts"))
			if err != nil || listErr != nil || undone.Result.Doubtful == 0 {
				t.Fatalf("undo: %v, %v, %+v", err, listErr, undone.Result)
			}
			if finds && (len(left) > 0 || len(undone.Kept) > 0) || !finds && len(left) == 0 {
				t.Errorf("of %d, %d are left, and %d were kept", len(made), len(left), len(undone.Kept))
			}
			for id := range left {
				if !slices.ContainsFunc(undone.Kept, func(o pluginapi.Outcome) bool { return strings.Contains(o.Detail, id) }) {
					t.Errorf("the account %s is left, and nobody says so: %+v", id, undone.Kept)
				}
			}
		})
	}
}

// All problems of a file are told at once: those of the file, of SuperTokens' own names
// in it, of the mapping, and those that take a plugin to see.
func TestProblemsOfTheWholeFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "stetl.yaml")
	put(t, path, `
source: {dump: ./source.sql, postgresql_table_schema: x}
mapping: {filter: 'account.nonsense'}
target: {plugin: file, config: {dri: ./accounts}}
`)
	cfg := migration.Load(path, config.Env{})
	if cfg.Err() == nil {
		t.Error("Load has found nothing")
	}
	_, err := migration.Open(t.Context(), cfg, migration.Options{Plugins: plugin.Options{Bundled: bundled}})
	list, ok := errors.AsType[*diag.ListError](err)
	if !ok {
		t.Fatal(err)
	}
	var paths []string
	for _, d := range list.List {
		paths = append(paths, d.Path)
		if d.Pos.Line == 0 {
			t.Errorf("%s has no place", d.Path)
		}
		if d.Path == "/source/postgresql_table_schema" && !strings.Contains(d.Hint, "schema") {
			t.Errorf("SuperTokens' own name is not translated: %s", d.Hint)
		}
	}
	slices.Sort(paths)
	want := []string{"/mapping/filter", "/source/postgresql_table_schema", "/target/config/dir", "/target/config/dri"}
	if diff := cmp.Diff(want, slices.Compact(paths)); diff != "" {
		t.Errorf("(-want +got)\n%s\n%v", diff, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".stetl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a journal was made for a configuration that is wrong: %v", err)
	}
}

// What is wrong with the source points at the line that names it.
func TestSourceThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder)
	if err := os.Remove(p.file("source.sql")); err != nil {
		t.Fatal(err)
	}
	_, runErr := p.open(t, migration.Options{}).Run(t.Context(), migration.RunOptions{})
	_, openErr := migration.OpenSource(t.Context(), migration.Load(p.path, config.Env{}), migration.SourceOptions{})
	_, tablesErr := migration.OpenTables(t.Context(), migration.Load(p.path, config.Env{}))
	for name, err := range map[string]error{"run": runErr, "open": openErr, "tables": tablesErr} {
		list, ok := errors.AsType[*diag.ListError](err)
		if !errors.As(err, new(migration.RefusedError)) || !ok || list.List[0].Pos.Line != 1 || list.List[0].Path != "/source/dump" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A plugin that the configuration has the path of is asked what it can hold, also where
// no accounts are moved.
func TestPluginWithAPath(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "")
	executable := p.file(plugin.Prefix + "file")
	if err := os.Symlink(self, executable); err != nil {
		t.Fatal(err)
	}
	p.configure(t, "target: {plugin: file, path: ./"+plugin.Prefix+"file, config: {dir: ./accounts}}\n"+
		"mapping: {tests: [{name: keeps the address, account: {visibleId: a, loginMethods: [{recipe: emailpassword, email: a@example.org}]}, want: {email: a@example.org}}]}\n")
	cfg := migration.Load(p.path, config.Env{})
	src, err := migration.OpenSource(t.Context(), cfg, migration.SourceOptions{Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	i, err := src.Inspect(t.Context(), plugin.Options{}, func(int, supertokens.Batch) {})
	if err := errors.Join(err, src.Close()); err != nil {
		t.Fatal(err)
	}
	if i.Inventory.Accounts != 116 || i.Target != "file" || !i.Carries[pluginapi.CarriesPhone] || i.Carries[pluginapi.CarriesRoles] {
		t.Errorf("%d accounts, target %q, %v", i.Inventory.Accounts, i.Target, i.Carries)
	}
	tried, err := migration.TryMapping(t.Context(), cfg, "", plugin.Options{})
	if err != nil || len(tried) != 1 || !tried[0].OK {
		t.Errorf("%v, %+v", err, tried)
	}
}

// The bridge is refused before anything is connected to where nobody asked for it.
func TestBridgeNeedsItsSection(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder)
	if err := p.open(t, migration.Options{ReadOnly: true}).Bridge(t.Context(), nil); !errors.As(err, new(migration.UsageError)) {
		t.Error(err)
	}
}

// What the plugin was being asked when it died fails; the next one who asks is served by
// a new process.
func TestPluginOfTheBridgeThatDies(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "target: {plugin: door}\n")
	door := migration.BridgeTarget(p.open(t, migration.Options{ReadOnly: true}))
	for range 2 {
		if err := door.SetPassword(t.Context(), pluginapi.PasswordChange{TargetID: "ada"}); err != nil {
			t.Error(err)
		}
		if err := door.SetPassword(t.Context(), pluginapi.PasswordChange{TargetID: deadly}); err == nil {
			t.Error("a process that died has answered")
		}
	}
	if _, err := door.StartReset(t.Context(), pluginapi.Reset{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("what the target cannot: %v", err)
	}
}

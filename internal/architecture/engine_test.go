package architecture

import (
	"slices"
	"testing"
)

// downwards are the files of core/engine from the top, where a run is put together, to the
// bottom, which everybody knows. A file uses what files below it declare. Whoever reads
// the package from here down meets nothing that was not wanted above.
var downwards = []string{
	"doc.go",
	"verify.go", "engine.go", // the order of a run
	"move.go",
	"return.go", "undo.go", "restart.go", "gone.go",
	"survey.go", "roles.go",
	"ids.go", "choice.go", // who the run is about
	"result.go", "options.go", "plan.go",
	"signins.go", "readback.go", "canary.go", "loader.go", "limits.go", "dispatch.go", "reconcile.go", "departed.go", "conflicts.go", "identities.go", "demand.go", "status.go",
	"workset.go", "part.go", "sample.go",
	"errors.go", "ports.go",
}

// stages says which stages each of them may use. Files that are not listed are values that
// everybody knows, and commands of their own; engine.go and move.go bring the stages
// together.
var stages = map[string][]string{
	"survey.go":    {"conflicts.go", "demand.go", "status.go", "workset.go"},
	"conflicts.go": {"workset.go"},
	"demand.go":    {"status.go"},
	"status.go":    {},
	"workset.go":   {},
	"reconcile.go": {},
	"departed.go":  {},
	"limits.go":    {},
	"loader.go":    {},
	"dispatch.go":  {},
	"canary.go":    {"dispatch.go"},               // the grace context
	"readback.go":  {"dispatch.go", "workset.go"}, // limits of batches, sets of places
	"restart.go":   {},
	"undo.go":      {"dispatch.go"},
	"return.go":    {"dispatch.go", "gone.go", "undo.go"},
	"gone.go":      {"departed.go", "dispatch.go"},
	"engine.go":    nil,
	"move.go":      nil,
}

// TestFilesOfTheEngineUseWhatIsBelow has no arrow point back up.
func TestFilesOfTheEngineUseWhatIsBelow(t *testing.T) {
	t.Parallel()
	all, names := arrows(t, "core/engine")
	for _, name := range names {
		if !slices.Contains(downwards, name) {
			t.Errorf("%s has no place in the order of the files", name)
		}
	}
	for _, name := range downwards {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s any more", name)
		}
	}
	for a := range all {
		if slices.Index(downwards, a.to) < slices.Index(downwards, a.from) {
			t.Errorf("%s uses %s of %s, which is above it", a.from, a.name, a.to)
		}
	}
}

// TestStagesOfTheEngineStayApart: who decides and who acts know nothing of each other.
func TestStagesOfTheEngineStayApart(t *testing.T) {
	t.Parallel()
	all, names := arrows(t, "core/engine")
	for name := range stages {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s any more", name)
		}
	}
	between := 0
	for a := range all {
		allowed, stage := stages[a.from]
		if _, other := stages[a.to]; !stage || !other {
			continue
		}
		between++
		if allowed != nil && !slices.Contains(allowed, a.to) {
			t.Errorf("%s uses %s of %s", a.from, a.name, a.to)
		}
	}
	if between < 100 {
		t.Errorf("only %d uses found: the rule guards nothing", between)
	}
}

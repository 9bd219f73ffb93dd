package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stages says which files of core/engine a stage may use. Files that are not listed are
// values that everybody knows, and commands of their own; engine.go and move.go bring the
// stages together.
var stages = map[string][]string{
	"survey.go":    {"conflicts.go", "demand.go", "status.go", "workset.go"},
	"conflicts.go": {"workset.go"},
	"demand.go":    {"status.go"},
	"status.go":    {},
	"workset.go":   {},
	"reconcile.go": {},
	"limits.go":    {},
	"loader.go":    {},
	"dispatch.go":  {},
	"canary.go":    {"dispatch.go"},               // the grace context
	"readback.go":  {"dispatch.go", "workset.go"}, // limits of batches, sets of places
	"restart.go":   {},
	"undo.go":      {"dispatch.go"},
	"engine.go":    nil,
	"move.go":      nil,
}

// engineFiles are the parsed files of the engine.
func engineFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob("../../core/engine/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		// With the objects that the parser resolves inside a file, what is left over is
		// declared in another one.
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = file
	}
	return files
}

// TestStagesOfTheEngineStayApart: who decides and who acts know nothing of each other.
func TestStagesOfTheEngineStayApart(t *testing.T) {
	t.Parallel()
	files := engineFiles(t)
	declaredIn := map[string]string{}
	for name, file := range files {
		for declared := range file.Scope.Objects {
			declaredIn[declared] = name
		}
	}
	arrows := 0
	for _, name := range slices.Sorted(maps.Keys(stages)) {
		file, ok := files[name]
		if !ok {
			t.Errorf("there is no %s any more", name)
			continue
		}
		for _, id := range file.Unresolved {
			other, ours := declaredIn[id.Name]
			if _, stage := stages[other]; !ours || !stage {
				continue
			}
			arrows++
			if allowed := stages[name]; allowed != nil && !slices.Contains(allowed, other) {
				t.Errorf("%s uses %s of %s", name, id.Name, other)
			}
		}
	}
	if arrows < 20 {
		t.Errorf("only %d uses found: the rule guards nothing", arrows)
	}
}

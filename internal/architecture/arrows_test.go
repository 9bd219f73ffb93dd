package architecture

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// arrow is a use of something that another file of the package declares: a function, a
// method, a field, a type, a variable or a constant.
type arrow struct{ from, to, name string }

// arrows are those between the files of a package, each once, and the files.
func arrows(t *testing.T, dir string) (all map[arrow]bool, names []string) {
	t.Helper()
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files, names = append(files, file), append(names, filepath.Base(path))
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", exports(t, dir))}
	checked, err := config.Check(module+dir, set, files, info)
	if err != nil {
		t.Fatal(err)
	}
	all = map[arrow]bool{}
	for id, o := range info.Uses {
		if o.Pkg() != checked || local(o) {
			continue
		}
		from, to := filepath.Base(set.Position(id.Pos()).Filename), filepath.Base(set.Position(o.Pos()).Filename)
		if from != to {
			all[arrow{from, to, id.Name}] = true
		}
	}
	return all, names
}

// local says whether an object is a function's own.
func local(o types.Object) bool {
	v, ok := o.(*types.Var)
	return ok && !v.IsField() && o.Parent() != o.Pkg().Scope()
}

// exports finds what the compiler knows of the packages that one needs.
func exports(t *testing.T, dir string) importer.Lookup {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", module+dir).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	file := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, export, _ := strings.Cut(strings.TrimSpace(line), "=")
		file[path] = export
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(file[path]) }
}

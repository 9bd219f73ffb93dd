package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Targets speak HTTP through httpx: a client of their own would have limits, retries
// and redirects of its own.
func TestTargetsHaveNoHTTPClientsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"plugins", "examples"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				if s, ok := literal.Type.(*ast.SelectorExpr); ok {
					if of, ok := s.X.(*ast.Ident); ok && of.Name == "http" && (s.Sel.Name == "Client" || s.Sel.Name == "Transport") {
						t.Errorf("%s: http.%s is made here; use httpx", files.Position(n.Pos()), s.Sel.Name)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// The examples in Go are what people begin with, their tests among it: outside of this
// module nothing of internal can be imported.
func TestExamplesCanBeCopied(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rest", "ndjson"} {
		files := 0
		err := filepath.WalkDir(filepath.Join("..", "..", "examples", name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			files++
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, i := range file.Imports {
				if strings.Contains(i.Path.Value, "/internal/") {
					t.Errorf("%s imports %s", path, i.Path.Value)
				}
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Errorf("examples/%s: %d files, %v", name, files, err)
		}
	}
}

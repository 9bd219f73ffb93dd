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

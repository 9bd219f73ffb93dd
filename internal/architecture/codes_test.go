package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stetl/stetl/core/diag"
)

// TestCodesAreRegistered: a plugin names its codes itself, and core/diag is where
// people find out what they mean.
func TestCodesAreRegistered(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../plugins/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := spec.Type.(*ast.SelectorExpr); !ok || kind.Sel.Name != "Code" {
				return true
			}
			for _, value := range spec.Values {
				literal, ok := value.(*ast.BasicLit)
				if !ok {
					t.Errorf("%s: %s is no literal", path, spec.Names[0])
					continue
				}
				code, _ := strconv.Unquote(literal.Value)
				if _, known := diag.Lookup(diag.Code(code)); !known {
					t.Errorf("%s: %s is not registered in core/diag", path, code)
				}
				found++
			}
			return true
		})
	}
	if found < 50 {
		t.Errorf("only %d codes found", found)
	}
}

package supertokens

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestTableNamesStandOnce: the list of tables is the only place that spells a name.
// Names that are words of their own may be something else outside of this package.
func TestTableNamesStandOnce(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					seen[text] = append(seen[text], set.Position(lit.Pos()).String())
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range schema {
		name := string(schema[i].name)
		at := seen[name]
		if schema[i].common {
			var own []string
			for _, place := range at {
				if strings.Contains(place, "/supertokens/") {
					own = append(own, place)
				}
			}
			at = own
		}
		if len(at) != 1 {
			t.Errorf("%s stands %d times: %v", name, len(at), at)
		}
	}
}

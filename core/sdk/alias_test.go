package sdk_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// constants are the names that a file gives to constants.
func constants(t *testing.T, path, prefix string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && len(v.Names[0].Name) > len(prefix) && v.Names[0].Name[:len(prefix)] == prefix {
			found[v.Names[0].Name] = true
		}
		return true
	})
	return found
}

// Authors of plugins can declare every feature by a name of this package.
func TestEveryFeatureHasAnAlias(t *testing.T) {
	t.Parallel()
	features, aliases := constants(t, "../pluginapi/feature.go", "Carries"), constants(t, "alias.go", "Carries")
	if len(features) == 0 {
		t.Fatal("there are no features")
	}
	for name := range features {
		if !aliases[name] {
			t.Errorf("sdk has no %s", name)
		}
	}
}

package architecture

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// private are words that say nothing to somebody who comes to the tree: each of them stood
// for something that has a name in the field.
var private = []string{
	"births", "crate", "dealer", "desk", "dock", "freight", "lane", "lessons", "letter", "linger", "notebook", "owners", "parcel", "roster", "standing", "tally",
}

// TestTypesHaveNamesOfTheField keeps a vocabulary of our own out of the names of types.
func TestTypesHaveNamesOfTheField(t *testing.T) {
	t.Parallel()
	seen := 0
	eachFile(t, false, func(_ string, set *token.FileSet, parsed *ast.File) {
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok {
				seen++
				if slices.Contains(private, strings.ToLower(s.Name.Name)) {
					t.Errorf("%s: %s is no word of the field; the glossary of CONTRIBUTING.md has those that are", set.Position(s.Pos()), s.Name.Name)
				}
			}
			return true
		})
	})
	if seen < 500 {
		t.Errorf("only %d types found: the rule guards nothing", seen)
	}
}

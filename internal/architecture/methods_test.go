package architecture

import (
	"go/ast"
	"go/token"
	"path"
	"testing"
)

// mostMethods is how many methods a type may have: one with more does more than one
// thing.
const mostMethods = 12

// oversized are the types that have more, with how many at most. The list only gets
// shorter: no type comes onto it, and one on it gets no further method.
var oversized = map[string]int{
	"core/bridge.client":                  16,
	"core/bridge.request":                 15,
	"core/bridge.storage":                 24,
	"core/config.file":                    16,
	"core/internal/pgdump.Archive":        22,
	"core/internal/pgdump.Rows":           18,
	"core/internal/pgdump.inserts":        13,
	"core/internal/pgdump.parser":         25,
	"core/internal/pgdump.tocIndex":       19,
	"core/internal/pgurl.judge":           17,
	"core/internal/pgurl.problems":        13,
	"core/internal/conversation.Session":  22,
	"core/internal/conversation.stream":   17,
	"core/internal/spill.Spill":           14,
	"core/plugin.Client":                  23,
	"core/plugin.process":                 13,
	"core/sdk.service":                    21,
	"core/sdk/folder.Folder":              15,
	"core/supertokens.Layout":             18,
	"core/supertokens.Tables":             24,
	"core/supertokens.assembler":          16,
	"core/supertokens.partitioner":        16,
	"core/supertokens.evidence":           18,
	"core/supertokens/session.Store":      24,
	"internal/filetarget.Target":          13,
	"internal/supertokensgen.row":         17,
	"internal/testserver/auth0.Server":    23,
	"internal/testserver/keycloak.Server": 14,
	"plugins/auth0.live":                  25,
	"plugins/generic-scim.learned":        13,
	"plugins/generic-scim.live":           13,
	"plugins/generic-scim.transport":      18,
	"plugins/keycloak.api":                25,
	"plugins/keycloak.live":               16,
}

// TestMethods keeps types small.
func TestMethods(t *testing.T) {
	t.Parallel()
	count := methods(t)
	if count["core/migration.Migration"] == 0 {
		t.Fatal("the methods of core/migration.Migration were not found: the rule would hold for nothing")
	}
	for name, n := range count {
		if most := max(mostMethods, oversized[name]); n > most {
			t.Errorf("%s has %d methods, and %d is the most: divide it", name, n, most)
		}
	}
	for name, n := range oversized {
		if count[name] <= mostMethods {
			t.Errorf("%s has %d methods by now: take it off the list, where it has %d", name, count[name], n)
		}
	}
}

// methods counts the methods of each type by hand-written files that are no tests.
func methods(t *testing.T) map[string]int {
	t.Helper()
	seen := map[string]map[string]bool{} // a method that differs by system counts once
	eachFile(t, false, func(file string, _ *token.FileSet, parsed *ast.File) {
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			name := path.Dir(file) + "." + receiver(f.Recv.List[0].Type)
			if seen[name] == nil {
				seen[name] = map[string]bool{}
			}
			seen[name][f.Name.Name] = true
		}
	})
	count := map[string]int{}
	for name, all := range seen {
		count[name] = len(all)
	}
	return count
}

// receiver is the name of the type that an expression of a receiver is about.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	default:
		return "?"
	}
}

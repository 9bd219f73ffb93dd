package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"testing"
)

// TestConditionsAreAboutWhatStandsBeforeThem: who reads "if x := f(); y {" looks for what x
// has to do with y. What has nothing to do with it is a statement of its own.
func TestConditionsAreAboutWhatStandsBeforeThem(t *testing.T) {
	t.Parallel()
	seen := 0
	eachFile(t, true, func(_ string, set *token.FileSet, parsed *ast.File) {
		ast.Inspect(parsed, func(n ast.Node) bool {
			s, ok := n.(*ast.IfStmt)
			if !ok || s.Init == nil {
				return true
			}
			seen++
			if !looksAt(s.Cond, s.Init) {
				t.Errorf("%s: the condition has nothing to do with the statement before it", set.Position(s.Pos()))
			}
			return true
		})
	})
	if seen < 1000 {
		t.Errorf("only %d found: the rule guards nothing", seen)
	}
}

// looksAt says whether a condition has one of the variables that a statement sets.
func looksAt(cond ast.Expr, init ast.Stmt) bool {
	var set []ast.Expr
	switch s := init.(type) {
	case *ast.AssignStmt:
		set = s.Lhs
	case *ast.IncDecStmt:
		set = []ast.Expr{s.X}
	}
	uses := false
	ast.Inspect(cond, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		for i := 0; ok && i < len(set) && !uses; i++ {
			uses = types.ExprString(e) == types.ExprString(set[i])
		}
		return !uses
	})
	return uses
}

// TestLooksAt has the rule find what it is for.
func TestLooksAt(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{
		"if err := f(); err != nil {}":                   true,
		"if a, err = f(); a.b.Next() {}":                 true,
		"if t.n++; t.n > 3 {}":                           true,
		"if x.all = append(x.all, 1); len(x.all) > 3 {}": true,
		"if t.n++; other {}":                             false,
		"if x.n = 3; x.m {}":                             false,
		"if _ = f(); g() {}":                             false,
		"if f(); g() {}":                                 false,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {"+source+"}", 0)
		if err != nil {
			t.Fatal(err)
		}
		s := file.Decls[0].(*ast.FuncDecl).Body.List[0].(*ast.IfStmt)
		if got := looksAt(s.Cond, s.Init); got != want {
			t.Errorf("%s: %v", source, got)
		}
	}
}

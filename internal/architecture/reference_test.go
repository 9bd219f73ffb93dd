package architecture

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// referencePage is what authors of plugins in Go read instead of following aliases from
// package to package.
const referencePage = "../../docs/sdk.md"

// TestReferencePage keeps the page of the SDK's types as the code is.
func TestReferencePage(t *testing.T) {
	t.Parallel()
	r := reference{set: token.NewFileSet(), packages: map[string]*doc.Package{}}
	for _, name := range []string{"sdk", "pluginapi", "diag", "canonical"} {
		r.read(t, name)
	}
	page := r.page(t)
	if strings.Contains(page, " = pluginapi.") || strings.Count(page, "\n### ") < 40 {
		t.Errorf("the page has bare aliases, or only %d types", strings.Count(page, "\n### "))
	}
	if *update {
		if err := os.WriteFile(referencePage, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(referencePage); err != nil || string(have) != page {
		t.Errorf("%s is not what the code says (%v): run go test ./internal/architecture -update", referencePage, err)
	}
}

// gofmt aligns with spaces, which a page shows as they are.
var gofmt = printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8}

// reference is made from the sources of packages, by their names.
type reference struct {
	set      *token.FileSet
	packages map[string]*doc.Package
}

func (r *reference) read(t *testing.T, name string) {
	t.Helper()
	paths, err := filepath.Glob("../../core/" + name + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(r.set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if r.packages[name], err = doc.NewFromFiles(r.set, files, "github.com/stetl/stetl/core/"+name); err != nil {
		t.Fatal(err)
	}
}

// page lists every type of the SDK with what it is, also where it is another package's.
func (r *reference) page(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# The types of the SDK\n\nEvery type of `core/sdk`, with its fields and methods. A test writes this page from the code. " +
		"`go doc github.com/stetl/stetl/core/sdk` has the functions. To begin, read [write a plugin](write-a-plugin.md).\n\n" +
		"Types of other packages have the names here that they have in the SDK: `Code` is `sdk.Code`.\n")
	for _, typ := range r.packages["sdk"].Types {
		spec := specOf(typ)
		text, methods, named := typ.Doc, typ.Methods, func(s string) string { return s }
		if spec != nil && spec.Assign.IsValid() {
			if at, ok := spec.Type.(*ast.SelectorExpr); ok {
				from, ok := at.X.(*ast.Ident)
				if !ok || r.packages[from.Name] == nil {
					continue
				}
				for _, meant := range r.packages[from.Name].Types {
					if meant.Name == at.Sel.Name {
						spec, text, methods = specOf(meant), meant.Doc, meant.Methods
						name := regexp.MustCompile(`\b` + meant.Name + `\b`)
						named = func(s string) string { return name.ReplaceAllString(s, typ.Name) }
					}
				}
			}
		}
		if spec == nil {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n```go\n", typ.Name, named(text))
		var code bytes.Buffer
		err := gofmt.Fprint(&code, r.set, &ast.GenDecl{Tok: token.TYPE, Specs: []ast.Spec{&ast.TypeSpec{
			Name: ast.NewIdent(typ.Name), TypeParams: spec.TypeParams, Type: spec.Type,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.NewReplacer("pluginapi.", "", "diag.", "", "canonical.", "").Replace(code.String()) + "\n")
		for _, m := range methods {
			if first := r.packages["sdk"].Synopsis(m.Doc); first != "" {
				fmt.Fprintf(&b, "\n// %s", named(first))
			}
			code.Reset()
			m.Decl.Body, m.Decl.Doc = nil, nil
			if err := gofmt.Fprint(&code, r.set, m.Decl); err != nil {
				t.Fatal(err)
			}
			b.WriteString("\n" + named(code.String()) + "\n")
		}
		b.WriteString("```\n")
	}
	return b.String()
}

func specOf(typ *doc.Type) *ast.TypeSpec {
	for _, spec := range typ.Decl.Specs {
		if s, ok := spec.(*ast.TypeSpec); ok && s.Name.Name == typ.Name {
			return s
		}
	}
	return nil
}

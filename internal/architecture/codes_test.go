package architecture

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/plugins/auth0"
	scim "github.com/stetl/stetl/plugins/generic-scim"
	sqltarget "github.com/stetl/stetl/plugins/generic-sql"
	"github.com/stetl/stetl/plugins/keycloak"
)

var update = flag.Bool("update", false, "rewrite the pages that are made from the code")

// bundled are the plugins of this repository that operators have, by folder.
var bundled = []struct {
	dir, name string
	codes     diag.Words
}{
	{"auth0", auth0.Plugin().Name, auth0.Plugin().Codes},
	{"generic-scim", scim.Plugin().Name, scim.Plugin().Codes},
	{"generic-sql", sqltarget.Plugin().Name, sqltarget.Plugin().Codes},
	{"keycloak", keycloak.Plugin().Name, keycloak.Plugin().Codes},
}

// literals are the texts in a Go file, with those that are the value of a constant of
// type Code apart.
func literals(t *testing.T, path string) (texts, codes []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				texts = append(texts, text)
			}
			return true
		}
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
			codes = append(codes, code)
		}
		return true
	})
	return texts, codes
}

// A plugin explains every code that it names, and takes those that all plugins share
// from the SDK.
func TestPluginsDeclareTheirCodes(t *testing.T) {
	t.Parallel()
	for _, p := range bundled {
		files, err := filepath.Glob("../../plugins/" + p.dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, path := range files {
			texts, codes := literals(t, path)
			for _, code := range codes {
				found++
				if !slices.ContainsFunc(p.codes, func(i diag.Info) bool { return string(i.Code) == code }) {
					t.Errorf("%s: %s is not among the plugin's Codes", path, code)
				}
			}
			for _, text := range texts {
				if _, shared := diag.Lookup(diag.Code(text)); shared && !strings.HasSuffix(path, "_test.go") {
					t.Errorf("%s: write the constant of the SDK for %q", path, text)
				}
			}
		}
		if found != len(p.codes) || found == 0 {
			t.Errorf("%s names %d codes and explains %d", p.name, found, len(p.codes))
		}
		for _, info := range p.codes {
			if err := info.CheckOwn(); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
	}
}

// Examples are copied: they show the constants too.
func TestExamplesTakeSharedCodesFromTheSDK(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		texts, _ := literals(t, path)
		for _, text := range texts {
			if _, shared := diag.Lookup(diag.Code(text)); shared {
				t.Errorf("%s: write the constant of the SDK for %q", path, text)
			}
		}
	}
}

// TestCodesPage writes docs/codes.md.
func TestCodesPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Codes

Every reason that stetl gives has a code, which scripts can rely on: it is never renamed or given another meaning. ` + "`stetl explain CODE`" + ` says
the same as this page, and with ` + "`--config`" + ` also what the codes of a plugin of your own mean. What is found in the source has
[codes of its own](findings.md). This page is written from the code: ` + "`go test ./internal/architecture -update`" + `.
`)
	section := func(title, intro string, codes []diag.Info) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| code | what it means | what to do |\n|---|---|---|\n", title, intro)
		for _, info := range codes {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", info.Code, info.Meaning, info.Remedy)
		}
	}
	section("stetl and all plugins", "Codes that begin with `load.` and `target.` come from any plugin.", diag.Codes())
	for _, p := range bundled {
		section("Plugin "+p.name, "Only this plugin has them.", slices.SortedFunc(slices.Values(p.codes), func(a, b diag.Info) int { return strings.Compare(string(a.Code), string(b.Code)) }))
	}
	isPageOfCodes(t, "codes.md", b.String())
}

// TestFindingsPage writes docs/findings.md.
func TestFindingsPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Findings in the source

What ` + "`stetl inspect`" + `, ` + "`stetl check`" + ` and a run can find in a SuperTokens database. A finding is something odd; nobody is lost because of it. Each has a count and up to ten
examples, and those about accounts also travel with the account. What makes ` + "`stetl`" + ` refuse a source is [on another page](supertokens.md#whole-or-refused).
This page is written from the code: ` + "`go test ./internal/architecture -update`" + `.

| code | what it means | what to do |
|---|---|---|
`)
	for _, info := range slices.SortedFunc(slices.Values(supertokens.Findings()), func(a, b diag.Info) int { return strings.Compare(string(a.Code), string(b.Code)) }) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", info.Code, info.Meaning, info.Remedy)
	}
	isPageOfCodes(t, "findings.md", b.String())
}

// isPageOfCodes compares a page with what the code makes of it, or writes it with -update.
// A code that was ever on it stays: -update adds codes and never takes one away.
func isPageOfCodes(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("../../docs", name)
	before, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` ").FindAllStringSubmatch(string(before), -1) {
		if !strings.Contains(text, "\n"+row[0]) {
			t.Errorf("%s was published and is gone", row[1])
		}
	}
	if t.Failed() {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(before), text); diff != "" {
		t.Errorf("run go test ./internal/architecture -update:\n%s", diff)
	}
}

// What is known of a provider is known to its plugin alone.
func TestCoreNamesNoProvider(t *testing.T) {
	t.Parallel()
	provider := regexp.MustCompile(`(?i)keycloak|auth0|scim`)
	for _, dir := range []string{"core/diag", "core/engine", "core/bridge"} {
		read := 0
		err := filepath.WalkDir("../../"+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			read++
			for n, line := range strings.Split(string(raw), "\n") {
				if word := provider.FindString(line); word != "" {
					t.Errorf("%s:%d names %s", strings.TrimPrefix(path, "../../"), n+1, word)
				}
			}
			return nil
		})
		if err != nil || read < 4 {
			t.Errorf("%s: %d files, %v", dir, read, err)
		}
	}
}

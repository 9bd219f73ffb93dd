package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stetl/stetl/"

// listed is the part of go list's answer that matters here.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkgs
		case err != nil:
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, module) {
			p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
			pkgs = append(pkgs, p)
		}
	}
}

// rule forbids packages under from to reach (deep) or import (direct) any of to.
type rule struct {
	name     string
	from     string
	deep     bool
	to       []string
	except   []string
	fromSkip []string
}

// TestImports is the one direction of data, written as rules.
func TestImports(t *testing.T) {
	t.Parallel()
	rules := []rule{
		{name: "canonical stands alone", from: "core/canonical", to: []string{module}},
		{
			name: "plugins see the author side only", from: "plugins/", to: []string{module},
			except: []string{module + "core/sdk", module + "plugins/"},
		},
		{name: "nothing imports a command", from: "", to: []string{module + "cmd/"}},
		{
			name: "the core knows no plugin", from: "core/", deep: true, to: []string{module + "plugins/"},
		},
		{
			name: "commands leave the work to core/migration", from: "cmd/", to: []string{module + "core/journal", module + "core/mapping", module + "core/policy", module + "core/signin", module + "core/internal"},
		},
		{
			name: "the engine knows neither database nor processes", from: "core/engine", deep: true,
			to: []string{"github.com/jackc/pgx", "github.com/hashicorp/go-plugin", module + "core/pluginpb", module + "core/supertokens"},
		},
		{
			name: "only source and journal speak to PostgreSQL", from: "core/", to: []string{"github.com/jackc/pgx"},
			fromSkip: []string{"core/supertokens", "core/internal/pgurl", "core/journal/postgres"},
		},
		{
			name: "only the configuration reads YAML", from: "", to: []string{"gopkg.in/yaml.v3"},
			fromSkip: []string{"core/config"},
		},
		{
			name: "shipped code has no test doubles in it", from: "cmd/", deep: true,
			to: []string{module + "internal/testserver", module + "internal/targettest", module + "core/sdk/plugintest", module + "core/journal/journaltest"},
		},
	}
	pkgs := packages(t)
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages listed: the rules would hold for nothing", len(pkgs))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			matched := false
			for _, p := range pkgs {
				if !strings.HasPrefix(p.ImportPath, r.from) || slices.ContainsFunc(r.fromSkip, func(s string) bool { return strings.HasPrefix(p.ImportPath, s) }) {
					continue
				}
				matched = true
				reached := p.Imports
				if r.deep {
					reached = p.Deps
				}
				for _, imp := range reached {
					if forbidden(imp, r) {
						t.Errorf("%s reaches %s", p.ImportPath, imp)
					}
				}
			}
			if !matched {
				t.Errorf("no package is under %q: the rule guards nothing", r.from)
			}
		})
	}
}

func forbidden(imp string, r rule) bool {
	match := func(prefix string) bool {
		return imp == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(imp, strings.TrimSuffix(prefix, "/")+"/")
	}
	if r.to != nil && slices.Contains(r.to, module) && strings.HasPrefix(imp, module) {
		return !slices.ContainsFunc(r.except, match)
	}
	return slices.ContainsFunc(r.to, match) && !slices.ContainsFunc(r.except, match)
}

// TestPage holds docs/architecture.md to the packages there are.
func TestPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, "examples") || strings.HasPrefix(p.ImportPath, "internal/testserver/") {
			continue
		}
		if !strings.Contains(string(page), "`"+p.ImportPath+"`") {
			t.Errorf("docs/architecture.md does not say what %s is", p.ImportPath)
		}
	}
	for _, name := range regexp.MustCompile("`((?:core|plugins|internal|cmd)/[a-z/-]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat("../../" + name[1]); err != nil {
			t.Errorf("docs/architecture.md names %s, which is not there", name[1])
		}
	}
}

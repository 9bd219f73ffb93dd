package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Names makes names of places from the id of a tenant: those that templates have in braces.
// They are rules as those of a mapping, which read tenant.
type Names struct {
	rules map[string]func(*view) (any, error)
}

// CompileNames checks rules. Diagnostics have paths that start at them, as those of
// [Compile].
func CompileNames(rules map[string]Rule) (*Names, diag.List) {
	n := &Names{rules: map[string]func(*view) (any, error){}}
	var found diag.List
	c := compiler{ofTenants}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		path := "/" + name
		if name == varTenant {
			found.Add(diag.Diagnostic{Code: diag.ConfigConflict, Summary: "tenant is the id of the tenant, and no name for another value", Path: path})
			continue
		}
		if value := c.rule(rules[name], path, field{name: name, kind: pluginapi.Text, set: isText}, &found); value != nil {
			n.rules[name] = value
		}
	}
	return n, found
}

func isText(_ *pluginapi.User, v any) error {
	if _, ok := v.(string); !ok {
		return errors.New("it is not text")
	}
	return nil
}

// Template is text with names in braces, compiled.
type Template struct {
	parts []string // text, name, text, …
	names *Names
}

// Template compiles a text with {tenant} and other names in braces; {{ and }} stand for
// braces. Path is what diagnostics have.
func (n *Names) Template(text, path string) (*Template, diag.List) {
	t := &Template{names: n}
	known := append(slices.Sorted(maps.Keys(n.rules)), varTenant)
	var b strings.Builder
	for rest := text; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		if i+1 < len(rest) && rest[i+1] == rest[i] {
			b.WriteByte(rest[i])
			rest = rest[i+2:]
			continue
		}
		col := len([]rune(text[:len(text)-len(rest)+i])) + 1
		end := strings.IndexByte(rest, '}')
		if rest[i] == '}' || end < 0 {
			return nil, diag.List{{Code: diag.MapBadTemplate, Summary: "a brace without a matching brace", Path: path, Pos: diag.Pos{Line: 1, Col: col}, Hint: "write {{ or }} for the brace itself"}}
		}
		name := rest[i+1 : end]
		if !slices.Contains(known, name) {
			d := diag.Diagnostic{Code: diag.MapUnknownField, Summary: fmt.Sprintf("%q is not a name that a template of a target can have", name), Path: path, Pos: diag.Pos{Line: 1, Col: col + 1}}
			d.Hint = "use one of: " + strings.Join(known, ", ") + "; write {{ or }} for the brace itself"
			if meant := diag.Suggest(name, known); meant != "" {
				d.Hint = fmt.Sprintf("did you mean %q?", meant)
			}
			return nil, diag.List{d}
		}
		t.parts = append(t.parts, b.String(), name)
		b.Reset()
		rest = rest[end+1:]
	}
	t.parts = append(t.parts, b.String())
	return t, nil
}

// Of is the text for a tenant. A name that comes to nothing is an error.
func (t *Template) Of(tenant string) (string, error) {
	var b strings.Builder
	for i, part := range t.parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		if part == varTenant {
			b.WriteString(tenant)
			continue
		}
		value, err := t.names.rules[part](&view{user: &pluginapi.User{}, tenant: tenant})
		if err != nil {
			return "", fmt.Errorf("{%s}: %w", part, err)
		}
		text, ok := value.(string)
		if !ok || text == "" {
			return "", fmt.Errorf("{%s} comes to nothing", part)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

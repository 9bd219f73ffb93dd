package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
)

//go:embed schema.json
var ownSchemaJSON []byte

var ownSchema = sync.OnceValue(func() *jsonschema.Schema {
	s, err := compile(ownSchemaJSON)
	if err != nil {
		panic("core/config/schema.json: " + err.Error())
	}
	return s
})

// closedLoader refuses every $ref that leaves the schema: a plugin's schema must
// not make this process read files or the network.
type closedLoader struct{}

// Load implements [jsonschema.URLLoader].
func (closedLoader) Load(string) (any, error) {
	return nil, errors.New("a schema may refer only to itself")
}

func compile(schema []byte) (*jsonschema.Schema, error) {
	const location = "stetl:///schema.json"
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(closedLoader{})
	c.AssertFormat()
	if err := c.AddResource(location, doc); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	s, err := c.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	return s, nil
}

// applicable returns the schemas that speak about the same value as those given:
// themselves and what they include by reference or combination. Branches are
// included whether or not they match, so a field that is a secret in one branch
// is treated as one in all.
func applicable(schemas []*jsonschema.Schema) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	var include func(...*jsonschema.Schema)
	include = func(more ...*jsonschema.Schema) {
		for _, s := range more {
			if s == nil || slices.Contains(all, s) {
				continue
			}
			all = append(all, s)
			include(s.Ref, s.RecursiveRef, s.Then, s.Else)
			if s.DynamicRef != nil {
				include(s.DynamicRef.Ref)
			}
			include(s.AllOf...)
			include(s.AnyOf...)
			include(s.OneOf...)
			for _, d := range s.DependentSchemas {
				include(d)
			}
			for _, d := range s.Dependencies {
				if d, ok := d.(*jsonschema.Schema); ok {
					include(d)
				}
			}
		}
	}
	include(schemas...)
	return all
}

// member returns the schemas for the member called name of an object.
func member(schemas []*jsonschema.Schema, name string) []*jsonschema.Schema {
	var found []*jsonschema.Schema
	for _, s := range applicable(schemas) {
		known := len(found)
		if p := s.Properties[name]; p != nil {
			found = append(found, p)
		}
		for re, p := range s.PatternProperties {
			if re.MatchString(name) {
				found = append(found, p)
			}
		}
		if p, ok := s.AdditionalProperties.(*jsonschema.Schema); ok && len(found) == known {
			found = append(found, p)
		}
		if p := s.UnevaluatedProperties; p != nil && len(found) == known {
			found = append(found, p)
		}
	}
	return found
}

// element is [member] for arrays.
func element(schemas []*jsonschema.Schema, i int) []*jsonschema.Schema {
	var found []*jsonschema.Schema
	for _, s := range applicable(schemas) {
		prefix := s.PrefixItems
		rest := s.Items2020
		switch items := s.Items.(type) {
		case *jsonschema.Schema:
			rest = items
		case []*jsonschema.Schema:
			prefix = items
			rest, _ = s.AdditionalItems.(*jsonschema.Schema)
		}
		if i < len(prefix) {
			found = append(found, prefix[i])
		} else if rest != nil {
			found = append(found, rest)
		}
	}
	return found
}

// properties returns the names that the schemas know for one object.
func properties(schemas []*jsonschema.Schema) []string {
	names := map[string]bool{}
	for _, s := range applicable(schemas) {
		for name := range s.Properties {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func isSecret(schemas []*jsonschema.Schema) bool {
	return slices.ContainsFunc(applicable(schemas), func(s *jsonschema.Schema) bool { return s.WriteOnly })
}

// judge lets schemas say about n and everything under it: what is a secret, what
// may be shown, and which type a referenced text stands for. Where they say
// nothing (unknown), literals stay hidden if they look like a secret.
func judge(n *node, schemas []*jsonschema.Schema, secret, unknown bool) {
	n.secret = secret || isSecret(schemas)
	n.declared = len(schemas) > 0
	switch n.kind {
	case object:
		for _, name := range n.names {
			child := member(schemas, name)
			strange := len(child) == 0 && (unknown || looksSecret(name) || misspelledSecret(name, schemas))
			judge(n.fields[name], child, n.secret, strange)
		}
	case array:
		for i, item := range n.items {
			judge(item, element(schemas, i), n.secret, unknown)
		}
	default:
		n.hidden = !n.whole && (n.secret || unknown || clearPassword(n.text))
		if n.whole && !n.bad {
			n.val = convert(n.expansion, schemas)
		}
	}
}

var secretName = regexp.MustCompile(`(?i)secret|passw|token|credential|(^|[_-])key$|apikey$`)

func looksSecret(name string) bool { return secretName.MatchString(name) }

func misspelledSecret(name string, schemas []*jsonschema.Schema) bool {
	meant := diag.Suggest(name, properties(schemas))
	return meant != "" && isSecret(member(schemas, meant))
}

// convert turns the text of a reference into the type the schemas want, since
// environment variables and files hold text only. Text wins where it is allowed.
func convert(s string, schemas []*jsonschema.Schema) any {
	var want []string
	for _, sch := range applicable(schemas) {
		if sch.Types != nil {
			want = append(want, sch.Types.ToStrings()...)
		}
	}
	if slices.Contains(want, "string") {
		return s
	}
	if slices.Contains(want, "integer") || slices.Contains(want, "number") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f
		}
	}
	if slices.Contains(want, "boolean") && (s == "true" || s == "false") {
		return s == "true"
	}
	return s
}

// reference is one as it stands in a text, with the quotes that keep a value of PostgreSQL's
// keyword form together.
var reference = regexp.MustCompile(`'\$\{[^}]*\}'|\$\{[^}]*\}`)

// clearPassword reports whether a connection string has a password in it that
// does not come from a reference. It knows both forms PostgreSQL takes and errs
// on the safe side where the text is not quite a URL.
func clearPassword(text string) bool {
	text = reference.ReplaceAllString(text, "")
	if keywordPassword.MatchString(text) {
		return true
	}
	_, rest, ok := strings.Cut(text, "://")
	if !ok {
		return false
	}
	u, err := url.Parse("any://" + rest) // whatever is before it, such as jdbc:postgresql
	if err != nil {
		return strings.Contains(rest, "@")
	}
	if password, _ := u.User.Password(); password != "" {
		return true
	}
	// An unescaped / # or ? ends the host early and leaves the @ behind it. As
	// the value of a parameter it is innocent.
	authority := strings.IndexAny(rest+"/", "/?#")
	for parameter := range strings.SplitSeq(rest[authority:], "&") {
		if key, _, _ := strings.Cut(parameter, "="); strings.Contains(key, "@") {
			return true
		}
	}
	return false
}

// shown is the value of n for people. A literal that no schema speaks about is shown when
// it is harmless by its name, a reference only where references are and the schema
// declares it. One in a field that is called like a secret stays masked all the same, as
// authors of plugins forget to mark one.
func (n *node) shown(references bool) any {
	switch {
	case n.val == nil:
		return nil
	case n.secret, !n.declared && n.hidden:
		return canonical.Redacted
	case len(n.refs) > 0 && (!references || !n.declared || slices.ContainsFunc(n.path, looksSecret)):
		return canonical.Redacted
	}
	if text, ok := n.val.(string); ok {
		return withoutPassword(text)
	}
	return n.val
}

// withoutPassword leaves out of an address who signs in, and its parameters, which can be
// a password as well. What has a password elsewhere, or looks like an address whose
// password was not escaped, is masked as a whole.
func withoutPassword(text string) string {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		end := strings.IndexAny(rest+"/", "/?#")
		u, err := url.Parse("any://" + rest)
		switch {
		case strings.Contains(rest[end:], "@"):
			return canonical.Redacted
		case err == nil && (u.User != nil || u.RawQuery != "" || u.Fragment != ""):
			text = scheme + "://" + u.Host + u.EscapedPath()
		}
	}
	if clearPassword(text) {
		return canonical.Redacted
	}
	return text
}

var keywordPassword = regexp.MustCompile(`(?i)(?:^|[\s?&;"'])(?:ssl[ _]?)?(?:password|pass|pwd|psw)\s*=\s*[^\s&;]`)

// checkSecrets reports secrets under n that stand in the file as clear text, and
// those that are empty. allowed exempts a literal.
func (f *file) checkSecrets(n *node, allowed func(*node) bool) {
	n.walk(func(n *node) {
		if n.kind != scalar || !n.secret || n.bad || n.val == nil {
			return
		}
		d := diag.Diagnostic{Path: diag.Pointer(n.path...)}
		switch {
		case n.val == "" && len(n.refs) == 0:
			d.Code, d.Summary = diag.ConfigMissingField, human(n.path)+" is empty"
		case n.val == "":
			d.Code = diag.ConfigEmptyReference
			d.Summary = fmt.Sprintf("%s is empty: there is no value in %s", human(n.path), strings.Join(n.refs, ""))
		case allowed(n):
			return
		default:
			d.Code = diag.ConfigSecretLiteral
			d.Summary = human(n.path) + " is a secret and must not be here in clear text"
			d.Hint = "refer to it: ${env:NAME} or ${file:PATH}"
		}
		n.bad = true
		f.add(d, n.at)
	})
}

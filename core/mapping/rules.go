package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// Spec is the operator's part of the mapping, as the configuration has it.
type Spec struct {
	// Filter is a CEL expression; accounts for which it is false are left out.
	Filter string `json:"filter,omitempty"`
	// Set gives fields of the target another value than the usual one. Every rule
	// reads the account as it is without rules, so that their order means nothing.
	Set   map[string]Rule `json:"set,omitempty"`
	Tests []Example       `json:"tests,omitempty"`
}

// Rule says where a value comes from. Exactly one of Copy, Constant, Template,
// Lookup and CEL is given, or only Default.
type Rule struct {
	// Copy takes the value of another field.
	Copy string `json:"copy,omitempty"`
	// Constant is the value; null removes the field.
	Constant json.RawMessage `json:"constant,omitempty"`
	// Template is text with fields in braces: "{given_name} {family_name}".
	Template string `json:"template,omitempty"`
	// Lookup is the field whose value is looked up in Table.
	Lookup string                     `json:"lookup,omitempty"`
	Table  map[string]json.RawMessage `json:"table,omitempty"`
	// CEL is an expression.
	CEL string `json:"cel,omitempty"`
	// Default is used where the rest yields nothing; alone, where the account has
	// nothing.
	Default json.RawMessage `json:"default,omitempty"`
}

// Rules are compiled. Nil and the zero value are the usual mapping. They are safe
// for concurrent use.
type Rules struct {
	filter   *expression
	sets     []setting
	named    bool // a rule sets the user name
	proven   bool // a rule says whether the e-mail address is verified
	policies policy.Policies
	target   string // see For
}

// setting is one compiled rule.
type setting struct {
	name  string
	field field
	value func(*view) (any, error)
}

// Exclusion says why an account is not sent to the target.
type Exclusion struct {
	Action pluginapi.Action
	Code   diag.Code
	Detail string
}

// errNoEntry is a value that a table does not have.
var errNoEntry = errors.New("the table has no entry for the value, and there is no default")

// Compile checks a specification. Diagnostics have paths that start at the
// specification; where one is inside an expression, Pos holds line and column
// within that text.
func Compile(spec Spec, policies policy.Policies) (*Rules, diag.List) {
	return compile(spec, policies, ofAccounts)
}

// CompileForTargets is [Compile] where there are several targets: rules can read target, the
// name of the one that they are used for, see [Rules.For].
func CompileForTargets(spec Spec, policies policy.Policies) (*Rules, diag.List) {
	return compile(spec, policies, ofTargets)
}

// For are the rules for the target of a name.
func (r *Rules) For(target string) *Rules {
	if r == nil {
		return nil
	}
	own := *r
	own.target = target
	return &own
}

func compile(spec Spec, policies policy.Policies, words *vocabulary) (*Rules, diag.List) {
	r := &Rules{policies: policies}
	var found diag.List
	c := compiler{words}
	if spec.Filter != "" {
		r.filter = c.expression(spec.Filter, "/filter", pluginapi.Flag, &found)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Set)) {
		path := "/set/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		f, ok := fieldOf(name)
		if !ok {
			d := diag.Diagnostic{Code: diag.MapUnknownField, Summary: fmt.Sprintf("%q is not a field of the target that a rule can set", name), Path: path}
			if meant := diag.Suggest(name, settable()); meant != "" {
				d.Hint = fmt.Sprintf("did you mean %q?", meant)
			} else {
				d.Hint = "use one of: " + strings.Join(settable(), ", ")
			}
			found.Add(d)
			continue
		}
		value := c.rule(spec.Set[name], path, f, &found)
		if value == nil {
			continue
		}
		r.named = r.named || name == "username"
		r.proven = r.proven || name == "email_verified"
		r.sets = append(r.sets, setting{name, f, value})
	}
	return r, found
}

// Map returns the user the target should hold and what of the account it will not.
// With an Exclusion, the account is kept out of the target for the reason it gives.
func (r *Rules) Map(u *canonical.User, caps pluginapi.Capabilities) (pluginapi.User, []Loss, *Exclusion) {
	var out pluginapi.User
	lost, excluded := r.Into(&out, u, &caps)
	if excluded == nil {
		lost = Withhold(&out, caps.Withheld(), lost)
	}
	return out, lost, excluded
}

// Into is [Rules.Map] before [Withhold], for those who map one account after another
// into the same place, as users are large, or have something to decide in between.
func (r *Rules) Into(out *pluginapi.User, u *canonical.User, caps *pluginapi.Capabilities) (all []Loss, excluded *Exclusion) {
	lost := usual(out, u, caps)
	if r != nil {
		if excluded = r.apply(u, out); excluded != nil {
			return lost, excluded
		}
		excluded = r.decide(u, out, caps, &lost)
	}
	return lost, excluded
}

func (r *Rules) apply(u *canonical.User, out *pluginapi.User) *Exclusion {
	if r.filter == nil && len(r.sets) == 0 {
		return nil
	}
	before, after := *out, *out // rules get no hold of out, which may be on a stack
	defer func() { *out = after }()
	v := &view{account: u, user: &before, target: r.target}
	if r.filter != nil {
		passes, err := r.filter.eval(v)
		if err != nil {
			return failed("filter", err)
		}
		if passes != true {
			return &Exclusion{pluginapi.Skipped, diag.MapFiltered, "mapping.filter is false for it"}
		}
	}
	for _, s := range r.sets {
		value, err := s.value(v)
		if err == nil {
			err = s.field.set(&after, value)
		}
		if err != nil {
			return failed("set."+s.name, err)
		}
	}
	if !r.proven && !strings.EqualFold(after.Email, before.Email) {
		// Nobody has proven that the person has this address.
		after.EmailVerified = nil
		if after.Email != "" {
			after.EmailVerified = new(false)
		}
	}
	if !r.named {
		after.Username = username(&after)
	}
	return nil
}

func failed(rule string, err error) *Exclusion {
	code := diag.MapFailed
	if errors.Is(err, errNoEntry) {
		code = diag.MapNoEntry
	}
	return &Exclusion{pluginapi.Rejected, code, "mapping." + rule + ": " + err.Error()}
}

// decide applies the policies about single accounts.
func (r *Rules) decide(u *canonical.User, out *pluginapi.User, caps *pluginapi.Capabilities, lost *losses) *Exclusion {
	if e := elsewhere(u); e != nil {
		return e
	}
	if p := r.policies.Password; out.Class == pluginapi.NeedsReset && (p == policy.Reject || p == policy.Skip) {
		return &Exclusion{action(p), diag.MapHashUnsupported, "the target cannot verify the hash of its password, and policies.password does not allow a reset"}
	}
	if caps.MaxIDLength > 0 && len(out.ID) > caps.MaxIDLength && r.policies.LongID != policy.Default {
		if r.policies.LongID != policy.Internal || len(u.InternalID) > caps.MaxIDLength {
			return &Exclusion{action(r.policies.LongID), diag.LoadIDTooLong, fmt.Sprintf("the id has %d characters, the target takes %d", len(out.ID), caps.MaxIDLength)}
		}
		if out.Username == out.ID {
			out.Username = u.InternalID
		}
		out.ID = u.InternalID
		lost.add(LossExternalID)
	}
	return nil
}

// Elsewhere marks an account that policies.several_tenants keeps out of a target: with an
// empty name out of all of them, and else because it is loaded into the target of that name.
func Elsewhere(target string) canonical.Warning {
	return canonical.Warning{Code: string(diag.MapSeveralTenants), Detail: target}
}

// markHome is the code of a mark that is for rules alone.
const markHome = "targets.home"

// Home marks an account that several targets get: the first of them is its home, as rules can
// read it.
func Home(target string) canonical.Warning {
	return canonical.Warning{Code: markHome, Detail: target}
}

// home is the first target that gets the account.
func (v *view) home() string {
	for _, w := range v.account.Warnings {
		if w.Code == markHome {
			return w.Detail
		}
	}
	return v.target
}

// elsewhere excludes an account with such a mark.
func elsewhere(u *canonical.User) *Exclusion {
	for _, w := range u.Warnings {
		switch {
		case w.Code != string(diag.MapSeveralTenants):
		case w.Detail == "":
			return &Exclusion{pluginapi.Rejected, diag.MapSeveralTenants, "it is in tenants of several targets, and policies.several_tenants is reject"}
		default:
			return &Exclusion{pluginapi.Skipped, diag.MapSeveralTenants, "it is in tenants of several targets, and is loaded into " + w.Detail + " only (policies.several_tenants: first)"}
		}
	}
	return nil
}

func action(p policy.Choice) pluginapi.Action {
	if p == policy.Skip {
		return pluginapi.Skipped
	}
	return pluginapi.Rejected
}

// rule compiles one rule; nil when it has errors.
func (c *compiler) rule(rule Rule, path string, f field, found *diag.List) func(*view) (any, error) {
	bad := func(code diag.Code, at, format string, args ...any) {
		found.Add(diag.Diagnostic{Code: code, Summary: fmt.Sprintf(format, args...), Path: path + at})
	}
	before := len(*found)
	given := 0
	var get func(*view) (any, error)
	if rule.Copy != "" {
		given++
		get = c.path(rule.Copy, path+"/copy", found)
	}
	if rule.Constant != nil {
		given++
		value := c.literal(rule.Constant, path+"/constant", f, found)
		get = func(*view) (any, error) { return value, nil }
	}
	if rule.Template != "" {
		given++
		get = c.template(rule.Template, path+"/template", found)
	}
	if rule.Lookup != "" {
		given++
		get = c.lookup(rule, path, f, found)
	} else if rule.Table != nil {
		bad(diag.ConfigMissingField, "/table", "a table needs lookup: the field whose value is looked up in it")
	}
	if rule.CEL != "" {
		given++
		if e := c.expression(rule.CEL, path+"/cel", f.kind, found); e != nil {
			get = e.eval
		}
	}
	switch {
	case given > 1:
		bad(diag.ConfigConflict, "", "a rule may have only one of copy, constant, template, lookup and cel")
	case given == 0 && rule.Default == nil:
		bad(diag.ConfigMissingField, "", "a rule needs one of copy, constant, template, lookup, cel and default")
	case given == 0:
		get = func(v *view) (any, error) { return v.path(strings.Split(f.name, ".")), nil }
	}
	if rule.Default != nil {
		value, first := c.literal(rule.Default, path+"/default", f, found), get
		get = func(v *view) (any, error) {
			got, err := first(v)
			if errors.Is(err, errNoEntry) || err == nil && empty(got) {
				return value, nil
			}
			return got, err
		}
	}
	if len(*found) > before {
		return nil
	}
	return get
}

func empty(v any) bool { return v == nil || v == "" }

// literal decodes a value of the configuration and tries it on.
func (c *compiler) literal(raw json.RawMessage, path string, f field, found *diag.List) any {
	value, err := decode(raw)
	if err == nil {
		err = f.set(&pluginapi.User{}, value)
	}
	if err != nil {
		found.Add(diag.Diagnostic{Code: diag.ConfigWrongType, Summary: fmt.Sprintf("%s cannot be this value: %v", f.name, err), Path: path})
	}
	return value
}

func (c *compiler) lookup(rule Rule, path string, f field, found *diag.List) func(*view) (any, error) {
	get := c.path(rule.Lookup, path+"/lookup", found)
	if len(rule.Table) == 0 {
		found.Add(diag.Diagnostic{Code: diag.ConfigMissingField, Summary: "lookup needs a table", Path: path})
	}
	table := make(map[string]any, len(rule.Table))
	for key, raw := range rule.Table {
		table[key] = c.literal(raw, path+"/table/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key), f, found)
	}
	return func(v *view) (any, error) {
		got, err := get(v)
		if err != nil || empty(got) {
			return nil, err
		}
		text, err := textOf(got)
		if err != nil {
			return nil, err
		}
		value, ok := table[text]
		if !ok {
			return nil, errNoEntry
		}
		return value, nil
	}
}

// template compiles text with fields in braces; {{ and }} stand for braces.
func (c *compiler) template(text, path string, found *diag.List) func(*view) (any, error) {
	var parts []func(*view) (string, error)
	constant := func(s string) {
		parts = append(parts, func(*view) (string, error) { return s, nil })
	}
	col := 1
	for rest := text; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			constant(rest)
			break
		}
		if i+1 < len(rest) && rest[i+1] == rest[i] {
			constant(rest[:i+1])
			rest, col = rest[i+2:], col+len([]rune(rest[:i+2]))
			continue
		}
		end := strings.IndexByte(rest, '}')
		if rest[i] == '}' || end < 0 {
			found.Add(diag.Diagnostic{
				Code: diag.MapBadTemplate, Summary: "a brace without a matching brace", Path: path, Pos: diag.Pos{Line: 1, Col: col + len([]rune(rest[:i]))},
				Hint: "write {{ or }} for the brace itself",
			})
			return nil
		}
		constant(rest[:i])
		at := col + len([]rune(rest[:i])) + 1
		get := c.pathAt(rest[i+1:end], path, diag.Pos{Line: 1, Col: at}, found)
		parts = append(parts, func(v *view) (string, error) {
			value, err := get(v)
			if err != nil || value == nil {
				return "", err
			}
			return textOf(value)
		})
		rest, col = rest[end+1:], col+len([]rune(rest[:end+1]))
	}
	return func(v *view) (any, error) {
		var b strings.Builder
		for _, part := range parts {
			s, err := part(v)
			if err != nil {
				return nil, err
			}
			b.WriteString(s)
		}
		return strings.TrimSpace(b.String()), nil
	}
}

// path compiles the name of a field to read.
func (c *compiler) path(name, path string, found *diag.List) func(*view) (any, error) {
	return c.pathAt(name, path, diag.Pos{}, found)
}

func (c *compiler) pathAt(name, path string, pos diag.Pos, found *diag.List) func(*view) (any, error) {
	parts := strings.Split(name, ".")
	known := slices.Contains(c.names, parts[0])
	if !known || len(parts) > 1 && parts[0] != "metadata" && parts[0] != "roles" || slices.Contains(parts, "") {
		d := diag.Diagnostic{Code: diag.MapUnknownField, Summary: fmt.Sprintf("%q is not a field of %s", name, c.of), Path: path, Pos: pos}
		if meant := diag.Suggest(name, c.names); meant != "" {
			d.Hint = fmt.Sprintf("did you mean %q?", meant)
		} else {
			d.Hint = "use one of: " + strings.Join(c.names, ", ") + "; metadata.KEY and roles.TENANT reach inside"
		}
		if !slices.Contains(c.names, "metadata") {
			d.Hint = "use " + strings.Join(c.names, " or ")
		}
		found.Add(d)
	}
	return func(v *view) (any, error) { return v.path(parts), nil }
}

// decode reads JSON without turning whole numbers into floating point.
func decode(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errors.New("it is not JSON")
	}
	return plain(v), nil
}

// plain turns the numbers of a decoded value into those of Go.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil { // out of range: the text says it better
			return v.String()
		}
		return f
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

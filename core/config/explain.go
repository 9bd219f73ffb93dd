package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/stetl/stetl/core/diag"
)

// validation checks one part of the file against one schema and says what is
// wrong in our own words: the library's messages quote values, and a value may
// have come through a reference.
type validation struct {
	*file
	root   *node
	schema *jsonschema.Schema
}

// finding is one problem and its place; it is comparable.
type finding struct {
	diag.Diagnostic
	at place
}

// run validates value, the decoded form of v.root.
func (v validation) run(value any) {
	verr, ok := errors.AsType[*jsonschema.ValidationError](v.schema.Validate(value))
	if !ok {
		return
	}
	for _, f := range v.explain(verr) {
		v.add(f.Diagnostic, f.at)
	}
}

func (v validation) explain(e *jsonschema.ValidationError) []finding {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return v.choose(e)
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			return v.choose(e)
		}
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		var all []finding
		for _, cause := range e.Causes {
			all = append(all, v.explain(cause)...)
		}
		return all
	}
	return v.leaf(e)
}

// choose explains alternatives of which none matched. People meant one of them:
// the one whose discriminator (the type, a constant member) fits. If
// none stands out it says what all agree on, and at last lists the forms.
func (v validation) choose(e *jsonschema.ValidationError) []finding {
	n := v.root.nearest(e.InstanceLocation)
	reported := false
	n.walk(func(n *node) { reported = reported || n.bad })
	if reported {
		return nil
	}

	var fitting, misfits []*jsonschema.ValidationError
	for _, branch := range e.Causes {
		if wrong := misfit(branch, len(e.InstanceLocation)); wrong != nil {
			misfits = append(misfits, wrong)
		} else {
			fitting = append(fitting, branch)
		}
	}
	if len(fitting) == 1 {
		return v.explain(fitting[0])
	}
	if merged := merge(misfits); merged != nil && len(fitting) == 0 {
		return v.leaf(merged)
	}
	if len(fitting) == 0 {
		fitting = e.Causes
	}
	var common []finding
	var forms []string
	for i, branch := range fitting {
		found := v.explain(branch)
		if i == 0 {
			common = found
		}
		common = slices.DeleteFunc(common, func(f finding) bool { return !slices.Contains(found, f) })
		if len(found) > 0 {
			forms = append(forms, fmt.Sprintf("form %d: %s", i+1, found[0].Summary))
		}
	}
	if len(common) > 0 {
		return common
	}
	return []finding{{diag.Diagnostic{
		Code:    diag.ConfigInvalidValue,
		Summary: human(n.path) + " has none of the allowed forms",
		Detail:  strings.Join(forms, "\n"),
		Path:    diag.Pointer(n.path...),
	}, n.anchor()}}
}

// misfit returns the error that shows that a branch was not the one meant: the
// value itself (at depth) has a wrong type or is none of the enumerated, or a
// member has a wrong constant.
func misfit(e *jsonschema.ValidationError, depth int) *jsonschema.ValidationError {
	below := len(e.InstanceLocation) - depth
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		if below == 0 {
			return e
		}
	case *kind.Const:
		if below <= 1 {
			return e
		}
	case *kind.Enum:
		if below == 0 || below == 1 && len(k.Want) == 1 {
			return e
		}
	case *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			if wrong := misfit(cause, depth); wrong != nil {
				return wrong
			}
		}
	}
	return nil
}

// merge joins misfits at one location into one error that wants all they want,
// or returns nil when they are not alike.
func merge(misfits []*jsonschema.ValidationError) *jsonschema.ValidationError {
	if len(misfits) == 0 {
		return nil
	}
	var types []string
	var values []any
	for _, e := range misfits {
		if !slices.Equal(e.InstanceLocation, misfits[0].InstanceLocation) {
			return nil
		}
		switch k := e.ErrorKind.(type) {
		case *kind.Type:
			types = append(types, k.Want...)
		case *kind.Const:
			values = append(values, k.Want)
		case *kind.Enum:
			values = append(values, k.Want...)
		}
	}
	merged := *misfits[0]
	switch {
	case len(values) == 0:
		slices.Sort(types)
		merged.ErrorKind = &kind.Type{Want: slices.Compact(types)}
	case len(types) == 0:
		merged.ErrorKind = &kind.Enum{Want: values}
	default:
		return nil
	}
	return &merged
}

// leaf explains one broken rule.
func (v validation) leaf(e *jsonschema.ValidationError) []finding {
	n := v.root.nearest(e.InstanceLocation)
	if n.bad {
		return nil
	}
	name := human(n.path)
	one := func(code diag.Code, format string, args ...any) []finding {
		d := diag.Diagnostic{Code: code, Summary: fmt.Sprintf(format, args...), Path: diag.Pointer(n.path...)}
		if len(n.refs) > 0 {
			d.Detail = "the value comes from " + strings.Join(n.refs, " and ")
		}
		return []finding{{d, n.anchor()}}
	}
	invalid := func(format string, args ...any) []finding {
		return one(diag.ConfigInvalidValue, "%s %s", name, fmt.Sprintf(format, args...))
	}

	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return v.missing(n, k.Missing, "")
	case *kind.Dependency:
		return v.missing(n, k.Missing, k.Prop)
	case *kind.DependentRequired:
		return v.missing(n, k.Missing, k.Prop)
	case *kind.AdditionalProperties:
		var all []finding
		for _, p := range k.Properties {
			all = append(all, v.unknown(n, p))
		}
		return all
	case *kind.FalseSchema, *kind.Not:
		return v.forbidden(e, n)
	case *kind.PropertyNames:
		f := v.unknown(n, k.Property)
		f.Code, f.Summary = diag.ConfigInvalidValue, fmt.Sprintf("%q is not a possible name in %s", k.Property, name)
		return []finding{f}
	case *kind.Type:
		found := one(diag.ConfigWrongType, "%s must be %s, not %s", name, typeNames(k.Want), n.typeName())
		if _, text := n.val.(string); !text && n.kind == scalar && n.val != nil && slices.Contains(k.Want, "string") {
			found[0].Hint = "write it in quotes"
		}
		return found
	case *kind.Enum:
		return v.choice(n, k.Want)
	case *kind.Const:
		return v.choice(n, []any{k.Want})
	case *kind.MinLength:
		if k.Want == 1 {
			return one(diag.ConfigMissingField, "%s is empty", name)
		}
		return invalid("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return invalid("must have at most %d characters", k.Want)
	case *kind.Pattern:
		return invalid("does not match the pattern %s", k.Want)
	case *kind.Format:
		return invalid("is not a valid %s", k.Want)
	case *kind.Minimum:
		return invalid("must be at least %s", number(k.Want))
	case *kind.Maximum:
		return invalid("must be at most %s", number(k.Want))
	case *kind.ExclusiveMinimum:
		return invalid("must be more than %s", number(k.Want))
	case *kind.ExclusiveMaximum:
		return invalid("must be less than %s", number(k.Want))
	case *kind.MultipleOf:
		return invalid("must be a multiple of %s", number(k.Want))
	case *kind.MinItems:
		return invalid("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return invalid("must have at most %d items", k.Want)
	case *kind.UniqueItems:
		return invalid("holds the same item twice, at [%d] and [%d]", k.Duplicates[0], k.Duplicates[1])
	case *kind.MinProperties:
		return invalid("must have at least %d fields", k.Want)
	case *kind.MaxProperties:
		return invalid("must have at most %d fields", k.Want)
	case *kind.OneOf:
		return invalid("has more than one of the allowed forms; exactly one is needed")
	default:
		return invalid("breaks the rule %q of its schema", strings.Join(k.KeywordPath(), "/"))
	}
}

func (v validation) missing(n *node, names []string, because string) []finding {
	var all []finding
	for _, name := range names {
		d := diag.Diagnostic{
			Code:    diag.ConfigMissingField,
			Summary: fmt.Sprintf("%s needs %q", human(n.path), name),
			Path:    diag.Pointer(append(slices.Clip(n.path), name)...),
		}
		if because != "" {
			d.Summary += fmt.Sprintf(" when %q is given", because)
		}
		at := n.anchor()
		if empty := n.fields[name]; empty != nil {
			d.Summary, at = human(empty.path)+" is empty", empty.key
		}
		all = append(all, finding{d, at})
	}
	return all
}

func (v validation) unknown(n *node, name string) finding {
	d := diag.Diagnostic{
		Code:    diag.ConfigUnknownField,
		Summary: fmt.Sprintf("%q is not a field of %s", name, human(n.path)),
		Path:    diag.Pointer(append(slices.Clip(n.path), name)...),
	}
	free := slices.DeleteFunc(v.known(n), func(k string) bool { return n.fields[k] != nil })
	if meant := diag.Suggest(name, free); meant != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", meant)
	} else if len(free) > 0 {
		d.Detail = "available: " + strings.Join(free, ", ")
	}
	return finding{d, n.fields[name].key}
}

// forbidden explains a value where a schema allows none: an unknown field under
// unevaluatedProperties, or a known one that other settings rule out.
func (v validation) forbidden(e *jsonschema.ValidationError, n *node) []finding {
	last := len(n.path) - 1
	if n == v.root || n.key == (place{}) {
		return []finding{{diag.Diagnostic{
			Code:    diag.ConfigConflict,
			Summary: human(n.path) + " is not allowed in this combination",
			Path:    diag.Pointer(n.path...),
		}, n.anchor()}}
	}
	name, parent := n.path[last], v.root.nearest(n.path[len(v.root.path):last])
	known := slices.Contains(v.known(parent), name)
	switch catchAll := strings.HasSuffix(e.SchemaURL, "/unevaluatedProperties") || strings.HasSuffix(e.SchemaURL, "/additionalProperties"); {
	case catchAll && known:
		return nil // the keyword that knows the field failed, and says why itself
	case catchAll:
		return []finding{v.unknown(parent, name)}
	}
	return []finding{{diag.Diagnostic{
		Code:    diag.ConfigConflict,
		Summary: human(n.path) + " is not allowed together with the other settings",
		Path:    diag.Pointer(n.path...),
	}, n.key}}
}

// choice explains a value outside an enumeration.
func (v validation) choice(n *node, want []any) []finding {
	d := diag.Diagnostic{
		Code:    diag.ConfigInvalidValue,
		Summary: human(n.path) + " has a value that is not allowed",
		Path:    diag.Pointer(n.path...),
	}
	var texts, allowed []string
	for _, w := range want {
		if s, ok := w.(string); ok {
			texts = append(texts, s)
		}
		b, _ := json.Marshal(w) // decoded from JSON: cannot fail
		if !slices.Contains(allowed, string(b)) {
			allowed = append(allowed, string(b))
		}
	}
	d.Detail = "allowed: " + strings.Join(allowed, ", ")
	if len(n.refs) > 0 {
		d.Detail += "\nthe value comes from " + strings.Join(n.refs, " and ")
	} else if n.kind == scalar && !n.hidden {
		d.Summary = fmt.Sprintf("%q is not allowed for %s", n.text, human(n.path))
		if meant := diag.Suggest(n.text, texts); meant != "" {
			d.Hint = fmt.Sprintf("did you mean %q?", meant)
		}
	}
	return []finding{{d, n.anchor()}}
}

// known returns the field names the schema has for the object n.
func (v validation) known(n *node) []string {
	schemas := []*jsonschema.Schema{v.schema}
	at := v.root
	for _, t := range n.path[len(v.root.path):] {
		if i, err := strconv.Atoi(t); err == nil && at.kind == array {
			schemas = element(schemas, i)
		} else {
			schemas = member(schemas, t)
		}
		at = at.nearest([]string{t})
	}
	return properties(schemas)
}

var typeWords = map[string]string{
	"string": "a string", "integer": "an integer", "number": "a number", "boolean": "a boolean",
	"array": "a list", "object": "a mapping", "null": "empty",
}

func typeNames(types []string) string {
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = typeWords[t]
	}
	return strings.Join(words, " or ")
}

func (n *node) typeName() string {
	if n.kind == object {
		return typeWords["object"]
	}
	if n.kind == array {
		return typeWords["array"]
	}
	switch n.val.(type) {
	case nil:
		return typeWords["null"]
	case bool:
		return typeWords["boolean"]
	case string:
		return typeWords["string"]
	default:
		return typeWords["number"]
	}
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	infer "github.com/google/jsonschema-go/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Duration is a time.Duration that configurations write like 1m30s.
type Duration struct{ time.Duration }

// UnmarshalText reads the notation of [time.ParseDuration].
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// Types with a rendering of their own in a schema.
var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[Duration]()
)

// configType is the struct a plugin is configured with.
type configType struct {
	schema []byte // what Describe shows
	// inferred and compiled are two views of schema: one of them knows the
	// properties, the other one finds every mistake instead of the first.
	inferred *infer.Schema
	compiled *validate.Schema
}

func newConfigType(t reflect.Type) (*configType, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("configuration type %s is not a struct", t)
	}
	s, err := infer.ForType(t, &infer.ForOptions{TypeSchemas: map[reflect.Type]*infer.Schema{
		secretType:   {Type: "string", WriteOnly: true},
		durationType: {Type: "string", Pattern: durationPattern},
	}})
	if err != nil {
		return nil, fmt.Errorf("infer configuration schema: %w", err)
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	if err := decorate(t, s, true); err != nil {
		return nil, fmt.Errorf("configuration type %s: %w", t, err)
	}
	c := &configType{inferred: s}
	if c.schema, err = json.Marshal(s); err != nil {
		return nil, fmt.Errorf("encode configuration schema: %w", err)
	}
	if c.compiled, err = compile(c.schema); err != nil {
		return nil, fmt.Errorf("configuration schema: %w", err)
	}
	return c, nil
}

func compile(schema []byte) (*validate.Schema, error) {
	doc, err := validate.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	c := validate.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("config.json")
}

// decorate adds to an inferred schema what the inference does not know: our
// tags, and that an empty required text is a missing one. direct says that the
// type is reached through struct fields alone, where defaults can be set.
func decorate(t reflect.Type, s *infer.Schema, direct bool) error {
	switch {
	case t == secretType || t == durationType:
		return nil
	case t == reflect.TypeFor[time.Duration]():
		return errors.New("use sdk.Duration for durations: encoding/json reads time.Duration as nanoseconds")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return decorate(t.Elem(), s, false)
	case reflect.Slice, reflect.Array:
		if len(s.Types) == 2 { // [null array]: an empty list is written as such
			s.Type, s.Types = "array", nil
		}
		return decorate(t.Elem(), s.Items, false)
	case reflect.Map:
		return decorate(t.Elem(), s.AdditionalProperties, false)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if f.Anonymous && f.Type.Kind() == reflect.Pointer {
				return fmt.Errorf("field %s: embed the struct itself, not a pointer", f.Name)
			}
		}
		for _, f := range fields(t) {
			if err := decorateField(f, s, direct); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	default:
	}
	return nil
}

func decorateField(f reflect.StructField, parent *infer.Schema, direct bool) error {
	name := jsonName(f)
	s := parent.Properties[name]
	if s == nil {
		return nil // not part of the JSON
	}
	if values, ok := f.Tag.Lookup("enum"); ok {
		if s.Type != "string" || s.WriteOnly {
			return errors.New("an enum tag needs a text")
		}
		for v := range strings.SplitSeq(values, ",") {
			s.Enum = append(s.Enum, v)
		}
	}
	if _, ok := f.Tag.Lookup("default"); ok {
		value, err := defaultOf(f)
		switch {
		case err != nil:
			return err
		case !direct:
			return errors.New("a default cannot be set below a pointer, list or map")
		case s.WriteOnly:
			return errors.New("a secret cannot have a default")
		case len(s.Enum) > 0 && !slices.Contains(s.Enum, any(f.Tag.Get("default"))):
			return fmt.Errorf("default %q is not among %s", f.Tag.Get("default"), f.Tag.Get("enum"))
		}
		s.Default = value
		parent.Required = slices.DeleteFunc(parent.Required, func(r string) bool { return r == name })
	}
	if s.Type == "string" && len(s.Enum) == 0 && slices.Contains(parent.Required, name) {
		s.MinLength = new(1)
	}
	s.Title = f.Tag.Get("title")
	if tag, ok := f.Tag.Lookup("example"); ok {
		example, err := jsonOf(f, tag)
		switch {
		case err != nil:
			return fmt.Errorf("example %w", err)
		case s.WriteOnly:
			return errors.New("a secret cannot have an example")
		}
		s.Examples = []any{example}
	}
	return decorate(f.Type, s, direct)
}

// defaultOf returns the default tag as JSON. It must be a value of the field.
func defaultOf(f reflect.StructField) (json.RawMessage, error) {
	raw, err := jsonOf(f, f.Tag.Get("default"))
	if err != nil {
		return nil, fmt.Errorf("default %w", err)
	}
	return raw, nil
}

// jsonOf returns the value of a tag as JSON. It must be one that the field can have.
func jsonOf(f reflect.StructField, tag string) (json.RawMessage, error) {
	raw := json.RawMessage(tag)
	if f.Type.Kind() == reflect.String || f.Type == durationType {
		raw, _ = json.Marshal(tag)
	}
	if err := json.Unmarshal(raw, reflect.New(f.Type).Interface()); err != nil {
		return nil, fmt.Errorf("%q: %w", tag, err)
	}
	return raw, nil
}

// proposal lists the fields that a configuration can have, in the order of the struct,
// with those of nested structs in the place of these.
func (c *configType) proposal() []pluginapi.ConfigField { return proposed(c.inferred, "", true) }

// proposed is for the fields under prefix, which is required itself or not.
func proposed(s *infer.Schema, prefix string, required bool) []pluginapi.ConfigField {
	var out []pluginapi.ConfigField
	for _, name := range s.PropertyOrder {
		p, needed := s.Properties[name], required && slices.Contains(s.Required, name)
		if len(p.Properties) > 0 {
			out = append(out, proposed(p, prefix+name+".", needed)...)
			continue
		}
		f := pluginapi.ConfigField{
			Key: prefix + name, Title: p.Title, Description: p.Description, Default: p.Default,
			Required: needed, Secret: p.WriteOnly,
		}
		if len(p.Examples) > 0 {
			f.Example, _ = p.Examples[0].(json.RawMessage)
		}
		out = append(out, f)
	}
	return out
}

// decode validates raw and decodes it into a new value of the type, defaults
// filled in. The list holds every problem found.
func (c *configType) decode(raw []byte, into any) diag.List {
	doc, err := validate.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return diag.List{{Code: diag.ConfigSyntax, Summary: "the configuration is not JSON: " + err.Error()}}
	}
	var list diag.List
	if err := c.compiled.Validate(doc); err != nil {
		var invalid *validate.ValidationError
		if !errors.As(err, &invalid) {
			return diag.List{{Code: diag.ConfigInvalidValue, Summary: err.Error()}}
		}
		c.explain(invalid, &list)
		return list
	}
	setDefaults(reflect.ValueOf(into).Elem())
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		// The schema has let it pass, so it is a rule of a type of the plugin,
		// or a number too large for its field.
		d := diag.Diagnostic{Code: diag.ConfigInvalidValue, Summary: "the configuration cannot be decoded: " + err.Error()}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			d.Path = "/" + strings.ReplaceAll(wrong.Field, ".", "/")
			d.Summary = fmt.Sprintf("%q does not fit into its type %s", last(d.Path), wrong.Type)
		}
		list.Add(d)
	}
	return list
}

func setDefaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		field := v.FieldByIndex(f.Index)
		if _, ok := f.Tag.Lookup("default"); ok {
			// decorate has made sure that it works.
			if raw, err := defaultOf(f); err == nil {
				_ = json.Unmarshal(raw, field.Addr().Interface())
			}
		}
		if f.Type.Kind() == reflect.Struct && f.Type != secretType && f.Type != durationType {
			setDefaults(field)
		}
	}
}

// explain turns a validator's tree into diagnostics. Values are never quoted:
// any of them may be a secret.
func (c *configType) explain(e *validate.ValidationError, list *diag.List) {
	for _, cause := range e.Causes {
		c.explain(cause, list)
	}
	if len(e.Causes) > 0 {
		return
	}
	at := diag.Pointer(e.InstanceLocation...)
	d := diag.Diagnostic{Code: diag.ConfigInvalidValue, Path: at}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			list.Add(diag.Diagnostic{
				Code: diag.ConfigMissingField, Path: at + diag.Pointer(name),
				Summary: fmt.Sprintf("%q is missing", name), Hint: c.description(append(slices.Clone(e.InstanceLocation), name)),
			})
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			d := diag.Diagnostic{Code: diag.ConfigUnknownField, Path: at + diag.Pointer(name), Summary: fmt.Sprintf("%q is not a field here", name)}
			if s := c.at(e.InstanceLocation); s != nil {
				if best := diag.Suggest(name, s.PropertyOrder); best != "" {
					d.Hint = fmt.Sprintf("did you mean %q?", best)
				}
			}
			list.Add(d)
		}
		return
	case *kind.Type:
		d.Code = diag.ConfigWrongType
		d.Summary = fmt.Sprintf("%s must be %s, not %s", subject(at), strings.Join(k.Want, " or "), k.Got)
	case *kind.MinLength:
		d.Code = diag.ConfigMissingField
		d.Summary = subject(at) + " is empty"
		d.Hint = c.description(e.InstanceLocation)
	case *kind.Enum:
		var allowed []string
		for _, v := range k.Want {
			allowed = append(allowed, fmt.Sprint(v))
		}
		d.Summary = fmt.Sprintf("%s must be one of: %s", subject(at), strings.Join(allowed, ", "))
	case *kind.Minimum:
		d.Summary = fmt.Sprintf("%s must be at least %s", subject(at), k.Want.RatString())
	case *kind.Maximum:
		d.Summary = fmt.Sprintf("%s must be at most %s", subject(at), k.Want.RatString())
	case *kind.Pattern:
		d.Summary = subject(at) + " is not a duration"
		d.Hint = "write it like 90s or 1m30s"
	default:
		d.Summary = subject(at) + " is not allowed by the schema of the plugin"
	}
	list.Add(d)
}

// at returns the schema that describes the value at location.
func (c *configType) at(location []string) *infer.Schema {
	s := c.inferred
	for _, part := range location {
		switch {
		case s == nil:
			return nil
		case s.Properties[part] != nil:
			s = s.Properties[part]
		case s.Items != nil:
			s = s.Items
		default:
			s = s.AdditionalProperties
		}
	}
	return s
}

func (c *configType) description(location []string) string {
	if s := c.at(location); s != nil {
		return s.Description
	}
	return ""
}

// fields lists the fields of t that can be part of its JSON, those of embedded
// structs included.
func fields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool {
		return f.Anonymous || !f.IsExported()
	})
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		return f.Name
	}
	return name
}

func last(pointer string) string {
	steps := diag.Steps(pointer)
	return steps[len(steps)-1]
}

func subject(pointer string) string {
	if pointer == "" {
		return "the configuration"
	}
	return fmt.Sprintf("%q", last(pointer))
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stetl/stetl/core/diag"
)

// Schema returns the JSON Schema of the whole file, for editors. pluginSchemas
// holds the schema of each known plugin by name; target.config follows the one
// that target.plugin selects, and stays open for other plugins.
//
// Where a plugin wants a number, a pattern or one of a few words, the result
// also takes a reference, and where it wants a secret, only a reference.
func Schema(pluginSchemas map[string][]byte) ([]byte, error) {
	root, err := decodeObject(ownSchemaJSON)
	if err != nil {
		return nil, fmt.Errorf("read the schema of the file: %w", err)
	}
	names := slices.Sorted(maps.Keys(pluginSchemas))
	defs := map[string]any{}
	var choices []any
	for _, name := range names {
		plugin, err := decodeObject(pluginSchemas[name])
		if err != nil {
			return nil, fmt.Errorf("read the schema of plugin %s: %w", name, err)
		}
		delete(plugin, "$schema")
		delete(plugin, "$id")
		defs[name] = forEditor(plugin, "#"+diag.Pointer("$defs", name), true)
		choices = append(choices, map[string]any{
			"if": map[string]any{
				"properties": map[string]any{"plugin": map[string]any{"const": name}},
				"required":   []any{"plugin"},
			},
			"then": map[string]any{
				"properties": map[string]any{"config": map[string]any{"$ref": "#" + diag.Pointer("$defs", name)}},
			},
		})
	}

	properties := asObject(root["properties"])
	source, target := asObject(properties["source"]), asObject(properties["target"])
	source["oneOf"] = []any{
		map[string]any{"required": []any{"url"}},
		map[string]any{"required": []any{"dump"}},
	}
	if len(names) > 0 {
		targets := asObject(properties[targetsSection])
		for _, one := range []map[string]any{target, targets, asObject(targets["items"])} {
			one["allOf"] = choices
		}
		asObject(asObject(target["properties"])["plugin"])["examples"] = names
		root["$defs"] = defs
	}
	asObject(asObject(source["properties"])["firebase_signer_key"])["pattern"] = referencePattern
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(out, '\n'), nil
}

const referencePattern = `\$\{(env|file):[^}]+\}`

// forEditor rewrites a plugin's schema for its place at base in the schema of
// the file: local references move there, and values may be references. Under if
// and not (loose is false) nothing is added: it would change the condition.
func forEditor(schema any, base string, loose bool) any {
	s, ok := schema.(map[string]any)
	if !ok {
		return schema // true or false
	}
	out := maps.Clone(s)
	for keyword, v := range s {
		switch keyword {
		case "$ref":
			if ref, ok := v.(string); ok && strings.HasPrefix(ref, "#") {
				out[keyword] = base + ref[1:]
			}
		case "properties", "patternProperties", "$defs", "definitions":
			out[keyword] = each(v, func(v any) any { return orReference(forEditor(v, base, loose), loose) })
		case "dependentSchemas":
			out[keyword] = each(v, func(v any) any { return forEditor(v, base, loose) })
		case "items", "additionalProperties", "unevaluatedProperties":
			out[keyword] = orReference(forEditor(v, base, loose), loose)
		case "prefixItems", "allOf", "anyOf", "oneOf":
			out[keyword] = each(v, func(v any) any { return forEditor(v, base, loose) })
		case "then", "else":
			out[keyword] = forEditor(v, base, loose)
		case "if", "not":
			out[keyword] = forEditor(v, base, false)
		}
	}
	return out
}

// each applies change to all members of an object or a list.
func each(v any, change func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[name] = change(member)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, member := range v {
			out[i] = change(member)
		}
		return out
	}
	return v
}

// orReference lets the schema of one value take a reference too; a secret must
// be one. A constant stays: it tells alternatives apart.
func orReference(schema any, loose bool) any {
	s, ok := schema.(map[string]any)
	if !ok || !loose {
		return schema
	}
	text := map[string]any{"type": "string", "pattern": referencePattern}
	if s["writeOnly"] == true {
		for _, keyword := range []string{"title", "description", "writeOnly"} {
			if v, ok := s[keyword]; ok {
				text[keyword] = v
			}
		}
		return text
	}
	strict := s["type"] == "integer" || s["type"] == "number" || s["type"] == "boolean"
	for _, keyword := range []string{"enum", "pattern", "format", "minLength", "maxLength"} {
		strict = strict || s[keyword] != nil
	}
	if !strict {
		return schema
	}
	return map[string]any{"anyOf": []any{s, text}}
}

func decodeObject(text []byte) (map[string]any, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return m, nil
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

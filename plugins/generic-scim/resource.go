package scim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Names of the standard.
const (
	coreUser       = "urn:ietf:params:scim:schemas:core:2.0:User"
	coreGroup      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseUser = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

	messageBulk   = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	messagePatch  = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	messageSearch = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
)

// resource is a user or group as JSON has it. Attribute names are
// case-insensitive, so it is read with get.
type resource map[string]any

func decode(b []byte) (resource, error) {
	var r resource
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))) // a byte order mark
	dec.UseNumber()
	if err := dec.Decode(&r); err != nil {
		return nil, err
	}
	return r, nil
}

// get returns an attribute whatever the letters of its name.
func (r resource) get(name string) any {
	if v, ok := r[name]; ok {
		return v
	}
	for k, v := range r {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func (r resource) text(name string) string { return text(r.get(name)) }

func (r resource) id() string { return r.text("id") }

// set replaces an attribute whatever the letters of its name.
func (r resource) set(name string, v any) {
	for k := range r {
		if k != name && strings.EqualFold(k, name) {
			delete(r, k)
		}
	}
	r[name] = v
}

// unset removes an attribute whatever the letters of its name.
func (r resource) unset(name string) {
	for k := range r {
		if strings.EqualFold(k, name) {
			delete(r, k)
		}
	}
}

// text renders a scalar; anything else is empty.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool, int, int64, float64:
		return fmt.Sprint(v)
	default:
		return ""
	}
}

func truth(v any) bool { return strings.EqualFold(text(v), "true") }

func objectOf(v any) (resource, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case resource:
		return v, true
	default:
		return nil, false
	}
}

// elements returns a list, and one value as a list of one.
func elements(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	case []resource:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out
	default:
		return []any{v}
	}
}

// valueOf is the value of an element of a list.
func valueOf(v any) string {
	if o, ok := objectOf(v); ok {
		return o.text("value")
	}
	return text(v)
}

// fields are the attributes of a resource, flattened so that two resources can be
// compared: path to value. Paths are in lower case, as name.givenname,
// emails[ada@example.org] or urn:…:user:department.
type fields map[string]string

// apart are attributes that are no part of a comparison: the server's own, and
// those that it never shows.
var apart = map[string]bool{"schemas": true, "id": true, "meta": true, "groups": true, "password": true}

// flatten ignores whatever a server adds to the values of a list, such as display
// or $ref.
func flatten(r resource) fields {
	f := fields{}
	for name, v := range r {
		name = strings.ToLower(name)
		switch {
		case apart[name]:
		case strings.HasPrefix(name, "urn:"):
			if o, ok := objectOf(v); ok {
				for sub, v := range o {
					f.add(name+":"+strings.ToLower(sub), v)
				}
			}
		default:
			f.add(name, v)
		}
	}
	return f
}

func (f fields) add(path string, v any) {
	if o, ok := objectOf(v); ok {
		for sub, v := range o {
			f.add(path+"."+strings.ToLower(sub), v)
		}
		return
	}
	switch v.(type) {
	case []any, []resource, []string:
	default:
		f.put(path, normal(path, text(v)))
		return
	}
	var rest []string
	for _, e := range elements(v) {
		o, isObject := objectOf(e)
		switch {
		case !isObject:
			f.put(path+"["+normal(path, text(e))+"]", "yes")
		case text(o.get("value")) != "":
			rank := "yes"
			if truth(o.get("primary")) {
				rank = "primary"
			}
			f.put(path+"["+normal(path, text(o.get("value")))+"]", rank)
		default:
			b, _ := json.Marshal(lowerKeys(o)) // of decoded JSON
			rest = append(rest, string(b))
		}
	}
	slices.Sort(rest)
	f.put(path, strings.Join(rest, ","))
}

func (f fields) put(path, value string) {
	if value != "" {
		f[path] = value
	}
}

// lowerKeys drops what is null, and letter case of names.
func lowerKeys(o resource) map[string]any {
	out := map[string]any{}
	for k, v := range o {
		if v != nil {
			out[strings.ToLower(k)] = v
		}
	}
	return out
}

// normal gives one form to values that servers write in several.
func normal(path, v string) string {
	top, _, _ := strings.Cut(path, "[")
	switch top {
	case "username", "emails":
		return strings.ToLower(v)
	case "active":
		return strings.ToLower(v)
	case "phonenumbers":
		v = strings.TrimPrefix(strings.ToLower(v), "tel:")
		return strings.NewReplacer("-", "", " ", "", "(", "", ")", "", ".", "").Replace(v)
	case "locale", "preferredlanguage":
		return strings.ReplaceAll(v, "_", "-")
	}
	return v
}

// attributeOf is the top-level attribute of a path: name, emails, or the whole of
// urn:…:user:department.
func attributeOf(path string) string {
	if strings.HasPrefix(path, "urn:") {
		cut, _, _ := strings.Cut(path, "[")
		return cut
	}
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

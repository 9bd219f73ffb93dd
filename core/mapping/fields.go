package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// anything is the kind of a part of the metadata.
const anything pluginapi.Kind = 255

// field is one that a rule can set.
type field struct {
	name string
	kind pluginapi.Kind
	set  func(*pluginapi.User, any) error
}

// fields are those of a user that rules can set.
var fields = func() (all []field) {
	for _, f := range pluginapi.Fields() {
		if f.Rules == pluginapi.Settable {
			all = append(all, field{f.Name, f.Kind, func(u *pluginapi.User, v any) error { return set(&f, u, v) }})
		}
	}
	return all
}()

// set puts a value into a field, or says why it is none for it.
func set(f *pluginapi.Field, u *pluginapi.User, v any) (err error) {
	if s, _ := v.(string); s == "" && f.Feature == pluginapi.CarriesID {
		return errors.New("an account needs an id, which is text")
	}
	ok := true
	switch p := f.At(u).(type) {
	case *string:
		if *p, ok = v.(string); !ok && v != nil {
			return errors.New("it is not text")
		}
	case *bool:
		if *p, ok = v.(bool); !ok {
			return errors.New("it is neither true nor false")
		}
	case **bool:
		*p = nil
		if b, ok := v.(bool); ok {
			*p = &b
		} else if v != nil {
			return errors.New("it is neither true nor false")
		}
	case *[]string:
		*p, err = sortedTexts(v)
	case *map[string][]string:
		*p, err = textMap(v)
	case *json.RawMessage:
		*p, err = object(v)
	default:
		err = errors.New("no rule can set it")
	}
	return err
}

func settable() []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return append(names, "metadata.KEY", "roles.TENANT")
}

// fieldOf finds what a rule wants to set.
func fieldOf(name string) (field, bool) {
	if i := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); i >= 0 {
		return fields[i], true
	}
	if key, ok := strings.CutPrefix(name, "metadata."); ok && key != "" {
		return field{name, anything, func(u *pluginapi.User, v any) error { return setKey(u, key, v) }}, true
	}
	if tenant, ok := strings.CutPrefix(name, "roles."); ok && tenant != "" {
		return field{name, pluginapi.Texts, func(u *pluginapi.User, v any) error {
			roles, err := sortedTexts(v)
			if err != nil {
				return err
			}
			return withRoles(u, tenant, roles)
		}}, true
	}
	return field{}, false
}

func sortedTexts(v any) ([]string, error) {
	var out []string
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []string:
		out = slices.Clone(v)
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok || s == "" {
				return nil, errors.New("it is not a list of names")
			}
			out = append(out, s)
		}
	default:
		return nil, errors.New("it is not a list of names")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func withRoles(u *pluginapi.User, tenant string, roles []string) error {
	all := make(map[string][]string, len(u.Roles)+1) // the account's own map stays as it is
	for t, r := range u.Roles {
		all[t] = r
	}
	all[tenant] = roles
	if len(roles) == 0 {
		delete(all, tenant)
	}
	u.Roles = all
	return nil
}

func textMap(v any) (map[string][]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case map[string][]string:
		return v, nil
	case map[string]any:
		var all map[string][]string
		for key, list := range v {
			texts, err := sortedTexts(list)
			if err != nil {
				return nil, err
			}
			if all == nil {
				all = map[string][]string{}
			}
			if len(texts) > 0 {
				all[key] = texts
			}
		}
		return all, nil
	}
	return nil, errors.New("it is not a mapping of tenants to lists of roles")
}

func object(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return json.Marshal(v)
	}
	return nil, errors.New("it is not a mapping")
}

func setKey(u *pluginapi.User, key string, v any) error {
	members := map[string]json.RawMessage{}
	if u.Metadata != nil {
		if err := json.Unmarshal(u.Metadata, &members); err != nil {
			return errors.New("the metadata is not a JSON object")
		}
	}
	if v == nil {
		delete(members, key)
	} else {
		raw, err := json.Marshal(v)
		if err != nil {
			return errors.New("it has no JSON form")
		}
		members[key] = raw
	}
	u.Metadata = nil
	if len(members) == 0 {
		return nil
	}
	raw, err := json.Marshal(members)
	u.Metadata = raw
	return err
}

// textOf writes a value as text for templates and tables.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339), nil
	}
	return "", fmt.Errorf("a list or mapping where text is needed")
}

// view is an account as rules see it.
type view struct {
	account  *canonical.User
	user     *pluginapi.User // without rules
	target   string          // its name, where there are several
	tenant   string          // where a name is made of it
	metadata map[string]any
	read     bool
}

// variable is what rules can read under a name.
type variable struct {
	typ *cel.Type
	get func(*view) any
}

// The names that are not always there.
const (
	varTarget = "target"
	varHome   = "home"
	varTenant = "tenant"
)

// variables are the fields of a user that rules can read, and what else they can see
// of an account.
var variables = func() map[string]variable {
	all := map[string]variable{
		"app":     {cel.StringType, func(v *view) any { return v.account.App }},
		varTarget: {cel.StringType, func(v *view) any { return v.target }},
		varHome:   {cel.StringType, func(v *view) any { return v.home() }},
		varTenant: {cel.StringType, func(v *view) any { return v.tenant }},
		"totp":    {cel.BoolType, func(v *view) any { return len(v.user.TOTP) > 0 }},
		"logins":  {cel.ListType(cel.MapType(cel.StringType, cel.DynType)), func(v *view) any { return v.logins() }},
	}
	for _, f := range pluginapi.Fields() {
		if f.Rules >= pluginapi.Readable {
			all[f.Name] = variable{typeOf(f.Kind), func(v *view) any { return v.get(&f) }}
		}
	}
	return all
}()

// get is a field as rules see it; nil where nobody knows.
func (v *view) get(f *pluginapi.Field) any {
	switch p := f.At(v.user).(type) {
	case *string:
		return *p
	case *pluginapi.Class:
		return string(*p)
	case *bool:
		return *p
	case **bool:
		return flag(*p)
	case *time.Time:
		return moment(*p)
	case *[]string:
		return *p
	case *map[string][]string:
		return *p
	case *json.RawMessage:
		return v.object(*p)
	default:
		return nil
	}
}

// readable are the variables, but for some.
func readable(without ...string) []string {
	names := make([]string, 0, len(variables))
	for name := range variables {
		if !slices.Contains(without, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func flag(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// object is the metadata; what is no object reads as an empty one.
func (v *view) object(raw json.RawMessage) map[string]any {
	if !v.read {
		v.read = true
		if raw != nil {
			decoded, err := decode(raw)
			if m, ok := decoded.(map[string]any); ok && err == nil {
				v.metadata = m
			}
		}
		if v.metadata == nil {
			v.metadata = map[string]any{}
		}
	}
	return v.metadata
}

// logins are the ways to sign in, without anything secret.
func (v *view) logins() []any {
	out := make([]any, len(v.account.Logins))
	for i := range v.account.Logins {
		l := &v.account.Logins[i]
		m := map[string]any{"recipe": string(l.Recipe), "id": l.ID, "email": "", "phone": "", "provider": "", "subject": "", "verified": flag(l.Verified), "tenants": l.Tenants}
		if l.Email != nil {
			m["email"] = *l.Email
		}
		if l.Phone != nil {
			m["phone"] = *l.Phone
		}
		if l.Identity != nil {
			m["provider"], m["subject"] = l.Identity.Provider, l.Identity.Subject
		}
		out[i] = m
	}
	return out
}

// path reads a field; nil where there is none.
func (v *view) path(parts []string) any {
	read, ok := variables[parts[0]]
	if !ok {
		return nil
	}
	value := read.get(v)
	for i, part := range parts[1:] {
		switch m := value.(type) {
		case map[string]any:
			rest := strings.Join(parts[1+i:], ".")
			if whole, ok := m[rest]; ok { // a key may have dots in it
				return whole
			}
			value = m[part]
		case map[string][]string:
			return m[strings.Join(parts[1+i:], ".")]
		default:
			return nil
		}
	}
	return value
}

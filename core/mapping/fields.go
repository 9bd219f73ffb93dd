package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/target"
)

// kind is what a field of the target holds.
type kind uint8

const (
	text    kind = iota
	boolean      // may be unknown
	texts
	textMap
	object
	anything
)

// field is one that a rule can set.
type field struct {
	name string
	kind kind
	set  func(*target.User, any) error
}

func textField(into func(*target.User) *string) func(*target.User, any) error {
	return func(u *target.User, v any) error {
		switch v := v.(type) {
		case nil:
			*into(u) = ""
		case string:
			*into(u) = v
		default:
			return errors.New("it is not text")
		}
		return nil
	}
}

func flagField(into func(*target.User) **bool) func(*target.User, any) error {
	return func(u *target.User, v any) error {
		switch v := v.(type) {
		case nil:
			*into(u) = nil
		case bool:
			*into(u) = &v
		default:
			return errors.New("it is neither true nor false")
		}
		return nil
	}
}

var fields = []field{
	{"id", text, func(u *target.User, v any) error {
		if s, ok := v.(string); !ok || s == "" {
			return errors.New("an account needs an id, which is text")
		}
		return textField(func(u *target.User) *string { return &u.ID })(u, v)
	}},
	{"username", text, textField(func(u *target.User) *string { return &u.Username })},
	{"email", text, textField(func(u *target.User) *string { return &u.Email })},
	{"email_verified", boolean, flagField(func(u *target.User) **bool { return &u.EmailVerified })},
	{"phone", text, textField(func(u *target.User) *string { return &u.Phone })},
	{"phone_verified", boolean, flagField(func(u *target.User) **bool { return &u.PhoneVerified })},
	{"given_name", text, textField(func(u *target.User) *string { return &u.GivenName })},
	{"family_name", text, textField(func(u *target.User) *string { return &u.FamilyName })},
	{"enabled", boolean, func(u *target.User, v any) error {
		on, ok := v.(bool)
		if !ok {
			return errors.New("it is neither true nor false")
		}
		u.Enabled = on
		return nil
	}},
	{"tenants", texts, func(u *target.User, v any) (err error) {
		u.Tenants, err = sortedTexts(v)
		return err
	}},
	{"roles", textMap, setRoles},
	{"metadata", object, setMetadata},
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
		return field{name, anything, func(u *target.User, v any) error { return setKey(u, key, v) }}, true
	}
	if tenant, ok := strings.CutPrefix(name, "roles."); ok && tenant != "" {
		return field{name, texts, func(u *target.User, v any) error {
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

func withRoles(u *target.User, tenant string, roles []string) error {
	all := make(map[string][]string, len(u.Roles)+1) // the account's own map stays as it is
	for t, r := range u.Roles {
		all[t] = r
	}
	if all[tenant] = roles; len(roles) == 0 {
		delete(all, tenant)
	}
	u.Roles = all
	return nil
}

func setRoles(u *target.User, v any) error {
	u.Roles = nil
	switch v := v.(type) {
	case nil:
		return nil
	case map[string][]string:
		u.Roles = v
		return nil
	case map[string]any:
		for tenant, list := range v {
			roles, err := sortedTexts(list)
			if err != nil {
				return err
			}
			if err := withRoles(u, tenant, roles); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("it is not a mapping of tenants to lists of roles")
}

func setMetadata(u *target.User, v any) error {
	switch v := v.(type) {
	case nil:
		u.Metadata = nil
		return nil
	case map[string]any:
		raw, err := json.Marshal(v)
		u.Metadata = raw
		return err
	}
	return errors.New("it is not a mapping")
}

func setKey(u *target.User, key string, v any) error {
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
	user     *target.User // without rules
	metadata map[string]any
	read     bool
}

// variables are what rules can read, by name.
var variables = map[string]func(*view) any{
	"id":             func(v *view) any { return v.user.ID },
	"source_id":      func(v *view) any { return v.user.SourceID },
	"app":            func(v *view) any { return v.account.App },
	"username":       func(v *view) any { return v.user.Username },
	"email":          func(v *view) any { return v.user.Email },
	"email_verified": func(v *view) any { return flag(v.user.EmailVerified) },
	"phone":          func(v *view) any { return v.user.Phone },
	"phone_verified": func(v *view) any { return flag(v.user.PhoneVerified) },
	"given_name":     func(v *view) any { return v.user.GivenName },
	"family_name":    func(v *view) any { return v.user.FamilyName },
	"enabled":        func(v *view) any { return v.user.Enabled },
	"created":        func(v *view) any { return moment(v.user.Created) },
	"last_active":    func(v *view) any { return moment(v.user.LastActive) },
	"tenants":        func(v *view) any { return v.user.Tenants },
	"roles":          func(v *view) any { return v.user.Roles },
	"metadata":       func(v *view) any { return v.object() },
	"class":          func(v *view) any { return string(v.user.Class) },
	"totp":           func(v *view) any { return len(v.user.TOTP) > 0 },
	"logins":         func(v *view) any { return v.logins() },
}

func readable() []string {
	names := make([]string, 0, len(variables))
	for name := range variables {
		names = append(names, name)
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
func (v *view) object() map[string]any {
	if !v.read {
		v.read = true
		if v.user.Metadata != nil {
			decoded, err := decode(v.user.Metadata)
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
	get, ok := variables[parts[0]]
	if !ok {
		return nil
	}
	value := get(v)
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

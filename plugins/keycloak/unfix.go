package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// copyRole is the role whose attributes hold what Fix has taken away: that goes with the
// realm, asks for no right that Fix does not need, and any machine finds it.
const copyRole = "stetl-before-fix"

// copyChunk is how much of the copy an attribute holds; the database takes 255 characters.
const copyChunk = 200

// settingsCopy is what Fix has changed, as it was before.
type settingsCopy struct {
	// Settings were off.
	Settings []string `json:"settings,omitempty"`
	// Required has, by attribute of the user profile, of whom it was required.
	Required map[string]json.RawMessage `json:"required,omitempty"`
	// Unmanaged is the policy for attributes that the profile does not declare; "" is the
	// one that hides them.
	Unmanaged *string `json:"unmanaged,omitempty"`
	// Providers are identity providers that were added.
	Providers []string `json:"providers,omitempty"`
}

func (c *settingsCopy) empty() bool {
	return len(c.Settings)+len(c.Required)+len(c.Providers) == 0 && c.Unmanaged == nil
}

// readCopy returns what is kept in the realm.
func readCopy(ctx context.Context, a *api) (c settingsCopy, err error) {
	var r struct {
		Attributes map[string][]string `json:"attributes"`
	}
	err = a.read(ctx, a.realmPath("roles", copyRole), nil, &r)
	if status(err) == http.StatusNotFound {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the role %s: %w", copyRole, err)
	}
	var whole strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		if strings.HasPrefix(name, "part.") {
			whole.WriteString(strings.Join(r.Attributes[name], ""))
		}
	}
	if whole.Len() == 0 {
		return c, nil
	}
	if err := json.Unmarshal([]byte(whole.String()), &c); err != nil {
		return c, fmt.Errorf("read the role %s: %w", copyRole, err)
	}
	return c, nil
}

// remember adds to what is kept in the realm. What is there already is older, and stays.
func remember(ctx context.Context, a *api, more settingsCopy) error {
	c, err := readCopy(ctx, a)
	if err != nil {
		return err
	}
	c.Settings = slices.Compact(slices.Sorted(slices.Values(append(c.Settings, more.Settings...))))
	c.Providers = slices.Compact(slices.Sorted(slices.Values(append(c.Providers, more.Providers...))))
	if c.Unmanaged == nil {
		c.Unmanaged = more.Unmanaged
	}
	for name, required := range more.Required {
		if _, there := c.Required[name]; there {
			continue
		}
		if c.Required == nil {
			c.Required = map[string]json.RawMessage{}
		}
		c.Required[name] = required
	}
	return writeCopy(ctx, a, c)
}

func writeCopy(ctx context.Context, a *api, c settingsCopy) error {
	attributes := maps.Clone(madeByUs)
	rest := []rune(text(c))
	for n := 0; len(rest) > 0; n++ {
		part := rest[:min(len(rest), copyChunk)]
		attributes[fmt.Sprintf("part.%04d", n)] = []string{string(part)}
		rest = rest[len(part):]
	}
	role := map[string]any{"name": copyRole, "description": "what stetl check --fix has changed in the realm; check --undo-fix puts it back", "attributes": attributes}
	if err := a.create(ctx, a.realmPath("roles"), map[string]any{"name": copyRole}); err != nil {
		return fmt.Errorf("create the role %s: %w", copyRole, err)
	}
	if err := a.write(ctx, http.MethodPut, a.realmPath("roles", copyRole), role); err != nil {
		return fmt.Errorf("keep in the role %s what is taken away: %w", copyRole, err)
	}
	return nil
}

// kept is said with everything that Fix has taken away.
func kept(was string) string {
	return "it was: " + was + "; kept in the role " + copyRole + ", and put back by check --undo-fix"
}

// UndoFix implements [sdk.FixUndoer].
func (t *live) UndoFix(ctx context.Context) sdk.Diagnostics {
	var l sdk.Diagnostics
	if _, err := t.api.bearer(ctx); err != nil {
		l.Add(failed("sign in", err))
		return l
	}
	c, err := readCopy(ctx, t.api)
	if err != nil {
		l.Add(unfixed("the realm back", "manage-realm", err))
		return l
	}
	if c.empty() {
		return l
	}
	u := &unfixing{api: t.api, kept: c}
	for _, step := range []struct {
		what, role string
		do         func(context.Context, *sdk.Diagnostics) error
	}{
		{"the settings of the realm back", "manage-realm", u.settings},
		{"the user profile of the realm back", "manage-realm", u.profile},
		{"the identity providers of the realm back", "manage-identity-providers", u.providers},
	} {
		if err := step.do(ctx, &l); err != nil {
			l.Add(unfixed(step.what, step.role, err))
		}
	}
	err = writeCopy(ctx, t.api, u.kept)
	if u.kept.empty() {
		err = t.api.remove(ctx, "roles", copyRole)
	}
	if err != nil {
		l.Add(unfixed("the role "+copyRole, "manage-realm", err))
	}
	return l
}

// unfixing puts back what is kept. What has been put back is kept no longer; nor is what
// somebody has changed since.
type unfixing struct {
	api  *api
	kept settingsCopy
}

func (u *unfixing) settings(ctx context.Context, l *sdk.Diagnostics) error {
	var now map[string]any
	if err := u.api.read(ctx, u.api.realmPath(), nil, &now); err != nil {
		return err
	}
	back := map[string]any{}
	for _, name := range u.kept.Settings {
		if now[name] == true {
			back[name] = false
		}
	}
	if len(back) > 0 {
		if err := u.api.write(ctx, http.MethodPut, u.api.realmPath(), back); err != nil {
			return err
		}
		l.Add(fixed(codeUnfixed, "/realm", "switched off again in the realm: "+joinList(slices.Sorted(maps.Keys(back)))))
	}
	u.kept.Settings = nil
	return nil
}

func (u *unfixing) profile(ctx context.Context, l *sdk.Diagnostics) error {
	if len(u.kept.Required) == 0 && u.kept.Unmanaged == nil {
		return nil
	}
	p, err := readWhole(ctx, u.api)
	if err != nil {
		return err
	}
	var required []string
	for _, a := range p.attributes {
		was, asked := u.kept.Required[nameOf(a)]
		if _, there := a["required"]; asked && !there {
			a["required"] = was
			required = append(required, nameOf(a))
		}
	}
	hides := false
	if was := u.kept.Unmanaged; was != nil && string(p.whole["unmanagedAttributePolicy"]) == `"`+adminsEdit+`"` {
		hides = true
		delete(p.whole, "unmanagedAttributePolicy")
		if *was != "" {
			p.whole["unmanagedAttributePolicy"] = json.RawMessage(text(*was))
		}
	}
	if len(required) > 0 || hides {
		if err := p.write(ctx, u.api); err != nil {
			return err
		}
	}
	if len(required) > 0 {
		l.Add(fixed(codeUnfixed, "/realm", "the user profile requires again "+joinList(required)))
	}
	if hides {
		l.Add(fixed(codeUnfixed, "/realm", "attributes that the user profile does not declare are again as hidden as they were"))
	}
	u.kept.Required, u.kept.Unmanaged = nil, nil
	return nil
}

func (u *unfixing) providers(ctx context.Context, l *sdk.Diagnostics) error {
	for _, alias := range u.kept.Providers {
		var now struct {
			Enabled bool              `json:"enabled"`
			Config  map[string]string `json:"config"`
		}
		err := u.api.read(ctx, u.api.realmPath("identity-provider", "instances", alias), nil, &now)
		if status(err) == http.StatusNotFound || err == nil && (now.Enabled || now.Config["clientId"] != toBeSet) {
			continue // somebody uses it by now
		}
		if err != nil {
			return err
		}
		if err := u.api.remove(ctx, "identity-provider", "instances", alias); err != nil {
			return err
		}
		l.Add(fixed(codeUnfixed, "/identity_providers", "the identity provider "+alias+", which nobody has set up, was removed"))
	}
	u.kept.Providers = nil
	return nil
}

// wholeProfile is the user profile with what this program does not know, which a write
// would drop.
type wholeProfile struct {
	whole      map[string]json.RawMessage
	attributes []map[string]json.RawMessage
}

func readWhole(ctx context.Context, a *api) (p wholeProfile, err error) {
	if err := a.read(ctx, a.realmPath("users", "profile"), nil, &p.whole); err != nil {
		return p, err
	}
	if err := json.Unmarshal(p.whole["attributes"], &p.attributes); err != nil {
		return p, fmt.Errorf("read the attributes of the user profile: %w", err)
	}
	return p, nil
}

func (p *wholeProfile) write(ctx context.Context, a *api) (err error) {
	if p.whole["attributes"], err = json.Marshal(p.attributes); err != nil {
		return fmt.Errorf("write the attributes of the user profile: %w", err)
	}
	return a.write(ctx, http.MethodPut, a.realmPath("users", "profile"), p.whole)
}

func nameOf(attribute map[string]json.RawMessage) (name string) {
	_ = json.Unmarshal(attribute["name"], &name) // the server has named it
	return name
}

package scim

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// facts are what a server says about itself, corrected by the configuration. What
// it does not say is unknown, which is not the same as absent.
type facts struct {
	patch, bulk, etag, cursor bool
	maxOps, maxBytes          int // of a Bulk request, 0 when unknown
	maxResults                int
	users                     string
	groups                    string // empty: there are none
	groupsKnown               bool
	// attributes are the names of the core schema, and urn:name of others, in lower
	// case; nil when unknown.
	attributes map[string]bool
	required   []string // attributes that every user must have
	// extensions are declared for users, in lower case; the value says whether one is
	// required. nil when unknown.
	extensions map[string]bool
	help       string
	oldVersion bool // SCIM 1.1
	silent     bool // no discovery at all
}

// A payload limit below this next to many operations is a forgotten default.
const leastPayload = 16 << 10

// discover asks the three endpoints. Only a refusal to talk at all is an error.
func discover(ctx context.Context, t *transport) (*facts, error) {
	f := &facts{patch: true, users: "/Users", groups: "/Groups"}
	config, err := firstOf(ctx, t, "/ServiceProviderConfig", "/ServiceProviderConfigs")
	if err != nil {
		return nil, err
	}
	if config != nil {
		f.readConfig(config)
	}
	types, err := firstOf(ctx, t, "/ResourceTypes")
	if err != nil {
		return nil, err
	}
	if types != nil {
		f.readTypes(resourcesOf(types), t.base)
	}
	schemas, err := firstOf(ctx, t, "/Schemas")
	if err != nil {
		return nil, err
	}
	if schemas != nil {
		f.readSchemas(resourcesOf(schemas))
	}
	f.silent = config == nil && types == nil && schemas == nil
	return f, f.settle(ctx, t)
}

// firstOf returns the first answer that makes sense; nil when there is none.
func firstOf(ctx context.Context, t *transport, paths ...string) (resource, error) {
	for _, path := range paths {
		a, err := t.do(ctx, request{method: http.MethodGet, path: path})
		if err != nil {
			return nil, err
		}
		if a.status == http.StatusUnauthorized {
			return nil, t.problem(request{method: http.MethodGet, path: path}, a)
		}
		if a.status != http.StatusOK {
			continue
		}
		if r, err := decode(a.body); err == nil {
			if looksLikeSCIM(r) {
				return r, nil
			}
			continue
		}
		if p, err := parsePage(a.body); err == nil { // a bare list
			return resource{"Resources": p.resources}, nil
		}
	}
	return nil, nil
}

func looksLikeSCIM(r resource) bool {
	for _, name := range []string{"schemas", "Resources", "patch", "bulk", "filter", "authenticationSchemes"} {
		if r.get(name) != nil {
			return true
		}
	}
	return false
}

func resourcesOf(r resource) (out []resource) {
	for _, e := range elements(r.get("Resources")) {
		if o, ok := objectOf(e); ok {
			out = append(out, o)
		}
	}
	return out
}

func (f *facts) readConfig(r resource) {
	supported := func(name string, unknown bool) (resource, bool) {
		o, ok := objectOf(r.get(name))
		if !ok {
			return nil, unknown
		}
		return o, truth(o.get("supported"))
	}
	_, f.patch = supported("patch", true)
	var bulk, filters resource
	bulk, f.bulk = supported("bulk", false)
	filters, _ = supported("filter", true)
	_, f.etag = supported("etag", false)
	f.maxOps, f.maxBytes = whole(bulk, "maxOperations"), whole(bulk, "maxPayloadSize")
	f.maxResults = whole(filters, "maxResults")
	if p, ok := objectOf(r.get("pagination")); ok {
		f.cursor = truth(p.get("cursor")) && !truth(p.get("index"))
	}
	if f.maxBytes < leastPayload && f.maxOps > 1 {
		f.maxBytes = 0
	}
	f.help = r.text("documentationUri")
	for _, s := range elements(r.get("schemas")) {
		if strings.HasPrefix(text(s), "urn:scim:schemas:core:1") {
			f.oldVersion = true
		}
	}
}

func whole(r resource, name string) int {
	n, _ := strconv.Atoi(r.text(name)) // 0 is unknown, as is nonsense
	return max(0, n)
}

func (f *facts) readTypes(types []resource, base string) {
	if len(types) == 0 {
		return
	}
	f.extensions, f.groups, f.groupsKnown = map[string]bool{}, "", true
	sane := false
	for _, r := range types {
		schema := strings.ToLower(r.text("schema"))
		endpoint := endpointOf(r.text("endpoint"), base)
		switch {
		case strings.HasSuffix(schema, "core:2.0:user"):
			sane = true
			if endpoint != "" {
				f.users = endpoint
			}
			for _, e := range elements(r.get("schemaExtensions")) {
				if o, ok := objectOf(e); ok {
					f.extensions[strings.ToLower(o.text("schema"))] = truth(o.get("required"))
				}
			}
		case strings.HasSuffix(schema, "core:2.0:group"):
			f.groups = endpoint
			if endpoint == "" {
				f.groups = "/Groups"
			}
		}
	}
	if !sane { // users are there, or nothing is: the list is not to be believed
		f.extensions, f.groups, f.groupsKnown = nil, "/Groups", false
	}
}

// endpointOf is the path below the base address, of what should be that: some servers
// give the whole path, or an address.
func endpointOf(s, base string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	path := "/" + strings.Trim(u.Path, "/")
	if b, err := url.Parse(base); err == nil && b.Path != "" {
		path = strings.TrimPrefix(path, b.Path)
	}
	if u.Host != "" && strings.Count(path, "/") > 1 { // seen from elsewhere, as behind a proxy
		path = path[strings.LastIndexByte(path, '/'):]
	}
	return strings.TrimSuffix(path, "/")
}

func (f *facts) readSchemas(schemas []resource) {
	names := map[string]bool{}
	var required []string
	for _, s := range schemas {
		urn := strings.ToLower(s.text("id"))
		core := urn == strings.ToLower(coreUser)
		list := elements(s.get("attributes"))
		if urn != "" && !core && f.extensions == nil && strings.HasSuffix(urn, ":user") {
			names[urn] = true
		}
		for _, e := range list {
			o, ok := objectOf(e)
			if !ok {
				continue
			}
			name := strings.ToLower(o.text("name"))
			if !core {
				name = urn + ":" + name
				names[urn] = true
			}
			names[name] = true
			if core && truth(o.get("required")) && name != "username" && name != "schemas" {
				required = append(required, o.text("name"))
			}
			if name == "name" {
				for _, sub := range elements(o.get("subAttributes")) {
					if so, ok := objectOf(sub); ok && truth(so.get("required")) {
						required = append(required, "name."+so.text("name"))
					}
				}
			}
		}
	}
	if !names["username"] || !names["emails"] { // a part at best
		f.attributes = nil
		return
	}
	f.attributes, f.required = names, required
}

// takes reports whether an attribute may be sent.
func (f *facts) takes(path string) bool {
	path = strings.ToLower(path)
	if !strings.HasPrefix(path, "urn:") {
		return f.attributes == nil || f.attributes[path]
	}
	urn := path[:strings.LastIndexByte(path, ':')]
	if f.extensions != nil {
		if _, ok := f.extensions[urn]; !ok {
			return false
		}
	}
	if f.attributes == nil || !f.attributes[urn] {
		return true
	}
	return f.attributes[path]
}

// hasExtension reports whether the server declares an extension for users.
func (f *facts) hasExtension(urn string) bool {
	urn = strings.ToLower(urn)
	if _, ok := f.extensions[urn]; ok {
		return true
	}
	return f.extensions == nil && f.attributes[urn]
}

// settle lets the configuration decide, and probes what is unknown.
func (f *facts) settle(ctx context.Context, t *transport) error {
	c := t.config
	choose := func(setting string, v *bool) {
		switch setting {
		case on:
			*v = true
		case off:
			*v = false
		}
	}
	choose(c.Patch, &f.patch)
	choose(c.Bulk, &f.bulk)
	choose(c.ETag, &f.etag)
	if c.UsersEndpoint != "" {
		f.users = "/" + strings.Trim(c.UsersEndpoint, "/")
	}
	if f.bulk && c.Bulk != on && f.maxOps > 0 && f.maxOps < leastBulk {
		f.bulk = false
	}
	if !f.groupsKnown && (c.rolesInGroups() || c.Tenants == asGroups) {
		a, err := t.do(ctx, request{method: http.MethodGet, path: f.groups, query: "count=1"})
		if err != nil {
			return fmt.Errorf("look for groups: %w", err)
		}
		if a.status != http.StatusOK {
			f.groups = ""
		}
	}
	return nil
}

// missingExtensions are those that every user must have and no setting fills.
func (f *facts) missingExtensions(c Config, extension bool) (out []string) {
	for urn, required := range f.extensions {
		if !required || (extension && strings.EqualFold(urn, c.Extension.URN)) {
			continue
		}
		filled := false
		for path := range c.Constants {
			filled = filled || strings.HasPrefix(strings.ToLower(path), urn+":")
		}
		for _, path := range c.Attributes {
			filled = filled || strings.HasPrefix(strings.ToLower(path), urn+":")
		}
		if !filled {
			out = append(out, urn)
		}
	}
	slices.Sort(out)
	return out
}

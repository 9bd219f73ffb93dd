package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// files writes a folder that kc.sh import --dir takes as it is:
// REALM-users-N.json, and a REALM-realm.json unless somebody else put one there,
// because without it the server reads nothing and reports success.
//
// The realm file is the last to be put in place: whenever that is interrupted, an
// import finds either the old files, nothing, or the new ones.
type files struct {
	*folder.Target[*representation]
	sdk.DefinedRoles
	config Config
	mapper mapper

	current *usersFile // nil between files
	written int        // files, begun or done
	roles   map[string]bool
	tenants map[string]bool
}

func newFiles(c Config) *files {
	t := &files{
		config: c,
		mapper: mapper{
			defaultRole: "default-roles-" + strings.ToLower(c.Realm), aliases: c.IdentityProviders,
			tenants: c.Tenants, tenant: c.Tenant, strict: c.RefusedValues == refusedReject,
		},
		roles: map[string]bool{}, tenants: map[string]bool{},
	}
	t.Target = folder.NewTarget(folder.Folder{
		Dir: c.Out, Realm: c.Realm, Users: regexp.MustCompile(`^` + regexp.QuoteMeta(c.Realm) + `-users-[0-9]+\.json$`),
		Unwritable: codeOutUnwritable, ForeignFiles: codeOutForeignFiles,
	}, t)
	return t
}

// Capabilities implements [sdk.Capable].
func (t *files) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Check implements [sdk.Checker].
func (t *files) Check(context.Context, sdk.Needs) sdk.Diagnostics {
	l := t.Folder.Check()
	if t.Folder.Foreign(t.realmFile()) {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeRealmFileKept, Path: "/out",
			Summary: fmt.Sprintf("%s was not written by stetl and stays as it is", t.realmFile()),
			Detail:  "the import fails unless it defines every group that users belong to",
			Hint:    "remove it, and stetl writes one that fits",
		})
	}
	return l
}

// Decide implements [folder.Writer].
func (t *files) Decide(u *sdk.User, c *reconcile.Claims) (*representation, sdk.Outcome) {
	rep, rejected := t.mapper.user(u)
	if rejected == nil {
		names, links := claimsOf(rep, true)
		rejected = c.Take(u, append(names, links...)...)
	}
	if rejected != nil {
		return nil, *rejected
	}
	return rep, sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: rep.ID, Detail: joinNotes(rep.notes), Losses: rep.losses}
}

// Write implements [folder.Writer].
func (t *files) Write(_ *sdk.User, u *representation, _ sdk.Outcome) error {
	if u == nil {
		return nil
	}
	if t.current == nil {
		f, err := t.createUsersFile()
		if err != nil {
			return err
		}
		t.current = f
	}
	if err := t.current.add(u); err != nil {
		return err
	}
	for _, r := range u.RealmRoles {
		t.roles[r] = true
	}
	for _, g := range u.Groups {
		t.tenants[strings.TrimPrefix(g, tenantGroup(""))] = true
	}
	if t.current.users < t.config.BatchSize {
		return nil
	}
	return t.closeCurrent()
}

func (t *files) closeCurrent() error {
	f := t.current
	t.current = nil
	if f == nil {
		return nil
	}
	return f.close()
}

// Complete implements [folder.Writer].
func (t *files) Complete() error {
	if err := t.closeCurrent(); err != nil || t.Folder.Foreign(t.realmFile()) {
		return err
	}
	b, err := json.MarshalIndent(newRealm(t.config.Realm, t.mapper.defaultRole, t.roles, t.tenants, &t.DefinedRoles), "", "  ")
	if err != nil {
		return err
	}
	return t.Folder.Write(t.realmFile(), append(b, '\n'), 0o600)
}

func (t *files) realmFile() string { return t.config.Realm + "-realm.json" }

// usersFile is one REALM-users-N.json, a user a line.
type usersFile struct {
	*folder.File
	users int
}

func (t *files) createUsersFile() (*usersFile, error) {
	f, err := t.Folder.Create(fmt.Sprintf("%s-users-%d.json", t.config.Realm, t.written))
	if err != nil {
		return nil, err
	}
	t.written++
	name, err := json.Marshal(t.config.Realm)
	if err == nil {
		_, err = fmt.Fprintf(f, "{\"realm\":%s,\"users\":[", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &usersFile{File: f}, nil
}

func (u *usersFile) add(r *representation) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode user %s: %w", r.source, err)
	}
	separator := ",\n"
	if u.users == 0 {
		separator = "\n"
	}
	u.users++
	_, err = u.WriteString(separator)
	if err == nil {
		_, err = u.Write(b)
	}
	return err
}

func (u *usersFile) close() error {
	_, err := u.WriteString("\n]}\n")
	return errors.Join(err, u.Close())
}

// newRealm is the least a realm file must define. The server adds its own
// clients, roles and flows. The profile is its default one with nothing required,
// so that people without a name can sign in, and with attributes that
// administrators see.
func newRealm(name, defaultRole string, roles, tenants map[string]bool, d *sdk.DefinedRoles) map[string]any {
	type named map[string]any
	realm := named{"realm": name, "enabled": true}
	var list []named
	for _, r := range slices.Sorted(maps.Keys(roles)) {
		if r != defaultRole { // that one comes with the realm
			role := named{"name": r}
			if allows, _ := d.Allows(r); len(allows) > 0 {
				role["attributes"] = map[string][]string{attributeAllows: allows}
			}
			list = append(list, role)
		}
	}
	if list != nil {
		realm["roles"] = named{"realm": list}
	}
	if len(tenants) > 0 {
		var groups []named
		for _, t := range slices.Sorted(maps.Keys(tenants)) {
			groups = append(groups, named{"name": t})
		}
		realm["groups"] = []named{{"name": tenantParent, "subGroups": groups}}
	}
	realm["components"] = named{
		"org.keycloak.userprofile.UserProfileProvider": []named{{
			"providerId": "declarative-user-profile",
			"config":     named{"kc.user.profile.config": []string{relaxedProfile}},
		}},
	}
	return realm
}

const relaxedProfile = `{"attributes":[` +
	`{"name":"username","displayName":"${username}","permissions":{"view":["admin","user"],"edit":["admin","user"]},"validations":{"length":{"min":3,"max":255},"username-prohibited-characters":{},"up-username-not-idn-homograph":{}}},` +
	`{"name":"email","displayName":"${email}","permissions":{"view":["admin","user"],"edit":["admin","user"]},"validations":{"email":{},"length":{"max":255}}},` +
	`{"name":"firstName","displayName":"${firstName}","permissions":{"view":["admin","user"],"edit":["admin","user"]},"validations":{"length":{"max":255},"person-name-prohibited-characters":{}}},` +
	`{"name":"lastName","displayName":"${lastName}","permissions":{"view":["admin","user"],"edit":["admin","user"]},"validations":{"length":{"max":255},"person-name-prohibited-characters":{}}}],` +
	`"groups":[{"name":"user-metadata","displayHeader":"User metadata","displayDescription":"Attributes, which refer to user metadata"}],` +
	`"unmanagedAttributePolicy":"ADMIN_EDIT"}`

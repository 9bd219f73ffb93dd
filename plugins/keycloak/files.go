package keycloak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
)

const (
	manifestName = "stetl-manifest.json"
)

// files writes a folder that kc.sh import --dir takes as it is:
// REALM-users-N.json, and a REALM-realm.json unless somebody else put one there,
// because without it the server reads nothing and reports success.
//
// Everything is written into a hidden folder first and moved in Finish, the
// realm file last: whenever that is interrupted, an import finds either the old
// files, nothing, or the new ones.
type files struct {
	config Config
	mapper mapper

	mu      sync.Mutex
	planned *claims
	loading *claims
	current *usersFile // nil between files
	staged  []string   // names of finished files
	users   int
	roles   map[string]bool
	tenants map[string]bool
	started bool
}

// manifest is what this plugin wrote into the folder, and so may replace.
type manifest struct {
	Tool     string   `json:"tool"`
	Realm    string   `json:"realm"`
	Complete bool     `json:"complete"`
	Users    int      `json:"users"`
	Files    []string `json:"files"`
}

func newFiles(c Config) *files {
	return &files{
		config: c,
		mapper: mapper{
			defaultRole: "default-roles-" + strings.ToLower(c.Realm), aliases: c.IdentityProviders,
			tenants: c.Tenants, tenant: c.Tenant,
		},
		planned: newClaims(true), loading: newClaims(true),
		roles: map[string]bool{}, tenants: map[string]bool{},
	}
}

// Capabilities implements [sdk.Capable].
func (t *files) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Check implements [sdk.Checker].
func (t *files) Check(context.Context, sdk.Needs) sdk.Diagnostics {
	var l sdk.Diagnostics
	if err := folder.Writable(t.config.Out); err != nil {
		l.Add(unwritable(t.config.Out, err))
		return l
	}
	if _, problem := t.previous(); problem != nil {
		l.Add(*problem)
	}
	if t.keepsRealmFile() {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeRealmFileKept, Path: "/out",
			Summary: fmt.Sprintf("%s was not written by stetl and stays as it is", t.realmFile()),
			Detail:  "the import fails unless it defines every group that users belong to",
			Hint:    "remove it to get one that fits",
		})
	}
	return l
}

// Plan implements [sdk.Planner]. A folder has no accounts to compare with.
func (t *files) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		out.Report(sdk.Change{Outcome: t.decide(&users[i], t.planned).outcome})
	}
	return nil
}

func (t *files) decide(u *sdk.User, c *claims) verdict {
	rep, rejected := t.mapper.user(u)
	if rejected == nil {
		rejected = c.take(rep)
	}
	if rejected != nil {
		return verdict{outcome: *rejected}
	}
	return verdict{user: rep, outcome: sdk.Outcome{
		SourceID: u.SourceID, Action: sdk.Created, TargetID: rep.ID, Detail: joinNotes(rep.notes),
	}}
}

// Load implements [sdk.Target]. Nothing counts before Finish.
func (t *files) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(); err != nil {
		return err
	}
	for i := range users {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v := t.decide(&users[i], t.loading)
		if v.outcome.Action == sdk.Created {
			if err := t.write(v.user); err != nil {
				return sdk.Diagnostics{unwritable(t.config.Out, err)}.Err()
			}
		}
		out.Report(v.outcome)
	}
	return nil
}

func (t *files) staging() string { return filepath.Join(t.config.Out, folder.Staging) }

func (t *files) start() error {
	if t.started {
		return nil
	}
	if _, problem := t.previous(); problem != nil {
		return sdk.Diagnostics{*problem}.Err()
	}
	err := os.RemoveAll(t.staging()) // of a run that was killed
	if err == nil {
		err = os.MkdirAll(t.staging(), 0o700)
	}
	if err != nil {
		return sdk.Diagnostics{unwritable(t.config.Out, err)}.Err()
	}
	t.started = true
	return nil
}

func (t *files) write(u *representation) error {
	if t.current == nil {
		name := fmt.Sprintf("%s-users-%d.json", t.config.Realm, len(t.staged))
		f, err := createUsersFile(filepath.Join(t.staging(), name), t.config.Realm)
		if err != nil {
			return err
		}
		t.current, t.staged = f, append(t.staged, name)
	}
	if err := t.current.add(u); err != nil {
		return err
	}
	t.users++
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

// Finish implements [sdk.Finisher]. A run that loaded nobody leaves the folder alone.
func (t *files) Finish(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		return nil
	}
	if err := t.commit(); err != nil {
		return sdk.Diagnostics{unwritable(t.config.Out, err)}.Err()
	}
	t.started = false
	return nil
}

func (t *files) commit() error {
	if err := t.closeCurrent(); err != nil {
		return err
	}
	old, problem := t.previous()
	if problem != nil {
		return errors.New(problem.Summary)
	}
	names := slices.Clone(t.staged)
	if !t.keepsRealmFile() {
		if err := writeJSON(filepath.Join(t.staging(), t.realmFile()), newRealm(t.config.Realm, t.mapper.defaultRole, t.roles, t.tenants)); err != nil {
			return err
		}
		names = append(names, t.realmFile()) // the last to be moved
	}
	// The realm file is the last: without it nothing of a mixture can be imported.
	return folder.Replace(t.config.Out, old.Files, names, func(files []string, complete bool) error {
		return t.putManifest(manifest{Tool: "stetl", Realm: t.config.Realm, Users: t.users, Files: files, Complete: complete})
	})
}

func (t *files) putManifest(m manifest) error {
	staged := filepath.Join(t.staging(), manifestName)
	if err := writeJSON(staged, m); err != nil {
		return err
	}
	if err := os.Rename(staged, filepath.Join(t.config.Out, manifestName)); err != nil {
		return err
	}
	return folder.Sync(t.config.Out)
}

// Close implements [sdk.Closer]: what was not finished disappears.
func (t *files) Close(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		return nil
	}
	err := t.closeCurrent()
	if err = errors.Join(err, os.RemoveAll(t.staging())); err != nil {
		return fmt.Errorf("remove unfinished files: %w", err)
	}
	return nil
}

func (t *files) realmFile() string { return t.config.Realm + "-realm.json" }

// previous reads the manifest of an earlier run and finds what is in the way.
func (t *files) previous() (manifest, *sdk.Diagnostic) {
	foreign := func(summary, hint string) *sdk.Diagnostic {
		return &sdk.Diagnostic{Code: codeOutForeignFiles, Path: "/out", Summary: summary, Hint: hint}
	}
	var m manifest
	path := filepath.Join(t.config.Out, manifestName)
	switch b, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		d := unwritable(t.config.Out, err)
		return m, &d
	case json.Unmarshal(b, &m) != nil || m.Tool != "stetl" || !folder.Plain(m.Files):
		return m, foreign(path+" is not a manifest of stetl", "choose an empty folder")
	case m.Realm != t.config.Realm:
		return m, foreign(fmt.Sprintf("%s holds the files of realm %q", t.config.Out, m.Realm), "give each realm a folder of its own")
	}
	entries, err := os.ReadDir(t.config.Out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d := unwritable(t.config.Out, err)
		return m, &d
	}
	users := regexp.MustCompile(`^` + regexp.QuoteMeta(t.config.Realm) + `-users-[0-9]+\.json$`)
	var others []string
	for _, e := range entries {
		if users.MatchString(e.Name()) && !slices.Contains(m.Files, e.Name()) {
			others = append(others, e.Name())
		}
	}
	if len(others) > 0 {
		return m, foreign(fmt.Sprintf("%s holds users that stetl did not write: %s", t.config.Out, joinList(others)), "an import would load them too: move them away or choose another folder")
	}
	return m, nil
}

// keepsRealmFile reports whether the realm file belongs to somebody else.
func (t *files) keepsRealmFile() bool {
	if _, err := os.Lstat(filepath.Join(t.config.Out, t.realmFile())); err != nil {
		return false
	}
	m, _ := t.previous()
	return !slices.Contains(m.Files, t.realmFile())
}

func unwritable(dir string, err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeOutUnwritable, Path: "/out", Summary: fmt.Sprintf("cannot write into %s", dir), Detail: err.Error(),
		Hint: "name a folder that this user may create or write, on a disk with room",
	}
}

// usersFile is one REALM-users-N.json, a user a line.
type usersFile struct {
	f     *os.File
	w     *bufio.Writer
	users int
}

func createUsersFile(path, realm string) (*usersFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	u := &usersFile{f: f, w: bufio.NewWriter(f)}
	name, err := json.Marshal(realm)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintf(u.w, "{\"realm\":%s,\"users\":[", name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return u, nil
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
	_, err = u.w.WriteString(separator)
	if err == nil {
		_, err = u.w.Write(b)
	}
	return err
}

func (u *usersFile) close() error {
	_, err := u.w.WriteString("\n]}\n")
	if err == nil {
		err = u.w.Flush()
	}
	if err == nil {
		err = u.f.Sync()
	}
	return errors.Join(err, u.f.Close())
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// newRealm is the least a realm file must define. The server adds its own
// clients, roles and flows. The profile is its default one with nothing required,
// so that people without a name can sign in, and with attributes that
// administrators see.
func newRealm(name, defaultRole string, roles, tenants map[string]bool) map[string]any {
	type named map[string]any
	realm := named{"realm": name, "enabled": true}
	var list []named
	for _, r := range slices.Sorted(maps.Keys(roles)) {
		if r != defaultRole { // that one comes with the realm
			list = append(list, named{"name": r})
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

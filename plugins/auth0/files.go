package auth0

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
)

const (
	manifestName    = "stetl-manifest.json"
	scriptName      = "upload.sh"
	membershipsName = "memberships.json"
	deferredName    = "deferred.jsonl"
)

//go:embed upload.sh
var uploadScript []byte

// files writes a folder of import files, each small enough for one job, with a
// script that uploads them, the roles and organizations that have to be assigned
// afterwards, and the accounts that no job can create.
//
// Everything is written into a hidden folder first and moved in Finish: whenever
// that is interrupted, the manifest says that the folder is not complete, and the
// script refuses it.
type files struct {
	config Config
	mapper mapper

	mu      sync.Mutex
	planned *claims
	loading *claims
	hold    hold[*record]
	side    *sideFile
	members memberships
	staged  []string // names of finished files
	users   int
	started bool
}

// memberships is what an import cannot carry.
type memberships struct {
	// Roles maps a role name to user ids.
	Roles map[string][]string `json:"roles,omitempty"`
	// Organizations maps an organization's name to its members.
	Organizations map[string][]member `json:"organizations,omitempty"`
}

type member struct {
	UserID string   `json:"user_id"`
	Roles  []string `json:"roles,omitempty"`
}

// manifest is what this plugin wrote into the folder, and so may replace.
type manifest struct {
	Tool     string   `json:"tool"`
	Complete bool     `json:"complete"`
	Users    int      `json:"users"`
	Files    []string `json:"files"`
}

func newFiles(c Config) *files {
	return &files{
		config:  c,
		mapper:  mapper{config: c, assignRoles: c.Roles != choiceMetadata, organizations: c.Tenants != choiceMetadata, seats: c.Roles != choiceMetadata},
		planned: newClaims(), loading: newClaims(),
		hold:    hold[*record]{limit: budget - fileFraming, body: (*record).encoded},
		members: memberships{Roles: map[string][]string{}, Organizations: map[string][]member{}},
	}
}

func (r *record) encoded() []byte { return r.body }

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
	return l
}

// Plan implements [sdk.Planner]. A folder has no accounts to compare with.
func (t *files) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		_, o := t.decide(&users[i], t.planned)
		out.Report(sdk.Change{Outcome: o})
	}
	return nil
}

func (t *files) decide(u *sdk.User, c *claims) (*record, sdk.Outcome) {
	r, refused := t.mapper.user(u)
	if refused == nil {
		refused = c.take(r)
	}
	if refused != nil {
		return nil, *refused
	}
	return r, sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: r.targetID(), Detail: joinNotes(r.notes)}
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
		r, o := t.decide(&users[i], t.loading)
		if err := t.side.add(&users[i], o); err != nil {
			return err
		}
		if r != nil {
			t.take(r)
			if err := t.flush(2); err != nil {
				return sdk.Diagnostics{unwritable(t.config.Out, err)}.Err()
			}
		}
		out.Report(o)
	}
	return nil
}

func (t *files) take(r *record) {
	t.hold.add(r)
	t.users++
	for _, role := range r.roles {
		t.members.Roles[role] = append(t.members.Roles[role], r.targetID())
	}
	for organization, roles := range r.organizations {
		t.members.Organizations[organization] = append(t.members.Organizations[organization], member{r.targetID(), roles})
	}
}

// flush writes files while what waits fills more than n of them: with a choice of
// users, files become full.
func (t *files) flush(n int) error {
	for len(t.hold.items) > 0 && t.hold.full(n) {
		name := fmt.Sprintf("users-%05d.json", len(t.staged)+1)
		if err := writeFile(filepath.Join(t.staging(), name), array(t.hold.cut(), (*record).encoded), 0o600); err != nil {
			return err
		}
		t.staged = append(t.staged, name)
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
	t.side = newSideFile(filepath.Join(t.staging(), deferredName))
	t.started = true
	return nil
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
	if err := t.flush(0); err != nil {
		return err
	}
	if err := t.side.write(); err != nil {
		return err
	}
	old, problem := t.previous()
	if problem != nil {
		return errors.New(problem.Summary)
	}
	for _, ids := range t.members.Roles {
		slices.Sort(ids)
	}
	members, err := json.MarshalIndent(t.members, "", "  ")
	if err != nil {
		return err
	}
	names := slices.Concat(t.staged, []string{membershipsName, scriptName})
	if _, err := os.Stat(filepath.Join(t.staging(), deferredName)); err == nil {
		names = append(names, deferredName)
	}
	err = writeFile(filepath.Join(t.staging(), membershipsName), append(members, '\n'), 0o600)
	if err == nil {
		err = writeFile(filepath.Join(t.staging(), scriptName), uploadScript, 0o700)
	}
	if err != nil {
		return err
	}
	return folder.Replace(t.config.Out, old.Files, names, func(files []string, complete bool) error {
		return t.putManifest(manifest{Tool: "stetl", Users: t.users, Files: files, Complete: complete})
	})
}

func (t *files) putManifest(m manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(t.config.Out, manifestName), append(b, '\n'), 0o600)
}

// Close implements [sdk.Closer]: what was not finished disappears.
func (t *files) Close(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		return nil
	}
	if err := os.RemoveAll(t.staging()); err != nil {
		return fmt.Errorf("remove unfinished files: %w", err)
	}
	return nil
}

var usersFilePattern = regexp.MustCompile(`^users-[0-9]+\.json$`)

// previous reads the manifest of an earlier run and finds what is in the way.
func (t *files) previous() (m manifest, _ *sdk.Diagnostic) {
	foreign := func(summary, hint string) *sdk.Diagnostic {
		return &sdk.Diagnostic{Code: codeOutForeignFiles, Path: "/out", Summary: summary, Hint: hint}
	}
	path := filepath.Join(t.config.Out, manifestName)
	switch b, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		d := unwritable(t.config.Out, err)
		return m, &d
	case json.Unmarshal(b, &m) != nil || m.Tool != "stetl" || !folder.Plain(m.Files):
		return m, foreign(path+" is not a manifest of stetl", "choose an empty folder")
	}
	entries, err := os.ReadDir(t.config.Out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d := unwritable(t.config.Out, err)
		return m, &d
	}
	for _, e := range entries {
		if usersFilePattern.MatchString(e.Name()) && !slices.Contains(m.Files, e.Name()) {
			return m, foreign(fmt.Sprintf("%s holds %s, which stetl did not write", t.config.Out, e.Name()), "an upload would load its users too: move it away or choose another folder")
		}
	}
	return m, nil
}

func unwritable(dir string, err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeOutUnwritable, Path: "/out", Summary: fmt.Sprintf("cannot write into %s", dir), Detail: err.Error(),
		Hint: "name a folder that this user may create or write, on a disk with room",
	}
}

func writeFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

package auth0

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
)

const (
	scriptName      = "upload.sh"
	assignName      = "assign.sh"
	membershipsName = "memberships.json"
	deferredName    = "deferred.jsonl"
)

//go:embed upload.sh
var uploadScript []byte

//go:embed assign.sh
var assignScript []byte

// files writes a folder of import files, each small enough for one job, with a
// script that uploads them, the roles and organizations that have to be assigned
// afterwards, with a script for them, and the accounts that no job can create.
//
// Whenever that is interrupted, the manifest says that the folder is not complete,
// and the script refuses it.
type files struct {
	config Config
	mapper mapper

	mu      sync.Mutex
	folder  folder.Folder
	planned *reconcile.Claims
	loading *reconcile.Claims
	hold    importjob.Hold[*record]
	side    sideFile
	members memberships
	written int // files with users
	users   int
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

var usersFilePattern = regexp.MustCompile(`^users-[0-9]+\.json$`)

func newFiles(c Config) *files {
	return &files{
		config:  c,
		mapper:  mapper{config: c, assignRoles: c.Roles != choiceMetadata, organizations: c.Tenants != choiceMetadata, seats: c.Roles != choiceMetadata},
		folder:  folder.Folder{Dir: c.Out, Users: usersFilePattern, Unwritable: codeOutUnwritable, ForeignFiles: codeOutForeignFiles},
		planned: reconcile.NewClaims(), loading: reconcile.NewClaims(),
		hold:    importjob.NewHold(importjob.Budget-importjob.FileFraming, (*record).encoded),
		members: memberships{Roles: map[string][]string{}, Organizations: map[string][]member{}},
	}
}

func (r *record) encoded() []byte { return r.body }

// Capabilities implements [sdk.Capable].
func (t *files) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Check implements [sdk.Checker].
func (t *files) Check(context.Context, sdk.Needs) sdk.Diagnostics {
	return t.folder.Check()
}

// Plan implements [sdk.Planner]. A folder has no accounts to compare with.
func (t *files) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		_, o := t.decide(&users[i], t.planned)
		out.Report(sdk.Change{Outcome: o})
	}
	return nil
}

func (t *files) decide(u *sdk.User, c *reconcile.Claims) (*record, sdk.Outcome) {
	r, refused := t.mapper.user(u)
	if refused == nil {
		refused = c.Take(u, r.claims()...)
	}
	if refused != nil {
		return nil, *refused
	}
	return r, sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: r.targetID(), Detail: joinNotes(r.notes), Losses: r.losses}
}

// Load implements [sdk.Target]. Nothing counts before Finish.
func (t *files) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.folder.Start(); err != nil {
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
				return t.folder.Failed(err)
			}
		}
		out.Report(o)
	}
	return nil
}

func (t *files) take(r *record) {
	t.hold.Add(r)
	t.users++
	for _, role := range r.belongs.Roles {
		t.members.Roles[role] = append(t.members.Roles[role], r.targetID())
	}
	for organization, roles := range r.belongs.Organizations {
		t.members.Organizations[organization] = append(t.members.Organizations[organization], member{r.targetID(), roles})
	}
}

// flush writes files while what waits fills more than n of them: with a choice of
// users, files become full.
func (t *files) flush(n int) error {
	for t.hold.Len() > 0 && t.hold.Full(n) {
		t.written++
		name := fmt.Sprintf("users-%05d.json", t.written)
		if err := t.folder.Write(name, importjob.Array(t.hold.Cut(), (*record).encoded), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Finish implements [sdk.Finisher]. A run that loaded nobody leaves the folder alone.
func (t *files) Finish(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.folder.Started() {
		return nil
	}
	if err := t.complete(); err != nil {
		return t.folder.Failed(err)
	}
	return t.folder.Commit(t.users)
}

// complete writes what comes after the users.
func (t *files) complete() error {
	if err := t.flush(0); err != nil {
		return err
	}
	for _, ids := range t.members.Roles {
		slices.Sort(ids)
	}
	members, err := json.MarshalIndent(t.members, "", "  ")
	if err == nil {
		err = t.folder.Write(membershipsName, append(members, '\n'), 0o600)
	}
	if err == nil {
		err = t.folder.Write(scriptName, uploadScript, 0o700)
	}
	if err == nil {
		err = t.folder.Write(assignName, assignScript, 0o700)
	}
	if err == nil && len(t.side.lines) > 0 {
		err = t.folder.Write(deferredName, encodeLines(t.side.lines), 0o600)
	}
	return err
}

// Close implements [sdk.Closer]: what was not finished disappears.
func (t *files) Close(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.folder.Discard()
}

package auth0

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

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
	*folder.Target[*record]
	config Config
	mapper mapper

	buffer  importjob.Buffer[*record]
	side    sideFile
	members memberships
	written int // files with users
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
	t := &files{
		config:  c,
		mapper:  mapper{config: c, assignRoles: c.Roles != choiceMetadata, organizations: c.Tenants != choiceMetadata, seats: c.Roles != choiceMetadata},
		buffer:  importjob.NewBuffer(importjob.Budget-importjob.FileFraming, (*record).encoded),
		members: memberships{Roles: map[string][]string{}, Organizations: map[string][]member{}},
	}
	t.Target = folder.NewTarget(folder.Folder{Dir: c.Out, Users: usersFilePattern, Unwritable: codeOutUnwritable, ForeignFiles: codeOutForeignFiles}, t)
	return t
}

func (r *record) encoded() []byte { return r.body }

// Capabilities implements [sdk.Capable].
func (t *files) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Decide implements [folder.Writer].
func (t *files) Decide(u *sdk.User, c *reconcile.Claims) (*record, sdk.Outcome) {
	r, refused := t.mapper.user(u)
	if refused == nil {
		refused = c.Take(u, r.claims()...)
	}
	if refused != nil {
		return nil, *refused
	}
	return r, sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: r.targetID(), Detail: joinNotes(r.notes), Losses: r.losses}
}

// Write implements [folder.Writer].
func (t *files) Write(u *sdk.User, r *record, o sdk.Outcome) error {
	if err := t.side.add(u, o); err != nil || r == nil {
		return err
	}
	t.buffer.Add(r)
	for _, role := range r.belongs.Roles {
		t.members.Roles[role] = append(t.members.Roles[role], r.targetID())
	}
	for organization, roles := range r.belongs.Organizations {
		t.members.Organizations[organization] = append(t.members.Organizations[organization], member{r.targetID(), roles})
	}
	return t.flush(2)
}

// flush writes files while what waits fills more than n of them: with a choice of
// users, files become full.
func (t *files) flush(n int) error {
	for t.buffer.Len() > 0 && t.buffer.Full(n) {
		t.written++
		name := fmt.Sprintf("users-%05d.json", t.written)
		if err := t.Folder.Write(name, importjob.Array(t.buffer.Cut(), (*record).encoded), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Complete implements [folder.Writer].
func (t *files) Complete() error {
	if err := t.flush(0); err != nil {
		return err
	}
	for _, ids := range t.members.Roles {
		slices.Sort(ids)
	}
	members, err := json.MarshalIndent(t.members, "", "  ")
	if err == nil {
		err = t.Folder.Write(membershipsName, append(members, '\n'), 0o600)
	}
	if err == nil {
		err = t.Folder.Write(scriptName, uploadScript, 0o700)
	}
	if err == nil {
		err = t.Folder.Write(assignName, assignScript, 0o700)
	}
	if err == nil && len(t.side.lines) > 0 {
		err = t.Folder.Write(deferredName, encodeLines(t.side.lines), 0o600)
	}
	return err
}

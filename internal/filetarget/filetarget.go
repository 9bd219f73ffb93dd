//go:build unix

package filetarget

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/stetl/stetl/core/sdk"
)

// Config is the configuration of the plugin.
type Config struct {
	Dir string `json:"dir" jsonschema:"folder of the accounts"`
	// Kills lists moments at which the process kills itself, once each.
	Kills []string `json:"kills,omitempty" jsonschema:"before:N or after:N, for the N-th account that is written"`
	// Poison is an e-mail address whose account kills the process each time.
	Poison string `json:"poison,omitempty" jsonschema:"e-mail address that kills the process"`
	// Drops names a field that is confirmed and not kept.
	Drops string `json:"drops,omitempty" jsonschema:"field that is confirmed and not kept"`
	// Loses is an e-mail address whose account is confirmed and not kept.
	Loses string `json:"loses,omitempty" jsonschema:"e-mail address whose account is confirmed and not kept"`
	// Refuses is an e-mail address whose account is rejected, with a code and no word.
	Refuses string `json:"refuses,omitempty" jsonschema:"e-mail address whose account is rejected"`
	// Unique has each account be there once, as most targets have it.
	Unique bool `json:"unique,omitempty" jsonschema:"an account that is there is not made again"`
	// Forgets is an e-mail address whose account is kept without its given name.
	Forgets string `json:"forgets,omitempty" jsonschema:"e-mail address whose account is kept without its given name"`
}

// codeRefused and codeForgotten have their words in the plugin's description only.
const (
	codeRefused   sdk.Code = "file.refused"
	codeForgotten sdk.Code = "file.forgotten"
)

// Plugin returns the plugin.
func Plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "file", Version: "1.0.0",
		Codes: []sdk.CodeInfo{
			{Code: codeRefused, Meaning: "the folder does not like the address", Remedy: "take another address", Path: "/email", Permanent: true},
			{Code: codeForgotten, Meaning: "the folder cannot remember names", Remedy: "nothing"},
		},
		Capabilities: sdk.Capabilities{
			Abilities: []sdk.Ability{sdk.CanDisable},
			Hashes:    []sdk.HashSupport{{Scheme: sdk.Bcrypt}},
			Carries:   []sdk.Feature{sdk.CarriesNames, sdk.CarriesPhone, sdk.CarriesRolePermissions},
			Batch:     sdk.BatchLimits{Users: 5, InFlight: 2},
			Identity:  []string{"dir"},
		},
		New: func(_ context.Context, c Config, env sdk.Env) (sdk.Target, error) {
			t := &Target{config: c, prints: env.Fingerprints, roles: roles{c.Dir}}
			if err := os.MkdirAll(filepath.Join(c.Dir, "accounts"), 0o700); err != nil {
				return nil, err
			}
			return t, os.WriteFile(filepath.Join(c.Dir, fmt.Sprintf("%d.pid", os.Getpid())), nil, 0o600)
		},
	}
}

// Target is an open folder.
type Target struct {
	config Config
	prints sdk.Fingerprints
	roles

	mu      sync.Mutex
	written int
}

// roles are those that the process is told of: it leaves them in a file of its own.
type roles struct{ dir string }

// DefineRoles implements [sdk.RoleKeeper].
func (r roles) DefineRoles(_ context.Context, all []sdk.Role) error {
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dir, fmt.Sprintf("%d.roles", os.Getpid())), raw, 0o600)
}

// record is an account as it is stored: what the source named it, and its fields.
type record struct {
	Key    string            `json:"key"`
	Fields map[string]string `json:"fields"`
}

func fields(u *sdk.User) map[string]string {
	return map[string]string{
		"username": u.Username, "email": u.Email, "phone": u.Phone, "given_name": u.GivenName, "password": u.Password.Encode(),
	}
}

func (t *Target) path(id string) string { return filepath.Join(t.config.Dir, "accounts", id+".json") }

func (t *Target) read(id string) (*record, error) {
	raw, err := os.ReadFile(t.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no account is no failure
	}
	if err != nil {
		return nil, err
	}
	var r record
	return &r, json.Unmarshal(raw, &r)
}

// write replaces the file at once, so that a kill leaves the old or the new one.
func (t *Target) write(id string, r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.path(id)+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(t.path(id)+".new", t.path(id))
}

// find looks for the account of a user that may be there already.
func (t *Target) find(u *sdk.User) (string, *record, error) {
	if u.Prior.TargetID != "" {
		r, err := t.read(u.Prior.TargetID)
		if r != nil || err != nil {
			return u.Prior.TargetID, r, err
		}
	}
	files, err := filepath.Glob(t.path("*"))
	if err != nil {
		return "", nil, err
	}
	for _, path := range files {
		id := strings.TrimSuffix(filepath.Base(path), ".json")
		if r, err := t.read(id); err != nil || r != nil && r.Key == u.ID {
			return id, r, err
		}
	}
	return "", nil, nil
}

func (t *Target) log(format string, args ...any) error {
	f, err := os.OpenFile(filepath.Join(t.config.Dir, "requests.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, format+"\n", args...)
	return errors.Join(err, f.Close())
}

// compare says what a load would do with u.
func (t *Target) compare(u *sdk.User) (sdk.Change, map[string]string, error) {
	c := sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}}
	if t.refuses(u) {
		c.Action, c.Code = sdk.Rejected, codeRefused
		return c, nil, nil
	}
	id, have, err := t.find(u)
	if err != nil || have == nil {
		return c, nil, err
	}
	want := fields(u)
	c.TargetID, c.State = id, t.prints.State(have.Fields)
	c.Fields = t.prints.Diff(u.Prior.State, have.Fields, want, func(field, value string) string {
		if field == "password" && value != "" {
			return t.prints.Of(value)
		}
		return value
	})
	switch {
	case len(c.Fields) == 0:
		c.Action = sdk.Unchanged
	case u.Existing != sdk.Update:
		c.Action, c.Code = sdk.Skipped, sdk.CodeExistsDiffers
	case u.Expect != nil && !bytes.Equal(u.Expect, c.State):
		c.Action, c.Code = sdk.Rejected, sdk.CodeMoved
	default:
		c.Action = sdk.Updated
	}
	return c, have.Fields, nil
}

func (t *Target) refuses(u *sdk.User) bool {
	return t.config.Refuses != "" && u.Email == t.config.Refuses
}

// Plan implements [sdk.Planner].
func (t *Target) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range users {
		c, _, err := t.compare(&users[i])
		if err := errors.Join(err, t.log("look %s", users[i].ID)); err != nil {
			return err
		}
		out.Report(c)
	}
	return nil
}

// Load implements [sdk.Target]. A user that never was on its way is not looked for, unless
// accounts are unique.
func (t *Target) Load(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range users {
		u := &users[i]
		if t.config.Poison != "" && u.Email == t.config.Poison {
			die()
		}
		t.written++
		t.killed("before")
		o, err := t.load(u)
		if err != nil {
			return err
		}
		t.killed("after")
		out.Report(o)
	}
	return nil
}

func (t *Target) load(u *sdk.User) (sdk.Outcome, error) {
	c := sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}}
	var before map[string]string
	if u.Prior.InDoubt || u.Prior.TargetID != "" || u.Existing == sdk.Update || t.config.Unique || t.refuses(u) {
		var err error
		if c, before, err = t.compare(u); err != nil {
			return c.Outcome, err
		}
	}
	switch c.Action {
	case sdk.Created:
		c.TargetID = strings.ToLower(rand.Text())
	case sdk.Updated:
		raw, err := json.Marshal(before)
		if err != nil {
			return c.Outcome, err
		}
		c.Before = raw
	default:
		return c.Outcome, nil
	}
	keep := fields(u)
	if t.config.Forgets != "" && u.Email == t.config.Forgets {
		c.Losses = []sdk.PartLoss{{Feature: sdk.CarriesNames, Code: codeForgotten, Attribute: "given_name"}}
	}
	c.State = t.prints.State(keep)
	if t.config.Drops != "" {
		keep[t.config.Drops] = ""
	}
	if err := t.log("%s %s", c.Action, u.ID); err != nil {
		return c.Outcome, err
	}
	if t.config.Loses != "" && u.Email == t.config.Loses {
		return c.Outcome, nil
	}
	return c.Outcome, t.write(c.TargetID, &record{Key: u.ID, Fields: keep})
}

// Undo implements [sdk.Undoer].
func (t *Target) Undo(_ context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range accounts {
		o := sdk.Outcome{SourceID: a.SourceID, TargetID: a.TargetID, Action: sdk.Unchanged}
		r, err := t.read(a.TargetID)
		if err != nil {
			return err
		}
		if r != nil {
			if o, err = t.undo(a, r); err != nil {
				return err
			}
		}
		out.Report(o)
	}
	return nil
}

func (t *Target) undo(a sdk.Account, r *record) (sdk.Outcome, error) {
	o := sdk.Outcome{SourceID: a.SourceID, TargetID: a.TargetID}
	if a.State != nil && !bytes.Equal(a.State, t.prints.State(r.Fields)) {
		o.Action, o.Code = sdk.Skipped, sdk.CodeMoved
		return o, nil
	}
	switch {
	case a.DryRun && !a.Disable && a.Before == nil:
		o.Action = sdk.Deleted
		return o, nil
	case a.DryRun:
		o.Action = sdk.Updated
		return o, nil
	case a.Disable:
		before, err := json.Marshal(r.Fields)
		if err != nil {
			return o, err
		}
		r.Fields["switched off"] = "true"
		o.Action, o.Before, o.State = sdk.Updated, before, t.prints.State(r.Fields)
		return o, errors.Join(t.write(a.TargetID, r), t.log("switch off %s", r.Key))
	}
	if a.Before == nil {
		o.Action = sdk.Deleted
		return o, errors.Join(os.Remove(t.path(a.TargetID)), t.log("delete %s", r.Key))
	}
	o.Action, r.Fields = sdk.Updated, nil
	if err := json.Unmarshal(a.Before, &r.Fields); err != nil {
		return o, err
	}
	return o, errors.Join(t.write(a.TargetID, r), t.log("restore %s", r.Key))
}

// killed ends the process when the moment is one of those configured, and was not
// reached before.
func (t *Target) killed(when string) {
	moment := fmt.Sprintf("%s:%d", when, t.written)
	for _, kill := range t.config.Kills {
		if kill != moment {
			continue
		}
		f, err := os.OpenFile(filepath.Join(t.config.Dir, moment+".killed"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_ = f.Close()
			die()
		}
	}
}

func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // the signal may hit another thread first
}

// Command stetl-plugin-ndjson is a complete target plugin in one file: it appends users
// to a file, one JSON object a line, and never twice. It is the smallest thing that
// keeps every rule of the protocol.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

func main() { sdk.Serve(plugin()) }

type config struct {
	Path string `json:"path" jsonschema:"the file to append to"`
}

// codeUnusable is the one code that no other plugin has.
const codeUnusable sdk.Code = "ndjson.unusable"

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "ndjson", Version: "1.0.0",
		Codes: []sdk.CodeInfo{{
			Code: codeUnusable, Meaning: "the file cannot be read, or holds something else", Remedy: "name another file, or set its permissions",
		}},
		Capabilities: sdk.Capabilities{
			Hashes:      []sdk.HashSupport{{Scheme: sdk.Bcrypt}, {Scheme: sdk.Argon2id}},
			Carries:     []sdk.Feature{sdk.CarriesID, sdk.CarriesEmailVerified, sdk.CarriesNames},
			MaxIDLength: 255,
		},
		New: func(_ context.Context, c config, env sdk.Env) (sdk.Target, error) {
			t := &file{path: c.Path, prints: env.Fingerprints, known: map[string]record{}}
			if err := t.read(); err != nil {
				return nil, sdk.Diagnostics{{
					Code: codeUnusable, Path: "/path", Summary: fmt.Sprintf("%s cannot be used: %v", c.Path, err), Hint: "name another file",
				}}.Err()
			}
			return t, nil
		},
	}
}

// record is a line of the file.
type record struct {
	ID            string `json:"id"`
	Username      string `json:"username"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified"`
	GivenName     string `json:"given_name,omitempty"`
	FamilyName    string `json:"family_name,omitempty"`
	Enabled       bool   `json:"enabled"`
	Hash          string `json:"password_hash,omitempty"`
}

func newRecord(u *sdk.User) record {
	return record{
		ID: u.ID, Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified != nil && *u.EmailVerified,
		GivenName: u.GivenName, FamilyName: u.FamilyName, Enabled: u.Enabled, Hash: u.Password.Encode(),
	}
}

func (r record) fields() map[string]string {
	return map[string]string{
		"username": r.Username, "email": r.Email, "email_verified": strconv.FormatBool(r.EmailVerified),
		"given_name": r.GivenName, "family_name": r.FamilyName, "enabled": strconv.FormatBool(r.Enabled), "password_hash": r.Hash,
	}
}

// file is the target.
type file struct {
	path   string
	prints sdk.Fingerprints

	mu    sync.Mutex
	known map[string]record // what is in the file, by id
	whole int64             // how much of it is whole lines
}

// read finds out what earlier runs have written. A last line without its end is what a
// killed process leaves; it is written over, as nobody was told that it is there.
func (t *file) read() error {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return err
		}
		t.known[rec.ID] = rec
		t.whole += int64(len(line))
	}
}

// decide says what becomes of u. A file that is appended to cannot change a line, so
// there are no updates.
func (t *file) decide(u *sdk.User) sdk.Change {
	c := sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}}
	if u.ID == "" || len(u.ID) > 255 {
		c.Action, c.Code, c.Detail = sdk.Rejected, sdk.CodeIDInvalid, "the id needs 1 to 255 bytes"
		return c
	}
	have, ok := t.known[u.ID]
	if !ok {
		return c
	}
	c.Action, c.TargetID, c.State = sdk.Unchanged, have.ID, t.prints.State(have.fields())
	differences := t.prints.Diff(u.Prior.State, have.fields(), newRecord(u).fields(), func(string, string) string { return "" })
	if len(differences) > 0 {
		var names []string
		for _, d := range differences {
			names = append(names, d.Field)
		}
		c.Action, c.Code, c.Detail = sdk.Skipped, sdk.CodeExistsDiffers, "differs in "+strings.Join(names, ", ")
	}
	return c
}

// Plan implements [sdk.Planner].
func (t *file) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range users {
		out.Report(t.decide(&users[i]))
	}
	return nil
}

// Load implements [sdk.Target]. A batch is one write; nobody is reported before it is
// on the disk.
func (t *file) Load(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []byte
	added := map[string]record{}
	outcomes := make([]sdk.Outcome, len(users))
	for i := range users {
		o := t.decide(&users[i]).Outcome
		if _, twice := added[users[i].ID]; twice {
			o.Action, o.Code = sdk.Rejected, sdk.CodeIDConflict
		}
		if o.Action == sdk.Created {
			rec := newRecord(&users[i])
			line, err := json.Marshal(rec)
			if err != nil {
				return err
			}
			lines, added[rec.ID] = append(append(lines, line...), '\n'), rec
			o.TargetID, o.State = rec.ID, t.prints.State(rec.fields())
		}
		outcomes[i] = o
	}
	if err := t.add(lines); err != nil {
		return err
	}
	for id, rec := range added {
		t.known[id] = rec
	}
	for _, o := range outcomes {
		out.Report(o)
	}
	return nil
}

// add appends lines durably.
func (t *file) add(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(t.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(t.whole)
	if err == nil {
		_, err = f.WriteAt(lines, t.whole)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		t.whole += int64(len(lines))
	}
	return err
}

package scim

import (
	"bufio"
	"bytes"
	"context"
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
	usersName       = "users.ndjson"
	membershipsName = "memberships.ndjson"
)

// files writes a folder: bulk-N.json, each the body of one request to /Bulk;
// users.ndjson, one user a line; and memberships.ndjson, one pair of group and
// externalId a line, for groups take ids that only the server gives.
//
// Everything is written into a hidden folder first and moved in Finish, the
// manifest last.
type files struct {
	config Config
	mapper mapper

	mu      sync.Mutex
	started bool
	users   int
	names   []string // of what is staged
	lines   *stagedFile
	members *stagedFile
	bulk    *stagedFile
	inBulk  int
	bulks   int
}

// manifest is what this plugin wrote into the folder, and so may replace.
type manifest struct {
	Tool     string   `json:"tool"`
	Complete bool     `json:"complete"`
	Users    int      `json:"users"`
	Files    []string `json:"files"`
}

func newFiles(c Config) *files {
	return &files{config: c, mapper: mapper{config: c, extension: c.Extension.Use != never, groups: true}}
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
	l.Add(passwordNotes(t.config)...)
	return l
}

// Plan implements [sdk.Planner]. A folder has no accounts to compare with.
func (t *files) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		_, o := t.decide(&users[i])
		out.Report(sdk.Change{Outcome: o})
	}
	return nil
}

func (t *files) decide(u *sdk.User) (*desired, sdk.Outcome) {
	d, rejected := t.mapper.user(u)
	if rejected != nil {
		return nil, *rejected
	}
	return d, sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, Detail: d.note()}
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
		d, o := t.decide(&users[i])
		if d != nil {
			if err := t.write(d); err != nil {
				return sdk.Diagnostics{unwritable(t.config.Out, err)}.Err()
			}
		}
		out.Report(o)
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

func (t *files) write(d *desired) error {
	body, err := d.encode()
	if err != nil {
		return err
	}
	t.users++
	if t.config.Format != formatBulk {
		if err := t.line(&t.lines, usersName, body); err != nil {
			return err
		}
	}
	for _, group := range d.groups {
		pair, err := marshal(map[string]string{"group": group, "externalId": d.body.text("externalId")})
		if err != nil {
			return err
		}
		if err := t.line(&t.members, membershipsName, pair); err != nil {
			return err
		}
	}
	if t.config.Format == formatNDJS {
		return nil
	}
	return t.operation(body)
}

func (t *files) line(f **stagedFile, name string, b []byte) (err error) {
	if *f == nil {
		if *f, err = t.create(name); err != nil {
			return err
		}
	}
	return (*f).write(b, []byte("\n"))
}

// operation adds a POST to the Bulk request that is being written.
func (t *files) operation(body json.RawMessage) (err error) {
	separator := ",\n"
	if t.bulk == nil {
		t.bulks++
		if t.bulk, err = t.create(fmt.Sprintf("bulk-%05d.json", t.bulks)); err != nil {
			return err
		}
		if err := t.bulk.write([]byte(`{"schemas":["` + messageBulk + `"],"Operations":[`)); err != nil {
			return err
		}
		separator = "\n"
	}
	op, err := marshal(bulkOperation{Method: "POST", Path: "/Users", BulkID: fmt.Sprintf("u%09d", t.users), Data: body})
	if err != nil {
		return err
	}
	if err := t.bulk.write([]byte(separator), op); err != nil {
		return err
	}
	if t.inBulk++; t.inBulk < t.config.BulkSize {
		return nil
	}
	return t.endBulk()
}

func (t *files) endBulk() error {
	f := t.bulk
	t.bulk, t.inBulk = nil, 0
	if f == nil {
		return nil
	}
	return errors.Join(f.write([]byte("\n]}\n")), f.close())
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

func (t *files) closeAll() error {
	err := t.endBulk()
	for _, f := range []**stagedFile{&t.lines, &t.members} {
		if *f != nil {
			err = errors.Join(err, (*f).close())
			*f = nil
		}
	}
	return err
}

func (t *files) commit() error {
	if err := t.closeAll(); err != nil {
		return err
	}
	old, problem := t.previous()
	if problem != nil {
		return errors.New(problem.Summary)
	}
	return folder.Replace(t.config.Out, old.Files, t.names, func(files []string, complete bool) error {
		return t.putManifest(manifest{Tool: "stetl", Complete: complete, Users: t.users, Files: files})
	})
}

func (t *files) putManifest(m manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	staged := filepath.Join(t.staging(), manifestName)
	f, err := os.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
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
	if err := errors.Join(t.closeAll(), os.RemoveAll(t.staging())); err != nil {
		return fmt.Errorf("remove unfinished files: %w", err)
	}
	return nil
}

var ourNames = regexp.MustCompile(`^(bulk-[0-9]+\.json|users\.ndjson|memberships\.ndjson)$`)

// previous reads the manifest of an earlier run and finds what is in the way.
func (t *files) previous() (manifest, *sdk.Diagnostic) {
	var m manifest
	path := filepath.Join(t.config.Out, manifestName)
	switch b, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		d := unwritable(t.config.Out, err)
		return m, &d
	case json.Unmarshal(b, &m) != nil || m.Tool != "stetl" || slices.ContainsFunc(m.Files, func(n string) bool { return !ourNames.MatchString(n) }):
		return m, &sdk.Diagnostic{Code: codeOutForeignFiles, Path: "/out", Summary: path + " is not a manifest of stetl for SCIM", Hint: "choose an empty folder"}
	}
	entries, err := os.ReadDir(t.config.Out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d := unwritable(t.config.Out, err)
		return m, &d
	}
	var others []string
	for _, e := range entries {
		if ourNames.MatchString(e.Name()) && !slices.Contains(m.Files, e.Name()) {
			others = append(others, e.Name())
		}
	}
	if len(others) > 0 {
		return m, &sdk.Diagnostic{
			Code: codeOutForeignFiles, Path: "/out", Summary: fmt.Sprintf("%s holds users that stetl did not write: %s", t.config.Out, joinList(others)),
			Hint: "move them away or choose another folder",
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

// stagedFile is one file of the folder to be.
type stagedFile struct {
	f *os.File
	w *bufio.Writer
}

func (t *files) create(name string) (*stagedFile, error) {
	f, err := os.OpenFile(filepath.Join(t.staging(), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	t.names = append(t.names, name)
	return &stagedFile{f: f, w: bufio.NewWriter(f)}, nil
}

func (s *stagedFile) write(parts ...[]byte) error {
	for _, p := range parts {
		if _, err := s.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *stagedFile) close() error {
	err := s.w.Flush()
	if err == nil {
		err = s.f.Sync()
	}
	return errors.Join(err, s.f.Close())
}

// marshal encodes without the escapes that only HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

package auth0

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
)

// sideFile lists accounts that no job can create, a JSON object a line, so that
// whoever restores what belongs to them at their first sign-in knows them. Lines of
// earlier runs stay.
type sideFile struct {
	path string

	mu    sync.Mutex
	lines map[string]json.RawMessage // by source id
	fresh bool                       // something was added
}

// deferredAccount is one line.
type deferredAccount struct {
	SourceID      string     `json:"supertokens_internal_id"`
	ID            string     `json:"supertokens_id"`
	Code          sdk.Code   `json:"code"`
	Email         string     `json:"email,omitempty"`
	EmailVerified bool       `json:"email_verified"`
	Phone         string     `json:"phone,omitempty"`
	Identities    []identity `json:"identities,omitempty"`
	Tenants       []string   `json:"tenants,omitempty"`
}

func newSideFile(path string) *sideFile {
	return &sideFile{path: path, lines: map[string]json.RawMessage{}}
}

// add notes u when o defers it.
func (s *sideFile) add(u *sdk.User, o sdk.Outcome) error {
	switch o.Code {
	case codeSocialDeferred, codePasswordlessDeferred, codeHashDeferred:
	default:
		return nil
	}
	a := deferredAccount{
		SourceID: u.SourceID, ID: u.ID, Code: o.Code, Email: u.Email, EmailVerified: u.EmailVerified != nil && *u.EmailVerified,
		Phone: u.Phone, Tenants: u.Tenants,
	}
	for _, id := range u.Identities {
		a.Identities = append(a.Identities, identity{id.Provider, id.Subject})
	}
	line, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the deferred account %s: %w", u.SourceID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[u.SourceID], s.fresh = line, true
	return nil
}

// write puts the file in place, together with what earlier runs wrote into it.
func (s *sideFile) write() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh {
		return nil
	}
	old, err := os.ReadFile(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := map[string]json.RawMessage{}
	scan := bufio.NewScanner(bytes.NewReader(old))
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		var a deferredAccount
		if json.Unmarshal(scan.Bytes(), &a) != nil || a.SourceID == "" {
			return fmt.Errorf("%s holds lines that are not of stetl: move it away", s.path)
		}
		all[a.SourceID] = bytes.Clone(scan.Bytes())
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	maps.Copy(all, s.lines)
	var b bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(all)) {
		b.Write(all[id])
		b.WriteByte('\n')
	}
	if err := replaceFile(s.path, b.Bytes(), 0o600); err != nil {
		return err
	}
	s.fresh = false
	return nil
}

// replaceFile writes a file so that a reader sees the old content or the new.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".stetl-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return folder.Sync(filepath.Dir(path))
}

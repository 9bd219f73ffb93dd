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
	if s.lines == nil {
		s.lines = map[string]json.RawMessage{}
	}
	s.lines[u.SourceID], s.fresh = line, true
	return nil
}

// write puts the file at path, together with what earlier runs wrote into it.
func (s *sideFile) write(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := map[string]json.RawMessage{}
	scan := bufio.NewScanner(bytes.NewReader(old))
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		var a deferredAccount
		if json.Unmarshal(scan.Bytes(), &a) != nil || a.SourceID == "" {
			return fmt.Errorf("%s holds lines that are not of stetl: move it away", path)
		}
		all[a.SourceID] = bytes.Clone(scan.Bytes())
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	maps.Copy(all, s.lines)
	if err := replaceFile(path, encodeLines(all)); err != nil {
		return err
	}
	s.fresh = false
	return nil
}

func encodeLines(lines map[string]json.RawMessage) []byte {
	var b bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		b.Write(lines[id])
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// replaceFile writes a file, which only its owner can read, so that a reader sees the
// old content or the new.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".stetl-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
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

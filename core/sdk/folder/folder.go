// Package folder is for targets that write a folder of files. Files wait in a hidden
// folder until the run is complete, and then take the place of those of an earlier run;
// a manifest says which files are stetl's and whether they are complete, so that an
// interruption at any moment leaves a folder that says so, and nothing of anybody else
// is ever removed.
//
// It knows nothing about what the files hold.
package folder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

const (
	manifestName = "stetl-manifest.json"
	// staging is the folder, inside the one that is written, where files wait.
	staging = ".stetl-staging"
)

// Folder is what one run writes. Its methods are not for concurrent use.
type Folder struct {
	Dir string
	// Realm is whose files they are, where those of another must not be replaced.
	Realm string
	// Users matches the names of files with users. One that stetl did not write is in
	// the way, because whoever loads the folder would load it too.
	Users *regexp.Regexp
	// The codes of the two problems, both of the configuration's field out.
	Unwritable, ForeignFiles sdk.Code

	started bool
	names   []string // of what waits, in the order of its creation
	files   []*File  // the same
}

// manifest says what stetl wrote into the folder, and so may replace.
type manifest struct {
	Tool     string   `json:"tool"`
	Realm    string   `json:"realm,omitempty"`
	Complete bool     `json:"complete"`
	Users    int      `json:"users"`
	Files    []string `json:"files"`
}

// Check finds, without writing, what would keep a run from filling the folder.
func (f *Folder) Check() (l sdk.Diagnostics) {
	if err := Writable(f.Dir); err != nil {
		l.Add(f.unwritable(err))
		return l
	}
	if _, problem := f.previous(); problem != nil {
		l.Add(*problem)
	}
	return l
}

// Start prepares the folder for files, unless that is done.
func (f *Folder) Start() error {
	if f.started {
		return nil
	}
	if _, problem := f.previous(); problem != nil {
		return sdk.Diagnostics{*problem}.Err()
	}
	err := os.RemoveAll(f.path()) // of a run that was killed
	if err == nil {
		err = os.MkdirAll(f.path(), 0o700)
	}
	f.started = err == nil
	return f.Failed(err)
}

// Started tells whether there is anything to commit.
func (f *Folder) Started() bool { return f.started }

// Create begins a file, which only its owner can read.
func (f *Folder) Create(name string) (*File, error) { return f.create(name, 0o600) }

// Write writes a whole file.
func (f *Folder) Write(name string, content []byte, mode fs.FileMode) error {
	file, err := f.create(name, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}

func (f *Folder) create(name string, mode fs.FileMode) (*File, error) {
	file, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	begun := &File{Writer: bufio.NewWriter(file), file: file}
	f.names, f.files = append(f.names, name), append(f.files, begun)
	return begun, nil
}

// Commit puts the files, all of them closed, in the place of those of an earlier run,
// and is where they begin to count. Files are moved in the order of their creation, and
// old ones removed in the reverse, so that the last one is never there without the others.
func (f *Folder) Commit(users int) error {
	if !f.started {
		return nil
	}
	old, problem := f.previous()
	if problem != nil {
		return sdk.Diagnostics{*problem}.Err()
	}
	err := f.replace(old.Files, func(files []string, complete bool) error {
		return f.putManifest(manifest{Tool: "stetl", Realm: f.Realm, Users: users, Files: files, Complete: complete})
	})
	f.started = err != nil
	return f.Failed(err)
}

// replace has note write down, durably, which files are stetl's and whether they are
// complete: before the first change the old and the new ones, so that a later run knows
// both as its own, and at the end the new ones.
func (f *Folder) replace(old []string, note func(files []string, complete bool) error) error {
	kept := slices.DeleteFunc(slices.Clone(old), func(n string) bool { return slices.Contains(f.names, n) })
	if err := note(append(kept, f.names...), false); err != nil {
		return err
	}
	for _, name := range slices.Backward(old) {
		if err := os.Remove(filepath.Join(f.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := Sync(f.Dir); err != nil {
		return err
	}
	for _, name := range f.names {
		if err := os.Rename(f.path(name), filepath.Join(f.Dir, name)); err != nil {
			return err
		}
	}
	if err := Sync(f.Dir); err != nil {
		return err
	}
	if err := note(f.names, true); err != nil {
		return err
	}
	return os.RemoveAll(f.path())
}

func (f *Folder) putManifest(m manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(f.path(manifestName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(b, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.path(manifestName), filepath.Join(f.Dir, manifestName)); err != nil {
		return err
	}
	return Sync(f.Dir)
}

// Discard removes what was not committed, also files that were not closed.
func (f *Folder) Discard() error {
	if !f.started {
		return nil
	}
	for _, file := range f.files {
		_ = file.file.Close() // most are closed, and what the others have does not count
	}
	if err := os.RemoveAll(f.path()); err != nil {
		return fmt.Errorf("remove unfinished files: %w", err)
	}
	f.started = false
	return nil
}

// Foreign tells whether a file of this name is there and not stetl's.
func (f *Folder) Foreign(name string) bool {
	if _, err := os.Lstat(filepath.Join(f.Dir, name)); err != nil {
		return false
	}
	m, _ := f.previous()
	return !slices.Contains(m.Files, name)
}

// Failed says of an error that it kept stetl from writing the folder.
func (f *Folder) Failed(err error) error {
	if err == nil {
		return nil
	}
	return sdk.Diagnostics{f.unwritable(err)}.Err()
}

func (f *Folder) unwritable(err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: f.Unwritable, Path: "/out", Summary: "cannot write into " + f.Dir, Detail: err.Error(),
		Hint: "name a folder that this user may create or write, on a disk with free space",
	}
}

// previous reads the manifest of an earlier run and finds what is in the way.
func (f *Folder) previous() (m manifest, _ *sdk.Diagnostic) {
	unreadable := func(err error) (manifest, *sdk.Diagnostic) {
		d := f.unwritable(err)
		return m, &d
	}
	foreign := func(summary, hint string) (manifest, *sdk.Diagnostic) {
		return m, &sdk.Diagnostic{Code: f.ForeignFiles, Path: "/out", Summary: summary, Hint: hint}
	}
	path := filepath.Join(f.Dir, manifestName)
	switch b, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return unreadable(err)
	case json.Unmarshal(b, &m) != nil || m.Tool != "stetl" || !plain(m.Files):
		return foreign(path+" is not a manifest of stetl", "choose an empty folder")
	case m.Realm != f.Realm:
		return foreign(fmt.Sprintf("%s holds the files of realm %q", f.Dir, m.Realm), "give each realm a folder of its own")
	}
	entries, err := os.ReadDir(f.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unreadable(err)
	}
	var others []string
	for _, e := range entries {
		if f.Users.MatchString(e.Name()) && !slices.Contains(m.Files, e.Name()) {
			others = append(others, e.Name())
		}
	}
	if len(others) > 0 {
		return foreign(fmt.Sprintf("%s holds users that stetl did not write: %s", f.Dir, strings.Join(others, ", ")),
			"an import of the folder would load them, too: move them away or choose another folder")
	}
	return m, nil
}

func (f *Folder) path(name ...string) string {
	return filepath.Join(append([]string{f.Dir, staging}, name...)...)
}

// plain tells whether all names are those of files in a folder itself. A list of files
// to remove that somebody has changed must not lead out of it.
func plain(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool {
		return n == "" || n == "." || n == ".." || n != filepath.Base(n) || !filepath.IsLocal(n)
	})
}

// File is a file of a [Folder] that is being written.
type File struct {
	*bufio.Writer
	file *os.File
}

// Close makes the file durable.
func (f *File) Close() error {
	err := f.Flush()
	if err == nil {
		err = f.file.Sync()
	}
	return errors.Join(err, f.file.Close())
}

// Writable finds out without writing whether dir can be created or written.
func Writable(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if parent := filepath.Dir(dir); parent != dir {
			return Writable(parent)
		}
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	return mayWrite(dir)
}

// Package folder has what targets that write a folder of files share: finding out
// whether they may, and replacing the files of an earlier run by those of a new one so
// that an interruption at any moment leaves a folder that says so.
//
// It knows nothing about what the files hold.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Staging is the name of the folder, inside the one that is written, where the files
// of a run wait until it is complete.
const Staging = ".stetl-staging"

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

// Plain tells whether all names are those of files in a folder itself. A list of files
// to remove that somebody has changed must not lead out of it.
func Plain(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool {
		return n == "" || n == "." || n == ".." || n != filepath.Base(n) || !filepath.IsLocal(n)
	})
}

// Replace removes the old files of dir and moves the new ones there from its [Staging]
// folder, in their order. The last one of old is removed first. note writes down,
// durably, which files are stetl's and whether they are complete: before the first
// change it gets the old and the new ones, so that a later run knows both as its own,
// and at the end the new ones.
func Replace(dir string, old, names []string, note func(files []string, complete bool) error) error {
	if !Plain(old) || !Plain(names) {
		return fmt.Errorf("%s: a list of its files names others", dir)
	}
	kept := slices.DeleteFunc(slices.Clone(old), func(n string) bool { return slices.Contains(names, n) })
	if err := note(append(kept, names...), false); err != nil {
		return err
	}
	for _, name := range slices.Backward(old) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := Sync(dir); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, Staging, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := Sync(dir); err != nil {
		return err
	}
	if err := note(names, true); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, Staging))
}

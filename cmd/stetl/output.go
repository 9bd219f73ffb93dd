package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// printable is what a command has found out.
type printable interface {
	WriteText(w io.Writer) error
	WriteJSON(w io.Writer) error
}

// print writes it to standard output, as --json says.
func (a *app) print(p printable) error {
	if a.asJSON {
		return p.WriteJSON(a.out)
	}
	return p.WriteText(a.screen())
}

// save writes to the file that --out names, or to standard output where it names none.
func (a *app) save(out string, write func(io.Writer) error) error {
	if out == "" {
		return write(a.screen())
	}
	return replaceFile(out, write)
}

// replaceFile writes a file that only its owner can read, and puts it in place
// only when it is complete.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // created 0600
	if err != nil {
		return refusedError(fmt.Errorf("create %s: %w", path, err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("put %s in place: %w", path, err)
	}
	return f.Close()
}

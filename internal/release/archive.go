package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name string // with slashes
	from string // on this machine; empty is a folder
	text []byte // instead of from
	mode fs.FileMode
	user int
}

func (e *entry) content() ([]byte, error) {
	if e.from == "" {
		return e.text, nil
	}
	return os.ReadFile(e.from)
}

// contents is what every archive has beside the program, in the order of their names.
func (r *release) contents() ([]entry, error) {
	var all []entry
	add := func(root, below string) error {
		return filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			relative, err := filepath.Rel(root, at)
			if err != nil {
				return err
			}
			if strings.HasPrefix(filepath.ToSlash(relative), "out/") || strings.HasPrefix(relative, ".stetl") { // what examples have written
				return nil
			}
			all = append(all, entry{name: path.Join(below, filepath.ToSlash(relative)), from: at, mode: 0o644})
			return nil
		})
	}
	for _, name := range r.Files {
		if err := add(name, name); err != nil {
			return nil, err
		}
	}
	err := add(filepath.Join(r.work, "papers"), "")
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return all, err
}

// base is the name of what is made for a platform, without its ending.
func (r *release) base(platform string) string {
	return fmt.Sprintf("%s_%s_%s", r.Name, r.version, strings.ReplaceAll(platform, "/", "_"))
}

func (r *release) archives() error {
	contents, err := r.contents()
	if err != nil {
		return err
	}
	for _, platform := range r.Platforms {
		binary := r.binary(platform)
		all := append([]entry{{name: filepath.Base(binary), from: binary, mode: 0o755}}, contents...)
		for i := range all {
			all[i].name = path.Join(r.base(platform), all[i].name)
		}
		to, write := filepath.Join(r.out, r.base(platform)+".tar.gz"), writeTarGz
		if strings.HasPrefix(platform, "windows/") {
			to, write = filepath.Join(r.out, r.base(platform)+".zip"), writeZip
		}
		if err := toFile(to, func(w io.Writer) error { return write(w, all, r.when) }); err != nil {
			return err
		}
	}
	return nil
}

// protocol packs the .proto files, for authors of plugins in other languages.
func (r *release) protocol() error {
	root := filepath.Join("core", "pluginpb", "proto")
	var all []entry
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(at) != ".proto" {
			return err
		}
		relative, err := filepath.Rel(root, at)
		all = append(all, entry{name: filepath.ToSlash(relative), from: at, mode: 0o644})
		return err
	})
	if err == nil && len(all) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return fmt.Errorf("the .proto files in %s: %w", root, err)
	}
	return toFile(filepath.Join(r.out, fmt.Sprintf("stetl-protocol_%s.tar.gz", r.version)), func(w io.Writer) error { return writeTarGz(w, all, r.when) })
}

func toFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func writeTarGz(w io.Writer, all []entry, when time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	return errors.Join(writeTar(z, all, when), z.Close())
}

func writeTar(w io.Writer, all []entry, when time.Time) error {
	t := tar.NewWriter(w)
	for i := range all {
		e := &all[i]
		h := &tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), ModTime: when, Uid: e.user, Gid: e.user, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		content, err := e.content()
		if err != nil {
			return err
		}
		if e.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
			if e.mode&fs.ModeSticky != 0 {
				h.Mode |= 0o1000
			}
		}
		h.Size = int64(len(content))
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(content); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeZip(w io.Writer, all []entry, when time.Time) error {
	z := zip.NewWriter(w)
	for i := range all {
		e := &all[i]
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: when}
		h.SetMode(e.mode)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		content, err := e.content()
		if err != nil {
			return err
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
	}
	return z.Close()
}

func sumOf(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// checksums writes those of all that is handed on, in the form of sha256sum.
func checksums(r *release) error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, e := range entries {
		if e.IsDir() || e.Name() == "checksums.txt" {
			continue
		}
		sum, err := sumOf(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "checksums.txt"), b.Bytes(), 0o644) //nolint:gosec // nothing secret in it
}

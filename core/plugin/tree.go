package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
)

// A plugin in an interpreted language is a folder called like its executable, which lies in
// it under the same name, with all that it needs beside it. It is pinned, packed and
// verified as a whole, and what runs is a copy of what was verified: so it must not care
// where it lies.

// Bounds of a folder, in files and bytes.
const (
	maxTreeFiles = 50_000
	maxTree      = maxPlugin
)

// unpinned are folders that interpreters fill by themselves. They are not part of a
// plugin: nothing in them is pinned, copied or run.
var unpinned = []string{"__pycache__", ".git"}

// treeFile is one file of a folder, or a link to one.
type treeFile struct {
	name string // slashes between parts
	mode fs.FileMode
	link string // where a link leads
	size int64
}

// readTree lists the files of a folder in the order of their names.
func readTree(root string) ([]treeFile, error) {
	var files []treeFile
	var all int64
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if at != root && slices.Contains(unpinned, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := treeFile{name: filepath.ToSlash(name), mode: info.Mode(), size: info.Size()}
		switch {
		case f.mode&fs.ModeSymlink != 0:
			if f.link, err = os.Readlink(at); err != nil {
				return err
			}
			if !within(f.name, f.link) {
				return &unpinnableError{f.name + " is a link to " + f.link + ", outside of the folder"}
			}
		case !f.mode.IsRegular():
			return &unpinnableError{f.name + " is neither a file nor a link"}
		}
		all += f.size
		if files = append(files, f); len(files) > maxTreeFiles || all > maxTree {
			return &unpinnableError{fmt.Sprintf("the folder has more than %d files or %d bytes", maxTreeFiles, maxTree)}
		}
		return nil
	})
	slices.SortFunc(files, func(a, b treeFile) int { return strings.Compare(a.name, b.name) })
	return files, err
}

// unpinnableError says why the checksum of a file says nothing about what runs.
type unpinnableError struct{ why string }

func (e *unpinnableError) Error() string { return e.why }

// within reports whether a link in the file called name stays in the folder.
func within(name, link string) bool {
	return !filepath.IsAbs(link) && filepath.IsLocal(filepath.Join(filepath.Dir(filepath.FromSlash(name)), link))
}

// sumTree is the checksum of a folder: that of the list of its files with their
// checksums. each, when set, gets every regular file to read once.
func sumTree(root string, files []treeFile, each func(f treeFile, content io.Reader) (sum string, err error)) (string, error) {
	if each == nil {
		each = func(_ treeFile, content io.Reader) (string, error) { return copySum(io.Discard, content) }
	}
	all := sha256.New()
	for _, f := range files {
		kind, sum := "file", ""
		switch {
		case f.link != "":
			kind, sum = "link", sumOf([]byte(filepath.ToSlash(f.link)))
		case f.mode&0o100 != 0:
			kind = "exec"
		}
		if f.link == "" {
			content, err := os.Open(filepath.Join(root, filepath.FromSlash(f.name)))
			if err != nil {
				return "", err
			}
			sum, err = each(f, content)
			if err = errors.Join(err, content.Close()); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(all, "%s %s %q\n", kind, sum, f.name)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// copyTree copies a folder and returns the checksum of what it has copied.
func copyTree(root, to string) (string, error) {
	files, err := readTree(root)
	if err != nil {
		return "", err
	}
	sum, err := sumTree(root, files, func(f treeFile, content io.Reader) (string, error) {
		return writeTreeFile(to, f, content)
	})
	if err != nil {
		return "", err
	}
	return sum, linkTree(to, files)
}

// writeTreeFile makes one file of a folder.
func writeTreeFile(root string, f treeFile, content io.Reader) (sum string, err error) {
	at := filepath.Join(root, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil { //nolint:gosec // no secrets in it
		return "", err
	}
	mode := fs.FileMode(0o644)
	if f.mode&0o100 != 0 {
		mode = 0o755
	}
	file, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return "", err
	}
	sum, err = copySum(file, content)
	return sum, errors.Join(err, file.Chmod(mode), file.Close())
}

// linkTree makes the links of a folder, after all else: nothing is written through them.
func linkTree(root string, files []treeFile) error {
	for _, f := range files {
		if f.link == "" {
			continue
		}
		at := filepath.Join(root, filepath.FromSlash(f.name))
		err := os.MkdirAll(filepath.Dir(at), 0o755) //nolint:gosec // no secrets in it
		if err == nil {
			err = os.Symlink(f.link, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Checksum is the SHA-256, in hex, of the executable at loc, or of its folder.
func Checksum(loc Location) (string, error) {
	if loc.Root == "" {
		return checksumOf(loc.Path)
	}
	files, err := readTree(loc.Root)
	if err != nil {
		return "", err
	}
	return sumTree(loc.Root, files, nil)
}

// Pinnable says why a checksum of the plugin at loc would say nothing about what runs: an
// [*Error], or nil.
func Pinnable(loc Location) error {
	err := pinnable(loc)
	why, ok := errors.AsType[*unpinnableError](err)
	if !ok {
		return err
	}
	return &Error{
		loc.Name, diag.PluginUnpinnable, why.why,
		fmt.Sprintf("put everything that it needs into a folder %s%s, with a launcher of the same name in it that finds the other files relative to itself", Prefix, loc.Name),
	}
}

// longestLauncher bounds the scripts that are searched for paths.
const longestLauncher = 1 << 20

func pinnable(loc Location) error {
	f, err := os.Open(loc.Path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head, err := io.ReadAll(io.LimitReader(f, longestLauncher))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("#!")) {
		return nil
	}
	if loc.Root == "" {
		return &unpinnableError{loc.Path + " is a script: its checksum does not cover the files that it starts and loads"}
	}
	if bytes.Contains(head, []byte(loc.Root)) {
		return &unpinnableError{fmt.Sprintf("its launcher names its folder as %s, so a verified copy would start what lies there", loc.Root)}
	}
	first, rest, _ := bytes.Cut(head, []byte("\n"))
	interpreter, _, _ := strings.Cut(strings.TrimSpace(string(first[2:])), " ")
	if _, err := os.Stat(filepath.Join(filepath.Dir(interpreter), "..", "pyvenv.cfg")); err == nil {
		return &unpinnableError{"its launcher is run by " + interpreter + ", of a virtual environment outside of the folder, which holds what it loads"}
	}
	for _, path := range absolutePath.FindAllString(string(rest), -1) {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && !ofSystem.MatchString(path) {
			return &unpinnableError{"its launcher names " + path + ", outside of the folder"}
		}
	}
	_, err = readTree(loc.Root)
	return err
}

var (
	absolutePath = regexp.MustCompile(`/[A-Za-z0-9._/-]+`)
	// ofSystem is what no plugin brings along: interpreters and what they come with.
	ofSystem = regexp.MustCompile(`^/(?:bin|sbin|lib|lib64|usr|etc|dev|proc)/`)
)

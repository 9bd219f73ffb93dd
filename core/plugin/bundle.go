package plugin

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
)

// A bundle carries plugins to machines without a network: a gzipped tar file whose
// first entry is a lock file ([LockName]) and whose others are the executables it
// names, for one platform, as [Prefix] and name; of a plugin that is a folder, the files
// in it.

// maxPlugin bounds what one executable of a bundle may unpack to.
const maxPlugin = 1 << 30

// Packed is one plugin that goes into a bundle. Root is its folder, where it is one.
type Packed struct {
	Path, Root    string
	Name, Version string
}

// WriteBundle writes a bundle for this platform. The checksums are those of what is
// written, whatever happens to the files meanwhile.
func WriteBundle(w io.Writer, plugins []Packed) error {
	l := NewLock("")
	staged, err := os.MkdirTemp("", "stetl-bundle")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(staged) }()
	for _, p := range plugins {
		if _, twice := l.Plugins[p.Name]; twice {
			return fmt.Errorf("two executables call themselves plugin %s", p.Name)
		}
		sum, err := p.copyTo(filepath.Join(staged, Prefix+p.Name))
		if err != nil {
			return fmt.Errorf("pack plugin %s: %w", p.Name, err)
		}
		l.Pin(p.Name, p.Version, sum)
	}
	index, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	zipped := gzip.NewWriter(w)
	out := tar.NewWriter(zipped)
	index = append(index, '\n')
	err = out.WriteHeader(&tar.Header{Name: LockName, Mode: 0o644, Size: int64(len(index))})
	if err == nil {
		_, err = out.Write(index)
	}
	for _, p := range plugins {
		if err == nil {
			err = addTo(out, staged, Prefix+p.Name)
		}
	}
	if err = errors.Join(err, out.Close(), zipped.Close()); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

// copyTo copies the plugin and returns the checksum of the copy.
func (p Packed) copyTo(to string) (string, error) {
	if p.Root != "" {
		return copyTree(p.Root, to)
	}
	from, err := os.Open(p.Path)
	if err != nil {
		return "", err
	}
	defer func() { _ = from.Close() }()
	return writeTreeFile(filepath.Dir(to), treeFile{name: filepath.Base(to), mode: 0o755}, from)
}

// addTo writes a file, or all files of a folder, to a tar file.
func addTo(out *tar.Writer, staged, name string) error {
	info, err := os.Stat(filepath.Join(staged, name))
	if err != nil {
		return err
	}
	files, prefix := []treeFile{{name: name, mode: 0o755, size: info.Size()}}, ""
	if info.IsDir() {
		prefix = name + "/"
		if files, err = readTree(filepath.Join(staged, name)); err != nil {
			return err
		}
	}
	for _, f := range files {
		h := &tar.Header{Name: prefix + f.name, Mode: int64(f.mode.Perm()), Size: f.size}
		if f.link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, filepath.ToSlash(f.link), 0
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if f.link != "" {
			continue
		}
		content, err := os.Open(filepath.Join(staged, filepath.FromSlash(h.Name)))
		if err == nil {
			_, err = io.Copy(out, content)
			err = errors.Join(err, content.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Installed is one plugin that [InstallBundle] has put in place.
type Installed struct {
	Name, Version, Path, SHA256 string
}

// InstallBundle unpacks the plugins of a bundle into dir, which it makes, and pins them in
// lock, which the caller writes. It unpacks all of them and verifies each before it puts
// the first one in place; a plugin of the same name is replaced. replace, when set, is
// asked before that about every plugin for which lock has another pin; an error of it ends
// everything.
func InstallBundle(bundle io.Reader, dir string, lock *Lock, replace func(p Installed, pinned Locked) error) (done []Installed, err error) {
	zipped, err := gzip.NewReader(bundle)
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	in := tar.NewReader(zipped)
	index, err := bundleIndex(in)
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // no secrets in it
		return nil, fmt.Errorf("make the folder for plugins: %w", err)
	}
	staged, err := os.MkdirTemp(dir, ".stetl-")
	if err != nil {
		return nil, fmt.Errorf("unpack the bundle: %w", err)
	}
	defer func() { _ = os.RemoveAll(staged) }()
	if err := unpack(in, index, staged); err != nil {
		return nil, err
	}
	for name, entry := range index.Plugins {
		p := Installed{Name: name, Version: entry.Version, Path: filepath.Join(dir, Prefix+name)}
		if p.SHA256, err = verifyUnpacked(name, &entry, staged); err != nil {
			return nil, err
		}
		done = append(done, p)
	}
	slices.SortFunc(done, func(a, b Installed) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range done {
		pinned, known := lock.Plugins[p.Name]
		if known && replace != nil && !slices.Contains(pinned.SHA256[Platform()], p.SHA256) {
			if err := replace(p, pinned); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range done {
		if err := putInPlace(filepath.Join(staged, Prefix+p.Name), p.Path, staged); err != nil {
			return nil, fmt.Errorf("put plugin %s in place: %w", p.Name, err)
		}
		lock.Pin(p.Name, p.Version, p.SHA256)
	}
	return done, nil
}

// unpack writes what the rest of a bundle holds into a folder.
func unpack(in *tar.Reader, index *Lock, staged string) error {
	var links []treeFile
	left := map[string]int64{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return linkTree(staged, links)
		}
		if err != nil {
			return fmt.Errorf("read the bundle: %w", err)
		}
		// A name of the lock is a name of a plugin: it leads nowhere but to the folder.
		first, rest, folder := strings.Cut(h.Name, "/")
		name := NameOf(first)
		if _, named := index.Plugins[name]; !named || first != Prefix+name || !validName.MatchString(name) || folder && !filepath.IsLocal(rest) {
			return fmt.Errorf("read the bundle: entry %q is no part of a plugin that its %s names", h.Name, LockName)
		}
		f := treeFile{name: h.Name, mode: fs.FileMode(h.Mode) | 0o700, link: h.Linkname} //nolint:gosec // only the bits of permissions count
		if folder {
			f.mode = fs.FileMode(h.Mode) //nolint:gosec // as above
		}
		if left[name] += h.Size; left[name] > maxPlugin || len(left) > maxTreeFiles {
			return fmt.Errorf("read the bundle: plugin %s is larger than %d bytes", name, maxPlugin)
		}
		switch {
		case h.Typeflag == tar.TypeReg:
			f.link = ""
			if _, err := writeTreeFile(staged, f, in); errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("read the bundle: entry %q is there twice", h.Name)
			} else if err != nil {
				return fmt.Errorf("unpack plugin %s: %w", name, err)
			}
		case h.Typeflag == tar.TypeSymlink && folder && within(rest, h.Linkname):
			links = append(links, f)
		default:
			return fmt.Errorf("read the bundle: entry %q is no part of a plugin that its %s names", h.Name, LockName)
		}
	}
}

// verifyUnpacked makes sure that an unpacked plugin is the one that the bundle names.
func verifyUnpacked(name string, entry *Locked, staged string) (string, error) {
	loc := at(name, filepath.Join(staged, Prefix+name))
	sum, err := Checksum(loc)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the bundle: it does not carry plugin %s, which its %s names", name, LockName)
	}
	if err != nil {
		return "", fmt.Errorf("unpack plugin %s: %w", name, err)
	}
	if !slices.Contains(entry.SHA256[Platform()], sum) {
		return "", &Error{
			name, diag.PluginChecksum, fmt.Sprintf("the bundle's %s accepts %v for %s, and what it carries has sha256 %s", LockName, entry.SHA256[Platform()], Platform(), sum),
			"get the bundle again from its author, for this platform",
		}
	}
	return sum, nil
}

// putInPlace moves an unpacked plugin to where it is to be, in the stead of an older one.
func putInPlace(from, to, staged string) error {
	old := filepath.Join(staged, "old-"+filepath.Base(to))
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Rename(old, to))
	}
	return nil
}

// bundleIndex reads the first entry.
func bundleIndex(in *tar.Reader) (*Lock, error) {
	h, err := in.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != LockName || h.Size > 1<<20 {
		return nil, fmt.Errorf("it begins with %q instead of %s; stetl plugin bundle makes bundles", h.Name, LockName)
	}
	index := &Lock{}
	dec := json.NewDecoder(in)
	dec.DisallowUnknownFields()
	if err := dec.Decode(index); err != nil {
		return nil, fmt.Errorf("%s: %w", LockName, err)
	}
	return index, nil
}

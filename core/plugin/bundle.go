package plugin

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/stetl/stetl/core/diag"
)

// A bundle carries plugins to machines without a network: a gzipped tar file whose
// first entry is a lock file ([LockName]) and whose others are the executables it
// names, for one platform, as [Prefix] and name.

// maxPlugin bounds what one executable of a bundle may unpack to.
const maxPlugin = 1 << 30

// Packed is one executable that goes into a bundle.
type Packed struct {
	Path          string
	Name, Version string
}

// WriteBundle writes a bundle for this platform. The checksums are those of what is
// written, whatever happens to the files meanwhile.
func WriteBundle(w io.Writer, plugins []Packed) error {
	l := NewLock("")
	contents := make([][]byte, len(plugins))
	for i, p := range plugins {
		if _, twice := l.Plugins[p.Name]; twice {
			return fmt.Errorf("two executables call themselves plugin %s", p.Name)
		}
		content, err := os.ReadFile(p.Path)
		if err != nil {
			return fmt.Errorf("pack plugin %s: %w", p.Name, err)
		}
		contents[i] = content
		l.Pin(p.Name, p.Version, sumOf(content))
	}
	index, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	zipped := gzip.NewWriter(w)
	out := tar.NewWriter(zipped)
	add := func(name string, mode int64, content []byte) error {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := out.Write(content)
		return err
	}
	err = add(LockName, 0o644, append(index, '\n'))
	for i, p := range plugins {
		if err == nil {
			err = add(Prefix+p.Name, 0o755, contents[i])
		}
	}
	if err = errors.Join(err, out.Close(), zipped.Close()); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

// Installed is one plugin that [InstallBundle] has put in place.
type Installed struct {
	Name, Version, Path, SHA256 string
}

// InstallBundle unpacks the executables of a bundle into dir and pins them in lock,
// which the caller writes. It unpacks all of them and verifies each before it puts
// the first one in place; an executable of the same name is replaced.
func InstallBundle(bundle io.Reader, dir string, lock *Lock) (done []Installed, err error) {
	zipped, err := gzip.NewReader(bundle)
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	in := tar.NewReader(zipped)
	index, err := bundleIndex(in)
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	staged := map[string]string{} // final path → staged path
	defer func() {
		for _, path := range staged {
			_ = os.Remove(path) // what is in place has moved
		}
	}()
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the bundle: %w", err)
		}
		// A name of the lock is a name of a plugin: it leads nowhere but to dir.
		name := NameOf(h.Name)
		entry, named := index.Plugins[name]
		if !named || h.Name != Prefix+name || h.Typeflag != tar.TypeReg || !validName.MatchString(name) || h.Size > maxPlugin {
			return nil, fmt.Errorf("read the bundle: entry %q is not an executable that its %s names", h.Name, LockName)
		}
		to := filepath.Join(dir, Prefix+name)
		if staged[to] != "" {
			return nil, fmt.Errorf("read the bundle: plugin %s is there twice", name)
		}
		sum, path, err := stage(to, in)
		if err != nil {
			return nil, fmt.Errorf("unpack plugin %s: %w", name, err)
		}
		staged[to] = path
		if !slices.Contains(entry.SHA256[Platform()], sum) {
			return nil, &Error{
				name, diag.PluginChecksum, fmt.Sprintf("the bundle's %s accepts %v for %s, and what it carries has sha256 %s", LockName, entry.SHA256[Platform()], Platform(), sum),
				"get the bundle again, for this platform and from who has made it",
			}
		}
		done = append(done, Installed{Name: name, Version: entry.Version, Path: to, SHA256: sum})
	}
	if len(done) != len(index.Plugins) {
		return nil, fmt.Errorf("read the bundle: it carries %d executables, and its %s names %d", len(done), LockName, len(index.Plugins))
	}
	for _, p := range done {
		if err := os.Rename(staged[p.Path], p.Path); err != nil {
			return nil, fmt.Errorf("put plugin %s in place: %w", p.Name, err)
		}
		lock.Pin(p.Name, p.Version, p.SHA256)
	}
	return done, nil
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

// stage writes an executable beside where it is to go.
func stage(to string, from io.Reader) (sum, path string, err error) {
	f, err := os.CreateTemp(filepath.Dir(to), ".stetl-*")
	if err != nil {
		return "", "", err
	}
	sum, err = copySum(f, from)
	if err == nil {
		err = f.Chmod(0o755)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", "", errors.Join(err, os.Remove(f.Name()))
	}
	return sum, f.Name(), nil
}

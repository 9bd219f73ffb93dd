package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/stetl/stetl/core/diag"
)

// LockName is the file, beside a configuration, that says which executables of
// plugins may run.
const LockName = "stetl.lock"

// Lock is the content of a lock file. What is in it is verified at every start;
// bundled plugins need no entry.
type Lock struct {
	// Plugins by name.
	Plugins map[string]Locked `json:"plugins"`

	path string
}

// Locked is one plugin of a lock file.
type Locked struct {
	// Version is what the plugin called itself when it was locked, for people.
	Version string `json:"version"`
	// SHA256 holds the accepted checksums, in hex, by platform such as
	// "linux/amd64": of the executable, or of the folder that the plugin is.
	SHA256 map[string][]string `json:"sha256"`
}

// ReadLock reads the lock file at path. The lock is nil when there is no such file.
func ReadLock(path string) (*Lock, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no lock is a valid answer
	}
	if err != nil {
		return nil, fmt.Errorf("read the lock of plugins: %w", err)
	}
	l := &Lock{path: path}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(l); err != nil {
		return nil, fmt.Errorf("read the lock of plugins: %s: %w", path, err)
	}
	return l, nil
}

// NewLock is an empty lock that is to be written to path.
func NewLock(path string) *Lock { return &Lock{path: path} }

// Platform is what this machine is called in a lock.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Pin accepts the executable with that checksum for this platform, and no other one.
// Entries for other platforms stay when they belong to the same version.
func (l *Lock) Pin(name, version, checksum string) {
	if l.Plugins == nil {
		l.Plugins = map[string]Locked{}
	}
	entry := l.Plugins[name]
	if entry.Version != version || entry.SHA256 == nil {
		entry = Locked{Version: version, SHA256: map[string][]string{}}
	}
	entry.SHA256[Platform()] = []string{checksum}
	l.Plugins[name] = entry
}

// Write replaces the lock file.
func (l *Lock) Write() error {
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write the lock of plugins: %w", err)
	}
	temp := l.path + ".new"
	err = os.WriteFile(temp, append(raw, '\n'), 0o644) //nolint:gosec // it belongs into version control
	if err == nil {
		err = os.Rename(temp, l.path)
	}
	if err != nil {
		return fmt.Errorf("write the lock of plugins: %w", err)
	}
	return nil
}

// verify finds out whether an executable with that checksum may run.
func (l *Lock) verify(loc Location, checksum string) error {
	accept := fmt.Sprintf("if you trust it, accept it with: stetl plugin lock %s --lock %s", loc.place(), l.path)
	entry, ok := l.Plugins[loc.Name]
	if !ok {
		return &Error{loc.Name, diag.PluginChecksum, fmt.Sprintf("%s does not name it, and %s has sha256 %s", l.path, loc.place(), checksum), accept}
	}
	accepted := entry.SHA256[Platform()]
	switch {
	case slices.Contains(accepted, checksum):
		return nil
	case len(accepted) == 0:
		return &Error{loc.Name, diag.PluginChecksum, fmt.Sprintf("%s has no checksum of it for %s, and %s has sha256 %s", l.path, Platform(), loc.place(), checksum), accept}
	}
	return &Error{
		loc.Name, diag.PluginChecksum,
		fmt.Sprintf("%s has sha256 %s, but %s accepts version %s with %s", loc.place(), checksum, l.path, entry.Version, accepted[0]), accept,
	}
}

// checksumOf is the SHA-256 of a file in hex.
func checksumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return copySum(io.Discard, f)
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func copySum(to io.Writer, from io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, sum), from); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// verified returns the location of a copy of the executable that l accepts, in a
// private folder: what was checked is what runs, whoever replaces the file in the
// meantime. Without a lock, and for bundled plugins, it is loc itself.
func verified(loc Location, l *Lock) (Location, string, error) {
	if l == nil || loc.Bundled {
		return loc, "", nil
	}
	dir, err := os.MkdirTemp(shortTempDir(), "stetl-plugin")
	if err != nil {
		return loc, "", fmt.Errorf("make a folder for plugin %s: %w", loc.Name, err)
	}
	copied := loc
	if loc.Root == "" {
		copied.Path = filepath.Join(dir, filepath.Base(loc.Path))
		err = copyVerified(loc, copied.Path, l)
	} else {
		copied.Root = filepath.Join(dir, filepath.Base(loc.Root))
		copied.Path = filepath.Join(copied.Root, filepath.Base(loc.Path))
		err = copyTreeVerified(loc, copied.Root, l)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return loc, "", err
	}
	return copied, dir, nil
}

func copyTreeVerified(loc Location, to string, l *Lock) error {
	if err := Pinnable(loc); err != nil {
		return err
	}
	sum, err := copyTree(loc.Root, to)
	if err != nil {
		return fmt.Errorf("copy plugin %s: %w", loc.Name, err)
	}
	return l.verify(loc, sum)
}

func copyVerified(loc Location, to string, l *Lock) error {
	from, err := os.Open(loc.Path)
	if err != nil {
		return &Error{loc.Name, diag.PluginNotExecutable, "it cannot be read: " + err.Error(), "let this user read it, so that its checksum can be verified"}
	}
	defer func() { _ = from.Close() }()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700) //nolint:gosec // it is to be executed by this user
	if err != nil {
		return fmt.Errorf("copy plugin %s: %w", loc.Name, err)
	}
	checksum, err := copySum(f, from)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copy plugin %s: %w", loc.Name, err)
	}
	return l.verify(loc, checksum)
}

package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/pluginapi"
)

// Bundled maps the names of plugins that are part of this executable to the
// arguments that make it serve them.
type Bundled map[string][]string

// Options of [Find] and [Launch].
type Options struct {
	Bundled Bundled
	// Path is the executable, absolute, where the configuration names one.
	Path string
	// Dir, absolute, is searched instead of the folder of this executable.
	Dir string
	// Reattach, when it names the plugin, is where to find it instead of starting it:
	// the value of [ReattachVariable]. For debugging only.
	Reattach string
	// Lock, when set, says which executables may run; bundled ones always may.
	Lock *Lock
	// WorkDir is the folder that relative paths in a plugin's configuration
	// start from, that of the configuration file; empty is the current one.
	WorkDir string
	// Log receives what plugins write, with the attributes plugin and pid. Nil
	// discards. Levels it does not enable are not produced in the first place.
	Log *slog.Logger
	// UserAgent is the product token of this program, such as "stetl/1.4.0".
	UserAgent string
	// StartTimeout bounds the time from start to handshake; 0 is ten seconds.
	StartTimeout time.Duration
	// FingerprintKey makes states comparable between runs: 32 bytes, kept beside
	// what the runs remember. Nil has the plugin choose one for this process.
	FingerprintKey []byte
	// Memory keeps small values for the plugin from run to run, such as the ids of
	// jobs. Nil forgets them with the process.
	Memory Memory
	// Pulse, when set, hears how the plugin is getting on, one call at a time.
	Pulse func(pluginapi.Pulse)
	// Silence, when set, hears that the plugin has said nothing for a minute, and every
	// minute from then on; a Silence of no time is its end. SilenceLimit, when not 0, is
	// when such a plugin is killed: whoever is with it is in doubt then.
	Silence      func(Silence)
	SilenceLimit time.Duration

	// For tests: leave the end of orphans to the plugin itself, and be less
	// patient with it.
	orphanable   bool
	closeTimeout time.Duration
}

// Memory keeps small values for a plugin.
type Memory = conversation.Memory

// Silence says that a plugin has said nothing for a while.
type Silence = conversation.Silence

// SilentError says that a plugin was given up because it said nothing for too long.
type SilentError = conversation.SilentError

// Location is an executable that claims to be a plugin.
type Location struct {
	Name string
	Path string
	Args []string
	// Root is the folder that the plugin is, with the executable at Path in it; empty for
	// one that is a single file.
	Root string
	// Bundled says that it is this executable itself.
	Bundled bool
}

// place is what the plugin is: its folder or its file.
func (l Location) place() string { return cmp.Or(l.Root, l.Path) }

// at is the plugin called name that is a file or a folder at path.
func at(name, path string) Location {
	path = filepath.Clean(path)
	loc := Location{Name: name, Path: path}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		if inner := filepath.Join(path, filepath.Base(path)); exists(inner) {
			loc.Root, loc.Path = path, inner
		}
	case filepath.Base(filepath.Dir(path)) == filepath.Base(path) && strings.HasPrefix(filepath.Base(path), Prefix):
		loc.Root = filepath.Dir(path)
	}
	return loc
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Prefix is what the file name of a plugin's executable starts with.
const Prefix = "stetl-plugin-"

// NameOf is the name of the plugin in an executable, as its file name says.
func NameOf(path string) string {
	name := filepath.Base(path)
	if runtime.GOOS == "windows" {
		name = strings.TrimSuffix(name, ".exe")
	}
	return strings.TrimPrefix(name, Prefix)
}

var validName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Find looks up the plugin called name: o.Path if set, else a bundled plugin,
// else stetl-plugin-NAME in o.Dir or, where that is not set, beside this
// executable. It is an executable, or a folder with one of the same name in it. The working directory and PATH are never searched, nothing is run,
// and a failure is an [*Error].
func Find(name string, o Options) (Location, error) {
	if !validName.MatchString(name) {
		return Location{}, &Error{name, diag.PluginBadName, fmt.Sprintf("%q is not a plugin name", name), "use lower-case letters, digits and single dashes"}
	}
	if o.Path != "" {
		if !filepath.IsAbs(o.Path) {
			return Location{}, &Error{name, diag.PluginNotFound, fmt.Sprintf("path %s is relative", o.Path), "give the absolute path"}
		}
		loc := at(name, o.Path)
		return loc, check(name, loc.Path, "correct the path of the plugin")
	}
	self, err := os.Executable()
	if err != nil {
		return Location{}, fmt.Errorf("find this executable: %w", err)
	}
	if args, ok := o.Bundled[name]; ok {
		return Location{Name: name, Path: self, Args: args, Bundled: true}, nil
	}
	dir := o.Dir
	if dir == "" {
		if self, err = filepath.EvalSymlinks(self); err != nil {
			return Location{}, fmt.Errorf("find the folder of this executable: %w", err)
		}
		dir = filepath.Dir(self)
	}
	fix := "put the executable there, or set path or plugin_dir"
	if best := diag.Suggest(name, slices.Collect(maps.Keys(o.Bundled))); best != "" {
		fix = fmt.Sprintf("did you mean %s?", best)
	}
	if !filepath.IsAbs(dir) { // it would depend on the working directory
		return Location{}, &Error{name, diag.PluginNotFound, fmt.Sprintf("plugin_dir %s is relative", dir), "give the absolute path"}
	}
	path := filepath.Join(dir, Prefix+name)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	loc := at(name, path)
	return loc, check(name, loc.Path, fix)
}

// check reports why path cannot be run, as far as its file tells.
func check(name, path, ifMissing string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Error{name, diag.PluginNotFound, "there is no " + path, ifMissing}
	case err != nil:
		return &Error{name, diag.PluginNotFound, fmt.Sprintf("%s cannot be examined: %v", path, errors.Unwrap(err)), "check the permissions of its folder"}
	case info.IsDir():
		return &Error{name, diag.PluginNotExecutable, path + " is a directory", "name the executable in it, or give it the name of the folder"}
	case !info.Mode().IsRegular():
		return &Error{name, diag.PluginNotExecutable, path + " is not a regular file", "replace it by the executable"}
	case runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return &Error{name, diag.PluginNotExecutable, path + " is not executable", "run chmod +x " + path}
	}
	return nil
}

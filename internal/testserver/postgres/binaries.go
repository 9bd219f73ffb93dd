//go:build unix

package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// usualPlaces are the bin folders of distributions and installers, most of
// which keep them off PATH.
var usualPlaces = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// installed returns the bin folder of the PostgreSQL on PATH, else of the
// newest one in the usual places.
func installed() (string, bool) {
	if path, err := exec.LookPath("postgres"); err == nil {
		// Beside the link there may be wrappers, beside its target are the
		// other programs of the same version.
		if target, err := filepath.EvalSymlinks(path); err == nil && isServer(filepath.Dir(target)) {
			return filepath.Dir(target), true
		}
	}
	var found []string
	for _, pattern := range usualPlaces {
		dirs, _ := filepath.Glob(pattern) // the patterns are well-formed
		found = append(found, dirs...)
	}
	found = slices.DeleteFunc(found, func(dir string) bool { return !isServer(dir) })
	if len(found) == 0 {
		return "", false
	}
	return slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(major(a), major(b)) }), true
}

func isServer(bin string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return false
		}
	}
	return true
}

var digits = regexp.MustCompile(`\d+`)

// major is the version that the path of a bin folder names, 0 if it names none.
func major(bin string) int {
	n, _ := strconv.Atoi(digits.FindString(bin))
	return n
}

// logs are the files that the library keeps its logs in.
func logs() []string {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), "embedded_postgres_log*")) // the pattern is well-formed
	return all
}

// fetched returns the bin folder of a PostgreSQL in the test cache, fetching it
// once. It holds the server only, no client programs.
func fetched() (string, error) {
	const version = embeddedpostgres.V17
	dir, err := testenv.Cached("postgres-"+string(version), func(dir string) error {
		work, err := os.MkdirTemp("", "stetl-fetch-")
		if err != nil {
			return fmt.Errorf("make a folder for the download: %w", err)
		}
		port, err := proc.FreePort()
		if err != nil {
			return err
		}
		// The library has no call that only fetches. A locale that does not
		// exist ends its Start where it would run initdb.
		config := embeddedpostgres.DefaultConfig().Version(version).Port(uint32(port)).
			CachePath(work).RuntimePath(filepath.Join(work, "run")).BinariesPath(dir).
			Locale("none").Logger(nil)
		before := logs()
		startErr := embeddedpostgres.NewDatabase(config).Start()
		// A start that fails leaves its log behind.
		for _, path := range logs() {
			if !slices.Contains(before, path) {
				startErr = errors.Join(startErr, os.Remove(path))
			}
		}
		if !isServer(filepath.Join(dir, "bin")) {
			return errors.Join(fmt.Errorf("fetch PostgreSQL %s: %w", version, startErr), os.RemoveAll(work))
		}
		return os.RemoveAll(work)
	})
	return filepath.Join(dir, "bin"), err
}

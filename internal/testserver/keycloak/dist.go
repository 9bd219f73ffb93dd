//go:build unix

package keycloak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/jdk"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const (
	// Version is the newest release that can be had, and what tests run on
	// unless they say otherwise.
	Version = "26.7.3"
	// OldVersion is the last patch of the oldest minor release that tests cover.
	OldVersion = "26.0.8"
)

// prepareTimeout only ends tests whose server hangs: fetching and building take
// one to two minutes on a slow machine.
const prepareTimeout = 15 * time.Minute

func javaHome(version string) (string, error) {
	majors := []int{17, 21}
	if version == Version {
		majors = append(majors, 25) // supported since 26.6
	}
	return jdk.Home("java", majors...)
}

// dist returns the folder of an unpacked, unchanged distribution, which must stay so.
func dist(tb testing.TB, version, java string) (string, error) {
	tb.Helper()
	dir, err := testenv.Cached("keycloak-"+version, func(dir string) error {
		defer testenv.Wait(tb, "Maven to fetch Keycloak "+version)()
		ctx, cancel := context.WithTimeout(tb.Context(), prepareTimeout)
		defer cancel()
		err := jdk.Maven(ctx, tb.TempDir(), java, // it leaves a marker file where it runs
			"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack",
			"-Dartifact=org.keycloak:keycloak-quarkus-dist:"+version+":zip",
			"-DoutputDirectory="+dir)
		if err != nil {
			err = fmt.Errorf("fetch Keycloak %s: %w", version, err)
		}
		return err
	})
	return filepath.Join(dir, "keycloak-"+version), err
}

// installation is a built server with an initialised database, in the cache.
type installation struct {
	title string // for people
	home  string
	java  string
	// launcher starts its processes; nil for [proc.Start].
	launcher func(cmd *exec.Cmd, signal, dir string) (*proc.Process, error)
}

func (i installation) database() string {
	return filepath.Join(i.home, "data", "h2", "keycloakdb.mv.db")
}
func (i installation) classes() string { return filepath.Join(i.home, "classes.jsa") }

// prepare builds the installation for these options, unless the cache has it.
func prepare(tb testing.TB, opts Options, pristine, java string) (installation, error) {
	tb.Helper()
	key, err := opts.key(java)
	if err != nil {
		return installation{}, err
	}
	home, err := testenv.Cached("keycloak-"+opts.Version+"-"+key, func(home string) error {
		defer testenv.Wait(tb, "a build of "+opts.title())()
		ctx, cancel := context.WithTimeout(tb.Context(), prepareTimeout)
		defer cancel()
		if err := linkTree(pristine, home); err != nil {
			return fmt.Errorf("lay out server: %w", err)
		}
		for name, jar := range opts.Providers {
			if err := os.WriteFile(filepath.Join(home, "providers", name), jar, 0o600); err != nil {
				return fmt.Errorf("install provider: %w", err)
			}
		}
		i := installation{home: home, java: java}
		database := "dev-file"
		if opts.Postgres != "" {
			database = "postgres"
		}
		build := append([]string{"build", "--db=" + database, "--health-enabled=true"}, opts.Build...)
		if err := i.run(ctx, home, Options{}, build...); err != nil {
			return fmt.Errorf("build server: %w", err)
		}
		if opts.Postgres != "" {
			return nil // each database is initialised by the server that uses it
		}
		return i.initialise(ctx)
	})
	if err != nil {
		return installation{}, fmt.Errorf("prepare Keycloak %s: %w", opts.Version, err)
	}
	return installation{title: opts.title(), home: home, java: java}, nil
}

// title is what people are told that tests wait for.
func (o Options) title() string {
	parts := append([]string{"Keycloak " + o.Version}, slices.Sorted(maps.Keys(o.Providers))...)
	parts = append(parts, o.Build...)
	if o.Postgres != "" {
		parts = append(parts, "on PostgreSQL")
	}
	return strings.Join(parts, " ")
}

// key identifies what an installation is made of.
func (o Options) key(java string) (string, error) {
	release, err := os.ReadFile(filepath.Join(java, "release"))
	if err != nil {
		return "", fmt.Errorf("identify Java: %w", err)
	}
	h := sha256.New()
	const layout = "3" // of installation folders, to be counted up with it
	fmt.Fprintf(h, "%s\n%s\n%s\n%q\n", layout, java, release, o.Build)
	if o.Postgres != "" {
		fmt.Fprintln(h, "postgres")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Providers)) {
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(o.Providers[name]))
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// initialise starts the server once: that creates the database with the
// administrators, and an archive of loaded classes that saves later starts a
// quarter of their time.
func (i installation) initialise(ctx context.Context) error {
	s, err := i.start(ctx, i.home, Options{Env: administrators}, "KILL", "-XX:ArchiveClassesAtExit="+i.classes())
	if err != nil {
		return fmt.Errorf("initialise server: %w", err)
	}
	err = s.process.Signal(syscall.SIGTERM)
	if err == nil {
		select {
		case <-s.process.Done(): // with the status of a signal
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	for _, path := range []string{i.database(), i.classes()} {
		if err == nil {
			_, err = os.Stat(path)
		}
	}
	if err != nil {
		err = fmt.Errorf("end initialisation of server: %w\n%s", err, proc.Tail(s.logPath, 30))
	}
	return errors.Join(err, s.process.Stop())
}

// linkTree lays out a copy of the distribution that shares its files, but for
// those that a build rewrites.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o750)
		case strings.HasPrefix(rel, filepath.Join("lib", "quarkus")+string(filepath.Separator)):
			return copyFile(path, target)
		default:
			return os.Link(path, target)
		}
	})
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// run runs kc.sh to its end, on the home folder, as part of starting a server.
func (i installation) run(ctx context.Context, home string, opts Options, args ...string) error {
	tmp, err := proc.TempDir("stetl-keycloak")
	if err != nil {
		return err
	}
	p, logPath, err := i.launch(home, tmp, "KILL", opts.Env, opts.JVM, args...)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		err = p.Err()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("kc.sh %s: %w\n%s", args[0], err, proc.Tail(logPath, 30))
	}
	return errors.Join(err, p.Stop())
}

// Distribution lays out an unpacked Keycloak of the test's own, as somebody has it who
// has just fetched one, and names the Java that runs it.
func Distribution(tb testing.TB) (home, java string) {
	tb.Helper()
	testenv.Slow(tb, "needs Keycloak")
	java, err := javaHome(Version)
	if err != nil {
		testenv.Skip(tb, "Keycloak", err.Error())
	}
	pristine, err := dist(tb, Version, java)
	if err != nil {
		testenv.Skip(tb, "Keycloak", err.Error())
	}
	if home, err = proc.TempDir("stetl-keycloak"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(home) })
	if err := linkTree(pristine, home); err != nil {
		tb.Fatalf("lay out Keycloak: %v", err)
	}
	return home, java
}

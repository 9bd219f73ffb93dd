//go:build unix

package ldap

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/jdk"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// What a client needs to sign in as administrator, and where entries are.
const (
	Suffix   = "dc=example,dc=com"
	BindDN   = "cn=admin"
	Password = "admin-of-ldap"
)

const (
	artifact     = "com.unboundid:unboundid-ldapsdk:7.0.3"
	fetchTimeout = 5 * time.Minute // only ends tests whose Maven hangs
	startTimeout = time.Minute
)

//go:embed Directory.java
var program []byte

// Server is a running directory.
type Server struct {
	url     string
	log     string
	process *proc.Process
}

// Start starts a directory with the entries of an LDIF text, below [Suffix]. It runs
// until the test ends.
func Start(tb testing.TB, ldif string) *Server {
	tb.Helper()
	testenv.Slow(tb, "needs an LDAP directory")
	java, err := jdk.Home("javac", 17, 21, 25)
	if err != nil {
		testenv.Skip(tb, "LDAP", err.Error())
	}
	jar, err := fetch(tb, java)
	if err != nil {
		testenv.Skip(tb, "LDAP", err.Error())
	}
	there := testenv.Wait(tb, "an LDAP server")
	s, err := start(tb.Context(), java, jar, ldif)
	there()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.process.Stop(); err != nil {
			tb.Errorf("stop LDAP server: %v", err)
		}
	})
	return s
}

// URL returns the address, as ldap://127.0.0.1:1389.
func (s *Server) URL() string { return s.url }

// Searches counts the searches so far.
func (s *Server) Searches(tb testing.TB) int {
	tb.Helper()
	return strings.Count(s.read(tb), "SEARCH REQUEST")
}

var change = regexp.MustCompile(`\b(ADD|DELETE|MODIFY|MODDN) REQUEST [^[]*`)

// Changes returns the requests that would have changed the directory.
func (s *Server) Changes(tb testing.TB) []string {
	tb.Helper()
	return change.FindAllString(s.read(tb), -1)
}

func (s *Server) read(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func fetch(tb testing.TB, java string) (string, error) {
	tb.Helper()
	parts := strings.Split(artifact, ":")
	name := parts[1] + "-" + parts[2]
	dir, err := testenv.Cached(name, func(dir string) error {
		defer testenv.Wait(tb, "Maven to fetch the LDAP server")()
		ctx, cancel := context.WithTimeout(tb.Context(), fetchTimeout)
		defer cancel()
		// It leaves a marker file where it runs.
		return jdk.Maven(ctx, tb.TempDir(), java, "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
			"-Dartifact="+artifact+":jar", "-DoutputDirectory="+dir)
	})
	return filepath.Join(dir, name+".jar"), err
}

var listening = regexp.MustCompile(`(?m)^listening on (\d+)$`)

func start(ctx context.Context, java, jar, ldif string) (*Server, error) {
	dir, err := proc.TempDir("stetl-ldap")
	if err != nil {
		return nil, err
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(path("Directory.java"), program, 0o600), os.WriteFile(path("entries.ldif"), []byte(ldif), 0o600)); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare LDAP server: %w", err), os.RemoveAll(dir))
	}
	out, err := os.Create(path("out"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare LDAP server: %w", err), os.RemoveAll(dir))
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(filepath.Join(java, "bin", "java"), "-XX:TieredStopAtLevel=1", "-Xmx128m", //nolint:noctx // the guard of proc ends it
		"-cp", jar, path("Directory.java"), Suffix, path("entries.ldif"), BindDN, Password, path("access"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	p, err := proc.Start(cmd, "KILL", dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		said, err := os.ReadFile(path("out"))
		if m := listening.FindSubmatch(said); m != nil {
			return &Server{url: "ldap://127.0.0.1:" + string(m[1]), log: path("access"), process: p}, nil
		}
		select {
		case <-p.Done():
			err = errors.Join(err, p.Err())
		case <-ctx.Done():
			err = errors.Join(err, context.Cause(ctx))
		case <-retry.C:
			continue
		}
		return nil, errors.Join(fmt.Errorf("start LDAP server: %w\n%s", err, said), p.Stop())
	}
}

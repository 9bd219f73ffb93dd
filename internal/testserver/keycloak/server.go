//go:build unix

package keycloak

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// The administrators of every server, in its master realm: a user and a client
// with a service account.
const (
	adminUsername     = "admin"
	adminPassword     = "admin-password"
	AdminClientID     = "admin-client"
	AdminClientSecret = "admin-client-secret"
)

// startTimeout only ends tests whose server hangs: a start takes six seconds on
// an idle machine with two cores, and far more on a busy one.
const startTimeout = 5 * time.Minute

// Options say which server to run. The zero value is the newest one without
// additions.
type Options struct {
	// Version is a released version. If empty, it is the one in the
	// environment variable STETL_KEYCLOAK_VERSION, else [Version].
	Version string
	// Providers are the jars to install, by file name.
	Providers map[string][]byte
	// Build are additional options of kc.sh build, such as --features=….
	Build []string
	// Import is a folder of realm files for kc.sh import, which runs before
	// the server starts.
	Import string
	// Postgres is the URL of an empty PostgreSQL database, as libpq has it, that the
	// server is to use instead of one of its own (H2). It fills it at its first
	// start, which takes a while.
	Postgres string
	// Args are additional options of kc.sh start.
	Args []string
	// Env are additional environment variables, NAME=value, of import and
	// start.
	Env []string
	// JVM are additional options of the Java machine, of import and start. With
	// -XX:TieredStopAtLevel=4 a server starts at half the speed and works at its
	// full one.
	JVM []string
}

// ownSCIM has a server offer a SCIM service of its own. [OldVersion] has none.
const ownSCIM = "--features=scim-api"

// Bare is a server without additions, whose own SCIM service can be turned on in a realm.
var Bare = Options{Build: []string{ownSCIM}}

// Server is a running Keycloak. Its methods may be called concurrently.
type Server struct {
	url        string
	management string
	logPath    string
	process    *proc.Process
	http       *http.Client
	importTook time.Duration

	signIn   sync.Mutex
	token    string // of the administrator, for Admin
	tokenEnd time.Time
}

// ImportTook is how long kc.sh import ran, the start of its Java machine
// included; 0 without [Options.Import].
func (s *Server) ImportTook() time.Duration { return s.importTook }

// Start runs a server of its own for the test and stops it at the end. It skips
// the test (see [testenv.Skip]) where Java, Maven or the distribution is
// missing. The first start with new providers or build options takes a minute or
// two, later ones some seconds.
func Start(tb testing.TB, opts Options) *Server {
	tb.Helper()
	s, err := newServer(tb, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.logTail(tb)
		if err := s.process.Stop(); err != nil {
			tb.Errorf("stop Keycloak: %v", err)
		}
	})
	return s
}

var shared struct {
	sync.Mutex
	servers map[string]*Server
}

// Shared is [Start] with one server for all tests of a run that ask for the same
// options, also those of other packages (see [proc.Share]). Tests make realms of
// their own on it, with [Realm].
func Shared(tb testing.TB, opts Options) *Server {
	tb.Helper()
	if opts.Import != "" || opts.Postgres != "" {
		tb.Fatal("a Keycloak with data of its own cannot be shared")
	}
	i := installed(tb, opts)
	key := i.key(opts)
	shared.Lock()
	defer shared.Unlock()
	s := shared.servers[key]
	if s == nil {
		s = i.share(tb, key, opts)
		if shared.servers == nil {
			shared.servers = map[string]*Server{}
		}
		shared.servers[key] = s
	}
	tb.Cleanup(func() { s.logTail(tb) })
	return s
}

// key identifies a server of the installation that runs with the options.
func (i installation) key(opts Options) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []any{opts.Args, opts.Env, opts.JVM}))
	return filepath.Base(i.home) + "-" + hex.EncodeToString(sum[:])[:8]
}

// address is what processes tell each other of a shared server.
type address struct{ URL, Management, Log string }

// share finds or starts the server of that name.
func (i installation) share(tb testing.TB, name string, opts Options) *Server {
	tb.Helper()
	a, err := proc.Share(name, func(starting *proc.Starting) (address, error) {
		defer testenv.Wait(tb, i.title)()
		i.launcher = func(cmd *exec.Cmd, signal, _ string) (*proc.Process, error) { return starting.Start(cmd, signal) }
		if err := i.layOut(starting.Dir, true); err != nil {
			return address{}, err
		}
		s, err := i.start(tb.Context(), starting.Dir, opts, "KILL", "-XX:SharedArchiveFile="+i.classes())
		if err != nil {
			return address{}, err
		}
		return address{URL: s.url, Management: s.management, Log: s.logPath}, nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{url: a.URL, management: a.Management, logPath: a.Log, http: newClient()}
	if !s.ready(tb.Context()) {
		tb.Fatalf("the shared Keycloak has ended:\n%s", proc.Tail(s.logPath, 40))
	}
	return s
}

// installed prepares what the options ask for, or skips the test.
func installed(tb testing.TB, opts Options) installation {
	tb.Helper()
	testenv.Slow(tb, "needs Keycloak")
	opts.Version = cmp.Or(opts.Version, os.Getenv("STETL_KEYCLOAK_VERSION"), Version)
	if opts.Version == OldVersion {
		opts.Build = slices.DeleteFunc(slices.Clone(opts.Build), func(o string) bool { return o == ownSCIM })
	}
	java, err := javaHome(opts.Version)
	if err != nil {
		testenv.Skip(tb, "Keycloak", err.Error())
	}
	pristine, err := dist(tb, opts.Version, java)
	if err != nil {
		testenv.Skip(tb, "Keycloak", err.Error())
	}
	i, err := prepare(tb, opts, pristine, java)
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func newServer(tb testing.TB, opts Options) (*Server, error) {
	tb.Helper()
	i := installed(tb, opts)
	home, err := proc.TempDir("stetl-keycloak")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(i.layOut(home, opts.Postgres == ""), opts.usePostgres()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	defer testenv.Wait(tb, i.title+" of its own")()
	began := time.Now()
	if opts.Import != "" {
		if err := i.run(tb.Context(), home, opts, "import", "--optimized", "--dir", opts.Import); err != nil {
			return nil, errors.Join(err, os.RemoveAll(home))
		}
	}
	imported := time.Since(began)
	archive := "-XX:SharedArchiveFile=" + i.classes()
	if opts.Postgres != "" {
		archive = "-Xshare:auto" // none was made
	}
	s, err := i.start(tb.Context(), home, opts, "KILL", archive)
	if err == nil && opts.Import != "" {
		s.importTook = imported
	}
	return s, err
}

// administrators has a server create them at its first start.
var administrators = []string{
	"KC_BOOTSTRAP_ADMIN_USERNAME=" + adminUsername,
	"KC_BOOTSTRAP_ADMIN_PASSWORD=" + adminPassword,
	"KC_BOOTSTRAP_ADMIN_CLIENT_ID=" + AdminClientID,
	"KC_BOOTSTRAP_ADMIN_CLIENT_SECRET=" + AdminClientSecret,
}

// usePostgres has the environment name the database, where there is one.
func (o *Options) usePostgres() error {
	if o.Postgres == "" {
		return nil
	}
	u, err := url.Parse(o.Postgres)
	if err != nil {
		return errors.New("the URL of the database cannot be parsed")
	}
	password, _ := u.User.Password()
	o.Env = append(slices.Clone(o.Env), administrators...)
	o.Env = append(o.Env, "KC_DB_URL=jdbc:postgresql://"+u.Host+u.Path, "KC_DB_USERNAME="+u.User.Username(), "KC_DB_PASSWORD="+password)
	return nil
}

// logTail shows why, where a test has failed.
func (s *Server) logTail(tb testing.TB) {
	tb.Helper()
	if tb.Failed() {
		tb.Logf("end of the Keycloak log:\n%s", proc.Tail(s.logPath, 40))
	}
}

// layOut fills a home folder, with a database of its own where it is to have one.
// Everything else is the installation's.
func (i installation) layOut(home string, database bool) error {
	err := os.MkdirAll(filepath.Join(home, "data", "h2"), 0o700)
	if err == nil && database {
		err = copyFile(i.database(), filepath.Join(home, "data", "h2", filepath.Base(i.database())))
	}
	for _, shared := range []string{"bin", "conf", "lib", "providers", "themes"} {
		if err == nil {
			err = os.Symlink(filepath.Join(i.home, shared), filepath.Join(home, shared))
		}
	}
	if err != nil {
		return fmt.Errorf("lay out server folder: %w", err)
	}
	return nil
}

// start starts the server on the home folder and waits until it is ready. The
// signal ends it; its folder, if private, goes with it.
func (i installation) start(ctx context.Context, home string, opts Options, signal, jvmOption string) (*Server, error) {
	dir := home
	if home == i.home { // is to be kept
		var err error
		if dir, err = proc.TempDir("stetl-keycloak"); err != nil {
			return nil, err
		}
	}
	args := append([]string{
		"start", "--optimized", "--cache=local",
		"--http-enabled=true", "--hostname-strict=false", "--http-host=127.0.0.1",
		// The kernel's choice, read from the log: no race for a free port.
		"--http-port=0", "--http-management-port=0",
		"--log-level=info,io.smallrye.health:error", // not a line per readiness check
		// Every first sign-in with a carried hash makes one of the server's own kind, which
		// otherwise takes nearly as long as checking the carried one. Spelled as the oldest
		// version has it.
		"--spi-password-hashing-argon2-memory=1024",
	}, opts.Args...)
	p, logPath, err := i.launch(home, dir, signal, opts.Env, append([]string{jvmOption}, opts.JVM...), args...)
	if err != nil {
		return nil, err
	}
	s := &Server{
		logPath: logPath,
		process: p,
		http:    newClient(),
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.waitReady(ctx); err != nil {
		tail := proc.Tail(logPath, 40)
		return nil, errors.Join(fmt.Errorf("start Keycloak: %w\n%s", err, tail), p.Stop())
	}
	return s, nil
}

// newClient uses no proxy: an environment that names one must not see loopback
// requests.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{}, Timeout: 2 * time.Minute}
}

// launch runs kc.sh of the installation on a home folder. What it writes apart
// from data goes to dir, which is removed when it ends.
func (i installation) launch(home, dir, signal string, env, jvm []string, args ...string) (*proc.Process, string, error) {
	tmp := filepath.Join(dir, "tmp")
	logPath := filepath.Join(dir, "log")
	err := os.MkdirAll(tmp, 0o700)
	var log *os.File
	if err == nil {
		log, err = os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("open server log: %w", err), os.RemoveAll(dir))
	}
	defer func() { _ = log.Close() }()

	jvm = append([]string{
		// Full optimisation competes with the start for the CPU and doubles its time.
		"-XX:TieredStopAtLevel=1",
		// That sets 48 MB for compiled code, and a server that fills them interprets
		// what it has not compiled by then.
		"-XX:ReservedCodeCacheSize=240m",
		// Collecting in parallel is for more processors, and more heap, than tests have.
		"-XX:-UseG1GC", "-XX:+UseSerialGC",
		"-Djava.io.tmpdir=" + tmp,
	}, jvm...)
	// The installation's own script and class path, whatever the home folder:
	// only so is the archive of its classes valid.
	args = append(args, "-Dkc.home.dir="+home)
	cmd := exec.Command(filepath.Join(i.home, "bin", "kc.sh"), args...) //nolint:noctx // the guard of proc ends it
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	// None of the KC_* and JAVA_* variables that may be set.
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		"JAVA_HOME=" + i.java,
		"JAVA_OPTS_APPEND=" + strings.Join(jvm, " "),
		"JAVA_OPTS_KC_HEAP=-Xms128m -Xmx1g", // argon2 as SuperTokens has it takes 88 MB per login
	}, env...)
	launcher := i.launcher
	if launcher == nil {
		launcher = proc.Start
	}
	p, err := launcher(cmd, signal, dir)
	return p, logPath, err
}

var listening = regexp.MustCompile(`Listening on: (http://127\.0\.0\.1:\d+)\. Management interface listening on (http://127\.0\.0\.1:\d+)\.`)

func (s *Server) waitReady(ctx context.Context) error {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		if s.url == "" {
			log, err := os.ReadFile(s.logPath)
			if err != nil {
				return fmt.Errorf("read server log: %w", err)
			}
			if m := listening.FindSubmatch(log); m != nil {
				s.url, s.management = string(m[1]), string(m[2])
			}
		} else if s.ready(ctx) {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("server ended: %w", s.process.Err())
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", context.Cause(ctx))
		case <-retry.C:
		}
	}
}

// ready asks the health check: since 26.7 a server listens, and answers 503,
// before it has opened its database.
func (s *Server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.management+"/health/ready", nil)
	if err != nil {
		return false
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// URL returns the address of the server, without a slash at its end.
func (s *Server) URL() string { return s.url }

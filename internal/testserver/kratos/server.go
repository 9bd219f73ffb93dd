//go:build unix

package kratos

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

var (
	//go:embed kratos.yaml
	settings string
	//go:embed identity.schema.json
	schema []byte
)

// wanted is the variable that has Kratos built and started.
const wanted = "STETL_TEST_KRATOS"

// These only end tests whose server hangs: each takes some seconds.
const (
	migrateTimeout = 5 * time.Minute
	startTimeout   = 2 * time.Minute
)

// Server is a running Kratos. Its methods may be called concurrently.
type Server struct {
	// Admin and Public are the addresses of its two APIs. That for administrators asks
	// nobody who they are.
	Admin, Public string
	// DSN is the database.
	DSN string

	log string
}

// Start runs a server until the test ends. People have an e-mail address, a user name, a
// phone number and names as traits, all of which may be absent. It skips the test where
// [wanted] is not set, as Kratos takes minutes to build, and (see [testenv.Skip]) where
// PostgreSQL is missing or Kratos cannot be built.
func Start(tb testing.TB) *Server {
	tb.Helper()
	if os.Getenv(wanted) != "1" {
		tb.Skip("make test-kratos runs it: building Kratos takes minutes")
	}
	dsn := postgres.Start(tb).CreateDatabase(tb, postgres.Database{})
	bin, err := program(tb)
	if err != nil {
		testenv.Skip(tb, "Kratos", err.Error())
	}
	defer testenv.Wait(tb, "Kratos")()
	dir, err := proc.TempDir("stetl-kratos")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{DSN: dsn, log: filepath.Join(dir, "log")}
	config, err := s.layOut(dir)
	if err != nil {
		tb.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	env := append(os.Environ(), "DSN="+dsn)
	ctx, cancel := context.WithTimeout(tb.Context(), migrateTimeout)
	defer cancel()
	migrate := exec.CommandContext(ctx, bin, "migrate", "sql", "up", "-e", "--yes", "-c", config)
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		tb.Fatal(errors.Join(fmt.Errorf("make the tables of Kratos: %w: %s", err, out), os.RemoveAll(dir)))
	}
	s.serve(tb, dir, env, bin, "serve", "--sqa-opt-out", "-c", config)
	return s
}

// layOut writes the server's settings into its folder.
func (s *Server) layOut(dir string) (config string, err error) {
	public, err := proc.FreePort()
	if err != nil {
		return "", err
	}
	admin, err := proc.FreePort()
	if err != nil {
		return "", err
	}
	s.Public, s.Admin = "http://127.0.0.1:"+strconv.Itoa(public), "http://127.0.0.1:"+strconv.Itoa(admin)
	at := filepath.Join(dir, "identity.schema.json")
	text := strings.NewReplacer("PUBLIC_PORT", strconv.Itoa(public), "ADMIN_PORT", strconv.Itoa(admin), "SCHEMA", at).Replace(settings)
	config = filepath.Join(dir, "kratos.yaml")
	return config, errors.Join(os.WriteFile(at, schema, 0o600), os.WriteFile(config, []byte(text), 0o600))
}

// serve starts the server and waits until it is ready.
func (s *Server) serve(tb testing.TB, dir string, env []string, bin string, args ...string) {
	tb.Helper()
	log, err := os.Create(s.log)
	if err != nil {
		tb.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(bin, args...) //nolint:noctx // ended by its guard
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	p, err := proc.Start(cmd, "TERM", dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the log of Kratos ends with:\n%s", proc.Tail(s.log, 30))
		}
		if err := p.Stop(); err != nil {
			tb.Errorf("stop Kratos: %v", err)
		}
	})
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if status, _, err := s.do(tb.Context(), http.MethodGet, s.Admin+"/admin/health/ready", nil); err == nil && status == http.StatusOK {
			return
		}
		select {
		case <-p.Done():
			tb.Fatalf("Kratos has ended:\n%s", proc.Tail(s.log, 30))
		default:
		}
	}
	tb.Fatalf("Kratos does not start:\n%s", proc.Tail(s.log, 30))
}

// SignIn tries a password the way a native app does, and returns the id of who is signed
// in, empty where it was refused.
func (s *Server) SignIn(ctx context.Context, identifier, password string) (id string, err error) {
	var flow struct{ ID string }
	if err := s.ask(ctx, http.MethodGet, s.Public+"/self-service/login/api", nil, &flow); err != nil {
		return "", err
	}
	status, text, err := s.do(ctx, http.MethodPost, s.Public+"/self-service/login?flow="+flow.ID, map[string]string{
		"method": "password", "identifier": identifier, "password": password,
	})
	switch {
	case err != nil:
		return "", err
	case status == http.StatusBadRequest && bytes.Contains(text, []byte("4000006")): // the id of "the provided credentials are invalid"
		return "", nil
	case status != http.StatusOK:
		return "", fmt.Errorf("the sign-in is answered with %d: %s", status, text)
	}
	var in struct {
		Session struct{ Identity struct{ ID string } }
	}
	err = json.Unmarshal(text, &in)
	return in.Session.Identity.ID, err
}

// Identity is an account as the API for administrators shows it, with its credentials.
func (s *Server) Identity(ctx context.Context, id string) (out map[string]any, err error) {
	err = s.ask(ctx, http.MethodGet, s.Admin+"/admin/identities/"+id+"?include_credential=password&include_credential=oidc", nil, &out)
	return out, err
}

// Stored is a digest of all that the database knows of accounts.
func (s *Server) Stored(tb testing.TB) string {
	tb.Helper()
	return postgres.Value[string](tb, s.DSN, `SELECT coalesce(md5(string_agg(line, E'\n' ORDER BY line)), '') FROM (
		SELECT i::text AS line FROM identities AS i UNION ALL SELECT c::text FROM identity_credentials AS c UNION ALL
		SELECT n::text FROM identity_credential_identifiers AS n UNION ALL SELECT a::text FROM identity_verifiable_addresses AS a) AS lines`)
}

// ask wants an answer that says that all is well.
func (s *Server) ask(ctx context.Context, method, address string, in, out any) error {
	status, text, err := s.do(ctx, method, address, in)
	if err == nil && status >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s is answered with %d: %s", method, status, text)
	}
	if err != nil || out == nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(out)
}

func (s *Server) do(ctx context.Context, method, address string, in any) (status int, text []byte, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	// No proxy: an environment that names one must not see loopback requests.
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

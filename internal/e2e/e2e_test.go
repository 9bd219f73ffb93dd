package e2e_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/filetarget"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

const fixtures = "../../testdata/supertokens"

// account is what the fixture's record says a person can do.
type account struct {
	AppID      string `json:"appId"`
	InternalID string `json:"internalId"`
	VisibleID  string `json:"visibleId"`
	Logins     []struct {
		RecipeUserID  string  `json:"recipeUserId"`
		Format        string  `json:"passwordFormat"`
		ClearPassword *string `json:"clearPassword"`
		Hash          *string `json:"passwordHash"`
		Identity      *struct {
			Provider string `json:"id"`
			UserID   string `json:"userId"`
		} `json:"thirdParty"`
		Tenants []string `json:"tenants"`
	} `json:"loginMethods"`
	Roles map[string][]string `json:"roles"`
	TOTP  []struct {
		Name     string `json:"name"`
		Secret   string `json:"secret"`
		Period   int64  `json:"period"`
		Verified bool   `json:"verified"`
	} `json:"totpDevices"`
}

// password is the one that must work: that of the login under the account's own
// id, else the first, when Keycloak can verify its hash.
func (a *account) password() (string, bool) {
	best := -1
	for i, l := range a.Logins {
		if l.Hash != nil && (best < 0 || l.RecipeUserID == a.InternalID) {
			best = i
		}
	}
	if best < 0 || a.Logins[best].ClearPassword == nil {
		return "", false
	}
	switch a.Logins[best].Format {
	case "bcrypt", "argon2id", "argon2i", "argon2d":
		return *a.Logins[best].ClearPassword, true
	}
	return "", false
}

func readAccounts(t *testing.T, fixture string) []account {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtures, fixture+".truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Accounts []account `json:"accounts"`
	}
	if err := json.Unmarshal(raw, &truth); err != nil {
		t.Fatal(err)
	}
	var out []account
	for _, a := range truth.Accounts {
		if a.AppID == "public" {
			out = append(out, a)
		}
	}
	return out
}

// The exit codes that docs/operations.md promises.
const (
	exitDone        = 0
	exitInternal    = 1
	exitUsage       = 2
	exitRefused     = 3
	exitRejects     = 4
	exitDifferences = 6
)

// programs is a folder for the executable, which outlives the test that builds it.
var programs string

// filePlugin is a name under which the test binary is a plugin.
const filePlugin = "stetl-plugin-file"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == filePlugin {
		sdk.Serve(filetarget.Plugin())
		return
	}
	var err error
	if programs, err = os.MkdirTemp("", "stetl-e2e-*"); err != nil {
		panic(err)
	}
	noteSources()
	defer func() {
		if err := os.RemoveAll(programs); err != nil {
			panic(err)
		}
	}()
	m.Run()
}

// noteSources looks at all that the program is built of: go test repeats the tests
// when something has changed that they have looked at.
func noteSources() {
	for _, dir := range []string{"cmd", "core", "examples/kratos", "plugins", "go.mod"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			panic(err)
		}
	}
}

var buildOnce = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "stetl")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/stetl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build stetl: %w\n%s", err, out)
	}
	return path, nil
})

// stetl builds the program, once per test process: the executable that people run.
func stetl(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

type ran struct {
	code           int
	stdout, stderr string
}

// command is the program with its arguments; ctx kills it.
func command(ctx context.Context, t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, stetl(t), args...)
	cmd.Env = append(os.Environ(), env...)
	ownTemp(t, cmd)
	return cmd
}

// ownTemp gives a program a folder of its own for temporary files: one that is killed
// leaves the folder of its plugin's socket there. The end of the test says so when one
// that ended in order has left anything.
func ownTemp(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	temp, err := os.MkdirTemp("", "own-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+temp)
	t.Cleanup(func() {
		left, err := os.ReadDir(temp)
		if err != nil {
			t.Error(err)
		}
		if cmd.ProcessState != nil && cmd.ProcessState.Exited() && len(left) > 0 {
			t.Errorf("%s has left behind: %v", cmd, left)
		}
		if err := os.RemoveAll(temp); err != nil {
			t.Error(err)
		}
	})
}

func runStetl(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := command(t.Context(), t, env, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

type runReport struct {
	Canaries []engine.Proof     `json:"canaries"`
	Summary  pluginapi.Summary  `json:"summary"`
	Changes  []pluginapi.Change `json:"changes"`
}

func (r ran) report(t *testing.T) runReport {
	t.Helper()
	var out runReport
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("exit %d, output is not JSON: %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
	}
	return out
}

// TestKeycloak moves people into realms of one server, one move after another: some of
// them are in most fixtures, and an id can be in one realm of a server only.
func TestKeycloak(t *testing.T) {
	t.Parallel()
	server := keycloak.Shared(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
	for _, move := range []struct {
		name string
		test func(*testing.T, *keycloak.Server)
	}{
		{"LiveToLive", testLiveToLive},
		{"DryRunsChangeNothing", testDryRunsChangeNothing},
		{"SharedIdentity", testSharedIdentity},
		{"Bridge", testBridge},
		{"Tabs", testTabs},
		{"Mishaps", testMishaps},
		{"Tickets", testTickets},
		{"Kit", testKit},
		{"Gone", testGone},
		{"Realms", testRealms},
	} {
		t.Run(move.name, func(t *testing.T) { move.test(t, server) })
	}
}

// realm prepares a realm as an operator would: a client with a service account
// for stetl, a client for people, and no required names.
func realm(t testing.TB, server *keycloak.Server, name, secret string) {
	t.Helper()
	server.CreateRealm(t, map[string]any{
		"realm": name, "enabled": true,
		// An authenticator that is loaded into one realm after another has the same id
		// in each, and Keycloak 26 remembers used codes by that id, whatever the realm.
		// Of a policy that is not whole it takes nothing.
		"otpPolicyType": "totp", "otpPolicyAlgorithm": "HmacSHA1", "otpPolicyInitialCounter": 0, "otpPolicyDigits": 6,
		"otpPolicyLookAheadWindow": 1, "otpPolicyPeriod": 30, "otpPolicyCodeReusable": true,
		"clients": []any{
			map[string]any{"clientId": "stetl", "secret": secret, "serviceAccountsEnabled": true, "standardFlowEnabled": false},
			map[string]any{"clientId": "people", "publicClient": true, "directAccessGrantsEnabled": true},
		},
		"users": []any{map[string]any{
			"username": "service-account-stetl", "enabled": true, "serviceAccountClientId": "stetl",
			"clientRoles": map[string]any{"realm-management": []string{"manage-realm", "manage-users", "view-users", "view-realm", "manage-clients", "view-identity-providers"}},
		}},
	})
	if err := server.RelaxUserProfile(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// signIn tries a password, with a one-time code where the account has a device.
func signIn(ctx context.Context, server *keycloak.Server, realm, username, password string, a *account) (keycloak.Grant, error) {
	form := url.Values{
		"grant_type": {"password"}, "client_id": {"people"}, "username": {username}, "password": {password}, "scope": {"openid"},
	}
	for _, d := range a.TOTP {
		if d.Verified {
			otp, err := code(d.Secret, d.Period)
			if err != nil {
				return keycloak.Grant{}, err
			}
			form.Set("totp", otp)
			break
		}
	}
	return server.Token(ctx, realm, form)
}

// code is the current one-time code of a device: RFC 6238, SHA-1, six digits.
func code(secret string, period int64) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(secret, "="))
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, uint64(time.Now().Unix()/period))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000), nil
}

// checkPeople signs everybody in: the old password is accepted, a wrong one is
// refused, and the subject is the id that the application knows.
func checkPeople(t *testing.T, server *keycloak.Server, realm, fixture string, notLoaded map[string]bool) {
	t.Helper()
	var tried atomic.Int64
	each(t, readAccounts(t, fixture), func(ctx context.Context, a account) error {
		password, ok := a.password()
		if !ok || notLoaded[a.InternalID] {
			return nil
		}
		var user struct {
			Username string `json:"username"`
		}
		if err := server.Admin(ctx, http.MethodGet, "/realms/"+realm+"/users/"+url.PathEscape(a.VisibleID), nil, &user); err != nil {
			return fmt.Errorf("account %s: %w", a.InternalID, err)
		}
		tried.Add(1)
		// In front: bcrypt sees the first 72 bytes only.
		g, err := signIn(ctx, server, realm, user.Username, "x"+password, &a)
		if err != nil {
			return err
		}
		if !g.Refused() {
			t.Errorf("account %s: a wrong password gives %d %s", a.InternalID, g.Status, g.Body)
		}
		if g, err = signIn(ctx, server, realm, user.Username, password, &a); err != nil {
			return err
		}
		if g.Status != http.StatusOK {
			t.Errorf("account %s: the old password gives %d %s", a.InternalID, g.Status, g.Body)
		} else if g.Claims["sub"] != a.VisibleID {
			t.Errorf("account %s: sub %v, want %s", a.InternalID, g.Claims["sub"], a.VisibleID)
		}
		return nil
	})
	t.Logf("%s: %d people signed in", fixture, tried.Load())
	if tried.Load() < 60 {
		t.Errorf("only %d accounts were tried", tried.Load())
	}
}

// testLiveToLive is the main job: a live database, a live Keycloak, and every
// old password works.
func testLiveToLive(t *testing.T, server *keycloak.Server) {
	t.Helper()
	database := postgres.Start(t)
	for _, fixture := range []string{"core-3.3.0", "core-10.1.4"} {
		t.Run(fixture, func(t *testing.T) {
			t.Parallel()
			name := strings.ReplaceAll(fixture, ".", "-")
			realm(t, server, name, "client+secret%with:signs")
			env := []string{
				"DATABASE=" + database.RestorePlain(t, filepath.Join(fixtures, fixture+".sql"), postgres.Database{}),
				"SECRET=client+secret%with:signs", "URL=" + server.URL(), "REALM=" + name,
			}
			config := filepath.Join(t.TempDir(), "keycloak.yaml")
			writeFile(t, config, `
source: {url: "${env:DATABASE}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: "${env:REALM}", client_id: stetl, client_secret: "${env:SECRET}"}
`)
			planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t)
			if n := count(t, server, name); n != 0 {
				t.Fatalf("the dry run left %d users in the realm", n)
			}
			first := runStetl(t, env, "run", "--config", config, "--json")
			loaded := first.report(t)
			if loaded.Summary != planned.Summary {
				t.Errorf("the run did %+v, the dry run said %+v", loaded.Summary, planned.Summary)
			}
			if len(loaded.Canaries) == 0 || slices.ContainsFunc(loaded.Canaries, func(p engine.Proof) bool { return !p.Proven }) {
				t.Errorf("canaries: %+v", loaded.Canaries)
			}
			if want := len(readAccounts(t, fixture)); loaded.Summary.Read != want || loaded.Summary.Accounted() != want {
				t.Errorf("summary %+v, the record has %d accounts", loaded.Summary, want)
			}
			if first.code != exitRejects || loaded.Summary.Created == 0 || loaded.Summary.InDoubt > 0 {
				t.Errorf("exit %d, summary %+v\n%s", first.code, loaded.Summary, first.stderr)
			}
			notLoaded := map[string]bool{}
			for _, c := range loaded.Changes {
				notLoaded[c.SourceID] = true
			}
			if n := count(t, server, name); n != loaded.Summary.Created {
				t.Errorf("%d users in the realm, %d were created", n, loaded.Summary.Created)
			}

			again := runStetl(t, env, "run", "--config", config, "--json").report(t)
			if again.Summary.Created != 0 || again.Summary.Unchanged != loaded.Summary.Created || again.Summary.Rejected != loaded.Summary.Rejected {
				t.Errorf("the second run did %+v after %+v", again.Summary, loaded.Summary)
			}
			checkPeople(t, server, name, fixture, notLoaded)

			// The sign-ins have exchanged every hash, and that is no difference.
			if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
				t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			someone := idsOf(t, server, name)[0]
			if err := server.Admin(t.Context(), http.MethodDelete, "/realms/"+name+"/users/"+someone, nil, nil); err != nil {
				t.Fatal(err)
			}
			if r := runStetl(t, env, "verify", "--config", config); r.code != exitDifferences || !strings.Contains(r.stdout, "verify.missing") {
				t.Errorf("verify with an account missing: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config); r.code != exitUsage || !strings.Contains(r.stderr, "--yes") {
				t.Errorf("undo without an answer: exit %d\n%s", r.code, r.stderr)
			}
			// People have signed in.
			if r := runStetl(t, env, "undo", "--config", config, "--yes", "--signed-in", "--json"); r.code != exitDone {
				t.Errorf("undo: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
			}
			if n := count(t, server, name); n != 0 {
				t.Errorf("%d users left after the undo", n)
			}
		})
	}
}

// idsOf lists the ids of the users of a realm.
func idsOf(t *testing.T, server *keycloak.Server, realm string) []string {
	t.Helper()
	var users []struct {
		ID string `json:"id"`
	}
	if err := server.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users?max=1000", nil, &users); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, u := range users {
		ids = append(ids, u.ID)
	}
	return ids
}

func count(t *testing.T, server *keycloak.Server, realm string) int {
	t.Helper()
	var n int
	if err := server.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/count", nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFilesAreImported gives the files of both fixtures to Keycloak's own
// import, unchanged, and signs everybody in.
func TestFilesAreImported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	realms := map[string]string{"old": "core-3.3.0", "current": "core-10.1.4"}
	if err := os.Mkdir(filepath.Join(dir, "import"), 0o700); err != nil {
		t.Fatal(err)
	}
	written, notLoaded := map[string]int{}, map[string]bool{}
	for name, fixture := range realms {
		config := filepath.Join(dir, name+".yaml")
		writeFile(t, config, `
source: {dump: "${env:DUMP}"}
target: {plugin: keycloak, config: {mode: files, realm: `+name+`, out: ./`+name+`}}
`)
		dump, err := filepath.Abs(filepath.Join(fixtures, fixture+".sql"))
		if err != nil {
			t.Fatal(err)
		}
		loaded := runStetl(t, []string{"DUMP=" + dump}, "run", "--config", config, "--json").report(t)
		for _, path := range glob(t, filepath.Join(dir, name, "*")) {
			if err := os.Link(path, filepath.Join(dir, "import", filepath.Base(path))); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
		written[name] = loaded.Summary.Created
		for _, c := range loaded.Changes {
			notLoaded[c.SourceID] = true
		}
	}
	server := keycloak.Start(t, keycloak.Options{
		Providers: map[string][]byte{provider.FileName: provider.Jar()},
		Import:    filepath.Join(dir, "import"),
	})
	for name, fixture := range realms {
		if n := count(t, server, name); n == 0 || n != written[name] {
			t.Errorf("%d users in realm %s, %d were written", n, name, written[name])
		}
		err := server.Admin(t.Context(), http.MethodPost, "/realms/"+name+"/clients", map[string]any{
			"clientId": "people", "publicClient": true, "directAccessGrantsEnabled": true,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkPeople(t, server, name, fixture, notLoaded)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	return paths
}

// TestRefusesWithoutTheProvider: users must not be loaded into a server that
// cannot verify their hashes, because every login would just fail there.
func TestRefusesWithoutTheProvider(t *testing.T) {
	t.Parallel()
	server := keycloak.Shared(t, keycloak.Bare)
	realm(t, server, "bare", "client-secret")
	config := filepath.Join(t.TempDir(), "keycloak.yaml")
	writeFile(t, config, `
source: {dump: "${env:DUMP}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: bare, client_id: stetl, client_secret: "${env:SECRET}"}
`)
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-3.3.0.sql"))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"DUMP=" + dump, "URL=" + server.URL(), "SECRET=client-secret"}
	for _, command := range []string{"run", "check"} {
		r := runStetl(t, env, command, "--config", config)
		if said := r.stdout + r.stderr; r.code != exitRefused || strings.Count(said, "keycloak.bcrypt_provider_missing") != 1 ||
			!strings.Contains(said, "stetl plugin assets keycloak --out") {
			t.Errorf("%s: exit %d\n%s\n%s", command, r.code, r.stdout, r.stderr)
		}
	}
	if n := count(t, server, "bare"); n != 0 {
		t.Errorf("%d users in the realm", n)
	}
}

// TestDeadPlugin: a plugin that ends at once is one clear error.
func TestDeadPlugin(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "waits for a plugin to die")
	dir := t.TempDir()
	own := filepath.Join(dir, "stetl")
	program, err := os.ReadFile(stetl(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stetl-plugin-dead"), []byte("#!/bin/sh\necho no licence >&2\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "dead.yaml"), `
source: {dump: nowhere.sql}
target: {plugin: dead}
`)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), own, "run", "--config", filepath.Join(dir, "dead.yaml"))
	ownTemp(t, cmd)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitRefused || !strings.Contains(stderr.String(), "no licence") {
		t.Errorf("exit %d: %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
}

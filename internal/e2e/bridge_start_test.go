//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// tenancy is a loaded tenant and a configuration of a bridge for it.
type tenancy struct {
	t      *testing.T
	tenant *auth0.Server
	dsn    string
	dir    string
	env    []string
	truth  fixture.Truth
}

const relyingParty = "https://sso.example.com/callback"

func newTenancy(t *testing.T) *tenancy { return tenancyOf(t, bridgeFixture) }

func tenancyOf(t *testing.T, name string) *tenancy {
	t.Helper()
	y := &tenancy{t: t, tenant: auth0.Start(t, auth0.Options{}), dsn: fixture.Restore(t, name), dir: t.TempDir(), truth: fixture.Read(t, name)}
	y.env = []string{"DATABASE=" + y.dsn, "API_URL=" + y.tenant.URL, "SECRET=client-secret-of-the-tenant", "BRIDGE_SECRET=a-secret-of-more-than-thirty-two-characters"}
	return y
}

// configure writes a configuration; the address is where the bridge listens.
func (y *tenancy) configure(name, address, bridge string) (path string) {
	y.t.Helper()
	path = filepath.Join(y.dir, name+".yaml")
	writeFile(y.t, path, `
source: {url: "${env:DATABASE}"}
target:
  plugin: auth0
  config: {domain: tenant.eu.auth0.test, api_url: "${env:API_URL}", client_id: stetl, client_secret: "${env:SECRET}", connection: Username-Password-Authentication, poll_interval: 100ms}
bridge:
  listen: `+address+`
  admin_listen: `+freeAddress(y.t)+`
  issuer: https://bridge.example.com/bridge
`+bridge)
	return path
}

const oneClient = `  clients: [{id: idp, secret: "${env:BRIDGE_SECRET}", redirect_uris: ["` + relyingParty + `"]}]
`

func (y *tenancy) load(config string) {
	y.t.Helper()
	if r := runStetl(y.t, y.env, "run", "--config", config); r.code != exitRejects && r.code != exitDone {
		y.t.Fatalf("run: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
}

// TestBridgeRefusesToStart: what would only show when people come is said before.
func TestBridgeRefusesToStart(t *testing.T) {
	t.Parallel()
	y := newTenancy(t)
	good := y.configure("good", freeAddress(t), oneClient)
	said := func(config string, env []string, command string, code int, want string) {
		t.Helper()
		r := runStetl(t, env, command, "--config", config)
		if r.code != code || !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%s: exit %d, want %d and %s\n%s%s", command, r.code, code, want, r.stdout, r.stderr)
		}
	}
	said(good, y.env, "bridge", exitRefused, "bridge.no_journal")
	said(good, y.env, "check", exitDone, "bridge.no_journal")
	y.load(good)
	said(good, y.env, "check", exitDone, "Source")
	said(good, y.env, "check", exitDone, "every instance needs this journal folder")

	everyOrigin := y.configure("origins", freeAddress(t), oneClient+`  exchange: {audience: x, origins: ["*"]}`+"\n")
	said(everyOrigin, y.env, "bridge", exitUsage, `"*" is not an origin`)
	noUse := y.configure("both", freeAddress(t), oneClient+"  reset: {mode: target, api_path: /a}\n")
	said(noUse, y.env, "bridge", exitUsage, "that is never set")
	open := y.configure("open", freeAddress(t), oneClient)
	replaceIn(t, open, "admin_listen: 127.0.0.1", "admin_listen: 0.0.0.0")
	said(open, y.env, "check", exitDone, "metrics can be read from the network")
	said(good, append(y.env, "BRIDGE_SECRET=short"), "check", exitDone, "the secret has 5 characters")

	// A role that may read and not delete.
	postgres.Exec(t, y.dsn, "CREATE SCHEMA stetl_bridge")
	role := fmt.Sprintf("bridge_%d", os.Getpid())
	for _, sql := range strings.Split(strings.TrimSpace(runStetl(t, y.env, "bridge", "--config", good, "--print-sql", role).stdout), ";") {
		if sql = strings.TrimSpace(sql); sql == "" {
			continue
		}
		if strings.Contains(sql, "CREATE SCHEMA") {
			postgres.Exec(t, y.dsn, "CREATE ROLE "+role+" LOGIN PASSWORD 'x'")
			t.Cleanup(func() { postgres.Exec(t, y.dsn, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
		}
		postgres.Exec(t, y.dsn, sql)
	}
	u, err := url.Parse(y.dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "x")
	address := freeAddress(t)
	own := y.configure("own", address, oneClient+`  database: "${env:BRIDGE_DATABASE}"`+"\n  reset: {path: /auth/reset-password}\n")
	env := append(y.env, "BRIDGE_DATABASE="+u.String())
	postgres.Exec(t, y.dsn, "REVOKE DELETE ON session_info, emailpassword_pswd_reset_tokens FROM "+role)
	for _, command := range []string{"bridge", "check"} {
		said(own, env, command, exitRefused, `DELETE on "public"."session_info"`)
	}
	postgres.Exec(t, y.dsn, "GRANT DELETE ON session_info, emailpassword_pswd_reset_tokens TO "+role)
	startBridge(t, own, address, env)
	postgres.Exec(t, y.dsn, "REVOKE DELETE ON session_info FROM "+role)
	if status := statusOf(t, "http://"+address+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("ready without the right to end sessions: %d", status)
	}
	postgres.Exec(t, y.dsn, "GRANT DELETE ON session_info TO "+role)
	if status := statusOf(t, "http://"+address+"/readyz"); status != http.StatusOK {
		t.Errorf("ready again: %d", status)
	}
}

func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, strings.Replace(string(raw), from, to, 1))
}

func statusOf(t *testing.T, address string) int {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// code asks an instance for a code, as a browser with a session does.
func (y *tenancy) code(address string, s fixture.Session) string {
	y.t.Helper()
	q := url.Values{"client_id": {"idp"}, "redirect_uri": {relyingParty}, "response_type": {"code"}, "scope": {"openid"}, "prompt": {"none"}}
	req, err := http.NewRequestWithContext(y.t.Context(), http.MethodGet, "http://"+address+"/bridge/authorize?"+q.Encode(), nil)
	if err != nil {
		y.t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "sAccessToken", Value: s.Access})
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		y.t.Fatal(err)
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil || to.Query().Get("code") == "" {
		y.t.Fatalf("no code: %d %v, %v", resp.StatusCode, to, err)
	}
	return to.Query().Get("code")
}

// redeem gives 0 where the instance dies before it answers.
func (y *tenancy) redeem(address, code string) (status int, body string) {
	resp, err := http.PostForm("http://"+address+"/bridge/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {relyingParty}, "client_id": {"idp"}, "client_secret": {"a-secret-of-more-than-thirty-two-characters"},
	})
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	raw, _ := io.ReadAll(resp.Body) // the status says enough
	return resp.StatusCode, string(raw)
}

// blocked waits until a statement of the bridge waits for the test.
func (y *tenancy) blocked() {
	y.t.Helper()
	for postgres.Value[int](y.t, y.dsn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

// sessions are at least so many that are alive, of people who have been loaded.
func (y *tenancy) sessions(atLeast int) (alive []fixture.Session) {
	y.t.Helper()
	for _, s := range y.truth.Sessions {
		if _, there := y.tenant.Users()["auth0|"+s.UserID]; there && s.AppID == "public" && !s.Revoked && !s.Expired && !s.Orphan && s.Refreshed == nil {
			alive = append(alive, s)
		}
	}
	if len(alive) < atLeast {
		y.t.Fatalf("only %d sessions", len(alive))
	}
	return alive
}

// TestBridgeKilled kills instances between a code and its redemption, inside the
// transaction that redeems it, and in its commit. Nobody ends without both the session
// and the tokens but in the last case, and nobody gets tokens twice.
func TestBridgeKilled(t *testing.T) {
	t.Parallel()
	y := newTenancy(t)
	address, second := freeAddress(t), freeAddress(t)
	config, other := y.configure("one", address, oneClient), y.configure("two", second, oneClient)
	y.load(config)
	sessions := y.sessions(3)
	launchBridge(t, other, second, y.env)
	left := func(s fixture.Session) int {
		return postgres.Value[int](t, y.dsn, "SELECT count(*) FROM session_info WHERE session_handle = $1", s.Handle)
	}
	hold := func(sql string, args ...any) (letGo func()) {
		conn, err := pgx.Connect(t.Context(), y.dsn)
		if err == nil {
			_, err = conn.Exec(t.Context(), "BEGIN")
		}
		if err == nil {
			_, err = conn.Exec(t.Context(), sql, args...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() { _ = conn.Close(context.WithoutCancel(t.Context())) }
	}
	settled := func() {
		for postgres.Value[int](t, y.dsn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()") > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	// dies kills an instance that is at its redemption, while the test holds it up.
	dies := func(b *bridgeProcess, code string, letGo func()) {
		t.Helper()
		answer := make(chan int, 1)
		go func() {
			status, _ := y.redeem(address, code)
			answer <- status
		}()
		y.blocked()
		b.kill(t)
		if status := <-answer; status != 0 {
			t.Errorf("it answered %d", status)
		}
		letGo()
		settled()
	}

	t.Run("after the code", func(t *testing.T) {
		b := launchBridge(t, config, address, y.env)
		code := y.code(address, sessions[0])
		b.kill(t)
		if status, body := y.redeem(second, code); left(sessions[0]) != 0 || status != http.StatusOK {
			t.Errorf("at the other instance: %d %s, %d sessions", status, body, left(sessions[0]))
		}
	})
	t.Run("before the commit", func(t *testing.T) {
		b := launchBridge(t, config, address, y.env)
		code := y.code(address, sessions[1])
		dies(b, code, hold("SELECT 1 FROM session_info WHERE session_handle = $1 FOR UPDATE", sessions[1].Handle))
		if left(sessions[1]) != 1 {
			t.Fatal("the session is over, and nobody has tokens")
		}
		if status, body := y.redeem(second, code); status != http.StatusOK || left(sessions[1]) != 0 {
			t.Errorf("at the other instance: %d %s", status, body)
		}
	})
	t.Run("in the commit", func(t *testing.T) {
		postgres.Exec(t, y.dsn, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER hold AFTER DELETE ON session_info DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()`)
		b := launchBridge(t, config, address, y.env)
		code := y.code(address, sessions[2])
		dies(b, code, hold("SELECT pg_advisory_xact_lock(77)"))
		// Whatever became of it, both parts have.
		status, body := y.redeem(second, code)
		if gone := left(sessions[2]) == 0; !gone || status != http.StatusBadRequest && status != http.StatusOK {
			t.Errorf("at the other instance: %d %s, the session is gone: %v", status, body, gone)
		}
		if again, _ := y.redeem(second, code); again != http.StatusBadRequest {
			t.Errorf("tokens twice: %d", again)
		}
	})
}

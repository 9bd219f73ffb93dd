//go:build linux

package e2e_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// jose5 is the version of what the Action of docs/bridge.md depends on.
const jose5 = "5.9.5"

// fence is a block of code of a page, with its language.
var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")

// documented runs the scripts of docs/bridge.md in Node.
type documented struct {
	t                *testing.T
	modules, harness string
	action, database string
}

func documentedScripts(t *testing.T) *documented {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Skip(t, "Node.js", err.Error())
		}
	}
	dir, err := testenv.Cached("jose-"+jose5, func(dir string) error {
		defer testenv.Wait(t, "npm to fetch jose")()
		out, err := exec.CommandContext(t.Context(), "npm", append([]string{"install", "--prefix", dir, "--loglevel=error", "jose@" + jose5}, testenv.NPM()...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "the npm package jose", err.Error())
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "bridge.md"))
	if err != nil {
		t.Fatal(err)
	}
	d := &documented{t: t, modules: filepath.Join(dir, "node_modules")}
	if d.harness, err = filepath.Abs(filepath.Join("testdata", "auth0", "run.cjs")); err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(page), -1) {
		into := &d.database
		if strings.Contains(m[2], "onExecuteCustomTokenExchange") {
			into = &d.action
		}
		if m[1] == "js" {
			*into = filepath.Join(t.TempDir(), "script.js")
			writeFile(t, *into, strings.ReplaceAll(m[2], "https://YOUR_TENANT/", "https://tenant.eu.auth0.test/"))
		}
	}
	if d.action == "" || d.database == "" {
		t.Fatal("docs/bridge.md has lost a script")
	}
	return d
}

// run returns the calls that a script made, each with its name first. It may be
// called by servers, whose test has not ended.
func (d *documented) run(kind, file string, input any) string {
	raw, err := json.Marshal(input)
	if err != nil {
		d.t.Error(err)
	}
	cmd := exec.CommandContext(d.t.Context(), "node", d.harness, kind, file)
	cmd.Env = append(os.Environ(), "NODE_PATH="+d.modules)
	cmd.Stdin = bytes.NewReader(raw)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		d.t.Errorf("%s: %v\n%s", kind, err, said.String())
	}
	return string(out)
}

// act is the Action as a tenant runs it.
func (d *documented) act(issuer, token string) (userID, refusal string) {
	out := d.run("action", d.action, map[string]any{"token": token, "type": "urn:supertokens:session", "secrets": map[string]string{"ISSUER": issuer}})
	var calls [][]string
	if err := json.Unmarshal([]byte(out), &calls); err != nil || len(calls) != 1 || len(calls[0]) != 2 {
		d.t.Errorf("the Action made the calls %s", out)
		return "", "broken"
	}
	if calls[0][0] == "setUserById" {
		return calls[0][1], ""
	}
	return "", calls[0][1]
}

// TestAuth0Bridge hands sessions over to a tenant whose Action is the documented
// one, resets a password by a mailed link, and has the documented scripts of a
// custom database check a hash that the tenant cannot take.
func TestAuth0Bridge(t *testing.T) {
	t.Parallel()
	const name = "core-9.3.0"
	scripts := documentedScripts(t)
	tr, dsn := fixture.Read(t, name), fixture.Restore(t, name)
	address := freeAddress(t)
	issuer := "http://" + address + "/bridge"
	tenant := auth0.Start(t, auth0.Options{
		ExchangeType: "urn:supertokens:session", Exchange: func(token string) (string, string) { return scripts.act(issuer, token) },
	})
	config := filepath.Join(t.TempDir(), "auth0.yaml")
	writeFile(t, config, `
source: {url: "${env:DATABASE}", firebase_signer_key: "${env:SIGNER}"}
target:
  plugin: auth0
  config: {domain: tenant.eu.auth0.test, api_url: "${env:API_URL}", client_id: stetl, client_secret: "${env:SECRET}", connection: Username-Password-Authentication, poll_interval: 100ms}
bridge:
  listen: `+address+`
  admin_listen: `+freeAddress(t)+`
  issuer: `+issuer+`
  exchange: {audience: "https://tenant.eu.auth0.test/"}
  reset: {path: /auth/reset-password}
  lazy: {token: "${env:LAZY}"}
`)
	env := []string{"DATABASE=" + dsn, "API_URL=" + tenant.URL, "SECRET=client-secret-of-the-tenant", "SIGNER=" + tr.FirebaseSignerKey, "LAZY=lazy-token"}
	if r := runStetl(t, env, "run", "--config", config); r.code != exitRejects && r.code != exitDone {
		t.Fatalf("run: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	_, bridge := startBridge(t, config, address, env)

	handed, strangers := 0, 0
	for _, s := range tr.Sessions {
		if s.AppID != "public" || s.Revoked || s.Expired || s.Orphan || s.Refreshed != nil || handed > 1 && strangers > 0 {
			continue
		}
		visible := s.UserID
		for _, a := range tr.Accounts {
			for _, l := range a.LoginMethods {
				if a.AppID == "public" && l.VisibleID == s.UserID {
					visible = a.VisibleID
				}
			}
		}
		_, there := tenant.Users()["auth0|"+visible]
		if there {
			handed++
			if handed == 1 {
				killChildren(t, bridge)
			}
			got := handover(t, issuer, s.Access)
			if handed == 1 && got.status == http.StatusBadGateway { // the plugin was asked while it died
				got = handover(t, issuer, s.Access)
			}
			if got.status != http.StatusOK || subjectOf(got.IDToken) != "auth0|"+visible {
				t.Errorf("session %s: %d %s", s.Handle, got.status, got.body)
			}
			if again := handover(t, issuer, s.Access); again.status != http.StatusUnauthorized {
				t.Errorf("session %s again: %d", s.Handle, again.status)
			}
			continue
		}
		strangers++
		if got := handover(t, issuer, s.Access); got.status != http.StatusForbidden {
			t.Errorf("session %s of somebody who was not loaded: %d %s", s.Handle, got.status, got.body)
		}
	}
	if handed < 2 || strangers == 0 {
		t.Errorf("%d sessions of loaded users and %d of others were tried", handed, strangers)
	}
	forgeries(t, scripts, dsn, issuer)

	reset := false
	for _, link := range tr.ResetTokens {
		id := "auth0|" + link.VisibleID
		if _, there := tenant.Users()[id]; link.Expired || link.AppID != "public" || !there {
			continue
		}
		form := url.Values{"token": {link.Token}, "password": {newPassword}, "again": {newPassword}}
		for _, want := range []int{http.StatusOK, http.StatusGone} {
			resp, err := http.PostForm("http://"+address+"/auth/reset-password", form)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil || resp.StatusCode != want {
				t.Errorf("reset link: %d, want %d", resp.StatusCode, want)
			}
		}
		reset = tenant.VerifyPassword(id, newPassword)
		break
	}
	if !reset {
		t.Error("no new password works")
	}
	customDatabase(t, scripts, tr, issuer)
}

// killChildren ends the processes that the bridge has started, which is its plugin.
func killChildren(t *testing.T, parent int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		var state string
		var pid, of int
		if _, err := fmt.Sscan(rest, &state, &of); err != nil || of != parent {
			continue
		}
		if _, err := fmt.Sscan(string(raw), &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed++
	}
	if killed == 0 {
		t.Error("the bridge has no plugin")
	}
}

// forgeries has the Action look at assertions that it must not believe.
func forgeries(t *testing.T, scripts *documented, dsn, issuer string) {
	t.Helper()
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)}, session.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	db, err := cutover.Open(t.Context(), store, cutover.Options{})
	if err != nil {
		t.Fatal(err)
	}
	signing, err := db.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own, ok := signing.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("the bridge signs with a %T", signing)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	good := func() map[string]any {
		return map[string]any{"iss": issuer, "aud": "https://tenant.eu.auth0.test/", "sub": "u", "target_id": "auth0|u", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	}
	with := func(key string, value any) map[string]any {
		c := good()
		c[key] = value
		if value == nil {
			delete(c, key)
		}
		return c
	}
	sign := func(alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if id, refusal := scripts.act(issuer, sign(jose.RS256, own, good())); id != "auth0|u" || refusal != "" {
		t.Fatalf("a good assertion: %q, %q", id, refusal)
	}
	for name, token := range map[string]string{
		"not a token":         "x",
		"another key":         sign(jose.RS256, other, good()),
		"another algorithm":   sign(jose.PS256, own, good()),
		"a shared secret":     sign(jose.HS256, own.N.Bytes(), good()),
		"another issuer":      sign(jose.RS256, own, with("iss", "https://evil.example.com")),
		"for the broker":      sign(jose.RS256, own, with("aud", "keycloak")),
		"expired":             sign(jose.RS256, own, with("exp", now.Add(-time.Minute).Unix())),
		"old, of long life":   sign(jose.RS256, own, with("iat", now.Add(-time.Hour).Unix())),
		"of an unloaded user": sign(jose.RS256, own, with("target_id", nil)),
	} {
		if id, refusal := scripts.act(issuer, token); id != "" || refusal == "" {
			t.Errorf("%s was believed: %s", name, id)
		}
	}
}

// customDatabase runs the scripts against the bridge.
func customDatabase(t *testing.T, scripts *documented, tr fixture.Truth, issuer string) {
	t.Helper()
	ask := func(token, call string, args ...string) string {
		return scripts.run("database", scripts.database, map[string]any{
			"configuration": map[string]string{"BRIDGE": issuer, "LAZY_TOKEN": token}, "call": call, "args": args,
		})
	}
	for _, a := range tr.Accounts {
		for _, l := range a.LoginMethods {
			if a.AppID != "public" || l.PasswordFormat != "firebase_scrypt" || l.ClearPassword == "" || len(l.Tenants) != 1 || l.Tenants[0] != "public" {
				continue
			}
			for _, c := range []struct{ got, want string }{
				{ask("lazy-token", "login", l.Email, l.ClearPassword), `[["user",{"email":"` + l.Email + `"`},
				{ask("lazy-token", "login", l.Email, "wrong"), `[["wrong","`},
				{ask("lazy-token", "getByEmail", l.Email), `[["user",{"email":"` + l.Email + `"`},
				{ask("lazy-token", "getByEmail", "nobody@example.com"), `[["user",null]]`},
				{ask("another", "login", l.Email, l.ClearPassword), `[["error","bridge: 401"]]`},
				{ask("another", "getByEmail", l.Email), `[["error","bridge: 401"]]`},
			} {
				if !strings.HasPrefix(c.got, c.want) {
					t.Errorf("the script says %s, want %s", c.got, c.want)
				}
			}
			return
		}
	}
	t.Error("nobody with a hash from Firebase")
}

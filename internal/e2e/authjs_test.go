//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/betterauth"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// authjs is the application of testdata/authjs.
type authjs struct{ url string }

func startAuthJS(t *testing.T, dsn, signerKey string) *authjs {
	t.Helper()
	node, modules := betterauth.Node(t)
	sources := map[string]string{"package.json": `{"type": "module"}`}
	for name, path := range map[string]string{"app.mjs": "testdata/authjs/app.mjs", "verify.js": "../../plugins/generic-sql/verify/index.js"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = string(raw)
	}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "app.mjs")
	cmd.Dir = betterauth.Folder(t, modules, sources)
	cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "DSN="+dsn, "SECRET="+betterauth.Secret, "SIGNER_KEY="+signerKey, "NO_COLOR=1")
	proc.Serve(t, "stetl-authjs", cmd, "ready at ", time.Minute)
	return &authjs{"http://127.0.0.1:" + strconv.Itoa(port)}
}

func (a *authjs) get(ctx context.Context, client *http.Client, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	err = json.NewDecoder(res.Body).Decode(into)
	return errors.Join(err, res.Body.Close())
}

// signIn does what the form of Auth.js does, and gives the id of who is signed in then.
func (a *authjs) signIn(ctx context.Context, email, password string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var csrf struct{ CSRFToken string }
	if err := a.get(ctx, client, "/auth/csrf", &csrf); err != nil {
		return "", err
	}
	form := url.Values{"csrfToken": {csrf.CSRFToken}, "email": {email}, "password": {password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/auth/callback/credentials", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusFound {
		return "", fmt.Errorf("the sign-in answers %d (%w)", res.StatusCode, err)
	}
	var me struct{ ID string }
	err = a.get(ctx, client, "/me", &me)
	return me.ID, err
}

// TestAuthJS moves a fixture into the tables of a real Auth.js: who has a password signs in
// with it and has the old id, a wrong one is refused, and other providers find their
// people.
func TestAuthJS(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs Node.js")
	const name = "core-10.1.4"
	s := onPostgres(t)
	ddl, err := os.ReadFile("../../plugins/generic-sql/testdata/authjs.sql")
	if err != nil {
		t.Fatal(err)
	}
	s.exec(t, string(ddl))
	app := startAuthJS(t, s.dsn, fixture.Read(t, name).FirebaseSignerKey)
	raw, err := os.ReadFile("../../configs/authjs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(fixture.Dump(t, name))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "authjs.yaml")
	writeFile(t, config, strings.Replace(string(raw), "url: ${env:SUPERTOKENS_DATABASE_URL}", "dump: "+dump, 1))
	if r := runStetl(t, []string{"APP_DATABASE_URL=" + s.dsn}, "run", "--config", config, "-q"); r.code != exitDone && r.code != exitRejects {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	here := s.pairs(t, `SELECT id, email FROM users WHERE email IS NOT NULL`)
	tried := map[string]bool{}
	var people []account
	identities := 0
	for _, a := range readAccounts(t, name) {
		if _, ok := here[a.VisibleID]; !ok {
			continue
		}
		for _, l := range a.Logins {
			if l.Identity == nil || identities >= 20 {
				continue
			}
			identities++
			var found struct{ ID string }
			query := url.Values{"provider": {l.Identity.Provider}, "id": {l.Identity.UserID}}
			if err := app.get(t.Context(), http.DefaultClient, "/account?"+query.Encode(), &found); err != nil || found.ID != a.VisibleID {
				t.Errorf("%s finds %q for somebody who is %s (%v)", l.Identity.Provider, found.ID, a.VisibleID, err)
			}
		}
		if _, ok := a.anyPassword(); !ok || a.format() == "argon2d" {
			continue
		}
		if !tried[a.format()] { // one of each kind
			tried[a.format()] = true
			people = append(people, a)
		}
	}
	if identities == 0 || !tried["bcrypt"] || !tried["argon2id"] || !tried["firebase_scrypt"] {
		t.Errorf("%d identities, and passwords of %v", identities, tried)
	}
	each(t, people, func(ctx context.Context, a account) error {
		password, _ := a.anyPassword()
		for text, want := range map[string]string{password: a.VisibleID, "x" + password: ""} {
			if got, err := app.signIn(ctx, here[a.VisibleID], text); err != nil || got != want {
				return fmt.Errorf("%s (%s) signs in as %q, want %q (%w)", a.VisibleID, a.format(), got, want, err)
			}
		}
		return nil
	})
}

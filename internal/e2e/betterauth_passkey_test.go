//go:build unix

package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/betterauth"
	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// credential is a passkey whose private key a test has.
type credential struct {
	id       []byte
	private  []byte // PKCS #8
	attested []byte // as SuperTokens stores it
}

// newCredential makes one (WebAuthn, section 6.5.2; the key is an ES256 key in COSE's form).
func newCredential(t *testing.T) credential {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	c := credential{id: make([]byte, 32), private: private}
	_, _ = rand.Read(c.id)
	cose := slices.Concat([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32}, point[1:33], []byte{0x22, 0x58, 32}, point[33:])
	c.attested = slices.Concat(make([]byte, 16), []byte{0, byte(len(c.id))}, c.id, cose)
	return c
}

// authenticator gives a tab one that holds the credential for localhost.
func (c *credential) authenticator(t *testing.T, tab context.Context, user string) {
	t.Helper()
	if _, err := chromedp.Call(tab, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	a, err := chromedp.Call(tab, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, HasCmtgKey: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = chromedp.Call(tab, webauthn.AddCredential, webauthn.AddCredentialParams{AuthenticatorID: a.AuthenticatorID, Credential: &webauthn.Credential{
		CredentialID: c.id, IsResidentCredential: true, RpID: "localhost", PrivateKey: c.private, UserHandle: []byte(user), SignCount: 1,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBetterAuthPasskeys: whoever signed in to SuperTokens with a passkey signs in to Better
// Auth with the same authenticator, as the same person; another key for the same credential
// does not.
func TestBetterAuthPasskeys(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs Chromium and Node.js")
	const passkeys = "core-10.1.4"
	browser := chromium.Start(t)
	s := onPostgres(t)
	server := betterauth.Start(t, betterauth.Options{DSN: s.dsn, Verify: "../../plugins/generic-sql/verify/index.js"})
	dsn := fixture.Restore(t, passkeys)
	// The passkeys of the fixture are of a domain that no browser here can be at, and nobody
	// has their private keys.
	people := map[string]*credential{}
	for _, a := range fixture.Read(t, passkeys).Accounts {
		for _, m := range a.LoginMethods {
			if a.AppID != "public" || m.Recipe != "webauthn" || people[a.VisibleID] != nil || len(people) == 2 {
				continue
			}
			c := newCredential(t)
			people[a.VisibleID] = &c
			postgres.Exec(t, dsn, fmt.Sprintf(`UPDATE webauthn_credentials SET id = '%s', rp_id = 'localhost', public_key = '\x%x'
				WHERE id = (SELECT min(id) FROM webauthn_credentials WHERE app_id = 'public' AND user_id = '%s')`,
				base64.RawURLEncoding.EncodeToString(c.id), c.attested, m.ID))
		}
	}
	if len(people) < 2 {
		t.Fatalf("%d people with passkeys", len(people))
	}
	config := filepath.Join(t.TempDir(), "better-auth.yaml")
	writeFile(t, config, `
source: {url: "${env:DATABASE}"}
target:
  plugin: generic-sql
  config: {url: "${env:APP}", preset: better-auth, with: [passkey], hashes: [bcrypt, argon2id, argon2i]}
`)
	if r := runStetl(t, []string{"DATABASE=" + dsn, "APP=" + s.dsn}, "run", "--config", config); r.code != exitRejects && r.code != exitDone {
		t.Fatalf("run: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	app := &demo{t: t, url: server.Origin}
	for id, c := range people {
		tab := chromium.Private(t, browser)
		c.authenticator(t, tab, id)
		if answer, shown, err := app.visit(tab, "/passkey"); err != nil || answer != "user "+id {
			t.Errorf("the passkey of %s signs in as %q after %v (%v)", id, answer, shown, err)
		}
		forged := newCredential(t)
		forged.id = c.id
		tab = chromium.Private(t, browser)
		forged.authenticator(t, tab, id)
		if answer, _, err := app.visit(tab, "/passkey"); err != nil || !strings.HasPrefix(answer, "nobody 4") {
			t.Errorf("another key for the passkey of %s: %q (%v)", id, answer, err)
		}
	}
}

//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"maps"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/emersion/go-smtp"

	"github.com/stetl/stetl/core/signin"
	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/testenv"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// postOffice is a mail server that keeps what it gets.
type postOffice struct {
	port int

	mu   sync.Mutex
	mail map[string][]byte // the last one to each address
}

func openPostOffice(t *testing.T) *postOffice {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{port: l.Addr().(*net.TCPAddr).Port, mail: map[string][]byte{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{office: p}, nil }))
	server.Domain = "localhost"
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

// link is that of the last mail to an address; empty where none comes for a while.
func (p *postOffice) link(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		p.mu.Lock()
		raw, came := p.mail[strings.ToLower(address)]
		p.mu.Unlock()
		if came {
			text, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(raw)))
			return html.UnescapeString(string(mailedLink.Find(text)))
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return ""
}

var mailedLink = regexp.MustCompile(`http://[^\s"<>]*/login-actions/action-token[^\s"<>]*`)

// delivery is one mail on its way.
type delivery struct {
	office *postOffice
	to     []string
}

// Reset implements [smtp.Session].
func (d *delivery) Reset() { d.to = nil }

// Logout implements [smtp.Session].
func (d *delivery) Logout() error { return nil }

// Mail implements [smtp.Session].
func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt implements [smtp.Session].
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, to)
	return nil
}

// Data implements [smtp.Session].
func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	d.office.mu.Lock()
	defer d.office.mu.Unlock()
	for _, to := range d.to {
		d.office.mail[strings.ToLower(to)] = raw
	}
	return err
}

// tryTimeout only ends a test in which a page does not come.
const tryTimeout = 3 * time.Minute

// front is a realm as people come to it: an application, a browser, another provider and a
// mail server.
type front struct {
	*town
	app     *demo
	browser context.Context
	office  *postOffice
}

// visitor opens the sign-in form of the realm.
func (f *front) visitor() (context.Context, error) {
	q := url.Values{"client_id": {"demo"}, "redirect_uri": {f.app.url + "/callback"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}}
	tab, cancel := context.WithTimeout(chromium.Private(f.t, f.browser), tryTimeout)
	f.t.Cleanup(cancel)
	return tab, chromedp.Do(tab, chromedp.Navigate(f.app.keycloak+"/protocol/openid-connect/auth?"+q.Encode()), chromedp.WaitVisible("#username"))
}

// outcome is what a page says after a form: "user ID" from the application, or the words of a
// page that wants something else; empty as long as neither is there.
const outcome = `(() => {
  const all = '#answer, [id^=input-error], [class*=alert], #kc-error-message, #kc-idp-review-profile-form';
  return [...document.querySelectorAll(all)].map((e) => e.textContent.trim()).find((text) => text) ?? '';
})()`

// submit sends a form and tells what comes of it.
func submit(tab context.Context, actions ...chromedp.Action[chromedp.Void]) (string, error) {
	if err := chromedp.Do(tab, actions...); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		// Between two pages there is nothing to ask.
		if said, err := chromedp.Run(tab, chromedp.Evaluate[string](outcome)); err == nil && said != "" {
			return said, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", ctx.Err()
}

// byPassword signs in with the form.
func (f *front) byPassword(name, password string) (string, error) {
	tab, err := f.visitor()
	if err != nil {
		return "", err
	}
	return submit(tab, chromedp.SendKeys("#username", name), chromedp.SendKeys("#password", password), chromedp.Click("#kc-login"))
}

// elsewhere signs in at the other provider, whose people have their own id for a name.
func (f *front) elsewhere(provider, id string) (string, error) {
	tab, err := f.visitor()
	if err != nil {
		return "", err
	}
	// The form of the realm itself looks the same.
	err = chromedp.Do(tab, chromedp.Click("#social-"+provider), chromedp.WaitVisible(`#kc-form-login[action*="elsewhere"]`))
	if err != nil {
		return "", err
	}
	return submit(tab, chromedp.SendKeys("#username", id), chromedp.SendKeys("#password", newPassword), chromedp.Click("#kc-login"))
}

// byMail asks for a new password, follows the link of the mail, and signs in with it.
func (f *front) byMail(name, address string) (string, error) {
	tab, err := f.visitor()
	if err != nil {
		return "", err
	}
	err = chromedp.Do(tab, chromedp.Click(`a[href*="reset-credentials"]`), chromedp.WaitVisible("#kc-reset-password-form #username"),
		chromedp.SendKeys("#username", address), chromedp.Click(`#kc-reset-password-form [type="submit"]`))
	if err != nil {
		return "", err
	}
	link := f.office.link(tab, address)
	if link == "" {
		return "no mail", nil
	}
	err = chromedp.Do(tab, chromedp.Navigate(link), chromedp.WaitVisible("#password-new"), chromedp.SendKeys("#password-new", newPassword),
		chromedp.SendKeys("#password-confirm", newPassword), chromedp.Click(`#kc-passwd-update-form [type="submit"]`), chromedp.WaitNotPresent("#password-new"))
	if err != nil {
		return "", err
	}
	return f.byPassword(name, newPassword)
}

// works are the ways that were predicted to work, as one text.
func (p prediction) works(a *account) string {
	var out []string
	for _, w := range p[a.InternalID] {
		if w.State == signin.Works {
			out = append(out, strings.TrimSuffix(string(w.Way)+" "+w.Provider, " "))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestWaysToSignIn: one person of each combination of ways that were predicted comes to a real
// Keycloak with a browser. Every way that was predicted works, and signs in as that person;
// the old password of those to whom it was not promised does not.
func TestWaysToSignIn(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs Chromium and Keycloak")
	const name, other, secret = "ways", "ways elsewhere", "client-secret"
	// Its people are those of other tests, and ids are unique on a server.
	server := keycloak.Start(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
	realm(t, server, name, secret)
	f := &front{town: &town{t: t, server: server, realm: name}, app: startDemo(t), browser: chromium.Start(t), office: openPostOffice(t)}
	f.app.keycloak = server.URL() + f.path("")
	people := readAccounts(t, bridgeFixture)
	f.prepare(other, people)

	config, env := f.configure(t, secret)
	predicted := f.predict(config, env)
	run := runStetl(t, env, "run", "--config", config, "--json")
	if s := run.report(t).Summary; s.Created == 0 || s.InDoubt > 0 {
		t.Fatalf("run: exit %d, %+v\n%s", run.code, s, run.stderr)
	}
	var list []struct{ ID, Username, Email string }
	if err := f.get(t.Context(), "/users?max=1000", &list); err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	for i := range list {
		there[list[i].ID] = i + 1
	}
	seen := map[string]int{}
	for i := range people {
		a := &people[i]
		at, works := there[a.VisibleID], predicted.works(a)
		if at == 0 || len(a.TOTP) > 0 || seen[works] > 0 {
			continue
		}
		seen[works]++
		u := list[at-1]
		t.Run(strings.ReplaceAll(works, " ", "_"), func(t *testing.T) {
			t.Parallel()
			f.tryAll(t, a, u.Username, u.Email, works)
		})
	}
	for _, combination := range []string{"", "email_reset", "email_reset, password", "email_reset, password, social google", "email_reset, social google"} {
		if seen[combination] == 0 {
			t.Errorf("nobody was seen with the ways %q: %v", combination, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// tryAll tries what an account has.
func (f *front) tryAll(t *testing.T, a *account, username, email, works string) {
	t.Helper()
	promised := func(way string) bool { return slices.Contains(strings.Split(works, ", "), way) }
	tried := func(way, got string, err error) {
		t.Helper()
		if in := got == "user "+a.VisibleID; err != nil || in != promised(way) || !in && strings.HasPrefix(got, "user ") {
			t.Errorf("account %s, %s: %q (%v), predicted %q", a.VisibleID, way, strings.Join(strings.Fields(got), " "), err, works)
		}
	}
	for _, l := range a.Logins {
		if i := l.Identity; i != nil && i.Provider == "google" && !f.several(a, i.Provider) {
			got, err := f.elsewhere(i.Provider, i.UserID)
			tried("social google", got, err)
		}
	}
	password, has := a.password()
	if !has {
		password = "any password at all"
	}
	got, err := f.byPassword(username, password)
	tried("password", got, err)
	if email != "" {
		got, err = f.byMail(username, email)
		tried("email_reset", got, err)
	} else if promised("email_reset") {
		t.Errorf("account %s has no address, and a mail was promised", a.VisibleID)
	}
}

// prepare makes the application, the mail server and the other provider known to the realm.
func (f *front) prepare(other string, people []account) {
	f.t.Helper()
	ctx := f.t.Context()
	var users []any
	for _, a := range people {
		for _, l := range a.Logins {
			if i := l.Identity; i != nil && i.Provider == "google" && !slices.ContainsFunc(users, func(u any) bool { return u.(map[string]any)["username"] == i.UserID }) {
				users = append(users, map[string]any{
					"id": i.UserID, "username": i.UserID, "enabled": true, "email": i.UserID + "@elsewhere.example", "firstName": "A", "lastName": "B",
					"credentials": []any{map[string]any{"type": "password", "value": newPassword}},
				})
			}
		}
	}
	f.server.CreateRealm(f.t, map[string]any{
		"realm": other, "enabled": true, "users": users,
		"clients": []any{map[string]any{"clientId": "broker", "secret": "s", "redirectUris": []string{f.app.keycloak + "/broker/*"}}},
	})
	from := f.server.URL() + "/realms/" + url.PathEscape(other)
	for method, request := range map[string]struct {
		path string
		body any
	}{
		http.MethodPut: {"", map[string]any{"resetPasswordAllowed": true, "smtpServer": map[string]any{"host": "127.0.0.1", "port": fmt.Sprint(f.office.port), "from": "realm@example.org"}}},
		http.MethodPost: {"/clients", map[string]any{
			"clientId": "demo", "publicClient": true, "standardFlowEnabled": true, "redirectUris": []string{f.app.url + "/callback"},
		}},
	} {
		if err := f.server.Admin(ctx, method, f.path(request.path), request.body, nil); err != nil {
			f.t.Fatal(err)
		}
	}
	err := f.server.Admin(ctx, http.MethodPost, f.path("/identity-provider/instances"), map[string]any{
		"alias": "google", "providerId": "oidc", "enabled": true, "config": map[string]any{
			"clientId": "broker", "clientSecret": "s", "clientAuthMethod": "client_secret_post", "authorizationUrl": from + "/protocol/openid-connect/auth",
			"tokenUrl": from + "/protocol/openid-connect/token", "jwksUrl": from + "/protocol/openid-connect/certs", "issuer": from,
			"useJwksUrl": "true", "validateSignature": "true", "defaultScope": "openid",
		},
	}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
}

// configure writes a configuration for a dump of the fixture.
func (f *front) configure(t *testing.T, secret string) (config string, env []string) {
	t.Helper()
	config = t.TempDir() + "/keycloak.yaml"
	writeFile(t, config, `
source: {url: "${env:DATABASE}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: `+f.realm+`, client_id: stetl, client_secret: "${env:SECRET}"}
`)
	return config, []string{"DATABASE=" + fixture.Restore(t, bridgeFixture), "URL=" + f.server.URL(), "SECRET=" + secret}
}

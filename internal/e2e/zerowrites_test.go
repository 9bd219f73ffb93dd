package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// doorman stands before a Keycloak and notes every request. While it is strict, only
// requests that cannot change anything pass: reading, and signing in as a client.
type doorman struct {
	proxy *httputil.ReverseProxy

	mu      sync.Mutex
	strict  bool
	passed  int
	refused []string
	changed int
}

func newDoorman(t *testing.T, server *keycloak.Server) (*doorman, string) {
	t.Helper()
	upstream, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	d := &doorman{proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }}}
	front := httptest.NewServer(d)
	t.Cleanup(front.Close)
	return d, front.URL
}

func (d *doorman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	harmless := r.Method == http.MethodGet || r.Method == http.MethodHead ||
		r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/protocol/openid-connect/token")
	d.mu.Lock()
	refuse := d.strict && !harmless
	switch {
	case refuse:
		d.refused = append(d.refused, r.Method+" "+r.URL.Path)
	case harmless:
		d.passed++
	default:
		d.changed++
	}
	d.mu.Unlock()
	if refuse {
		http.Error(w, "nobody may change anything now", http.StatusForbidden)
		return
	}
	d.proxy.ServeHTTP(w, r)
}

// during runs commands while nothing may change, and says what they asked for.
func (d *doorman) during(t *testing.T, what string, commands func()) {
	t.Helper()
	d.mu.Lock()
	d.strict, d.passed, d.refused = true, 0, nil
	d.mu.Unlock()
	commands()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strict = false
	if len(d.refused) > 0 {
		slices.Sort(d.refused)
		t.Errorf("%s: %d requests would change the target: %v", what, len(d.refused), slices.Compact(d.refused))
	}
	if d.passed == 0 {
		t.Errorf("%s: nothing was asked of the target, so nothing is proven", what)
	}
}

// testDryRunsChangeNothing is invariant I4, at the wire: no command that only looks
// sends a request that could change anything, on an empty realm, on a loaded one, and
// on one that others have changed since.
func testDryRunsChangeNothing(t *testing.T, server *keycloak.Server) {
	t.Helper()
	realm(t, server, "looked-at", "s3cret")
	door, front := newDoorman(t, server)
	dir := t.TempDir()
	config := filepath.Join(dir, "keycloak.yaml")
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-10.1.4.sql"))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"DUMP=" + dump, "URL=" + front, "SECRET=s3cret"}
	write := func(more string) {
		t.Helper()
		writeFile(t, config, `
source: {dump: "${env:DUMP}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: looked-at, client_id: stetl, client_secret: "${env:SECRET}"}
`+more)
	}
	write("")
	someone := ""
	look := func() {
		t.Helper()
		for i, args := range [][]string{
			{"check"},
			{"plan"},
			{"plan", "--detail", "full", "--out", filepath.Join(dir, "plan.json")},
			{"run", "--dry-run", "--json", "--full"},
			{"verify"},
			{"explain"},
			{"report"},
			{"idmap"},
			{"rejects"},
		} {
			if args[0] == "explain" {
				if someone == "" {
					continue
				}
				args = append(args, someone)
			}
			r := runStetl(t, env, append(args, "--config", config)...)
			if r.code == exitInternal || i < 4 && r.code == exitRefused {
				t.Errorf("%v: exit %d\n%s", args, r.code, r.stderr)
			}
		}
	}
	door.during(t, "an empty realm", look)

	if r := runStetl(t, env, "run", "--config", config, "--json"); r.code != exitRejects || r.report(t).Summary.Created == 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	door.mu.Lock()
	if door.changed == 0 {
		t.Error("the run changed nothing that the proxy has seen: it does not stand where it should")
	}
	door.mu.Unlock()
	ids := idsOf(t, server, "looked-at")
	someone = ids[0]
	door.during(t, "a loaded realm", look)

	// Others delete one account and rename another; then the rules and policies change, so
	// that a run would want to write everywhere.
	if err := server.Admin(t.Context(), http.MethodDelete, "/realms/looked-at/users/"+url.PathEscape(ids[1]), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := server.Admin(t.Context(), http.MethodPut, "/realms/looked-at/users/"+url.PathEscape(ids[2]), map[string]any{"firstName": "Somebody", "lastName": "Else"}, nil); err != nil {
		t.Fatal(err)
	}
	write(`
policies: {existing: adopt, drift: overwrite, long_id: internal, collision: {username: suffix, email: drop}}
mapping: {set: {family_name: {constant: Renamed}}}
`)
	door.during(t, "a realm that is to be rewritten", func() {
		look()
		r := runStetl(t, env, "plan", "--config", config, "--json", "--detailed-exitcode")
		if s := r.report(t).Summary; s.Updated < 50 {
			t.Errorf("a plan of %+v proves little", s)
		}
	})
	if n := count(t, server, "looked-at"); n != len(ids)-1 {
		t.Errorf("%d users, there were %d", n, len(ids)-1)
	}
	// The policies have removed the cause: whoever was rejected for it is loaded now, alone.
	again := runStetl(t, env, "run", "--config", config, "--only-rejects", "--json")
	s := again.report(t).Summary
	if s.Created == 0 || s.Updated > 0 || count(t, server, "looked-at") != len(ids)-1+s.Created {
		t.Errorf("only rejects: %+v, exit %d, %d users\n%s", s, again.code, count(t, server, "looked-at"), again.stderr)
	}
	there := map[string]bool{}
	for _, id := range append(idsOf(t, server, "looked-at"), ids[1]) { // the deleted one stays in the journal until a run looks
		there[id] = true
	}
	pairs := runStetl(t, env, "idmap", "--config", config)
	lines := strings.Split(strings.TrimSpace(pairs.stdout), "\n")[1:]
	for _, line := range lines {
		if id := line[strings.LastIndexByte(line, ',')+1:]; !there[id] {
			t.Errorf("the id map leads to %q, and the realm has no such user", id)
		}
	}
	if len(lines) != len(there) {
		t.Errorf("%d pairs for %d users", len(lines), len(there))
	}
	fmt.Fprintln(t.Output(), "requests that changed something, outside of looking:", door.changed)
}

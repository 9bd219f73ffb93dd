//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// village is a crowd that has roles, and in which things happen.
type village struct {
	crowd
	// changed is how many of them have got another name, and a role more.
	changed int
}

// Accounts implements [engine.Source].
func (v village) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	n := 0
	return v.crowd.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			u := &users[i]
			u.Roles = map[string][]string{"public": {"member", fmt.Sprint("team", n%5)}}
			if n < v.changed {
				u.Metadata = fmt.Appendf(nil, `{"first_name":"Other","last_name":"No %d","plan":"lead"}`, n)
				u.Roles["public"] = append(u.Roles["public"], "lead")
			}
			n++
		}
		return emit(users)
	})
}

// gate is the way to a server: it counts requests, and hides the endpoints of the provider
// where plain says so.
type gate struct {
	url      string
	requests atomic.Int64
}

func openGate(tb testing.TB, server string, plain bool) *gate {
	tb.Helper()
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	g := &gate{}
	forward := httputil.NewSingleHostReverseProxy(u)
	forward.Transport = &http.Transport{MaxIdleConnsPerHost: 32}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.requests.Add(1)
		if plain && strings.HasSuffix(r.URL.Path, "/stetl") { // as a server without them answers
			r.URL.Path += "-is-not-here"
		}
		forward.ServeHTTP(w, r)
	}))
	tb.Cleanup(proxy.Close)
	g.url = proxy.URL
	return g
}

// step is what happened to people after their first load, and what it cost.
type step struct {
	name     string
	accounts int // that were asked about
	took     time.Duration
	requests int
}

// life is one realm with the people of a source, from their load to the undo.
type life struct {
	testing.TB
	gate     *gate
	settings []byte
	folder   string
	source   village
	runs     int64
	steps    []step
	tell     func(step)
}

func newLife(tb testing.TB, server *keycloak.Server, name string, number, people int, plain bool) *life {
	tb.Helper()
	realm(tb, server, name, "secret")
	l := &life{TB: tb, gate: openGate(tb, server.URL(), plain), folder: tb.TempDir(), source: village{crowd: crowd{number, people}}}
	var err error
	if l.settings, err = json.Marshal(map[string]any{"url": l.gate.url, "realm": name, "client_id": "stetl", "client_secret": "secret"}); err != nil {
		tb.Fatal(err)
	}
	return l
}

// do has a plugin of its own process do something, with the journal of all that was before.
func (l *life) do(name string, accounts int, what func(*plugin.Client, *journal.Scope, engine.Options) error) {
	l.Helper()
	path, err := buildOnce()
	l.must(err)
	j, err := sqlite.Open(l.Context(), l.folder)
	l.must(err)
	scope, err := j.Scope(l.Context(), "public", "bench")
	l.must(err)
	start, before := time.Now(), l.gate.requests.Load()
	client, err := plugin.Launch(l.Context(), plugin.Location{Name: "keycloak", Path: path, Args: []string{"plugin-serve", "keycloak"}},
		plugin.Options{FingerprintKey: j.FingerprintKey(), Log: slog.New(slog.DiscardHandler)})
	l.must(err)
	found, err := client.Configure(l.Context(), l.settings)
	l.must(err)
	l.must(found.Err())
	l.runs++
	if err := what(client, scope, engine.Options{Journal: scope, Key: j.FingerprintKey(), Run: l.runs}); err != nil {
		l.Errorf("%s: %v", name, err)
	}
	l.must(client.Close(l.Context()))
	s := step{name, accounts, time.Since(start), int(l.gate.requests.Load() - before)}
	l.steps = append(l.steps, s)
	if l.tell != nil {
		l.tell(s)
	}
	l.must(j.Close())
}

// run is a run that changes the options, and is to come out as want.
func (l *life) run(name string, accounts int, change func(*engine.Options), want pluginapi.Summary) {
	l.Helper()
	l.do(name, accounts, func(c *plugin.Client, _ *journal.Scope, o engine.Options) error {
		change(&o)
		r, err := engine.Run(l.Context(), l.source, c, o)
		if err != nil {
			return err
		}
		want.Read = r.Summary.Read
		if got := r.Summary; fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%+v, want %+v", got, want)
		}
		return nil
	})
}

func (l *life) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// live goes through it all; changed is how many accounts change in the end.
func (l *life) live(changed int) {
	people := l.source.people
	same := pluginapi.Summary{Unchanged: people}
	l.load()
	l.run("dry run", people, func(o *engine.Options) { o.DryRun = true }, same)
	l.run("run, nothing changed", people, nothing, same)
	l.verify()
	l.run("run --full", people, func(o *engine.Options) { o.Full = true }, same)
	l.source.changed = 1
	l.run("one changed", 1, nothing, pluginapi.Summary{Updated: 1, Unchanged: people - 1})
	l.source.changed = changed
	l.run("many changed", changed-1, nothing, pluginapi.Summary{Updated: changed - 1, Unchanged: people - changed + 1})
	l.undo()
}

func nothing(*engine.Options) {}

func (l *life) load() {
	l.Helper()
	l.run("load", l.source.people, nothing, pluginapi.Summary{Created: l.source.people})
}

func (l *life) verify() {
	l.Helper()
	l.do("verify", l.source.people, func(c *plugin.Client, _ *journal.Scope, o engine.Options) error {
		v, err := engine.Verify(l.Context(), l.source, c, o, 0)
		if err == nil && v.Match != l.source.people {
			err = fmt.Errorf("%+v", v)
		}
		return err
	})
}

func (l *life) undo() {
	l.Helper()
	l.do("undo", l.source.people, func(c *plugin.Client, s *journal.Scope, _ engine.Options) error {
		u, err := engine.Undo(l.Context(), s, c, engine.UndoOptions{})
		if err == nil && u.Deleted != l.source.people {
			err = fmt.Errorf("%+v", u)
		}
		return err
	})
}

// TestKeycloakAfterTheLoad counts the requests that looks, changes and an undo cost after a
// first load: none is for one account where many can be asked about.
func TestKeycloakAfterTheLoad(t *testing.T) {
	t.Parallel()
	people := 1000
	if os.Getenv("CI") == "true" {
		people = 5000
	}
	server := keycloak.Shared(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
	l := newLife(t, server, "afterwards", 900, people, false)
	const changed = 41
	l.live(changed)
	batches := people/100 + 1
	most := map[string]int{
		"load":                 40 + 2*batches,
		"dry run":              40 + 3*batches,
		"run, nothing changed": 10,
		"verify":               20 + 3*batches,
		"run --full":           20 + 4*batches,
		"one changed":          30,
		"many changed":         30 + 3*changed,
		"undo":                 60 + 6*batches, // two of them for the deletions of each batch, side by side
	}
	for _, s := range l.steps {
		t.Logf("%-22s %8.2f s %6d requests", s.name, s.took.Seconds(), s.requests)
		if s.requests > most[s.name] {
			t.Errorf("%s takes %d requests for %d accounts, want at most %d", s.name, s.requests, s.accounts, most[s.name])
		}
	}
	var left int
	l.must(server.Admin(t.Context(), "GET", "/realms/afterwards/users/count", nil, &left))
	if left > 1 { // the client's own
		t.Errorf("%d accounts are left", left)
	}
}

// BenchmarkKeycloakDelta measures what comes after a first load: with STETL_BENCH_ACCOUNTS
// accounts, and with a tenth of them without the endpoints of the provider.
func BenchmarkKeycloakDelta(b *testing.B) {
	a, people := openArena(b)
	for b.Loop() {
		b.ReportMetric(0, "ns/op")
		for _, plain := range []bool{false, true} {
			n := people
			if plain {
				n = people / 10
			}
			a.crowds++
			l := newLife(b, a.server, fmt.Sprintf("bench%d", a.crowds), a.crowds, n, plain)
			l.tell = func(s step) { // a log would be cut off
				fmt.Fprintf(os.Stderr, "provider %-5v %6d accounts  %-22s %8.2f s %7.0f accounts/s %7d requests\n",
					!plain, n, s.name, s.took.Seconds(), float64(s.accounts)/s.took.Seconds(), s.requests)
			}
			l.live(max(n/100, 2))
		}
	}
}

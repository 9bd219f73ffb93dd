//go:build unix

package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Nerzal/gocloak/v13"
	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// crowd is a source of ordinary people: an e-mail address, a bcrypt hash and a
// little metadata each. Ids are unique over all crowds of a server.
type crowd struct{ number, people int }

func (c crowd) name(n int) string { return fmt.Sprintf("person%d.%d@example.com", c.number, n) }

// hash looks like bcrypt and is nobody's password.
func (c crowd) hash(n int) string {
	text := base64.RawStdEncoding.EncodeToString(fmt.Appendf(nil, "%039d", n))
	return "$2a$10$" + text[:21] + "O" + text[21:51] + "2"
}

// Accounts implements [engine.Source].
func (c crowd) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	const part = 1000
	joined := time.UnixMilli(1_700_000_000_000)
	for first := 0; first < c.people; first += part {
		users := make([]canonical.User, 0, part)
		for n := first; n < min(first+part, c.people); n++ {
			id, mail, verified := fmt.Sprintf("%08d-0000-4000-8000-%012d", c.number, n), c.name(n), true
			users = append(users, canonical.User{
				App: "public", InternalID: id, ID: id, TimeJoined: joined,
				Metadata: fmt.Appendf(nil, `{"first_name":"Person","last_name":"No %d","plan":"gold"}`, n),
				Logins: []canonical.Login{{
					Recipe: canonical.EmailPassword, ID: id, VisibleID: id, Email: &mail, Verified: &verified,
					TimeJoined: joined, Tenants: []string{"public"}, Password: canonical.ParsePasswordHash(c.hash(n)),
				}},
			})
		}
		if err := emit(users); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// arena is one server and what is measured on it.
type arena struct {
	*testing.B
	server *keycloak.Server
	crowds int
}

// realm makes an empty realm and the people to fill it.
func (a *arena) realm(people int) (string, crowd) {
	a.Helper()
	a.crowds++
	name := fmt.Sprintf("bench%d", a.crowds)
	realm(a, a.server, name, "secret")
	return name, crowd{a.crowds, people}
}

// stetl runs the engine with a journal and the plugin in a process of its own: a
// whole run without the reading of the source. It returns users a second of the
// load and of the whole run, what was written read back.
func (a *arena) stetl(people, batch, parallel, readBack int, settings map[string]any) (load, whole float64) {
	a.Helper()
	var c crowd
	if settings == nil {
		var name string
		name, c = a.realm(people)
		settings = map[string]any{"url": a.server.URL(), "realm": name, "client_id": "stetl", "client_secret": "secret", "batch_size": batch, "parallel": parallel}
	} else {
		a.crowds++
		c = crowd{a.crowds, people}
	}
	path, err := buildOnce()
	a.must(err)
	j, err := sqlite.Open(a.Context(), a.TempDir())
	a.must(err)
	scope, err := j.Scope(a.Context(), "public", "bench")
	a.must(err)
	client, err := plugin.Launch(a.Context(), plugin.Location{Name: "keycloak", Path: path, Args: []string{"plugin-serve", "keycloak"}},
		plugin.Options{FingerprintKey: j.FingerprintKey(), Log: slog.New(slog.DiscardHandler)})
	a.must(err)
	raw, err := json.Marshal(settings)
	a.must(err)
	found, err := client.Configure(a.Context(), raw)
	a.must(err)
	a.must(found.Err())
	result, err := engine.Run(a.Context(), c, client, engine.Options{Journal: scope, Key: j.FingerprintKey(), Run: 1, ReadBack: readBack})
	a.must(err)
	a.must(client.Close(a.Context()))
	a.must(j.Close())
	if result.Summary.Created != people {
		a.Fatalf("%+v", result.Summary)
	}
	took := result.Elapsed
	if result.ReadBack != nil {
		took -= result.ReadBack.Elapsed
	}
	return float64(people) / took.Seconds(), float64(people) / result.Elapsed.Seconds()
}

// gocloak creates users as a script would, one call each.
func (a *arena) gocloak(people, goroutines int) float64 {
	a.Helper()
	name, c := a.realm(people)
	client := gocloak.NewClient(a.server.URL())
	token, err := client.LoginClient(a.Context(), "stetl", "secret", name)
	a.must(err)
	group, ctx := errgroup.WithContext(a.Context())
	var next atomic.Int64
	start := time.Now()
	for range goroutines {
		group.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= people {
					return nil
				}
				user := gocloak.User{
					Username: gocloak.StringP(c.name(n)), Email: gocloak.StringP(c.name(n)), EmailVerified: gocloak.BoolP(true), Enabled: gocloak.BoolP(true),
					FirstName: gocloak.StringP("Person"), LastName: gocloak.StringP(fmt.Sprint("No ", n)),
					Attributes: &map[string][]string{"metadata.plan": {"gold"}},
					Credentials: &[]gocloak.CredentialRepresentation{{
						Type:           gocloak.StringP("password"),
						CredentialData: gocloak.StringP(`{"hashIterations":10,"algorithm":"bcrypt","additionalParameters":{}}`),
						SecretData:     gocloak.StringP(fmt.Sprintf(`{"value":%q,"salt":"","additionalParameters":{}}`, c.hash(n))),
					}},
				}
				if _, err := client.CreateUser(ctx, token.AccessToken, name, user); err != nil {
					return err
				}
			}
		})
	}
	a.must(group.Wait())
	return float64(people) / time.Since(start).Seconds()
}

// ownImport has kc.sh import the files that stetl writes for the same people, into
// a new realm. It returns users a second with and without the start of Java.
func (a *arena) ownImport(people int) (whole, net float64) {
	a.Helper()
	imported := func(people int) time.Duration {
		dir := filepath.Join(a.TempDir(), "import")
		a.stetl(people, 0, 0, 0, map[string]any{"mode": "files", "realm": "moved", "out": dir})
		opts := benchServer
		opts.Import = dir
		server := keycloak.Start(a, opts)
		var n int
		a.must(server.Admin(a.Context(), "GET", "/realms/moved/users/count", nil, &n))
		if n != people {
			a.Fatalf("%d users of %d in the realm", n, people)
		}
		return server.ImportTook()
	}
	empty, full := imported(1), imported(people)
	return float64(people) / full.Seconds(), float64(people) / max(full-empty, time.Millisecond).Seconds()
}

func (a *arena) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

var benchServer = keycloak.Options{
	Providers: map[string][]byte{provider.FileName: provider.Jar()},
	JVM:       []string{"-XX:TieredStopAtLevel=4"},
}

func openArena(b *testing.B) (*arena, int) {
	b.Helper()
	people, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("make bench-keycloak runs it")
	}
	a := &arena{B: b, server: keycloak.Start(b, benchServer)}
	a.gocloak(1000, 4) // the Java machine is slow at first
	a.stetl(4000, 50, 4, 0, nil)
	return a, people
}

// BenchmarkKeycloak measures one server: stetl beside gocloak's CreateUser, one
// after another and by eight goroutines, and beside kc.sh import.
// STETL_BENCH_ACCOUNTS chooses how many users; the slow ways get fewer.
func BenchmarkKeycloak(b *testing.B) {
	a, people := openArena(b)
	for b.Loop() {
		one := a.gocloak(min(people, max(people/10, 500)), 1)
		load, whole := a.stetl(people, 0, 0, 1, nil)
		eight := a.gocloak(min(people, max(people/4, 1000)), 8)
		imported, net := a.ownImport(people)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(load, "stetl-users/s")
		b.ReportMetric(whole, "read-back-users/s")
		b.ReportMetric(one, "gocloak-users/s")
		b.ReportMetric(eight, "gocloak8-users/s")
		b.ReportMetric(imported, "import-users/s")
		b.ReportMetric(net, "import-net-users/s")
		b.ReportMetric(load/one, "x-gocloak")
		b.ReportMetric(load/eight, "x-gocloak8")
		b.ReportMetric(load/imported, "x-import")
	}
}

// BenchmarkKeycloakSweep measures batch sizes and numbers of requests at the same
// time, each in a realm of its own.
func BenchmarkKeycloakSweep(b *testing.B) {
	a, people := openArena(b)
	for b.Loop() {
		b.ReportMetric(0, "ns/op")
		for _, parallel := range []int{1, 2, 4, 8} {
			for _, batch := range []int{5, 10, 25, 50, 100, 200} {
				load, _ := a.stetl(people, batch, parallel, 0, nil)
				fmt.Fprintf(os.Stderr, "parallel %d, batch %3d: %5.0f users/s\n", parallel, batch, load) // a log would be cut off
			}
		}
	}
}

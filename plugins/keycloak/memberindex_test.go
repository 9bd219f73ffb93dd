//go:build unix

package keycloak

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// counted puts a proxy before a server that counts requests.
func counted(t *testing.T, server string) (address string, requests *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	forward := httputil.NewSingleHostReverseProxy(u)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL, requests
}

// Reading many accounts back takes little more than one request each, and finds
// what a look at each of them would.
func TestServerReadsBackTogether(t *testing.T) {
	t.Parallel()
	for _, version := range []string{keycloak.Version, keycloak.OldVersion} {
		for way, w := range ways {
			t.Run(version+" "+w.name, func(t *testing.T) {
				t.Parallel()
				opts := withJar
				opts.Version = version
				s := keycloak.Shared(t, opts)
				realm := "together-" + w.name
				c := newRealmOn(t, s, realm)
				var requests *atomic.Int64
				c.URL, requests = counted(t, w.front(t, s))
				var users []sdk.User
				for n := range 2 * membersFrom {
					users = append(users, person(20_000+1000*way+n, func(u *sdk.User) {
						u.Roles = map[string][]string{"public": {"member", fmt.Sprint("team", n%3)}}
						u.Tenants = []string{"eu", fmt.Sprint("t", n%5)}
					}))
				}
				users[7].ID = "with a space" + w.name // cannot be asked for together with others
				p := client(t, c)
				loaded, err := p.Load(t.Context(), users)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(map[sdk.Action]int{sdk.Created: len(users)}, actions(loaded)); d != "" {
					t.Fatal(d)
				}
				known := remembering(users, loaded)
				planOf(t, p, known) // the first few of them are looked at one by one
				requests.Store(0)
				for i, o := range planOf(t, p, known) {
					if o.Action != sdk.Unchanged || !bytes.Equal(o.State, loaded[i].State) {
						t.Errorf("read back: %s", short(o))
					}
				}
				most := len(users) * 5 / 4
				switch {
				case w.bulk:
					most = len(users) / 25
				case version == keycloak.OldVersion:
					most += len(users) // it takes one id at a time
				}
				if n := int(requests.Load()); n > most {
					t.Errorf("%d requests for %d users", n, len(users))
				}
				// Others take a role and an account away; an index of members of before says nothing of it.
				base := "/realms/" + realm + "/users/"
				var roles []role
				for _, step := range []func() error{
					func() error {
						return s.Admin(t.Context(), http.MethodGet, base+users[0].ID+"/role-mappings/realm", nil, &roles)
					},
					func() error {
						return s.Admin(t.Context(), http.MethodDelete, base+users[0].ID+"/role-mappings/realm", roles, nil)
					},
					func() error { return s.Admin(t.Context(), http.MethodDelete, base+users[1].ID, nil, nil) },
				} {
					if err := step(); err != nil {
						t.Fatal(err)
					}
				}
				p = client(t, c)
				for i, o := range planOf(t, p, known) {
					want := sdk.Unchanged
					switch i {
					case 0:
						want = sdk.Updated
					case 1:
						want = sdk.Created
					}
					if o.Action != want {
						t.Errorf("account %d: %s", i, short(o))
					}
				}
			})
		}
	}
}

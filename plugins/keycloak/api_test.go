package keycloak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/sdk"
)

// A server to which there has never been a connection is given up after seconds; one
// that has been there is waited for.
func TestFirstContact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		dial := func(context.Context, string, string) (net.Conn, error) {
			if !up.Load() {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
			here, there := net.Pipe()
			go func() {
				defer func() { _ = there.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
					_, _ = io.WriteString(there, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
				}
			}()
			return here, nil
		}
		pulses := 0
		a := newAPI(Config{URL: "http://server.test"}.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler), Pulse: func(sdk.Pulse) { pulses++ }})
		a.client.RestyClient().SetTransport(&http.Transport{DialContext: dial})
		ask := func() (time.Duration, error) {
			start := time.Now()
			err := a.persist(t.Context(), func() error {
				_, err := a.send(t.Context(), a.client.GetRequest(t.Context()), http.MethodGet, "/")
				return err
			})
			return time.Since(start), err
		}
		if took, err := ask(); err == nil || took < 2*time.Second || took > 20*time.Second {
			t.Errorf("nobody has ever answered: after %s %v", took, err)
		}
		if pulses == 0 {
			t.Error("nobody hears of the waits")
		}
		up.Store(true)
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
		up.Store(false)
		back := time.AfterFunc(2*time.Minute, func() { up.Store(true) })
		defer back.Stop()
		if took, err := ask(); err != nil || took < 2*time.Minute {
			t.Errorf("the server comes back: after %s %v", took, err)
		}
	})
}

// A server that answers for more users than it was sent is not believed.
func TestAnswersForOthers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/token") {
			_, _ = io.WriteString(w, `{"access_token": "x", "expires_in": 300}`)
			return
		}
		_, _ = io.WriteString(w, `[{"status": 201}, {"status": 201}]`)
	}))
	t.Cleanup(server.Close)
	a := newAPI(Config{URL: server.URL, Realm: "people", ClientID: "stetl"}.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler)})
	results, err := a.loadUsers(t.Context(), []json.RawMessage{[]byte(`{}`)})
	if len(results) > 0 || err == nil || !strings.Contains(err.Error(), "for 2 users of 1") {
		t.Errorf("%v, %v", results, err)
	}
}

package keycloak

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
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

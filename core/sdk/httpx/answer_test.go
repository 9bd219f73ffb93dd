package httpx_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/sdk/httpx"
)

// breaking serves an answer that breaks off, or does not go on, the first times.
func breaking(t *testing.T, times int32, stall bool) (client func(httpx.Options) *http.Client, address string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	end := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "1000")
		if asked.Add(1) > times {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 10))
		_ = http.NewResponseController(w).Flush()
		if stall {
			select {
			case <-r.Context().Done():
			case <-end:
			}
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(end) })
	return func(o httpx.Options) *http.Client {
		c := httpx.NewClient(o)
		t.Cleanup(c.CloseIdleConnections)
		return c
	}, srv.URL, asked
}

func ask(ctx context.Context, c *http.Client, method, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(resp.Body)
}

// An answer that breaks off is none.
func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	for name, stall := range map[string]bool{"cut": false, "stalled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, address, asked := breaking(t, 1, stall)
			c := client(httpx.Options{Timeout: 300 * time.Millisecond})
			if body, err := ask(t.Context(), c, http.MethodGet, address); err != nil || len(body) != 1000 || asked.Load() != 2 {
				t.Errorf("GET: %d bytes after %d requests, %v", len(body), asked.Load(), err)
			}
		})
		t.Run(name+", not to be repeated", func(t *testing.T) {
			t.Parallel()
			client, address, asked := breaking(t, 1, stall)
			c := client(httpx.Options{Timeout: 300 * time.Millisecond})
			ctx, trace := httpx.WithTrace(t.Context())
			_, err := ask(ctx, c, http.MethodPost, address)
			if !httpx.Uncertain(err) || asked.Load() != 1 || !trace.Doubtful() {
				t.Errorf("POST: %d requests, doubtful %t, %v", asked.Load(), trace.Doubtful(), err)
			}
		})
		t.Run(name+", too large to be held", func(t *testing.T) {
			t.Parallel()
			client, address, asked := breaking(t, 1, stall)
			c := client(httpx.Options{Timeout: 300 * time.Millisecond})
			body, err := ask(httpx.Stream(t.Context()), c, http.MethodGet, address)
			if err == nil || len(body) != 10 || asked.Load() != 1 {
				t.Errorf("%d bytes after %d requests, %v", len(body), asked.Load(), err)
			}
		})
	}
}

func TestTraceOfRepeatedRequests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first    func() (*http.Response, error)
		doubtful bool
	}{
		"lost":      {func() (*http.Response, error) { return nil, reset }, true},
		"gateway":   {func() (*http.Response, error) { return answer(504), nil }, true},
		"refused":   {func() (*http.Response, error) { return nil, refused }, false},
		"throttled": {func() (*http.Response, error) { return answer(429), nil }, false},
		"answered":  {func() (*http.Response, error) { return answer(409), nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
					if asked++; asked == 1 {
						return tc.first()
					}
					return answer(409), nil
				}), httpx.Options{})
				ctx, trace := httpx.WithTrace(httpx.Retryable(t.Context()))
				if status, err := doCtx(ctx, rt, "POST"); status != 409 || err != nil || trace.Doubtful() != tc.doubtful {
					t.Errorf("%d, %v, doubtful %t", status, err, trace.Doubtful())
				}
			})
		})
	}
}

func TestFaultsThatStay(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{1: 1, 3: 3} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
				asked++
				return answer(500), nil
			}), httpx.Options{FaultTries: most})
			if status, err := do(t, rt, "PUT"); status != 500 || err != nil || asked != want {
				t.Errorf("%d, %v after %d requests, want %d", status, err, asked, want)
			}
		})
	}
}

// A body that never ends cannot fill the memory, streamed or not.
func TestEndlessAnswers(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]context.Context{"whole": t.Context(), "streamed": httpx.Stream(t.Context())} {
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			r := answer(200)
			r.Body = io.NopCloser(endless{})
			return r, nil
		}), httpx.Options{MaxBody: 1 << 20})
		if _, err := doCtx(ctx, rt, "GET"); !errors.Is(err, httpx.ErrBodyTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Requests that take long by their nature are no sign that a target is overloaded.
func TestSlowKindsDoNotLowerTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var under underWay
		rt := httpx.NewTransport(virtual(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				time.Sleep(5 * time.Millisecond)
				return answer(200), nil
			}
			defer under.begin()()
			time.Sleep(300 * time.Millisecond) // it hashes a password
			return answer(201), nil
		}), httpx.Options{MaxInFlight: 16})
		var group sync.WaitGroup
		for range 400 {
			group.Go(func() {
				for _, method := range []string{"GET", "POST"} {
					if _, err := do(t, rt, method); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if under.most < 12 {
			t.Errorf("at most %d of 16 requests were under way at once", under.most)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

package httpx_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// virtual is a target without a network, so that time can be virtual too.
type virtual func(*http.Request) (*http.Response, error)

func (v virtual) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	resp, err := v(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

func answer(status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: h, Body: io.NopCloser(strings.NewReader("body"))}
}

func do(t *testing.T, rt http.RoundTripper, method string) (int, error) {
	t.Helper()
	return doCtx(t.Context(), rt, method)
}

func doCtx(ctx context.Context, rt http.RoundTripper, method string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://target.test/users?email=a@example.org", strings.NewReader("{}"))
	if err != nil {
		return 0, err
	}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

var (
	refused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	reset   = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
)

// What is tried again, and what the caller learns otherwise.
func TestRetries(t *testing.T) {
	t.Parallel()
	type failure struct {
		status int
		err    error
	}
	for name, tc := range map[string]struct {
		method    string
		failure   failure
		retryable bool
		once      bool
		again     bool
		uncertain bool
	}{
		"GET reset":               {method: "GET", failure: failure{err: reset}, again: true},
		"PUT reset":               {method: "PUT", failure: failure{err: reset}, again: true},
		"DELETE 502":              {method: "DELETE", failure: failure{status: 502}, again: true},
		"GET 500":                 {method: "GET", failure: failure{status: 500}, again: true},
		"GET 408":                 {method: "GET", failure: failure{status: 408}, again: true},
		"GET 501":                 {method: "GET", failure: failure{status: 501}},
		"GET 404":                 {method: "GET", failure: failure{status: 404}},
		"POST never arrived":      {method: "POST", failure: failure{err: refused}, again: true},
		"PATCH never arrived":     {method: "PATCH", failure: failure{err: refused}, again: true},
		"POST reset":              {method: "POST", failure: failure{err: reset}, uncertain: true},
		"PATCH reset":             {method: "PATCH", failure: failure{err: reset}, uncertain: true},
		"POST 429":                {method: "POST", failure: failure{status: 429}, again: true},
		"POST 425":                {method: "POST", failure: failure{status: 425}, again: true},
		"POST 500":                {method: "POST", failure: failure{status: 500}},
		"POST 503":                {method: "POST", failure: failure{status: 503}},
		"POST 504":                {method: "POST", failure: failure{status: 504}},
		"POST reset, marked":      {method: "POST", failure: failure{err: reset}, retryable: true, again: true},
		"POST 503, marked":        {method: "POST", failure: failure{status: 503}, retryable: true, again: true},
		"POST 429, once":          {method: "POST", failure: failure{status: 429}, once: true},
		"GET 503, once":           {method: "GET", failure: failure{status: 503}, once: true},
		"GET reset, once":         {method: "GET", failure: failure{err: reset}, once: true, uncertain: true},
		"POST never sent, once":   {method: "POST", failure: failure{err: refused}, once: true, again: true},
		"GET wrong certificate":   {method: "GET", failure: failure{err: &tls.CertificateVerificationError{Err: errors.New("unknown authority")}}, uncertain: true},
		"GET no such host":        {method: "GET", failure: failure{err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}}},
		"POST no such host":       {method: "POST", failure: failure{err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}}},
		"GET no certificate here": {method: "GET", failure: failure{err: tls.RecordHeaderError{}}, uncertain: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
					if requests++; requests > 2 {
						return answer(200), nil
					}
					if tc.failure.err != nil {
						return nil, tc.failure.err
					}
					return answer(tc.failure.status), nil
				}), httpx.Options{})
				ctx := t.Context()
				if tc.retryable {
					ctx = httpx.Retryable(ctx)
				}
				if tc.once {
					ctx = httpx.Once(ctx)
				}
				status, err := doCtx(ctx, rt, tc.method)
				switch {
				case tc.again:
					if err != nil || status != 200 || requests != 3 {
						t.Errorf("%d requests end with %d, %v", requests, status, err)
					}
					return
				case requests != 1:
					t.Errorf("%d requests, want 1", requests)
				case tc.failure.err == nil && (err != nil || status != tc.failure.status):
					t.Errorf("status %d, %v", status, err)
				case tc.failure.err != nil && !errors.Is(err, tc.failure.err):
					t.Errorf("error %v, want %v", err, tc.failure.err)
				}
				if got := httpx.Uncertain(err); got != tc.uncertain {
					t.Errorf("uncertain %v, want %v", got, tc.uncertain)
				}
				if err != nil && strings.Contains(err.Error(), "example.org") {
					t.Errorf("the error shows the address: %v", err)
				}
			})
		})
	}
}

// Giving up returns what came last, and does not take longer than it may.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, requests := time.Now(), 0
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			requests++
			return answer(503, "Retry-After", "0"), nil
		}), httpx.Options{MaxElapsed: time.Minute})
		status, err := do(t, rt, "GET")
		if took := time.Since(start); err != nil || status != 503 || took > time.Minute || requests < 4 || requests > 40 {
			t.Errorf("%d requests in %s end with %d, %v", requests, took, status, err)
		}
		// A wait that is longer than all the time there is, is not begun.
		start = time.Now()
		rt = httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			return answer(429, "Retry-After", "90"), nil
		}), httpx.Options{MaxElapsed: time.Minute})
		if status, err := do(t, rt, "GET"); status != 429 || err != nil || time.Since(start) > 0 {
			t.Errorf("after %s: %d, %v", time.Since(start), status, err)
		}
	})
}

// Nobody sends anything while the target asks to wait, and all are served in the end.
func TestNothingInForbiddenWindows(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		header func(until time.Time) []string
	}{
		"Retry-After in seconds": {429, func(until time.Time) []string { return []string{"Retry-After", "7"} }},
		"Retry-After as a date":  {503, func(until time.Time) []string { return []string{"Retry-After", until.UTC().Format(http.TimeFormat)} }},
		"RateLimit-Reset":        {200, func(time.Time) []string { return []string{"RateLimit-Remaining", "0", "RateLimit-Reset", "7"} }},
		"X-RateLimit-Reset, a moment": {200, func(until time.Time) []string {
			return []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(until.Unix())}
		}},
		"RateLimit of the draft": {200, func(time.Time) []string { return []string{"RateLimit", `"hour";r=40;t=900, "burst";r=0;t=7`} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var forbidden time.Time
				served, violations := 0, 0
				rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					now := time.Now()
					if now.Before(forbidden) {
						violations++
					}
					served++
					if served%20 == 10 {
						forbidden = now.Truncate(time.Second).Add(7 * time.Second)
						return answer(tc.status, tc.header(forbidden)...), nil
					}
					return answer(200), nil
				}), httpx.Options{MaxInFlight: 1})
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						if status, err := do(t, rt, "GET"); status != 200 || err != nil {
							t.Errorf("%d, %v", status, err)
						}
					})
				}
				wg.Wait()
				if violations > 0 {
					t.Errorf("%d requests in forbidden windows", violations)
				}
				if served < 100 {
					t.Errorf("only %d requests", served)
				}
			})
		})
	}
}

// A target that allows 50 requests in ten seconds gets nearly as many.
func TestThroughputIsNearTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perWindow, window, all = 50, 10 * time.Second, 500
		var mu sync.Mutex
		var began time.Time
		inWindow, refusals := 0, 0
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now(); now.Sub(began) >= window {
				began, inWindow = now, 0
			}
			rest := fmt.Sprintf("%.3f", (window - time.Since(began)).Seconds())
			if inWindow == perWindow {
				refusals++
				return answer(429, "Retry-After", rest), nil
			}
			inWindow++
			return answer(201, "RateLimit-Remaining", fmt.Sprint(perWindow-inWindow), "RateLimit-Reset", rest), nil
		}), httpx.Options{MaxInFlight: 8})
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range all / 20 {
					if status, err := do(t, rt, "POST"); status != 201 || err != nil {
						t.Errorf("%d, %v", status, err)
					}
				}
			})
		}
		wg.Wait()
		// The last window need not be waited for.
		ideal := all/perWindow*window - window
		if took := time.Since(start); took > ideal*11/10+time.Second {
			t.Errorf("%s for what could take %s", took, ideal)
		}
		if refusals > all/10 {
			t.Errorf("%d of %d requests were refused", refusals, all)
		}
	})
}

// A target that can do eight things at a time, and says 503 to more, gets about so many.
func TestLimitFollowsTheTarget(t *testing.T) {
	t.Parallel()
	for name, overload := range map[string]func(busy int32) (int, time.Duration){
		"that refuses": func(busy int32) (int, time.Duration) {
			if busy > 8 {
				return 503, time.Millisecond
			}
			return 200, 100 * time.Millisecond
		},
		"that becomes slow": func(busy int32) (int, time.Duration) {
			if busy > 8 {
				return 200, time.Duration(busy-7) * 400 * time.Millisecond
			}
			return 200, 100 * time.Millisecond
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var busy atomic.Int32
				var seen [257]atomic.Int32 // requests by how many there were at the time
				rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
					n := busy.Add(1)
					defer busy.Add(-1)
					seen[n].Add(1)
					status, took := overload(n)
					time.Sleep(took)
					return answer(status), nil
				}), httpx.Options{MaxInFlight: 256})
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for range 50 {
							if status, err := do(t, rt, "GET"); status != 200 || err != nil {
								t.Errorf("%d, %v", status, err)
							}
						}
					})
				}
				wg.Wait()
				var all, some, many int32
				for n := range seen {
					count := seen[n].Load()
					all += count
					if n >= 4 {
						some += count
					}
					if n > 16 {
						many += count
					}
				}
				if some < all/3 {
					t.Errorf("only %d of %d requests had three others beside them: the limit does not grow", some, all)
				}
				if many > all/20 {
					t.Errorf("%d of %d requests had more than 15 others beside them: the limit does not hold", many, all)
				}
			})
		})
	}
}

func TestRateIsACeiling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) { return answer(200), nil }), httpx.Options{Rate: 10})
		start := time.Now()
		for range 101 {
			if _, err := do(t, rt, "GET"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("101 requests in %s, want ten seconds", took)
		}
	})
}

// Whoever leaves while waiting leaves at once, and nothing has been sent.
func TestWaitsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pulses []pluginapi.Pulse
		requests := 0
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			requests++
			return answer(429, "Retry-After", "60"), nil
		}), httpx.Options{Pulse: func(p pluginapi.Pulse) { pulses = append(pulses, p) }})
		reason := errors.New("enough")
		ctx, stop := context.WithTimeoutCause(t.Context(), 5*time.Second, reason)
		defer stop()
		start := time.Now()
		_, err := doCtx(ctx, rt, "POST")
		if !errors.Is(err, reason) || httpx.Uncertain(err) || requests != 1 || time.Since(start) != 5*time.Second {
			t.Errorf("after %s and %d requests: %v", time.Since(start), requests, err)
		}
		if len(pulses) == 0 || pulses[0].Wait != time.Minute || !strings.Contains(pulses[0].Reason, "429") {
			t.Errorf("pulses %+v", pulses)
		}
	})
}

// Against a real server, a POST whose connection is cut is not sent twice.
func TestRealConnections(t *testing.T) {
	t.Parallel()
	var posts, gets atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "stetl/test" {
			t.Errorf("user agent %q", r.UserAgent())
		}
		if r.Method == http.MethodPost {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}
		if gets.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	}))
	defer srv.Close()
	client := httpx.NewClient(httpx.Options{UserAgent: "stetl/test", MaxBody: 50})
	send := func(method, address string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, address+"/users?token=secret", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		return client.Do(r)
	}
	resp, err := send(http.MethodPost, srv.URL)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("the cut POST gave an answer")
	}
	if !httpx.Uncertain(err) || posts.Load() != 1 {
		t.Errorf("%d POSTs, %v", posts.Load(), err)
	}
	if text := httpx.Redact(err).Error(); strings.Contains(text, "secret") || !strings.Contains(text, "POST to 127.0.0.1") {
		t.Errorf("error %q", text)
	}
	resp, err = send(http.MethodGet, srv.URL)
	if err != nil || gets.Load() != 2 {
		t.Fatalf("%d GETs, %v", gets.Load(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); !errors.Is(err, httpx.ErrBodyTooLarge) || len(body) != 50 {
		t.Errorf("%d bytes, %v", len(body), err)
	}

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + lis.Addr().String()
	if err := lis.Close(); err != nil { // nobody listens there any more
		t.Fatal(err)
	}
	client = httpx.NewClient(httpx.Options{MaxElapsed: time.Second})
	late, err := send(http.MethodPost, address)
	if err == nil {
		_ = late.Body.Close()
		t.Fatal("nobody gave an answer")
	}
	if e, ok := errors.AsType[*httpx.Error](err); !ok || e.Sent || e.Attempts < 2 || httpx.Uncertain(err) {
		t.Errorf("error %v", err)
	}
}

func TestSameHost(t *testing.T) {
	t.Parallel()
	request := func(address string) *http.Request {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{URL: u}
	}
	for to, ok := range map[string]bool{
		"https://a.test/other": true, "https://A.test/": true, "http://a.test/": false, "https://b.test/": false, "https://a.test:444/": false,
	} {
		if err := httpx.SameHost(request(to), []*http.Request{request("https://a.test/?token=x")}); (err == nil) != ok {
			t.Errorf("%s: %v", to, err)
		}
	}
	written := request("https://a.test/users")
	written.Method = http.MethodPost
	read := request("https://a.test/other")
	read.Method = http.MethodGet
	if _, refused := errors.AsType[*httpx.RedirectError](httpx.SameHost(read, []*http.Request{written})); !refused {
		t.Error("a write is turned into a read")
	}
	if httpx.SameHost(request("https://a.test/"), make10(request("https://a.test/"))) == nil {
		t.Error("redirects without end are followed")
	}
}

func make10(r *http.Request) []*http.Request {
	all := make([]*http.Request, 10)
	for i := range all {
		all[i] = r
	}
	return all
}

// wrapped is a transport of net/http that cannot be told by its type.
type wrapped struct{ http.RoundTripper }

// A host to which there has never been a connection is a mistake in an address: whoever
// waits for it hears so after seconds. One that has answered is waited for.
func TestFirstContact(t *testing.T) {
	t.Parallel()
	dead := func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	hangsUp := func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		return here, there.Close()
	}
	for name, tc := range map[string]struct {
		base    http.RoundTripper
		address string
	}{
		"refused":                   {&http.Transport{DialContext: dead}, "http://target.test/token"},
		"refused, behind a wrapper": {wrapped{&http.Transport{DialContext: dead}}, "http://target.test/token"},
		"refused, no net/http":      {virtual(func(*http.Request) (*http.Response, error) { return nil, refused }), "http://target.test/token"},
		"resolver fails": {virtual(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}
		}), "http://target.test/token"},
		"no TLS":                   {&http.Transport{DialContext: hangsUp}, "https://target.test/token"},
		"no TLS, behind a wrapper": {wrapped{&http.Transport{DialContext: hangsUp}}, "https://target.test/token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r, err := http.NewRequestWithContext(httpx.Retryable(t.Context()), http.MethodPost, tc.address, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := httpx.NewTransport(tc.base, httpx.Options{}).RoundTrip(r)
				if err == nil {
					_ = resp.Body.Close()
					t.Fatal("there is an answer")
				}
				failure, ok := errors.AsType[*httpx.Error](err)
				if took := time.Since(start); !ok || failure.Sent || failure.Attempts < 3 || took > 10*time.Second {
					t.Errorf("after %s: %#v", took, err)
				}
				if !strings.Contains(err.Error(), "target.test") {
					t.Errorf("the error names no host: %v", err)
				}
			})
		})
	}
	t.Run("restart in mid-run", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
				if passed := time.Since(start); passed > 0 && passed < 2*time.Minute {
					return nil, refused
				}
				return answer(200), nil
			}), httpx.Options{})
			if status, err := do(t, rt, "POST"); status != 200 || err != nil {
				t.Fatalf("%d, %v", status, err)
			}
			time.Sleep(time.Second)
			if status, err := do(t, rt, "POST"); status != 200 || err != nil {
				t.Errorf("after %s: %d, %v", time.Since(start), status, err)
			}
		})
	})
}

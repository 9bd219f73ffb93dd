package httpx_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// provider gives tokens that are numbered, and takes the last one only.
type provider struct {
	mu     sync.Mutex
	given  int
	life   int
	served int
	refuse int // status of the token endpoint, 0 when it works
	never  bool
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	if strings.HasSuffix(r.URL.Path, "/token") {
		if p.refuse != 0 {
			resp := answer(p.refuse, "Content-Type", "application/json")
			resp.Body = io.NopCloser(strings.NewReader(`{"error":"invalid_client","error_description":"no such client: the-secret","echo":"the-secret"}`))
			return resp, nil
		}
		p.given++
		resp := answer(200, "Content-Type", "application/json")
		resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":%d}`, p.given, p.life)))
		return resp, nil
	}
	if p.never || r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", p.given) {
		return answer(401), nil
	}
	p.served++
	return answer(200), nil
}

func (p *provider) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given++
}

func (p *provider) client() *http.Client { return signing(httpx.NewTransport(p, httpx.Options{})) }

// signing is a client that signs in to the provider behind rt.
func signing(rt *httpx.Transport) *http.Client {
	return httpx.Over(rt.SignedBy(httpx.NewTokens(httpx.Over(rt), clientcredentials.Config{
		ClientID: "stetl", ClientSecret: "the-secret", TokenURL: "http://target.test/token", AuthStyle: oauth2.AuthStyleInParams,
	})))
}

func post(ctx context.Context, c *http.Client) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://target.test/users", strings.NewReader("{}"))
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestTokens(t *testing.T) {
	t.Parallel()
	t.Run("one for many requests", func(t *testing.T) {
		t.Parallel()
		p := &provider{life: 3600}
		c := p.client()
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if status, err := post(t.Context(), c); status != 200 || err != nil {
					t.Errorf("%d, %v", status, err)
				}
			})
		}
		group.Wait()
		if p.given != 1 || p.served != 50 {
			t.Errorf("%d tokens for %d requests", p.given, p.served)
		}
	})
	t.Run("revoked in mid-run", func(t *testing.T) {
		t.Parallel()
		p := &provider{life: 3600}
		c := p.client()
		for i := range 3 {
			if status, err := post(t.Context(), c); status != 200 || err != nil {
				t.Errorf("request %d: %d, %v", i, status, err)
			}
			p.revoke()
		}
		if p.served != 3 {
			t.Errorf("%d requests were served, want 3", p.served)
		}
	})
	t.Run("renewed before its end", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := &provider{life: 300}
			c := p.client()
			for range 12 { // two minutes
				if status, err := post(t.Context(), c); status != 200 || err != nil {
					t.Fatalf("%d, %v", status, err)
				}
				time.Sleep(time.Minute)
			}
			if p.given != 3 {
				t.Errorf("%d tokens of five minutes in twelve, renewed half a minute before their end; want 3", p.given)
			}
		})
	})
	t.Run("a new one does not help", func(t *testing.T) {
		t.Parallel()
		p := &provider{life: 3600, never: true}
		status, err := post(t.Context(), p.client())
		if status != 401 || err != nil || p.given != 2 {
			t.Errorf("%d, %v after %d tokens; want 401 after 2", status, err, p.given)
		}
	})
	t.Run("shorter than an outage", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := &provider{life: 3}
			start := time.Now()
			var last time.Time // of a sign-in
			rt := httpx.NewTransport(virtual(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/token") {
					last = time.Now()
					return p.RoundTrip(r)
				}
				switch passed := time.Since(start); {
				case passed < 20*time.Second:
					time.Sleep(4 * time.Second)
					return answer(503), nil
				case time.Since(last) > 3*time.Second:
					return answer(401), nil
				}
				return p.RoundTrip(r)
			}), httpx.Options{InFlight: 1, MaxInFlight: 1})
			ctx, trace := httpx.WithTrace(httpx.Retryable(t.Context()))
			if status, err := post(ctx, signing(rt)); status != 200 || err != nil || !trace.Doubtful() {
				t.Errorf("%d, %v, doubtful %t", status, err, trace.Doubtful())
			}
		})
	})
	t.Run("lost answer of a sign-in", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := &provider{life: 300}
			lost := false
			rt := httpx.NewTransport(virtual(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/token") && !lost {
					lost = true
					return nil, reset
				}
				return p.RoundTrip(r)
			}), httpx.Options{})
			ctx, trace := httpx.WithTrace(httpx.Once(t.Context()))
			if status, err := post(ctx, signing(rt)); status != 200 || err != nil || trace.Doubtful() {
				t.Errorf("%d, %v, doubtful %t: a sign-in is not the request", status, err, trace.Doubtful())
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		_, err := post(t.Context(), (&provider{refuse: 401}).client())
		login, ok := errors.AsType[*httpx.LoginError](err)
		if !ok || !login.Refused() || httpx.Uncertain(err) {
			t.Fatalf("%v", err)
		}
		if text := login.Error(); !strings.Contains(text, "no such client") || strings.Contains(text, "the-secret") {
			t.Error(text)
		}
	})
	t.Run("context over", func(t *testing.T) {
		t.Parallel()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_, err := post(ctx, (&provider{}).client())
		if _, login := errors.AsType[*httpx.LoginError](err); login || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// What an early attempt may have done stays so, whatever becomes of the later ones.
func TestDoubtOutlivesTheAttempt(t *testing.T) {
	t.Parallel()
	t.Run("nobody there any more", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
				if asked++; asked == 1 {
					return nil, reset
				}
				return nil, refused
			}), httpx.Options{MaxElapsed: time.Minute})
			if _, err := doCtx(httpx.Retryable(t.Context()), rt, "POST"); !httpx.Uncertain(err) || asked < 2 {
				t.Errorf("after %d attempts: %v", asked, err)
			}
		})
	})
	t.Run("no token any more", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := &provider{life: 3600}
			lost := false
			rt := httpx.NewTransport(virtual(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/token") || lost {
					return p.RoundTrip(r)
				}
				lost = true
				p.revoke()
				p.refuse = 401
				return nil, reset
			}), httpx.Options{})
			c := signing(rt)
			_, err := post(httpx.Retryable(t.Context()), c)
			if _, login := errors.AsType[*httpx.LoginError](err); !login || !httpx.Uncertain(err) {
				t.Errorf("%v, uncertain %t", err, httpx.Uncertain(err))
			}
		})
	})
}

// A target whose tokens run out before they arrive is given up.
func TestTokensThatAreNeverInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: 1, never: true}
		rt := httpx.NewTransport(virtual(func(r *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return p.RoundTrip(r)
		}), httpx.Options{MaxElapsed: time.Minute})
		c := signing(rt)
		start := time.Now()
		if status, err := post(t.Context(), c); status != 401 || err != nil || time.Since(start) > 2*time.Minute {
			t.Errorf("%d, %v after %s", status, err, time.Since(start))
		}
	})
}

// A target that refuses without saying for how long is left alone by everybody, not
// only by the request that was refused.
func TestThrottledPausesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refusals, asked atomic.Int64
		start := time.Now()
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			if time.Since(start) < time.Minute {
				refusals.Add(1)
				return answer(429), nil
			}
			return answer(200), nil
		}), httpx.Options{})
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				if status, err := do(t, rt, "POST"); status != 200 || err != nil {
					t.Errorf("%d, %v", status, err)
				}
			})
		}
		group.Wait()
		if refusals.Load() > 40 {
			t.Errorf("the target had to refuse %d requests of 200 in a minute", refusals.Load())
		}
	})
}

// An outage is waited for once, not once for each request in the queue.
func TestOutageIsSharedByAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := true
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			if up {
				return answer(200), nil
			}
			return nil, refused
		}), httpx.Options{MaxElapsed: time.Minute})
		if status, err := do(t, rt, "GET"); status != 200 || err != nil {
			t.Fatalf("%d, %v", status, err)
		}
		up = false
		start := time.Now()
		for range 20 {
			if _, err := do(t, rt, "GET"); err == nil {
				t.Fatal("there is an answer")
			}
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("20 requests took %s to fail, with a patience of a minute", took)
		}
		up = true
		if status, err := do(t, rt, "GET"); status != 200 || err != nil {
			t.Fatalf("afterwards: %d, %v", status, err)
		}
		// The next outage has a patience of its own.
		down := time.Now()
		rt2 := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			if passed := time.Since(down); passed > 0 && passed < 30*time.Second {
				return nil, refused
			}
			return answer(200), nil
		}), httpx.Options{MaxElapsed: time.Minute})
		for range 2 {
			if status, err := do(t, rt2, "GET"); status != 200 || err != nil {
				t.Fatalf("%d, %v", status, err)
			}
			time.Sleep(time.Second)
		}
	})
}

// underWay counts the requests that are under way, and how many were at the same time.
type underWay struct {
	mu        sync.Mutex
	now, most int
}

func (u *underWay) begin() (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now++
	u.most = max(u.most, u.now)
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.now--
	}
}

func TestWeightCountsUnderTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) { return answer(200), nil }), httpx.Options{Rate: 10})
		start := time.Now()
		for range 5 {
			if _, err := doCtx(httpx.Weight(t.Context(), 20), rt, "POST"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("100 operations at 10 a second took %s", took)
		}
	})
}

func TestPacedRequestsHaveTheirOwnNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var under underWay
		rt := httpx.NewTransport(virtual(func(*http.Request) (*http.Response, error) {
			defer under.begin()()
			time.Sleep(time.Second)
			return answer(200), nil
		}), httpx.Options{})
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if _, err := doCtx(httpx.Paced(t.Context()), rt, "POST"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if under.most != 20 {
			t.Errorf("%d of 20 requests were under way at once", under.most)
		}
	})
}

func TestScrubber(t *testing.T) {
	t.Parallel()
	s := httpx.NewScrubber(canonical.NewSecret("s3cr&t/\"x"), canonical.NewSecret("s3cr&t/\"x-longer"), canonical.NewSecret("abc"), canonical.Secret{})
	for text, want := range map[string]string{
		`Bearer s3cr&t/"x`:                              "Bearer ***",
		`s3cr&t/"x-longer and s3cr&t/"x`:                "*** and ***",
		"/token?secret=" + url.QueryEscape(`s3cr&t/"x`): "/token?secret=***",
		`{"echo":"s3cr\u0026t/\"x"}`:                    `{"echo":"***"}`,
		"abc is too short to be looked for":             "abc is too short to be looked for",
	} {
		if got := s.Text(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	harmless := errors.New("no")
	if s.Error(nil) != nil || s.Error(harmless) != harmless { //nolint:errorlint // the same one
		t.Error("an error without secrets is changed")
	}
	if got := s.Error(fmt.Errorf("sent %w", errors.New(`s3cr&t/"x`))); got.Error() != "sent ***" || errors.Unwrap(got) != nil {
		t.Errorf("%v", got)
	}
	if (httpx.Scrubber{}).Text("x") != "x" {
		t.Error("the zero value")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of refused handshakes
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", "CERTIFICATE", server.Certificate().Raw)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)}
	expired, err := x509.CreateCertificate(rand.Reader, old, old, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	oldCert, keyFile := write("old.pem", "CERTIFICATE", expired), write("key.pem", "EC PRIVATE KEY", der)

	conf, err := httpx.TLS{CAFile: ca}.Load("/tls")
	if err != nil {
		t.Fatal(err)
	}
	trusting := httpx.NewClient(httpx.Options{TLS: conf})
	t.Cleanup(trusting.CloseIdleConnections)
	resp, err := trusting.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	distrusting := httpx.NewClient(httpx.Options{})
	if resp, err := distrusting.Get(server.URL); err == nil {
		_ = resp.Body.Close()
		t.Error("a certificate of nobody is trusted")
	}

	for name, tc := range map[string]struct {
		block httpx.TLS
		path  string
		says  string
	}{
		"no file":           {httpx.TLS{CAFile: filepath.Join(dir, "none.pem")}, "/tls/ca_file", "no such file"},
		"no certificate":    {httpx.TLS{CAFile: keyFile}, "/tls/ca_file", "no certificate"},
		"key alone":         {httpx.TLS{KeyFile: keyFile}, "/tls", ""},
		"certificate alone": {httpx.TLS{CertFile: oldCert}, "/tls", ""},
		"expired":           {httpx.TLS{CertFile: oldCert, KeyFile: keyFile}, "/tls/cert_file", "expired on 2020-01-02"},
		"not a pair":        {httpx.TLS{CertFile: ca, KeyFile: keyFile}, "/tls/cert_file", "private key"},
	} {
		_, err := tc.block.Load("/tls")
		list, ok := errors.AsType[*diag.ListError](err)
		if !ok || len(list.List) != 1 || list.List[0].Path != tc.path || !strings.Contains(list.List[0].Detail, tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

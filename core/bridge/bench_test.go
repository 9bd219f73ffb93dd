//go:build unix

package bridge_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// BenchmarkHandover hands sessions over through the provider, from the request
// with a cookie to the redeemed code, and measures beside it how many
// transactions of the same weight (insert, delete and update a row, twice
// committed) the database does alone. Everything shares one machine.
func BenchmarkHandover(b *testing.B) {
	count := 2000
	if text := os.Getenv("STETL_BENCH_SESSIONS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	const name, workers = "core-9.3.0", 8
	tr, dsn := fixture.Read(b, name), fixture.Restore(b, name)
	pool, err := pgxpool.New(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	store, err := session.Open(b.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)}, session.Config{Connections: 2 * workers})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	db, err := cutover.Open(b.Context(), store, cutover.Options{Algorithm: cutover.Algorithm(os.Getenv("STETL_BENCH_ALGORITHM"))})
	if err != nil {
		b.Fatal(err)
	}
	tokens := manySessions(b, pool, store, tr.ResetTokens[0].UserID, count*(b.N+1))
	key, err := db.SigningKey(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	const issuer = "http://127.0.0.1/bridge"
	server, err := bridge.New(bridge.Options{
		Config: config.Bridge{
			Issuer: issuer, Tenant: "public", Clients: []config.BridgeClient{{ID: "idp", Secret: canonical.NewSecret(clientSecret), RedirectURIs: []string{callback}}},
			Cookies: config.BridgeCookies{Access: []string{"sAccessToken"}}, Limits: config.BridgeLimits{PerMinute: 1 << 30, Failures: 10, Lockout: config.Duration{Duration: time.Minute}},
		},
		DB: db, Target: &fakeTarget{}, Accounts: loaded(true), Key: key, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := pool.Exec(b.Context(), "CREATE TABLE weight (id bigint PRIMARY KEY, code text)"); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	done := 0
	var times []time.Duration
	var handing, alone time.Duration
	for range b.N {
		mine := tokens[done : done+count]
		took, each := parallel(count, workers, func(i int) error { return handOver(server, issuer, mine[i]) }, b)
		handing, times = handing+took, append(times, each...)
		took, _ = parallel(count, workers, func(i int) error {
			err := pgx.BeginFunc(b.Context(), pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(b.Context(), "INSERT INTO weight VALUES ($1, 'x')", done+i)
				return err
			})
			if err != nil {
				return err
			}
			return pgx.BeginFunc(b.Context(), pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(b.Context(), "UPDATE weight SET code = 'y' WHERE id = $1", done+i); err != nil {
					return err
				}
				_, err := tx.Exec(b.Context(), "DELETE FROM weight WHERE id = $1", done+i)
				return err
			})
		}, b)
		alone += took
		done += count
	}
	slices.Sort(times)
	rate, bare := float64(done)/handing.Seconds(), float64(done)/alone.Seconds()
	b.ReportMetric(rate, "handovers/s")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(bare, "bare-tx-pairs/s")
	b.ReportMetric(rate/bare, "of-bare")
}

// parallel does n things with some workers, and times each.
func parallel(n, workers int, do func(int) error, b *testing.B) (time.Duration, []time.Duration) {
	b.Helper()
	var next atomic.Int64
	each := make([]time.Duration, n)
	var wg sync.WaitGroup
	begin := time.Now()
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				at := time.Now()
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
				each[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	return time.Since(begin), each
}

// manySessions makes sessions as a core would.
func manySessions(b *testing.B, pool *pgxpool.Pool, store *session.Store, user string, n int) []string {
	b.Helper()
	keys, err := store.Keys(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	private, err := keys.All[0].Private()
	if err != nil {
		b.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: keys.All[0].ID}},
		(&jose.SignerOptions{}).WithHeader("version", "5").WithType("JWT"))
	if err != nil {
		b.Fatal(err)
	}
	tokens := make([]string, n)
	rows := make([][]any, n)
	now := time.Now()
	for i := range n {
		handle := fmt.Sprintf("bench-%d", i)
		first := sha256.Sum256([]byte(handle))
		hash := hex.EncodeToString(first[:])
		second := sha256.Sum256([]byte(hash))
		rows[i] = []any{handle, user, hex.EncodeToString(second[:]), "{}", now.Add(time.Hour).UnixMilli(), now.UnixMilli(), "{}", false, "public", "public"}
		if tokens[i], err = jwt.Signed(signer).Claims(map[string]any{
			"sub": user, "rsub": user, "tId": "public", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "sessionHandle": handle, "refreshTokenHash1": hash,
		}).Serialize(); err != nil {
			b.Fatal(err)
		}
	}
	_, err = pool.CopyFrom(b.Context(), pgx.Identifier{"session_info"}, []string{
		"session_handle", "user_id", "refresh_token_hash_2", "session_data", "expires_at", "created_at_time", "jwt_user_payload", "use_static_key", "app_id", "tenant_id",
	}, pgx.CopyFromRows(rows))
	if err != nil {
		b.Fatal(err)
	}
	return tokens
}

func handOver(server http.Handler, issuer, token string) error {
	next := issuer + "/authorize?" + url.Values{
		"client_id": {"idp"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}, "prompt": {"none"},
	}.Encode()
	for !strings.HasPrefix(next, callback) {
		r := httptest.NewRequest(http.MethodGet, next, nil)
		r.AddCookie(&http.Cookie{Name: "sAccessToken", Value: token})
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if next = w.Header().Get("Location"); next == "" {
			return fmt.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	back, err := url.Parse(next)
	if err != nil {
		return err
	}
	r := httptest.NewRequest(http.MethodPost, issuer+"/oauth/token", strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {callback}, "client_id": {"idp"}, "client_secret": {clientSecret},
	}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return fmt.Errorf("status %d: %s", w.Code, w.Body)
	}
	return nil
}

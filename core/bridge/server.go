package bridge

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Options are what a [Server] is made of.
type Options struct {
	Config   config.Bridge
	DB       *cutover.DB
	Target   Target
	Accounts Accounts
	// Lazy are the ways in which the lazy check of passwords is asked.
	Lazy []LazyContract
	// Uses are the rights without which the server is not ready.
	Uses cutover.Uses
	// Key signs what the provider issues, and assertions.
	Key crypto.Signer
	// Log receives the audit trail, and what goes wrong.
	Log *slog.Logger
	// Metrics, when set, gets the registry of the server's metrics.
	Metrics func(prometheus.Gatherer)
}

// Server is one instance of the bridge. Its methods may be called concurrently.
type Server struct {
	*common
	metrics  *metrics
	router   *router
	draining atomic.Bool
	uses     cutover.Uses
	// warned is when a proxy that is not trusted was last warned about, in Unix time.
	warned atomic.Int64
}

// Limits of every request.
const (
	maxBody      = 64 << 10
	maxHeader    = 64 << 10 // tokens are in cookies
	readTimeout  = 15 * time.Second
	writeTimeout = 60 * time.Second
)

// New makes a server; nothing listens yet.
func New(o Options) (*Server, error) {
	issuer, err := url.Parse(o.Config.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, errors.New("bridge.issuer is not a URL")
	}
	keys, err := newSigner(o.Key)
	if err != nil {
		return nil, err
	}
	s := &Server{router: newRouter(), uses: o.Uses}
	var count counts
	if o.Uses.Sessions {
		count.live = func(ctx context.Context) ([]int, error) {
			live, err := session.CountLive(ctx, o.DB.Sessions())
			return []int{live}, err
		}
	}
	if lazy := o.Config.Lazy; !lazy.Token.IsZero() {
		count.lazy = func(ctx context.Context) ([]int, error) {
			waiting, arrived, err := o.DB.Passwords.Waiting(ctx, schemes(lazy))
			return []int{waiting, arrived}, err
		}
	}
	s.metrics = newMetrics(count)
	if o.Metrics != nil {
		o.Metrics(s.metrics.registry)
	}
	trail := &audit{log: o.Log, metrics: s.metrics, proxies: newProxies(o.Config.TrustedProxies)}
	s.common = &common{config: o.Config, db: o.DB, log: o.Log, audit: trail, guard: newGuard(o.Config.Limits, o.DB.Failures, trail)}
	if s.pages, err = newPages(o.Config.Pages); err != nil {
		return nil, err
	}
	s.guard.sorry = s.sorry
	provider, err := newProvider(&storage{s.common, keys}, issuer.Scheme == "http")
	if err != nil {
		return nil, err
	}
	// The rest of the pool is for everybody who asks the target nothing.
	asking := make(turns, max(1, o.DB.Sessions().Database().Connections*2/3))
	base := strings.TrimRight(issuer.Path, "/")
	s.routes(base)
	providerRoutes(s.router, base, s.common, o.Accounts, provider, string(keys.algorithm))
	(&handover{s.common, sessions{s.common}, o.Target, o.Accounts, asking, keys}).routes(s.router, base)
	(&resetLinks{links{s.common}, o.Target, o.Accounts, asking}).routes(s.router)
	(&verifyLinks{links{s.common}}).routes(s.router)
	(&lazyCheck{s.common, o.Lazy, make(chan struct{}, hashers())}).routes(s.router, base)
	return s, s.router.err()
}

// routes are those about the server itself, and the keys of SuperTokens.
func (s *Server) routes(base string) {
	s.router.add("/.well-known/jwks.json", readable(s.sourceKeys))
	if base != "" {
		s.router.add(base+"/.well-known/jwks.json", readable(s.sourceKeys))
	}
	s.router.add("/healthz", readable(s.healthy))
	s.router.add("/readyz", readable(s.ready))
}

// readable answers GET, and HEAD, which load balancers like to ask.
func readable(handle http.HandlerFunc) route {
	return route{http.MethodGet: handle, http.MethodHead: handle}
}

// ServeHTTP implements [http.Handler] for everybody.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	if strings.HasPrefix(s.config.Issuer, "https://") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	ctx, cancel := context.WithTimeout(r.Context(), writeTimeout) // nobody hears an answer after that
	defer cancel()
	r = r.WithContext(ctx)
	defer func() {
		if p := recover(); p != nil { // net/http would say it at a level that is not logged
			s.log.ErrorContext(ctx, "the bridge has a bug", slog.String("path", r.URL.Path), slog.String("stack", string(debug.Stack())))
			http.Error(w, "something went wrong", http.StatusInternalServerError)
		}
	}()
	s.warn(r)
	found, path, ok := s.router.find(r.URL.Path)
	switch handle := found[r.Method]; {
	case !ok:
		http.Error(w, "not found", http.StatusNotFound)
	case handle == nil:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	default:
		s.metrics.timed(w, r, path, handle)
	}
}

// warnEvery is how often the log repeats what somebody should change.
const warnEvery = 10 * time.Minute

// warn tells of a proxy that trusted_proxies does not name: everybody behind it has one
// address, and shares limits and lock-outs.
func (s *Server) warn(r *http.Request) {
	if !s.guard.unheard(r) {
		return
	}
	now, last := time.Now().Unix(), s.warned.Load()
	if now-last > int64(warnEvery.Seconds()) && s.warned.CompareAndSwap(last, now) {
		s.log.WarnContext(r.Context(), "X-Forwarded-For comes from an address that trusted_proxies does not name: everybody behind it shares limits and lock-outs, if it is a proxy of yours",
			slog.String("client", s.guard.client(r)))
	}
}

// sourceKeys publishes the keys of SuperTokens, for whoever still verifies its
// tokens.
func (s *Server) sourceKeys(w http.ResponseWriter, r *http.Request) {
	keys, err := s.db.Sessions().Keys(r.Context())
	if err != nil {
		s.broken(w, r, err)
		return
	}
	set, err := keys.JWKS()
	if err != nil {
		s.broken(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(set)
}

// healthy tells that the process lives.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }

// ready tells a load balancer whether to send people here.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	switch {
	case s.draining.Load():
		http.Error(w, "draining", http.StatusServiceUnavailable)
	case s.db.Ping(ctx) != nil:
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
	default:
		s.allowed(ctx, w)
	}
}

// allowed is whether the role may do what it has to: without, every hand-over fails.
func (s *Server) allowed(ctx context.Context, w http.ResponseWriter) {
	switch missing, err := cutover.MissingRights(ctx, s.db.Sessions(), s.uses); {
	case err != nil:
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
	case len(missing) > 0:
		s.failure(ctx, fmt.Errorf("the role of the bridge lacks %s", strings.Join(missing, ", ")))
		http.Error(w, "the role of the bridge lacks rights", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n"))
	}
}

// AdminHandler answers for operators: metrics and health.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /healthz", s.healthy)
	mux.HandleFunc("GET /readyz", s.ready)
	return mux
}

// Run serves until ctx is over, then lets running requests end.
func (s *Server) Run(ctx context.Context) error {
	public, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("bridge.listen: %w", err)
	}
	admin, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.AdminListen)
	if err != nil {
		return errors.Join(fmt.Errorf("bridge.admin_listen: %w", err), public.Close())
	}
	return s.Serve(ctx, public, admin)
}

// Serve is [Server.Run] on listeners of the caller's, which it closes.
func (s *Server) Serve(ctx context.Context, public, admin net.Listener) error {
	errorLog := slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	front := &http.Server{
		Handler: s, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader, ErrorLog: errorLog,
	}
	back := &http.Server{Handler: s.AdminHandler(), ReadTimeout: readTimeout, WriteTimeout: writeTimeout, ErrorLog: errorLog}
	serve := front.Serve
	if s.config.TLS.Certificate != "" {
		files := &certificate{certFile: s.config.TLS.Certificate, keyFile: s.config.TLS.Key, log: s.log}
		if err := files.load(); err != nil {
			return errors.Join(err, public.Close(), admin.Close())
		}
		front.TLSConfig = files.config()
		serve = func(l net.Listener) error { return front.ServeTLS(l, "", "") }
	}
	s.log.Info("the bridge is open", slog.String("issuer", s.config.Issuer), slog.String("listen", public.Addr().String()), slog.String("admin", admin.Addr().String()))
	ended := make(chan error, 2)
	go func() { ended <- serve(public) }()
	go func() { ended <- back.Serve(admin) }()
	var err error
	running := 2
	select {
	case <-ctx.Done():
	case err = <-ended:
		running--
	}
	s.draining.Store(true)
	s.log.Info("the bridge is closing", slog.Duration("drain", s.config.Drain.Duration))
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Drain.Duration)
	defer cancel()
	err = errors.Join(err, front.Shutdown(drain), back.Shutdown(drain))
	for range running {
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

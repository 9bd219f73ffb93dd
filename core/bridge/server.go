package bridge

import (
	"context"
	"crypto/rsa"
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

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Target is what the bridge asks of a plugin; of a target that cannot, the calls
// fail with [errors.ErrUnsupported].
type Target interface {
	SetPassword(ctx context.Context, p pluginapi.PasswordChange) error
	StartReset(ctx context.Context, r pluginapi.Reset) (location string, err error)
	Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error)
}

// Accounts says which account of the target belongs to one of the source.
type Accounts interface {
	// TargetID returns the id in the target; false when no run has loaded the
	// account.
	TargetID(ctx context.Context, u session.User) (id string, known bool, err error)
}

// Options are what a [Server] is made of.
type Options struct {
	Config   config.Bridge
	DB       *cutover.DB
	Target   Target
	Accounts Accounts
	// Lazy are the ways in which the lazy check of passwords is asked.
	Lazy []LazyContract
	// Key signs what the provider issues, and assertions.
	Key *rsa.PrivateKey
	// Log receives the audit trail, and what goes wrong.
	Log *slog.Logger
}

// Server is one instance of the bridge. Its methods may be called concurrently.
type Server struct {
	o        Options
	config   config.Bridge
	base     string // path of the issuer
	guard    *guard
	audit    *audit
	metrics  *metrics
	keys     *signer
	routes   map[string]route
	prefixes map[string]route
	draining atomic.Bool
	hashing  chan struct{} // bounds how many password hashes are computed at once
	asking   chan struct{} // bounds how many transactions are open while the target is asked
}

// route is what answers a path, by method.
type route map[string]http.HandlerFunc

// Limits of every request.
const (
	maxBody      = 64 << 10
	maxHeader    = 64 << 10 // tokens are in cookies
	readTimeout  = 15 * time.Second
	writeTimeout = 60 * time.Second
	callTimeout  = 30 * time.Second // of a transaction in which the target is asked
	askTimeout   = 25 * time.Second // of the target, so that its answer can be committed
	turnTimeout  = 2 * time.Second  // of waiting to be allowed to ask
)

// New makes a server; nothing listens yet.
func New(o Options) (*Server, error) {
	issuer, err := url.Parse(o.Config.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, errors.New("bridge.issuer is not a URL")
	}
	s := &Server{o: o, config: o.Config, base: strings.TrimRight(issuer.Path, "/"), hashing: make(chan struct{}, hashers())}
	// The rest of the pool is for everybody who asks the target nothing.
	s.asking = make(chan struct{}, max(1, int(o.DB.Sessions().Pool().Config().MaxConns)*2/3))
	s.metrics = newMetrics(s)
	s.audit = &audit{log: o.Log, metrics: s.metrics}
	s.guard = newGuard(o.Config, o.DB, s.audit)
	s.audit.guard = s.guard
	if s.keys, err = newSigner(o.Key); err != nil {
		return nil, err
	}
	provider, err := s.provider(issuer.Scheme == "http")
	if err != nil {
		return nil, err
	}
	return s, s.route(provider)
}

func (s *Server) route(provider http.Handler) error {
	s.routes, s.prefixes = map[string]route{}, map[string]route{}
	taken := ""
	add := func(path string, r route) {
		if s.routes[path] != nil {
			taken = path
		}
		s.routes[path] = r
	}
	add("/.well-known/jwks.json", route{http.MethodGet: s.sourceKeys})
	if s.base != "" {
		add(s.base+"/.well-known/jwks.json", route{http.MethodGet: s.sourceKeys})
	}
	add("/healthz", route{http.MethodGet: s.healthy})
	add("/readyz", route{http.MethodGet: s.ready})
	open := http.StripPrefix(s.base, provider).ServeHTTP
	add(s.base+"/.well-known/openid-configuration", route{http.MethodGet: open})
	add(s.base+"/keys", route{http.MethodGet: open})
	add(s.base+"/userinfo", route{http.MethodGet: open, http.MethodPost: open})
	login := s.guard.limit(surfaceBrowser, s.withTokens(open))
	add(s.base+"/authorize", route{http.MethodGet: login, http.MethodPost: login})
	add(s.base+"/authorize/callback", route{http.MethodGet: login})
	add(s.base+"/oauth/token", route{http.MethodPost: s.guard.clients(open)})
	if s.config.Exchange.Audience != "" {
		add(s.base+"/handover", route{http.MethodPost: s.cors(s.guard.limit(surfaceAPI, s.handover)), http.MethodOptions: s.cors(nothing)})
	}
	if r := s.config.Reset; r.Path != "" {
		add(r.Path, route{http.MethodGet: s.guard.limit(surfaceReset, s.resetPage), http.MethodPost: s.guard.limit(surfaceReset, s.resetForm)})
	}
	if r := s.config.Reset; r.APIPath != "" {
		add(r.APIPath, route{http.MethodPost: s.cors(s.guard.limit(surfaceReset, s.resetAPI)), http.MethodOptions: s.cors(nothing)})
	}
	if v := s.config.VerifyEmail; v.Path != "" {
		add(v.Path, route{http.MethodGet: s.guard.limit(surfaceVerify, s.verifyPage), http.MethodPost: s.guard.limit(surfaceVerify, s.verifyForm)})
	}
	if v := s.config.VerifyEmail; v.APIPath != "" {
		add(v.APIPath, route{http.MethodPost: s.cors(s.guard.limit(surfaceVerify, s.verifyAPI)), http.MethodOptions: s.cors(nothing)})
	}
	if !s.config.Lazy.Token.IsZero() {
		add(s.base+"/lazy", route{http.MethodGet: s.authenticated(s.lazyCounts)})
		for _, contract := range s.o.Lazy {
			contract.serve(s, add)
		}
	}
	if taken != "" {
		return fmt.Errorf("path %s is taken twice in the configuration of the bridge", taken)
	}
	return nil
}

func nothing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

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
			s.o.Log.ErrorContext(ctx, "the bridge has a bug", slog.String("path", r.URL.Path), slog.String("stack", string(debug.Stack())))
			http.Error(w, "something went wrong", http.StatusInternalServerError)
		}
	}()
	found, ok := s.routes[r.URL.Path]
	for prefix, under := range s.prefixes {
		if !ok && strings.HasPrefix(r.URL.Path, prefix) {
			found, ok = under, true
		}
	}
	switch handle := found[r.Method]; {
	case !ok:
		http.Error(w, "not found", http.StatusNotFound)
	case handle == nil:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	default:
		s.metrics.timed(w, r, handle)
	}
}

// errCrowded is for a target that answers too slowly for all who want it.
var errCrowded = errors.New("too many wait for the target")

// ask runs do, which asks the target inside a transaction, once few enough others
// are doing that: a slow target must not take all connections. A caller who hangs
// up must not undo half of it.
func (s *Server) ask(ctx context.Context, do func(context.Context) error) error {
	turn, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-turn.Done():
		return errCrowded
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return do(ctx)
}

// busy tells whether trying again soon is all that is needed.
func busy(err error) bool { return errors.Is(err, errCrowded) || errors.Is(err, cutover.ErrBusy) }

// sourceKeys publishes the keys of SuperTokens, for whoever still verifies its
// tokens.
func (s *Server) sourceKeys(w http.ResponseWriter, r *http.Request) {
	keys, err := s.o.DB.Sessions().Keys(r.Context())
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
	case s.o.DB.Ping(ctx) != nil:
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n"))
	}
}

// broken is for errors that are nobody's business but the operator's.
func (s *Server) broken(w http.ResponseWriter, r *http.Request, err error) {
	s.o.Log.ErrorContext(r.Context(), "the bridge cannot answer", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	http.Error(w, "something went wrong; please try again later", http.StatusBadGateway)
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
	errorLog := slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)
	front := &http.Server{
		Handler: s, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader, ErrorLog: errorLog,
	}
	back := &http.Server{Handler: s.AdminHandler(), ReadTimeout: readTimeout, WriteTimeout: writeTimeout, ErrorLog: errorLog}
	serve := front.Serve
	if s.config.TLS.Certificate != "" {
		files := &certificate{certFile: s.config.TLS.Certificate, keyFile: s.config.TLS.Key, log: s.o.Log}
		if err := files.load(); err != nil {
			return errors.Join(err, public.Close(), admin.Close())
		}
		front.TLSConfig = files.config()
		serve = func(l net.Listener) error { return front.ServeTLS(l, "", "") }
	}
	s.o.Log.Info("the bridge is open", slog.String("issuer", s.config.Issuer), slog.String("listen", public.Addr().String()), slog.String("admin", admin.Addr().String()))
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
	s.o.Log.Info("the bridge is closing", slog.Duration("drain", s.config.Drain.Duration))
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

// provider is the OpenID provider over this server's storage.
func (s *Server) provider(insecure bool) (http.Handler, error) {
	var options []op.Option
	if insecure { // the configuration has checked that this is meant
		options = append(options, op.WithAllowInsecure())
	}
	options = append(options, op.WithCORSOptions(nil))
	p, err := op.NewProvider(&op.Config{CryptoKey: s.keys.derived("codes"), CodeMethodS256: true, AuthMethodPost: true, SupportedScopes: []string{"openid"}},
		&storage{s}, op.StaticIssuer(s.config.Issuer), options...)
	if err != nil {
		return nil, fmt.Errorf("set up the OpenID provider: %w", err)
	}
	return p, nil
}

package auth0

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options are what differs between tenants, what goes wrong, and what nobody knows.
type Options struct {
	// Domain is the tenant's; the audience of its tokens derives from it.
	Domain                 string
	ClientID, ClientSecret string
	// Scopes are those granted, all that exist when nil.
	Scopes []string
	// TokenLife is 24 h when zero.
	TokenLife time.Duration

	Connection Connection

	// Exchange, when set, is the Action of a custom token exchange profile for
	// subject tokens of ExchangeType: it names a user, or says why not.
	Exchange     func(subjectToken string) (userID, refusal string)
	ExchangeType string

	// JobTime is how long a job takes, by its number of users; 20 ms when nil.
	JobTime func(users int) time.Duration
	// Processing has jobs say "processing", with percentage_done, before they end.
	Processing bool
	// Status, when set, replaces the status of unfinished jobs by a word that no page
	// mentions.
	Status string
	// Fails says how the n-th import (from 1) goes wrong; nil lets all succeed.
	Fails func(n int) Failure
	// Ghosts are addresses of users that reads do not show and imports refuse.
	Ghosts []string
	// NoFactors are ids whose mfa_factors cannot be imported.
	NoFactors []string
	// ReplacesMetadata has PATCH replace metadata instead of merging its top level.
	ReplacesMetadata bool

	// Burst and PerSecond limit management calls; no limit when zero.
	Burst, PerSecond int
	// ExportLife is how long a link to an export is valid; 60 s when zero.
	ExportLife time.Duration
	// FactorsFail has users whose mfa_factors cannot be imported count as failed.
	FactorsFail bool
	// LowersIDs has user_id written in lower case.
	LowersIDs bool
	// Lost are ids of users who are deleted by somebody as soon as they are imported.
	Lost []string
	// ForgetsPlaces has the lists of a user's roles and organizations not exist, nor
	// organizations by name.
	ForgetsPlaces bool
	// TornDownloads is how many downloads of an export break off.
	TornDownloads int
	// CreateFails says how the n-th POST /users (from 1) goes wrong: Broken or Dropped.
	CreateFails func(n int) Failure
	// EnabledAlready is the refusal to enable a connection twice; 409 when zero.
	EnabledAlready int
	// OTPDisabled is the tenant's setting for one-time codes.
	OTPDisabled bool
	// OwnIDs has passwordless users get an id that the tenant chooses.
	OwnIDs bool
	// Others are the names of further database connections.
	Others []string
	// SharesIDs has an import write over the account of another connection that has the id.
	SharesIDs bool
	// ManyFactors lets a user have a second authenticator; else that is refused.
	ManyFactors bool
	// APIs are the names of permissions of each API, by its identifier.
	APIs map[string][]string
	// Instead says what is answered instead of doing what a request asks for: a status of a
	// refusal; 204, as if it had been done; 200, with a page that is no JSON. 0 is what
	// should be.
	Instead func(method, path string) int
}

// Connection is the database connection.
type Connection struct {
	Name, ID, Strategy string
	// Disabled: no application uses it.
	Disabled bool
	// CustomDatabase without ImportMode refuses imports.
	CustomDatabase, ImportMode bool
	RequiresUsername           bool
	// EmailOptional and Phone are attributes of flexible identifiers.
	EmailOptional, Phone bool
	// Methods are the ways to sign in that the options name, and whether they are on.
	// NoReset: people cannot ask for a new password themselves.
	Methods map[string]bool
	NoReset bool
}

// Failure is one way for an import to go wrong.
type Failure string

// The failures.
const (
	// Dropped: the job is accepted and the connection breaks before the answer.
	Dropped Failure = "dropped"
	// Busy: refused as if colleagues had two jobs running.
	Busy Failure = "busy"
	// TooLarge: refused with 413, whatever the size.
	TooLarge Failure = "too large"
	// Broken: the gateway answers 502 and nothing happens.
	Broken Failure = "broken"
	// Unparsed: the job fails, without summary, and its errors are empty.
	Unparsed Failure = "unparsed"
	// Explained: the job fails and its errors are an object with status_details.
	Explained Failure = "explained"
	// TimedOut: half of the users are written, then the job fails.
	TimedOut Failure = "timed out"
	// Vanished: the job runs, and its data is gone when somebody asks.
	Vanished Failure = "vanished"
)

// Server is a running tenant. Its methods may be called while it serves.
type Server struct {
	URL     string
	options Options
	http    *httptest.Server
	handler http.Handler

	mu       sync.Mutex
	tokens   map[string]time.Time
	users    map[string]*User
	jobs     map[string]*job
	order    []*job
	exports  map[string]*export
	roles    map[string]*role
	orgs     map[string]*organization
	logs     []map[string]any
	tickets  map[string]Ticket
	requests []Request
	// exchanges is what the tenant has for token exchanges.
	exchanges TokenExchange
	bucket    float64 // of the bucket
	filled    time.Time
	imports   int
	creates   int
	torn      int
	active    int // most jobs that were active at the same time
}

// The parts of a tenant, each with what it answers.
type (
	gate     struct{ *Server } // who may ask, and how often
	signIn   struct{ *Server } // tokens
	people   struct{ *Server } // users, one by one
	places   struct{ *Server } // roles and organizations
	jobDesk  struct{ *Server } // imports and exports, as they are asked about
	importer struct{ *Server } // what an import does
)

// Request is one call that was answered.
type Request struct {
	Method, Path string
	Status       int
}

// Start runs a tenant until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := New(o)
	s.http = httptest.NewServer(s.handler)
	s.URL = s.http.URL
	t.Cleanup(s.http.Close)
	return s
}

// New returns a tenant that is reached without a network, through RoundTrip: so can
// tests with a clock of their own.
func New(o Options) *Server {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&o.Domain, "tenant.eu.auth0.test")
	def(&o.ClientID, "stetl")
	def(&o.ClientSecret, "client-secret-of-the-tenant")
	def(&o.Connection.Name, "Username-Password-Authentication")
	def(&o.Connection.ID, "con_0123456789abcdef")
	def(&o.Connection.Strategy, "auth0")
	if o.EnabledAlready == 0 {
		o.EnabledAlready = 409
	}
	if o.TokenLife == 0 {
		o.TokenLife = 24 * time.Hour
	}
	if o.ExportLife == 0 {
		o.ExportLife = time.Minute
	}
	if o.JobTime == nil {
		o.JobTime = func(int) time.Duration { return 20 * time.Millisecond }
	}
	s := &Server{
		options: o, tokens: map[string]time.Time{}, users: map[string]*User{}, jobs: map[string]*job{},
		exports: map[string]*export{}, roles: map[string]*role{}, tickets: map[string]Ticket{}, orgs: map[string]*organization{},
		exchanges: TokenExchange{Types: map[string][]string{}}, bucket: float64(o.Burst), filled: time.Now(),
	}
	s.handler, s.URL = s.routes(), "https://"+o.Domain
	return s
}

// RoundTrip implements [http.RoundTripper].
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	s.handler.ServeHTTP(w, r)
	answer := w.Result()
	answer.Request = r
	return answer, r.Body.Close()
}

// Requests lists what was asked so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Writes counts requests that change something, refused ones as well.
func (s *Server) Writes() (n int) {
	for _, r := range s.Requests() {
		if r.Method != http.MethodGet && r.Path != "/oauth/token" && r.Path != "/api/v2/jobs/users-exports" {
			n++
		}
	}
	return n
}

// Imports counts import jobs, and MostActive how many ran at the same time.
func (s *Server) Imports() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order)
}

// MostActive is the largest number of import jobs that were active at the same time.
func (s *Server) MostActive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// scopes that exist here.
const everyScope = "create:users read:users update:users delete:users read:connections read:connections_options " +
	"read:roles create:roles update:roles delete:roles delete:organizations read:organization_connections create:role_members read:role_members read:organizations create:organizations create:organization_connections " +
	"create:organization_members read:organization_members create:organization_member_roles read:organization_member_roles delete:organization_members " +
	"delete:organization_member_roles create:user_tickets create:authentication_methods read:authentication_methods delete:authentication_methods " +
	"delete:role_members read:logs read:guardian_factors " +
	"read:actions create:actions update:actions read:token_exchange_profiles create:token_exchange_profiles read:clients update:clients read:resource_servers"

func (s gate) granted() []string {
	if s.options.Scopes != nil {
		return s.options.Scopes
	}
	return strings.Fields(everyScope)
}

type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets a handler take the connection over.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", signIn{s}.token)
	mux.HandleFunc("GET /exports/{id}", jobDesk{s}.download)
	api := func(pattern, scopes string, f func(http.ResponseWriter, *http.Request)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /api/v2"+path, func(w http.ResponseWriter, r *http.Request) {
			if !(gate{s}).limited(w) || !(gate{s}).authorised(w, r, scopes) {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			jobDesk{s}.advance(time.Now())
			if s.options.Instead != nil {
				switch status := s.options.Instead(r.Method, r.URL.Path); {
				case status >= 400:
					refuse(w, status, "", "The request is refused by the test")
					return
				case status == http.StatusOK:
					_, _ = io.WriteString(w, "<html>One moment, please</html>")
					return
				case status > 0:
					w.WriteHeader(status)
					return
				}
			}
			f(w, r)
		})
	}
	jobDesk{s}.jobRoutes(api)
	people{s}.userRoutes(api)
	places{s}.memberRoutes(api)
	bridgeDesk{s}.actionRoutes(api)
	api("GET /connections", "read:connections", s.listConnections)
	api("GET /connections/{id}/clients", "read:connections", s.listClients)
	api("GET /logs", "read:logs", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, slices.Clone(s.logs)) })
	api("GET /guardian/factors", "read:guardian_factors", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, []map[string]any{{"name": "otp", "enabled": !s.options.OTPDisabled}, {"name": "sms", "enabled": false}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, "", "Not Found") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: 200}
		path := r.URL.Path
		mux.ServeHTTP(rec, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, Request{r.Method, path, rec.status})
	})
}

// limited takes a token out of the bucket or answers 429.
func (s gate) limited(w http.ResponseWriter) bool {
	if s.options.PerSecond == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.bucket = min(float64(s.options.Burst), s.bucket+now.Sub(s.filled).Seconds()*float64(s.options.PerSecond))
	s.filled = now
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(s.options.Burst))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(int(s.bucket)-1, 0)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(now.Add(time.Second).Unix(), 10))
	if s.bucket < 1 {
		refuse(w, 429, "too_many_requests", "Global limit has been reached. X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset tell more.")
		return false
	}
	s.bucket--
	return true
}

func (s gate) authorised(w http.ResponseWriter, r *http.Request, scopes string) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	until, known := s.tokens[token]
	s.mu.Unlock()
	if !ok || !known || time.Now().After(until) {
		refuse(w, 401, "", "Invalid token")
		return false
	}
	return s.scoped(w, scopes)
}

// scoped answers 403 unless the application has all scopes of one alternative.
func (s gate) scoped(w http.ResponseWriter, scopes string) bool {
	for _, one := range strings.Split(scopes, "|") {
		if !slices.ContainsFunc(strings.Fields(one), func(scope string) bool { return !slices.Contains(s.granted(), scope) }) {
			return true
		}
	}
	refuse(w, 403, "insufficient_scope", "Insufficient scope, expected any of: "+scopes)
	return false
}

// Expire takes back every token.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	body := map[string]any{"statusCode": status, "error": http.StatusText(status), "message": message}
	if code != "" {
		body["errorCode"] = code
	}
	reply(w, status, body)
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func newID(prefix string) string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return prefix + string(b)
}

// decode reads a JSON body strictly.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		err = d.Decode(into)
	}
	if err != nil {
		refuse(w, 400, "invalid_body", "Payload validation error: "+err.Error())
	}
	return err == nil
}

func (s *Server) listConnections(w http.ResponseWriter, r *http.Request) {
	c := s.options.Connection
	list := []map[string]any{}
	name, strategy := r.URL.Query().Get("name"), r.URL.Query().Get("strategy")
	if (name == "" || name == c.Name) && (strategy == "" || strategy == c.Strategy) {
		one := map[string]any{"id": c.ID, "name": c.Name, "strategy": c.Strategy}
		if slices.Contains((gate{s}).granted(), "read:connections_options") {
			o := map[string]any{"enabledDatabaseCustomization": c.CustomDatabase, "import_mode": c.ImportMode, "requires_username": c.RequiresUsername}
			if c.EmailOptional || c.Phone {
				delete(o, "requires_username")
				o["attributes"] = map[string]any{
					"email":        map[string]any{"profile_required": !c.EmailOptional, "identifier": map[string]any{"active": true}},
					"phone_number": map[string]any{"profile_required": false, "identifier": map[string]any{"active": c.Phone}},
				}
			}
			if c.Methods != nil {
				methods := map[string]any{}
				for name, on := range c.Methods {
					methods[name] = map[string]any{"enabled": on}
				}
				o["authentication_methods"], o["disable_self_service_change_password"] = methods, c.NoReset
			}
			one["options"] = o
		}
		list = append(list, one)
	}
	for i, other := range s.options.Others {
		if (name == "" || name == other) && (strategy == "" || strategy == "auth0") {
			list = append(list, map[string]any{"id": fmt.Sprintf("con_other%011d", i), "name": other, "strategy": "auth0"})
		}
	}
	if r.URL.Query().Get("include_totals") == "true" {
		reply(w, 200, map[string]any{"connections": list, "start": 0, "limit": 50, "total": len(list), "length": len(list)})
		return
	}
	reply(w, 200, list)
}

func (s *Server) listClients(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != s.options.Connection.ID {
		refuse(w, 404, "inexistent_connection", "The connection does not exist")
		return
	}
	clients := []map[string]any{}
	if !s.options.Connection.Disabled {
		clients = append(clients, map[string]any{"client_id": "app"})
	}
	reply(w, 200, map[string]any{"clients": clients})
}

func (s *Server) log(kind, description string, details map[string]any) {
	s.logs = append([]map[string]any{{
		"_id": fmt.Sprint(len(s.logs)), "type": kind, "description": description, "date": time.Now().UTC().Format(time.RFC3339Nano), "details": details,
	}}, s.logs...)
}

package keycloak

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Nerzal/gocloak/v13"
	"github.com/cenkalti/backoff/v5"
	"github.com/go-resty/resty/v2"

	"github.com/stetl/stetl/core/sdk"
)

// api speaks HTTP with one realm's admin endpoints. gocloak's typed calls drop
// the reason of a refusal and hide whether a request was sent at all; both decide
// what may be retried here, so its raw requests are used.
type api struct {
	client    *gocloak.GoCloak
	base      string
	realm     string
	authRealm string
	clientID  string
	secret    sdk.Secret
	timeout   time.Duration
	log       *slog.Logger
	pulse     func(sdk.Pulse)
	patience  func() []backoff.RetryOption
	now       func() time.Time

	met atomic.Bool // there has been a connection

	mu      sync.Mutex // also makes parallel requests wait for one sign-in
	token   string
	renewAt time.Time
}

func newAPI(c Config, env sdk.Env) *api {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       time.Minute,
		ExpectContinueTimeout: time.Second,
	}
	rc := resty.NewWithClient(&http.Client{
		Transport: transport,
		// A redirected POST becomes a GET, and a redirected token leaves the house.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	rc.SetDisableWarn(true).SetHeader("User-Agent", env.UserAgent)
	client := gocloak.NewClient(c.URL)
	client.SetRestyClient(rc)
	a := &api{
		client: client, base: c.URL, realm: c.Realm, authRealm: c.AuthRealm,
		clientID: c.ClientID, secret: c.ClientSecret, timeout: c.Timeout.Duration, log: env.Log, pulse: env.Pulse,
		patience: func() []backoff.RetryOption {
			b := backoff.NewExponentialBackOff()
			b.MaxInterval = 30 * time.Second
			return []backoff.RetryOption{backoff.WithBackOff(b), backoff.WithMaxElapsedTime(5 * time.Minute)}
		},
		now: time.Now,
	}
	if a.pulse == nil {
		a.pulse = func(sdk.Pulse) {}
	}
	return a
}

func (a *api) close() { a.client.RestyClient().GetClient().CloseIdleConnections() }

// statusError is an answer other than success, in the server's own words.
type statusError struct {
	method, path string
	status       int
	message      string
	retryAfter   time.Duration
}

func (e *statusError) Error() string {
	return fmt.Sprintf("keycloak answered %d to %s %s: %s", e.status, e.method, e.path, e.message)
}

// transportError means that there was no answer.
type transportError struct {
	method, path string
	err          error
}

func (e *transportError) Error() string {
	return fmt.Sprintf("no answer to %s %s: %v", e.method, e.path, e.err)
}
func (e *transportError) Unwrap() error { return e.err }

// loginError hides the cause from errors.As on purpose: a refused sign-in must
// never be taken for a refused batch of users.
type loginError struct {
	realm string
	cause error
}

func (e *loginError) Error() string { return fmt.Sprintf("sign in to keycloak: %v", e.cause) }

// status is the HTTP status of an answered admin request, 0 for anything else.
func status(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// transient reports whether the same request may succeed later.
func transient(err error) bool {
	if e, ok := errors.AsType[*loginError](err); ok {
		return transient(e.cause)
	}
	if _, ok := errors.AsType[*transportError](err); ok {
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		return !untrusted
	}
	switch status(err) {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// mayBeDone reports whether the server may have carried the request out, or may
// still do so: a server goes on when its client or a proxy has given up.
func mayBeDone(err error) bool {
	if e, ok := errors.AsType[*transportError](err); ok {
		op, dialing := errors.AsType[*net.OpError](e.err)
		return !dialing || op.Op != "dial"
	}
	return transient(err) && status(err) != 0 && status(err) != http.StatusTooManyRequests
}

// refused reports whether the server judged the content of the request.
func refused(err error) bool {
	switch status(err) {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusInternalServerError:
		return true
	}
	return false
}

// call sends one request below /admin and decodes a successful answer into
// into, unless that is nil. It retries nothing but an expired token.
func (a *api) call(ctx context.Context, method, path string, query url.Values, body []byte, into any) error {
	for renewed := false; ; renewed = true {
		token, err := a.bearer(ctx)
		if err != nil {
			return err
		}
		req := a.client.GetRequestWithBearerAuth(ctx, token).SetQueryParamsFromValues(query)
		if body != nil {
			req.SetBody(body)
		}
		answer, err := a.send(ctx, req, method, "/admin"+path)
		if status(err) == http.StatusUnauthorized && !renewed {
			a.forget(token)
			continue
		}
		if err != nil || into == nil {
			return err
		}
		if err := json.Unmarshal(answer, into); err != nil {
			return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
		}
		return nil
	}
}

// read is a GET that waits out a server in trouble.
func (a *api) read(ctx context.Context, path string, query url.Values, into any) error {
	return a.persist(ctx, func() error { return a.call(ctx, http.MethodGet, path, query, nil, into) })
}

// create is a POST of something that may be there already, which is as good.
func (a *api) create(ctx context.Context, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the request to %s: %w", path, err)
	}
	err = a.persist(ctx, func() error { return a.call(ctx, http.MethodPost, path, nil, body, nil) })
	if status(err) == http.StatusConflict {
		return nil
	}
	return err
}

// write sends a change that has the same effect when it is sent twice.
func (a *api) write(ctx context.Context, method, path string, v any) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return fmt.Errorf("encode the request to %s: %w", path, err)
		}
	}
	return a.persist(ctx, func() error { return a.call(ctx, method, path, nil, body, nil) })
}

// remove deletes what may be gone already, which is as good.
func (a *api) remove(ctx context.Context, path ...string) error {
	err := a.persist(ctx, func() error { return a.call(ctx, http.MethodDelete, a.realmPath(path...), nil, nil, nil) })
	if status(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// firstContact is how long a server is tried to which there has never been a
// connection: rather than to come back, it is misspelt.
const firstContact = 5 * time.Second

// persist repeats op while its error is transient and patience lasts.
func (a *api) persist(ctx context.Context, op func() error) error {
	var last error
	began := a.now()
	options := append(a.patience(), backoff.WithNotify(func(_ error, wait time.Duration) {
		a.log.LogAttrs(ctx, slog.LevelWarn, "keycloak is not answering, trying again", slog.Duration("wait", wait), slog.String("reason", last.Error()))
		a.pulse(sdk.Pulse{Wait: wait, Reason: last.Error()})
	}))
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = op()
		e, answered := errors.AsType[*statusError](last)
		switch {
		case last == nil:
			return struct{}{}, nil
		case !transient(last), !a.met.Load() && a.now().Sub(began) >= firstContact:
			return struct{}{}, backoff.Permanent(last)
		case answered && e.retryAfter > 0:
			return struct{}{}, &backoff.RetryAfterError{Duration: e.retryAfter}
		}
		return struct{}{}, last
	}, options...)
	if err != nil && ctx.Err() == nil {
		return last // rather than backoff's own words
	}
	return err
}

// send executes req and turns everything but success into a typed error.
func (a *api) send(parent context.Context, req *resty.Request, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(parent, a.timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { a.met.Store(true) }})
	resp, err := req.SetContext(ctx).Execute(method, a.base+path)
	if err != nil {
		if parent.Err() != nil {
			return nil, context.Cause(parent)
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // its text would repeat the whole address
		}
		return nil, &transportError{method: method, path: path, err: err}
	}
	if resp.IsSuccess() {
		return resp.Body(), nil
	}
	e := &statusError{method: method, path: path, status: resp.StatusCode(), message: reason(resp)}
	if s, err := strconv.Atoi(resp.Header().Get("Retry-After")); err == nil {
		e.retryAfter = min(time.Duration(s)*time.Second, time.Minute)
	}
	return nil, e
}

// reason finds the server's words in the shapes of error Keycloak has.
func reason(resp *resty.Response) string {
	type fault struct {
		ErrorMessage string `json:"errorMessage"`
		Error        string `json:"error"`
		Description  string `json:"error_description"`
		Field        string `json:"field"`
	}
	var body struct {
		fault
		Errors []fault `json:"errors"`
	}
	_ = json.Unmarshal(resp.Body(), &body) // a proxy's answer is not JSON
	var words []string
	for _, f := range append([]fault{body.fault}, body.Errors...) {
		for _, w := range []string{f.Field, f.ErrorMessage, f.Error, f.Description} {
			if w != "" {
				words = append(words, w)
			}
		}
	}
	if location := resp.Header().Get("Location"); len(words) == 0 && location != "" {
		words = append(words, "a redirect; put the final address into url")
	}
	if len(words) == 0 {
		return http.StatusText(resp.StatusCode())
	}
	return strings.Join(words, ": ")
}

// bearer returns a token that will outlive the start of a request, which is when
// the server looks at it.
func (a *api) bearer(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && a.now().Before(a.renewAt) {
		return a.token, nil
	}
	answer, err := a.tokens(ctx, a.authRealm, map[string]string{
		"grant_type": "client_credentials", "client_id": a.clientID, "client_secret": a.secret.Reveal(),
	})
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", &loginError{realm: a.authRealm, cause: err}
	}
	var token gocloak.JWT
	if err := json.Unmarshal(answer, &token); err != nil || token.AccessToken == "" {
		return "", &loginError{realm: a.authRealm, cause: errors.New("the answer holds no access token")}
	}
	life := time.Duration(token.ExpiresIn) * time.Second
	a.token, a.renewAt = token.AccessToken, a.now().Add(life-min(life/2, 30*time.Second))
	return a.token, nil
}

// tokens asks a realm's token endpoint. Everything goes as form fields: in a Basic
// header the server would decode % and + in the secret.
func (a *api) tokens(ctx context.Context, realm string, form map[string]string) ([]byte, error) {
	req := a.client.GetRequest(ctx).SetFormData(form)
	return a.send(ctx, req, http.MethodPost, "/realms/"+url.PathEscape(realm)+"/protocol/openid-connect/token")
}

// forget drops token unless another request has replaced it already.
func (a *api) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == token {
		a.token = ""
	}
}

func (a *api) realmPath(parts ...string) string {
	p := "/realms/" + url.PathEscape(a.realm)
	for _, part := range parts {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// realmFacts is what mapping and comparing need to know about the realm.
type realmFacts struct {
	DefaultRole *struct {
		Name string `json:"name"`
	} `json:"defaultRole"`
	DefaultGroups   []string `json:"defaultGroups"`
	VerifyEmail     bool     `json:"verifyEmail"`
	EmailAsUsername bool     `json:"registrationEmailAsUsername"`
	DuplicateEmails bool     `json:"duplicateEmailsAllowed"`
	PasswordPolicy  string   `json:"passwordPolicy"`

	Organizations     bool  `json:"organizationsEnabled"`
	EmailLogin        *bool `json:"loginWithEmailAllowed"`
	BruteForce        bool  `json:"bruteForceProtected"`
	PermanentLockout  bool  `json:"permanentLockout"`
	TemporaryLockouts int   `json:"maxTemporaryLockouts"`
	FailureFactor     int   `json:"failureFactor"`
}

func (a *api) realmFacts(ctx context.Context) (realmFacts, error) {
	var r realmFacts
	err := a.read(ctx, a.realmPath(), nil, &r)
	return r, err
}

// userProfile is the realm's declarative user profile.
type userProfile struct {
	Unmanaged  string `json:"unmanagedAttributePolicy"`
	Attributes []struct {
		Name     string `json:"name"`
		Required *struct {
			Roles  []string `json:"roles"`
			Scopes []string `json:"scopes"`
		} `json:"required"`
	} `json:"attributes"`
}

// required lists what a user must have to sign in, beside the user name.
func (p userProfile) required() (names []string) {
	for _, a := range p.Attributes {
		if a.Name != "username" && a.Required != nil && len(a.Required.Scopes) == 0 &&
			(len(a.Required.Roles) == 0 || slices.Contains(a.Required.Roles, "user")) {
			names = append(names, a.Name)
		}
	}
	return names
}

// shows reports whether an administrator can read the attribute back.
func (p userProfile) shows(name string) bool {
	if p.Unmanaged != "" {
		return true
	}
	for _, a := range p.Attributes {
		if a.Name == name {
			return true
		}
	}
	return false
}

func (a *api) userProfile(ctx context.Context) (userProfile, error) {
	var p userProfile
	err := a.read(ctx, a.realmPath("users", "profile"), nil, &p)
	return p, err
}

func (a *api) countUsers(ctx context.Context) (int, error) {
	var n int
	err := a.read(ctx, a.realmPath("users", "count"), nil, &n)
	return n, err
}

func (a *api) listUsers(ctx context.Context, first, most int) ([]account, error) {
	var page []account
	err := a.read(ctx, a.realmPath("users"), url.Values{
		"first": {strconv.Itoa(first)}, "max": {strconv.Itoa(most)}, "briefRepresentation": {"false"},
	}, &page)
	return page, err
}

// userByID returns nil when the realm has no such user.
func (a *api) userByID(ctx context.Context, id string) (*account, error) {
	var u account
	err := a.read(ctx, a.realmPath("users", id), nil, &u)
	if status(err) == http.StatusNotFound {
		return nil, nil //nolint:nilnil // absence is an ordinary answer
	}
	if err != nil {
		return nil, err
	}
	return &u, nil
}

// userBy finds a user by exact username or email, nil when there is none.
func (a *api) userBy(ctx context.Context, field, value string) (*account, error) {
	var found []account
	err := a.read(ctx, a.realmPath("users"), url.Values{field: {value}, "exact": {"true"}, "briefRepresentation": {"false"}}, &found)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if got := found[i]; strings.EqualFold(map[string]string{"username": got.Username, "email": got.Email}[field], value) {
			return &found[i], nil
		}
	}
	return nil, nil //nolint:nilnil // absence is an ordinary answer
}

// providerAliases lists the realm's identity providers, nil when the client may not
// see them.
func (a *api) providerAliases(ctx context.Context) (map[string]bool, error) {
	var instances []struct {
		Alias string `json:"alias"`
	}
	err := a.read(ctx, a.realmPath("identity-provider", "instances"), url.Values{"briefRepresentation": {"true"}, "max": {"10000"}}, &instances)
	if status(err) == http.StatusForbidden {
		return nil, nil //nolint:nilnil // unknown is another thing than none
	}
	aliases := make(map[string]bool, len(instances))
	for _, i := range instances {
		aliases[i.Alias] = true
	}
	return aliases, err
}

// roleNames lists the realm's roles.
func (a *api) roleNames(ctx context.Context) (map[string]bool, error) {
	const page = 1000
	names := map[string]bool{}
	for first := 0; ; first += page {
		var roles []struct {
			Name string `json:"name"`
		}
		if err := a.read(ctx, a.realmPath("roles"), url.Values{"first": {strconv.Itoa(first)}, "max": {strconv.Itoa(page)}, "briefRepresentation": {"true"}}, &roles); err != nil {
			return nil, err
		}
		for _, r := range roles {
			names[r.Name] = true
		}
		if len(roles) < page {
			return names, nil
		}
	}
}

func (a *api) createRole(ctx context.Context, name string) error {
	return a.create(ctx, a.realmPath("roles"), map[string]any{"name": name, "attributes": madeByUs})
}

// role returns a realm role as mappings want it.
func (a *api) role(ctx context.Context, name string) (role, error) {
	var r role
	err := a.read(ctx, a.realmPath("roles", name), nil, &r)
	return r, err
}

// splitPath takes a group's path apart. Names with slashes in them are not made
// by a load.
func splitPath(path string) []string { return strings.Split(strings.TrimPrefix(path, "/"), "/") }

// groupID returns the id of the group at path, "" when there is none.
func (a *api) groupID(ctx context.Context, path ...string) (string, error) {
	var g struct {
		ID string `json:"id"`
	}
	err := a.read(ctx, a.realmPath(append([]string{"group-by-path"}, path...)...), nil, &g)
	if status(err) == http.StatusNotFound {
		return "", nil
	}
	return g.ID, err
}

// createGroup creates a group at the top, or below parent where that is not "".
func (a *api) createGroup(ctx context.Context, parent, name string) error {
	path := a.realmPath("groups")
	if parent != "" {
		path = a.realmPath("groups", parent, "children")
	}
	return a.create(ctx, path, map[string]any{"name": name, "attributes": madeByUs})
}

// importResult is one line of a partialImport answer.
type importResult struct {
	Action   string `json:"action"`
	Type     string `json:"resourceType"`
	Username string `json:"resourceName"`
	ID       string `json:"id"`
}

// importUsers creates all users or none, leaving alone those whose username or
// e-mail address exists. One attempt only: what may follow a failure depends on
// whether the server got the request. The results come in no particular order.
func (a *api) importUsers(ctx context.Context, users []json.RawMessage) ([]importResult, error) {
	body, err := json.Marshal(struct {
		IfExists string            `json:"ifResourceExists"`
		Users    []json.RawMessage `json:"users"`
	}{"SKIP", users})
	if err != nil {
		return nil, fmt.Errorf("encode %d users: %w", len(users), err)
	}
	var answer struct {
		Results []importResult `json:"results"`
	}
	err = a.call(ctx, http.MethodPost, a.realmPath("partialImport"), nil, body, &answer)
	return answer.Results, err
}

package keycloak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/Nerzal/gocloak/v13"
	"github.com/go-resty/resty/v2"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// api speaks HTTP with one realm's admin endpoints. gocloak's typed calls drop
// the reason of a refusal and hide whether a request was sent at all; both decide
// what may be done next, so its raw requests are used, and httpx below them decides
// what is tried again.
type api struct {
	client    *gocloak.GoCloak // signs in by itself
	plain     *gocloak.GoCloak // without a token
	wire      *httpx.Transport
	tokens    *httpx.Tokens
	base      string
	realm     string
	authRealm string
	pulse     func(sdk.Pulse)
}

func newAPI(c Config, env sdk.Env) (*api, error) {
	trust, err := c.TLS.Load("/tls")
	if err != nil {
		return nil, err
	}
	o := httpx.Options{TLS: trust, Timeout: c.Timeout.Duration}
	return newAPIOver(httpx.NewBase(o), c, env, o), nil
}

// newAPIOver sends everything through base.
func newAPIOver(base http.RoundTripper, c Config, env sdk.Env, o httpx.Options) *api {
	o.UserAgent, o.Pulse, o.Log = env.UserAgent, env.Pulse, env.Log
	o.FaultTries = 1 // 500 is what the server says of content that it cannot store
	wire := httpx.NewTransport(base, o)
	a := &api{wire: wire, base: c.URL, realm: c.Realm, authRealm: c.AuthRealm, pulse: env.Pulse}
	a.tokens = httpx.NewTokens(httpx.Over(wire), clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), TokenURL: c.URL + tokenPath(c.AuthRealm),
		// In a Basic header the server would decode % and + in the secret.
		AuthStyle: oauth2.AuthStyleInParams,
	})
	a.client, a.plain = speak(c.URL, wire.SignedBy(a.tokens)), speak(c.URL, wire)
	return a
}

func speak(base string, rt http.RoundTripper) *gocloak.GoCloak {
	client := gocloak.NewClient(base)
	client.SetRestyClient(resty.NewWithClient(httpx.Over(rt)).SetDisableWarn(true))
	return client
}

func (a *api) close() { a.wire.CloseIdleConnections() }

// statusError is an answer other than success, in the server's own words.
type statusError struct {
	method, path string
	status       int
	message      string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("keycloak answered %d to %s %s: %s", e.status, e.method, e.path, e.message)
}

// loginError hides the cause from errors.As on purpose: a refused sign-in must
// never be taken for a refused batch of users.
type loginError struct {
	realm string
	cause *httpx.LoginError
}

func (e *loginError) Error() string { return fmt.Sprintf("sign in to keycloak: %v", e.cause) }

// status is the server's answer, 0 when there was none.
func (e *loginError) status() int {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](e.cause.Err); ok && answer.Response != nil {
		return answer.Response.StatusCode
	}
	return 0
}

// status is the HTTP status of an answered admin request, 0 for anything else.
func status(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// mayBeDone reports whether the server may have carried the request out, or may
// still do so: a server goes on when its client or a proxy has given up.
func mayBeDone(err error) bool {
	if _, ok := errors.AsType[*loginError](err); ok {
		return false
	}
	switch s := status(err); s {
	case 0:
		return httpx.Uncertain(err)
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// refused reports whether the server judged the content of the request.
func refused(err error) bool {
	switch status(err) {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusInternalServerError:
		return true
	}
	return false
}

// call sends a request below /admin and decodes a successful answer into into, unless
// that is nil. Under [httpx.Retryable] it may be sent several times.
func (a *api) call(ctx context.Context, method, path string, query url.Values, body []byte, into any) error {
	req := a.client.GetRequest(ctx).SetQueryParamsFromValues(query)
	if body != nil {
		req.SetHeader("Content-Type", "application/json").SetBody(keep(body))
	}
	answer, err := a.send(ctx, req, method, "/admin"+path)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// read is a GET that waits out a server in trouble.
func (a *api) read(ctx context.Context, path string, query url.Values, into any) error {
	return a.call(ctx, http.MethodGet, path, query, nil, into)
}

// create is a POST of something that may be there already, which is as good.
func (a *api) create(ctx context.Context, path string, v any) error {
	err := a.write(ctx, http.MethodPost, path, v)
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
	return a.call(httpx.Retryable(ctx), method, path, nil, body, nil)
}

// remove deletes what may be gone already, which is as good.
func (a *api) remove(ctx context.Context, path ...string) error {
	err := a.call(ctx, http.MethodDelete, a.realmPath(path...), nil, nil, nil)
	if status(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// send executes req and turns everything but success into a typed error.
func (a *api) send(ctx context.Context, req *resty.Request, method, path string) ([]byte, error) {
	resp, err := req.Execute(method, a.base+path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if login, ok := errors.AsType[*httpx.LoginError](err); ok {
			return nil, &loginError{realm: a.authRealm, cause: login}
		}
		return nil, fmt.Errorf("no answer to %s %s: %w", method, path, httpx.Redact(err)) // its text would repeat the whole address
	}
	if resp.IsSuccess() {
		return resp.Body(), nil
	}
	return nil, &statusError{method: method, path: path, status: resp.StatusCode(), message: reason(resp)}
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
	if len(words) == 0 {
		return http.StatusText(resp.StatusCode())
	}
	return strings.Join(words, ": ")
}

// bearer returns the token that requests are sent with.
func (a *api) bearer(ctx context.Context) (string, error) {
	token, err := a.tokens.Get(ctx)
	if login, ok := errors.AsType[*httpx.LoginError](err); ok {
		return "", &loginError{realm: a.authRealm, cause: login}
	}
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

// ask asks a realm's token endpoint for somebody else than this client.
func (a *api) ask(ctx context.Context, realm string, form map[string]string) ([]byte, error) {
	values := url.Values{}
	for name, value := range form {
		values.Set(name, value)
	}
	req := a.plain.GetRequest(ctx).SetHeader("Content-Type", "application/x-www-form-urlencoded").SetBody(keep([]byte(values.Encode())))
	return a.send(ctx, req, http.MethodPost, tokenPath(realm))
}

// keep is a body that can be sent again. What resty makes of bytes and of forms lies in a
// buffer that it lends to another request as soon as the first attempt is over: a second
// one would send somebody else's users.
func keep(body []byte) io.Reader { return bytes.NewReader(body) }

func tokenPath(realm string) string {
	return "/realms/" + url.PathEscape(realm) + "/protocol/openid-connect/token"
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
	EditUsername    bool     `json:"editUsernameAllowed"`
	DuplicateEmails bool     `json:"duplicateEmailsAllowed"`
	PasswordPolicy  string   `json:"passwordPolicy"`

	Organizations     bool  `json:"organizationsEnabled"`
	EmailLogin        *bool `json:"loginWithEmailAllowed"`
	BruteForce        bool  `json:"bruteForceProtected"`
	PermanentLockout  bool  `json:"permanentLockout"`
	TemporaryLockouts int   `json:"maxTemporaryLockouts"`
	FailureFactor     int   `json:"failureFactor"`

	BrowserFlow   string `json:"browserFlow"`
	ResetPassword *bool  `json:"resetPasswordAllowed"` // nil where the client may not see it
	SMTP          struct {
		Host string `json:"host"`
	} `json:"smtpServer"`
}

func (a *api) realmFacts(ctx context.Context) (realmFacts, error) {
	var r realmFacts
	err := a.read(ctx, a.realmPath(), nil, &r)
	return r, err
}

func (a *api) userProfile(ctx context.Context) (*userProfile, error) {
	p := &userProfile{}
	return p, a.read(ctx, a.realmPath("users", "profile"), nil, p)
}

func (a *api) countUsers(ctx context.Context) (int, error) {
	var n int
	err := a.read(ctx, a.realmPath("users", "count"), nil, &n)
	return n, err
}

func (a *api) listUsers(ctx context.Context, first, most int) ([]account, error) {
	var page []account
	err := a.read(ctx, a.realmPath("users"), url.Values{
		"first": {strconv.Itoa(first)}, "max": {strconv.Itoa(most)}, "briefRepresentation": {"true"},
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

// linkedTo lists the accounts that are linked to an identity.
func (a *api) linkedTo(ctx context.Context, alias, subject string) ([]account, error) {
	var found []account
	err := a.read(ctx, a.realmPath("users"), url.Values{"idpAlias": {alias}, "idpUserId": {subject}, "briefRepresentation": {"true"}, "max": {"10"}}, &found)
	return found, err
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

func (a *api) createRole(ctx context.Context, name string, allows []string) error {
	return a.create(ctx, a.realmPath("roles"), map[string]any{"name": name, "attributes": roleAttributes(allows)})
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
// e-mail address exists, which makes sending again safe. The results come in no
// particular order.
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
	err = a.call(httpx.Paced(httpx.Retryable(ctx)), http.MethodPost, a.realmPath("partialImport"), nil, body, &answer)
	return answer.Results, err
}

package keycloak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is a Keycloak with the habits of a real 26.7 that matter to a loader: a
// batch is taken whole or not at all, an unknown key fails it, SKIP looks at
// names only and trips over a foreign e-mail address, results come in any order,
// tokens expire. TestServer holds it against the real one.
type fake struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	users    map[string]*fakeUser
	ldap     []*fakeUser // of a user federation: found, but not counted
	roles    map[string]bool
	groups   map[string]bool // by path
	tokens   int
	valid    string // the one token that is accepted
	requests []string

	secret        string
	tokenRoles    []string // nil: a lightweight token
	realm         map[string]any
	profile       map[string]any
	hashing       []string
	version       string
	providers     []string                    // "NAME off" is one that is switched off
	flows         map[string][]map[string]any // the steps of authentication flows
	verifyProfile bool
	listsNobody   bool
	ldapIsDown    bool
	expiresIn     int
	heap          int64

	// before may answer in the server's place; after may spoil an answer whose
	// work is done.
	before, after func(w http.ResponseWriter, r *http.Request) bool
}

type fakeUser struct {
	ID                  string              `json:"id"`
	Username            *string             `json:"username"`
	Email               string              `json:"email,omitempty"`
	EmailVerified       bool                `json:"emailVerified"`
	Enabled             bool                `json:"enabled"`
	FirstName           string              `json:"firstName,omitempty"`
	LastName            string              `json:"lastName,omitempty"`
	CreatedTimestamp    *int64              `json:"createdTimestamp"`
	Attributes          map[string][]string `json:"attributes,omitempty"`
	RealmRoles          []string            `json:"realmRoles,omitempty"`
	Groups              []string            `json:"groups,omitempty"`
	RequiredActions     []string            `json:"requiredActions,omitempty"`
	Credentials         []fakeCredential    `json:"credentials,omitempty"`
	FederatedIdentities []struct {
		IdentityProvider string `json:"identityProvider"`
		UserID           string `json:"userId"`
		UserName         string `json:"userName"`
	} `json:"federatedIdentities,omitempty"`
}

type fakeCredential struct {
	ID             string `json:"id"`
	Type           string `json:"type"`
	UserLabel      string `json:"userLabel"`
	CreatedDate    int64  `json:"createdDate"`
	CredentialData string `json:"credentialData"`
	SecretData     string `json:"secretData"`
}

// carriedPassword is one as a load leaves it.
var carriedPassword = []fakeCredential{{ID: "x", Type: typePassword, UserLabel: passwordLabel}}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{
		t: t, secret: "s3cr%t+", expiresIn: 300, verifyProfile: true, version: "26.7.3",
		users: map[string]*fakeUser{}, groups: map[string]bool{},
		roles:      map[string]bool{"default-roles-customers": true, "offline_access": true},
		tokenRoles: []string{"manage-realm", "manage-users", "view-users", "manage-clients"},
		realm:      map[string]any{"id": "1", "realm": "customers", "editUsernameAllowed": true, "defaultRole": map[string]any{"name": "default-roles-customers"}},
		profile: map[string]any{
			"unmanagedAttributePolicy": "ADMIN_EDIT",
			"attributes":               []any{map[string]any{"name": "username"}, map[string]any{"name": "email"}},
		},
		hashing: []string{"argon2", "bcrypt", "pbkdf2-sha512"},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// config is a plugin configuration that signs in here.
func (f *fake) config() Config {
	return Config{URL: f.URL, Realm: "customers", ClientID: "loader", ClientSecret: secretOf(f.secret), BatchSize: 200}
}

// mutations are the requests that change something.
func (f *fake) mutations() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if !strings.HasPrefix(r, "GET ") && !strings.HasSuffix(r, "/token") && !strings.HasSuffix(r, "/testLDAPConnection") {
			out = append(out, r)
		}
	}
	return out
}

// imports counts the requests with users in them.
func (f *fake) imports() (n int) {
	for _, r := range f.mutations() {
		if strings.HasSuffix(r, "/partialImport") {
			n++
		}
	}
	return n
}

func (f *fake) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.users))
}

// put adds an account as an administrator would.
func (f *fake) put(u *fakeUser) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[u.ID] = u
}

func (f *fake) get(id string) *fakeUser {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users[id]
}

func (f *fake) expireTokens() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.valid = ""
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	f.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	rec := httptest.NewRecorder()
	f.mu.Lock()
	f.answer(rec, r)
	f.mu.Unlock()
	if f.after != nil && f.after(w, r) {
		return
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, message string) {
	switch status {
	case http.StatusConflict:
		reply(w, status, map[string]string{"errorMessage": message})
	case http.StatusInternalServerError:
		reply(w, status, map[string]string{"error": "unknown_error", "error_description": message})
	default:
		reply(w, status, map[string]string{"error": message})
	}
}

const consultLog = "For more on this error consult the server log."

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/realms/customers/protocol/openid-connect/token" {
		f.signIn(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/realms/") {
		refuse(w, http.StatusNotFound, "Realm does not exist")
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+f.valid || f.valid == "" {
		refuse(w, http.StatusUnauthorized, "HTTP 401 Unauthorized")
		return
	}
	if r.URL.Path == "/admin/serverinfo" {
		known := map[string]any{}
		for _, id := range f.hashing {
			known[id] = map[string]any{"order": 0}
		}
		reply(w, 200, map[string]any{
			"systemInfo": map[string]any{"version": f.version},
			"memoryInfo": map[string]any{"total": f.heap},
			"cpuInfo":    map[string]any{"processorCount": 4},
			"providers":  map[string]any{"password-hashing": map[string]any{"providers": known}},
		})
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/admin/realms/customers")
	if !ok {
		refuse(w, http.StatusNotFound, "Realm not found.")
		return
	}
	q := r.URL.Query()
	first, _ := strconv.Atoi(q.Get("first"))
	most := 100
	if m, err := strconv.Atoi(q.Get("max")); err == nil {
		most = m
	}
	switch {
	case r.Method == http.MethodPost && path == "/partialImport":
		f.partialImport(w, r)
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "/users/") && strings.Count(path, "/") == 2:
		delete(f.users, strings.TrimPrefix(path, "/users/"))
		w.WriteHeader(http.StatusNoContent)
	case path == "":
		reply(w, 200, f.realm)
	case path == "/stetl":
		refuse(w, http.StatusNotFound, "HTTP 404 Not Found")
	case path == "/users/profile":
		reply(w, 200, f.profile)
	case path == "/users/count":
		reply(w, 200, len(f.users))
	case path == "/users":
		var out []*fakeUser
		for _, u := range f.all() {
			name, email := q.Get("username"), q.Get("email")
			ids := strings.Fields(strings.TrimPrefix(q.Get("search"), "id:"))
			if len(ids) > 0 && !slices.Contains(ids, u.ID) {
				continue
			}
			if (name == "" || *u.Username == strings.ToLower(name)) && (email == "" || u.Email == strings.ToLower(email)) && !f.listsNobody {
				out = append(out, f.shown(u))
			}
		}
		slices.SortFunc(out, func(a, b *fakeUser) int { return strings.Compare(*a.Username, *b.Username) })
		reply(w, 200, page(out, first, most))
	case strings.HasPrefix(path, "/users/"):
		id, part, _ := strings.Cut(strings.TrimPrefix(path, "/users/"), "/")
		u, ok := f.users[id]
		if !ok {
			refuse(w, http.StatusNotFound, "User not found")
			return
		}
		f.part(w, u, part)
	case path == "/roles" && r.Method == http.MethodGet:
		var out []map[string]string
		for _, name := range slices.Sorted(maps.Keys(f.roles)) {
			out = append(out, map[string]string{"name": name})
		}
		reply(w, 200, page(out, first, most))
	case path == "/roles":
		f.createNamed(w, r, f.roles, "")
	case strings.HasPrefix(path, "/group-by-path/"):
		group := strings.TrimPrefix(path, "/group-by-path")
		if !f.groups[group] {
			refuse(w, http.StatusNotFound, "Group path does not exist")
			return
		}
		reply(w, 200, map[string]string{"id": "id-of" + strings.ReplaceAll(group, "/", "-")})
	case path == "/groups" && r.Method == http.MethodPost:
		f.createNamed(w, r, f.groups, "/")
	case path == "/groups/id-of-tenants/children":
		f.createNamed(w, r, f.groups, "/tenants/")
	case strings.HasPrefix(path, "/groups/") && strings.HasSuffix(path, "/role-mappings"):
		reply(w, 200, map[string]any{})
	case path == "/clients":
		reply(w, 200, []any{map[string]string{"id": "1"}})
	case path == "/client-policies/policies":
		reply(w, 200, map[string]any{})
	case path == "/components":
		var out []any
		if len(f.ldap) > 0 {
			out = append(out, map[string]any{"id": "1", "name": "staff", "providerId": "ldap", "config": map[string][]string{"enabled": {"true"}}})
		}
		reply(w, 200, out)
	case path == "/testLDAPConnection" && f.ldapIsDown:
		refuse(w, http.StatusBadRequest, "SocketReset")
	case path == "/testLDAPConnection":
		w.WriteHeader(http.StatusNoContent)
	case path == "/authentication/required-actions":
		reply(w, 200, []any{map[string]any{"alias": "VERIFY_PROFILE", "enabled": f.verifyProfile}})
	case path == "/identity-provider/instances":
		var out []map[string]any
		for _, alias := range f.providers {
			name, off := strings.CutSuffix(alias, " off")
			out = append(out, map[string]any{"alias": name, "enabled": !off})
		}
		reply(w, 200, out)
	case strings.HasPrefix(path, "/authentication/flows/"):
		steps, known := f.flows[strings.TrimSuffix(strings.TrimPrefix(path, "/authentication/flows/"), "/executions")]
		if !known {
			refuse(w, http.StatusNotFound, "Flow not found")
			return
		}
		reply(w, 200, steps)
	default:
		f.t.Errorf("request that the fake does not know: %s %s", r.Method, r.URL)
		refuse(w, http.StatusNotFound, "HTTP 404 Not Found")
	}
}

func page[T any](all []T, first, most int) []T {
	first = min(first, len(all))
	return append([]T{}, all[first:min(first+most, len(all))]...)
}

// part answers with one part of what a user has, or with the user.
func (f *fake) part(w http.ResponseWriter, u *fakeUser, part string) {
	switch part {
	case "":
		reply(w, 200, f.shown(u))
	case "credentials":
		out := []map[string]any{}
		for _, c := range u.Credentials {
			out = append(out, map[string]any{"id": c.ID, "type": c.Type, "userLabel": c.UserLabel, "createdDate": c.CreatedDate})
		}
		reply(w, 200, out)
	case "role-mappings/realm":
		out := []map[string]any{}
		for _, name := range u.RealmRoles {
			out = append(out, map[string]any{"id": "id-of-" + name, "name": name})
		}
		reply(w, 200, out)
	case "groups":
		out := []map[string]any{}
		for _, path := range u.Groups {
			out = append(out, map[string]any{"id": "id-of" + strings.ReplaceAll(path, "/", "-"), "path": path})
		}
		reply(w, 200, out)
	case "federated-identity":
		out := []map[string]any{}
		for _, l := range u.FederatedIdentities {
			if slices.Contains(f.providers, l.IdentityProvider) {
				out = append(out, map[string]any{"identityProvider": l.IdentityProvider, "userId": l.UserID, "userName": l.UserName})
			}
		}
		reply(w, 200, out)
	default:
		f.t.Errorf("request that the fake does not know: %s of a user", part)
	}
}

// shown hides what reads of a real server do not show.
func (f *fake) shown(u *fakeUser) *fakeUser {
	c := *u
	c.RealmRoles, c.Groups, c.Credentials, c.FederatedIdentities = nil, nil, nil, nil
	if f.profile["unmanagedAttributePolicy"] == nil {
		c.Attributes = nil
	}
	return &c
}

func (f *fake) signIn(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("client_secret") != f.secret || r.PostFormValue("grant_type") != "client_credentials" {
		reply(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized_client", "error_description": "Invalid client or Invalid client credentials"})
		return
	}
	f.tokens++
	claims := map[string]any{"jti": f.tokens}
	if f.tokenRoles != nil {
		claims["resource_access"] = map[string]any{"realm-management": map[string]any{"roles": f.tokenRoles}}
	}
	f.valid = jwtOf(claims)
	reply(w, 200, map[string]any{"access_token": f.valid, "expires_in": f.expiresIn, "token_type": "Bearer"})
}

func (f *fake) createNamed(w http.ResponseWriter, r *http.Request, into map[string]bool, prefix string) {
	var body struct {
		Name string `json:"name"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "bad JSON")
		return
	}
	if into[prefix+body.Name] {
		refuse(w, http.StatusConflict, body.Name+" already exists")
		return
	}
	into[prefix+body.Name] = true
	w.WriteHeader(http.StatusCreated)
}

func strictly(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func (f *fake) partialImport(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Logf("read body: %v", err)
		return
	}
	if len(body) > 10<<20 {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	var req struct {
		Policy string          `json:"ifResourceExists"`
		Users  json.RawMessage `json:"users"`
	}
	var users []*fakeUser
	if json.Unmarshal(body, &req) != nil || strictly(req.Users, &users) != nil || req.Policy != "SKIP" {
		refuse(w, http.StatusInternalServerError, "Cannot parse the JSON")
		return
	}
	was := maps.Clone(f.users)
	skips := map[*fakeUser]string{}
	for _, u := range users {
		if u.Username == nil {
			refuse(w, http.StatusInternalServerError, consultLog)
			return
		}
		name, mail := f.holderOf(*u.Username, ""), f.holderOf("", u.Email)
		switch {
		case name != nil:
			skips[u] = name.ID
		case mail != nil: // the id is looked up by username, and there is none
			refuse(w, http.StatusInternalServerError, consultLog)
			return
		}
	}
	var results []map[string]string
	for _, u := range users {
		action, id := "ADDED", u.ID
		if held, ok := skips[u]; ok {
			action, id = "SKIPPED", held
		} else if status, words := f.create(u); status != 0 {
			f.users = was
			refuse(w, status, words)
			return
		}
		results = append(results, map[string]string{"action": action, "resourceType": "USER", "resourceName": *u.Username, "id": id})
		*u.Username = strings.ToLower(*u.Username)
	}
	slices.Reverse(results)
	reply(w, 200, map[string]any{"added": len(users) - len(skips), "skipped": len(skips), "overwritten": 0, "results": results})
}

// all are the users that look-ups find.
func (f *fake) all() []*fakeUser {
	all := slices.Collect(maps.Values(f.users))
	if f.ldapIsDown {
		return all
	}
	return append(all, f.ldap...)
}

func (f *fake) holderOf(username, email string) *fakeUser {
	for _, u := range f.all() {
		if (username != "" && *u.Username == strings.ToLower(username)) || (email != "" && u.Email == strings.ToLower(email)) {
			return u
		}
	}
	return nil
}

func (f *fake) create(u *fakeUser) (status int, words string) {
	broken := func() (int, string) { return http.StatusInternalServerError, consultLog }
	duplicate := func() (int, string) { return http.StatusConflict, "Duplicate resource error" }
	if len(u.ID) > 36 || strings.HasPrefix(u.ID, "f:") || len(*u.Username) > 255 || len(u.Email) > 255 || len(u.FirstName) > 255 {
		return broken()
	}
	if f.users[u.ID] != nil || f.holderOf(*u.Username, u.Email) != nil {
		return duplicate()
	}
	for _, g := range u.Groups {
		if !f.groups[g] {
			return broken()
		}
	}
	labels, links := map[string]bool{}, map[string]bool{}
	for _, c := range u.Credentials {
		var data struct {
			HashIterations       int                 `json:"hashIterations"`
			Algorithm            string              `json:"algorithm"`
			AdditionalParameters map[string][]string `json:"additionalParameters"`
		}
		if c.Type == "password" && strictly([]byte(c.CredentialData), &data) != nil {
			return broken()
		}
		if c.UserLabel != "" {
			key := c.Type + "/" + strings.ToLower(strings.TrimSpace(c.UserLabel))
			if labels[key] {
				return http.StatusConflict, "Device already exists with the same name"
			}
			labels[key] = true
		}
	}
	for _, l := range u.FederatedIdentities {
		if links[l.IdentityProvider] {
			return duplicate()
		}
		links[l.IdentityProvider] = true
	}
	if strings.Contains(*u.Username, "poison") {
		return broken()
	}
	for _, role := range u.RealmRoles {
		if !f.roles[role] {
			f.t.Errorf("role %s was left for the import to create", role)
		}
		f.roles[role] = true
	}
	f.users[u.ID] = u
	return 0, ""
}

func (f *fake) String() string { return fmt.Sprintf("%d users", len(f.ids())) }

package auth0

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/crypto/bcrypt"
)

// User is one account.
type User struct {
	ID, Connection               string
	Email, Username, Phone       string
	EmailVerified, PhoneVerified bool
	GivenName, FamilyName        string
	Name, Nickname, Picture      string
	Blocked                      bool
	AppMetadata, UserMetadata    map[string]any
	// TOTP are the seeds of authenticators.
	TOTP    []string
	Logins  int
	Created time.Time
	// Roles are names, Organizations maps a name to role names.
	Roles         []string
	Organizations map[string][]string

	factors []factor

	hash   string
	custom bool // imported, not yet replaced
	random bool // imported without one
	was    bool // imported with a custom one
}

// factor is an authenticator of a user.
type factor struct {
	id, name, seed string
	created        time.Time
}

func (u *User) enrol(name, seed string, created time.Time) factor {
	f := factor{newID("totp|dev_"), name, seed, created}
	u.factors = append(u.factors, f)
	return f
}

// Enrol adds an authenticator, as the person would, some time after the account was made.
func (u *User) Enrol(seed string) { u.enrol("", seed, u.Created.Add(24*time.Hour)) }

// Users returns copies of all accounts, by id.
func (s *Server) Users() map[string]User {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobDesk{s}.advance(time.Now())
	out := map[string]User{}
	for id, u := range s.users {
		c := *u
		c.Roles, c.Organizations = places{s}.rolesOf(id), places{s}.organizationsOf(id)
		for _, f := range u.factors {
			c.TOTP = append(c.TOTP, f.seed)
		}
		out[id] = c
	}
	return out
}

// Put adds an account, as somebody else would have.
func (s *Server) Put(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Connection == "" {
		u.Connection = s.options.Connection.Name
	}
	s.users[u.ID] = &u
}

// Change edits an account behind everybody's back.
func (s *Server) Change(id string, change func(*User)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[id]; u != nil {
		change(u)
	}
}

// Remove deletes an account behind everybody's back.
func (s *Server) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	remove(s, id)
}

func remove(s *Server, id string) {
	delete(s.users, id)
	for _, one := range s.roles {
		delete(one.users, id)
	}
	for _, o := range s.orgs {
		delete(o.members, id)
	}
}

// Ticket is a password-change ticket.
type Ticket struct{ UserID, ResultURL string }

// Tickets are those made so far, by their link.
func (s *Server) Tickets() map[string]Ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.tickets)
}

type importedUser struct {
	Email         string  `json:"email"`
	EmailVerified *bool   `json:"email_verified"`
	PhoneNumber   string  `json:"phone_number"`
	PhoneVerified bool    `json:"phone_verified"`
	UserID        string  `json:"user_id"`
	Username      string  `json:"username"`
	GivenName     string  `json:"given_name"`
	FamilyName    string  `json:"family_name"`
	Name          string  `json:"name"`
	Nickname      string  `json:"nickname"`
	Picture       string  `json:"picture"`
	Blocked       bool    `json:"blocked"`
	PasswordHash  string  `json:"password_hash"`
	Custom        *custom `json:"custom_password_hash"`

	AppMetadata  map[string]any `json:"app_metadata"`
	UserMetadata map[string]any `json:"user_metadata"`
	MFAFactors   []struct {
		TOTP *struct {
			Secret string `json:"secret"`
		} `json:"totp"`
	} `json:"mfa_factors"`
}

type custom struct {
	Algorithm string `json:"algorithm"`
	Hash      struct {
		Value string `json:"value"`
	} `json:"hash"`
}

func problem(code, path, message string) []map[string]any {
	p := map[string]any{"code": code, "message": message}
	if path != "" {
		p["path"] = path
	}
	return []map[string]any{p}
}

// importOne is one user of a job: what became of it and what is wrong with it.
func (s importer) importOne(in importedUser, upsert bool, seen map[string]bool, index map[string]*User) (string, []map[string]any) {
	in.Email, in.Username = strings.ToLower(in.Email), strings.ToLower(in.Username)
	c := s.options.Connection
	switch {
	case in.Username != "" && !c.RequiresUsername:
		return "failed", problem("FORMAT", "username", "Cannot set username for connection without requires_username")
	case in.Username == "" && c.RequiresUsername:
		return "failed", problem("OBJECT_REQUIRED", "username", "Missing username for connection with requires_username option enabled")
	case in.PhoneNumber != "" && !c.Phone:
		return "failed", problem("FORMAT", "phone_number", "Cannot set phone_number for this connection")
	case slices.Contains(s.options.Ghosts, in.Email):
		return "failed", problem("DUPLICATED_USER", "", "The user already exist and upsert parameter is false")
	}
	id := ""
	if in.UserID != "" {
		id = "auth0|" + in.UserID
	}
	for kind, value := range map[string]string{"email": in.Email, "username": in.Username, "user_id": in.UserID, "phone_number": in.PhoneNumber} {
		if value == "" {
			continue
		}
		if seen[kind+value] {
			return "failed", problem("DUPLICATED_USER", "", fmt.Sprintf("A user with this %s was already provided.", kind))
		}
		seen[kind+value] = true
	}
	for key, value := range map[string]string{"email": in.Email, "username": in.Username, "id": id, "phone": in.PhoneNumber} {
		u := index[key+" "+value]
		if value == "" || u == nil || s.options.SharesIDs && u.Connection != c.Name {
			continue
		}
		if !upsert || u.Email != in.Email {
			return "failed", problem("DUPLICATED_USER", "", "The user already exist and upsert parameter is false")
		}
		return s.upsert(u, &in)
	}
	return s.insert(id, &in)
}

// index finds users by what is unique: the id in all connections, the rest in one.
func (s importer) index() map[string]*User {
	out := map[string]*User{}
	for _, u := range s.users {
		out["id "+u.ID] = u
		if u.Connection == s.options.Connection.Name {
			out["email "+u.Email], out["username "+u.Username], out["phone "+u.Phone] = u, u, u
		}
	}
	return out
}

func (s importer) insert(id string, in *importedUser) (string, []map[string]any) {
	if id == "" {
		id = "auth0|" + strings.ToLower(newID(""))
	}
	if s.options.LowersIDs {
		id = strings.ToLower(id)
	}
	u := &User{
		ID: id, Connection: s.options.Connection.Name, Email: in.Email, Username: in.Username, Phone: in.PhoneNumber, PhoneVerified: in.PhoneVerified,
		EmailVerified: in.EmailVerified != nil && *in.EmailVerified, GivenName: in.GivenName, FamilyName: in.FamilyName,
		Name: in.Name, Nickname: in.Nickname, Picture: in.Picture, Blocked: in.Blocked,
		AppMetadata: in.AppMetadata, UserMetadata: in.UserMetadata, Created: time.Now(),
	}
	local, _, _ := strings.Cut(in.Email, "@")
	for field, fallback := range map[*string]string{&u.Name: in.Email, &u.Nickname: local, &u.Picture: "https://s.gravatar.com/avatar/x?s=480&d=https%3A%2F%2Fcdn.auth0.com%2Favatars%2Fx.png"} {
		if *field == "" {
			*field = fallback
		}
	}
	switch {
	case in.Custom != nil:
		u.hash, u.custom, u.was = in.Custom.Hash.Value, true, true
	case in.PasswordHash != "":
		u.hash = in.PasswordHash
	default:
		own, _ := bcrypt.GenerateFromPassword([]byte(newID("")), bcrypt.MinCost)
		u.hash, u.random = string(own), true
	}
	s.users[id] = u
	if slices.Contains(s.options.Lost, in.UserID) {
		delete(s.users, id)
	}
	if len(in.MFAFactors) > 0 && slices.Contains(s.options.NoFactors, in.UserID) {
		what := "inserted"
		if s.options.FactorsFail {
			what = "failed"
		}
		return what, problem("MFA_FACTORS_FAILED", "", "Unable to import factors")
	}
	for _, f := range in.MFAFactors {
		if f.TOTP != nil {
			u.enrol("", f.TOTP.Secret, u.Created)
		}
	}
	return "inserted", nil
}

// upsert updates what an upsert updates. It replaces metadata, and takes the
// verification away when it is not told.
func (s importer) upsert(u *User, in *importedUser) (string, []map[string]any) {
	if in.Custom != nil {
		if !u.was || u.Logins > 0 {
			return "failed", problem("FORMAT", "", "A custom_password_hash was provided, but the user already has password hash defined")
		}
		u.hash, u.custom = in.Custom.Hash.Value, true
	}
	u.EmailVerified = in.EmailVerified != nil && *in.EmailVerified
	for field, value := range map[*string]string{&u.GivenName: in.GivenName, &u.FamilyName: in.FamilyName, &u.Name: in.Name, &u.Nickname: in.Nickname, &u.Picture: in.Picture} {
		if value != "" {
			*field = value
		}
	}
	if in.AppMetadata != nil {
		u.AppMetadata = in.AppMetadata
	}
	if in.UserMetadata != nil {
		u.UserMetadata = in.UserMetadata
	}
	return "updated", nil
}

// validate applies the schema. An error names an internal place, as Auth0's do.
func (s importer) validate(raw json.RawMessage) []map[string]any {
	schema, err := userSchema()
	if err != nil {
		return problem("INTERNAL", "", err.Error())
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return problem("INVALID_TYPE", "", err.Error())
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return problem("OBJECT_REQUIRED", "", "a user is an object")
	}
	if s.options.Connection.EmailOptional && object["email"] == nil && (object["phone_number"] != nil || object["username"] != nil) {
		object["email"] = "nobody@example.com" // the attribute setting governs, not the schema
	}
	if err := schema.Validate(object); err != nil {
		if _, bad := object["password_hash"]; bad && strings.Contains(err.Error(), "/password_hash") {
			return problem("PATTERN", "passwordHash", `Error in passwordHash property - String does not match pattern ^\$2[ab]?\$10+\$[./A-Za-z0-9]{53}$`)
		}
		return problem("INVALID_FORMAT", "identities[0].profileData", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	email, _ := object["email"].(string)
	if local, _, _ := strings.Cut(email, "@"); len(local) > 64 {
		return problem("INVALID_FORMAT", "identities[0].profileData.email", "Object didn't pass validation for format email: "+email)
	}
	return nil
}

func (s people) render(u *User) map[string]any {
	provider, id, _ := strings.Cut(u.ID, "|")
	m := map[string]any{
		"user_id": u.ID, "email_verified": u.EmailVerified, "name": u.Name, "nickname": u.Nickname, "picture": u.Picture,
		"created_at": u.Created.UTC().Format(time.RFC3339Nano), "updated_at": u.Created.UTC().Format(time.RFC3339Nano), "logins_count": u.Logins,
		"identities": []map[string]any{{"connection": u.Connection, "provider": provider, "user_id": id, "isSocial": false}},
	}
	for key, value := range map[string]string{"email": u.Email, "username": u.Username, "phone_number": u.Phone, "given_name": u.GivenName, "family_name": u.FamilyName} {
		if value != "" {
			m[key] = value
		}
	}
	if u.Phone != "" {
		m["phone_verified"] = u.PhoneVerified
	}
	if u.Blocked {
		m["blocked"] = true
	}
	if u.AppMetadata != nil {
		m["app_metadata"] = u.AppMetadata
	}
	if u.UserMetadata != nil {
		m["user_metadata"] = u.UserMetadata
	}
	return m
}

func (s people) userRoutes(api router) {
	api("GET /users/{id}", "read:users", s.withUser(func(w http.ResponseWriter, _ *http.Request, u *User) { reply(w, 200, s.render(u)) }))
	api("PATCH /users/{id}", "update:users", s.withUser(s.patch))
	api("DELETE /users/{id}", "delete:users", func(w http.ResponseWriter, r *http.Request) {
		remove(s.Server, r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	api("POST /users", "create:users", s.create)
	api("GET /users-by-email", "read:users", func(w http.ResponseWriter, r *http.Request) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.users)) {
			if s.users[id].Email == r.URL.Query().Get("email") { // letter case counts
				list = append(list, s.render(s.users[id]))
			}
		}
		reply(w, 200, list)
	})
	api("GET /users", "read:users", func(w http.ResponseWriter, r *http.Request) {
		q := regexp.MustCompile(`^app_metadata\.([a-z_]+)\.([a-z_]+):"(.*)"$`).FindStringSubmatch(r.URL.Query().Get("q"))
		if q == nil || r.URL.Query().Get("search_engine") != "v3" {
			refuse(w, 400, "invalid_query_string", "This search is not one that the double knows")
			return
		}
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.users)) {
			if part, ok := s.users[id].AppMetadata[q[1]].(map[string]any); ok && part[q[2]] == q[3] {
				list = append(list, s.render(s.users[id]))
			}
		}
		reply(w, 200, list)
	})
	api("POST /users/{id}/authentication-methods", "create:authentication_methods", s.withUser(func(w http.ResponseWriter, r *http.Request, u *User) {
		var body struct {
			Type   string `json:"type"`
			Name   string `json:"name"`
			Secret string `json:"totp_secret"`
		}
		if !decode(w, r, &body) {
			return
		}
		if body.Type != "totp" || !regexp.MustCompile(`^[A-Z2-7]+$`).MatchString(body.Secret) {
			refuse(w, 400, "invalid_body", "Payload validation error")
			return
		}
		if len(u.factors) > 0 && !s.options.ManyFactors {
			refuse(w, 409, "", "The user already has an authentication method of this type")
			return
		}
		f := u.enrol(body.Name, body.Secret, time.Now())
		reply(w, 201, map[string]any{"id": f.id, "type": "totp", "name": f.name})
	}))
	api("DELETE /users/{id}/authentication-methods/{method}", "delete:authentication_methods", s.withUser(func(w http.ResponseWriter, r *http.Request, u *User) {
		u.factors = slices.DeleteFunc(u.factors, func(f factor) bool { return f.id == r.PathValue("method") })
		w.WriteHeader(http.StatusNoContent)
	}))
	api("GET /users/{id}/authentication-methods", "read:authentication_methods", s.withUser(func(w http.ResponseWriter, r *http.Request, u *User) {
		list := []map[string]any{}
		for _, f := range u.factors {
			one := map[string]any{"id": f.id, "type": "totp", "confirmed": true, "created_at": f.created.UTC().Format(time.RFC3339Nano)}
			if f.name != "" {
				one["name"] = f.name
			}
			list = append(list, one)
		}
		page(w, r, "authenticators", list)
	}))
	api("POST /tickets/password-change", "create:user_tickets", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			UserID    string `json:"user_id"`
			ResultURL string `json:"result_url"`
			MarkEmail bool   `json:"mark_email_as_verified"`
		}
		if decode(w, r, &body) {
			if s.users[body.UserID] == nil {
				refuse(w, 404, "inexistent_user", "The user does not exist.")
				return
			}
			link := "https://" + s.options.Domain + "/u/reset-verify?ticket=" + newID("")
			s.tickets[link] = Ticket{body.UserID, body.ResultURL}
			reply(w, 201, map[string]string{"ticket": link})
		}
	})
}

func (s people) withUser(f func(http.ResponseWriter, *http.Request, *User)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		u := s.users[r.PathValue("id")]
		if u == nil {
			refuse(w, 404, "inexistent_user", "The user does not exist.")
			return
		}
		f(w, r, u)
	}
}

type patchBody struct {
	Connection    string         `json:"connection"`
	Email         *string        `json:"email"`
	EmailVerified *bool          `json:"email_verified"`
	VerifyEmail   *bool          `json:"verify_email"`
	Username      *string        `json:"username"`
	Phone         nullable       `json:"phone_number"`
	PhoneVerified *bool          `json:"phone_verified"`
	GivenName     nullable       `json:"given_name"`
	FamilyName    nullable       `json:"family_name"`
	Name          *string        `json:"name"`
	Blocked       *bool          `json:"blocked"`
	Password      *string        `json:"password"`
	AppMetadata   map[string]any `json:"app_metadata"`
	UserMetadata  map[string]any `json:"user_metadata"`
}

func (s people) patch(w http.ResponseWriter, r *http.Request, u *User) {
	var b patchBody
	if !decode(w, r, &b) {
		return
	}
	if b.Email != nil && b.Username != nil {
		refuse(w, 400, "operation_not_supported", "Cannot update email and username simultaneously")
		return
	}
	if b.Email != nil {
		for _, other := range s.users {
			if other != u && other.Connection == u.Connection && other.Email == strings.ToLower(*b.Email) {
				refuse(w, 400, "auth0_idp_error", "The specified new email already exists")
				return
			}
		}
		if b.EmailVerified == nil {
			u.EmailVerified = false
		}
		u.Email = strings.ToLower(*b.Email)
	}
	if b.Password != nil {
		if len(*b.Password) < 8 {
			refuse(w, 400, "password_strength_error", "PasswordStrengthError: Password is too weak")
			return
		}
		own, _ := bcrypt.GenerateFromPassword([]byte(*b.Password), bcrypt.MinCost)
		u.hash, u.custom, u.was = string(own), false, false
	}
	for _, name := range []*string{b.GivenName.value, b.FamilyName.value, b.Name} {
		if name != nil && *name == "" {
			refuse(w, 400, "invalid_body", "Payload validation error: 'String is too short (0 chars), minimum 1'")
			return
		}
	}
	set(&u.Username, b.Username)
	b.Phone.into(&u.Phone)
	b.GivenName.into(&u.GivenName)
	b.FamilyName.into(&u.FamilyName)
	set(&u.Name, b.Name)
	set(&u.EmailVerified, b.EmailVerified)
	set(&u.PhoneVerified, b.PhoneVerified)
	set(&u.Blocked, b.Blocked)
	u.AppMetadata = s.merge(u.AppMetadata, b.AppMetadata)
	u.UserMetadata = s.merge(u.UserMetadata, b.UserMetadata)
	reply(w, 200, s.render(u))
}

// nullable is text that null removes.
type nullable struct {
	given bool
	value *string
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *nullable) UnmarshalJSON(raw []byte) error {
	n.given = true
	return json.Unmarshal(raw, &n.value)
}

func (n *nullable) into(field *string) {
	if n.given {
		*field = ""
	}
	set(field, n.value)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// merge replaces keys of the top level; null removes one.
func (s people) merge(old, change map[string]any) map[string]any {
	if change == nil {
		return old
	}
	out := map[string]any{}
	if !s.options.ReplacesMetadata {
		maps.Copy(out, old)
	}
	for key, value := range change {
		out[key] = value
		if value == nil {
			delete(out, key)
		}
	}
	return out
}

func (s people) create(w http.ResponseWriter, r *http.Request) {
	var b struct {
		patchBody
		UserID string `json:"user_id"`
	}
	if !decode(w, r, &b) {
		return
	}
	failure := Failure("")
	s.creates++
	if s.options.CreateFails != nil {
		failure = s.options.CreateFails(s.creates)
	}
	if failure == Broken {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	u := &User{Connection: b.Connection, AppMetadata: b.AppMetadata, UserMetadata: b.UserMetadata, Created: time.Now()}
	set(&u.Email, b.Email)
	b.Phone.into(&u.Phone)
	set(&u.EmailVerified, b.EmailVerified)
	set(&u.PhoneVerified, b.PhoneVerified)
	set(&u.Blocked, b.Blocked)
	b.GivenName.into(&u.GivenName)
	b.FamilyName.into(&u.FamilyName)
	switch b.Connection {
	case "email", "sms":
		u.ID = b.Connection + "|" + strings.ToLower(newID(""))
		if b.UserID != "" && !s.options.OwnIDs {
			u.ID = b.Connection + "|" + b.UserID
		}
	default:
		refuse(w, 400, "operation_not_supported", "Connection does not support user creation through the API. It must either be a database or passwordless connection.")
		return
	}
	for _, other := range s.users {
		if other.ID == u.ID || (other.Connection == u.Connection && ((u.Email != "" && other.Email == u.Email) || (u.Phone != "" && other.Phone == u.Phone))) {
			refuse(w, 409, "auth0_idp_error", "The user already exists.")
			return
		}
	}
	s.users[u.ID] = u
	if failure == Dropped {
		drop(w)
		return
	}
	reply(w, 201, s.render(u))
}

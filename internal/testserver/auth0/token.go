package auth0

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// PublicClient is an application without a secret.
const PublicClient = "spa"

const tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// token is the token endpoint: client credentials for the Management API, and the
// password grant of a realm.
func (s signIn) token(w http.ResponseWriter, r *http.Request) {
	form := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_ = json.NewDecoder(r.Body).Decode(&form)
	} else if err := r.ParseForm(); err == nil {
		for key := range r.PostForm {
			form[key] = r.PostForm.Get(key)
		}
	}
	if id, secret, ok := r.BasicAuth(); ok {
		form["client_id"], form["client_secret"] = id, secret
	}
	no := func(status int, code, text string) {
		reply(w, status, map[string]string{"error": code, "error_description": text})
	}
	public := form["client_id"] == PublicClient && form["client_secret"] == "" // it may exchange tokens and nothing else
	if !public && (form["client_id"] != s.options.ClientID || form["client_secret"] != s.options.ClientSecret) {
		no(401, "access_denied", "Unauthorized")
		return
	}
	if public && form["grant_type"] != tokenExchange {
		no(403, "unauthorized_client", "Grant type not allowed for the client.")
		return
	}
	switch form["grant_type"] {
	case "client_credentials":
		if want := "https://" + s.options.Domain + "/api/v2/"; form["audience"] != want {
			no(403, "access_denied", "Service not enabled within domain: "+form["audience"])
			return
		}
		reply(w, 200, map[string]any{
			"access_token": s.Token(), "token_type": "Bearer", "expires_in": int(s.options.TokenLife.Seconds()), "scope": strings.Join(gate(s).granted(), " "),
		})
	case "http://auth0.com/oauth/grant-type/password-realm":
		if form["realm"] != s.options.Connection.Name {
			no(403, "invalid_grant", "realm does not exist")
			return
		}
		u := s.find(form["username"])
		if u == nil || !s.VerifyPassword(u.ID, form["password"]) {
			no(403, "invalid_grant", "Wrong email or password.")
			return
		}
		switch {
		case u.Blocked:
			no(403, "unauthorized", "user is blocked")
		case len(u.factors) > 0 && !s.options.OTPDisabled:
			no(403, "mfa_required", "Multifactor authentication required")
		default:
			claims, _ := json.Marshal(map[string]any{"sub": u.ID, "email": u.Email})
			reply(w, 200, map[string]any{"access_token": newID("user-"), "token_type": "Bearer", "id_token": "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".e30"})
		}
	case tokenExchange:
		s.exchange(w, form, no)
	default:
		no(403, "unauthorized_client", "Grant type not allowed for the client.")
	}
}

// exchange is a custom token exchange profile, whose Action is the option's.
func (s signIn) exchange(w http.ResponseWriter, form map[string]string, no func(status int, code, text string)) {
	if s.options.Exchange == nil || form["subject_token_type"] != s.options.ExchangeType {
		no(400, "invalid_request", "no profile for this subject_token_type")
		return
	}
	if form["subject_token"] == "" {
		no(400, "invalid_request", "subject_token is missing")
		return
	}
	id, refusal := s.options.Exchange(form["subject_token"])
	if refusal != "" {
		no(400, "invalid_request", refusal)
		return
	}
	u, there := s.Users()[id]
	if !there {
		no(400, "invalid_request", "user not found")
		return
	}
	if u.Blocked {
		no(403, "unauthorized", "user is blocked")
		return
	}
	claims, _ := json.Marshal(map[string]any{"sub": id, "aud": form["client_id"]})
	reply(w, 200, map[string]any{
		"access_token": newID("user-"), "token_type": "Bearer", "expires_in": 86400, "scope": form["scope"],
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "id_token": "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".e30",
	})
}

// Token returns a token for the Management API, as the dashboard shows one.
func (s *Server) Token() string {
	token := "mgmt-" + newID("")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = time.Now().Add(s.options.TokenLife)
	return token
}

// find returns a copy of the user with an address or name.
func (s signIn) find(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobDesk(s).advance(time.Now())
	for _, u := range s.users {
		if u.Connection == s.options.Connection.Name && (u.Email == strings.ToLower(name) || (u.Username != "" && u.Username == strings.ToLower(name))) {
			c := *u
			return &c
		}
	}
	return nil
}

// StoredHash is what the tenant has as the password of a user, which no API shows.
func (s *Server) StoredHash(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobDesk{s}.advance(time.Now())
	if u := s.users[id]; u != nil {
		return u.hash
	}
	return ""
}

// VerifyPassword is a sign-in: it really evaluates the hash, and replaces an imported
// one by Auth0's own as the first sign-in does. It may be called concurrently.
func (s *Server) VerifyPassword(id, password string) bool {
	hash := s.StoredHash(id)
	right := hash != "" && verify(hash, password)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[id]
	switch {
	case u == nil || u.hash != hash && right:
		return false
	case !right:
		if u.custom {
			s.log("fp", "Password change required", map[string]any{"user": id, "error": "Verification failed for the provided custom_password_hash"})
		}
		return false
	}
	u.Logins++
	if u.custom {
		own, err := bcrypt.GenerateFromPassword([]byte(password)[:min(len(password), 72)], bcrypt.MinCost)
		if err == nil {
			u.hash, u.custom = string(own), false
		}
	}
	return true
}

// Package idp is Acme, a made-up identity provider with a REST API, for tests. It is
// strict: what a real one would refuse, it refuses.
package idp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// User is what the API reads and, except for the hash, shows.
type User struct {
	ID            string `json:"id,omitempty"`
	ExternalID    string `json:"external_id"`
	Username      string `json:"username"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	GivenName     string `json:"given_name"`
	FamilyName    string `json:"family_name"`
	Disabled      bool   `json:"disabled"`
	PasswordHash  string `json:"password_hash,omitempty"`
}

// Server is an [http.Handler] that keeps users in memory. It does not prevent two
// users with the same external id: that is the business of who loads them.
type Server struct {
	token string
	mux   *http.ServeMux

	mu    sync.Mutex
	last  int
	users []User
}

// New returns a server that accepts one token.
func New(token string) *Server {
	s := &Server{token: token, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /users", s.search)
	s.mux.HandleFunc("POST /users", s.create)
	s.mux.HandleFunc("GET /users/{id}", s.read)
	s.mux.HandleFunc("PUT /users/{id}", s.replace)
	s.mux.HandleFunc("DELETE /users/{id}", s.remove)
	s.mux.HandleFunc("POST /login", s.login)
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		refuse(w, http.StatusUnauthorized, "bad_token", "the token is not valid")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

// Users is what the server holds, in the order in which it was created.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.users)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message})
}

func show(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func shown(u User) User {
	u.PasswordHash = ""
	return u
}

func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	found, by := []User{}, r.URL.Query()
	for _, u := range s.users {
		if by.Has("external_id") && u.ExternalID == by.Get("external_id") || by.Has("username") && strings.EqualFold(u.Username, by.Get("username")) {
			found = append(found, shown(u))
		}
	}
	show(w, http.StatusOK, found)
}

// parse reads a user and applies the rules.
func (s *Server) parse(w http.ResponseWriter, r *http.Request, id string) (User, bool) {
	var u User
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&u); err != nil {
		refuse(w, http.StatusBadRequest, "bad_json", err.Error())
		return u, false
	}
	problem := ""
	switch {
	case u.ID != "":
		problem = "ids are given by the server"
	case u.ExternalID == "" || len(u.ExternalID) > 64 || strings.ContainsAny(u.ExternalID, "\x00\n"):
		problem = "external_id needs 1 to 64 printable letters"
	case u.Username == "" || len(u.Username) > 255:
		problem = "username needs 1 to 255 letters"
	case u.Email != "" && !strings.Contains(u.Email, "@"):
		problem = "email is no address"
	case len(u.GivenName) > 255 || len(u.FamilyName) > 255:
		problem = "names have 255 letters at most"
	}
	if _, err := bcrypt.Cost([]byte(u.PasswordHash)); u.PasswordHash != "" && err != nil {
		problem = "password_hash is no bcrypt"
	}
	if problem != "" {
		refuse(w, http.StatusUnprocessableEntity, "invalid", problem)
		return u, false
	}
	for _, other := range s.users {
		if other.ID != id && strings.EqualFold(other.Username, u.Username) {
			refuse(w, http.StatusConflict, "username_taken", "another user has this name")
			return u, false
		}
	}
	return u, true
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	u, ok := s.parse(w, r, "")
	if !ok {
		return
	}
	s.last++
	u.ID = fmt.Sprintf("usr_%06d", s.last)
	s.users = append(s.users, u)
	show(w, http.StatusCreated, shown(u))
}

// index finds the user of a request, and answers 404 when there is none.
func (s *Server) index(w http.ResponseWriter, r *http.Request) int {
	i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == r.PathValue("id") })
	if i < 0 {
		refuse(w, http.StatusNotFound, "not_found", "no such user")
	}
	return i
}

func (s *Server) read(w http.ResponseWriter, r *http.Request) {
	if i := s.index(w, r); i >= 0 {
		show(w, http.StatusOK, shown(s.users[i]))
	}
}

// replace keeps the hash where none is sent.
func (s *Server) replace(w http.ResponseWriter, r *http.Request) {
	i := s.index(w, r)
	if i < 0 {
		return
	}
	u, ok := s.parse(w, r, s.users[i].ID)
	if !ok {
		return
	}
	u.ID = s.users[i].ID
	if u.PasswordHash == "" {
		u.PasswordHash = s.users[i].PasswordHash
	}
	s.users[i] = u
	show(w, http.StatusOK, shown(u))
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	if i := s.index(w, r); i >= 0 {
		s.users = slices.Delete(s.users, i, i+1)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Username, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "bad_json", err.Error())
		return
	}
	for _, u := range s.users {
		if strings.EqualFold(u.Username, in.Username) && !u.Disabled && bcrypt.CompareHashAndPassword([]byte(u.PasswordHash), []byte(in.Password)) == nil {
			show(w, http.StatusOK, shown(u))
			return
		}
	}
	refuse(w, http.StatusUnauthorized, "wrong_password", "user name or password is wrong")
}

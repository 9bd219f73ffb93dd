package bridge

import (
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// hashers is how many password hashes are computed at once: they are made to be
// slow, and must not keep everything else from being served.
func hashers() int { return max(1, runtime.GOMAXPROCS(0)) }

// authenticated lets only the target ask. Guessing its token locks an address out.
func (s *Server) authenticated(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		client := s.guard.client(r)
		if s.guard.locked(w, r, surfaceClient, client) {
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") || !sameSecret(token, s.config.Lazy.Token.Reveal()) {
			s.guard.failed(r, surfaceClient, client)
			s.audit.event(r, surfaceLazy, outcomeRefused, "", reason("not the token of the target"))
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// candidate finds a user whose password the target could not take. Others are
// nobody here: the endpoint is no oracle for all passwords.
func (s *Server) candidate(r *http.Request, name string) (cutover.Candidate, error) {
	c, err := s.o.DB.Candidate(r.Context(), s.config.Tenant, name)
	if err == nil && !slices.Contains(s.schemes(), c.Hash.Scheme) {
		return cutover.Candidate{}, session.ErrNoUser
	}
	return c, err
}

// check verifies a password; false also for nobody, after as long.
func (s *Server) check(w http.ResponseWriter, r *http.Request, name, password string) (cutover.Candidate, bool) {
	c, err := s.candidate(r, name)
	if err != nil && !errors.Is(err, session.ErrNoUser) {
		s.broken(w, r, err)
		return c, false
	}
	// Failures are the account's, by whatever name it is asked for.
	subject := strings.ToLower(strings.TrimSpace(name))
	if err == nil {
		subject = "account " + c.User.InternalID
	}
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-r.Context().Done():
		return c, false
	}
	// Not before it is this one's turn: of many guesses at once, those that came
	// to wait together must not all be tried.
	if s.guard.locked(w, r, surfaceLazy, subject) {
		return c, false
	}
	good, err := s.o.DB.CheckPassword(c, canonical.NewSecret(password), s.schemes()[0])
	switch {
	case err != nil:
		s.audit.event(r, surfaceLazy, outcomeFailed, c.User.ID)
		s.broken(w, r, err)
	case !good:
		s.guard.failed(r, surfaceLazy, subject)
		s.audit.event(r, surfaceLazy, outcomeRefused, c.User.ID, reason("wrong password, or nobody"))
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
	default:
		if err := errors.Join(s.o.DB.Arrived(r.Context(), c.User), s.o.DB.Succeed(r.Context(), surfaceLazy, subject)); err != nil {
			s.broken(w, r, err)
			return c, false
		}
		s.audit.event(r, surfaceLazy, outcomeDone, c.User.ID)
		return c, true
	}
	return c, false
}

// lazyCounts says how many have come over and how many are to come.
func (s *Server) lazyCounts(w http.ResponseWriter, r *http.Request) {
	waiting, arrived, err := s.o.DB.Waiting(r.Context(), s.schemes())
	if err != nil {
		s.broken(w, r, err)
		return
	}
	answerJSON(w, http.StatusOK, map[string]int{"waiting": waiting, "arrived": arrived})
}

// keycloakName is the last part of the path, an address or an id.
func (s *Server) keycloakName(r *http.Request) string {
	name := strings.TrimPrefix(r.URL.EscapedPath(), s.base+"/lazy/keycloak/")
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return ""
}

// maxKeycloakID is the length of its id column.
const maxKeycloakID = 36

// lazyKeycloakUser answers GET of the REST contract of Keycloak's user migration
// providers.
func (s *Server) lazyKeycloakUser(w http.ResponseWriter, r *http.Request) {
	c, err := s.candidate(r, s.keycloakName(r))
	switch {
	case errors.Is(err, session.ErrNoUser):
		http.Error(w, "no such user", http.StatusNotFound)
	case err != nil:
		s.broken(w, r, err)
	default:
		user := map[string]any{"username": c.Email, "email": c.Email, "emailVerified": c.Verified, "enabled": true}
		if len(c.User.ID) <= maxKeycloakID {
			user["id"] = c.User.ID
		}
		answerJSON(w, http.StatusOK, user)
	}
}

// lazyKeycloakLogin answers POST of the same contract: 200 is yes.
func (s *Server) lazyKeycloakLogin(w http.ResponseWriter, r *http.Request) {
	var in struct{ Password string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	if _, ok := s.check(w, r, s.keycloakName(r), in.Password); ok {
		answerJSON(w, http.StatusOK, map[string]any{})
	}
}

// auth0Profile is what a custom database script hands to its callback. Auth0 puts
// its prefix before the id, also where applications came from there and have it.
func auth0Profile(c cutover.Candidate) map[string]any {
	return map[string]any{"user_id": strings.TrimPrefix(c.User.ID, "auth0|"), "email": c.Email, "email_verified": c.Verified}
}

// lazyAuth0Login is for the login script of an Auth0 custom database.
func (s *Server) lazyAuth0Login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email, Password string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	if c, ok := s.check(w, r, in.Email, in.Password); ok {
		answerJSON(w, http.StatusOK, auth0Profile(c))
	}
}

// lazyAuth0User is for its getUser script.
func (s *Server) lazyAuth0User(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	c, err := s.candidate(r, in.Email)
	switch {
	case errors.Is(err, session.ErrNoUser):
		http.Error(w, "no such user", http.StatusNotFound)
	case err != nil:
		s.broken(w, r, err)
	default:
		answerJSON(w, http.StatusOK, auth0Profile(c))
	}
}

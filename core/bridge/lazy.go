package bridge

import (
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// hashers is how many password hashes are computed at once: they are made to be
// slow, and must not keep everything else from being served.
func hashers() int { return max(1, runtime.GOMAXPROCS(0)) }

// lazyCheck checks passwords for a target that could not take their hashes.
type lazyCheck struct {
	*common
	contracts []LazyContract
	hashing   chan struct{} // bounds how many password hashes are computed at once
}

func (l *lazyCheck) routes(to *router, base string) {
	if l.config.Lazy.Token.IsZero() {
		return
	}
	to.add(base+"/lazy", route{http.MethodGet: l.authenticated(l.counts)})
	for _, c := range l.contracts {
		c.serve(l, to, base+"/lazy/"+c.Name)
	}
}

// schemes are the hashes of the passwords that are checked.
func schemes(c config.BridgeLazy) (out []canonical.Scheme) {
	for _, name := range c.Schemes {
		out = append(out, canonical.Scheme(name))
	}
	return out
}

// authenticated lets only the target ask. Guessing its token locks an address out, for
// this and nothing else.
func (l *lazyCheck) authenticated(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		client := l.guard.client(r)
		if l.guard.locked(w, r, surfaceToken, client) {
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") || !sameSecret(token, l.config.Lazy.Token.Reveal()) {
			l.guard.failed(r, surfaceToken, client)
			l.audit.event(r, surfaceLazy, outcomeRefused, "", reason("not the token of the target"))
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// candidate finds a user whose password the target could not take. Others are
// nobody here: the endpoint is no oracle for all passwords.
func (l *lazyCheck) candidate(r *http.Request, name string) (cutover.Candidate, error) {
	c, err := l.db.Passwords.Candidate(r.Context(), l.config.Tenant, name)
	if err == nil && !slices.Contains(schemes(l.config.Lazy), c.Hash.Scheme) {
		return cutover.Candidate{}, session.ErrNoUser
	}
	return c, err
}

// nobody is who failures count for where there is no account.
func nobody(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// check verifies a password; false also for nobody, after as long.
func (l *lazyCheck) check(w http.ResponseWriter, r *http.Request, name, password string) (cutover.Candidate, bool) {
	c, err := l.candidate(r, name)
	if err != nil && !errors.Is(err, session.ErrNoUser) {
		l.broken(w, r, err)
		return c, false
	}
	// Failures are the account's, by whatever name it is asked for.
	subject := nobody(name)
	if err == nil {
		subject = cutover.AccountSubject(c.User.InternalID)
	}
	select {
	case l.hashing <- struct{}{}:
		defer func() { <-l.hashing }()
	case <-r.Context().Done():
		return c, false
	}
	// Not before it is this one's turn: of many guesses at once, those that came
	// to wait together must not all be tried.
	if l.guard.locked(w, r, surfaceLazy, subject) {
		return c, false
	}
	good, err := l.db.Passwords.Check(c, canonical.NewSecret(password), schemes(l.config.Lazy)[0])
	switch {
	case err != nil:
		l.audit.event(r, surfaceLazy, outcomeFailed, c.User.ID)
		l.broken(w, r, err)
	case !good:
		l.guard.failed(r, surfaceLazy, subject)
		l.audit.event(r, surfaceLazy, outcomeRefused, c.User.ID, reason("wrong password, or nobody"))
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
	default:
		if err := errors.Join(l.db.Passwords.Arrived(r.Context(), c.User), l.db.Failures.Succeed(r.Context(), surfaceLazy, subject)); err != nil {
			l.broken(w, r, err)
			return c, false
		}
		l.audit.event(r, surfaceLazy, outcomeDone, c.User.ID)
		return c, true
	}
	return c, false
}

// counts says how many have come over and how many are to come.
func (l *lazyCheck) counts(w http.ResponseWriter, r *http.Request) {
	waiting, arrived, err := l.db.Passwords.Waiting(r.Context(), schemes(l.config.Lazy))
	if err != nil {
		l.broken(w, r, err)
		return
	}
	answerJSON(w, http.StatusOK, map[string]int{"waiting": waiting, "arrived": arrived})
}

// LazyContract is how the servers of a target ask whether a password is right: the
// address and the shape of questions and answers, which somebody else has fixed.
type LazyContract struct {
	// Name is a part of its address, below lazy/.
	Name string
	// Form says what questions and answers look like.
	Form LazyForm
	// Holds reports whether the target can keep an id. One that it cannot is not given,
	// and the target makes one of its own. Nil keeps every id. [UserInBody] takes no notice:
	// its answers are about a user who has an id.
	Holds func(id string) bool
	// OwnPrefix is what the target puts before ids by itself, also where applications
	// came from there and have it.
	OwnPrefix string
}

// LazyForm is the form of a [LazyContract].
type LazyForm uint8

// The forms.
const (
	// UserInPath asks GET lazy/NAME/USER for the user, and POST there with a password.
	UserInPath LazyForm = iota
	// UserInBody asks POST lazy/NAME/user for the user, and POST lazy/NAME with a password.
	UserInBody
)

// serve adds the routes of c, at an address.
func (c LazyContract) serve(l *lazyCheck, to *router, at string) {
	switch c.Form {
	case UserInPath:
		p := lazyPath{l, c, at + "/"}
		to.below(p.prefix, route{http.MethodGet: l.authenticated(p.user), http.MethodPost: l.authenticated(p.login)})
	case UserInBody:
		b := lazyBody{l, c}
		to.add(at, route{http.MethodPost: l.authenticated(b.login)})
		to.add(at+"/user", route{http.MethodPost: l.authenticated(b.user)})
	}
}

// lookUp finds the user of a question, or answers it.
func (l *lazyCheck) lookUp(w http.ResponseWriter, r *http.Request, name string) (cutover.Candidate, bool) {
	c, err := l.candidate(r, name)
	switch {
	case errors.Is(err, session.ErrNoUser):
		http.Error(w, "no such user", http.StatusNotFound)
	case err != nil:
		l.broken(w, r, err)
	}
	return c, err == nil
}

// lazyPath answers contracts of the form [UserInPath].
type lazyPath struct {
	*lazyCheck
	contract LazyContract
	prefix   string
}

// name is the last part of the path, an address or an id.
func (p lazyPath) name(r *http.Request) string {
	if plain, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), p.prefix)); err == nil {
		return plain
	}
	return ""
}

func (p lazyPath) user(w http.ResponseWriter, r *http.Request) {
	c, ok := p.lookUp(w, r, p.name(r))
	if !ok {
		return
	}
	user := map[string]any{"username": c.Email, "email": c.Email, "emailVerified": c.Verified, "enabled": true}
	if p.contract.Holds == nil || p.contract.Holds(c.User.ID) {
		user["id"] = c.User.ID
	}
	answerJSON(w, http.StatusOK, user)
}

// login says yes with 200.
func (p lazyPath) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Password string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	if _, ok := p.check(w, r, p.name(r), in.Password); ok {
		answerJSON(w, http.StatusOK, map[string]any{})
	}
}

// lazyBody answers contracts of the form [UserInBody].
type lazyBody struct {
	*lazyCheck
	contract LazyContract
}

func (b lazyBody) profile(c cutover.Candidate) map[string]any {
	return map[string]any{"user_id": strings.TrimPrefix(c.User.ID, b.contract.OwnPrefix), "email": c.Email, "email_verified": c.Verified}
}

func (b lazyBody) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email, Password string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	if c, ok := b.check(w, r, in.Email, in.Password); ok {
		answerJSON(w, http.StatusOK, b.profile(c))
	}
}

func (b lazyBody) user(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email string }
	if err := decodeJSON(r, &in); err != nil {
		http.Error(w, "expected JSON", http.StatusBadRequest)
		return
	}
	if c, ok := b.lookUp(w, r, in.Email); ok {
		answerJSON(w, http.StatusOK, b.profile(c))
	}
}

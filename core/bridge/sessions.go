package bridge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// sessions finds the session of SuperTokens that a request presents.
type sessions struct{ *common }

// presented are the tokens that came with a request.
type presented struct{ access, refresh []string }

// maxPresented bounds the work that one request can make. Browsers have two
// cookies of each kind where SuperTokens' domain settings were changed once.
const maxPresented = 8

// ofBrowser are the tokens that a browser sent.
func (s sessions) ofBrowser(r *http.Request) (p presented) {
	for _, c := range r.Cookies() {
		switch {
		case c.Value == "" || len(p.access)+len(p.refresh) == maxPresented:
		case slices.Contains(s.config.Cookies.Access, c.Name):
			p.access = append(p.access, cookieText(c.Value))
		case slices.Contains(s.config.Cookies.Refresh, c.Name):
			p.refresh = append(p.refresh, cookieText(c.Value))
		}
	}
	return p
}

// errNoSession is for a browser that presents nothing.
var errNoSession = errors.New("no session was presented")

// verify finds a live session behind any of the tokens, and whose it is. Access
// tokens come first; a browser that was away has only a refresh token that is
// still good.
func (s sessions) verify(ctx context.Context, p presented) (session.Session, session.User, error) {
	store := s.db.Sessions()
	err := errNoSession
	for _, try := range []struct {
		tokens []string
		verify func(context.Context, string, session.Check) (session.Session, error)
	}{{p.access, store.VerifyAccess}, {p.refresh, store.VerifyRefresh}} {
		for _, token := range try.tokens {
			found, e := try.verify(ctx, token, session.Check{Claims: s.config.RequiredClaims, Present: s.config.ClaimsNamed})
			if e == nil {
				u, e := store.User(ctx, found)
				if e == nil {
					return found, u, nil
				}
				err = e
				continue
			}
			if errors.Is(err, errNoSession) || !refusal(e) {
				err = e
			}
		}
	}
	return session.Session{}, session.User{}, err
}

// refusal tells whether an error is about what was presented, not about the
// database.
func refusal(err error) bool {
	for _, e := range []error{
		errNoSession, session.ErrMalformed, session.ErrSignature, session.ErrExpired, session.ErrRevoked, session.ErrReplaced,
		session.ErrAntiCSRF, session.ErrTenant, session.ErrClaim, session.ErrNoUser, cutover.ErrNoLogin, cutover.ErrNoLink, cutover.ErrNoTicket, errNotLoaded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// cookieText undoes the percent encoding that some of SuperTokens' libraries put
// on cookie values.
func cookieText(value string) string {
	if plain, err := url.QueryUnescape(strings.ReplaceAll(value, "+", "%2B")); err == nil {
		return plain
	}
	return value
}

package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// ErrNoLogin is for a code that is unknown, used or too old.
var ErrNoLogin = errors.New("no such login, or it is over")

// codeAge is how long a code waits for its client.
const codeAge = time.Minute

// Login is a login that is on its way to a client.
type Login struct {
	// Request is the client's, as JSON; the database gives it back unread.
	Request json.RawMessage
	Session session.Session
	// UserID is the visible id of the account.
	UserID string
}

// Logins are on their way from a session to a client.
type Logins struct {
	*database
	sweep, tickets sweep
}

// Issue keeps a login under its code. The session stays as it is, and may have
// several codes out: a browser has several tabs. [Logins.Redeem] decides which of
// them counts.
func (s *Logins) Issue(ctx context.Context, code string, l Login) error {
	now := s.now()
	if s.sweep.due(now, codeAge) {
		if _, err := s.db.Exec(ctx, "DELETE FROM "+s.own.table("code")+" WHERE expires_ms < $1", now.UnixMilli()); err != nil {
			return fmt.Errorf("forget old codes: %w", err)
		}
	}
	_, err := s.db.Exec(ctx, "INSERT INTO "+s.own.table("code")+
		" (code_hash, app_id, request, expires_ms, session_handle, tenant_id, user_id) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		digest(code), s.app, string(l.Request), now.Add(codeAge).UnixMilli(), l.Session.Handle, l.Session.Tenant, l.UserID)
	if err != nil {
		return fmt.Errorf("issue a code: %w", err)
	}
	return nil
}

// Get returns the login of a code that is still good, and changes nothing.
func (s *Logins) Get(ctx context.Context, code string) (Login, error) {
	var l Login
	var request string
	found, err := s.row(ctx, []*string{&request, &l.Session.Handle, &l.Session.Tenant, &l.UserID},
		"SELECT request, session_handle, tenant_id, user_id FROM "+s.own.table("code")+" WHERE code_hash = $1 AND app_id = $2 AND expires_ms > $3",
		digest(code), s.app, s.now().UnixMilli())
	switch {
	case err != nil:
		return Login{}, fmt.Errorf("read a login: %w", err)
	case !found:
		return Login{}, ErrNoLogin
	}
	l.Request = json.RawMessage(request)
	return l, nil
}

// Redeem takes a code and revokes the session that it was issued for, both or
// neither. Of all codes of a session, whatever instances issued and redeem them, one
// can be redeemed, once; the others get [ErrNoLogin], [session.ErrRevoked], or
// [ErrBusy] while another one is at it.
func (s *Logins) Redeem(ctx context.Context, code string, from session.Session) error {
	return s.once(ctx, func(tx supertokens.Statements) error {
		taken, err := tx.Exec(ctx, "DELETE FROM "+s.own.table("code")+" WHERE code_hash = $1 AND app_id = $2 AND session_handle = $3 AND tenant_id = $4 AND expires_ms > $5",
			digest(code), s.app, from.Handle, from.Tenant, s.now().UnixMilli())
		switch {
		case err != nil:
			return fmt.Errorf("redeem a code: %w", err)
		case taken == 0:
			return ErrNoLogin
		}
		return s.sessions.Revoke(ctx, tx, from)
	})
}

// End revokes a session whose owner has signed out.
func (s *Logins) End(ctx context.Context, which session.Session) error {
	return s.Exchange(ctx, which, func() error { return nil })
}

// Exchange revokes a session and has do use it, both or neither: when do fails,
// the session stays. Others that present the same session meanwhile wait for a
// while, and get [session.ErrRevoked] when do has succeeded, or [ErrBusy].
func (s *Logins) Exchange(ctx context.Context, from session.Session, do func() error) error {
	return s.once(ctx, func(tx supertokens.Statements) error {
		if err := s.sessions.Revoke(ctx, tx, from); err != nil {
			return err
		}
		return do()
	})
}

// sweep says when it is time again to delete what has no use any more.
type sweep struct {
	mu   sync.Mutex
	last time.Time
}

func (s *sweep) due(now time.Time, every time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) < every {
		return false
	}
	s.last = now
	return true
}

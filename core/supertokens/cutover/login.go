package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/supertokens/session"
)

// ErrNoLogin is for a login or a code that is unknown, used or too old.
var ErrNoLogin = errors.New("no such login, or it is over")

// How long a login may take, and a code wait for its client.
const (
	loginAge = 5 * time.Minute
	codeAge  = time.Minute
)

// Login is a login that is on its way to a client.
type Login struct {
	ID string
	// Request is the client's, as JSON; the database gives it back unread.
	Request json.RawMessage
	Session session.Session
	// UserID is the visible id of the account.
	UserID string
	// Issued is when a code was issued, zero before.
	Issued time.Time
}

// Logins are on their way from a session to a client.
type Logins struct{ *database }

// Begin remembers a login. Its session stays as it is.
func (s *Logins) Begin(ctx context.Context, l Login) error {
	now := s.now()
	if _, err := s.pool.Exec(ctx, "DELETE FROM "+s.own("login")+" WHERE expires_ms < $1", now.UnixMilli()); err != nil {
		return fmt.Errorf("forget old logins: %w", err)
	}
	_, err := s.pool.Exec(ctx, "INSERT INTO "+s.own("login")+
		" (app_id, id, request, expires_ms, session_handle, tenant_id, user_id) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		s.app, l.ID, string(l.Request), now.Add(loginAge).UnixMilli(), l.Session.Handle, l.Session.Tenant, l.UserID)
	if err != nil {
		return fmt.Errorf("remember a login: %w", err)
	}
	return nil
}

const loginColumns = "id, request::text, session_handle, tenant_id, user_id, coalesce(auth_ms, 0)"

func scanLogin(row pgx.Row) (l Login, err error) {
	var request string
	var issued int64
	switch err := row.Scan(&l.ID, &request, &l.Session.Handle, &l.Session.Tenant, &l.UserID, &issued); {
	case errors.Is(err, pgx.ErrNoRows):
		return Login{}, ErrNoLogin
	case err != nil:
		return Login{}, fmt.Errorf("read a login: %w", err)
	}
	l.Request = json.RawMessage(request)
	if issued > 0 {
		l.Issued = time.UnixMilli(issued)
	}
	return l, nil
}

// Get returns a login that has begun.
func (s *Logins) Get(ctx context.Context, id string) (Login, error) {
	if !storable(id) {
		return Login{}, ErrNoLogin
	}
	return scanLogin(s.pool.QueryRow(ctx, "SELECT "+loginColumns+" FROM "+s.own("login")+" WHERE app_id = $1 AND id = $2 AND expires_ms > $3",
		s.app, id, s.now().UnixMilli()))
}

// Issue revokes the session of a login and attaches the code to it, both or
// neither. Of all attempts with one session, whatever instance serves them, one
// succeeds; the others get [session.ErrRevoked], or [ErrBusy] while another one
// is at it. The login is returned also with
// that error.
func (s *Logins) Issue(ctx context.Context, id, code string) (l Login, err error) {
	err = s.once(ctx, func(tx pgx.Tx) (err error) {
		now := s.now()
		l, err = scanLogin(tx.QueryRow(ctx, "UPDATE "+s.own("login")+
			" SET code_hash = $1, auth_ms = $2, expires_ms = $3 WHERE app_id = $4 AND id = $5 AND expires_ms > $2 AND code_hash IS NULL RETURNING "+loginColumns,
			digest(code), now.UnixMilli(), now.Add(codeAge).UnixMilli(), s.app, id))
		if err != nil {
			return err
		}
		return s.sessions.Revoke(ctx, tx, l.Session)
	})
	return l, err
}

// Redeem takes the code of a login, once.
func (s *Logins) Redeem(ctx context.Context, code string) (Login, error) {
	return scanLogin(s.pool.QueryRow(ctx, "DELETE FROM "+s.own("login")+" WHERE app_id = $1 AND code_hash = $2 AND expires_ms > $3 RETURNING "+loginColumns,
		s.app, digest(code), s.now().UnixMilli()))
}

// Exchange revokes a session and has do use it, both or neither: when do fails,
// the session stays. Others that present the same session meanwhile wait for a
// while, and get [session.ErrRevoked] when do has succeeded, or [ErrBusy].
func (s *Logins) Exchange(ctx context.Context, from session.Session, do func() error) error {
	return s.once(ctx, func(tx pgx.Tx) error {
		if err := s.sessions.Revoke(ctx, tx, from); err != nil {
			return err
		}
		return do()
	})
}

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stetl/stetl/core/supertokens"
)

// Check says what beside the token itself must hold.
type Check struct {
	// Tenant, when not empty, must be the session's.
	Tenant string
	// RequireAntiCSRF refuses a session that has an anti-CSRF token unless
	// AntiCSRF is that token. SuperTokens requires it of every request that is
	// not a GET and comes with cookies.
	RequireAntiCSRF bool
	AntiCSRF        string
	// Claims are names of session claims whose value, where a session has them,
	// must not be false. Nil stands for st-mfa, the claim of several factors, so that a
	// session that waits for its second factor is refused; an empty slice for none.
	Claims []string
	// Present refuses a session that lacks one of Claims, too.
	Present bool
}

// claimMFA is the claim of SuperTokens' recipe for several factors.
const claimMFA = "st-mfa"

// Session is a session that was there when it was verified.
type Session struct {
	Handle string
	Tenant string
	// RowUserID is the user id of the row: the visible id of the login method
	// that started the session. [Store.User] says whose account that is.
	RowUserID string
	// Version is that of the access token, 0 for a refresh token.
	Version int
	// Current tells whether the token is of the latest pair. An access token
	// stays good until it expires even when the session has been refreshed since.
	Current bool
	// Expires is when the session, not the token, ends.
	Expires time.Time
	// Created is when the session began.
	Created time.Time
}

// VerifyAccess verifies an access token of any version against the database.
func (s *Store) VerifyAccess(ctx context.Context, token string, check Check) (Session, error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return Session{}, err
	}
	c, err := keys.parseAccess(token)
	if errors.Is(err, ErrSignature) { // perhaps by a key made since
		fresh, loadErr := s.keysNewerThan(ctx, keysMinAge)
		if loadErr != nil {
			return Session{}, loadErr
		}
		if fresh != keys {
			c, err = fresh.parseAccess(token)
		}
	}
	switch {
	case errors.Is(err, ErrSignature) && saysExpired(token, s.now()):
		return Session{}, fmt.Errorf("access token: %w", ErrExpired)
	case err != nil:
		return Session{}, err
	case !s.now().Before(c.expires):
		return Session{}, fmt.Errorf("access token: %w", ErrExpired)
	case check.Tenant != "" && check.Tenant != c.tenant:
		return Session{}, ErrTenant
	case check.RequireAntiCSRF && c.antiCSRF != "" && !equal(c.antiCSRF, check.AntiCSRF):
		return Session{}, ErrAntiCSRF
	case !storable(c.tenant, c.handle, c.userID, c.recipeID):
		return Session{}, ErrMalformed
	}
	r, err := s.row(ctx, c.tenant, c.handle)
	if err != nil {
		return Session{}, err
	}
	if err := r.good(s.now(), check); err != nil {
		return Session{}, err
	}
	// From V5 on sub names the account and rsub the login method, as the row does.
	// Other ids of the same account mean that it was linked, or got an external
	// id, since the session began.
	if c.userID != r.userID && c.recipeID != r.userID {
		same, err := s.sameAccount(ctx, c.userID, r.userID)
		if err != nil {
			return Session{}, err
		}
		if !same {
			return Session{}, ErrRevoked
		}
	}
	found := r.session(c.handle, c.tenant)
	found.Version = c.version
	found.Current = equal(r.hash2, hashHex(c.hash)) || c.parent != "" && equal(r.hash2, hashHex(c.parent))
	return found, nil
}

// VerifyRefresh verifies a refresh token: it decrypts, its session is there, and
// it is the latest one, or the one that the latest was exchanged for and nobody
// has used yet. Unlike a core, it does not end a session whose old token is
// presented.
func (s *Store) VerifyRefresh(ctx context.Context, token string, check Check) (Session, error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return Session{}, err
	}
	c, err := keys.parseRefresh(token)
	if err != nil {
		return Session{}, err
	}
	tenant := publicTenant
	if c.Tenant != nil {
		tenant = *c.Tenant
	}
	switch {
	case check.Tenant != "" && check.Tenant != tenant:
		return Session{}, ErrTenant
	case check.RequireAntiCSRF && text(c.AntiCSRF) != "" && !equal(text(c.AntiCSRF), check.AntiCSRF):
		return Session{}, ErrAntiCSRF
	case !storable(tenant, c.Handle):
		return Session{}, ErrMalformed
	}
	r, err := s.row(ctx, tenant, c.Handle)
	if err != nil {
		return Session{}, err
	}
	if err := r.good(s.now(), check); err != nil {
		return Session{}, err
	}
	own, parent := hashHex(c.hash), ""
	if p := text(c.Parent); p != "" {
		parent = hashHex(p)
	}
	switch {
	case equal(r.hash2, own), parent != "" && equal(r.hash2, parent):
	case r.previous != "" && equal(r.previous, own) && s.now().Sub(r.rotated) < graceOfPrevious:
	default:
		return Session{}, ErrReplaced
	}
	found := r.session(c.Handle, tenant)
	found.Current = true
	return found, nil
}

// storable tells whether PostgreSQL takes such texts at all: no row has others.
func storable(texts ...string) bool {
	for _, t := range texts {
		if !utf8.ValidString(t) || strings.Contains(t, "\x00") {
			return false
		}
	}
	return true
}

// graceOfPrevious is how long core 12.1 accepts the refresh token before the
// latest.
const graceOfPrevious = 30 * time.Second

// row is a row of session_info.
type row struct {
	userID           string
	hash2            string
	expires, created time.Time
	previous         string
	rotated          time.Time
	payload          string // JSON of the claims
}

// good checks what does not depend on the token.
func (r row) good(now time.Time, check Check) error {
	if !now.Before(r.expires) {
		return fmt.Errorf("session: %w", ErrExpired)
	}
	names := check.Claims
	if names == nil {
		names = []string{claimMFA}
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal([]byte(r.payload), &claims) != nil {
		claims = nil // no claims that could be false
	}
	for _, name := range names {
		value, there := claimValue(claims[name])
		if value == "false" || check.Present && !there {
			return fmt.Errorf("%s: %w", name, ErrClaim)
		}
	}
	return nil
}

// claimValue is the value of a claim, which SuperTokens' own recipes wrap.
func claimValue(claim json.RawMessage) (value string, there bool) {
	var wrapped struct {
		Value json.RawMessage `json:"v"`
	}
	if json.Unmarshal(claim, &wrapped) == nil && wrapped.Value != nil {
		claim = wrapped.Value
	}
	return string(claim), len(claim) > 0 && string(claim) != "null"
}

func (r row) session(handle, tenant string) Session {
	return Session{Handle: handle, Tenant: tenant, RowUserID: r.userID, Expires: r.expires, Created: r.created}
}

func (s *Store) row(ctx context.Context, tenant, handle string) (r row, err error) {
	err = ErrRevoked
	columns := []string{columnUser, "refresh_token_hash_2", "expires_at", "created_at_time", "prev_refresh_token_hash_2", "refresh_token_rotated_at", "jwt_user_payload"}
	readErr := s.rows.Rows(ctx, s.sessionRows(tenant, handle, columns), func(v [][]byte) error {
		r = row{userID: string(v[0]), hash2: string(v[1]), expires: millis(string(v[2])), created: millis(string(v[3])), payload: string(v[6])}
		if s.sessions.Has(columns[4], columns[5]) {
			r.previous, r.rotated = string(v[4]), millis(string(v[5]))
		}
		err = nil
		return nil
	})
	if readErr != nil {
		return row{}, fmt.Errorf("look up a session: %w", readErr)
	}
	return r, err
}

// sessionRows asks for one session.
func (s *Store) sessionRows(tenant, handle string, columns []string) supertokens.RowQuery {
	q := s.query(s.sessions, columns, supertokens.RowMatch{Column: columnHandle, Values: []string{handle}})
	if s.sessions.Has("app_id", "tenant_id") {
		q.Where = append(q.Where, supertokens.RowMatch{Column: "tenant_id", Values: []string{tenant}})
	}
	return q
}

// Revoke deletes the session inside a transaction. It returns [ErrRevoked] when it was
// gone already, so that of two attempts only one goes on.
func (s *Store) Revoke(ctx context.Context, tx supertokens.Statements, which Session) error {
	where, args := s.sessions.Equals(columnHandle, 1), []any{which.Handle}
	if s.sessions.Has("app_id", "tenant_id") {
		where += " AND " + s.sessions.Equals("app_id", 2) + " AND " + s.sessions.Equals("tenant_id", 3)
		args = append(args, s.tables.App(), which.Tenant)
	}
	gone, err := tx.Exec(ctx, "DELETE FROM "+s.sessions.SQL()+" WHERE "+where, args...)
	switch {
	case err != nil:
		return fmt.Errorf("revoke a session: %w", err)
	case gone == 0:
		return ErrRevoked
	default:
		return nil
	}
}

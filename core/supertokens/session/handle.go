package session

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ByHandle finds a session by its handle, which operators and applications know, and checks
// everything but a token. [ErrRevoked] is for one that is not there.
func ByHandle(ctx context.Context, s *Store, handle string, check Check) (Session, error) {
	if !storable(handle) {
		return Session{}, ErrMalformed
	}
	tenants := []string{publicTenant}
	if s.sessions.Has("app_id", "tenant_id") {
		rows, err := s.pool.Query(ctx, "SELECT tenant_id FROM "+s.sessions.SQL()+" WHERE session_handle = $1 AND app_id = $2 ORDER BY tenant_id", handle, s.tables.App())
		if err == nil {
			tenants, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			return Session{}, fmt.Errorf("look up a session: %w", err)
		}
	}
	if len(tenants) == 0 {
		return Session{}, ErrRevoked
	}
	r, err := s.row(ctx, tenants[0], handle)
	if err == nil {
		err = r.good(s.now(), check)
	}
	return r.session(handle, tenants[0]), err
}

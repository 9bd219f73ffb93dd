package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/stetl/stetl/core/supertokens"
)

// ByHandle finds a session by its handle, which operators and applications know, and checks
// everything but a token. [ErrRevoked] is for one that is not there.
func ByHandle(ctx context.Context, s *Store, handle string, check Check) (Session, error) {
	if !storable(handle) {
		return Session{}, ErrMalformed
	}
	tenants := []string{publicTenant}
	if s.sessions.Has("app_id", "tenant_id") {
		tenants = nil
		q := s.query(s.sessions, []string{"tenant_id"}, supertokens.RowMatch{Column: columnHandle, Values: []string{handle}})
		err := s.rows.Rows(ctx, q, func(v [][]byte) error {
			tenants = append(tenants, string(v[0]))
			return nil
		})
		if err != nil {
			return Session{}, fmt.Errorf("look up a session: %w", err)
		}
	}
	if len(tenants) == 0 {
		return Session{}, ErrRevoked
	}
	slices.Sort(tenants)
	r, err := s.row(ctx, tenants[0], handle)
	if err == nil {
		err = r.good(s.now(), check)
	}
	return r.session(handle, tenants[0]), err
}

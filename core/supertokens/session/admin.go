package session

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/stetl/stetl/core/supertokens"
)

// Stats are what [ReadStats] counts.
type Stats struct {
	// Live and Expired count sessions; the core sweeps expired ones twice a day.
	Live    int `json:"live"`
	Expired int `json:"expired"`
	// Users counts distinct user ids of live sessions.
	Users int `json:"users"`
	// ByAge counts live sessions by the time since they began.
	ByAge []AgeCount `json:"by_age"`
	// ByTenant counts live sessions.
	ByTenant map[string]int `json:"by_tenant"`
	// Links that are in people's mailboxes.
	Reset  Outstanding `json:"reset_tokens"`
	Verify Outstanding `json:"verification_tokens"`
}

// AgeCount counts sessions younger than Under and not younger than the bucket
// before; the last bucket has no end.
type AgeCount struct {
	Under time.Duration `json:"-"`
	Label string        `json:"label"`
	Count int           `json:"count"`
}

// Outstanding counts one-time tokens.
type Outstanding struct {
	Live    int `json:"live"`
	Expired int `json:"expired"`
}

func ages() []AgeCount {
	const day = 24 * time.Hour
	return []AgeCount{
		{Under: day, Label: "under a day"},
		{Under: 7 * day, Label: "under a week"},
		{Under: 30 * day, Label: "under 30 days"},
		{Under: 100 * day, Label: "under 100 days"},
		{Label: "older"},
	}
}

// ReadStats counts the sessions and one-time tokens of the app, in a live
// database or a dump.
func ReadStats(ctx context.Context, tables *supertokens.Tables, now time.Time) (*Stats, error) {
	out := &Stats{ByAge: ages(), ByTenant: map[string]int{}}
	sessions, err := tables.Need(supertokens.SessionInfo)
	if err != nil {
		return nil, err
	}
	// Hashes of the ids, so that ten million sessions fit into memory.
	seed, users := maphash.MakeSeed(), map[uint64]struct{}{}
	columns := []string{"user_id", "expires_at", "created_at_time", "tenant_id"}
	err = tables.Scan(ctx, sessions, columns, func(v [][]byte) error {
		if !millis(string(v[1])).After(now) {
			out.Expired++
			return nil
		}
		out.Live++
		users[maphash.Bytes(seed, v[0])] = struct{}{}
		tenant := string(v[3])
		if v[3] == nil {
			tenant = publicTenant
		}
		out.ByTenant[tenant]++
		age := now.Sub(millis(string(v[2])))
		for i := range out.ByAge {
			if out.ByAge[i].Under == 0 || age < out.ByAge[i].Under {
				out.ByAge[i].Count++
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Users = len(users)
	for name, into := range map[supertokens.TableName]*Outstanding{
		supertokens.ResetTokens:            &out.Reset,
		supertokens.VerificationTokens:     &out.Verify,
		supertokens.VerificationTokensOf31: &out.Verify, // of core 3.1
	} {
		from, ok := tables.Table(name)
		if !ok {
			continue
		}
		if _, err := tables.Need(name); err != nil {
			return nil, err
		}
		err := tables.Scan(ctx, from, []string{"token_expiry"}, func(v [][]byte) error {
			if millis(string(v[0])).After(now) {
				into.Live++
			} else {
				into.Expired++
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Selection says which sessions to revoke: those of a user, of a tenant, or,
// when All is set, every one of the app.
type Selection struct {
	All    bool
	Tenant string
	UserID string // visible id of an account
}

// Check tells whether the selection says exactly one thing.
func (sel Selection) Check() error {
	chosen := 0
	for _, set := range []bool{sel.All, sel.Tenant != "", sel.UserID != ""} {
		if set {
			chosen++
		}
	}
	if chosen != 1 {
		return errors.New("choose the sessions of a user, of a tenant, or all")
	}
	return nil
}

// condition is the WHERE clause of the selection.
func (s *Store) condition(ctx context.Context, sel Selection) (string, []any, error) {
	if err := sel.Check(); err != nil {
		return "", nil, err
	}
	sql, args := " WHERE true", []any{}
	if s.sessions.Has("app_id") {
		sql, args = " WHERE "+s.sessions.Equals("app_id", 1), append(args, s.tables.App())
	}
	switch {
	case sel.Tenant != "":
		if !s.sessions.Has("tenant_id") {
			if sel.Tenant != publicTenant {
				return "", nil, fmt.Errorf("this SuperTokens has no tenants: %w", ErrTenant)
			}
			return sql, args, nil
		}
		args = append(args, sel.Tenant)
		sql += " AND " + s.sessions.Equals("tenant_id", len(args))
	case sel.UserID != "":
		u, err := s.UserByVisibleID(ctx, sel.UserID)
		ids := []string{sel.UserID} // sessions may be of a user that never existed
		switch {
		case errors.Is(err, ErrSharedID):
			return "", nil, fmt.Errorf("%w; choose the sessions by another id of the one that is meant", err)
		case err == nil:
			if ids, err = s.LoginIDs(ctx, u); err != nil {
				return "", nil, err
			}
		case !errors.Is(err, ErrNoUser):
			return "", nil, err
		}
		args = append(args, ids)
		sql += " AND " + s.sessions.AnyOf(columnUser, len(args))
	}
	return sql, args, nil
}

// Count says how many sessions the selection has, and of how many user ids.
func (s *Store) Count(ctx context.Context, sel Selection) (sessions, users int, err error) {
	where, args, err := s.condition(ctx, sel)
	if err != nil {
		return 0, 0, err
	}
	counts, err := supertokens.Counts(ctx, s.db, 2, "SELECT count(*), count(DISTINCT "+s.sessions.Exact(columnUser)+") FROM "+s.sessions.SQL()+where, args...)
	if err != nil {
		return 0, 0, fmt.Errorf("count sessions: %w", err)
	}
	return counts[0], counts[1], nil
}

// CountLive says how many sessions of the app have not expired.
func CountLive(ctx context.Context, s *Store) (live int, err error) {
	where, args, err := s.condition(ctx, Selection{All: true})
	if err != nil {
		return 0, err
	}
	args = append(args, s.Now().UnixMilli())
	counts, err := supertokens.Counts(ctx, s.db, 1, fmt.Sprintf("SELECT count(*) FROM %s%s AND expires_at > $%d", s.sessions.SQL(), where, len(args)), args...)
	if err != nil {
		return 0, fmt.Errorf("count live sessions: %w", err)
	}
	return counts[0], nil
}

// RevokeAll deletes the sessions of the selection and says how many there were.
func (s *Store) RevokeAll(ctx context.Context, sel Selection) (int, error) {
	where, args, err := s.condition(ctx, sel)
	if err != nil {
		return 0, err
	}
	ended, err := s.db.Exec(ctx, "DELETE FROM "+s.sessions.SQL()+where, args...)
	if err != nil {
		return 0, fmt.Errorf("revoke sessions: %w", err)
	}
	return ended, nil
}

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// saved is what the plugin of a target keeps from run to run.
type saved struct{ *scope }

// Saved implements [journal.Saved].
func (s saved) Saved(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := s.rows(ctx, func(rows pgx.Rows) error {
		var key string
		var value []byte
		err := rows.Scan(&key, &value)
		all[dec(key)] = value
		return err
	}, `SELECT key, value FROM stetl.saved WHERE scope = $1`, s.id)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Save implements [journal.Saved].
func (s saved) Save(_ context.Context, key string, value []byte) error {
	return s.write(marks{}, func(b *batch) {
		if value == nil {
			b.Queue(`DELETE FROM stetl.saved WHERE scope = $1 AND key = $2`, s.id, enc(key))
			return
		}
		b.Queue(`INSERT INTO stetl.saved VALUES ($1, $2, $3) ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value`, s.id, enc(key), value)
	})
}

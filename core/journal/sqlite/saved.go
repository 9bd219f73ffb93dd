package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"
)

// saved is what the plugin of a target keeps from run to run.
type saved struct{ *scope }

// Saved implements [journal.Saved].
func (s saved) Saved(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := s.j.rows(ctx, func(row *sqlite.Stmt) bool {
		all[row.ColumnText(0)] = blob(row, 1)
		return true
	}, `SELECT key, value FROM saved WHERE scope = ?`, s.id)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Save implements [journal.Saved].
func (s saved) Save(_ context.Context, key string, value []byte) error {
	return s.j.writer.write(func(w *writer) error {
		if value == nil {
			return w.exec(`DELETE FROM saved WHERE scope = ? AND key = ?`, s.id, key)
		}
		return w.exec(`INSERT INTO saved VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`, s.id, key, value)
	})
}

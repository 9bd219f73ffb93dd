package journal

import (
	"context"

	"zombiezen.com/go/sqlite"
)

// Saved is what the plugin of a target keeps from run to run.
type Saved struct{ *scoped }

// Saved returns what earlier runs saved.
func (s *Saved) Saved(ctx context.Context) (map[string][]byte, error) {
	saved := map[string][]byte{}
	err := s.j.rows(ctx, func(row *sqlite.Stmt) bool {
		saved[row.ColumnText(0)] = blob(row, 1)
		return true
	}, `SELECT key, value FROM saved WHERE scope = ?`, s.id)
	if err != nil {
		return nil, err
	}
	return saved, nil
}

// Save keeps a value under a key, which is durable when it returns
// nil. A nil value removes the key.
func (s *Saved) Save(_ context.Context, key string, value []byte) error {
	return s.j.writer.write(func(w *writer) error {
		if value == nil {
			return w.exec(`DELETE FROM saved WHERE scope = ? AND key = ?`, s.id, key)
		}
		return w.exec(`INSERT INTO saved VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`, s.id, key, value)
	})
}

package journal

import (
	"context"

	"zombiezen.com/go/sqlite"
)

// Payload is an account as it was when it was not loaded. The journal gets it
// encrypted to keys that it does not have.
type Payload struct {
	// Digest tells the account from what it is later.
	Digest    []byte
	Encrypted []byte
}

// KeepPayloads remembers accounts that were not loaded, in place of what is there of
// them, and forgets those that have been loaded since.
func (r *Rejects) KeepPayloads(payloads map[string]Payload) error {
	return r.j.writer.write(func(w *writer) error {
		for id, p := range payloads {
			const query = `INSERT INTO payload VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest, encrypted = excluded.encrypted`
			if err := w.exec(query, r.id, id, p.Digest, p.Encrypted); err != nil {
				return err
			}
		}
		return w.exec(`DELETE FROM payload WHERE scope = ? AND NOT EXISTS (SELECT 1 FROM account AS a
			WHERE a.scope = payload.scope AND a.source_id = payload.source_id AND `+sqlOpen+`)`, r.id)
	})
}

// Payload returns an account as it was when it was not loaded; false when it was not
// kept.
func (r *Rejects) Payload(ctx context.Context, sourceID string) (p Payload, ok bool, err error) {
	ok, err = r.j.first(ctx, func(row *sqlite.Stmt) { p = Payload{Digest: blob(row, 0), Encrypted: blob(row, 1)} },
		`SELECT digest, encrypted FROM payload WHERE scope = ? AND source_id = ?`, r.id, sourceID)
	return p, ok, err
}

package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
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
func (s *Scope) KeepPayloads(payloads map[string]Payload) error {
	return s.j.writer.write(func(ctx context.Context, w *writer) error {
		for id, p := range payloads {
			const query = `INSERT INTO payload VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest, encrypted = excluded.encrypted`
			if _, err := w.exec(ctx, query, s.id, id, p.Digest, p.Encrypted); err != nil {
				return err
			}
		}
		_, err := w.exec(ctx, `DELETE FROM payload WHERE scope = ? AND NOT EXISTS (SELECT 1 FROM account AS a
			WHERE a.scope = payload.scope AND a.source_id = payload.source_id AND (a.action IN ('rejected', 'in_doubt') OR a.in_doubt))`, s.id)
		return err
	})
}

// Payload returns an account as it was when it was not loaded; false when it was not
// kept.
func (s *Scope) Payload(ctx context.Context, sourceID string) (p Payload, ok bool, err error) {
	err = s.j.db.QueryRowContext(ctx, `SELECT digest, encrypted FROM payload WHERE scope = ? AND source_id = ?`, s.id, sourceID).Scan(&p.Digest, &p.Encrypted)
	switch {
	case errors.Is(err, sql.ErrNoRows), err != nil && strings.Contains(err.Error(), "no such table"):
		return Payload{}, false, nil
	case err != nil:
		return Payload{}, false, fmt.Errorf("read the journal: %w", err)
	}
	return p, true, nil
}

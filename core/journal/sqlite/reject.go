package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/journal"
)

// rejects are accounts that were not loaded, or not as a whole: why, and where that is
// wanted, what they were.
type rejects struct{ *scope }

// KeepReasons implements [journal.Rejects].
func (r rejects) KeepReasons(reasons map[string]journal.Reason) error {
	sealed, same := make(map[string][]byte, len(reasons)), map[string][]byte{}
	for id, reason := range reasons {
		raw, err := json.Marshal(reason)
		if err != nil {
			return fmt.Errorf("encode the reason of account %s: %w", id, err)
		}
		text := string(raw)
		if same[text] == nil { // encrypting is slow, and many accounts have one reason
			if same[text], err = r.j.seal.encrypt(r.j.dir, raw); err != nil {
				return fmt.Errorf("encrypt the reason of account %s: %w", id, err)
			}
		}
		sealed[id] = same[text]
	}
	return r.j.writer.write(func(w *writer) error {
		for id, raw := range sealed {
			if err := w.exec(`INSERT INTO reason VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET encrypted = excluded.encrypted`, r.id, id, raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reason implements [journal.Rejects].
func (r rejects) Reason(ctx context.Context, sourceID string) (journal.Reason, bool, error) {
	var sealed []byte
	found, err := r.j.first(ctx, func(row *sqlite.Stmt) { sealed = blob(row, 0) },
		`SELECT encrypted FROM reason WHERE scope = ? AND source_id = ?`, r.id, sourceID)
	if err != nil || !found {
		return journal.Reason{}, false, err
	}
	raw, err := r.j.seal.decrypt(r.j.dir, sealed)
	if err != nil {
		return journal.Reason{}, false, fmt.Errorf("decrypt the reason of account %s: %w", sourceID, err)
	}
	var reason journal.Reason
	err = json.Unmarshal(raw, &reason)
	return reason, err == nil, err
}

// KeepPayloads implements [journal.Rejects].
func (r rejects) KeepPayloads(payloads map[string]journal.Payload) error {
	return r.j.writer.write(func(w *writer) error {
		for id, p := range payloads {
			const query = `INSERT INTO payload VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest, encrypted = excluded.encrypted`
			if err := w.exec(query, r.id, id, p.Digest, p.Encrypted); err != nil {
				return err
			}
		}
		return w.exec(`DELETE FROM payload WHERE scope = ? AND NOT EXISTS (SELECT 1 FROM account AS a
			WHERE a.scope = payload.scope AND a.source_id = payload.source_id AND `+journal.SQLOpen+`)`, r.id)
	})
}

// Payload implements [journal.Rejects].
func (r rejects) Payload(ctx context.Context, sourceID string) (p journal.Payload, ok bool, err error) {
	ok, err = r.j.first(ctx, func(row *sqlite.Stmt) { p = journal.Payload{Digest: blob(row, 0), Encrypted: blob(row, 1)} },
		`SELECT digest, encrypted FROM payload WHERE scope = ? AND source_id = ?`, r.id, sourceID)
	return p, ok, err
}

package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stetl/stetl/core/journal"
)

// rejects are accounts that were not loaded, or not as a whole: why, and where that is
// wanted, what they were.
type rejects struct{ *scope }

// KeepReasons implements [journal.Rejects].
func (r rejects) KeepReasons(reasons map[string]journal.Reason) error {
	ids, sealed := make([]string, 0, len(reasons)), make([][]byte, 0, len(reasons))
	for id, reason := range reasons {
		raw, err := json.Marshal(reason)
		if err != nil {
			return fmt.Errorf("encode the reason of account %s: %w", id, err)
		}
		ids, sealed = append(ids, enc(id)), append(sealed, r.j.keys.seal(kindReason, r.name, id, raw))
	}
	return r.write(marks{}, func(b *batch) {
		b.Queue(`INSERT INTO stetl.reason SELECT $1, * FROM unnest($2::text[], $3::bytea[])
			ON CONFLICT (scope, source_id) DO UPDATE SET encrypted = excluded.encrypted`, r.id, ids, sealed)
	})
}

// Reason implements [journal.Rejects].
func (r rejects) Reason(ctx context.Context, sourceID string) (reason journal.Reason, found bool, err error) {
	var sealed []byte
	if found, err = r.first(ctx, []any{&sealed}, `SELECT encrypted FROM stetl.reason WHERE scope = $1 AND source_id = $2`, r.id, enc(sourceID)); err != nil || !found {
		return reason, false, err
	}
	raw, err := r.j.keys.open(kindReason, r.name, sourceID, sealed)
	if err != nil {
		return reason, false, fmt.Errorf("decrypt the reason of account %s: %w", sourceID, err)
	}
	err = json.Unmarshal(raw, &reason)
	return reason, err == nil, err
}

// KeepPayloads implements [journal.Rejects].
func (r rejects) KeepPayloads(payloads map[string]journal.Payload) error {
	ids, digests, sealed := make([]string, 0, len(payloads)), make([][]byte, 0, len(payloads)), make([][]byte, 0, len(payloads))
	for id, p := range payloads {
		ids, digests, sealed = append(ids, enc(id)), append(digests, p.Digest), append(sealed, p.Encrypted)
	}
	return r.write(marks{}, func(b *batch) {
		b.Queue(`INSERT INTO stetl.payload SELECT $1, * FROM unnest($2::text[], $3::bytea[], $4::bytea[])
			ON CONFLICT (scope, source_id) DO UPDATE SET digest = excluded.digest, encrypted = excluded.encrypted`, r.id, ids, digests, sealed)
		b.Queue(`DELETE FROM stetl.payload AS p WHERE scope = $1 AND NOT EXISTS (SELECT FROM stetl.account AS a
			WHERE a.scope = p.scope AND a.source_id = p.source_id AND `+journal.SQLOpen+`)`, r.id)
	})
}

// Payload implements [journal.Rejects].
func (r rejects) Payload(ctx context.Context, sourceID string) (p journal.Payload, found bool, err error) {
	found, err = r.first(ctx, []any{&p.Digest, &p.Encrypted}, `SELECT digest, encrypted FROM stetl.payload WHERE scope = $1 AND source_id = $2`, r.id, enc(sourceID))
	return p, found, err
}

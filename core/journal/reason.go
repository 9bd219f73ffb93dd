package journal

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/pluginapi"
)

// Reason is why an account was not loaded, or not as a whole, in words. They can be the
// target's own and hold personal data, so they are kept like pre-images: encrypted.
type Reason struct {
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
	// Losses are parts that the target did not take of an account that is there.
	Losses []pluginapi.PartLoss `json:"losses,omitempty"`
	// Run is the run that has said so.
	Run int64 `json:"run"`
}

// Rejects are accounts that were not loaded, or not as a whole: why, and where that is
// wanted, what they were.
type Rejects struct{ *scoped }

// KeepReasons remembers why accounts were not loaded, or not as a whole, in place of
// earlier reasons.
func (r *Rejects) KeepReasons(reasons map[string]Reason) error {
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

// Reason returns why an account was not loaded, or not as a whole; false when nobody has
// said.
func (r *Rejects) Reason(ctx context.Context, sourceID string) (Reason, bool, error) {
	var sealed []byte
	found, err := r.j.first(ctx, func(row *sqlite.Stmt) { sealed = blob(row, 0) },
		`SELECT encrypted FROM reason WHERE scope = ? AND source_id = ?`, r.id, sourceID)
	if err != nil || !found {
		return Reason{}, false, err
	}
	raw, err := r.j.seal.decrypt(r.j.dir, sealed)
	if err != nil {
		return Reason{}, false, fmt.Errorf("decrypt the reason of account %s: %w", sourceID, err)
	}
	var reason Reason
	err = json.Unmarshal(raw, &reason)
	return reason, err == nil, err
}

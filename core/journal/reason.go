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

// KeepReasons remembers why accounts were not loaded, or not as a whole, in place of
// earlier reasons.
func (s *Scope) KeepReasons(reasons map[string]Reason) error {
	sealed, same := make(map[string][]byte, len(reasons)), map[string][]byte{}
	for id, reason := range reasons {
		raw, err := json.Marshal(reason)
		if err != nil {
			return fmt.Errorf("encode the reason of account %s: %w", id, err)
		}
		text := string(raw)
		if same[text] == nil { // encrypting is slow, and many accounts have one reason
			if same[text], err = s.j.seal.encrypt(s.j.dir, raw); err != nil {
				return fmt.Errorf("encrypt the reason of account %s: %w", id, err)
			}
		}
		sealed[id] = same[text]
	}
	return s.j.writer.write(func(w *writer) error {
		for id, raw := range sealed {
			if err := w.exec(`INSERT INTO reason VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET encrypted = excluded.encrypted`, s.id, id, raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reason returns why an account was not loaded, or not as a whole; false when nobody has
// said.
func (s *Scope) Reason(ctx context.Context, sourceID string) (Reason, bool, error) {
	var sealed []byte
	found, err := s.j.first(ctx, func(row *sqlite.Stmt) { sealed = blob(row, 0) },
		`SELECT encrypted FROM reason WHERE scope = ? AND source_id = ?`, s.id, sourceID)
	if err != nil || !found {
		return Reason{}, false, err
	}
	raw, err := s.j.seal.decrypt(s.j.dir, sealed)
	if err != nil {
		return Reason{}, false, fmt.Errorf("decrypt the reason of account %s: %w", sourceID, err)
	}
	var reason Reason
	err = json.Unmarshal(raw, &reason)
	return reason, err == nil, err
}

// Clear forgets every account: the target is about to be written anew.
func (s *Scope) Clear() error {
	return s.j.writer.write(func(w *writer) error {
		for _, query := range []string{
			`DELETE FROM account WHERE scope = ?`, `DELETE FROM preimage WHERE scope = ?`, `DELETE FROM reason WHERE scope = ?`,
			`DELETE FROM payload WHERE scope = ?`,
		} {
			if err := w.exec(query, s.id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Runs returns the latest runs, the newest first, at most that many.
func (s *Scope) Runs(ctx context.Context, most int) ([]Run, error) {
	var out []Run
	err := s.j.rows(ctx, func(row *sqlite.Stmt) bool {
		out = append(out, scanRun(row))
		return true
	}, `SELECT `+runColumns+` FROM run WHERE scope = ? ORDER BY id DESC LIMIT ?`, s.id, most)
	if err != nil {
		return nil, err
	}
	return out, nil
}

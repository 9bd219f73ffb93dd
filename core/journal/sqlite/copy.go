package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/journal"
)

// Archive is a journal that is copied.
type Archive struct{ *Journal }

// Names implements [journal.Archive].
func (j Archive) Names(ctx context.Context) (names []journal.Name, err error) {
	err = j.rows(ctx, func(row *sqlite.Stmt) bool {
		app, destination, _ := strings.Cut(row.ColumnText(0), "\n")
		names = append(names, journal.Name{App: app, Destination: destination})
		return true
	}, `SELECT name FROM scope ORDER BY id`)
	return names, err
}

// Kept implements [journal.Archive].
func (j Archive) Kept(ctx context.Context, of journal.Name, after, upto string) (journal.Kept, error) {
	k := journal.Kept{Before: map[string][]byte{}, Reasons: map[string]journal.Reason{}, Payloads: map[string]journal.Payload{}}
	s, err := j.scope(ctx, of.App+"\n"+of.Destination)
	if err != nil {
		return k, err
	}
	where, args := ` WHERE scope = ? AND source_id > ?`, []any{s.id, after}
	if upto != "" {
		where, args = where+` AND source_id <= ?`, append(args, upto)
	}
	// Decrypted after reading: it takes its time.
	sealed := map[string][]byte{}
	err = j.rows(ctx, func(row *sqlite.Stmt) bool {
		sealed[row.ColumnText(0)] = blob(row, 1)
		return true
	}, `SELECT source_id, encrypted FROM preimage`+where, args...)
	for id, raw := range sealed {
		if err == nil {
			k.Before[id], err = j.seal.decrypt(j.dir, raw)
		}
	}
	if err != nil {
		return k, fmt.Errorf("read pre-images: %w", err)
	}
	clear(sealed)
	err = j.rows(ctx, func(row *sqlite.Stmt) bool {
		sealed[row.ColumnText(0)] = blob(row, 1)
		return true
	}, `SELECT source_id, encrypted FROM reason`+where, args...)
	for id, raw := range sealed {
		var clearText []byte
		if err == nil {
			clearText, err = j.seal.decrypt(j.dir, raw)
		}
		var reason journal.Reason
		if err == nil {
			err = json.Unmarshal(clearText, &reason)
		}
		k.Reasons[id] = reason
	}
	if err != nil {
		return k, fmt.Errorf("read reasons: %w", err)
	}
	err = j.rows(ctx, func(row *sqlite.Stmt) bool {
		k.Payloads[row.ColumnText(0)] = journal.Payload{Digest: blob(row, 1), Encrypted: blob(row, 2)}
		return true
	}, `SELECT source_id, digest, encrypted FROM payload`+where, args...)
	return k, err
}

// Restore implements [journal.Archive].
func (j Archive) Restore(ctx context.Context, to journal.Name, p journal.Part) error {
	s, err := j.scope(ctx, to.App+"\n"+to.Destination)
	if err != nil {
		return err
	}
	images, err := sealAll(j.Journal, p.Before)
	if err != nil {
		return err
	}
	if err := (rejects{s}).KeepReasons(p.Reasons); err != nil {
		return err
	}
	return j.writer.write(func(w *writer) error {
		for i := range p.Runs {
			if err := restoreRun(w, s.id, &p.Runs[i], p.Samples[p.Runs[i].ID]); err != nil {
				return err
			}
		}
		for i := range p.Entries {
			if err := s.upsert(w, p.Entries[i:i+1], millis(p.Entries[i].At)); err != nil {
				return err
			}
		}
		return restoreKept(w, s.id, p, images)
	})
}

func restoreKept(w *writer, scope int64, p journal.Part, images map[string][]byte) error {
	for key, value := range p.Saved {
		if err := w.exec(`INSERT INTO saved VALUES (?, ?, ?)`, scope, key, value); err != nil {
			return err
		}
	}
	for id, image := range images {
		if err := w.exec(`INSERT INTO preimage VALUES (?, ?, ?)`, scope, id, image); err != nil {
			return err
		}
	}
	for id, one := range p.Payloads {
		if err := w.exec(`INSERT INTO payload VALUES (?, ?, ?, ?)`, scope, id, one.Digest, one.Encrypted); err != nil {
			return err
		}
	}
	return nil
}

func sealAll(j *Journal, all map[string][]byte) (map[string][]byte, error) {
	out := make(map[string][]byte, len(all))
	for id, clearText := range all {
		sealed, err := j.seal.encrypt(j.dir, clearText)
		if err != nil {
			return nil, fmt.Errorf("encrypt the pre-image of account %s: %w", id, err)
		}
		out[id] = sealed
	}
	return out, nil
}

func restoreRun(w *writer, scope int64, r *journal.Run, samples []journal.Sample) error {
	err := w.exec(`INSERT INTO run (id, scope, source, target, program, settings, began, reading) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, scope, r.Source, r.Target, r.Program, r.Settings, r.Began.UnixMilli(), r.Reading)
	if err == nil && !r.Ended.IsZero() {
		err = w.exec(`UPDATE run SET ended = ?, result = ? WHERE id = ?`, r.Ended.UnixMilli(), []byte(r.Result), r.ID)
	}
	for _, sample := range samples {
		if err == nil {
			err = w.exec(`INSERT INTO sample VALUES (?, ?, ?)`, r.ID, sample.At.UnixMilli(), sample.Done)
		}
	}
	return err
}

// Copying implements [journal.Archive].
func (j Archive) Copying(_ context.Context, begins bool) error {
	return j.writer.write(func(w *writer) error {
		if begins {
			return w.exec(`INSERT OR REPLACE INTO meta VALUES ('copying', x'')`)
		}
		return w.exec(`DELETE FROM meta WHERE key = 'copying'`)
	})
}

package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/journal"
)

// Archive is a journal that is copied.
type Archive struct{ *Journal }

// Names implements [journal.Archive].
func (j Archive) Names(ctx context.Context) (names []journal.Name, err error) {
	err = j.db.rows(ctx, func(rows pgx.Rows) error {
		var name string
		err := rows.Scan(&name)
		app, destination, _ := strings.Cut(dec(name), "\n")
		names = append(names, journal.Name{App: app, Destination: destination})
		return err
	}, `SELECT name FROM stetl.scope ORDER BY id`)
	return names, err
}

// Kept implements [journal.Archive].
func (j Archive) Kept(ctx context.Context, of journal.Name, after, upto string) (journal.Kept, error) {
	k := journal.Kept{Before: map[string][]byte{}, Reasons: map[string]journal.Reason{}, Payloads: map[string]journal.Payload{}}
	s, err := j.scope(ctx, of.App+"\n"+of.Destination)
	if err != nil {
		return k, err
	}
	where, args := ` WHERE scope = $1 AND source_id > $2`, []any{s.id, enc(after)}
	if upto != "" {
		where, args = where+` AND source_id <= $3`, append(args, enc(upto))
	}
	opened := func(kind string, use func(id string, clearText []byte) error) func(pgx.Rows) error {
		return func(rows pgx.Rows) error {
			var id string
			var sealed []byte
			if err := rows.Scan(&id, &sealed); err != nil {
				return err
			}
			clearText, err := j.keys.open(kind, s.name, dec(id), sealed)
			if err != nil {
				return fmt.Errorf("decrypt the %s of account %s: %w", kind, dec(id), err)
			}
			return use(dec(id), clearText)
		}
	}
	err = s.rows(ctx, opened(kindImage, func(id string, clearText []byte) error {
		k.Before[id] = clearText
		return nil
	}), `SELECT source_id, encrypted FROM stetl.preimage`+where, args...)
	if err != nil {
		return k, err
	}
	err = s.rows(ctx, opened(kindReason, func(id string, clearText []byte) error {
		var reason journal.Reason
		err := json.Unmarshal(clearText, &reason)
		k.Reasons[id] = reason
		return err
	}), `SELECT source_id, encrypted FROM stetl.reason`+where, args...)
	if err != nil {
		return k, err
	}
	err = s.rows(ctx, func(rows pgx.Rows) error {
		var id string
		var p journal.Payload
		err := rows.Scan(&id, &p.Digest, &p.Encrypted)
		k.Payloads[dec(id)] = p
		return err
	}, `SELECT source_id, digest, encrypted FROM stetl.payload`+where, args...)
	return k, err
}

// Restore implements [journal.Archive].
func (j Archive) Restore(ctx context.Context, to journal.Name, p journal.Part) error {
	s, err := j.scope(ctx, to.App+"\n"+to.Destination)
	if err != nil {
		return err
	}
	if err := (rejects{s}).KeepReasons(p.Reasons); err != nil {
		return err
	}
	var c columns
	for i := range p.Entries {
		c.add(&p.Entries[i], millis(p.Entries[i].At))
	}
	var ids []string
	var images [][]byte
	for id, clearText := range p.Before {
		ids, images = append(ids, enc(id)), append(images, j.keys.seal(kindImage, s.name, id, clearText))
	}
	var of []string
	var digests, payloads [][]byte
	for id, one := range p.Payloads {
		of, digests, payloads = append(of, enc(id)), append(digests, one.Digest), append(payloads, one.Encrypted)
	}
	return s.write(marks{}, func(b *batch) {
		for i := range p.Runs {
			r := &p.Runs[i]
			insertRun(b, s.id, r)
			if !r.Ended.IsZero() {
				endRun(b, r.ID, r.Ended, r.Result)
			}
			for _, sample := range p.Samples[r.ID] {
				addSample(b, r.ID, sample)
			}
			b.Queue(`SELECT setval('stetl.run_id', greatest($1, (SELECT last_value FROM stetl.run_id)))`, r.ID)
		}
		for key, value := range p.Saved {
			b.Queue(`INSERT INTO stetl.saved VALUES ($1, $2, $3) ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value`, s.id, enc(key), value)
		}
		c.upsert(b, s.id)
		b.Queue(`INSERT INTO stetl.preimage SELECT $1, * FROM unnest($2::text[], $3::bytea[]) ON CONFLICT DO NOTHING`, s.id, ids, images)
		b.Queue(`INSERT INTO stetl.payload SELECT $1, * FROM unnest($2::text[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING`, s.id, of, digests, payloads)
	})
}

// Copying implements [journal.Archive].
func (j Archive) Copying(ctx context.Context, begins bool) error {
	if begins {
		return j.db.exec(ctx, `INSERT INTO stetl.meta VALUES ('copying', ''::bytea) ON CONFLICT DO NOTHING`)
	}
	return j.db.exec(ctx, `DELETE FROM stetl.meta WHERE key = 'copying'`)
}

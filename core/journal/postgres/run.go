package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/journal"
)

// runs are the runs of one scope.
type runs struct{ *scope }

// Begin implements [journal.RunWriter].
func (r runs) Begin(begun journal.Run) (int64, error) {
	if r.writer == nil {
		return 0, journal.ErrReadOnly
	}
	var id int64 // chosen before, as the statement may run again
	ctx, cancel := context.WithTimeout(context.Background(), r.j.term)
	defer cancel()
	if _, err := r.first(ctx, []any{&id}, `SELECT nextval('stetl.run_id')`); err != nil {
		return 0, err
	}
	begun.ID = id
	return id, r.write(marks{}, func(b *batch) { insertRun(b, r.id, &begun) })
}

func insertRun(b *batch, scope int64, r *journal.Run) {
	settings := r.Settings
	if settings == nil {
		settings = []byte{}
	}
	b.Queue(`INSERT INTO stetl.run (id, scope, source, target, program, settings, began, reading) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		r.ID, scope, enc(r.Source), enc(r.Target), enc(r.Program), settings, r.Began.UnixMilli(), r.Reading)
}

// End implements [journal.RunWriter].
func (r runs) End(id int64, at time.Time, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result of the run: %w", err)
	}
	return r.write(marks{}, func(b *batch) { endRun(b, id, at, raw) })
}

func endRun(b *batch, id int64, at time.Time, result []byte) {
	b.Queue(`UPDATE stetl.run SET ended = $1, result = $2 WHERE id = $3`, at.UnixMilli(), string(result), id)
}

// Doubt implements [journal.RunWriter].
func (r runs) Doubt(run int64) error {
	return r.write(marks{}, func(b *batch) {
		b.Queue(`UPDATE stetl.account SET in_doubt = true, digest = NULL WHERE scope = $1 AND run = $2 AND action IN ('created', 'updated')`, r.id, run)
	})
}

const runColumns = `id, source, target, program, settings, began, ended, result, reading`

// list are the runs that come of the rest of a query, until enough returns true.
func (r runs) list(ctx context.Context, rest string, args ...any) (out []journal.Run, err error) {
	err = r.rows(ctx, func(rows pgx.Rows) error {
		var one journal.Run
		var began int64
		var ended *int64
		var result *string
		if err := rows.Scan(&one.ID, &one.Source, &one.Target, &one.Program, &one.Settings, &began, &ended, &result, &one.Reading); err != nil {
			return err
		}
		one.Source, one.Target, one.Program, one.Began = dec(one.Source), dec(one.Target), dec(one.Program), time.UnixMilli(began)
		if ended != nil {
			one.Ended = time.UnixMilli(*ended)
		}
		if result != nil {
			one.Result = json.RawMessage(*result)
		}
		out = append(out, one)
		return nil
	}, `SELECT `+runColumns+` FROM stetl.run WHERE scope = $1 `+rest, append([]any{r.id}, args...)...)
	return out, err
}

// Last implements [journal.RunReader].
func (r runs) Last(ctx context.Context, unfinished bool) (journal.Run, bool, error) {
	all, err := r.list(ctx, `AND (ended IS NOT NULL OR $2) ORDER BY id DESC LIMIT 1`, unfinished)
	if err != nil || len(all) == 0 {
		return journal.Run{}, false, err
	}
	return all[0], true, nil
}

// List implements [journal.RunReader].
func (r runs) List(ctx context.Context, most int) ([]journal.Run, error) {
	return r.list(ctx, `ORDER BY id DESC LIMIT $2`, most)
}

// Settings implements [journal.RunReader].
func (r runs) Settings(ctx context.Context) (settings []byte, err error) {
	_, err = r.first(ctx, []any{&settings}, `SELECT settings FROM stetl.run WHERE scope = $1 AND length(settings) > 0
		AND ended IS NOT NULL AND (result::json ->> 'error') IS NULL ORDER BY id DESC LIMIT 1`, r.id)
	return settings, err
}

// Readings implements [journal.RunReader].
func (r runs) Readings(ctx context.Context) (map[int64][]byte, error) {
	all := map[int64][]byte{}
	err := r.rows(ctx, func(rows pgx.Rows) error {
		var id int64
		var reading []byte
		err := rows.Scan(&id, &reading)
		all[id] = reading
		return err
	}, `SELECT id, reading FROM stetl.run WHERE scope = $1 AND reading IS NOT NULL`, r.id)
	return all, err
}

// AddSample implements [journal.Pace].
func (r runs) AddSample(run int64, sample journal.Sample) error {
	return r.write(marks{}, func(b *batch) { addSample(b, run, sample) })
}

func addSample(b *batch, run int64, sample journal.Sample) {
	b.Queue(`INSERT INTO stetl.sample VALUES ($1, $2, $3)`, run, sample.At.UnixMilli(), int64(sample.Done))
}

// Samples implements [journal.Pace].
func (r runs) Samples(ctx context.Context, run int64) (out []journal.Sample, err error) {
	err = r.rows(ctx, func(rows pgx.Rows) error {
		var at int64
		var done int
		err := rows.Scan(&at, &done)
		out = append(out, journal.Sample{At: time.UnixMilli(at), Done: done})
		return err
	}, `SELECT at, done FROM stetl.sample WHERE run = $1 ORDER BY at`, run)
	return out, err
}

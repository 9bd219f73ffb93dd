package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// Run is one run of the program that wrote.
type Run struct {
	ID int64
	// Source, Target and Program are for people.
	Source, Target, Program string
	// Settings digests what, beside an account itself, decides what it becomes;
	// empty for a run that was restricted to some accounts.
	Settings []byte
	// Reading digests what decides which accounts the source has: an account that another
	// reading does not hold is not known to have gone.
	Reading []byte
	Began   time.Time
	// Ended is zero for a run that is at work or was killed.
	Ended time.Time
	// Result is what the run reported, as JSON.
	Result json.RawMessage
}

// Runs are the runs of one scope.
type Runs struct{ *scoped }

// Begin notes a new run and returns its id.
func (r *Runs) Begin(begun Run) (int64, error) {
	var id int64
	err := r.j.writer.write(func(w *writer) error {
		err := w.exec(`INSERT INTO run (scope, source, target, program, settings, began, reading) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			r.id, begun.Source, begun.Target, begun.Program, begun.Settings, begun.Began.UnixMilli(), begun.Reading)
		if err != nil {
			return err
		}
		id = w.conn.LastInsertRowID()
		return nil
	})
	return id, err
}

// End notes how a run ended.
func (r *Runs) End(id int64, at time.Time, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result of the run: %w", err)
	}
	return r.j.writer.write(func(w *writer) error {
		return w.exec(`UPDATE run SET ended = ?, result = ? WHERE id = ?`, at.UnixMilli(), raw, id)
	})
}

// Last returns the latest run that ended, or with unfinished the latest at all; false
// when there is none.
func (r *Runs) Last(ctx context.Context, unfinished bool) (last Run, found bool, err error) {
	found, err = r.j.first(ctx, func(row *sqlite.Stmt) { last = scanRun(row) }, `SELECT `+runColumns+` FROM run
		WHERE scope = ? AND (ended IS NOT NULL OR ?) ORDER BY id DESC LIMIT 1`, r.id, unfinished)
	return last, found, err
}

const runColumns = `id, source, target, program, settings, began, ended, result, reading`

func scanRun(row *sqlite.Stmt) Run {
	r := Run{
		ID: row.ColumnInt64(0), Source: row.ColumnText(1), Target: row.ColumnText(2), Program: row.ColumnText(3),
		Settings: blob(row, 4), Began: time.UnixMilli(row.ColumnInt64(5)), Result: blob(row, 7), Reading: blob(row, 8),
	}
	if !row.ColumnIsNull(6) {
		r.Ended = time.UnixMilli(row.ColumnInt64(6))
	}
	return r
}

// Settings returns those of the latest run over all accounts that came to its end;
// nil when there is none.
func (r *Runs) Settings(ctx context.Context) ([]byte, error) {
	var settings []byte
	_, err := r.j.first(ctx, func(row *sqlite.Stmt) { settings = blob(row, 0) }, `SELECT settings FROM run WHERE scope = ? AND length(settings) > 0
		AND ended IS NOT NULL AND json_extract(CAST(result AS TEXT), '$.error') IS NULL ORDER BY id DESC LIMIT 1`, r.id)
	return settings, err
}

// Readings are those of all runs, by their ids. A run of a program that did not note it has
// none.
func (r *Runs) Readings(ctx context.Context) (map[int64][]byte, error) {
	all := map[int64][]byte{}
	err := r.j.rows(ctx, func(row *sqlite.Stmt) bool {
		all[row.ColumnInt64(0)] = blob(row, 1)
		return true
	}, `SELECT id, reading FROM run WHERE scope = ? AND reading IS NOT NULL`, r.id)
	return all, err
}

// Sample is how many accounts a run had dealt with at a moment.
type Sample struct {
	At   time.Time
	Done int
}

// AddSample notes the progress of a run, for the throughput in its report.
func (r *Runs) AddSample(run int64, sample Sample) error {
	return r.j.writer.write(func(w *writer) error {
		return w.exec(`INSERT INTO sample VALUES (?, ?, ?)`, run, sample.At.UnixMilli(), sample.Done)
	})
}

// Samples returns the progress of a run in order of time.
func (r *Runs) Samples(ctx context.Context, run int64) ([]Sample, error) {
	var out []Sample
	err := r.j.rows(ctx, func(row *sqlite.Stmt) bool {
		out = append(out, Sample{At: time.UnixMilli(row.ColumnInt64(0)), Done: row.ColumnInt(1)})
		return true
	}, `SELECT at, done FROM sample WHERE run = ? ORDER BY at`, run)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// List returns the latest runs, the newest first, at most that many.
func (r *Runs) List(ctx context.Context, most int) ([]Run, error) {
	var out []Run
	err := r.j.rows(ctx, func(row *sqlite.Stmt) bool {
		out = append(out, scanRun(row))
		return true
	}, `SELECT `+runColumns+` FROM run WHERE scope = ? ORDER BY id DESC LIMIT ?`, r.id, most)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Doubt puts the accounts that a run has written in doubt: its last step at the target has
// failed. What is known of them stays, so that they can be found.
func (r *Runs) Doubt(run int64) error {
	return r.j.writer.write(func(w *writer) error {
		return w.exec(`UPDATE account SET in_doubt = 1, digest = NULL WHERE scope = ? AND run = ? AND action IN ('created', 'updated')`, r.id, run)
	})
}

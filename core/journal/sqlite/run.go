package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/journal"
)

// runs are the runs of one scope.
type runs struct{ *scope }

// Begin implements [journal.RunWriter].
func (r runs) Begin(begun journal.Run) (int64, error) {
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

// End implements [journal.RunWriter].
func (r runs) End(id int64, at time.Time, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result of the run: %w", err)
	}
	return r.j.writer.write(func(w *writer) error {
		return w.exec(`UPDATE run SET ended = ?, result = ? WHERE id = ?`, at.UnixMilli(), raw, id)
	})
}

// Last implements [journal.RunReader].
func (r runs) Last(ctx context.Context, unfinished bool) (last journal.Run, found bool, err error) {
	found, err = r.j.first(ctx, func(row *sqlite.Stmt) { last = scanRun(row) }, `SELECT `+runColumns+` FROM run
		WHERE scope = ? AND (ended IS NOT NULL OR ?) ORDER BY id DESC LIMIT 1`, r.id, unfinished)
	return last, found, err
}

const runColumns = `id, source, target, program, settings, began, ended, result, reading`

func scanRun(row *sqlite.Stmt) journal.Run {
	r := journal.Run{
		ID: row.ColumnInt64(0), Source: row.ColumnText(1), Target: row.ColumnText(2), Program: row.ColumnText(3),
		Settings: blob(row, 4), Began: time.UnixMilli(row.ColumnInt64(5)), Result: blob(row, 7), Reading: blob(row, 8),
	}
	if !row.ColumnIsNull(6) {
		r.Ended = time.UnixMilli(row.ColumnInt64(6))
	}
	return r
}

// Settings implements [journal.RunReader].
func (r runs) Settings(ctx context.Context) ([]byte, error) {
	var settings []byte
	_, err := r.j.first(ctx, func(row *sqlite.Stmt) { settings = blob(row, 0) }, `SELECT settings FROM run WHERE scope = ? AND length(settings) > 0
		AND ended IS NOT NULL AND json_extract(CAST(result AS TEXT), '$.error') IS NULL ORDER BY id DESC LIMIT 1`, r.id)
	return settings, err
}

// Readings implements [journal.RunReader].
func (r runs) Readings(ctx context.Context) (map[int64][]byte, error) {
	all := map[int64][]byte{}
	err := r.j.rows(ctx, func(row *sqlite.Stmt) bool {
		all[row.ColumnInt64(0)] = blob(row, 1)
		return true
	}, `SELECT id, reading FROM run WHERE scope = ? AND reading IS NOT NULL`, r.id)
	return all, err
}

// AddSample implements [journal.Pace].
func (r runs) AddSample(run int64, sample journal.Sample) error {
	return r.j.writer.write(func(w *writer) error {
		return w.exec(`INSERT INTO sample VALUES (?, ?, ?)`, run, sample.At.UnixMilli(), sample.Done)
	})
}

// Samples implements [journal.Pace].
func (r runs) Samples(ctx context.Context, run int64) ([]journal.Sample, error) {
	var out []journal.Sample
	err := r.j.rows(ctx, func(row *sqlite.Stmt) bool {
		out = append(out, journal.Sample{At: time.UnixMilli(row.ColumnInt64(0)), Done: row.ColumnInt(1)})
		return true
	}, `SELECT at, done FROM sample WHERE run = ? ORDER BY at`, run)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// List implements [journal.RunReader].
func (r runs) List(ctx context.Context, most int) ([]journal.Run, error) {
	var out []journal.Run
	err := r.j.rows(ctx, func(row *sqlite.Stmt) bool {
		out = append(out, scanRun(row))
		return true
	}, `SELECT `+runColumns+` FROM run WHERE scope = ? ORDER BY id DESC LIMIT ?`, r.id, most)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Doubt implements [journal.RunWriter].
func (r runs) Doubt(run int64) error {
	return r.j.writer.write(func(w *writer) error {
		return w.exec(`UPDATE account SET in_doubt = 1, digest = NULL WHERE scope = ? AND run = ? AND action IN ('created', 'updated')`, r.id, run)
	})
}

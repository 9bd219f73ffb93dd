package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Run is one run of the program that wrote.
type Run struct {
	ID int64
	// Source, Target and Program are for people.
	Source, Target, Program string
	// Settings digests what, beside an account itself, decides what it becomes;
	// empty for a run that was restricted to some accounts.
	Settings []byte
	Began    time.Time
	// Ended is zero for a run that is at work or was killed.
	Ended time.Time
	// Result is what the run reported, as JSON.
	Result json.RawMessage
}

// Begin notes a new run and returns its id.
func (s *Scope) Begin(r Run) (int64, error) {
	var id int64
	err := s.j.writer.write(func(ctx context.Context, w *writer) error {
		result, err := w.exec(ctx, `INSERT INTO run (scope, source, target, program, settings, began) VALUES (?, ?, ?, ?, ?, ?)`,
			s.id, r.Source, r.Target, r.Program, r.Settings, r.Began.UnixMilli())
		if err != nil {
			return err
		}
		id, err = result.LastInsertId()
		return err
	})
	return id, err
}

// End notes how a run ended.
func (s *Scope) End(id int64, at time.Time, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result of the run: %w", err)
	}
	return s.j.writer.write(func(ctx context.Context, w *writer) error {
		_, err := w.exec(ctx, `UPDATE run SET ended = ?, result = ? WHERE id = ?`, at.UnixMilli(), raw, id)
		return err
	})
}

// Last returns the latest run that ended, or with unfinished the latest at all; false
// when there is none.
func (s *Scope) Last(ctx context.Context, unfinished bool) (Run, bool, error) {
	row := s.j.db.QueryRowContext(ctx, `SELECT `+runColumns+` FROM run
		WHERE scope = ? AND (ended IS NOT NULL OR ?) ORDER BY id DESC LIMIT 1`, s.id, unfinished)
	r, err := scanRun(row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Run{}, false, nil
	case err != nil:
		return Run{}, false, fmt.Errorf("read the journal: %w", err)
	}
	return r, true, nil
}

const runColumns = `id, source, target, program, settings, began, ended, result`

func scanRun(row interface{ Scan(...any) error }) (Run, error) {
	var r Run
	var began int64
	var ended sql.NullInt64
	var result []byte
	if err := row.Scan(&r.ID, &r.Source, &r.Target, &r.Program, &r.Settings, &began, &ended, &result); err != nil {
		return Run{}, err
	}
	r.Began, r.Result = time.UnixMilli(began), result
	if ended.Valid {
		r.Ended = time.UnixMilli(ended.Int64)
	}
	return r, nil
}

// Settings returns those of the latest run over all accounts that came to its end;
// nil when there is none.
func (s *Scope) Settings(ctx context.Context) ([]byte, error) {
	var settings []byte
	err := s.j.db.QueryRowContext(ctx, `SELECT settings FROM run WHERE scope = ? AND length(settings) > 0
		AND ended IS NOT NULL AND json_extract(CAST(result AS TEXT), '$.error') IS NULL ORDER BY id DESC LIMIT 1`, s.id).Scan(&settings)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return settings, nil
}

// Sample is how many accounts a run had dealt with at a moment.
type Sample struct {
	At   time.Time
	Done int
}

// AddSample notes the progress of a run, for the throughput in its report.
func (s *Scope) AddSample(run int64, sample Sample) error {
	return s.j.writer.write(func(ctx context.Context, w *writer) error {
		_, err := w.exec(ctx, `INSERT INTO sample VALUES (?, ?, ?)`, run, sample.At.UnixMilli(), sample.Done)
		return err
	})
}

// Samples returns the progress of a run in order of time.
func (s *Scope) Samples(ctx context.Context, run int64) ([]Sample, error) {
	rows, err := s.j.db.QueryContext(ctx, `SELECT at, done FROM sample WHERE run = ? ORDER BY at`, run)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Sample
	for rows.Next() {
		var at int64
		var sample Sample
		if err := rows.Scan(&at, &sample.Done); err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		sample.At = time.UnixMilli(at)
		out = append(out, sample)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return out, nil
}

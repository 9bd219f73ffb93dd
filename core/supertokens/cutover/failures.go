package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Locked tells until when a subject, an address or a network address, may not
// try again at a surface; zero when it may.
func (d *DB) Locked(ctx context.Context, surface, subject string) (time.Time, error) {
	var until int64
	err := d.pool.QueryRow(ctx, "SELECT until_ms FROM "+d.own("failure")+" WHERE surface = $1 AND subject = $2", d.app+" "+surface, digest(subject)).Scan(&until)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("look up failed attempts: %w", err)
	case until <= d.now().UnixMilli():
		return time.Time{}, nil
	}
	return time.UnixMilli(until), nil
}

// Fail counts a failed attempt, for all instances. From limit on, the subject is
// locked for a time that doubles with every further failure, up to 64 times.
// A count is forgotten when nothing has failed for ten times that long.
func (d *DB) Fail(ctx context.Context, surface, subject string, limit int, lock time.Duration) (locked bool, err error) {
	now := d.now().UnixMilli()
	forget := now - 10*lock.Milliseconds()
	var failures int
	err = d.pool.QueryRow(ctx, "INSERT INTO "+d.own("failure")+` AS f (surface, subject, failures, until_ms) VALUES ($1, $2, 1, $3 + CASE WHEN $5::int <= 1 THEN $6::bigint ELSE 0 END)
ON CONFLICT (surface, subject) DO UPDATE SET failures = CASE WHEN f.until_ms < $4 THEN 1 ELSE f.failures + 1 END,
	until_ms = CASE WHEN f.until_ms < $4 THEN EXCLUDED.until_ms WHEN f.failures + 1 >= $5::int THEN $3 + $6 * (1 << least(f.failures + 1 - $5::int, 6)) ELSE $3 END
RETURNING failures`, d.app+" "+surface, digest(subject), now, forget, limit, lock.Milliseconds()).Scan(&failures)
	if err != nil {
		return false, fmt.Errorf("count a failed attempt: %w", err)
	}
	return failures >= limit, d.sweep(ctx, forget)
}

// sweepAge is how often an instance deletes what is forgotten anyway. Names and
// addresses of guessers are without number.
const sweepAge = 10 * time.Minute

func (d *DB) sweep(ctx context.Context, forget int64) error {
	d.sweeping.Lock()
	due := d.now().Sub(d.swept) > sweepAge
	if due {
		d.swept = d.now()
	}
	d.sweeping.Unlock()
	if !due {
		return nil
	}
	_, err := d.pool.Exec(ctx, "DELETE FROM "+d.own("failure")+" WHERE left(surface, length($1)) = $1 AND until_ms < $2", d.app+" ", forget)
	if err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

// Succeed forgets the failures of a subject.
func (d *DB) Succeed(ctx context.Context, surface, subject string) error {
	_, err := d.pool.Exec(ctx, "DELETE FROM "+d.own("failure")+" WHERE surface = $1 AND subject = $2", d.app+" "+surface, digest(subject))
	if err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

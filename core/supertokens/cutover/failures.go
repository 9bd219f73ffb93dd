package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Failures are the attempts that have failed, as all instances know them.
type Failures struct {
	*database
	sweep sweep
}

// Locked tells until when a subject, an address or a network address, may not
// try again at a surface; zero when it may.
func (f *Failures) Locked(ctx context.Context, surface, subject string) (time.Time, error) {
	var until int64
	err := f.pool.QueryRow(ctx, "SELECT until_ms FROM "+f.own("failure")+" WHERE surface = $1 AND subject = $2", f.app+" "+surface, digest(subject)).Scan(&until)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("look up failed attempts: %w", err)
	case until <= f.now().UnixMilli():
		return time.Time{}, nil
	}
	return time.UnixMilli(until), nil
}

// Fail counts a failed attempt, for all instances. From limit on, the subject is
// locked for a time that doubles with every further failure, up to 64 times.
// A count is forgotten when nothing has failed for ten times that long.
func (f *Failures) Fail(ctx context.Context, surface, subject string, limit int, lock time.Duration) (locked bool, err error) {
	now := f.now().UnixMilli()
	forget := now - 10*lock.Milliseconds()
	var failures int
	err = f.pool.QueryRow(ctx, "INSERT INTO "+f.own("failure")+` AS f (surface, subject, failures, until_ms) VALUES ($1, $2, 1, $3 + CASE WHEN $5::int <= 1 THEN $6::bigint ELSE 0 END)
ON CONFLICT (surface, subject) DO UPDATE SET failures = CASE WHEN f.until_ms < $4 THEN 1 ELSE f.failures + 1 END,
	until_ms = CASE WHEN f.until_ms < $4 THEN EXCLUDED.until_ms WHEN f.failures + 1 >= $5::int THEN $3 + $6 * (1 << least(f.failures + 1 - $5::int, 6)) ELSE $3 END
RETURNING failures`, f.app+" "+surface, digest(subject), now, forget, limit, lock.Milliseconds()).Scan(&failures)
	if err != nil {
		return false, fmt.Errorf("count a failed attempt: %w", err)
	}
	return failures >= limit, f.forget(ctx, forget)
}

// sweepAge is how often an instance deletes what is forgotten anyway. Names and
// addresses of guessers are without number.
const sweepAge = 10 * time.Minute

func (f *Failures) forget(ctx context.Context, before int64) error {
	if !f.sweep.due(f.now(), sweepAge) {
		return nil
	}
	_, err := f.pool.Exec(ctx, "DELETE FROM "+f.own("failure")+" WHERE left(surface, length($1)) = $1 AND until_ms < $2", f.app+" ", before)
	if err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

// Succeed forgets the failures of a subject.
func (f *Failures) Succeed(ctx context.Context, surface, subject string) error {
	_, err := f.pool.Exec(ctx, "DELETE FROM "+f.own("failure")+" WHERE surface = $1 AND subject = $2", f.app+" "+surface, digest(subject))
	if err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

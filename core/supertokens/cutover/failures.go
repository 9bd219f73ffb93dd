package cutover

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Failures are the attempts that have failed, as all instances know them.
type Failures struct {
	*database
	sweep sweep
}

// Locked tells until when a subject, an address or a network address, may not
// try again at a surface; zero when it may.
func (f *Failures) Locked(ctx context.Context, surface, subject string) (time.Time, error) {
	var text string
	found, err := f.row(ctx, []*string{&text}, "SELECT until_ms FROM "+f.own.table("failure")+" WHERE surface = $1 AND subject = $2", f.app+" "+surface, digest(subject))
	if err != nil {
		return time.Time{}, fmt.Errorf("look up failed attempts: %w", err)
	}
	until, err := strconv.ParseInt(text, 10, 64)
	switch {
	case !found:
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("look up failed attempts: %w", err)
	case until <= f.now().UnixMilli():
		return time.Time{}, nil
	}
	return time.UnixMilli(until), nil
}

// maxLock bounds how much longer than the first one a lock may be. An account that
// anybody can lock must not stay so for half a day, and four guesses an hour are none.
const maxLock = 4

// Fail counts a failed attempt, for all instances. From limit on, the subject is
// locked for a time that grows by itself with every further failure, up to four times.
// A count is forgotten when nothing has failed for ten times that long.
func (f *Failures) Fail(ctx context.Context, surface, subject string, limit int, lock time.Duration) (locked bool, err error) {
	now := f.now().UnixMilli()
	forgotten := now - 10*lock.Milliseconds()
	failures, err := f.own.fail(ctx, f.db, failure{
		surface: f.app + " " + surface, subject: digest(subject), now: now, forgotten: forgotten, lock: lock.Milliseconds(), limit: limit, longest: maxLock,
	})
	if err != nil {
		return false, fmt.Errorf("count a failed attempt: %w", err)
	}
	return failures >= limit, f.forget(ctx, forgotten)
}

// sweepAge is how often an instance deletes what is forgotten anyway. Names and
// addresses of guessers are without number.
const sweepAge = 10 * time.Minute

func (f *Failures) forget(ctx context.Context, before int64) error {
	if !f.sweep.due(f.now(), sweepAge) {
		return nil
	}
	_, err := f.db.Exec(ctx, "DELETE FROM "+f.own.table("failure")+" WHERE left(surface, length($1)) = $1 AND until_ms < $2", f.app+" ", before)
	if err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

// AccountSubject names an account, by SuperTokens' own id, for [Failures].
func AccountSubject(internalID string) string { return "account " + internalID }

// Unlock forgets the failures of a subject at every surface, and tells at how many.
func (f *Failures) Unlock(ctx context.Context, subject string) (int, error) {
	return f.unlock(ctx, " AND subject = $2", digest(subject))
}

// UnlockAll forgets all failures of the app.
func (f *Failures) UnlockAll(ctx context.Context) (int, error) { return f.unlock(ctx, "") }

func (f *Failures) unlock(ctx context.Context, where string, args ...any) (int, error) {
	ended, err := f.db.Exec(ctx, "DELETE FROM "+f.own.table("failure")+" WHERE left(surface, length($1)) = $1"+where, append([]any{f.app + " "}, args...)...)
	if err != nil {
		return 0, fmt.Errorf("forget failed attempts: %w", err)
	}
	return ended, nil
}

// Succeed forgets the failures of a subject.
func (f *Failures) Succeed(ctx context.Context, surface, subject string) error {
	_, err := f.db.Exec(ctx, "DELETE FROM "+f.own.table("failure")+" WHERE surface = $1 AND subject = $2", f.app+" "+surface, digest(subject))
	if err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

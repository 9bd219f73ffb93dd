package engine

import (
	"context"
	"fmt"
	"iter"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// Source gives every account, in the order of the bytes of their internal ids. A run reads
// it once, and a second time where accounts that it had taken for unchanged turn out to
// want what others want.
type Source interface {
	Accounts(ctx context.Context, emit func([]canonical.User) error) error
}

// Target is a configured plugin. Plan and Load return exactly one entry per
// user, in the order of users, also when they return an error. Load may be
// called from several goroutines.
type Target interface {
	Capabilities() pluginapi.Capabilities
	Check(ctx context.Context, needs pluginapi.Needs) (pluginapi.Checked, error)
	Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error)
	Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error)
	Finish(ctx context.Context) error
}

// takingBack is a target that undoes.
type takingBack interface {
	Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error)
}

// Journal remembers runs. See [journal.Scope] for what its methods promise.
type Journal interface {
	Known(ctx context.Context) iter.Seq2[journal.Known, error]
	Get(ctx context.Context, sourceID string) (journal.Entry, bool, error)
	Mark(run int64, entries []journal.Entry) (batch int64, err error)
	Record(batch int64, entries []journal.Entry) error
}

// entryOf is what the journal holds of an account that it has.
func entryOf(ctx context.Context, j Journal, sourceID string) (journal.Entry, error) {
	e, ok, err := j.Get(ctx, sourceID)
	if err == nil && !ok {
		err = fmt.Errorf("account %s has gone from the journal", sourceID)
	}
	return e, err
}

// forgetful is a journal that only takes notes.
type forgetful struct{ Journal }

// Known implements [Journal].
func (forgetful) Known(context.Context) iter.Seq2[journal.Known, error] {
	return func(func(journal.Known, error) bool) {}
}

// Get implements [Journal].
func (forgetful) Get(context.Context, string) (journal.Entry, bool, error) {
	return journal.Entry{}, false, nil
}

// Mark implements [Journal].
func (forgetful) Mark(int64, []journal.Entry) (int64, error) { return 0, nil }

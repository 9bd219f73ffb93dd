package migration

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
)

// anew is the journal of a target that is written as a whole: with the first outcome,
// what earlier runs did is history.
type anew struct {
	*journal.Scope
	once    sync.Once
	cleared error
}

// Record implements [engine.Journal].
func (a *anew) Record(batch int64, entries []journal.Entry) error {
	a.once.Do(func() { a.cleared = a.Clear() })
	if a.cleared != nil {
		return a.cleared
	}
	return a.Scope.Record(batch, entries)
}

// notes are what the journal is told of a run beside the outcomes: when it began and
// ended, how fast it was, and in words why accounts were not loaded, or not as a whole.
type notes struct {
	scope *journal.Scope
	id    int64
	// skip are the codes of those who are left out by policy.
	skip []diag.Code
	// whole says that the target is written as a whole: what it did not complete is not there.
	whole bool
	// notLoaded are those that the run has rejected or left in doubt, or left out by
	// policy.
	notLoaded map[string]bool
	waiting   map[string]journal.Reason
	failed    error // to keep reasons
	sampled   time.Time
}

func newNotes(scope *journal.Scope, begun journal.Run, skip []diag.Code, whole bool) (*notes, error) {
	id, err := scope.Runs.Begin(begun)
	return &notes{scope: scope, id: id, skip: skip, whole: whole, notLoaded: map[string]bool{}, waiting: map[string]journal.Reason{}}, err
}

// portion is how many accounts the journal is told of at once.
const portion = 200

func (n *notes) outcome(c pluginapi.Change) {
	out := c.Action == pluginapi.Rejected || c.Action == pluginapi.InDoubt || c.Action == pluginapi.Skipped && slices.Contains(n.skip, c.Code)
	if out {
		n.notLoaded[c.SourceID] = true
	}
	said := c.Incomplete() || c.Unread() || out && c.Detail+c.Hint != ""
	if !said || n.failed != nil {
		return
	}
	n.waiting[c.SourceID] = journal.Reason{Detail: c.Detail, Hint: c.Hint, Losses: c.Losses, Run: n.id}
	if len(n.waiting) >= portion {
		_ = n.flush() // kept in failed
	}
}

func (n *notes) flush() error {
	if len(n.waiting) > 0 && n.failed == nil {
		n.failed = n.scope.Rejects.KeepReasons(n.waiting)
		clear(n.waiting)
	}
	return n.failed
}

// progress keeps the speed of the load, once a second.
func (n *notes) progress(p engine.Progress) {
	if now := time.Now(); p.Phase == engine.Loading && now.Sub(n.sampled) >= time.Second {
		n.sampled = now
		// A missing sample is a gap in a chart, nothing more.
		_ = n.scope.Runs.AddSample(n.id, journal.Sample{At: now, Done: p.Done})
	}
}

// end notes how the run ended.
func (n *notes) end(result *engine.Result, parts report.PartLosses, runErr error) error {
	var text string
	if runErr != nil {
		text = runErr.Error()
	}
	if errors.Is(runErr, engine.ErrNotCommitted) {
		undone := n.scope.Clear
		if !n.whole { // what was written may be there, and nobody must forget it
			undone = func() error { return n.scope.Runs.Doubt(n.id) }
		}
		if err := undone(); err != nil {
			return err
		}
	}
	if err := n.flush(); err != nil {
		return err
	}
	return n.scope.Runs.End(n.id, time.Now(), struct {
		*engine.Result
		Parts report.PartLosses `json:"part_losses,omitempty"`
		Error string            `json:"error,omitempty"`
	}{result, parts, text})
}

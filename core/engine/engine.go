package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/target"
)

// Source gives every account, in the order of the bytes of their internal ids. It
// is read more than once: first to decide, then to act.
type Source interface {
	Accounts(ctx context.Context, emit func([]canonical.User) error) error
}

// Target is a configured plugin. Plan and Load return exactly one entry per
// user, in the order of users, also when they return an error. Load may be
// called from several goroutines.
type Target interface {
	Capabilities() target.Capabilities
	Check(ctx context.Context, needs target.Needs) (target.Checked, error)
	Plan(ctx context.Context, users []target.User) ([]target.Change, error)
	Load(ctx context.Context, users []target.User) ([]target.Outcome, error)
	Finish(ctx context.Context) error
}

// Journal remembers runs. See [journal.Scope] for what its methods promise.
type Journal interface {
	Known(ctx context.Context) iter.Seq2[journal.Known, error]
	Get(ctx context.Context, sourceID string) (journal.Entry, bool, error)
	Mark(run int64, entries []journal.Entry) (batch int64, err error)
	Record(batch int64, entries []journal.Entry) error
}

// Options of a run.
type Options struct {
	// DryRun plans instead of loading. Nothing is written anywhere.
	DryRun bool
	// Journal remembers what earlier runs did; nil forgets it all. Run is the id of
	// this run in it, and Key keys the digests.
	Journal Journal
	Run     int64
	Key     []byte
	// Mapping turns accounts into users of the target; nil is the usual mapping.
	Mapping *mapping.Rules
	// Plugin is the name of the target's plugin, for what is said about it.
	Plugin string
	// Digest, when set, is called for every account that is planned, with the digest
	// of the user it would be, before its outcome is known.
	Digest func(sourceID string, digest []byte)
	// Full compares every account with the target, also where nothing has changed
	// since the last run: the settings have, or somebody wants to be sure.
	Full bool
	// Policies decide what may happen; the zero value changes nothing that a run
	// did not make.
	Policies Policies
	// Plan, when set, is executed to the letter: accounts that it does not hold, or
	// that have changed since, are left alone.
	Plan *Plan
	// Part, when set, is who the run is about. All others are Skipped with
	// run.not_selected and left as they are, here and in the journal. Who keeps an
	// identifier that several accounts want is decided among all of them all the same.
	Part *Part
	// ReadBack is how many of the accounts that the run has written one is read back
	// of and compared: 1 is every one, 0 none. A target that cannot be asked is not.
	ReadBack int
	// Different, when set, is called for every account that was read back and is not
	// as it was written.
	Different func(target.Change)
	// Canary proves before the load that passwords of every kind will work, where
	// the target can be asked.
	Canary Canary
	// Outcome, when set, is called for every user as its fate becomes known,
	// one call at a time, but not for all those that are as the last run left them, nor
	// for those that were not chosen. In a dry run it is the predicted one of every user
	// that was, with fields.
	Outcome func(target.Change)
	// Progress, when set, is called now and then, one call at a time.
	Progress func(Progress)

	patience []time.Duration // a test's
}

// Progress is how far a run is.
type Progress struct {
	Phase Phase
	// Done counts users; Total is known once the survey is over.
	Done, Total int
}

// Phase is a stretch of a run.
type Phase string

// The phases in their order.
const (
	Choosing  Phase = "choose" // where it takes a look at every account to know who is chosen
	Surveying Phase = "survey"
	Planning  Phase = "plan"
	Loading   Phase = "load"
	Verifying Phase = "verify"
)

// Result is what a run did, or a dry run would do.
type Result struct {
	DryRun  bool           `json:"dry_run"`
	Summary target.Summary `json:"summary"`
	// Chosen says how many accounts the run was about; nil when it was about all.
	Chosen *Part `json:"chosen,omitempty"`
	// Classes counts accounts by what becomes of their password. They add up to the
	// accounts that the run was about, those that a filter leaves out among them.
	Classes map[target.Class]int `json:"classes"`
	// Losses counts users by what the target will not hold of them.
	Losses map[mapping.Loss]int `json:"losses"`
	// Withheld says which of the losses are there because the plugin does not declare
	// a feature; nil when none is.
	Withheld *Withheld `json:"not_declared,omitempty"`
	// Reasons counts rejected, skipped and in-doubt users by code.
	Reasons map[diag.Code]int `json:"reasons"`
	// Drifted counts accounts that somebody has changed in the target since the
	// last run. A run finds them where it looks; a dry run looks everywhere.
	Drifted int `json:"drifted"`
	// Mailed is how many people the target is going to mail on its own because of the
	// run, at most, as far as its plugin knows.
	Mailed int `json:"mailed"`
	// Removed lists accounts that an earlier run has loaded and the source no
	// longer has. Nothing is done about them. A run about a part says nothing of them.
	Removed []string `json:"removed,omitempty"`
	// Canaries is the proof that old passwords work, by hash shape.
	Canaries []Proof `json:"canaries,omitempty"`
	// ReadBack is what reading back has found; nil when nothing was read back.
	ReadBack *Verification `json:"read_back,omitempty"`
	// Diagnostics are the preflight's warnings, or its errors when it refused.
	Diagnostics diag.List     `json:"diagnostics,omitempty"`
	Elapsed     time.Duration `json:"-"`
}

// Withheld is what a target is not given.
type Withheld struct {
	// Plugin is the name of the target's plugin.
	Plugin string `json:"plugin"`
	// Features counts users that have something of a feature that the plugin does not
	// declare.
	Features map[target.Feature]int `json:"features"`
}

// The reasons why a run ends before every account was dealt with. All but
// ErrUnbalanced and ErrNotCommitted leave everything accounted for as it is.
var (
	// ErrRefused: the preflight found an error; the diagnostics say which. Nothing
	// was written.
	ErrRefused = errors.New("the target is not ready for this run")
	// ErrNotCommitted: the last step of the target failed; nothing of the run
	// counts as loaded.
	ErrNotCommitted = errors.New("the target could not complete the run")
	// ErrLimit: the run would do, or has met, more than the limits allow.
	ErrLimit = errors.New("stopped by a limit")
	// ErrCanary: a password that should work does not; no user was loaded.
	ErrCanary = errors.New("an old password would not work in the target")
	// ErrUnbalanced: outcomes do not add up to the accounts read, which is a defect
	// of this program or of a plugin.
	ErrUnbalanced = errors.New("the accounts do not add up; please report this")
)

// Run moves every account of src to dst. The result is meaningful also when
// the error is not nil: it says how far the run came. When ctx ends, reading
// stops, and what is in flight gets a moment to end in order.
func Run(ctx context.Context, src Source, dst Target, o Options) (*Result, error) {
	r := newRunner(src, dst, o)
	start := time.Now()
	err := r.run(ctx)
	r.result.Elapsed = time.Since(start)
	return r.result, err
}

// Check reads every account and examines the target for what a run with these
// options would ask of it. It writes nothing.
func Check(ctx context.Context, src Source, dst Target, o Options) (diag.List, error) {
	r := newRunner(src, dst, Options{Mapping: o.Mapping, Policies: o.Policies})
	if err := r.survey(ctx); err != nil || !r.caps.Can(target.CanCheck) {
		return nil, err
	}
	found, err := dst.Check(ctx, r.needs)
	r.mailed(found.Mails)
	return append(found.Diagnostics, r.result.Diagnostics...), err
}

// Survey reads every account and says what a run would ask of the target.
func Survey(ctx context.Context, src Source, dst Target, o Options) (target.Needs, error) {
	r := newRunner(src, dst, Options{Mapping: o.Mapping, Policies: o.Policies})
	err := r.survey(ctx)
	return r.needs, err
}

func newRunner(src Source, dst Target, o Options) *runner {
	r := &runner{src: src, dst: dst, options: o, caps: dst.Capabilities(), result: &Result{
		DryRun: o.DryRun, Classes: map[target.Class]int{}, Losses: map[mapping.Loss]int{}, Reasons: map[diag.Code]int{},
	}}
	r.owners, r.withheld = newOwners(&r.caps), r.caps.Withheld()
	if o.ReadBack > 0 && !o.DryRun && !r.caps.Whole && r.caps.Can(target.CanPlan) {
		r.written = &written{seed: maphash.MakeSeed(), ids: map[uint64]string{}}
	}
	if r.caps.Whole && o.Journal != nil {
		// Every run writes everything anew: what earlier ones did is of no account, and
		// what this one does is noted for the commands that come after it.
		if r.options.Journal = (forgetful{o.Journal}); o.DryRun {
			r.options.Journal = nil
		}
	}
	r.held.off = true
	r.takePart()
	return r
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

type runner struct {
	src     Source
	dst     Target
	options Options
	caps    target.Capabilities
	// withheld is what the target is not given of any account.
	withheld target.Withheld
	result   *Result
	needs    target.Needs
	total    int
	// owners knows who keeps an identifier that several accounts want.
	owners owners
	held   held
	// merged holds accounts that are made one with another, by the place of that one.
	merged map[int][]target.User
	known  memory
	// written is nil where nothing is read back.
	written *written
	shapes  shapes
	guard   guard
	// part is who the run is about, and chosen says it of every account by its place;
	// both are nil when it is about all.
	part   *Part
	chosen []bool
}

func (r *runner) run(ctx context.Context) error {
	if r.caps.Whole && r.part != nil && !r.options.DryRun {
		return ErrNeedsEveryone
	}
	if err := r.remember(ctx); err != nil {
		return err
	}
	r.held.off = len(r.known.ahead) == 0 || r.options.DryRun || r.options.Plan != nil || r.part != nil
	if err := r.survey(ctx); err != nil {
		return err
	}
	if r.caps.Can(target.CanCheck) {
		found, err := r.dst.Check(ctx, r.needs)
		if err != nil {
			return fmt.Errorf("check the target: %w", err)
		}
		r.result.Diagnostics = found.Diagnostics
		if found.Diagnostics.HasErrors() {
			return ErrRefused
		}
		r.mailed(found.Mails)
	}
	if r.options.DryRun {
		if !r.caps.Can(target.CanPlan) {
			return errors.New("this target cannot say what a run would change; its plugin does not implement Plan")
		}
		if err := r.move(ctx); err != nil {
			return err
		}
		return r.balance()
	}
	if err := r.limitsBefore(); err != nil {
		return err
	}
	if err := r.prove(ctx); err != nil {
		return err
	}
	if err := r.move(ctx); err != nil {
		return err
	}
	if err := r.dst.Finish(ctx); err != nil {
		s := &r.result.Summary
		s.Rejected += s.Created + s.Updated
		r.result.Reasons[diag.LoadNotCommitted] += s.Created + s.Updated
		s.Created, s.Updated = 0, 0
		return fmt.Errorf("%w: %w", ErrNotCommitted, err)
	}
	if err := r.balance(); err != nil {
		return err
	}
	return r.readBack(ctx)
}

// balance is invariant I1: whoever was read has one outcome.
func (r *runner) balance() error {
	s := r.result.Summary
	if s.Read != s.Accounted() || s.Read != r.total {
		return fmt.Errorf("%w: %d users surveyed, %d read, %d accounted for", ErrUnbalanced, r.total, s.Read, s.Accounted())
	}
	return nil
}

func (r *runner) progress(p Phase, done, total int) {
	if r.options.Progress != nil {
		r.options.Progress(Progress{Phase: p, Done: done, Total: total})
	}
}

package migration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/signin"
	"github.com/stetl/stetl/core/supertokens"
)

// RunOptions say what [Migration.Run] does.
type RunOptions struct {
	// DryRun plans instead of loading. Nothing is written anywhere.
	DryRun bool
	// Full compares every account with the target, also where nothing has changed since
	// the last run.
	Full bool
	// Choice is who the run is about.
	Choice Choice
	// Outcome, when set, is called for every account as its fate becomes known; see
	// [engine.Options] for which ones that leaves out.
	Outcome func(pluginapi.Change)
	// Confirm, when set, is asked before the first write of the first run into a target
	// that is live: as long as the journal knows nobody who is there. Its error ends the
	// run.
	Confirm func(context.Context, engine.Intent) error
	// Save, when set, gets the plan that a dry run has made.
	Save func(*engine.Plan) error
}

// Run moves the accounts of the source to the target, or says in a dry run what it
// would do, and notes what it did in the journal. It can be asked once: what a target
// writes as a whole is finished by the end of a run.
//
// The report is never nil. Its Result is when the run never began, and says how far it
// came when there is an error as well.
func (m *Migration) Run(ctx context.Context, o RunOptions) (_ *report.Run, err error) {
	r := &run{m: m, o: o, report: &report.Run{}}
	ctx, release := m.journal.hold(ctx)
	defer release()
	if err := r.prepare(ctx); err != nil {
		return r.report, err
	}
	defer func() { err = errors.Join(err, r.closeReview()) }()
	if err := r.begin(ctx); err != nil {
		return r.report, err
	}
	m.ran = m.ran || !o.DryRun
	result, err := engine.Run(ctx, r.accounts, m.target, r.engine)
	return r.report, r.finish(ctx, result, err)
}

// run is a run that is under way.
type run struct {
	m        *Migration
	o        RunOptions
	engine   engine.Options
	accounts engine.Source
	review   *supertokens.Review // nil where another reading is reviewed
	keys     []age.Recipient     // for those who are not loaded
	report   *report.Run
	plan     *recorder // nil where none is wanted
	notes    *notes    // nil in a dry run
	// misplaced are warnings about where the journal is.
	misplaced diag.List
}

// prepare decides what the run is to do, and with whom.
func (r *run) prepare(ctx context.Context) (err error) {
	m := r.m
	switch part := wantsPart(&r.o.Choice, m.o.Plan); {
	case !r.o.DryRun && m.o.ReadOnly:
		return UsageError{errors.New("the journal was opened read-only, and a run has to write to it")}
	case m.ran:
		return UsageError{errors.New("this migration has been run already: open it again for another run")}
	case len(part) > 0 && m.target.Capabilities().Whole:
		return needsEveryone(part)
	}
	if r.keys, err = parseRecipients(m.cfg.Rejects.Recipients); err != nil {
		return err
	}
	if err := m.openSource(ctx); err != nil {
		return err
	}
	r.engine = engineOptions(m)
	r.engine.DryRun, r.engine.Full, r.engine.Plan = r.o.DryRun, r.o.Full, m.o.Plan
	if r.engine.Departures, err = departures(ctx, m); err != nil {
		return err
	}
	src := m.source.src
	if m.o.Plan != nil {
		if err := m.o.Plan.Fits(src.App(), m.settings); err != nil {
			return UsageError{err}
		}
	}
	r.report.Words, r.report.PartLosses = m.plugin.words(), report.PartLosses{}
	r.report.Source, r.report.Layout, r.report.App, r.report.Target = src.Where(), src.Layout(), src.App(), m.cfg.TargetText()
	if m.dealt == nil {
		r.review = supertokens.NewReview(src)
	}
	r.accounts = reading(m, r.review)
	if r.engine.Part, err = choose(ctx, m, r.accounts, r.engine, &r.o.Choice); err != nil {
		return errors.Join(err, r.closeReview())
	}
	return nil
}

func (r *run) closeReview() error {
	if r.review == nil {
		return nil
	}
	return r.review.Close()
}

// begin has everything about the run noted that is to be. When the settings have
// changed since the last whole run, every account is compared; digests depend on the
// settings as well, so that it is so also for the run after one that was killed halfway.
func (r *run) begin(ctx context.Context) error {
	m, scope := r.m, r.m.journal.scope
	if r.o.DryRun && r.o.Save != nil {
		r.plan = newRecorder(m, &r.engine, r.report.Target)
	}
	r.engine.Outcome = r.outcome
	r.engine.SignIn = r.signIn
	r.engine.Different = func(c pluginapi.Change) { r.report.Different = append(r.report.Different, c) }
	if scope == nil {
		return nil
	}
	var err error
	if r.misplaced, err = m.journal.misplaced(ctx, m.cfg.Config); err != nil {
		return RefusedError{err}
	}
	last, err := scope.Runs.Settings(ctx)
	if err != nil {
		return RefusedError{err}
	}
	if last != nil && !bytes.Equal(last, m.settings) {
		r.engine.Full = true
	}
	chosen := readingSettings(m.cfg)
	if r.engine.Departures != nil && !r.engine.Departures.SameReading(lastReading) {
		r.engine.Full = true // so that it is noted of everybody who is there that this reading has them
	}
	if r.o.DryRun {
		return nil
	}
	if !m.target.Capabilities().Whole && !m.journal.hasAccounts(ctx) {
		r.engine.Confirm = r.o.Confirm
	}
	begun := journal.Run{Source: r.report.Source, Target: r.report.Target, Program: m.o.Program, Settings: m.settings, Reading: chosen, Began: time.Now()}
	if r.engine.Part != nil || r.engine.Plan != nil {
		begun.Settings = []byte{} // it says nothing about the other accounts
	}
	if r.notes, err = newNotes(scope, begun, r.engine.Policies.Skip, m.target.Capabilities().Whole); err != nil {
		return RefusedError{err}
	}
	r.engine.Run = r.notes.id
	if m.target.Capabilities().Whole {
		r.engine.Journal = &anew{Scope: scope}
	}
	r.engine.Progress = func(p engine.Progress) {
		m.o.Progress(p)
		r.notes.progress(p)
	}
	return nil
}

// outcome passes on what became of an account.
func (r *run) outcome(c pluginapi.Change) {
	r.report.PartLosses.Add(c.Losses)
	if r.o.DryRun || c.Code != "" || c.Incomplete() || c.Unread() {
		r.report.Changes = append(r.report.Changes, c)
	}
	if r.plan != nil {
		r.plan.outcome(c)
	}
	if r.notes != nil {
		r.notes.outcome(c)
	}
	if r.o.Outcome != nil {
		r.o.Outcome(c)
	}
}

// signIn keeps how a person could sign in: of everybody in a dry run, and else of those who
// cannot.
func (r *run) signIn(sourceID string, ways []signin.Way) {
	if r.o.DryRun || signin.None(ways) {
		r.report.SignIns = append(r.report.SignIns, report.SignIn{SourceID: sourceID, Ways: ways})
	}
}

// finish completes the report, and has the end of the run noted.
func (r *run) finish(ctx context.Context, result *engine.Result, err error) error {
	m := r.m
	result.Diagnostics = append(m.cfg.Target.Locate(result.Diagnostics), r.misplaced...)
	r.report.Result = result
	if r.review != nil {
		findings, findErr := r.review.Findings()
		r.report.Findings, err = findings, errors.Join(err, findErr)
	}
	if r.plan != nil && err == nil {
		result.Gone.Into(r.plan.plan)
		err = r.o.Save(r.plan.plan)
	}
	if r.notes == nil {
		return classify(ctx, err)
	}
	if ctx.Err() == nil {
		err = errors.Join(err, keepPayloads(ctx, &m.journal, r.accounts, r.notes.notLoaded, r.keys))
	}
	if endErr := r.notes.end(result, r.report.PartLosses, err); endErr != nil {
		err = errors.Join(err, fmt.Errorf("the end of the run cannot be stored in the journal: %w", endErr))
	}
	return classify(ctx, err)
}

// recorder collects the plan that a dry run makes.
type recorder struct {
	plan    *engine.Plan
	digests sync.Map // by source id
}

func newRecorder(m *Migration, o *engine.Options, place string) *recorder {
	r := &recorder{plan: engine.NewPlan(m.source.src.App(), place, m.settings, nil)}
	if o.Part != nil {
		r.plan.Part = o.Part.Flag
	}
	if m.journal.file == nil {
		r.plan.Key = m.journal.key
	}
	o.Digest = func(id string, digest []byte) { r.digests.Store(id, digest) }
	return r
}

func (r *recorder) outcome(c pluginapi.Change) {
	digest, _ := r.digests.Load(c.SourceID)
	known, _ := digest.([]byte) // none for accounts that are excluded
	r.plan.Add(c, known)
}

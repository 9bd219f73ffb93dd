package migration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/signin"
)

// Past is what runs have left behind in the journal.
type Past struct{ m *Migration }

// Past is an error where there has been no run.
func (m *Migration) Past() (Past, error) {
	if m.journal.scope == nil {
		return Past{}, RefusedError{fmt.Errorf("no run has been made yet: there is no journal in %s", journalPlace(m.cfg.Config))}
	}
	return Past{m}, nil
}

// Rejects lists the accounts that are not in the target as they should be. For the age
// public keys in recipients and in the configuration, it reads the source and gives the
// accounts as well, encrypted.
func (p Past) Rejects(ctx context.Context, recipients ...string) ([]report.Reject, error) {
	m := p.m
	keys, err := parseRecipients(slices.Concat(m.cfg.Rejects.Recipients, recipients))
	if err != nil {
		return nil, err
	}
	list, err := p.rejects(ctx)
	if err != nil {
		return nil, RefusedError{err}
	}
	if len(keys) == 0 || len(list) == 0 {
		return list, nil
	}
	if err := m.openSource(ctx); err != nil {
		return nil, err
	}
	return list, addPayloads(ctx, &m.journal, reading(m, nil), list, keys)
}

func (p Past) rejects(ctx context.Context) ([]report.Reject, error) {
	scope := p.m.journal.scope
	var list []report.Reject
	for e, err := range scope.Accounts(ctx) {
		if err != nil {
			return nil, err
		}
		if !e.Open() {
			continue
		}
		list = append(list, report.Reject{
			SourceID: e.SourceID, VisibleID: e.VisibleID, TargetID: e.TargetID, Outcome: string(e.Outcome()), Code: string(e.Code),
			Accepted: slices.Contains(p.m.cfg.Policies.Skip, e.Code), Run: e.Run, At: e.At.UTC(),
		})
	}
	for i := range list { // not while the accounts are being read
		r := &list[i]
		reason, ok, err := scope.Rejects.Reason(ctx, r.SourceID)
		if err != nil {
			return nil, err
		}
		if ok && reason.Run >= r.Run {
			r.Detail, r.Hint = reason.Detail, reason.Hint
		}
		r.Code = cmp.Or(r.Code, string(diag.LoadUnknownAnswer))
		if info, known := p.m.plugin.words().Lookup(diag.Code(r.Code)); known {
			r.Path, r.Permanent = info.Path, info.Permanent
			r.Detail, r.Hint = cmp.Or(r.Detail, info.Meaning), cmp.Or(r.Hint, info.Remedy)
		}
	}
	return list, nil
}

// Stranded lists the accounts that runs have loaded and whose people have no way to sign in
// at the target, as the last run has seen it. It is an error where that run could not tell.
func (p Past) Stranded(ctx context.Context) ([]report.Reject, error) {
	scope := p.m.journal.scope
	target, err := p.signIn(ctx)
	if err != nil {
		return nil, err
	}
	var list []report.Reject
	for e, err := range scope.Accounts(ctx) {
		if err != nil {
			return nil, RefusedError{err}
		}
		if !e.InTarget() {
			continue
		}
		brings, err := signin.Parse(e.SignIn)
		if err != nil {
			return nil, RefusedError{fmt.Errorf("account %s in the journal: %w", e.SourceID, err)}
		}
		if !target.Strands(brings) {
			continue
		}
		r := report.Reject{
			SourceID: e.SourceID, VisibleID: e.VisibleID, TargetID: e.TargetID, Outcome: report.OutcomeStranded, Code: string(diag.RunStranded),
			Detail: "has " + brings.Text(), Run: e.Run, At: e.At.UTC(),
		}
		for _, w := range target.Ways(brings) {
			r.Detail += fmt.Sprintf("; %s: %s", w.Text(), w.State.Text())
		}
		if info, known := p.m.plugin.words().Lookup(diag.RunStranded); known {
			r.Hint = info.Remedy
		}
		list = append(list, r)
	}
	return list, nil
}

// signIn is how people can sign in, as the last run has seen the target.
func (p Past) signIn(ctx context.Context) (*signin.Target, error) {
	all, err := p.m.journal.scope.Runs.List(ctx, mostRuns)
	if err != nil {
		return nil, RefusedError{err}
	}
	for _, r := range all {
		if target := report.SignInOf(r); target.Known() {
			return target, nil
		}
	}
	return nil, RefusedError{errors.New("no run knows which ways to sign in the target has: its plugin does not say, or no run has come that far")}
}

// IDMap pairs the ids of every account that runs have loaded or found; with linked also
// those that were made one with another, which share a target id.
func (p Past) IDMap(ctx context.Context, linked bool) (*report.IDMap, error) {
	m := &report.IDMap{}
	for e, err := range p.m.journal.scope.Accounts(ctx) {
		switch {
		case err != nil:
			return nil, RefusedError{err}
		case e.Code == diag.MapLinked:
			if linked && e.TargetID != "" {
				m.Pairs = append(m.Pairs, report.Pair{SourceID: e.SourceID, VisibleID: e.VisibleID, TargetID: e.TargetID, Linked: true})
			}
		case !e.Located():
			m.Missing++
		default:
			m.Pairs = append(m.Pairs, report.Pair{SourceID: e.SourceID, VisibleID: e.VisibleID, TargetID: e.TargetID})
		}
	}
	return m, nil
}

// The runs that are looked at, and those that a report lists.
const (
	mostRuns  = 10_000
	shownRuns = 20
)

// Report tells what the run of this number did, the last one where it is 0, and where
// the accounts stand.
func (p Past) Report(ctx context.Context, number int64) (*report.History, error) {
	scope := p.m.journal.scope
	all, err := scope.Runs.List(ctx, mostRuns)
	if err != nil {
		return nil, RefusedError{err}
	}
	h := &report.History{Runs: all[:min(len(all), shownRuns)], Outcomes: map[pluginapi.Action]int{}, Reasons: map[diag.Code]int{}, Words: p.m.plugin.words()}
	for _, r := range all {
		if number == 0 || r.ID == number {
			h.Run = r
			break
		}
	}
	switch {
	case h.Run.ID == 0 && number != 0:
		return nil, UsageError{fmt.Errorf("--run %d: the journal has no such run for this source and target", number)}
	case h.Run.ID == 0:
		return nil, RefusedError{errors.New("no run has been made yet for this source and target")}
	}
	if h.Samples, err = scope.Runs.Samples(ctx, h.Run.ID); err != nil {
		return nil, RefusedError{err}
	}
	for e, err := range scope.Accounts(ctx) {
		if err != nil {
			return nil, RefusedError{err}
		}
		h.Outcomes[e.Outcome()]++
		if e.Code != "" && e.DisabledAt.IsZero() {
			h.Reasons[e.Code]++
		}
	}
	return h, nil
}

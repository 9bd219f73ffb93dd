package migration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/report"
)

// The phases of [RunTargets]: accounts are dealt to the targets, and loaded into them.
const (
	Dealing engine.Phase = "deal"
	Sharing engine.Phase = "targets"
)

// TargetsOptions say what [RunTargets] does. What it shares with [RunOptions] is for each
// target.
type TargetsOptions struct {
	RunOptions
	// Detailed has a dry run say whether anything would change.
	Detailed bool
	// Only names the targets that the run is about; all of them where it is empty.
	Only []string
	// Plans, when set, is what the run executes, to the letter.
	Plans *Plans
	// SaveAll, when set, gets the plans that a dry run has made, unless a target failed.
	SaveAll func(*Plans) error
}

// RunTargets moves the accounts of the source to the targets of a configuration, which is
// read once for all of them. What fails for one target is in its line of the report; an error
// says that no target was begun. Few targets are handled at a time.
func RunTargets(ctx context.Context, cfg *Config, o Options, t TargetsOptions) (_ *report.Targets, err error) {
	start := time.Now()
	m := &many{cfg: cfg, o: o, t: t, report: &report.Targets{DryRun: t.DryRun}}
	if m.o.Progress == nil {
		m.o.Progress = func(engine.Progress) {}
	}
	defer func() {
		m.report.Elapsed = time.Since(start)
		err = errors.Join(err, m.close())
	}()
	for _, step := range []func(context.Context) error{m.open, m.resolve, m.deal, m.confirm} {
		if err := step(ctx); err != nil {
			return m.report, err
		}
	}
	m.runAll(ctx)
	return m.report, m.save()
}

// many is a run into several targets.
type many struct {
	cfg     *Config
	o       Options
	t       TargetsOptions
	routing *routing
	journal runJournal
	source  *Source
	places  []*place // in their order
	dealt   *dealt
	plans   Plans
	report  *report.Targets

	mu   sync.Mutex // for what targets tell at the same time
	done []int      // accounts of each
}

// place is one target.
type place struct {
	name     string
	cfg      *Config
	identity []string
	// known says that the journal has accounts of it.
	known bool
}

// open opens the journal and the source.
func (m *many) open(ctx context.Context) error {
	if !m.cfg.Targets.Set && !m.cfg.problems.HasErrors() {
		return UsageError{fmt.Errorf("%s has one target, and no targets", m.cfg.Path)}
	}
	_, found := compileMapping(m.cfg.Config)
	problems := append(slices.Clone(m.cfg.problems), found...)
	if problems.HasErrors() {
		problems.Sort()
		return problems.Err()
	}
	m.routing = newRouting(m.cfg.Config)
	m.journal.log = m.o.Plugins.Log
	if m.t.Plans != nil {
		for _, p := range m.t.Plans.Targets { // all have the same one
			m.journal.key = p.Key
		}
	}
	if err := m.journal.open(ctx, m.cfg.Config, m.o.ReadOnly); err != nil {
		return err
	}
	var err error
	m.source, err = openSource(ctx, m.cfg.Config, SourceOptions{Accept: m.o.Accept, Rows: m.o.Rows})
	if err != nil {
		return err
	}
	src := m.source.src
	m.report.Source, m.report.Layout, m.report.App = src.Where(), src.Layout(), src.App()
	return nil
}

func (m *many) close() (err error) {
	if m.dealt != nil {
		err = m.dealt.spill.Close()
	}
	if m.source != nil {
		err = errors.Join(err, m.source.Close())
	}
	return errors.Join(err, m.journal.close())
}

// tenants are those of the app.
func (m *many) tenants() []string {
	for _, app := range m.source.src.Apps() {
		if app.ID == m.source.src.App() {
			return app.Tenants
		}
	}
	return nil
}

// resolve makes the configuration of every target, and judges all of them: before anything is
// written it is known whether one is wrong.
func (m *many) resolve(ctx context.Context) error {
	names := targetNames(m)
	for _, name := range m.t.Only {
		if !slices.Contains(names, name) {
			return UsageError{fmt.Errorf("--target %s: there is no such target: there are %s", name, strings.Join(names[:min(len(names), mostTenants)], ", "))}
		}
	}
	problems := unknownTenants(m)
	naming, _ := newNaming(m.cfg.Config) // Load has said what is wrong
	infos := map[string]plugin.Info{}    // by plugin and where it is
	owners := map[string]string{}
	for _, name := range names {
		one, found := naming.target(name)
		problems.Add(found...)
		if one == nil {
			continue
		}
		key := strings.Join([]string{one.Target.Plugin, one.Target.Path, one.Target.Dir}, "\n")
		info, described := infos[key]
		if !described {
			var err error
			if info, err = describePlugin(ctx, one, m.o.Plugins); err != nil {
				return err
			}
			infos[key] = info
			problems.Add(m.cfg.Locate(unknownReasons(m.cfg.Policies.Skip, info))...)
		}
		problems.Add(one.Target.Validate(info.ConfigSchema)...)
		found, err := own(m, owners, name, one, info.Capabilities.Identity)
		if err != nil {
			return err
		}
		problems.Add(found...)
		if len(m.t.Only) == 0 || slices.Contains(m.t.Only, name) {
			m.places = append(m.places, &place{
				name: name, cfg: &Config{Config: one, share: &share{target: name, routing: m.routing}}, identity: info.Capabilities.Identity,
			})
		}
	}
	if problems.HasErrors() {
		problems.Sort()
		return problems.Err()
	}
	if len(m.places) == 0 {
		return UsageError{errors.New("there is no target: every tenant is left out")}
	}
	return m.planned()
}

// targetNames are those of all targets.
func targetNames(m *many) (names []string) {
	for _, l := range m.cfg.Targets.Listed {
		names = append(names, l.Name)
	}
	if !m.routing.each {
		return names
	}
	for _, tenant := range m.tenants() {
		if to, _ := m.routing.targets(tenant); len(to) > 0 {
			names = append(names, tenant)
		}
	}
	return names
}

// unknownTenants names the tenants of the configuration that the source does not have.
func unknownTenants(m *many) (problems diag.List) {
	known := m.tenants()
	m.cfg.Targets.Places(func(tenant, path string) {
		if slices.Contains(known, tenant) {
			return
		}
		d := diag.Diagnostic{Code: diag.RunUnknownTenant, Summary: fmt.Sprintf("app %s has no tenant %q", m.source.src.App(), tenant), Path: path, Detail: "It has " + strings.Join(known[:min(len(known), mostTenants)], ", ") + "."}
		if like := diag.Suggest(tenant, known); like != "" {
			d.Hint = fmt.Sprintf("did you mean %q?", like)
		}
		problems.Add(d)
	})
	return m.cfg.Locate(problems)
}

// own notes in owners where a target is, and finds another one that is there.
func own(m *many, owners map[string]string, name string, one *config.Config, identity []string) (diag.List, error) {
	scope, err := scopeName(one, identity)
	if err != nil {
		return nil, err
	}
	first, taken := owners[scope]
	if !taken {
		owners[scope] = name
		return nil, nil
	}
	return m.cfg.Locate(diag.List{{
		Code: diag.TargetsSamePlace, Summary: fmt.Sprintf("the targets %s and %s are the same place: %s", first, name, (&Config{Config: one}).TargetText()), Path: strings.TrimSuffix(one.Target.PluginPath(), "/plugin"),
		Hint: "have each write to a place of its own, for example with {tenant} in a name",
	}}), nil
}

// planned makes sure that a saved plan is about these targets.
func (m *many) planned() error {
	if m.t.Plans == nil {
		return nil
	}
	planned := maps.Clone(m.t.Plans.Targets)
	var problems diag.List
	for _, p := range m.places {
		if planned[p.name] == nil {
			problems.Add(diag.Diagnostic{Code: diag.TargetsNotPlanned, Summary: fmt.Sprintf("the saved plan does not have the target %s", p.name), Hint: "plan again"})
		}
		delete(planned, p.name)
	}
	for _, name := range slices.Sorted(maps.Keys(planned)) {
		if len(m.t.Only) == 0 {
			problems.Add(diag.Diagnostic{Code: diag.TargetsNotPlanned, Summary: fmt.Sprintf("the saved plan has the target %s, which is not there any more", name), Hint: "plan again"})
		}
	}
	return problems.Err()
}

// deal reads the source, once.
func (m *many) deal(ctx context.Context) (err error) {
	names := make([]string, len(m.places))
	for i, p := range m.places {
		names[i] = p.name
	}
	m.dealt, m.report.Findings, err = deal(ctx, m.source, m.routing, names, func(accounts int) { m.o.Progress(engine.Progress{Phase: Dealing, Done: accounts}) })
	if err != nil {
		return classify(ctx, err)
	}
	m.done = make([]int, len(m.places))
	m.report.Dealing, m.report.Nowhere = m.dealt.dealing, m.dealt.nowhere
	for i := range m.report.Nowhere {
		if c := &m.report.Nowhere[i]; slices.Contains(m.cfg.Policies.Skip, c.Code) {
			c.Action = pluginapi.Skipped
		}
	}
	var problems diag.List
	for _, tenant := range slices.Sorted(maps.Keys(m.dealt.without)) {
		hint := "name it in include or in exclude"
		if !m.routing.each {
			hint = "give it a target, or leave it out with leave_out"
		}
		problems.Add(diag.Diagnostic{Code: diag.TargetsNoTarget, Path: "/targets", Summary: fmt.Sprintf("tenant %q has %d accounts and no target; nothing was written", tenant, m.dealt.without[tenant]), Hint: hint})
	}
	if problems.HasErrors() {
		return m.cfg.Locate(problems).Err()
	}
	if n := m.dealt.dealing.Several; n > 0 && m.routing.several == policy.Each {
		m.report.Found.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: diag.TargetsSeveral, Summary: fmt.Sprintf("%d people are in tenants of several targets, and get an account in each of these", n),
			Hint: "set policies.several_tenants to each if that is what you want, or else to first or reject",
		})
		if m.cfg.Policies.SeveralTenants == policy.Each { // somebody has decided it
			m.report.Found = nil
		}
	}
	for _, p := range m.places {
		if p.known, err = m.knows(ctx, p); err != nil {
			return RefusedError{err}
		}
	}
	return nil
}

// knows says whether the journal has accounts of a target.
func (m *many) knows(ctx context.Context, p *place) (bool, error) {
	j := m.journal
	if err := j.openScope(ctx, p.cfg.Config, p.identity); err != nil || j.scope == nil {
		return false, err
	}
	for _, err := range j.scope.Known(ctx) {
		return err == nil, err
	}
	return false, nil
}

// confirm asks whoever wants to be asked, once, where nobody has been loaded into one of the
// targets yet.
func (m *many) confirm(ctx context.Context) error {
	intent, first := engine.Intent{}, false
	for i, p := range m.places {
		intent.Accounts += m.dealt.counts[i]
		first = first || !p.known && m.dealt.counts[i] > 0
	}
	if m.t.Confirm == nil || m.t.DryRun || !first {
		return nil
	}
	return m.t.Confirm(ctx, intent)
}

// runAll runs every target, a few at a time. One that fails stops no other.
func (m *many) runAll(ctx context.Context) {
	m.report.Targets = make([]report.TargetRun, len(m.places))
	m.plans = Plans{Format: plansFormat, Targets: map[string]*engine.Plan{}}
	var group errgroup.Group
	group.SetLimit(m.cfg.Targets.Parallel)
	for i, p := range m.places {
		one := &m.report.Targets[i]
		one.Name, one.Accounts = p.name, m.dealt.counts[i]
		group.Go(func() error {
			switch {
			case ctx.Err() != nil:
				one.State, one.Err = report.TargetNotBegun, context.Cause(ctx)
			case one.Accounts == 0 && !p.known:
				one.State = report.TargetNothing
			default:
				one.Run, one.Err = m.runOne(ctx, i)
				one.State = stateOf(one)
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
}

// stateOf says how a target ended.
func stateOf(t *report.TargetRun) string {
	if t.Err != nil {
		return report.TargetFailed
	}
	switch report.EndingOf(t.Run) {
	case report.EndRejects:
		return report.TargetRejects
	case report.EndWouldChange:
		return report.TargetChanges
	case report.EndDone:
	}
	return report.TargetDone
}

// runOne runs one target, with a plugin of its own.
func (m *many) runOne(ctx context.Context, at int) (r *report.Run, err error) {
	p, o := m.places[at], m.o
	o.Progress = func(progress engine.Progress) { m.progress(at, progress) }
	o.Plan = nil
	if m.t.Plans != nil {
		o.Plan = m.t.Plans.Targets[p.name]
	}
	rules, _ := compileMapping(p.cfg.Config) // open has said what is wrong
	one := &Migration{cfg: p.cfg, o: o, rules: rules.For(p.name), journal: runJournal{file: m.journal.file, key: m.journal.key}, source: m.source, dealt: &hand{m.dealt, at}}
	defer func() { err = errors.Join(err, one.Close(ctx)) }()
	if err := start(ctx, one, nil); err != nil {
		return nil, err
	}
	run := m.t.RunOptions
	run.Confirm, run.Save = nil, nil
	if m.t.SaveAll != nil {
		run.Save = func(plan *engine.Plan) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.plans.Targets[p.name] = plan
			return nil
		}
	}
	if told := run.Outcome; told != nil {
		run.Outcome = func(c pluginapi.Change) {
			m.mu.Lock()
			defer m.mu.Unlock()
			told(c)
		}
	}
	r, err = one.Run(ctx, run)
	r.Detailed = m.t.Detailed
	if err != nil {
		r.Err = err.Error()
	}
	return r, err
}

// progress adds up how far the targets are.
func (m *many) progress(at int, p engine.Progress) {
	if p.Phase != engine.Loading && p.Phase != engine.Planning {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done[at] = p.Done
	done, total := 0, 0
	for i := range m.done {
		done, total = done+m.done[i], total+m.dealt.counts[i]
	}
	m.o.Progress(engine.Progress{Phase: Sharing, Done: done, Total: total})
}

// save gives the plans of a dry run to whoever wants them.
func (m *many) save() error {
	failed := slices.ContainsFunc(m.report.Targets, func(t report.TargetRun) bool { return t.Err != nil })
	if m.t.SaveAll == nil || failed { // the report says it, and there is no plan of all
		return nil
	}
	return m.t.SaveAll(&m.plans)
}

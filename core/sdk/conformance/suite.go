package conformance

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/pluginapi"
)

// Suite is a plugin and how to try it.
type Suite struct {
	// Start starts the plugin: [InProcess] or [Executable].
	Start Starter
	// Inspect, when set, reads the target behind the plugin's back. The text must
	// change whenever the target's accounts do.
	Inspect func(ctx context.Context) (string, error)
	// Allows, when set, reads what a role allows, behind the plugin's back. It is for plugins
	// that keep that.
	Allows func(ctx context.Context, role string) (permissions []string, err error)
	// Front, when set, stands before the test server of the target and is used to
	// disturb it. See [Front].
	Front *Front
	// Skip names rules that do not apply, each with the reason.
	Skip map[string]string
	// Only, when set, names the rules to try; all others are skipped. A name that is no
	// rule, here or in Skip, is an error.
	Only []string
	// Timeout bounds each rule; 0 is two minutes. A target that limits its requests may
	// need more. Rules that begin anew at every request have five times as much.
	Timeout time.Duration
	// Progress, when set, hears of each rule when it is done.
	Progress func(Result)
	// Log receives what the plugin logs. Nil discards.
	Log *slog.Logger
}

// Status is how a rule went.
type Status string

// The ways a rule can go.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Result is how one rule went.
type Result struct {
	Rule    string `json:"rule"`
	Promise string `json:"promise"`
	Status  Status `json:"status"`
	// Reason says why a rule was skipped.
	Reason string `json:"reason,omitempty"`
	// Problems is what was found, at most a few of a kind.
	Problems []string `json:"problems,omitempty"`
}

// Report is how all rules went.
type Report struct {
	Plugin  string   `json:"plugin"`
	Version string   `json:"version"`
	Results []Result `json:"results"`
}

// Failed reports whether a rule was broken.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Results, func(r Result) bool { return r.Status == Failed })
}

// Tried reports whether a rule was tried at all: where none was, nothing is known.
func (r Report) Tried() bool {
	return slices.ContainsFunc(r.Results, func(r Result) bool { return r.Status != Skipped })
}

// ErrNoSuchRule says that a suite names a rule that there is not.
var ErrNoSuchRule = errors.New("there is no such rule")

// check makes sure that every rule that s names exists.
func (s *Suite) check() error {
	known := map[string]bool{}
	for _, rule := range Rules() {
		known[rule.Name] = true
	}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(s.Skip)), s.Only) {
		if !known[name] {
			return fmt.Errorf("%w: %q; there are: %s", ErrNoSuchRule, name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return nil
}

// Rule is one promise that a plugin makes.
type Rule struct {
	Name, Promise string

	// unless says why the rule cannot be tried on this plugin, empty when it can.
	unless func(*kit) string
	// times says how much longer than the others it may take; 0 is no longer.
	times int
	// try looks for problems; an error is one more, after which it cannot go on.
	try func(context.Context, *probe) error
}

// Rules lists the rules in the order in which they are tried.
func Rules() []Rule {
	return slices.Concat(conversationRules(), accountRules(), changeRules(), keptRules(), besideRules(), faultRules(), brokenRules(), processRules(), strictRules(), watchRules())
}

const defaultTimeout = 2 * time.Minute

// Run tries every rule. The error means that the plugin could not even be started
// and configured.
func Run(ctx context.Context, s Suite) (Report, error) {
	k := &kit{suite: s, run: strings.ToLower(rand.Text()[:10]), watch: newWatch(s.Log)}
	k.memory = &memory{watch: k.watch}
	k.key = make([]byte, 32)
	_, _ = rand.Read(k.key) // never fails, see crypto/rand
	var report Report
	if err := s.check(); err != nil {
		return report, err
	}
	err := k.with(ctx, func(_ context.Context, i *instance) error {
		k.caps, k.info = i.Capabilities(), i.info
		for _, secret := range conversation.Secrets(i.info.ConfigSchema, s.Start.config) {
			k.watch.secret(secret)
		}
		report.Plugin, report.Version = i.info.Name, i.info.Version
		return nil
	})
	if err != nil {
		return report, fmt.Errorf("start the plugin: %w", err)
	}
	for _, rule := range Rules() {
		result := Result{Rule: rule.Name, Promise: rule.Promise, Status: Passed}
		reason := s.Skip[rule.Name]
		if reason == "" && len(s.Only) > 0 && !slices.Contains(s.Only, rule.Name) {
			reason = "not asked for"
		}
		if reason == "" && rule.unless != nil {
			reason = rule.unless(k)
		}
		if reason != "" {
			result.Status, result.Reason = Skipped, reason
			k.done(&report, result)
			continue
		}
		p := &probe{kit: k}
		k.tried(ctx, rule, p, cmp.Or(s.Timeout, defaultTimeout)*time.Duration(max(rule.times, 1)))
		switch {
		case len(p.problems) > 0:
			result.Status, result.Problems = Failed, p.problems
		case p.pointless != "":
			result.Status, result.Reason = Skipped, p.pointless
		}
		k.done(&report, result)
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
	}
	return report, nil
}

// done notes how a rule went.
func (k *kit) done(report *Report, r Result) {
	report.Results = append(report.Results, r)
	if k.suite.Progress != nil {
		k.suite.Progress(r)
	}
}

func (k *kit) tried(ctx context.Context, rule Rule, p *probe, timeout time.Duration) {
	late := fmt.Errorf("no answer within %s", timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	if err := rule.try(ctx, p); err != nil && !errors.Is(err, errStop) {
		p.fail("%v", err)
	}
}

// T is the part of [testing.T] that [Test] uses.
type T[Sub any] interface {
	Context() context.Context
	Helper()
	Run(name string, f func(Sub)) bool
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Test runs the suite in a test, with one subtest for each rule.
func Test[Sub T[Sub]](t Sub, s Suite) {
	t.Helper()
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !report.Tried() {
		t.Fatalf("no rule was tried")
	}
	for _, r := range report.Results {
		t.Run(r.Rule, func(t Sub) {
			switch r.Status {
			case Failed:
				t.Errorf("%s\n  %s", r.Promise, strings.Join(r.Problems, "\n  "))
			case Skipped:
				t.Skipf("not tried: %s", r.Reason)
			case Passed:
			}
		})
	}
}

// kit is one run of a suite.
type kit struct {
	suite  Suite
	run    string // makes the ids of this run
	made   int
	key    []byte
	memory *memory
	watch  *watch
	caps   pluginapi.Capabilities
	info   pluginapi.Description
}

// errStop ends a rule whose problem has been noted.
var errStop = errors.New("stop")

// probe notes what a rule finds.
type probe struct {
	*kit
	problems []string
	// pointless says that the plugin gave no occasion to try the rule.
	pointless string
}

// maxProblems of one rule are enough to understand it.
const maxProblems = 5

func (p *probe) fail(format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, fmt.Sprintf(format, args...))
	}
}

// with runs f with a configured plugin and closes it.
func (k *kit) with(ctx context.Context, f func(context.Context, *instance) error) error {
	return k.fresh(ctx, func(ctx context.Context, i *instance) error {
		list, err := i.configure(ctx, nil)
		k.watch.diagnostics(list)
		if err = errors.Join(err, list.Err()); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
		return f(ctx, i)
	})
}

// fresh runs f with a plugin that is not configured yet, and closes it.
func (k *kit) fresh(ctx context.Context, f func(context.Context, *instance) error) error {
	i, err := k.suite.Start.start(ctx, k)
	if err != nil {
		return err
	}
	err = f(ctx, i)
	closed := i.Close(ctx)
	k.watch.ended(i)
	if i.expectDeath {
		closed = nil
	}
	if closed != nil {
		closed = fmt.Errorf("close: %w", closed)
	}
	return errors.Join(err, closed)
}

// load is a whole run: it loads users with a plugin that was just started.
func (k *kit) load(ctx context.Context, users []pluginapi.User) (out []pluginapi.Outcome, err error) {
	err = k.with(ctx, func(ctx context.Context, i *instance) error {
		if out, err = i.Load(ctx, users); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		k.watch.outcomes(out)
		if err := i.Finish(ctx); err != nil {
			return fmt.Errorf("finish: %w", err)
		}
		return nil
	})
	return out, err
}

// inspect is empty where nobody can look.
func (k *kit) inspect(ctx context.Context) (string, error) {
	if k.suite.Inspect == nil {
		return "", nil
	}
	text, err := k.suite.Inspect(ctx)
	if err != nil {
		return "", fmt.Errorf("inspect the target: %w", err)
	}
	return text, nil
}

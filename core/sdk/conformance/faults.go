package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// faultRules are about what becomes of users when something breaks.
func faultRules() []Rule {
	return []Rule{
		{Name: "cancel", Promise: "a batch that is taken back, of a load or a plan, ends within two seconds, and the plugin goes on working", try: tryCancel},
		{
			Name: "throttled", Promise: "a target that says 429 now and then loses nobody", try: tryThrottled,
			unless: unlessFront,
		},
		{
			Name: "cut-off", Promise: "a target that does the work and cuts the connection makes nobody twice", try: tryCutOff,
			unless: unlessFront,
		},
	}
}

func unlessFront(k *kit) string {
	if k.suite.Front == nil {
		return "nothing stands before the target that could disturb it"
	}
	return ""
}

// cancelAfter is long enough for work to have begun.
const cancelAfter = 50 * time.Millisecond

func tryCancel(ctx context.Context, p *probe) error {
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		caps := p.caps.Batch
		users := p.people(min(max(caps.Users, 200)*max(caps.InFlight, 1), 2000))
		if p.caps.Can(pluginapi.CanPlan) {
			open, err := soon(ctx, users, func(ctx context.Context) ([]pluginapi.Outcome, error) {
				changes, err := i.Plan(ctx, users)
				out := make([]pluginapi.Outcome, len(changes))
				for n := range changes {
					out[n] = changes[n].Outcome
				}
				return out, err
			})
			if err != nil {
				return err
			}
			if open > 0 {
				p.fail("%d of %d users had no answer two seconds after their plan was taken back", open, len(users))
				return nil
			}
		}
		open, err := soon(ctx, users, func(ctx context.Context) ([]pluginapi.Outcome, error) { return i.Load(ctx, users) })
		if err != nil {
			return err
		}
		if open > 0 {
			p.fail("%d of %d users had no answer two seconds after their batch was taken back", open, len(users))
			return nil
		}
		out, err := i.Load(ctx, p.people(1))
		if err != nil {
			return fmt.Errorf("load after a batch was taken back: %w", err)
		}
		p.expect("after a batch was taken back", out, pluginapi.Created)
		return nil
	})
}

// soon has a call taken back and returns of how many users nothing was heard then.
func soon(ctx context.Context, users []pluginapi.User, call func(context.Context) ([]pluginapi.Outcome, error)) (open int, err error) {
	reason := errors.New("taken back")
	ctx, stop := context.WithTimeoutCause(ctx, cancelAfter, reason)
	defer stop()
	out, err := call(ctx)
	if err != nil && !errors.Is(err, reason) {
		return len(users), err
	}
	for _, o := range out {
		// Whoever was not begun with may be left out of what the batch ends with.
		if o.Code == diag.PluginNoAnswer && strings.HasPrefix(o.Detail, "no answer so far") {
			open++
		}
	}
	return open, nil
}

func tryThrottled(ctx context.Context, p *probe) error {
	users := p.people(30)
	defer p.suite.Front.disturb(throttle)()
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	p.expect("while every third request is answered with 429", out, pluginapi.Created)
	return nil
}

func tryCutOff(ctx context.Context, p *probe) error {
	users := p.people(12)
	restore := p.suite.Front.disturb(cutOff)
	var first []pluginapi.Outcome
	err := p.with(ctx, func(ctx context.Context, i *instance) (err error) {
		first, err = i.Load(ctx, users)
		return err
	})
	restore()
	if err != nil {
		return err
	}
	p.expect("cut off", first, pluginapi.Created, pluginapi.Unchanged, pluginapi.InDoubt)
	again := known(users, first)
	for i, o := range first {
		if o.Action == pluginapi.InDoubt {
			again[i].Prior = pluginapi.Prior{InDoubt: true}
		}
	}
	second, err := p.load(ctx, again)
	if err != nil {
		return err
	}
	for i, o := range second {
		if first[i].Action != pluginapi.InDoubt && o.Action != pluginapi.Unchanged || o.Action != pluginapi.Created && o.Action != pluginapi.Unchanged {
			p.fail("an account that was %s when the connection was cut ends as %s", say(first[i]), say(o))
		}
	}
	third, err := p.load(ctx, users)
	if err == nil && !p.caps.Whole {
		p.expect("in the end", third, pluginapi.Unchanged)
	}
	return err
}

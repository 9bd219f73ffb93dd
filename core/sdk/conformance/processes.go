package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

// processRules are about the process of a plugin.
func processRules() []Rule {
	return []Rule{
		{
			Name: "crash", Promise: "what was acknowledged outlives the process, and what was on its way is found again", try: tryCrash,
			unless: onlyProcesses,
		},
		{
			Name: "orphan", Promise: "a plugin whose host is gone ends on its own within five seconds", try: tryOrphan,
			unless: func(k *kit) string {
				if !canOrphan {
					return "this system has no way to try it"
				}
				return onlyProcesses(k)
			},
		},
	}
}

func tryCrash(ctx context.Context, p *probe) error {
	// A process is killed while it works, a little later each time.
	for _, delay := range []time.Duration{0, 3 * time.Millisecond, 20 * time.Millisecond} {
		acknowledged, onTheWay := p.people(5), p.people(100)
		var done, torn []pluginapi.Outcome
		err := p.with(ctx, func(ctx context.Context, i *instance) error {
			var err error
			if done, err = i.Load(ctx, acknowledged); err != nil {
				return err
			}
			i.expectDeath = true
			kill := time.AfterFunc(delay, func() { _ = i.client.Kill() })
			defer kill.Stop()
			var crash *plugin.CrashError
			torn, err = i.Load(ctx, onTheWay)
			if err != nil && !errors.As(err, &crash) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
		p.expect("before the crash", done, pluginapi.Created)
		if len(p.problems) > 0 {
			return nil
		}
		first := append(done, torn...)
		users := known(append(acknowledged, onTheWay...), first)
		for i, o := range first {
			if o.Action == pluginapi.InDoubt {
				users[i].Prior = pluginapi.Prior{InDoubt: true}
			}
		}
		second, err := p.load(ctx, users)
		if err != nil {
			return fmt.Errorf("after a restart: %w", err)
		}
		for i, o := range second {
			switch {
			case o.Action != pluginapi.Created && o.Action != pluginapi.Unchanged:
				p.fail("after a restart: a user who was %s ends as %s", say(first[i]), say(o))
			case p.caps.Whole || first[i].Action == pluginapi.InDoubt:
			case o.Action != pluginapi.Unchanged:
				p.fail("after a restart: an account that was acknowledged as %s is not there any more", say(first[i]))
			case o.TargetID != first[i].TargetID:
				p.fail("after a restart: the account has the id %q, it was created with %q", o.TargetID, first[i].TargetID)
			}
		}
		if p.caps.Whole {
			continue
		}
		third, err := p.load(ctx, known(users, second))
		if err != nil {
			return err
		}
		p.expect("in the end", third, pluginapi.Unchanged)
	}
	return nil
}

// orphanPatience is what the promise says.
const orphanPatience = 5 * time.Second

func tryOrphan(ctx context.Context, p *probe) error {
	i, err := p.suite.Start.launch(ctx, p.kit, adopted(p.suite.Start.place))
	if err != nil {
		return err
	}
	i.expectDeath = true
	defer func() { _ = i.Close(context.WithoutCancel(ctx)) }()
	ended, err := orphan(ctx, i.client.Info().PID, orphanPatience)
	if err == nil && !ended {
		p.fail("five seconds after its parent was killed, the process is still there")
	}
	return err
}

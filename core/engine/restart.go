package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Restarting is a target whose process is started again when it dies. Users who
// were with it are sent once more, to be looked up first; a batch that is there at
// two deaths is taken apart until the user that kills it is alone, and that one is
// rejected with plugin.crash.
type Restarting struct {
	// open starts a new process, configured like the first.
	open func(ctx context.Context) (Target, error)
	// wait is the pause before a restart, growing with each.
	wait time.Duration

	mu          sync.Mutex
	current     Target
	incarnation int
	restarts    []time.Time
	poisoned    int       // users that were found to kill the process
	failed      time.Time // when starting it again did not work
	failure     error     // and why
}

// At most so many restarts in so much time: a process that dies again and again
// needs a person.
const (
	mostRestarts  = 3
	restartWindow = 10 * time.Minute
	// poisonRestarts are allowed beyond that while a batch is taken apart, as each
	// step of that costs one: enough for a batch of thousands.
	poisonRestarts = 40
	// mostPoisoned users may be found to kill the process: more are a sign that it
	// is not about users.
	mostPoisoned = 3
	firstWait    = time.Second
	// A process that does not start is not tried again by everybody who misses it.
	failurePause = 5 * time.Second
	// aliveTimeout bounds how long one who asks for a process that is there waits.
	aliveTimeout = 20 * time.Second
)

// NewRestarting wraps first, an open target; open makes another one.
func NewRestarting(first Target, open func(ctx context.Context) (Target, error)) *Restarting {
	return &Restarting{current: first, open: open, wait: firstWait}
}

// crashed is how an error says that the process of a target has died.
type crashed interface{ Crashed() bool }

func isCrash(err error) bool {
	var c crashed
	return errors.As(err, &c) && c.Crashed()
}

func (t *Restarting) get() (Target, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.incarnation
}

// Current is the target that is at work now.
func (t *Restarting) Current() Target {
	current, _ := t.get()
	return current
}

// errExited is why a process is started again that nobody was asking when it ended.
var errExited = errors.New("the process of the plugin has ended")

// Alive is the target that is at work now; one whose process has ended is started
// again first. It is for a service, which asks one thing at a time for as long as it
// is wanted: restarts have no limit there, only longer and longer pauses. Others may
// wait for the same restart, so that it goes on when ctx ends.
func (t *Restarting) Alive(ctx context.Context) (Target, error) {
	current, incarnation := t.get()
	if p, ok := current.(interface{ Exited() bool }); !ok || !p.Exited() {
		return current, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aliveTimeout)
	defer cancel()
	if err := t.restart(ctx, incarnation, math.MaxInt, errExited); err != nil {
		return nil, err
	}
	return t.Current(), nil
}

// restart replaces the incarnation of the target that died, unless another
// caller has done so already.
func (t *Restarting) restart(ctx context.Context, incarnation, allowance int, cause error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.incarnation != incarnation {
		return nil
	}
	now := time.Now()
	if now.Sub(t.failed) < failurePause {
		return t.failure
	}
	recent := t.restarts[:0]
	for _, at := range t.restarts {
		if now.Sub(at) < restartWindow {
			recent = append(recent, at)
		}
	}
	t.restarts = recent
	if len(recent) >= allowance {
		return fmt.Errorf("the plugin died %d times in %s: %w", len(recent)+1, restartWindow, cause)
	}
	pause := time.NewTimer(t.wait << min(len(recent), mostRestarts))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), cause)
	}
	fresh, err := t.open(ctx)
	if err != nil {
		t.failed, t.failure = time.Now(), fmt.Errorf("start the plugin again after it died: %w", errors.Join(err, cause))
		return t.failure
	}
	t.restarts = append(t.restarts, now)
	t.current = fresh
	t.incarnation++
	return nil
}

// Capabilities implements [Target].
func (t *Restarting) Capabilities() pluginapi.Capabilities { return t.Current().Capabilities() }

// Check implements [Target].
func (t *Restarting) Check(ctx context.Context, needs pluginapi.Needs) (pluginapi.Checked, error) {
	return t.Current().Check(ctx, needs)
}

// Finish implements [Target].
func (t *Restarting) Finish(ctx context.Context) error { return t.Current().Finish(ctx) }

// Plan implements [Target]. It writes nothing, so after a crash it is just asked
// again.
func (t *Restarting) Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	for {
		current, incarnation := t.get()
		changes, err := current.Plan(ctx, users)
		if !isCrash(err) {
			return changes, err
		}
		if err := t.restart(ctx, incarnation, mostRestarts, err); err != nil {
			return changes, err
		}
	}
}

// Undo implements takingBack. What a process that died has done is looked up by the next run.
func (t *Restarting) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	u, ok := t.Current().(takingBack)
	if !ok {
		return nil, errors.New("this target cannot take accounts back")
	}
	return u.Undo(ctx, accounts)
}

// Load implements [Target].
func (t *Restarting) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	return t.LoadKnowing(ctx, users, nil, map[string]bool{})
}

// LoadKnowing implements resender.
func (t *Restarting) LoadKnowing(ctx context.Context, users []pluginapi.User, theirs, again map[string]bool) ([]pluginapi.Outcome, error) {
	current, incarnation := t.get()
	outcomes, err := current.Load(ctx, users)
	if !isCrash(err) {
		return outcomes, err
	}
	if err := t.restart(ctx, incarnation, mostRestarts, err); err != nil {
		return outcomes, err
	}
	return redelivery{t, theirs, again}.unanswered(ctx, users, outcomes, 1)
}

// redelivery sends users of a load again.
type redelivery struct {
	*Restarting
	theirs, again map[string]bool
}

// unanswered sends those who have no final outcome once more. deaths is how many
// processes have died with these users.
func (t redelivery) unanswered(ctx context.Context, users []pluginapi.User, outcomes []pluginapi.Outcome, deaths int) ([]pluginapi.Outcome, error) {
	var open []pluginapi.User
	var at []int
	for i := range outcomes {
		if outcomes[i].Action != pluginapi.InDoubt {
			continue
		}
		u := users[i]
		if outcomes[i].Code != diag.PluginNotSent && !t.theirs[u.SourceID] {
			u.Prior.InDoubt, t.again[u.SourceID] = true, true
		}
		open, at = append(open, u), append(at, i)
	}
	if len(open) == 0 {
		return outcomes, nil
	}
	got, err := t.resend(ctx, open, deaths)
	for n, i := range at {
		if got[n].Code != diag.PluginNotSent { // else the last thing known is that it was sent before
			outcomes[i] = got[n]
		}
	}
	return outcomes, err
}

func (t redelivery) resend(ctx context.Context, users []pluginapi.User, deaths int) ([]pluginapi.Outcome, error) {
	if deaths >= 2 && len(users) > 1 {
		half := len(users) / 2
		left, err := t.resend(ctx, users[:half], deaths)
		if err != nil {
			return append(left, unsent(users[half:], err)...), err
		}
		right, err := t.resend(ctx, users[half:], deaths)
		return append(left, right...), err
	}
	current, incarnation := t.get()
	outcomes, err := current.Load(ctx, users)
	if !isCrash(err) {
		return outcomes, err
	}
	allowance := mostRestarts
	if deaths >= 2 {
		allowance = poisonRestarts
	}
	if restartErr := t.restart(ctx, incarnation, allowance, err); restartErr != nil {
		return outcomes, restartErr
	}
	if deaths >= 2 && len(users) == 1 {
		if t.poison() > mostPoisoned {
			return outcomes, fmt.Errorf("the plugin dies with one user after the other: %w", err)
		}
		outcomes[0] = pluginapi.Outcome{
			SourceID: users[0].SourceID, Action: pluginapi.Rejected, Code: diag.PluginCrash,
			Detail: err.Error(), Hint: "report it to the author of the plugin; all others have been loaded",
		}
		return outcomes, nil
	}
	return t.unanswered(ctx, users, outcomes, deaths+1)
}

// poison counts a user that kills the process.
func (t *Restarting) poison() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poisoned++
	return t.poisoned
}

func unsent(users []pluginapi.User, err error) []pluginapi.Outcome {
	out := make([]pluginapi.Outcome, len(users))
	for i := range users {
		out[i] = pluginapi.Outcome{SourceID: users[i].SourceID, Action: pluginapi.InDoubt, Code: diag.PluginNotSent, Detail: err.Error()}
	}
	return out
}

package sdk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginpb"
)

// stream hides whether batches are loaded or planned.
type stream struct {
	recv func() (*pluginpb.Batch, *pluginpb.CancelBatch, error)
	send func(id uint64, changes []Change, done bool) error
	// post sends what belongs to no batch: pulses, and on the stream that writes also what
	// is to be saved.
	post func(*pluginpb.LoadResponse) error
	work func(ctx context.Context, users []User, out *ledger) error
}

// serve works on the batches of one stream until the host ends it.
func (s *service) serve(ctx context.Context, call string, st stream) error {
	inFlight, err := s.enter(call)
	if err != nil {
		return err
	}
	defer s.leave(call)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() //nolint:contextcheck // whichever ends first ends the work

	out := newOutbox()
	var sender, workers sync.WaitGroup
	sender.Go(func() { out.run(st.send, st.post, cancel) })
	defer sender.Wait()
	defer out.close()
	if call == loadCall {
		s.control.open(out)
		defer s.control.shut()
	} else {
		defer s.control.lend(out)()
	}
	defer workers.Wait()

	cancels := newCancels()
	// A host that respects InFlight never waits here; for any other one this is
	// the back-pressure.
	slots := make(chan struct{}, inFlight)
	for {
		b, c, err := st.recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			cancel()
			return err
		case c != nil:
			cancels.fire(c.GetBatchId())
		case b != nil:
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if !s.begin() {
				return wire.Misuse("%s during Close", call)
			}
			bctx, stop := context.WithCancel(ctx)
			cancels.add(b.GetId(), stop) // before the next message, which may take it back
			workers.Go(func() {
				defer s.busy.Done()
				defer func() { <-slots }()
				defer stop()
				defer cancels.remove(b.GetId())
				s.runBatch(bctx, call, b, out, st.work)
			})
		}
	}
}

// runBatch sees to it that every user of b ends in exactly one outcome.
func (s *service) runBatch(
	ctx context.Context, call string, b *pluginpb.Batch, out *outbox,
	work func(context.Context, []User, *ledger) error,
) {
	t := newLedger(b, out, s.log.With("call", call, "batch", b.GetId()), s.hearsLosses())
	users := make([]User, 0, len(b.GetUsers()))
	for _, p := range b.GetUsers() {
		u, err := wire.DecodeUser(p)
		if err != nil {
			t.Report(Change{Outcome: Outcome{
				SourceID: p.GetSourceId(), Action: Rejected, Code: diag.LoadInvalidUser,
				Detail: err.Error(), Hint: "use matching versions of stetl and the plugin",
			}})
			continue
		}
		users = append(users, u)
	}
	err := s.guard(call, func() error { return work(ctx, users, t) })
	open := t.end()
	code, detail := undecided(err)
	if err == nil && len(open) > 0 {
		t.log.Error("bug in the plugin: "+call+" returned nil without an outcome for every user", "users", len(open))
	}
	for _, id := range open {
		out.put(b.GetId(), Change{Outcome: Outcome{SourceID: id, Action: InDoubt, Code: code, Detail: detail}})
	}
	out.done(b.GetId())
}

// cancels finds the batch that the host wants to take back.
type cancels struct {
	mu   sync.Mutex
	byID map[uint64]context.CancelFunc
}

func newCancels() *cancels { return &cancels{byID: map[uint64]context.CancelFunc{}} }

func (c *cancels) add(id uint64, f context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[id] = f
}

func (c *cancels) remove(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

func (c *cancels) fire(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.byID[id]; f != nil {
		f()
	}
}

// ledger keeps the books of one batch. It is the Changes of a Planner, and
// behind outcomes the Outcomes of a Target.
type ledger struct {
	batch uint64
	out   *outbox
	log   *slog.Logger
	// heard says that the host hears of losses of parts of accounts.
	heard bool

	mu        sync.Mutex
	undecided map[string]bool // false once decided
	order     []string
	ended     bool
}

func newLedger(b *pluginpb.Batch, out *outbox, log *slog.Logger, heard bool) *ledger {
	t := &ledger{batch: b.GetId(), out: out, log: log, heard: heard, undecided: make(map[string]bool, len(b.GetUsers()))}
	for _, u := range b.GetUsers() {
		t.undecided[u.GetSourceId()] = true
		t.order = append(t.order, u.GetSourceId())
	}
	return t
}

// Report implements [Changes].
func (t *ledger) Report(c Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	open, known := t.undecided[c.SourceID]
	bug := ""
	switch {
	case !known:
		bug = "outcome for a user who is not in the batch"
	case t.ended:
		bug = "outcome after the call had returned"
	case !open:
		bug = "second outcome for a user; the first counts"
	case !wire.KnownAction(c.Action):
		bug = "outcome without a valid action"
	}
	if bug != "" {
		t.log.Error("bug in the plugin: "+bug, "source_id", c.SourceID, "action", string(c.Action))
		return
	}
	if c.Code == "" && (c.Action == Skipped || c.Action == Rejected || c.Action == InDoubt) {
		t.log.Error("bug in the plugin: "+string(c.Action)+" without a code", "source_id", c.SourceID)
	}
	c.Losses = t.losses(&c.Outcome)
	t.undecided[c.SourceID] = false
	// Under the lock, so that nothing follows the end of the batch.
	t.out.put(t.batch, c)
}

// losses are those that can be passed on; the log has the others.
func (t *ledger) losses(o *Outcome) []PartLoss {
	switch {
	case len(o.Losses) == 0:
		return nil
	case !o.Action.MayLose():
		t.log.Error("bug in the plugin: losses of an account that was not written", "source_id", o.SourceID, "action", string(o.Action))
		return nil
	case !t.heard:
		for _, l := range o.Losses {
			t.log.Warn("a part of the account was not written, and this version of stetl cannot count it",
				"source_id", o.SourceID, "feature", string(l.Feature), "reason", string(l.Code))
		}
	}
	return o.Losses
}

// end stops the bookkeeping and returns who has no outcome.
func (t *ledger) end() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	var open []string
	for _, id := range t.order {
		if t.undecided[id] {
			t.undecided[id] = false // an id that comes twice is one user
			open = append(open, id)
		}
	}
	return open
}

// outcomes narrows a ledger for Load.
type outcomes struct{ t *ledger }

// Report implements [Outcomes].
func (o outcomes) Report(out Outcome) { o.t.Report(Change{Outcome: out}) }

// outbox carries answers from many batches to the one goroutine that may send.
// Answers leave at once when the stream is free and in bunches when it is not,
// so a crash leaves few users in doubt without one message per user.
type outbox struct {
	mu     sync.Mutex
	queue  []message
	closed bool
	wake   chan struct{}
}

type message struct {
	batch  uint64
	change Change
	done   bool
	// post is a message of its own, and nothing else is set beside it.
	post *pluginpb.LoadResponse
}

// Bounds of one message: answers, and bytes of text in them.
const (
	maxBunch = 256
	maxBytes = 1 << 20
)

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (o *outbox) put(batch uint64, c Change) { o.push(message{batch: batch, change: clipChange(c)}) }

func (o *outbox) done(batch uint64) { o.push(message{batch: batch, done: true}) }

func (o *outbox) push(l message) {
	o.mu.Lock()
	o.queue = append(o.queue, l)
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
}

// take empties the outbox, for a call that answers all at once.
func (o *outbox) take() []message {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages := o.queue
	o.queue = nil
	return messages
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run sends until the outbox is closed and empty. When the stream breaks it
// calls broken, and from then on only throws away.
func (o *outbox) run(send func(uint64, []Change, bool) error, post func(*pluginpb.LoadResponse) error, broken func()) {
	failed := false
	for {
		<-o.wake
		o.mu.Lock()
		messages, closed := o.queue, o.closed
		o.queue = nil
		o.mu.Unlock()
		for len(messages) > 0 && !failed {
			if p := messages[0].post; p != nil {
				if err := post(p); err != nil {
					failed = true
					broken()
				}
				messages = messages[1:]
				continue
			}
			n := bunch(messages)
			changes := make([]Change, 0, n)
			for _, l := range messages[:n] {
				if !l.done {
					changes = append(changes, l.change)
				}
			}
			if err := send(messages[0].batch, changes, messages[n-1].done); err != nil {
				failed = true
				broken()
			}
			messages = messages[n:]
		}
		if closed {
			return
		}
	}
}

// bunch counts the leading messages that make one message: of one batch, ending
// with it, and within the bounds.
func bunch(messages []message) int {
	size := 0
	for n, l := range messages {
		size += textSize(l.change)
		if n == maxBunch || l.post != nil || l.batch != messages[0].batch || (n > 0 && size > maxBytes) {
			return n
		}
		if l.done {
			return n + 1
		}
	}
	return len(messages)
}

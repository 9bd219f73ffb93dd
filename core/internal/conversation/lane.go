package conversation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// lane is one open stream. Any number of calls share it; a sender and a
// receiver own the two directions.
type lane struct {
	session *Session
	name    string
	stream  stream
	limits  pluginapi.BatchLimits

	requests chan func() error // to the sender
	slots    chan struct{}     // one per batch in flight
	stop     chan struct{}     // closed to half-close the stream
	halt     func()            // closes stop
	ended    chan struct{}     // closed when the receiver is done
	// Why the stream ended, valid after ended is closed.
	err  error
	code diag.Code

	mu      sync.Mutex
	lastID  uint64
	batches map[uint64]*batch
}

// stream hides whether a lane plans or loads.
type stream struct {
	send   func(*pluginpb.Batch) error
	cancel func(*pluginpb.CancelBatch) error
	recv   func() (id uint64, answers []answer, done bool, err error)
	close  func() error
	// saved confirms a Save; nil where the stream has none.
	saved func(*pluginpb.Saved) error
}

// answer is a change, or the reason why it could not be read.
type answer struct {
	change pluginapi.Change
	err    error
}

// batch is one unit of work on its way.
type batch struct {
	id    uint64
	index map[string]int // source id → position in results
	// results belongs to the caller; nil once the caller has left.
	results []pluginapi.Change
	done    chan struct{}
}

var errFinished = errors.New("the session is already finished or closed")

func (s *Session) openLoad(ctx context.Context) (stream, error) {
	st, err := s.client.Load(ctx)
	return stream{
		send: func(b *pluginpb.Batch) error {
			return st.Send(&pluginpb.LoadRequest{Kind: &pluginpb.LoadRequest_Batch{Batch: b}})
		},
		cancel: func(c *pluginpb.CancelBatch) error {
			return st.Send(&pluginpb.LoadRequest{Kind: &pluginpb.LoadRequest_Cancel{Cancel: c}})
		},
		saved: func(c *pluginpb.Saved) error {
			return st.Send(&pluginpb.LoadRequest{Kind: &pluginpb.LoadRequest_Saved{Saved: c}})
		},
		recv: func() (uint64, []answer, bool, error) {
			p, err := st.Recv()
			s.listen(p)
			answers := make([]answer, len(p.GetOutcomes()))
			for i, o := range p.GetOutcomes() {
				answers[i].change.Outcome, answers[i].err = wire.DecodeOutcome(o)
			}
			return p.GetBatchId(), answers, p.GetDone(), err
		},
		close: func() error { return st.CloseSend() },
	}, err
}

func (s *Session) openPlan(ctx context.Context) (stream, error) {
	st, err := s.client.Plan(ctx)
	return stream{
		send: func(b *pluginpb.Batch) error {
			return st.Send(&pluginpb.PlanRequest{Kind: &pluginpb.PlanRequest_Batch{Batch: b}})
		},
		cancel: func(c *pluginpb.CancelBatch) error {
			return st.Send(&pluginpb.PlanRequest{Kind: &pluginpb.PlanRequest_Cancel{Cancel: c}})
		},
		recv: func() (uint64, []answer, bool, error) {
			p, err := st.Recv()
			answers := make([]answer, len(p.GetChanges()))
			for i, c := range p.GetChanges() {
				answers[i].change, answers[i].err = wire.DecodeChange(c)
			}
			return p.GetBatchId(), answers, p.GetDone(), err
		},
		close: func() error { return st.CloseSend() },
	}, err
}

// lane returns the open lane in slot, opening it first if need be. The lane is
// usable also with an error, which every user of it then reports.
func (s *Session) lane(slot **lane, name string, open func(context.Context) (stream, error)) (*lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *slot != nil {
		return *slot, nil
	}
	if s.finished && slot == &s.load {
		return &lane{session: s, name: name, limits: limits(s.effective.Batch)}, fmt.Errorf("plugin %s: %s: %w", s.opts.Name, name, errFinished)
	}
	l := &lane{
		session: s, name: name, limits: limits(s.effective.Batch),
		requests: make(chan func() error),
		stop:     make(chan struct{}),
		ended:    make(chan struct{}),
		batches:  map[uint64]*batch{},
	}
	l.slots = make(chan struct{}, l.limits.InFlight)
	l.halt = sync.OnceFunc(func() { close(l.stop) })
	var err error
	if l.stream, err = open(s.ctx); err != nil { // streams outlive the call that opens them
		_, err = s.explain(name, err)
		return l, err
	}
	*slot = l
	go l.sender()
	go l.receiver()
	return l, nil
}

// limits fills in defaults and bounds what a plugin may ask for.
func limits(b pluginapi.BatchLimits) pluginapi.BatchLimits {
	pick := func(asked, fallback, most int) int {
		if asked <= 0 {
			return fallback
		}
		return min(asked, most)
	}
	return pluginapi.BatchLimits{
		Users:    pick(b.Users, wire.DefaultBatchUsers, 100_000),
		Bytes:    pick(b.Bytes, wire.DefaultBatchBytes, wire.MaxUser),
		InFlight: pick(b.InFlight, wire.DefaultBatchInFlight, 256),
	}
}

// sender owns the stream's way down. Errors are not its business: gRPC gives
// the reason of a broken stream to the receiver.
func (l *lane) sender() {
	for {
		select {
		case send := <-l.requests:
			_ = send()
		case <-l.stop:
			_ = l.stream.close()
			return
		case <-l.ended:
			return
		}
	}
}

// receiver owns the stream's way up.
func (l *lane) receiver() {
	defer close(l.ended)
	for {
		id, answers, done, err := l.stream.recv()
		if err != nil {
			l.code, l.err = l.ending(err)
			return
		}
		if id != 0 || len(answers) > 0 || done {
			l.deliver(id, answers, done)
		}
	}
}

func (l *lane) ending(err error) (diag.Code, error) {
	if !errors.Is(err, io.EOF) {
		return l.session.explain(l.name, err)
	}
	select {
	case <-l.stop:
		return diag.PluginNoAnswer, errFinished
	default:
		return diag.PluginNoAnswer, fmt.Errorf("plugin %s ended the stream of %s on its own", l.session.opts.Name, l.name)
	}
}

func (l *lane) deliver(id uint64, answers []answer, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.batches[id]
	if b == nil {
		l.bug("answer to a batch that is not open", "batch", id)
		return
	}
	for _, a := range answers {
		i, known := b.index[a.change.SourceID]
		switch {
		case a.err != nil:
			l.bug("unreadable answer", "error", a.err)
		case !known:
			l.bug("answer for a user who is not in the batch", "source_id", a.change.SourceID)
		case b.results == nil: // nobody waits any more
		case b.results[i].Action != "":
			l.bug("second answer for a user; the first counts", "source_id", a.change.SourceID)
		default:
			a.change.Code = l.wellFormed(a.change.SourceID, a.change.Code)
			a.change.Losses = l.losses(&a.change.Outcome)
			a.change.Detail = bounded(l.session.Scrub(a.change.Detail))
			a.change.Hint = bounded(l.session.Scrub(a.change.Hint))
			for i, f := range a.change.Fields {
				a.change.Fields[i].Old, a.change.Fields[i].New = l.session.Scrub(f.Old), l.session.Scrub(f.New)
			}
			b.results[i] = a.change
		}
	}
	if done {
		delete(l.batches, id)
		close(b.done)
		<-l.slots
	}
}

// wellFormed is the code itself, or the one for plugins that give none that is.
func (l *lane) wellFormed(sourceID string, c diag.Code) diag.Code {
	if c == "" || c.WellFormed() {
		return c
	}
	l.bug("a code that is none", "source_id", sourceID, "given", string(c))
	return diag.PluginBrokeProtocol
}

// maxLosses bounds what is kept of what one user has lost.
const maxLosses = 100

// losses are what may be believed of the losses in an outcome.
func (l *lane) losses(o *pluginapi.Outcome) []pluginapi.PartLoss {
	if len(o.Losses) == 0 {
		return nil
	}
	if !o.Action.MayLose() {
		l.bug("losses of an account that was not written", "source_id", o.SourceID, "action", string(o.Action))
		return nil
	}
	kept := o.Losses[:min(len(o.Losses), maxLosses)]
	for i := range kept {
		p := &kept[i]
		if p.Code == "" || p.Feature == "" {
			l.bug("a loss without a feature or a code", "source_id", o.SourceID)
			p.Code = diag.PluginBrokeProtocol
		}
		p.Code = l.wellFormed(o.SourceID, p.Code)
		p.Attribute, p.Detail = bounded(l.session.Scrub(p.Attribute)), bounded(l.session.Scrub(p.Detail))
	}
	return kept
}

// maxWords bounds what a target says about one user: a page of HTML must not fill the
// journal with itself.
const maxWords = 8 << 10

func bounded(s string) string {
	if len(s) <= maxWords {
		return s
	}
	return strings.ToValidUTF8(s[:maxWords], "") + fmt.Sprintf("… (%d bytes)", len(s))
}

func (l *lane) bug(what string, args ...any) {
	l.session.bug(what, append(args, "call", l.name)...)
}

// exchange sends users in batches and waits until each has an answer or none
// can come any more. opened is the error of opening the lane.
func (l *lane) exchange(ctx context.Context, users []pluginapi.User, opened error) ([]pluginapi.Change, error) {
	results := make([]pluginapi.Change, len(users))
	var sent []*batch
	failure := opened
	for p := range l.packs(users, results) {
		if failure != nil {
			break
		}
		var b *batch
		if b, failure = l.submit(ctx, p, results); failure == nil {
			sent = append(sent, b)
		}
	}
	if err := l.wait(ctx, sent); err != nil {
		failure = err
	}
	for _, b := range sent {
		l.settle(b, results, failure)
	}
	for i := range results {
		if results[i].Action == "" {
			results[i] = inDoubt(users[i].SourceID, diag.PluginNotSent, "not sent: "+reason(failure))
		}
	}
	return results, failure
}

// fieldOverhead is the most that a user costs inside a batch beyond its own size.
const fieldOverhead = 8

// pack is the content of one batch.
type pack struct {
	users []*pluginpb.User
	index map[string]int
}

// packs cuts users into batches by number and size. Users who cannot be sent
// get their outcome here.
func (l *lane) packs(users []pluginapi.User, results []pluginapi.Change) func(yield func(pack) bool) {
	return func(yield func(pack) bool) {
		seen := make(map[string]bool, len(users))
		next, size := pack{index: map[string]int{}}, 0
		flush := func() bool {
			full := next
			next, size = pack{index: map[string]int{}}, 0
			return len(full.users) == 0 || yield(full)
		}
		for i := range users {
			u := &users[i]
			if seen[u.SourceID] {
				results[i] = rejected(u.SourceID, diag.LoadDuplicateUser, "another user of the same batch has this source id")
				continue
			}
			seen[u.SourceID] = true
			p, err := wire.EncodeUser(u)
			if err != nil {
				results[i] = rejected(u.SourceID, diag.LoadInvalidUser, err.Error())
				continue
			}
			n := proto.Size(p) + fieldOverhead
			if n > wire.MaxUser {
				results[i] = rejected(u.SourceID, diag.LoadUserTooLarge, fmt.Sprintf("%d bytes, a plugin takes at most %d", n, wire.MaxUser))
				continue
			}
			if len(next.users) == l.limits.Users || (len(next.users) > 0 && size+n > l.limits.Bytes) {
				if !flush() {
					return
				}
			}
			next.users, size = append(next.users, p), size+n
			next.index[u.SourceID] = i
		}
		flush()
	}
}

// submit hands one batch to the sender once a slot is free. After an error the
// batch was not sent.
func (l *lane) submit(ctx context.Context, p pack, results []pluginapi.Change) (*batch, error) {
	if err := l.await(ctx, func() bool {
		select {
		case l.slots <- struct{}{}:
			return true
		case <-ctx.Done():
		case <-l.stop:
		case <-l.ended:
		}
		return false
	}); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.lastID++
	b := &batch{id: l.lastID, index: p.index, results: results, done: make(chan struct{})}
	l.batches[b.id] = b
	l.mu.Unlock()

	err := l.await(ctx, func() bool {
		return l.request(ctx, func() error { return l.stream.send(&pluginpb.Batch{Id: b.id, Users: p.users}) })
	})
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.batches[b.id] == b { // a plugin may even have "answered" it
			delete(l.batches, b.id)
			<-l.slots
		}
		return nil, err
	}
	return b, nil
}

// request passes one action to the sender.
func (l *lane) request(ctx context.Context, send func() error) bool {
	select {
	case l.requests <- send:
		return true
	case <-ctx.Done():
	case <-l.stop:
	case <-l.ended:
	}
	return false
}

// await explains why step gave up.
func (l *lane) await(ctx context.Context, step func() bool) error {
	if ctx.Err() == nil && step() {
		return nil
	}
	select {
	case <-l.ended:
		return l.err
	default:
	}
	if ctx.Err() != nil {
		return l.left(ctx)
	}
	return fmt.Errorf("plugin %s: %s: %w", l.session.opts.Name, l.name, errFinished)
}

func (l *lane) left(ctx context.Context) error {
	return fmt.Errorf("plugin %s: %s: %w", l.session.opts.Name, l.name, context.Cause(ctx))
}

// wait returns when every batch is done, the stream has ended, or ctx is over
// and the plugin has had a moment to report what it knows. It returns nil if in
// the end every batch was done in time.
func (l *lane) wait(ctx context.Context, sent []*batch) error {
	for i, b := range sent {
		select {
		case <-b.done:
			continue
		case <-l.ended:
		case <-ctx.Done():
		}
		if !slices.ContainsFunc(sent[i:], (*batch).open) {
			return nil
		}
		select {
		case <-l.ended:
			return l.err
		default:
			l.cancelAll(ctx, sent[i:])
			return l.left(ctx)
		}
	}
	return nil
}

func (b *batch) open() bool {
	select {
	case <-b.done:
		return false
	default:
		return true
	}
}

func (l *lane) cancelAll(ctx context.Context, sent []*batch) {
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
	defer stop()
	for _, b := range sent {
		l.request(grace, func() error { return l.stream.cancel(&pluginpb.CancelBatch{BatchId: b.id}) })
	}
	for _, b := range sent {
		select {
		case <-b.done:
		case <-l.ended:
			return
		case <-grace.Done():
			return
		}
	}
}

// settle gives every user of b an outcome and takes results back from the
// receiver.
func (l *lane) settle(b *batch, results []pluginapi.Change, failure error) {
	l.mu.Lock()
	b.results = nil
	l.mu.Unlock()

	code, detail := diag.PluginNoAnswer, "the plugin ended the batch without an answer for this user"
	open := b.open()
	if open {
		code, detail = diag.PluginNoAnswer, "no answer so far: "+reason(failure)
		select {
		case <-l.ended:
			code, detail = l.code, reason(l.err)
		default:
		}
	}
	missing := 0
	for id, i := range b.index {
		if results[i].Action == "" {
			results[i] = inDoubt(id, code, detail)
			missing++
		}
	}
	if missing > 0 && !open {
		l.bug("batch ended without an answer for every user", "batch", b.id, "users", missing)
	}
}

// drain half-closes the stream and waits until the plugin has ended it.
func (l *lane) drain(ctx context.Context) error {
	l.halt()
	select {
	case <-l.ended:
	case <-ctx.Done():
		return l.left(ctx)
	}
	if l.err != nil && !errors.Is(l.err, errFinished) {
		return l.err
	}
	return nil
}

func inDoubt(id string, code diag.Code, detail string) pluginapi.Change {
	return pluginapi.Change{Outcome: pluginapi.Outcome{
		SourceID: id, Action: pluginapi.InDoubt, Code: code, Detail: detail,
		Hint: "a later run looks the user up in the target",
	}}
}

func rejected(id string, code diag.Code, detail string) pluginapi.Change {
	return pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: id, Action: pluginapi.Rejected, Code: code, Detail: detail}}
}

// reason is the first line of an error.
func reason(err error) string {
	if err == nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

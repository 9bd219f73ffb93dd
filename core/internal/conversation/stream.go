package conversation

import (
	"context"
	"crypto/sha256"
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

// stream is one open call of Plan or Load. Any number of calls share it; a sender and a
// receiver own the two directions.
type stream struct {
	session *Session
	name    string
	rpc     rpc
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

// rpc hides whether a stream plans or loads.
type rpc struct {
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
	// cancelled is set by the caller who takes it back: then outcomes may be missing.
	cancelled bool
	// answered ends the wait for it.
	answered func()
}

var errFinished = errors.New("the session is already finished or closed")

func (s *Session) openLoad(ctx context.Context) (rpc, error) {
	st, err := s.client.Load(ctx)
	return rpc{
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

func (s *Session) openPlan(ctx context.Context) (rpc, error) {
	st, err := s.client.Plan(ctx)
	return rpc{
		send: func(b *pluginpb.Batch) error {
			return st.Send(&pluginpb.PlanRequest{Kind: &pluginpb.PlanRequest_Batch{Batch: b}})
		},
		cancel: func(c *pluginpb.CancelBatch) error {
			return st.Send(&pluginpb.PlanRequest{Kind: &pluginpb.PlanRequest_Cancel{Cancel: c}})
		},
		recv: func() (uint64, []answer, bool, error) {
			p, err := st.Recv()
			if p != nil {
				hear(s, p.GetPulse())
			}
			answers := make([]answer, len(p.GetChanges()))
			for i, c := range p.GetChanges() {
				answers[i].change, answers[i].err = wire.DecodeChange(c)
			}
			return p.GetBatchId(), answers, p.GetDone(), err
		},
		close: func() error { return st.CloseSend() },
	}, err
}

// stream returns the open stream in slot, opening it first if need be. The stream is
// usable also with an error, which every user of it then reports.
func (s *Session) stream(slot **stream, name string, open func(context.Context) (rpc, error)) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *slot != nil {
		return *slot, nil
	}
	if s.finished && slot == &s.load {
		return &stream{session: s, name: name, limits: limits(s.effective.Batch)}, fmt.Errorf("plugin %s: %s: %w", s.opts.Name, name, errFinished)
	}
	st := &stream{
		session: s, name: name, limits: limits(s.effective.Batch),
		requests: make(chan func() error),
		stop:     make(chan struct{}),
		ended:    make(chan struct{}),
		batches:  map[uint64]*batch{},
	}
	st.slots = make(chan struct{}, st.limits.InFlight)
	st.halt = sync.OnceFunc(func() { close(st.stop) })
	var err error
	if st.rpc, err = open(s.ctx); err != nil { // streams outlive the call that opens them
		_, err = s.explain(name, err)
		return st, err
	}
	*slot = st
	go st.sender()
	go st.receiver()
	return st, nil
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
func (st *stream) sender() {
	for {
		select {
		case send := <-st.requests:
			_ = send()
		case <-st.stop:
			_ = st.rpc.close()
			return
		case <-st.ended:
			return
		}
	}
}

// receiver owns the stream's way up.
func (st *stream) receiver() {
	defer close(st.ended)
	for {
		id, answers, done, err := st.rpc.recv()
		if err != nil {
			st.code, st.err = st.ending(err)
			return
		}
		if id != 0 || len(answers) > 0 || done {
			st.deliver(id, answers, done)
		}
	}
}

func (st *stream) ending(err error) (diag.Code, error) {
	if !errors.Is(err, io.EOF) {
		return st.session.explain(st.name, err)
	}
	select {
	case <-st.stop:
		return diag.PluginNoAnswer, errFinished
	default:
		return diag.PluginNoAnswer, fmt.Errorf("plugin %s ended the stream of %s on its own", st.session.opts.Name, st.name)
	}
}

func (st *stream) deliver(id uint64, answers []answer, done bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	b := st.batches[id]
	if b == nil {
		st.bug("answer to a batch that is not open", "batch", id)
		return
	}
	for _, a := range answers {
		i, known := b.index[a.change.SourceID]
		switch {
		case a.err != nil:
			st.bug("unreadable answer", "error", st.session.Scrub(a.err.Error()))
		case !known:
			st.bug("answer for a user who is not in the batch", "source_id", st.session.Scrub(a.change.SourceID))
		case b.results == nil: // nobody waits any more
		case b.results[i].Action != "":
			st.bug("second answer for a user; the first counts", "source_id", a.change.SourceID)
		default:
			keep(st.session, &a.change.Outcome)
			a.change.Losses = st.losses(&a.change.Outcome)
			for i, f := range a.change.Fields {
				a.change.Fields[i].Field = st.session.Scrub(f.Field)
				a.change.Fields[i].Old, a.change.Fields[i].New = st.session.Scrub(f.Old), st.session.Scrub(f.New)
			}
			b.results[i] = a.change
		}
	}
	if done {
		delete(st.batches, id)
		b.answered()
		close(b.done)
		<-st.slots
	}
}

// keep makes of an outcome what the host may keep and show.
func keep(s *Session, o *pluginapi.Outcome) {
	o.Code = s.wellFormed(o.SourceID, o.Code)
	o.Detail, o.Hint = bounded(s.Scrub(o.Detail)), bounded(s.Scrub(o.Hint))
	for i, name := range o.Changed {
		o.Changed[i] = s.Scrub(name)
	}
	if id := s.mask.knownID(o.TargetID, o.SourceID); id != o.TargetID {
		s.bug("an id that holds a secret of the user", "source_id", o.SourceID)
		o.TargetID = id
	}
	o.Holder = s.mask.known(o.Holder)
	if len(o.State) > wire.MaxState {
		s.bug("a state of more than 4 KiB; a digest of it is kept, so that nothing is taken back on the strength of it", "source_id", o.SourceID, "bytes", len(o.State))
		sum := sha256.Sum256(o.State)
		o.State = sum[:]
	}
	if len(o.Before) > wire.MaxBefore {
		s.bug("a pre-image of more than 8 MiB; it is not kept, and the update cannot be undone", "source_id", o.SourceID, "bytes", len(o.Before))
		o.Before = nil
	}
}

// wellFormed is the code itself, or the one for plugins that give none that is.
func (s *hearing) wellFormed(sourceID string, c diag.Code) diag.Code {
	if c == "" || c.WellFormed() {
		return c
	}
	s.bug("a code that is none", "source_id", sourceID, "given", s.Scrub(string(c)))
	return diag.PluginBrokeProtocol
}

// maxLosses bounds what is kept of what one user has lost.
const maxLosses = 100

// losses are what may be believed of the losses in an outcome.
func (st *stream) losses(o *pluginapi.Outcome) []pluginapi.PartLoss {
	if len(o.Losses) == 0 {
		return nil
	}
	if !o.Action.MayLose() {
		st.bug("losses of an account that was not written", "source_id", o.SourceID, "action", string(o.Action))
		return nil
	}
	kept := o.Losses[:min(len(o.Losses), maxLosses)]
	for i := range kept {
		p := &kept[i]
		if p.Code == "" || p.Feature == "" {
			st.bug("a loss without a feature or a code", "source_id", o.SourceID)
			p.Code = diag.PluginBrokeProtocol
		}
		p.Code = st.session.wellFormed(o.SourceID, p.Code)
		p.Attribute, p.Detail = bounded(st.session.Scrub(p.Attribute)), bounded(st.session.Scrub(p.Detail))
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

func (st *stream) bug(what string, args ...any) {
	st.session.bug(what, append(args, "call", st.name)...)
}

// exchange sends users in batches and waits until each has an answer or none
// can come any more. opened is the error of opening the stream.
func (st *stream) exchange(ctx context.Context, users []pluginapi.User, opened error) ([]pluginapi.Change, error) {
	results := make([]pluginapi.Change, len(users))
	var sent []*batch
	failure := opened
	for p := range st.packs(users, results) {
		if failure != nil {
			break
		}
		var b *batch
		if b, failure = st.submit(ctx, p, results); failure == nil {
			sent = append(sent, b)
		}
	}
	if err := st.wait(ctx, sent); err != nil {
		failure = err
	}
	for _, b := range sent {
		st.answerAll(b, results, failure)
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
func (st *stream) packs(users []pluginapi.User, results []pluginapi.Change) func(yield func(pack) bool) {
	return func(yield func(pack) bool) {
		seen := make(map[string]bool, len(users))
		empty := func(left int) pack {
			n := min(left, st.limits.Users)
			return pack{users: make([]*pluginpb.User, 0, n), index: make(map[string]int, n)}
		}
		next, size := empty(len(users)), 0
		flush := func(left int) bool {
			full := next
			next, size = empty(left), 0
			return len(full.users) == 0 || yield(full)
		}
		for i := range users {
			u := &users[i]
			if seen[u.SourceID] {
				results[i] = rejected(u.SourceID, diag.LoadDuplicateUser, "another user of the same batch has this source id")
				continue
			}
			seen[u.SourceID] = true
			st.session.mask.learn(u) // before the plugin has it
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
			if len(next.users) == st.limits.Users || (len(next.users) > 0 && size+n > st.limits.Bytes) {
				if !flush(len(users) - i) {
					return
				}
			}
			next.users, size = append(next.users, p), size+n
			next.index[u.SourceID] = i
		}
		flush(0)
	}
}

// submit hands one batch to the sender once a slot is free. After an error the
// batch was not sent.
func (st *stream) submit(ctx context.Context, p pack, results []pluginapi.Change) (*batch, error) {
	if err := st.await(ctx, func() bool {
		select {
		case st.slots <- struct{}{}:
			return true
		case <-ctx.Done():
		case <-st.stop:
		case <-st.ended:
		}
		return false
	}); err != nil {
		return nil, err
	}
	st.mu.Lock()
	st.lastID++
	b := &batch{id: st.lastID, index: p.index, results: results, done: make(chan struct{})}
	b.answered = st.session.vigil.begin(watched{st.name, b.id, len(p.users)})
	st.batches[b.id] = b
	st.mu.Unlock()

	err := st.await(ctx, func() bool {
		return st.request(ctx, func() error { return st.rpc.send(&pluginpb.Batch{Id: b.id, Users: p.users}) })
	})
	if err != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		if st.batches[b.id] == b { // a plugin may even have "answered" it
			delete(st.batches, b.id)
			<-st.slots
		}
		b.answered()
		return nil, err
	}
	return b, nil
}

// request passes one action to the sender.
func (st *stream) request(ctx context.Context, send func() error) bool {
	select {
	case st.requests <- send:
		return true
	case <-ctx.Done():
	case <-st.stop:
	case <-st.ended:
	}
	return false
}

// await explains why step gave up.
func (st *stream) await(ctx context.Context, step func() bool) error {
	if ctx.Err() == nil && step() {
		return nil
	}
	select {
	case <-st.ended:
		return st.err
	default:
	}
	if ctx.Err() != nil {
		return st.left(ctx)
	}
	return fmt.Errorf("plugin %s: %s: %w", st.session.opts.Name, st.name, errFinished)
}

func (st *stream) left(ctx context.Context) error { return left(ctx, st.session, st.name) }

// wait returns when every batch is done, the stream has ended, or ctx is over
// and the plugin has had a moment to report what it knows. It returns nil if in
// the end every batch was done in time.
func (st *stream) wait(ctx context.Context, sent []*batch) error {
	for i, b := range sent {
		select {
		case <-b.done:
			continue
		case <-st.ended:
		case <-ctx.Done():
		}
		if !slices.ContainsFunc(sent[i:], (*batch).open) {
			return nil
		}
		select {
		case <-st.ended:
			return st.err
		default:
			st.cancelAll(ctx, sent[i:])
			return st.left(ctx)
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

func (st *stream) cancelAll(ctx context.Context, sent []*batch) {
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
	defer stop()
	for _, b := range sent {
		b.cancelled = true
		st.request(grace, func() error { return st.rpc.cancel(&pluginpb.CancelBatch{BatchId: b.id}) })
	}
	for _, b := range sent {
		select {
		case <-b.done:
		case <-st.ended:
			return
		case <-grace.Done():
			return
		}
	}
}

// answerAll gives every user of b an outcome and takes results back from the
// receiver.
func (st *stream) answerAll(b *batch, results []pluginapi.Change, failure error) {
	st.mu.Lock()
	b.results = nil
	st.mu.Unlock()
	b.answered()

	code, detail := diag.PluginNoAnswer, "the plugin ended the batch without an answer for this user"
	open := b.open()
	if open {
		code, detail = diag.PluginNoAnswer, "no answer so far: "+reason(failure)
		select {
		case <-st.ended:
			code, detail = st.code, reason(st.err)
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
	if missing > 0 && !open && !b.cancelled {
		st.bug("batch ended without an answer for every user", "batch", b.id, "users", missing)
	}
}

// drain half-closes the stream and waits until the plugin has ended it.
func (st *stream) drain(ctx context.Context) error {
	st.halt()
	select {
	case <-st.ended:
	case <-ctx.Done():
		return st.left(ctx)
	}
	if st.err != nil && !errors.Is(st.err, errFinished) {
		return st.err
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

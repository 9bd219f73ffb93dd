package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// Register adds the service of a plugin to a gRPC server: what [Serve] does,
// without the process around it. sdk/plugintest is built on it. The server must
// receive messages of up to 16 MiB.
func Register[C any](s grpc.ServiceRegistrar, p Plugin[C], log *slog.Logger) error {
	svc, err := newService(p, log)
	if err != nil {
		return err
	}
	pluginpb.RegisterTargetServiceServer(s, svc)
	return nil
}

// phase is how far a conversation has come. It only grows.
type phase int

const (
	fresh phase = iota
	ready
	finished
	closed
)

// service answers the host. It enforces the order of calls, so that a target
// never sees one it was not prepared for.
type service struct {
	pluginpb.UnimplementedTargetServiceServer
	description pluginapi.Description // Capabilities are the base of those that are configured
	open        func(ctx context.Context, config []byte, env Env) (Target, error)
	propose     func(ctx context.Context, config []byte, env Env) (pluginapi.Proposal, diag.List) // nil where there is none
	log         *slog.Logger
	// ctx ends when the conversation does; work derives from it.
	ctx  context.Context
	stop context.CancelFunc

	configuring sync.Mutex
	gate
	target Target // once ready

	control *controlStream // what goes to the host outside of batches
}

// gate lets calls in, in their order.
type gate struct {
	mu        sync.Mutex
	phase     phase
	effective Capabilities
	hostMinor uint32          // the minor version that the host speaks
	streams   map[string]bool // open streams by call
	busy      sync.WaitGroup  // batches at work
}

var validName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func newService[C any](p Plugin[C], log *slog.Logger) (*service, error) {
	if !validName.MatchString(p.Name) {
		return nil, fmt.Errorf("plugin name %q: use lower-case letters, digits and single dashes", p.Name)
	}
	if p.New == nil {
		return nil, fmt.Errorf("plugin %s has no New function", p.Name)
	}
	config, err := newConfigType(reflect.TypeFor[C]())
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	if err := checkCodes(p.Codes); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	s := &service{
		description: pluginapi.Description{
			Name: p.Name, Version: p.Version, Minor: wire.Minor, Capabilities: p.Capabilities,
			ConfigSchema: config.schema, ConfigFields: config.proposal(), Codes: p.Codes,
		},
		log:  log,
		gate: gate{streams: map[string]bool{}}, control: newControlStream(),
		open: func(ctx context.Context, raw []byte, env Env) (Target, error) {
			var c C
			if list := config.decode(raw, &c); list.HasErrors() {
				return nil, list.Err()
			}
			return p.New(ctx, c, env)
		},
	}
	if p.Propose != nil {
		s.propose = proposer(p.Propose)
		base := &s.description.Capabilities
		base.Abilities = append(slices.Clone(base.Abilities), pluginapi.CanPropose)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// proposer has a plugin propose its configuration as JSON.
func proposer[C any](propose func(context.Context, C, Env) (Proposal[C], Diagnostics)) func(context.Context, []byte, Env) (pluginapi.Proposal, diag.List) {
	return func(ctx context.Context, raw []byte, env Env) (pluginapi.Proposal, diag.List) {
		var known C
		setDefaults(reflect.ValueOf(&known).Elem())
		if err := json.Unmarshal(raw, &known); err != nil {
			return pluginapi.Proposal{}, diag.List{{Code: diag.ConfigInvalidValue, Summary: "the configuration so far cannot be decoded: " + err.Error()}}
		}
		p, list := propose(ctx, known, env)
		text, err := json.Marshal(p.Config)
		if err != nil {
			return pluginapi.Proposal{}, diag.List{{Code: diag.PluginConfigureFailed, Summary: "the proposal cannot be encoded: " + err.Error()}}
		}
		return pluginapi.Proposal{Config: text, Comments: p.Comments}, list
	}
}

// Propose answers before Configure has succeeded.
func (s *service) Propose(ctx context.Context, req *pluginpb.ProposeRequest) (*pluginpb.ProposeResponse, error) {
	if s.propose == nil {
		return nil, status.Error(codes.Unimplemented, "this plugin proposes nothing")
	}
	if err := s.require(fresh, "Propose"); err != nil {
		return nil, err
	}
	var p pluginapi.Proposal
	var list diag.List
	err := s.guard("Propose", func() error {
		p, list = s.propose(ctx, req.GetConfigJson(), Env{
			Log: s.log, UserAgent: req.GetUserAgent(), Journal: s.control, Pulse: s.control.pulse, Fingerprints: newFingerprints(nil),
		})
		return nil
	})
	if err != nil {
		return nil, wire.Broken("%v", err)
	}
	return &pluginpb.ProposeResponse{ConfigJson: p.Config, Comments: p.Comments, Diagnostics: wire.EncodeDiagnostics(list)}, nil
}

// checkCodes says which code no plugin may declare.
func checkCodes(codes []CodeInfo) error {
	seen := map[Code]bool{}
	for _, info := range codes {
		if err := info.CheckOwn(); err != nil {
			return err
		}
		if seen[info.Code] {
			return fmt.Errorf("code %s is declared twice", info.Code)
		}
		seen[info.Code] = true
	}
	return nil
}

// Describe answers at any time.
func (s *service) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	return wire.EncodeDescription(&s.description), nil
}

// Configure has New make the target; it succeeds once.
func (s *service) Configure(ctx context.Context, req *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	if err := s.require(fresh, "Configure"); err != nil {
		return nil, err
	}
	agent := fmt.Sprintf("stetl-plugin-%s/%s", s.description.Name, s.description.Version)
	if host := req.GetUserAgent(); host != "" {
		agent = host + " " + agent
	}
	s.control.restore(req.GetSaved())
	var t Target
	var caps Capabilities
	err := s.guard("Configure", func() (err error) {
		t, err = s.open(ctx, req.GetConfigJson(), Env{
			Log: s.log, UserAgent: agent,
			Journal: s.control, Pulse: s.control.pulse, Fingerprints: newFingerprints(req.GetFingerprintKey()),
		})
		if err == nil && t != nil {
			caps = capabilitiesOf(t, s.description.Capabilities)
		}
		return err
	})
	switch {
	case isPanic(err):
		return nil, wire.Broken("%v", err)
	case err != nil:
		return &pluginpb.ConfigureResponse{Diagnostics: diagnose(err, diag.PluginConfigureFailed)}, nil
	case t == nil:
		return nil, wire.Broken("New returned neither a target nor an error")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != fresh { // closed in the meantime
		return nil, wire.Misuse("Configure during Close")
	}
	s.phase, s.target, s.effective, s.hostMinor = ready, t, caps, req.GetMinor()
	return &pluginpb.ConfigureResponse{Capabilities: wire.EncodeCapabilities(&caps)}, nil
}

// capabilitiesOf adds the abilities that t has by its methods, except those that
// its configuration takes away. Where t says nothing, caps are the others.
func capabilitiesOf(t Target, caps Capabilities) Capabilities {
	if c, ok := t.(Capable); ok {
		caps = c.Capabilities()
	}
	caps.Abilities = slices.Clone(caps.Abilities)
	var lacking []Ability
	if l, ok := t.(Limited); ok {
		lacking = l.Lacks()
	}
	add := func(a Ability, can bool) {
		if can && !caps.Can(a) && !slices.Contains(lacking, a) {
			caps.Abilities = append(caps.Abilities, a)
		}
	}
	_, can := t.(Checker)
	add(pluginapi.CanCheck, can)
	_, can = t.(Fixer)
	add(pluginapi.CanFix, can)
	_, can = t.(FixUndoer)
	add(pluginapi.CanUndoFix, can)
	_, can = t.(Preparer)
	add(pluginapi.CanSetup, can)
	_, can = t.(Planner)
	add(pluginapi.CanPlan, can)
	_, can = t.(Undoer)
	add(pluginapi.CanUndo, can)
	_, can = t.(DoubtUndoer)
	add(pluginapi.CanUndoInDoubt, can)
	_, can = t.(Tidier)
	add(pluginapi.CanTidy, can)
	_, can = t.(Authenticator)
	add(pluginapi.CanLogin, can)
	_, can = t.(PasswordSetter)
	add(pluginapi.CanSetPassword, can)
	_, can = t.(ResetStarter)
	add(pluginapi.CanStartReset, can)
	_, can = t.(SessionExchanger)
	add(pluginapi.CanExchange, can)
	return caps
}

// Check passes the call to a Checker.
func (s *service) Check(ctx context.Context, req *pluginpb.CheckRequest) (*pluginpb.CheckResponse, error) {
	if err := s.configured("Check"); err != nil {
		return nil, err
	}
	checker, ok := s.target.(Checker)
	if !ok {
		return nil, wire.Misuse("plugin %s cannot check", s.description.Name)
	}
	var found pluginapi.Checked
	err := s.guard("Check", func() error {
		found.Diagnostics = checker.Check(ctx, wire.DecodeNeeds(req.GetNeeds()))
		if m, ok := s.target.(Mailer); ok {
			found.Mails = m.Mails()
		}
		if r, ok := s.target.(SignInReporter); ok {
			found.SignIns = r.SignIns()
		}
		return nil
	})
	if err != nil {
		return nil, wire.Broken("%v", err)
	}
	return wire.EncodeChecked(&found), nil
}

// Load has the target load the batches of a stream.
func (s *service) Load(st grpc.BidiStreamingServer[pluginpb.LoadRequest, pluginpb.LoadResponse]) error {
	return s.serve(st.Context(), loadCall, stream{
		recv: func() (*pluginpb.Batch, *pluginpb.CancelBatch, error) {
			req, err := st.Recv()
			s.control.confirm(req.GetSaved())
			return req.GetBatch(), req.GetCancel(), err
		},
		post: func(p *pluginpb.LoadResponse) error { return st.Send(p) },
		send: func(id uint64, changes []Change, done bool) error {
			resp := &pluginpb.LoadResponse{BatchId: id, Done: done}
			for i := range changes {
				resp.Outcomes = append(resp.Outcomes, wire.EncodeOutcome(&changes[i].Outcome))
			}
			return st.Send(resp)
		},
		work: func(ctx context.Context, users []User, out *ledger) error {
			return s.target.Load(ctx, users, outcomes{out})
		},
	})
}

// Plan has a Planner plan the batches of a stream.
func (s *service) Plan(st grpc.BidiStreamingServer[pluginpb.PlanRequest, pluginpb.PlanResponse]) error {
	return s.serve(st.Context(), "Plan", stream{
		recv: func() (*pluginpb.Batch, *pluginpb.CancelBatch, error) {
			req, err := st.Recv()
			return req.GetBatch(), req.GetCancel(), err
		},
		post: func(p *pluginpb.LoadResponse) error { return st.Send(&pluginpb.PlanResponse{Pulse: p.GetPulse()}) },
		send: func(id uint64, changes []Change, done bool) error {
			resp := &pluginpb.PlanResponse{BatchId: id, Done: done}
			for i := range changes {
				resp.Changes = append(resp.Changes, wire.EncodeChange(&changes[i]))
			}
			return st.Send(resp)
		},
		work: func(ctx context.Context, users []User, out *ledger) error {
			planner, ok := s.target.(Planner)
			if !ok {
				return errors.New("the plugin cannot plan")
			}
			return planner.Plan(ctx, users, out)
		},
	})
}

// Finish passes the call to a Finisher, once and with no stream open.
func (s *service) Finish(ctx context.Context, _ *pluginpb.FinishRequest) (*pluginpb.FinishResponse, error) {
	s.mu.Lock()
	if s.phase != ready || len(s.streams) > 0 {
		defer s.mu.Unlock()
		return nil, wire.Misuse("Finish needs a configured plugin, no open stream, and comes once")
	}
	s.phase = finished
	s.mu.Unlock()
	f, ok := s.target.(Finisher)
	if !ok {
		return &pluginpb.FinishResponse{}, nil
	}
	err := s.guard("Finish", func() error { return f.Finish(ctx) })
	return &pluginpb.FinishResponse{Diagnostics: diagnose(err, diag.PluginFinishFailed)}, nil
}

// Close ends all work and passes the call to a Closer, once.
func (s *service) Close(ctx context.Context, _ *pluginpb.CloseRequest) (*pluginpb.CloseResponse, error) {
	if !s.shut() {
		return nil, wire.Misuse("Close comes once")
	}
	return &pluginpb.CloseResponse{Diagnostics: diagnose(release(ctx, s), diag.PluginCloseFailed)}, nil
}

// shut ends all work; true for the first caller, who must call release.
func (s *service) shut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == closed {
		return false
	}
	s.phase = closed
	s.stop()
	return true
}

// release waits for the work to end, then closes the target.
func release(ctx context.Context, s *service) error {
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		s.busy.Wait()
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		s.log.Error("bug in the plugin: Load or Plan ignores the end of its context")
	}
	c, ok := s.target.(Closer)
	if !ok {
		return nil
	}
	return s.guard("Close", func() error { return c.Close(ctx) })
}

// can says whether the target has an ability as it is configured.
func (s *gate) can(a Ability) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.effective.Can(a)
}

// hearsLosses says whether the host hears of losses of parts of accounts.
func (s *gate) hearsLosses() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hostMinor >= 1
}

// require is the order of calls, for those that belong to one phase.
func (s *gate) require(want phase, call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case want:
		return nil
	case fresh:
		return wire.Misuse("%s before Configure", call)
	case ready:
		return wire.Misuse("%s comes once", call)
	default:
		return wire.Misuse("%s after Finish or Close", call)
	}
}

// configured admits the calls that need a target, before and after Finish.
func (s *gate) configured(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case ready, finished:
		return nil
	case fresh:
		return wire.Misuse("%s before Configure", call)
	default:
		return wire.Misuse("%s after Close", call)
	}
}

// loadCall is the one stream that writes.
const loadCall = "Load"

// enter admits a stream, one per call at a time.
func (s *gate) enter(call string) (inFlight int, err error) {
	admit := func() error { return s.require(ready, call) }
	if call != loadCall { // reading is allowed after Finish too
		admit = func() error { return s.configured(call) }
	}
	if err := admit(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == closed || s.streams[call] {
		return 0, wire.Misuse("a stream of %s is already open", call)
	}
	s.streams[call] = true
	return max(s.effective.Batch.InFlight, wire.DefaultBatchInFlight), nil
}

func (s *gate) leave(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, call)
}

// begin counts a batch as busy unless the conversation is over.
func (s *gate) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == closed {
		return false
	}
	s.busy.Add(1)
	return true
}

// panicError is a panic of the plugin's code. What it was about is in the log
// only: nobody knows what a panic value holds.
type panicError struct{ call string }

func (e *panicError) Error() string {
	return "the plugin panicked in " + e.call + "; its log has the stack"
}

func isPanic(err error) bool {
	var p *panicError
	return errors.As(err, &p)
}

// guard runs code of the plugin and turns a panic into an error. It takes a
// goroutine, because runtime.Goexit, unlike a panic, cannot be stopped.
func (s *service) guard(call string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		returned := false
		defer func() {
			if returned {
				return
			}
			v := recover() // nil after Goexit
			s.log.Error("panic in plugin code", "call", call, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			result <- &panicError{call}
		}()
		err := f()
		returned = true
		result <- err
	}()
	return <-result
}

// diagnose turns what a method of the plugin returned into diagnostics.
func diagnose(err error, code Code) []*pluginpb.Diagnostic {
	if err == nil {
		return nil
	}
	var list *diag.ListError
	if errors.As(err, &list) {
		return wire.EncodeDiagnostics(list.List)
	}
	return wire.EncodeDiagnostics(diag.List{{Code: code, Summary: err.Error()}})
}

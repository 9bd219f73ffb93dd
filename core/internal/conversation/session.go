package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// How long the host waits when the caller sets no earlier deadline. Check talks
// to the target; Finish may move a lot of data.
const (
	describeTimeout  = 10 * time.Second
	configureTimeout = 30 * time.Second
	checkTimeout     = 2 * time.Minute
	finishTimeout    = 10 * time.Minute
	closeTimeout     = 10 * time.Second
	// undoTimeout bounds one batch where the plugin answers it as a whole; callTimeout a
	// call about one user, which a person may be waiting for.
	undoTimeout = 5 * time.Minute
	callTimeout = time.Minute
	// drainTimeout bounds the wait for streams to end before Close.
	drainTimeout = 5 * time.Second
	// cancelGrace is how long a cancelled batch may still report what it knows.
	cancelGrace = 2 * time.Second
)

// Options of [New].
type Options struct {
	// Name is what errors call the plugin.
	Name string
	// Log receives what a plugin does against the rules. Nil discards.
	Log *slog.Logger
	// Explain gives the cause of a broken connection and the code for users left
	// without an answer; a nil error when it knows none. It may take a moment.
	Explain func() (diag.Code, error)
	// CloseTimeout bounds the plugin's own part of Close; 0 is ten seconds.
	CloseTimeout time.Duration
	// FingerprintKey makes states comparable between runs: 32 bytes, kept beside
	// what the runs remember. Nil has the plugin choose one for this session.
	FingerprintKey []byte
	// Memory keeps what the plugin saves. Nil forgets it with the session.
	Memory Memory
	// Pulse, when set, hears how the plugin is getting on, one call at a time.
	Pulse func(pluginapi.Pulse)
	// Silence, when set, hears that the plugin has said nothing for a minute, and every
	// minute from then on; a Silence of no time is its end.
	Silence func(Silence)
	// SilenceLimit is when a plugin that says nothing is given up: whoever is with it is in
	// doubt, and nothing more is asked of it. 0 waits for ever.
	SilenceLimit time.Duration
	// GiveUp, when set, ends a plugin that is given up.
	GiveUp func()
	// Patient waits without deadlines, for a plugin under a debugger.
	Patient bool

	notice time.Duration // a test's
}

// Memory keeps small values for a plugin from run to run.
type Memory interface {
	// Saved returns what earlier runs saved, by key.
	Saved(ctx context.Context) (map[string][]byte, error)
	// Save makes a value durable before it returns; nil removes the key. It may be
	// called from several goroutines.
	Save(ctx context.Context, key string, value []byte) error
}

// Session is one conversation with one plugin. All methods are safe for
// concurrent use.
type Session struct {
	hearing
	client pluginpb.TargetServiceClient
	// ctx carries the streams, which outlive the call that opens them.
	ctx    context.Context
	cancel context.CancelFunc
	vigil  vigil
	saved  quota

	mu         sync.Mutex
	info       pluginapi.Description
	effective  pluginapi.Capabilities
	load, plan *stream
	finished   bool
}

// hearing is how a session takes what its plugin says: without secrets, and under the
// plugin's name.
type hearing struct {
	opts  Options
	scrub atomic.Pointer[scrubber]
	mask  mask
	// Each says once that there was one: of a person, of the configuration.
	leak, leakOwn sync.Once
	// silent is set when the plugin was given up.
	silent  atomic.Pointer[SilentError]
	pulsing sync.Mutex // one pulse at a time, of whichever stream
}

// New starts a conversation. Nothing is sent yet.
func New(cc grpc.ClientConnInterface, o Options) *Session {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Explain == nil {
		o.Explain = func() (diag.Code, error) { return "", nil }
	}
	s := &Session{hearing: hearing{opts: o}, client: pluginpb.NewTargetServiceClient(cc)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if !o.Patient {
		s.vigil.notice, s.vigil.limit = cmp.Or(o.notice, noticeAfter), o.SilenceLimit
	}
	s.vigil.tell = func(silence Silence) { tellSilence(s, silence) }
	s.vigil.give = func(silence Silence) { giveUp(s, silence) }
	return s
}

// tellSilence says that the plugin says nothing.
func tellSilence(s *Session, silence Silence) {
	if silence.For > 0 {
		s.opts.Log.Warn(silence.String(), "code", diag.PluginSilent, "call", silence.Call, "batch", silence.Batch, "users", silence.Users)
	}
	if s.opts.Silence != nil {
		s.opts.Silence(silence)
	}
}

// giveUp ends the conversation.
func giveUp(s *Session, silence Silence) {
	err := &SilentError{s.opts.Name, silence}
	s.silent.Store(err)
	s.opts.Log.Error(err.Error(), "code", diag.PluginSilent)
	if s.opts.GiveUp != nil {
		s.opts.GiveUp()
	}
	s.cancel()
}

// GivenUp says whether the plugin was given up because it said nothing.
func (s *Session) GivenUp() bool { return s.silent.Load() != nil }

// Describe asks the plugin what it is.
func (s *Session) Describe(ctx context.Context) (pluginapi.Description, error) {
	p, err := call(ctx, s, "Describe", describeTimeout, s.client.Describe, &pluginpb.DescribeRequest{Minor: wire.Minor})
	if err != nil {
		return pluginapi.Description{}, err
	}
	info := wire.DecodeDescription(p)
	info.Codes = s.ownCodes(info.Codes)
	if !json.Valid(info.ConfigSchema) {
		return pluginapi.Description{}, fmt.Errorf("plugin %s describes its configuration with something that is not JSON", s.opts.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info, s.effective = info, info.Capabilities
	return info, nil
}

// ownCodes are the codes that a plugin may declare.
func (s *hearing) ownCodes(declared diag.Words) diag.Words {
	var own diag.Words
	for _, info := range declared {
		if err := info.CheckOwn(); err != nil {
			s.bug("it declares a code that is none of its own", "error", err)
			continue
		}
		info.Meaning, info.Remedy = bounded(info.Meaning), bounded(info.Remedy)
		own = append(own, info)
	}
	return own
}

// bug notes what a plugin does against the rules.
func (s *hearing) bug(what string, args ...any) {
	s.opts.Log.With(args...).Error("plugin broke the protocol: "+what, "code", diag.PluginBrokeProtocol)
}

// Configure hands the configuration over. With an error among the diagnostics
// the plugin stays unconfigured and may be configured again.
func (s *Session) Configure(ctx context.Context, config []byte, userAgent string) (diag.List, error) {
	s.mu.Lock()
	schema := s.info.ConfigSchema
	s.mu.Unlock()
	// Before the call: the plugin may log from the first moment it has them.
	s.scrub.Store(newScrubber(schema, config))
	req := &pluginpb.ConfigureRequest{ConfigJson: config, UserAgent: userAgent, FingerprintKey: s.opts.FingerprintKey, Minor: wire.Minor}
	if s.opts.Memory != nil {
		saved, err := s.opts.Memory.Saved(ctx)
		if err != nil {
			return nil, fmt.Errorf("what the plugin has saved cannot be read: %w", err)
		}
		req.Saved = saved
		s.saved.restore(saved)
	}
	p, err := call(ctx, s, "Configure", configureTimeout, s.client.Configure, req)
	if err != nil {
		return nil, err
	}
	list := s.diagnostics(p.GetDiagnostics())
	if !list.HasErrors() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.effective = wire.DecodeCapabilities(p.GetCapabilities())
	}
	return list, nil
}

// Propose has the plugin look at the target and propose a configuration, before there is
// one. The error matches [errors.ErrUnsupported] when the plugin cannot.
func Propose(ctx context.Context, s *Session, config []byte, userAgent string) (pluginapi.Proposal, diag.List, error) {
	if err := s.able(pluginapi.CanPropose); err != nil {
		return pluginapi.Proposal{}, nil, err
	}
	s.mu.Lock()
	schema := s.info.ConfigSchema
	s.mu.Unlock()
	s.scrub.Store(newScrubber(schema, config))
	p, err := call(ctx, s, "Propose", checkTimeout, s.client.Propose, &pluginpb.ProposeRequest{ConfigJson: config, UserAgent: userAgent})
	if err != nil {
		return pluginapi.Proposal{}, nil, err
	}
	out := pluginapi.Proposal{Config: p.GetConfigJson(), Comments: map[string]string{}}
	for pointer, text := range p.GetComments() {
		out.Comments[pointer] = s.Scrub(text)
	}
	return out, s.diagnostics(p.GetDiagnostics()), nil
}

// Capabilities are those of Describe until Configure succeeds, then those of
// the plugin as configured.
func (s *Session) Capabilities() pluginapi.Capabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.effective
}

// Check has the plugin examine the target. The error matches
// [errors.ErrUnsupported] when the plugin cannot.
func (s *Session) Check(ctx context.Context, needs pluginapi.Needs) (pluginapi.Checked, error) {
	if err := s.able(pluginapi.CanCheck); err != nil {
		return pluginapi.Checked{}, err
	}
	p, err := call(ctx, s, "Check", checkTimeout, s.client.Check, &pluginpb.CheckRequest{Needs: wire.EncodeNeeds(&needs)})
	if err != nil {
		return pluginapi.Checked{}, err
	}
	return pluginapi.Checked{
		Diagnostics: s.diagnostics(p.GetDiagnostics()), Mails: wire.DecodeMailings(p.GetMails()), SignIns: wire.DecodeSignIns(p.GetSignIns()),
	}, nil
}

// Plan says what Load would do: one change per user, in the order of users. The
// error matches [errors.ErrUnsupported] when the plugin cannot plan; otherwise
// it means what the error of [Session.Load] means.
func (s *Session) Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	if err := s.able(pluginapi.CanPlan); err != nil {
		return nil, err
	}
	st, err := s.stream(&s.plan, "Plan", s.openPlan)
	return st.exchange(ctx, users, err)
}

// Load writes users and returns one outcome for each, in the order of users,
// also together with an error. The error says why answers are missing: the
// caller's context or the end of the stream. Users without an answer are in
// doubt, with the code plugin.not_sent where they never left the host.
func (s *Session) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	st, err := s.stream(&s.load, "Load", s.openLoad)
	changes, err := st.exchange(ctx, users, err)
	outcomes := make([]pluginapi.Outcome, len(changes))
	for i := range changes {
		outcomes[i] = changes[i].Outcome
	}
	return outcomes, err
}

// Finish ends the streams and has the plugin make the work visible. No Load may
// follow; all other calls may. When it fails, nothing of the run counts as loaded.
func (s *Session) Finish(ctx context.Context) error {
	for _, st := range openStreams(s) {
		if err := st.drain(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.finished, s.plan = true, nil // a later Plan opens a stream of its own
	s.mu.Unlock()
	p, err := call(ctx, s, "Finish", finishTimeout, s.client.Finish, &pluginpb.FinishRequest{})
	if err != nil {
		return err
	}
	return s.failure("finish", p.GetDiagnostics())
}

// Close ends the streams and has the plugin release what it holds. It takes at
// most about 15 seconds, whatever ctx says: a cancelled run must clean up too.
func (s *Session) Close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	drain, stop := context.WithTimeout(ctx, drainTimeout)
	defer stop()
	for _, st := range openStreams(s) {
		// Whatever did not end in time is cut off below.
		_ = st.drain(drain)
	}
	s.cancel()
	p, err := call(ctx, s, "Close", cmp.Or(s.opts.CloseTimeout, closeTimeout), s.client.Close, &pluginpb.CloseRequest{})
	if err != nil {
		return err
	}
	return s.failure("close", p.GetDiagnostics())
}

// Scrub replaces the secrets of the configuration and of people in text that comes from
// the plugin.
func (s *hearing) Scrub(text string) string {
	scrubbed, own := s.scrub.Load().scrub(text)
	if own {
		s.leakOwn.Do(func() { s.bug("it says a secret of its configuration; what it says is masked") })
	}
	masked, leaked := s.mask.apply(scrubbed)
	if leaked {
		s.leak.Do(func() {
			s.bug("it says the password hash, password or authenticator secret of a user; what it says is masked")
		})
	}
	return masked
}

func (s *Session) able(a pluginapi.Ability) error {
	if s.Capabilities().Can(a) {
		return nil
	}
	return fmt.Errorf("plugin %s cannot %s: %w", s.opts.Name, a, errors.ErrUnsupported)
}

// minorOf is the minor version of the protocol that the plugin speaks.
func minorOf(s *Session) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info.Minor
}

// left says that the caller has given up.
func left(ctx context.Context, s *Session, name string) error {
	return fmt.Errorf("plugin %s: %s: %w", s.opts.Name, name, context.Cause(ctx))
}

func (s *hearing) diagnostics(all []*pluginpb.Diagnostic) diag.List {
	list := wire.DecodeDiagnostics(all)
	for i := range list {
		list[i].Summary = s.Scrub(list[i].Summary)
		list[i].Detail = s.Scrub(list[i].Detail)
		list[i].Hint = s.Scrub(list[i].Hint)
	}
	return list
}

func (s *hearing) failure(what string, all []*pluginpb.Diagnostic) error {
	if err := s.diagnostics(all).Err(); err != nil {
		return fmt.Errorf("plugin %s: %s: %w", s.opts.Name, what, err)
	}
	return nil
}

func openStreams(s *Session) []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []*stream
	for _, st := range []*stream{s.plan, s.load} {
		if st != nil {
			open = append(open, st)
		}
	}
	return open
}

// call makes one unary call under the earlier of ctx's deadline and timeout.
func call[Req, Resp any](
	ctx context.Context, s *Session, name string, timeout time.Duration,
	method func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req,
) (Resp, error) {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	if s.opts.Patient {
		cancel()
		bounded, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	resp, err := method(bounded, req)
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return resp, fmt.Errorf("plugin %s: %s: %w", s.opts.Name, name, context.Cause(ctx))
	case bounded.Err() != nil:
		return resp, fmt.Errorf("plugin %s did not answer %s within %s", s.opts.Name, name, timeout)
	}
	_, err = s.explain(name, err)
	return resp, err
}

// explain names the plugin and the call in an error of the transport or of the
// plugin, free of secrets.
func (s *hearing) explain(name string, err error) (diag.Code, error) {
	if silent := s.silent.Load(); silent != nil {
		return diag.PluginSilent, silent
	}
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unavailable, codes.Unknown, codes.Canceled:
		// The connection is gone, which only the owner of the process can explain.
		if code, why := s.opts.Explain(); why != nil {
			return code, why
		}
	case codes.Unimplemented:
		return diag.PluginBrokeProtocol, fmt.Errorf("plugin %s does not know the call %s", s.opts.Name, name)
	case codes.ResourceExhausted:
		return diag.PluginNoAnswer, fmt.Errorf("plugin %s: %s: a message was too large for its receiver: %s", s.opts.Name, name, s.Scrub(st.Message()))
	default:
	}
	return diag.PluginNoAnswer, fmt.Errorf("plugin %s: %s: %s", s.opts.Name, name, s.Scrub(st.Message()))
}

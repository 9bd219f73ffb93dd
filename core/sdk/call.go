package sdk

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginpb"
)

// able finds the optional interface behind a call.
func able[T any](s *service, call string) (T, error) {
	var none T
	if err := s.configured(call); err != nil {
		return none, err
	}
	t, ok := s.target.(T)
	if !ok {
		return none, wire.Misuse("plugin %s has no %s", s.description.Name, call)
	}
	return t, nil
}

// ask runs one call about one user. Errors of the plugin's code are failures of
// the call; a panic is one of the plugin.
func ask(s *service, call string, f func() error) (*pluginpb.Failure, error) {
	err := s.guard(call, f)
	if isPanic(err) {
		return nil, wire.Broken("%v", err)
	}
	return wire.EncodeFailure(err, diag.PluginCallFailed), nil
}

// DefineRoles passes the call to a RoleKeeper.
func (s *service) DefineRoles(ctx context.Context, req *pluginpb.DefineRolesRequest) (*pluginpb.DefineRolesResponse, error) {
	keeper, err := able[RoleKeeper](s, "DefineRoles")
	if err != nil {
		return nil, err
	}
	err = s.guard("DefineRoles", func() error { return keeper.DefineRoles(ctx, wire.DecodeRoles(req.GetRoles())) })
	if isPanic(err) {
		return nil, wire.Broken("%v", err)
	}
	return &pluginpb.DefineRolesResponse{Diagnostics: diagnose(err, diag.PluginCallFailed)}, nil
}

// Fix passes the call to a Fixer, or, with undo, to a FixUndoer, or, with a setup, to a
// Preparer.
func (s *service) Fix(ctx context.Context, req *pluginpb.FixRequest) (*pluginpb.FixResponse, error) {
	var steps []SetupStep
	var list Diagnostics
	var fix func()
	switch setup := req.GetSetup(); {
	case setup != nil:
		preparer, err := able[Preparer](s, "Fix with a setup")
		if err != nil {
			return nil, err
		}
		fix = func() {
			steps, list = preparer.Setup(ctx, wire.DecodeSetup(setup), wire.DecodeNeeds(req.GetNeeds()))
		}
	case req.GetUndo():
		undoer, err := able[FixUndoer](s, "Fix with undo")
		if err != nil {
			return nil, err
		}
		fix = func() { list = undoer.UndoFix(ctx) }
	default:
		fixer, err := able[Fixer](s, "Fix")
		if err != nil {
			return nil, err
		}
		fix = func() { list = fixer.Fix(ctx, wire.DecodeNeeds(req.GetNeeds())) }
	}
	err := s.guard("Fix", func() error {
		fix()
		return nil
	})
	if err != nil {
		return nil, wire.Broken("%v", err)
	}
	return &pluginpb.FixResponse{Diagnostics: wire.EncodeDiagnostics(list), Steps: wire.EncodeSteps(steps)}, nil
}

// Undo passes the call to an Undoer and sees to it that every account gets one
// outcome.
func (s *service) Undo(ctx context.Context, req *pluginpb.UndoRequest) (*pluginpb.UndoResponse, error) {
	undoer, err := able[Undoer](s, undoCall)
	if err != nil {
		return nil, err
	}
	box := newOutbox()
	takeBack(ctx, s, undoer, req, box)
	resp := &pluginpb.UndoResponse{}
	for _, l := range box.take() {
		resp.Outcomes = append(resp.Outcomes, wire.EncodeOutcome(&l.change.Outcome))
	}
	return resp, nil
}

// UndoStream is Undo that tells each outcome as soon as it is known, and that can be taken
// back.
func (s *service) UndoStream(st grpc.BidiStreamingServer[pluginpb.UndoStreamRequest, pluginpb.UndoStreamResponse]) error {
	undoer, err := able[Undoer](s, undoCall)
	if err != nil {
		return err
	}
	first, err := st.Recv()
	if err != nil {
		return err
	}
	if first.GetUndo() == nil {
		return wire.Misuse("UndoStream begins with the accounts")
	}
	if !s.begin() {
		return wire.Misuse("%s during Close", undoCall)
	}
	defer s.busy.Done()
	ctx, cancel := context.WithCancel(st.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	go func() { // it ends with the stream
		for {
			req, err := st.Recv()
			if req.GetCancel() != nil || err != nil && !errors.Is(err, io.EOF) {
				cancel()
			}
			if err != nil {
				return
			}
		}
	}()
	box := newOutbox()
	var sender sync.WaitGroup
	sender.Go(func() {
		box.run(func(_ uint64, changes []Change, _ bool) error {
			resp := &pluginpb.UndoStreamResponse{}
			for i := range changes {
				resp.Outcomes = append(resp.Outcomes, wire.EncodeOutcome(&changes[i].Outcome))
			}
			return st.Send(resp)
		}, func(p *pluginpb.LoadResponse) error {
			return st.Send(&pluginpb.UndoStreamResponse{Pulse: p.GetPulse()})
		}, cancel)
	})
	defer sender.Wait()
	defer box.close()
	defer s.control.lend(box)()
	takeBack(ctx, s, undoer, first.GetUndo(), box)
	return nil
}

const undoCall = "Undo"

// takeBack has every account of a call get one outcome.
func takeBack(ctx context.Context, s *service, undoer Undoer, req *pluginpb.UndoRequest, box *outbox) {
	accounts := wire.DecodeAccounts(req.GetAccounts())
	ids := &pluginpb.Batch{}
	for _, a := range accounts {
		ids.Users = append(ids.Users, &pluginpb.User{SourceId: a.SourceID})
	}
	t := newLedger(ids, box, s.log.With("call", undoCall), s.hearsLosses())
	err := s.guard(undoCall, func() error { return undo(ctx, undoer, accounts, outcomes{t}, s.can(CanDisable)) })
	code, detail := undecided(err)
	for _, id := range t.end() {
		box.put(0, Change{Outcome: Outcome{SourceID: id, Action: InDoubt, Code: code, Detail: detail}})
	}
}

// undo has accounts in doubt looked for, where the target can, and takes the others back, or
// switches them off.
func undo(ctx context.Context, u Undoer, accounts []Account, out Outcomes, disables bool) error {
	var doubtful, sure []Account
	for _, a := range accounts {
		switch {
		case a.Disable || a.DryRun:
			if disables { // else it would be deleted
				sure = append(sure, a)
			}
		case a.InDoubt:
			doubtful = append(doubtful, a)
		default:
			sure = append(sure, a)
		}
	}
	var err error
	if len(sure) > 0 {
		err = u.Undo(ctx, sure, out)
	}
	if d, ok := u.(DoubtUndoer); ok && len(doubtful) > 0 {
		err = errors.Join(err, d.UndoInDoubt(ctx, doubtful, out))
	}
	return err
}

// Tidy passes the call to a Tidier.
func (s *service) Tidy(ctx context.Context, _ *pluginpb.TidyRequest) (*pluginpb.TidyResponse, error) {
	tidier, err := able[Tidier](s, "Tidy")
	if err != nil {
		return nil, err
	}
	var removed, left int
	err = s.guard("Tidy", func() (err error) {
		removed, left, err = tidier.Tidy(ctx)
		return err
	})
	return &pluginpb.TidyResponse{Removed: int64(removed), Left: int64(left), Diagnostics: diagnose(err, diag.PluginTidyFailed)}, nil
}

// undecided says why users are left without an outcome after a call.
func undecided(err error) (Code, string) {
	switch {
	case isPanic(err):
		return diag.PluginPanic, err.Error()
	case err != nil:
		return diag.LoadUndecided, err.Error()
	default:
		return diag.PluginNoAnswer, "the plugin returned without an outcome for this user"
	}
}

// Login passes the call to an Authenticator.
func (s *service) Login(ctx context.Context, req *pluginpb.LoginRequest) (*pluginpb.LoginResponse, error) {
	a, err := able[Authenticator](s, "Login")
	if err != nil {
		return nil, err
	}
	resp := &pluginpb.LoginResponse{}
	resp.Failure, err = ask(s, "Login", func() (err error) {
		resp.Accepted, err = a.Login(ctx, Login{
			TargetID: req.GetTargetId(), Username: req.GetUsername(), Password: canonical.NewSecret(req.GetPassword()),
		})
		return err
	})
	return resp, err
}

// SetPassword passes the call to a PasswordSetter.
func (s *service) SetPassword(ctx context.Context, req *pluginpb.SetPasswordRequest) (*pluginpb.SetPasswordResponse, error) {
	p, err := able[PasswordSetter](s, "SetPassword")
	if err != nil {
		return nil, err
	}
	failure, err := ask(s, "SetPassword", func() error {
		return p.SetPassword(ctx, PasswordChange{
			TargetID: req.GetTargetId(), Email: req.GetEmail(), Password: canonical.NewSecret(req.GetPassword()), EndSessions: req.GetEndSessions(),
		})
	})
	return &pluginpb.SetPasswordResponse{Failure: failure}, err
}

// StartReset passes the call to a ResetStarter.
func (s *service) StartReset(ctx context.Context, req *pluginpb.StartResetRequest) (*pluginpb.StartResetResponse, error) {
	r, err := able[ResetStarter](s, "StartReset")
	if err != nil {
		return nil, err
	}
	resp := &pluginpb.StartResetResponse{}
	resp.Failure, err = ask(s, "StartReset", func() (err error) {
		resp.Location, err = r.StartReset(ctx, Reset{
			TargetID: req.GetTargetId(), Email: req.GetEmail(), RedirectURI: req.GetRedirectUri(),
		})
		return err
	})
	return resp, err
}

// Exchange passes the call to a SessionExchanger.
func (s *service) Exchange(ctx context.Context, req *pluginpb.ExchangeRequest) (*pluginpb.ExchangeResponse, error) {
	e, err := able[SessionExchanger](s, "Exchange")
	if err != nil {
		return nil, err
	}
	resp := &pluginpb.ExchangeResponse{}
	resp.Failure, err = ask(s, "Exchange", func() error {
		tokens, err := e.Exchange(ctx, Assertion{
			JWT: canonical.NewSecret(req.GetAssertion()), TargetID: req.GetTargetId(), Email: req.GetEmail(),
			ClientID: req.GetClientId(), Scope: req.GetScope(),
		})
		resp.TokensJson = []byte(tokens.JSON.Reveal())
		return err
	})
	return resp, err
}

package conversation

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// Fix has the plugin apply the remedies that Check names, put back what earlier calls have
// changed, or make the target's side.
func (s *Session) Fix(ctx context.Context, f pluginapi.Fixing) (pluginapi.Fixed, error) {
	needed := pluginapi.CanFix
	switch {
	case f.Setup != nil:
		needed = pluginapi.CanSetup
		defer s.mask.pass(f.Setup.AdminToken)()
	case f.Undo:
		needed = pluginapi.CanUndoFix
	}
	if err := s.able(needed); err != nil {
		return pluginapi.Fixed{}, err
	}
	if f.Needs.Broker != nil {
		defer s.mask.pass(f.Needs.Broker.ClientSecret)()
	}
	p, err := call(ctx, s, "Fix", checkTimeout, s.client.Fix, &pluginpb.FixRequest{Needs: wire.EncodeNeeds(&f.Needs), Undo: f.Undo, Setup: wire.EncodeSetup(f.Setup)})
	if err != nil {
		return pluginapi.Fixed{}, err
	}
	return pluginapi.Fixed{Found: s.diagnostics(p.GetDiagnostics()), Steps: wire.DecodeSteps(p.GetSteps())}, nil
}

// DefineRoles tells the plugin what roles allow, in as many messages as it takes. The error
// matches [errors.ErrUnsupported] when the plugin does not keep that.
func DefineRoles(ctx context.Context, s *Session, roles []pluginapi.Role) error {
	if !s.Capabilities().Has(pluginapi.CarriesRolePermissions) {
		return fmt.Errorf("plugin %s does not keep what roles allow: %w", s.opts.Name, errors.ErrUnsupported)
	}
	all := wire.EncodeRoles(roles)
	for len(all) > 0 {
		n, size := 0, 0
		for ; n < len(all) && size < wire.DefaultBatchBytes; n++ {
			one := proto.Size(all[n])
			if one > mostOfRole {
				return fmt.Errorf("the permissions of role %s take %d bytes, and %d can be sent", all[n].GetName(), one, mostOfRole)
			}
			size += one
		}
		p, err := call(ctx, s, "DefineRoles", callTimeout, s.client.DefineRoles, &pluginpb.DefineRolesRequest{Roles: all[:n]})
		if err != nil {
			return err
		}
		if err := s.failure("define roles", p.GetDiagnostics()); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// mostOfRole leaves room for the roles before it in a message.
const mostOfRole = wire.MaxUser - wire.DefaultBatchBytes

// Tidy has the plugin remove a bounded number of things that runs have created beside
// accounts and nobody has any more. It says how many have gone and how many are still to be
// looked at.
func (s *Session) Tidy(ctx context.Context) (removed, left int, err error) {
	if err := s.able(pluginapi.CanTidy); err != nil {
		return 0, 0, err
	}
	p, err := call(ctx, s, "Tidy", undoTimeout, s.client.Tidy, &pluginpb.TidyRequest{})
	if err != nil {
		return 0, 0, err
	}
	return int(p.GetRemoved()), int(p.GetLeft()), s.diagnostics(p.GetDiagnostics()).Err()
}

// Login asks the target whether a password is right. The error is a
// [*pluginapi.Failure] when the plugin could not find out.
func (s *Session) Login(ctx context.Context, l pluginapi.Login) (bool, error) {
	if err := s.able(pluginapi.CanLogin); err != nil {
		return false, err
	}
	defer s.mask.pass(l.Password)()
	p, err := call(ctx, s, "Login", callTimeout, s.client.Login, &pluginpb.LoginRequest{
		TargetId: l.TargetID, Username: l.Username, Password: l.Password.Reveal(),
	})
	if err != nil {
		return false, err
	}
	return p.GetAccepted() && p.GetFailure() == nil, s.refusal("log in", p.GetFailure())
}

// SetPassword gives an account a new password. The error is a [*pluginapi.Failure]
// when the target refuses it.
func (s *Session) SetPassword(ctx context.Context, c pluginapi.PasswordChange) error {
	if err := s.able(pluginapi.CanSetPassword); err != nil {
		return err
	}
	defer s.mask.pass(c.Password)()
	p, err := call(ctx, s, "SetPassword", callTimeout, s.client.SetPassword, &pluginpb.SetPasswordRequest{
		TargetId: c.TargetID, Email: c.Email, Password: c.Password.Reveal(), EndSessions: c.EndSessions,
	})
	if err != nil {
		return err
	}
	return s.refusal("set the password", p.GetFailure())
}

// StartReset has the target run its own reset. It returns where to send the
// browser, empty when the target has sent a mail.
func (s *Session) StartReset(ctx context.Context, r pluginapi.Reset) (string, error) {
	if err := s.able(pluginapi.CanStartReset); err != nil {
		return "", err
	}
	p, err := call(ctx, s, "StartReset", callTimeout, s.client.StartReset, &pluginpb.StartResetRequest{
		TargetId: r.TargetID, Email: r.Email, RedirectUri: r.RedirectURI,
	})
	if err != nil {
		return "", err
	}
	return p.GetLocation(), s.refusal("start the reset", p.GetFailure())
}

// Exchange turns an assertion about a user into tokens of the target.
func (s *Session) Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error) {
	if err := s.able(pluginapi.CanExchange); err != nil {
		return pluginapi.Tokens{}, err
	}
	defer s.mask.pass(a.JWT)()
	p, err := call(ctx, s, "Exchange", callTimeout, s.client.Exchange, &pluginpb.ExchangeRequest{
		Assertion: a.JWT.Reveal(), TargetId: a.TargetID, Email: a.Email, ClientId: a.ClientID, Scope: a.Scope,
	})
	if err != nil {
		return pluginapi.Tokens{}, err
	}
	return pluginapi.Tokens{JSON: canonical.NewSecret(string(p.GetTokensJson()))}, s.refusal("exchange the session", p.GetFailure())
}

// refusal is a failure of the plugin, scrubbed and with the plugin's name.
func (s *hearing) refusal(what string, p *pluginpb.Failure) error {
	if p == nil {
		return nil
	}
	p.Code, p.Detail, p.Hint = string(s.wellFormed("", diag.Code(p.GetCode()))), bounded(s.Scrub(p.GetDetail())), bounded(s.Scrub(p.GetHint()))
	return fmt.Errorf("plugin %s: %s: %w", s.opts.Name, what, wire.DecodeFailure(p))
}

package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

// caller has every optional ability about one user.
type caller struct {
	loader
	failure error
	heard   []any
	undo    func([]sdk.Account, sdk.Outcomes) error
}

func (c *caller) Fix(_ context.Context, n sdk.Needs) sdk.Diagnostics {
	c.heard = append(c.heard, n.Users)
	return sdk.Diagnostics{{Severity: sdk.Warning, Code: "x.fixed", Summary: "done"}}
}

func (*caller) UndoFix(context.Context) sdk.Diagnostics {
	return sdk.Diagnostics{{Severity: sdk.Warning, Code: "x.undone", Summary: "done"}}
}

func (c *caller) Setup(_ context.Context, s sdk.Setup, n sdk.Needs) ([]sdk.SetupStep, sdk.Diagnostics) {
	c.heard = append(c.heard, s.AdminToken.Reveal(), s.Show, n.Broker.Issuer, n.Broker.ClientSecret.Reveal())
	return []sdk.SetupStep{{What: "a realm", Request: []byte(`{}`), Command: "make"}}, sdk.Diagnostics{{Severity: sdk.Warning, Code: "x.differs", Summary: "another"}}
}

func (c *caller) Undo(_ context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return c.undo(accounts, out)
}

func (c *caller) Login(_ context.Context, l sdk.Login) (bool, error) {
	c.heard = append(c.heard, l.TargetID, l.Username)
	return l.Password.Reveal() == "right", c.failure
}

func (c *caller) SetPassword(_ context.Context, p sdk.PasswordChange) error {
	c.heard = append(c.heard, p.TargetID, p.Email, p.Password.Reveal())
	return c.failure
}

func (c *caller) StartReset(_ context.Context, r sdk.Reset) (string, error) {
	c.heard = append(c.heard, r.TargetID, r.Email, r.RedirectURI)
	return "https://idp/reset", c.failure
}

func (c *caller) Exchange(_ context.Context, a sdk.Assertion) (sdk.Tokens, error) {
	c.heard = append(c.heard, a.JWT.Reveal(), a.TargetID, a.Email, a.ClientID, a.Scope)
	return sdk.Tokens{JSON: sdk.NewSecret(`{"access_token":"t"}`)}, c.failure
}

func TestCallsCross(t *testing.T) {
	t.Parallel()
	target := &caller{}
	c := plugintest.Serve(t, with(target), nil)
	for code, f := range map[sdk.Code]pluginapi.Fixing{
		"x.fixed": {Needs: sdk.Needs{Users: 7}}, "x.undone": {Undo: true},
		"x.differs": {Setup: &sdk.Setup{AdminToken: sdk.NewSecret("admin"), Show: true}, Needs: sdk.Needs{Broker: &sdk.Broker{Issuer: "https://bridge", ClientSecret: sdk.NewSecret("s")}}},
	} {
		target.heard = nil
		done, err := c.Fix(t.Context(), f)
		if err != nil || len(done.Found) != 1 || done.Found[0].Code != code || len(done.Steps) != 0 != (f.Setup != nil) {
			t.Errorf("%s: %+v, %v", code, done, err)
		}
		if f.Setup != nil && !slices.Equal(target.heard, []any{"admin", true, "https://bridge", "s"}) {
			t.Errorf("heard %v", target.heard)
		}
	}
	target.heard = []any{7}
	for password, want := range map[string]bool{"right": true, "wrong": false} {
		if ok, err := c.Login(t.Context(), sdk.Login{TargetID: "id", Username: "u", Password: sdk.NewSecret(password)}); err != nil || ok != want {
			t.Errorf("login with the %s password: %v, %v", password, ok, err)
		}
	}
	if err := c.SetPassword(t.Context(), sdk.PasswordChange{TargetID: "id", Email: "e", Password: sdk.NewSecret("p")}); err != nil {
		t.Error(err)
	}
	if to, err := c.StartReset(t.Context(), sdk.Reset{TargetID: "id", Email: "e", RedirectURI: "r"}); err != nil || to != "https://idp/reset" {
		t.Errorf("reset: %q, %v", to, err)
	}
	tokens, err := c.Exchange(t.Context(), sdk.Assertion{JWT: sdk.NewSecret("j"), TargetID: "id", Email: "e", ClientID: "c", Scope: "s"})
	if err != nil || tokens.JSON.Reveal() != `{"access_token":"t"}` {
		t.Errorf("exchange: %v", err)
	}
	want := []any{7, "id", "u", "id", "u", "id", "e", "p", "id", "e", "r", "j", "id", "e", "c", "s"}
	if diff := cmp.Diff(want, target.heard); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

// A failure keeps its code on the way; any other error gets one.
func TestFailuresKeepTheirCode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want sdk.Code
	}{
		{&sdk.Failure{Code: "acme.too_weak", Detail: "eight characters at least"}, "acme.too_weak"},
		{errors.New("connection refused"), "plugin.call_failed"},
	} {
		c := plugintest.Serve(t, with(&caller{failure: tc.err}), nil)
		_, login := c.Login(t.Context(), sdk.Login{})
		_, reset := c.StartReset(t.Context(), sdk.Reset{})
		_, exchange := c.Exchange(t.Context(), sdk.Assertion{})
		for _, err := range []error{login, reset, exchange, c.SetPassword(t.Context(), sdk.PasswordChange{})} {
			f, ok := errors.AsType[*sdk.Failure](err)
			if !ok || f.Code != tc.want || f.Detail == "" {
				t.Errorf("error %v, want a failure %s", err, tc.want)
			}
		}
	}
}

func TestUndoAnswersForEveryAccount(t *testing.T) {
	t.Parallel()
	accounts := []sdk.Account{{SourceID: "1", TargetID: "t1", State: []byte{1}}, {SourceID: "2", Before: []byte("{}")}, {SourceID: "3"}}
	target := &caller{undo: func(got []sdk.Account, out sdk.Outcomes) error {
		if got[1].Before == nil || got[0].Before != nil {
			return errors.New("pre-images got lost")
		}
		out.Report(sdk.Outcome{SourceID: "2", Action: sdk.Updated})
		out.Report(sdk.Outcome{SourceID: "1", Action: sdk.Deleted})
		out.Report(sdk.Outcome{SourceID: "9", Action: sdk.Deleted})
		return errors.New("and then it broke")
	}}
	c := plugintest.Serve(t, with(target), nil)
	outcomes, err := c.Undo(t.Context(), accounts)
	if err != nil {
		t.Fatal(err)
	}
	var got []sdk.Action
	for _, o := range outcomes {
		got = append(got, o.Action)
	}
	if diff := cmp.Diff([]sdk.Action{sdk.Deleted, sdk.Updated, sdk.InDoubt}, got); diff != "" || !strings.Contains(outcomes[2].Detail, "then it broke") {
		t.Errorf("outcomes %+v", outcomes)
	}
}

// patient takes one account back, and then waits until it is told to stop.
type patient struct {
	loader
	first func()
}

func (p *patient) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	out.Report(sdk.Outcome{SourceID: accounts[0].SourceID, Action: sdk.Deleted})
	p.first()
	<-ctx.Done()
	return ctx.Err()
}

func TestUndoStopsWithWhatIsKnown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := plugintest.Serve(t, with(&patient{first: cancel}), nil)
	outcomes, err := c.Undo(ctx, []sdk.Account{{SourceID: "1"}, {SourceID: "2"}})
	if !errors.Is(err, context.Canceled) || outcomes[0].Action != sdk.Deleted || outcomes[1].Action != sdk.InDoubt || outcomes[1].Code != sdk.CodeUndecided {
		t.Errorf("%v, %+v", err, outcomes)
	}
}

// Two hundred megabytes of pre-images are given back, a part at a time.
func TestUndoOfLargePreImages(t *testing.T) {
	t.Parallel()
	before := bytes.Repeat([]byte("x"), 100<<10)
	accounts := make([]sdk.Account, 2000)
	for i := range accounts {
		accounts[i] = sdk.Account{SourceID: strconv.Itoa(i), Before: before}
	}
	c := plugintest.Serve(t, with(&caller{undo: func(got []sdk.Account, out sdk.Outcomes) error {
		for _, a := range got {
			if len(a.Before) == len(before) {
				out.Report(sdk.Outcome{SourceID: a.SourceID, Action: sdk.Updated})
			}
		}
		return nil
	}}), nil)
	outcomes, err := c.Undo(t.Context(), accounts)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Action != sdk.Updated {
			t.Fatalf("account %d: %+v", i, o)
		}
	}
}

// A host of minor version 1 asks for all outcomes at once.
func TestOldHostUndoes(t *testing.T) {
	t.Parallel()
	host := oldHost(t, with(&caller{undo: func(_ []sdk.Account, out sdk.Outcomes) error {
		out.Report(sdk.Outcome{SourceID: "1", Action: sdk.Deleted})
		return nil
	}}), io.Discard)
	if _, err := host.Configure(t.Context(), &pluginpb.ConfigureRequest{ConfigJson: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	p, err := host.Undo(t.Context(), &pluginpb.UndoRequest{Accounts: []*pluginpb.Account{{SourceId: "1"}, {SourceId: "2"}}})
	if err != nil || len(p.GetOutcomes()) != 2 || p.GetOutcomes()[0].GetAction() != pluginpb.Action_ACTION_DELETED || p.GetOutcomes()[1].GetAction() != pluginpb.Action_ACTION_IN_DOUBT {
		t.Errorf("%v, %v", p, err)
	}
}

// tidier has something beside accounts.
type tidier struct {
	caller
	err error
}

func (t *tidier) Tidy(context.Context) (removed, left int, err error) { return 3, 5, t.err }

// What a plugin says of tidying up, and who may go although he has signed in, gets through.
func TestTidy(t *testing.T) {
	t.Parallel()
	target := &tidier{caller: caller{undo: func(got []sdk.Account, out sdk.Outcomes) error {
		for _, a := range got {
			action := sdk.Skipped
			if a.SignedIn {
				action = sdk.Deleted
			}
			out.Report(sdk.Outcome{SourceID: a.SourceID, Action: action, Code: sdk.CodeUndoSignedIn})
		}
		return nil
	}}}
	c := plugintest.Serve(t, with(target), nil)
	if removed, left, err := c.Tidy(t.Context()); err != nil || removed != 3 || left != 5 {
		t.Errorf("%d removed, %d left, %v", removed, left, err)
	}
	o, err := c.Undo(t.Context(), []sdk.Account{{SourceID: "1"}, {SourceID: "2", SignedIn: true}})
	if err != nil || o[0].Action != sdk.Skipped || o[1].Action != sdk.Deleted {
		t.Errorf("%+v, %v", o, err)
	}
	target.err = errors.New("down")
	if removed, _, err := c.Tidy(t.Context()); err == nil || removed != 3 || !strings.Contains(err.Error(), "down") {
		t.Errorf("%d removed, %v", removed, err)
	}
	c = plugintest.Serve(t, with(&caller{}), nil)
	if _, _, err := c.Tidy(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a plugin without: %v", err)
	}
}

// limited takes back what its methods promise.
type limited struct{ caller }

func (*limited) Lacks() []sdk.Ability { return []sdk.Ability{sdk.CanUndo, sdk.CanLogin} }

func TestAbilitiesFollowTheInterfaces(t *testing.T) {
	t.Parallel()
	c := plugintest.Serve(t, with(&limited{}), nil)
	want := []sdk.Ability{sdk.CanFix, sdk.CanUndoFix, sdk.CanSetup, sdk.CanSetPassword, sdk.CanStartReset, sdk.CanExchange}
	if diff := cmp.Diff(want, c.Capabilities().Abilities); diff != "" {
		t.Errorf("abilities (-want +got):\n%s", diff)
	}
	if _, err := c.Undo(t.Context(), []sdk.Account{{SourceID: "1"}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("undo: %v", err)
	}
}

package sdk_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginpb"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

// signedIn is a target that knows how people can sign in.
type signedIn struct{ *full }

func (signedIn) SignIns() []sdk.SignIn {
	return []sdk.SignIn{{Way: sdk.SignInPassword, State: sdk.SwitchOff}}
}

func TestSignInsComeWithTheCheck(t *testing.T) {
	t.Parallel()
	c, _ := configured(t, with(signedIn{newFull()}))
	found, err := c.Check(t.Context(), sdk.Needs{})
	if diff := cmp.Diff([]sdk.SignIn{{Way: sdk.SignInPassword, State: sdk.SwitchOff}}, found.SignIns); err != nil || diff != "" {
		t.Errorf("check: %v\n%s", err, diff)
	}
}

// What a plugin says about itself reaches the host.
func TestDescription(t *testing.T) {
	t.Parallel()
	p := with(newFull())
	p.Codes = []sdk.CodeInfo{{Code: "test.denied", Meaning: "m", Remedy: "r", Path: "/roles", Permanent: true}}
	p.Capabilities = sdk.Capabilities{
		NoUsernames: true, UniqueIdentities: true, OnlyTenant: "eu", UniqueInTenant: []sdk.Identifier{sdk.IdentifierEmail}, SignIns: []sdk.SignIn{{Way: sdk.SignInSocial, Provider: "google"}},
		Folding: map[sdk.Identifier]sdk.Folding{sdk.IdentifierEmail: {Trims: true, Normalization: sdk.NFKC}},
	}
	info := plugintest.Connect(t, p).Info
	if diff := cmp.Diff(p.Capabilities, info.Capabilities); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(diag.Words(p.Codes), info.Codes); diff != "" || info.Minor == 0 {
		t.Errorf("minor version %d, codes (-want +got):\n%s", info.Minor, diff)
	}
}

// losing loses a role of every account, and says so also of one that is not there.
var losing = loader(func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	for i, u := range users {
		action := []sdk.Action{sdk.Created, sdk.Unchanged, sdk.Rejected}[i]
		out.Report(sdk.Outcome{SourceID: u.SourceID, Action: action, Code: "test.denied", Losses: []sdk.PartLoss{
			{Feature: sdk.CarriesRoles, Code: "test.no_role", Attribute: "admin", Detail: strings.Repeat("x", 5000)},
		}})
	}
	return nil
})

func TestLossesOfParts(t *testing.T) {
	t.Parallel()
	c, log := configured(t, with(losing))
	out, err := c.Load(t.Context(), users(3))
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.PartLoss{{Feature: sdk.CarriesRoles, Code: "test.no_role", Attribute: "admin", Detail: strings.Repeat("x", 4096) + "… (5000 bytes in all)"}}
	for _, o := range out[:2] {
		if diff := cmp.Diff(want, o.Losses); diff != "" {
			t.Errorf("%s (-want +got):\n%s", o.Action, diff)
		}
	}
	if out[2].Losses != nil || out[2].Action != sdk.Rejected || !strings.Contains(log.String(), "losses of an account that was not written") {
		t.Errorf("an account that is not there: %+v", out[2])
	}
	if strings.Contains(log.String(), "cannot count") {
		t.Error("the log says that the host is too old")
	}
}

// oldHost talks to a plugin with messages alone, and says nothing of minor versions.
func oldHost(t *testing.T, p sdk.Plugin[noConfig], log io.Writer) pluginpb.TargetServiceClient {
	t.Helper()
	lis, srv := bufconn.Listen(1<<16), grpc.NewServer()
	if err := sdk.Register(srv, p, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(lis) })
	conn, err := grpc.NewClient("passthrough:///", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		srv.Stop()
		serving.Wait()
	})
	return pluginpb.NewTargetServiceClient(conn)
}

// A host of minor version 0 cannot count what is lost, so the log has it.
func TestOldHostFindsLossesInTheLog(t *testing.T) {
	t.Parallel()
	log := &lines{}
	host := oldHost(t, with(losing), log)
	if _, err := host.Configure(t.Context(), &pluginpb.ConfigureRequest{ConfigJson: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	st, err := host.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	user := &pluginpb.User{SourceId: "0", PasswordClass: pluginpb.PasswordClass_PASSWORD_CLASS_NO_PASSWORD}
	if err := st.Send(&pluginpb.LoadRequest{Kind: &pluginpb.LoadRequest_Batch{Batch: &pluginpb.Batch{Id: 1, Users: []*pluginpb.User{user}}}}); err != nil {
		t.Fatal(err)
	}
	if p, err := st.Recv(); err != nil || len(p.GetOutcomes()) != 1 || p.GetOutcomes()[0].GetAction() != pluginpb.Action_ACTION_CREATED {
		t.Errorf("answer %v, %v", p, err)
	}
	if text := log.String(); !strings.Contains(text, "cannot count") || !strings.Contains(text, "test.no_role") {
		t.Errorf("the log does not say what is lost: %s", text)
	}
}

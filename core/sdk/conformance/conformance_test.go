//go:build unix

package conformance

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// The test binary is also the executable of the plugin.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		sdk.Serve(newPlugin())
	case len(os.Args) == 2 && os.Args[1] == "serve-forever":
		sdk.Serve(newPlugin())
		select {}
	case len(os.Args) == 2 && os.Args[1] == "serve-unwatched":
		serveUnwatched()
	default:
		_ = os.Setenv("GORACE", testenv.Race()) // for the plugins
		m.Run()
	}
}

// serveUnwatched is a plugin that does not look after its parent.
func serveUnwatched() {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: wire.Version, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{wire.Version: {wire.ServiceKey: unwatched{}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(wire.MaxMessage))...)
		},
	})
}

type unwatched struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (unwatched) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	return sdk.Register(s, newPlugin(), discard())
}

func (unwatched) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

// wrapped puts a server of the test before the plugin.
type wrapped struct {
	grpc.ServiceRegistrar
	wrap func(pluginpb.TargetServiceServer) pluginpb.TargetServiceServer
}

func (w wrapped) RegisterService(d *grpc.ServiceDesc, impl any) {
	w.ServiceRegistrar.RegisterService(d, w.wrap(impl.(pluginpb.TargetServiceServer)))
}

// pathless takes the place out of every diagnostic.
type pathless struct{ pluginpb.TargetServiceServer }

func (p pathless) Configure(ctx context.Context, r *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	resp, err := p.TargetServiceServer.Configure(ctx, r)
	for _, d := range resp.GetDiagnostics() {
		d.Path = ""
	}
	return resp, err
}

// lenient says yes to every Configure.
type lenient struct{ pluginpb.TargetServiceServer }

func (l lenient) Configure(ctx context.Context, r *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	if resp, err := l.TargetServiceServer.Configure(ctx, r); err == nil {
		return resp, nil
	}
	return &pluginpb.ConfigureResponse{}, nil
}

// inProcess is the plugin of these tests, breaking a rule, in this process.
func inProcess(t *testing.T, breaks string) Starter {
	t.Helper()
	p := newPlugin()
	switch breaks {
	case "describe":
		p = newPlugin("teleport")
	case "abilities":
		p.Capabilities.Abilities = []sdk.Ability{sdk.CanStartReset}
	}
	s := InProcess(p, config{Dir: t.TempDir(), Breaks: breaks})
	wrap := map[string]func(pluginpb.TargetServiceServer) pluginpb.TargetServiceServer{
		"configure": func(s pluginpb.TargetServiceServer) pluginpb.TargetServiceServer { return pathless{s} },
		"order":     func(s pluginpb.TargetServiceServer) pluginpb.TargetServiceServer { return lenient{s} },
	}[breaks]
	if wrap != nil {
		s.wrap = func(r grpc.ServiceRegistrar) grpc.ServiceRegistrar { return wrapped{r, wrap} }
	}
	return s
}

func executable(t *testing.T, breaks string) Starter {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	serve := "serve"
	switch breaks {
	case "exit":
		serve = "serve-forever"
	case "orphan":
		serve = "serve-unwatched"
	}
	return Executable(plugin.Location{Name: "folder", Path: self, Args: []string{serve}}, plugin.Options{}, config{Dir: t.TempDir(), Breaks: breaks})
}

func TestGoodPlugin(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		start := inProcess(t, "")
		Test(t, Suite{Start: start, Inspect: lookInto(start), Allows: allowsIn(start)})
	})
	t.Run("executable", func(t *testing.T) {
		t.Parallel()
		Test(t, Suite{Start: executable(t, "")})
	})
}

// Every rule has a plugin that breaks this one and keeps all others. Under the race detector
// the others are not tried: that takes minutes, and is for make test-work.
func TestEveryRuleIsBrokenAlone(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule on a plugin that breaks it")
	// See TestFront, TestFrontKills and TestSpeaks.
	tried := map[string]bool{
		"throttled": true, "cut-off": true, "client-certificate": true, "denied": true, "broken-off": true, "undo-broken-off": true,
	}
	for _, rule := range Rules() {
		if tried[rule.Name] {
			continue
		}
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			s := Suite{Start: inProcess(t, rule.Name)}
			switch rule.Name {
			case "check-only-looks", "role-permissions":
				s.Inspect = lookInto(s.Start)
			case "crash", "orphan", "stdout", "environment", "signals":
				s.Start = executable(t, rule.Name)
			case "exit": // each end of the process takes seconds, so there must be few
				s.Start, s.Skip = executable(t, rule.Name), map[string]string{}
				for _, other := range Rules() {
					if other.Name != "exit" && other.Name != "outcomes" && other.Name != "stdout" {
						s.Skip[other.Name] = "takes long"
					}
				}
			}
			if testenv.Raced {
				s.Only = alone(rule.Name)
			}
			report, err := Run(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			wantFailed(t, report, rule.Name)
		})
	}
}

// What plugins get wrong beside the plain breach of a rule is found by one of the rules, too.
func TestOtherBreaches(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule on plugins that break one")
	for breaks, rule := range map[string]string{
		"blind-plan":        "update",          // sees no update coming
		"wordless-plan":     "update",          // does not say what would change
		"enabled":           "given-and-taken", // who is shut out at the source comes in here
		"email_verified":    "given-and-taken",
		"identities":        "given-and-taken",
		"rounded":           "given-and-taken", // takes numbers for floating ones
		"empty-login":       "login",
		"nameless":          "outcomes", // does not say what it has made
		"twins":             "outcomes", // makes one account of two people
		"token-in-log":      "secrets",
		"token-in-outcome":  "secrets",
		"slow-plan":         "cancel",
		"told-secret":       "propose",
		"comment-astray":    "propose", // is about nothing that is proposed
		"propose-writes":    "propose",
		"unsaid-owners":     "one-owner", // says that who did not get it has it
		"blind-to-owners":   "one-owner", // plans what it then does not do
		"others":            "rest",      // an update of one is one of others, too
		"answer-for-nobody": "answers",
		"leftovers":         "idempotent", // of the user before
		"stateless-plan":    "update",     // which a saved plan takes for any state
		"stateless-update":  "update",     // which an undo takes for any state
		"open-state":        "keyed-state",
		"growing-state":     "bounds",
		"trims":             "distinct",
		"normalizes":        "distinct",
		"secret-in-pulse":   "secrets",
		"secret-saved":      "secrets",
		"roles-again":       "role-permissions", // writes them with every run
		"roles-forgotten":   "role-permissions",
		"roles-stop":        "role-permissions", // for the sake of one
	} {
		t.Run(breaks, func(t *testing.T) {
			t.Parallel()
			start := InProcess(newPlugin(), map[string]any{"dir": t.TempDir(), "breaks": breaks, "token": "token-that-nobody-says"})
			report, err := Run(t.Context(), Suite{Start: start, Only: alone(rule), Inspect: lookInto(start), Allows: allowsIn(start)})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Results {
				if r.Rule == rule {
					t.Logf("%s: %s", r.Status, strings.Join(r.Problems, "; "))
					if r.Status != Failed {
						t.Errorf("the rule %s is kept", rule)
					}
				}
			}
		})
	}
}

// alone are the rules to try for one of them. Some look at what was said while others were
// tried.
func alone(rule string) []string {
	switch rule {
	case "secrets", "environment", "stdout", "bounds", "codes", "answers", "losses":
		return []string{rule, "outcomes", "poison", "large"}
	}
	return []string{rule}
}

func wantFailed(t *testing.T, report Report, rule string) {
	t.Helper()
	var failed []string
	for _, r := range report.Results {
		if r.Status == Failed {
			failed = append(failed, r.Rule)
			t.Logf("%s: %s", r.Rule, strings.Join(r.Problems, "; "))
		}
	}
	if !slices.Equal(failed, []string{rule}) || !report.Failed() {
		t.Errorf("these rules fail: %q, want only %q", failed, rule)
	}
}

// lookInto reads the folder of the plugin behind its back.
func lookInto(s Starter) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		var c config
		if err := json.Unmarshal(s.config, &c); err != nil {
			return "", err
		}
		files, err := filepath.Glob(filepath.Join(c.Dir, "*"))
		return strings.Join(files, "\n"), err
	}
}

// allowsIn reads what roles allow from the folder of the plugin.
func allowsIn(s Starter) func(context.Context, string) ([]string, error) {
	return func(_ context.Context, role string) ([]string, error) {
		var c config
		if err := json.Unmarshal(s.config, &c); err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(rolePath(c.Dir, role))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return strings.Split(string(raw), "\n"), err
	}
}

// A plugin that says what has to be decided first proposes a part that need not be accepted.
func TestOpenProposal(t *testing.T) {
	t.Parallel()
	report, err := Run(t.Context(), Suite{Start: inProcess(t, "proposes-nothing"), Only: []string{"propose"}})
	if err != nil || report.Failed() || !report.Tried() {
		t.Errorf("%v, %+v", err, report)
	}
}

// One rule alone can be tried, what is skipped is called so, and nothing tried is no success.
func TestChoiceOfRules(t *testing.T) {
	t.Parallel()
	var heard []string
	s := Suite{Start: inProcess(t, ""), Only: []string{"describe"}, Progress: func(r Result) { heard = append(heard, r.Rule+" "+string(r.Status)) }}
	report, err := Run(t.Context(), s)
	if err != nil || !report.Tried() || report.Failed() || heard[0] != "describe passed" || heard[1] != "configure skipped" || len(heard) != len(Rules()) {
		t.Errorf("%v, %v", err, heard)
	}
	s.Only, s.Skip = []string{"describe"}, map[string]string{"describe": "not wanted"}
	if report, err = Run(t.Context(), s); err != nil || report.Tried() {
		t.Errorf("nothing was to be tried: %v, %+v", err, report)
	}
	s.Skip = map[string]string{"descrbe": "a slip of the pen"}
	if _, err = Run(t.Context(), s); !errors.Is(err, ErrNoSuchRule) || !strings.Contains(err.Error(), "descrbe") {
		t.Errorf("a rule that there is not: %v", err)
	}
}

// Whoever answers a stranger is found out.
func TestSpeaks(t *testing.T) {
	t.Parallel()
	signed := httptest.NewUnstartedServer(nil) // which brings a certificate
	signed.StartTLS()
	defer signed.Close()
	open := &tls.Config{Certificates: signed.TLS.Certificates, NextProtos: []string{"h2"}}
	closed := open.Clone()
	closed.ClientAuth = tls.RequireAnyClientCert
	for name, tt := range map[string]struct {
		with credentials.TransportCredentials
		tls  bool
		want bool
	}{
		"plain":                 {with: insecure.NewCredentials(), want: true},
		"without certificate":   {with: credentials.NewTLS(open), tls: true, want: true},
		"with certificate":      {with: credentials.NewTLS(closed), tls: true},
		"plain to a TLS server": {with: credentials.NewTLS(closed)},
	} {
		lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer(grpc.Creds(tt.with))
		go func() { _ = srv.Serve(lis) }()
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if tt.tls {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		if got := speaks(c); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
		_ = c.Close()
		srv.Stop()
	}
}

// A plugin that promises to keep what roles allow has a place for it.
func TestAbilitiesFindsRolesWithoutAPlace(t *testing.T) {
	t.Parallel()
	p := newPlugin()
	open := p.New
	p.New = func(ctx context.Context, c config, env sdk.Env) (sdk.Target, error) {
		t, err := open(ctx, c, env)
		return struct{ sdk.Target }{t}, err
	}
	s := Suite{Start: InProcess(p, config{Dir: t.TempDir()}), Skip: map[string]string{}}
	for _, rule := range Rules() {
		if rule.Name != "abilities" {
			s.Skip[rule.Name] = "another test"
		}
	}
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if found := strings.Join(r.Problems, "\n"); r.Rule == "abilities" && !strings.Contains(found, "what a role allows") {
			t.Errorf("no problem with roles in\n%s", found)
		}
	}
}

// What a plugin says of itself is looked at word for word.
func TestDescribeFindsEveryMistake(t *testing.T) {
	t.Parallel()
	p := newPlugin("teleport")
	p.Capabilities.SignIns = []sdk.SignIn{{Way: "telepathy"}, {Way: sdk.SignInPassword, Provider: "google"}}
	p.Capabilities.UniqueInTenant = []sdk.Identifier{"shoe_size"}
	p.Capabilities.Folding = map[sdk.Identifier]sdk.Folding{sdk.IdentifierEmail: {Normalization: "NFX"}}
	s := Suite{Start: InProcess(p, config{Dir: t.TempDir()}), Skip: map[string]string{}}
	for _, rule := range Rules() {
		if rule.Name != "describe" {
			s.Skip[rule.Name] = "another test"
		}
	}
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Join(report.Results[0].Problems, "\n")
	for _, want := range []string{`feature "teleport"`, `called "telepathy"`, `provider "google"`, `identifier "shoe_size"`, `called "NFX"`} {
		if !strings.Contains(found, want) {
			t.Errorf("no problem with %s in\n%s", want, found)
		}
	}
	k := &probe{kit: &kit{}}
	k.fields([]pluginapi.ConfigField{{Key: "a"}, {Key: "a"}, {Key: "b", Secret: true, Example: []byte(`"x"`)}})
	if len(k.problems) != 2 {
		t.Errorf("problems with fields: %q", k.problems)
	}
	open := openSecrets([]byte(`{"properties": {"token": {"type": "string", "writeOnly": true}, "token_url": {"type": "string"}, "api_key": {"type": "string"}, "clientSecret": {"type": "string"}, "reset_password": {"type": "boolean"}}}`))
	if !slices.Equal(open, []string{"api_key", "clientSecret"}) {
		t.Errorf("secrets that are not marked: %q", open)
	}
}

func TestCannotStart(t *testing.T) {
	t.Parallel()
	if _, err := Run(t.Context(), Suite{Start: InProcess(newPlugin(), "{}")}); err == nil || !strings.Contains(err.Error(), `"dir" is missing`) {
		t.Errorf("error %v", err)
	}
	missing := plugin.Location{Name: "none", Path: "/nowhere/stetl-plugin-none"}
	if _, err := Run(t.Context(), Suite{Start: Executable(missing, plugin.Options{}, nil)}); !errors.As(err, new(*plugin.Error)) {
		t.Errorf("error %v", err)
	}
}

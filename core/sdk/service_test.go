package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

// loader is a target with nothing but Load.
type loader func(ctx context.Context, users []sdk.User, out sdk.Outcomes) error

func (f loader) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	return f(ctx, users, out)
}

type noConfig struct{}

// with is a plugin whose New returns t.
func with(t sdk.Target) sdk.Plugin[noConfig] {
	return sdk.Plugin[noConfig]{
		Name: "test", Version: "1",
		Capabilities: sdk.Capabilities{Batch: sdk.BatchLimits{Users: 4, InFlight: 2}},
		New:          func(context.Context, noConfig, sdk.Env) (sdk.Target, error) { return t, nil },
	}
}

func users(n int) []sdk.User {
	out := make([]sdk.User, n)
	for i := range out {
		out[i] = sdk.User{SourceID: fmt.Sprint(i), Class: sdk.NoPassword}
	}
	return out
}

func report(out sdk.Outcomes, users []sdk.User) {
	for _, u := range users {
		out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: "t" + u.SourceID})
	}
}

// lines is a log that is safe to read while it grows.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func configured(t *testing.T, p sdk.Plugin[noConfig]) (*plugintest.Client, *lines) {
	t.Helper()
	log := &lines{}
	c := plugintest.ConnectLogging(t, p, log)
	if list, err := c.Configure(t.Context(), []byte("{}"), ""); err != nil || len(list) > 0 {
		t.Fatalf("configure: %v, %v", list, err)
	}
	return c, log
}

// Whatever Load does, every user of a batch of four has one outcome.
func TestOneOutcomePerUser(t *testing.T) {
	t.Parallel()
	created := func(ids ...int) (out []sdk.Outcome) {
		for _, id := range ids {
			out = append(out, sdk.Outcome{SourceID: fmt.Sprint(id), Action: sdk.Created, TargetID: "t" + fmt.Sprint(id)})
		}
		return out
	}
	doubt := func(code sdk.Code, detail string, ids ...int) (out []sdk.Outcome) {
		for _, id := range ids {
			out = append(out, sdk.Outcome{SourceID: fmt.Sprint(id), Action: sdk.InDoubt, Code: code, Detail: detail})
		}
		return out
	}
	const panicked = "the plugin panicked in Load; its log has the stack"
	for name, tc := range map[string]struct {
		load loader
		want []sdk.Outcome
		log  string
	}{
		"all": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				report(out, users)
				return nil
			},
			want: created(0, 1, 2, 3),
		},
		"from many goroutines, backwards": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				var wg sync.WaitGroup
				for i := range users {
					wg.Go(func() { report(out, users[len(users)-1-i:len(users)-i]) })
				}
				wg.Wait()
				return nil
			},
			want: created(0, 1, 2, 3),
		},
		"hole": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				report(out, users[:3])
				return nil
			},
			want: append(created(0, 1, 2), doubt("plugin.no_answer", "the plugin returned without an outcome for this user", 3)...),
			log:  "bug in the plugin: Load returned nil without an outcome for every user",
		},
		"error": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				report(out, users[:1])
				return errors.New("connection reset")
			},
			want: append(created(0), doubt("load.undecided", "connection reset", 1, 2, 3)...),
		},
		"error after all": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				report(out, users)
				return errors.New("too late")
			},
			want: created(0, 1, 2, 3),
		},
		"panic": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				report(out, users[:2])
				panic("index out of luck")
			},
			want: append(created(0, 1), doubt("plugin.panic", panicked, 2, 3)...),
			log:  "index out of luck",
		},
		"goexit": {
			load: func(context.Context, []sdk.User, sdk.Outcomes) error {
				runtime.Goexit()
				return nil
			},
			want: doubt("plugin.panic", panicked, 0, 1, 2, 3),
			log:  "panic in plugin code",
		},
		"twice": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				report(out, users)
				out.Report(sdk.Outcome{SourceID: "0", Action: sdk.Rejected, Code: "test.changed_my_mind"})
				return nil
			},
			want: created(0, 1, 2, 3),
			log:  "second outcome for a user",
		},
		"stranger": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				out.Report(sdk.Outcome{SourceID: "99", Action: sdk.Created})
				report(out, users)
				return nil
			},
			want: created(0, 1, 2, 3),
			log:  "outcome for a user who is not in the batch",
		},
		"no such action": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				out.Report(sdk.Outcome{SourceID: "0", Action: "done"})
				report(out, users[1:])
				return nil
			},
			want: append(doubt("plugin.no_answer", "the plugin returned without an outcome for this user", 0), created(1, 2, 3)...),
			log:  "outcome without a valid action",
		},
		"no code": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				out.Report(sdk.Outcome{SourceID: "0", Action: sdk.Rejected, Detail: "because"})
				report(out, users[1:])
				return nil
			},
			want: append([]sdk.Outcome{{SourceID: "0", Action: sdk.Rejected, Detail: "because"}}, created(1, 2, 3)...),
			log:  "rejected without a code",
		},
		"everything there is to say": {
			load: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
				out.Report(sdk.Outcome{SourceID: "0", Action: sdk.Updated, TargetID: "x", Changed: []string{"email", "roles"}})
				out.Report(sdk.Outcome{SourceID: "1", Action: sdk.Unchanged, TargetID: "y"})
				out.Report(sdk.Outcome{SourceID: "2", Action: sdk.Skipped, Code: "test.skip", Detail: "caf\xe9", Hint: "h"})
				out.Report(sdk.Outcome{SourceID: "3", Action: sdk.Rejected, Code: "test.no", Detail: strings.Repeat("ä", 3000)})
				return nil
			},
			want: []sdk.Outcome{
				{SourceID: "0", Action: sdk.Updated, TargetID: "x", Changed: []string{"email", "roles"}},
				{SourceID: "1", Action: sdk.Unchanged, TargetID: "y"},
				{SourceID: "2", Action: sdk.Skipped, Code: "test.skip", Detail: "caf\ufffd", Hint: "h"},
				{SourceID: "3", Action: sdk.Rejected, Code: "test.no", Detail: strings.Repeat("ä", 2048) + "… (6000 bytes in all)"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, log := configured(t, with(tc.load))
			got, err := c.Load(t.Context(), users(4))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if !strings.Contains(log.String(), tc.log) || tc.log == "" && log.String() != "" {
				t.Errorf("log %q, want %q", log, tc.log)
			}
			for _, o := range got {
				if strings.Contains(o.Detail, "index out of luck") {
					t.Error("the panic value left the log")
				}
			}
		})
	}
}

func TestLateOutcome(t *testing.T) {
	t.Parallel()
	late := make(chan func())
	c, log := configured(t, with(loader(func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
		go func() { late <- func() { report(out, users) } }()
		return nil
	})))
	if _, err := c.Load(t.Context(), users(1)); err != nil {
		t.Fatal(err)
	}
	(<-late)()
	if !strings.Contains(log.String(), "outcome after the call had returned") {
		t.Errorf("log %q", log)
	}
}

func TestInFlightIsTheLimit(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	var both sync.WaitGroup // two batches meet in every pair, or the test hangs
	both.Add(2)
	var first atomic.Int32
	c, _ := configured(t, with(loader(func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		if first.Add(1) <= 2 {
			both.Done()
			both.Wait()
		}
		report(out, users)
		return nil
	})))
	outcomes, err := c.Load(t.Context(), users(400)) // batches of four
	if err != nil || len(outcomes) != 400 {
		t.Fatalf("%d outcomes, %v", len(outcomes), err)
	}
	if most.Load() != 2 {
		t.Errorf("%d batches at once, want 2", most.Load())
	}
}

func TestCancelReachesTheTarget(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	c, _ := configured(t, with(loader(func(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
		if users[0].SourceID != "0" {
			report(out, users)
			return nil
		}
		report(out, users[:1])
		close(started)
		<-ctx.Done()
		report(out, users[1:2])
		return ctx.Err()
	})))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	got, err := c.Load(ctx, users(3))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	want := []sdk.Outcome{
		{SourceID: "0", Action: sdk.Created, TargetID: "t0"},
		{SourceID: "1", Action: sdk.Created, TargetID: "t1"},
		{SourceID: "2", Action: sdk.InDoubt, Code: diag.LoadUndecided, Detail: "context canceled"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// One cancelled batch does not end the stream for others.
	if got, err := c.Load(t.Context(), users(4)[1:]); err != nil || got[0].Action != sdk.Created {
		t.Errorf("the next load: %+v, %v", got, err)
	}
}

// full has every optional interface.
type full struct {
	loader
	caps              sdk.Capabilities
	check             func(sdk.Needs) sdk.Diagnostics
	plan              func([]sdk.User, sdk.Changes) error
	finish, closing   func() error
	finished, closeds atomic.Int32
}

func (f *full) Capabilities() sdk.Capabilities { return f.caps }

func (f *full) Check(_ context.Context, n sdk.Needs) sdk.Diagnostics { return f.check(n) }

func (f *full) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	return f.plan(users, out)
}

func (f *full) Finish(context.Context) error {
	f.finished.Add(1)
	return f.finish()
}

func (f *full) Close(context.Context) error {
	f.closeds.Add(1)
	return f.closing()
}

func newFull() *full {
	ok := func() error { return nil }
	return &full{
		loader: func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
			report(out, users)
			return nil
		},
		caps:   sdk.Capabilities{Carries: []sdk.Feature{sdk.CarriesTOTP}},
		check:  func(sdk.Needs) sdk.Diagnostics { return nil },
		plan:   func([]sdk.User, sdk.Changes) error { return nil },
		finish: ok, closing: ok,
	}
}

func TestOptionalInterfaces(t *testing.T) {
	t.Parallel()
	f := newFull()
	f.check = func(n sdk.Needs) sdk.Diagnostics {
		return sdk.Diagnostics{{Code: "test.denied", Summary: fmt.Sprint("denied: ", n.Providers), Path: "/token"}}
	}
	f.plan = func(users []sdk.User, out sdk.Changes) error {
		fields := make([]sdk.FieldChange, 400)
		for i := range fields {
			fields[i] = sdk.FieldChange{Field: "metadata", Old: strings.Repeat("o", 5000), New: "n"}
		}
		drifted := sdk.FieldChange{Field: "email", Old: "o", New: "n", Drift: true}
		out.Report(sdk.Change{Outcome: sdk.Outcome{SourceID: "0", Action: sdk.Updated}, Fields: append(fields[:1:1], drifted)})
		out.Report(sdk.Change{Outcome: sdk.Outcome{SourceID: "1", Action: sdk.Updated}, Fields: fields})
		return errors.New("offline")
	}
	c, _ := configured(t, with(f))

	caps := c.Capabilities()
	if diff := cmp.Diff(sdk.Capabilities{Carries: []sdk.Feature{sdk.CarriesTOTP}, Abilities: []sdk.Ability{"check", "plan"}}, caps); diff != "" {
		t.Errorf("capabilities:\n%s", diff)
	}
	found, err := c.Check(t.Context(), sdk.Needs{Providers: []string{"google"}})
	if diff := cmp.Diff(sdk.Diagnostics{{Code: "test.denied", Summary: "denied: [google]", Path: "/token"}}, found.Diagnostics); err != nil || diff != "" {
		t.Errorf("check: %v\n%s", err, diff)
	}
	changes, err := c.Plan(t.Context(), users(3))
	if err != nil {
		t.Fatal(err)
	}
	if f := changes[0].Fields; len(f) != 2 || !f[1].Drift || f[0].Old != strings.Repeat("o", 4096)+"… (5000 bytes in all)" || f[0].New != "n" {
		t.Errorf("a long field: %.80v", f)
	}
	if f := changes[1].Fields; len(f) >= 400 || f[len(f)-1].Field != "…" || !strings.HasSuffix(f[len(f)-1].New, " more fields") {
		t.Errorf("many long fields: %d, the last one %+v", len(f), f[len(f)-1])
	}
	if o := changes[2].Outcome; o.Action != sdk.InDoubt || o.Code != diag.LoadUndecided || o.Detail != "offline" {
		t.Errorf("no prediction: %+v", o)
	}
	if _, err := c.Load(t.Context(), users(1)); err != nil {
		t.Error(err)
	}
	if err := c.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if f.finished.Load() != 1 || f.closeds.Load() != 1 {
		t.Errorf("finished %d times, closed %d times", f.finished.Load(), f.closeds.Load())
	}
}

func TestMinimalTarget(t *testing.T) {
	t.Parallel()
	c, _ := configured(t, with(loader(func(context.Context, []sdk.User, sdk.Outcomes) error { return nil })))
	if caps := c.Capabilities(); len(caps.Abilities) > 0 || caps.Batch.Users != 4 {
		t.Errorf("capabilities %+v", caps)
	}
	if _, err := c.Plan(t.Context(), users(1)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("plan: %v", err)
	}
	if _, err := c.Check(t.Context(), sdk.Needs{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("check: %v", err)
	}
	if err := c.Finish(t.Context()); err != nil {
		t.Errorf("finish: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestOrderOfCalls(t *testing.T) {
	t.Parallel()
	f := newFull()
	c := plugintest.Connect(t, with(f))
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %q", err, what)
		}
	}
	outcomes, err := c.Load(t.Context(), users(1))
	refused("Load before Configure", err)
	if outcomes[0].Action != sdk.InDoubt {
		t.Errorf("outcome %+v", outcomes[0])
	}
	refused("needs a configured plugin", plugintest.Connect(t, with(f)).Finish(t.Context()))

	c = plugintest.Serve(t, with(f), nil)
	_, err = c.Configure(t.Context(), []byte("{}"), "")
	refused("Configure comes once", err)
	if err := c.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("comes once", c.Finish(t.Context()))
	if _, err = c.Check(t.Context(), sdk.Needs{}); err != nil {
		t.Errorf("check after Finish: %v", err)
	}
	if _, err = c.Plan(t.Context(), users(1)); err != nil {
		t.Errorf("plan after Finish: %v", err)
	}
	outcomes, err = c.Load(t.Context(), users(1))
	refused("already finished", err)
	if outcomes[0].Code != "plugin.not_sent" {
		t.Errorf("outcome %+v", outcomes[0])
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("Close comes once", c.Close(t.Context()))
}

func TestPanicsOutsideBatches(t *testing.T) {
	t.Parallel()
	f := newFull()
	f.check = func(sdk.Needs) sdk.Diagnostics { panic("check") }
	f.finish = func() error { panic("finish") }
	f.closing = func() error { panic("close") }
	c, log := configured(t, with(f))
	_, err := c.Check(t.Context(), sdk.Needs{})
	for _, err := range []error{err, c.Finish(t.Context()), c.Close(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "the plugin panicked in") {
			t.Errorf("error %v", err)
		}
	}
	for _, call := range []string{"check", "finish", "close"} {
		if !strings.Contains(log.String(), fmt.Sprintf(`"panic":%q`, call)) {
			t.Errorf("the log lacks the panic of %s", call)
		}
	}
}

type tokenConfig struct {
	URL   string     `json:"url"`
	Token sdk.Secret `json:"token,omitzero"`
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	newPlugin := func(open func(tokenConfig, sdk.Env) (sdk.Target, error)) sdk.Plugin[tokenConfig] {
		return sdk.Plugin[tokenConfig]{Name: "test", Version: "1.2", New: func(_ context.Context, c tokenConfig, env sdk.Env) (sdk.Target, error) {
			return open(c, env)
		}}
	}
	t.Run("hands over everything", func(t *testing.T) {
		t.Parallel()
		var got tokenConfig
		var agent string
		plugintest.Serve(t, newPlugin(func(c tokenConfig, env sdk.Env) (sdk.Target, error) {
			got, agent = c, env.UserAgent
			return newFull(), nil
		}), map[string]any{"url": "https://x", "token": "t"})
		if got.URL != "https://x" || got.Token.Reveal() != "t" || agent != "stetl/test stetl-plugin-test/1.2" {
			t.Errorf("got %+v, %q", got, agent)
		}
	})
	t.Run("problems, then success", func(t *testing.T) {
		t.Parallel()
		c := plugintest.Connect(t, newPlugin(func(c tokenConfig, _ sdk.Env) (sdk.Target, error) {
			switch c.URL {
			case "plain":
				return nil, errors.New("no luck with " + c.Token.Reveal())
			case "list":
				list := sdk.Diagnostics{{Code: "test.bad_url", Summary: "bad", Path: "/url"}, {Severity: sdk.Warning, Code: "test.odd", Summary: "odd"}}
				return nil, fmt.Errorf("open: %w", list.Err())
			case "panic":
				panic("no")
			case "nothing":
				return nil, nil
			}
			return newFull(), nil
		}))
		for config, want := range map[string]diag.List{
			`{}`:                                  {{Code: diag.ConfigMissingField, Path: "/url", Summary: `"url" is missing`}},
			`{"url": "plain", "token": "s3cr3t"}`: {{Code: diag.PluginConfigureFailed, Summary: "no luck with ‹secret›"}},
			`{"url": "list"}`:                     {{Code: "test.bad_url", Summary: "bad", Path: "/url"}, {Severity: sdk.Warning, Code: "test.odd", Summary: "odd"}},
		} {
			got, err := c.Configure(t.Context(), []byte(config), "")
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s", config, err, diff)
			}
		}
		for config, want := range map[string]string{
			`{"url": "panic"}`:   "the plugin panicked in Configure",
			`{"url": "nothing"}`: "neither a target nor an error",
		} {
			if _, err := c.Configure(t.Context(), []byte(config), ""); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", config, err)
			}
		}
		if list, err := c.Configure(t.Context(), []byte(`{"url": "good"}`), ""); err != nil || len(list) > 0 {
			t.Errorf("the good one: %v, %v", list, err)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	good := with(newFull())
	for name, tc := range map[string]struct {
		spoil func(*sdk.Plugin[noConfig])
		want  string
	}{
		"no name":  {func(p *sdk.Plugin[noConfig]) { p.Name = "" }, "lower-case letters"},
		"bad name": {func(p *sdk.Plugin[noConfig]) { p.Name = "../x" }, "lower-case letters"},
		"no New":   {func(p *sdk.Plugin[noConfig]) { p.New = nil }, "has no New function"},
		"code of the host": {func(p *sdk.Plugin[noConfig]) {
			p.Codes = []sdk.CodeInfo{{Code: sdk.CodeMoved, Meaning: "m", Remedy: "r"}}
		}, "all plugins share"},
		"code without words": {func(p *sdk.Plugin[noConfig]) { p.Codes = []sdk.CodeInfo{{Code: "test.denied"}} }, "one line each"},
		"code twice": {func(p *sdk.Plugin[noConfig]) {
			info := sdk.CodeInfo{Code: "test.denied", Meaning: "m", Remedy: "r"}
			p.Codes = []sdk.CodeInfo{info, info}
		}, "declared twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := good
			tc.spoil(&p)
			if err := sdk.Register(nil, p, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRunByHand(t *testing.T) {
	t.Parallel()
	err := sdk.Run(with(newFull()))
	if !errors.Is(err, sdk.ErrByHand) || !strings.Contains(err.Error(), `test 1 is a target plugin of stetl, not a command of its own; stetl starts it, if the configuration says "plugin: test"`) {
		t.Errorf("error %v", err)
	}
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	c, _ := configured(t, with(loader(func(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
		for _, u := range users {
			out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: strings.Repeat("t", len(u.Metadata))})
		}
		return nil
	})))
	in := users(3)
	for i := range in {
		in[i].Metadata = json.RawMessage(strings.Repeat(" ", 8<<20))
	}
	out, err := c.Load(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		if o.Action != sdk.Created || len(o.TargetID) != 8<<20 {
			t.Errorf("%s %s with %d bytes", o.SourceID, o.Action, len(o.TargetID))
		}
	}
}

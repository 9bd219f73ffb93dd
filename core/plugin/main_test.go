//go:build unix

package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk"
)

// The test binary is its own set of plugins: no build step, and exactly the
// way bundled plugins are started.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin-serve" {
		serve(os.Args[2])
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "--debug" {
		serve("good")
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "host-until-killed" {
		hostUntilKilled()
		return
	}
	m.Run()
}

// serve is the hidden subcommand.
func serve(name string) {
	switch name {
	case "noisy-before":
		fmt.Fprintln(os.Stdout, "Hello, I am a friendly plugin!")
	case "dies":
		fmt.Fprintln(os.Stderr, "cannot find my shared library")
		syscall.Exit(7)
	case "hangs":
		fmt.Fprintln(os.Stderr, "waiting for nothing")
		select {}
	case "old":
		fmt.Fprintln(os.Stdout, "1|9|unix|/nowhere|grpc|")
		select {}
	case "plain":
		fmt.Fprintln(os.Stdout, "1|1|unix|/nowhere|grpc|")
		select {}
	case "deaf":
		fmt.Fprintln(os.Stdout, "1|1|unix|/nowhere|grpc|AAAA")
		select {}
	case "mute":
		serveOdd(mute)
		return
	case "exits-zero":
		return
	case "unhealthy":
		serveOdd(unhealthy)
		return
	case "noisy-after":
		serveOdd(noisy)
		return
	case "stays":
		defer func() { select {} }()
	case "renamed":
		name = "something-else"
	}
	sdk.Serve(sdk.Plugin[config]{
		Name: name, Version: "1.2.3",
		Capabilities: pluginapi.Capabilities{
			Hashes:  []sdk.HashSupport{{Scheme: sdk.Bcrypt, MaxCost: 14}},
			Carries: []sdk.Feature{sdk.CarriesID},
			Batch:   sdk.BatchLimits{Users: 200, Bytes: 1 << 20, InFlight: 4},
		},
		New: func(_ context.Context, c config, env sdk.Env) (sdk.Target, error) {
			env.Log.Info("opened with "+c.Token.Reveal(), "token", c.Token.Reveal(), "agent", env.UserAgent)
			return &testTarget{config: c, env: env}, nil
		},
	})
}

type config struct {
	Token sdk.Secret `json:"token,omitzero" jsonschema:"a secret"`
	Mode  string     `json:"mode" default:"ok" jsonschema:"how to behave"`
}

// testTarget behaves as its mode says.
type testTarget struct {
	config config
	env    sdk.Env
	loads  atomic.Int32
}

func (t *testTarget) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	switch t.config.Mode {
	case "crash-midway":
		for _, u := range users[:len(users)/2] {
			out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created})
		}
		kill := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
		if t.loads.Add(1) == 3 {
			kill()
		}
		<-ctx.Done()
		return ctx.Err()
	case "exit":
		fmt.Fprintln(os.Stderr, "panic: not really, but it reads like one")
		syscall.Exit(3)
	case "panic-elsewhere":
		go panic("boom in the background")
		<-ctx.Done()
		return ctx.Err()
	case "give-away":
		hash := users[0].Password.Encode()
		t.env.Log.Warn("loading", "user", map[string]any{"hash": hash})
		fmt.Fprintln(os.Stderr, "as text:", hash)
		fmt.Fprintln(os.Stderr, "panic: "+hash)
		syscall.Exit(3)
	case "noisy":
		fmt.Fprintln(os.Stdout, "to os.Stdout")
		_, _ = syscall.Write(1, []byte("straight to descriptor 1\n"+strings.Repeat("x", 1<<20)+"\n"))
		fmt.Fprintln(os.Stderr, `{"@message":1}`)
		_, _ = os.Stderr.Write([]byte{0xff, 0x00, 0x1b, '[', '2', 'J', '\n'})
		fmt.Fprintln(os.Stderr, strings.Repeat("y", 1<<20))
	case "signals":
		// Both are ignored while serving; a handler of the plugin would not be.
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
	for _, u := range users {
		out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: "t-" + u.SourceID, Detail: t.detail(u)})
	}
	return nil
}

// detail tells the test what the plugin sees.
func (t *testTarget) detail(u sdk.User) string {
	switch t.config.Mode {
	case "environment":
		return strings.Join(os.Environ(), "\n")
	case "stdin":
		n, err := os.Stdin.Read(make([]byte, 1))
		return fmt.Sprintf("%d %v", n, err)
	case "folder":
		dir, err := os.Getwd()
		return fmt.Sprint(dir, err)
	case "group":
		return fmt.Sprint(syscall.Getpgrp() == os.Getpid())
	case "metadata":
		return fmt.Sprint(len(u.Metadata))
	case "reflect-secret":
		return "the target said: bad token " + t.config.Token.Reveal()
	}
	return ""
}

func (t *testTarget) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for _, u := range users {
		out.Report(sdk.Change{
			Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Updated, Changed: []string{"email"}},
			Fields:  []sdk.FieldChange{{Field: "email", Old: "old@example.org", New: u.Email}},
		})
	}
	return nil
}

func (t *testTarget) Mails() []sdk.Mailing { return []sdk.Mailing{sdk.MailsReset} }

func (t *testTarget) Check(_ context.Context, needs sdk.Needs) sdk.Diagnostics {
	return sdk.Diagnostics{{Severity: sdk.Warning, Code: "test.needs", Summary: fmt.Sprintf("%d users to come", needs.Users)}}
}

func (t *testTarget) Finish(context.Context) error {
	if t.config.Mode == "finish-fails" {
		return errors.New("rename a.json: no space left")
	}
	return nil
}

func (t *testTarget) Close(context.Context) error {
	switch t.config.Mode {
	case "close-fails":
		return errors.New("log out: connection reset")
	case "frozen":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // the signal may hit another thread first
	}
	t.env.Log.Warn("closed")
	return nil
}

// bundle makes every name a plugin of this test binary.
func options(t *testing.T, name string) (Location, Options, *logs) {
	t.Helper()
	l := &logs{}
	o := Options{
		Bundled:   Bundled{name: {"plugin-serve", name}},
		Log:       slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})),
		UserAgent: "stetl/test",
	}
	loc, err := Find(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return loc, o, l
}

// launch starts a well-behaved plugin in the given mode.
func launch(t *testing.T, mode string) (*Client, *logs) {
	t.Helper()
	loc, o, l := options(t, "good")
	switch mode {
	case "frozen":
		o.closeTimeout = time.Second
	case "folder":
		o.WorkDir = "/"
	}
	c, err := Launch(t.Context(), loc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close(context.Background())
		if !gone(c.Info().PID) {
			t.Errorf("process %d is still there", c.Info().PID)
		}
	})
	list, err := c.Configure(t.Context(), []byte(fmt.Sprintf(`{"mode": %q, "token": %q}`, mode, marker)))
	if err != nil || len(list) > 0 {
		t.Fatalf("configure: %v, %v", list, err)
	}
	return c, l
}

// marker is a secret that must not turn up anywhere.
const marker = `S3CR3T-"<marker>&\`

// gone reports whether a child of this process has ended and been collected.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// logs collects what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// records returns the log as decoded lines.
func (l *logs) records(t *testing.T) []map[string]any {
	t.Helper()
	var out []map[string]any
	s := bufio.NewScanner(strings.NewReader(l.String()))
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		var r map[string]any
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("log line %q: %v", s.Text(), err)
		}
		out = append(out, r)
	}
	return out
}

func users(n int) []pluginapi.User {
	out := make([]pluginapi.User, n)
	for i := range out {
		out[i] = pluginapi.User{SourceID: fmt.Sprintf("u%04d", i), Class: pluginapi.NoPassword, Enabled: true}
	}
	return out
}

// hostUntilKilled is a host that starts a plugin, says so, and waits for its end.
func hostUntilKilled() {
	o := Options{
		Bundled:    Bundled{"good": {"plugin-serve", "good"}},
		orphanable: os.Getenv("ORPHANABLE") != "",
	}
	loc, err := Find("good", o)
	if err != nil {
		panic(err)
	}
	c, err := Launch(context.Background(), loc, o)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, c.Info().PID)
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(c)
}

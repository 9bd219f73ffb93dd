//go:build unix

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

func TestHappyPath(t *testing.T) {
	t.Parallel()
	c, _ := launch(t, "ok")
	info := c.Info()
	if info.Name != "good" || info.Version != "1.2.3" || info.Protocol != 1 || info.PID == 0 {
		t.Errorf("info %+v", info)
	}
	var schema struct {
		Properties map[string]struct{ WriteOnly bool }
	}
	if err := json.Unmarshal(info.ConfigSchema, &schema); err != nil || !schema.Properties["token"].WriteOnly {
		t.Errorf("config schema %s (%v)", info.ConfigSchema, err)
	}
	caps := c.Capabilities()
	if !caps.Can(pluginapi.CanCheck) || !caps.Can(pluginapi.CanPlan) || !caps.Has(pluginapi.CarriesID) {
		t.Errorf("capabilities %+v", caps)
	}
	found, err := c.Check(t.Context(), pluginapi.Needs{Users: 7})
	want := pluginapi.Checked{Diagnostics: diag.List{{Severity: diag.Warning, Code: "test.needs", Summary: "7 users to come"}}, Mails: []pluginapi.Mailing{pluginapi.MailsReset}}
	if err != nil || !cmp.Equal(want, found) {
		t.Errorf("check: %+v, %v", found, err)
	}
	changes, err := c.Plan(t.Context(), []pluginapi.User{{SourceID: "a", Email: "new@example.org", Class: pluginapi.NoPassword}})
	wantChanges := []pluginapi.Change{{
		Outcome: pluginapi.Outcome{SourceID: "a", Action: pluginapi.Updated, Changed: []string{"email"}},
		Fields:  []pluginapi.FieldChange{{Field: "email", Old: "old@example.org", New: "new@example.org"}},
	}}
	if diff := cmp.Diff(wantChanges, changes); err != nil || diff != "" {
		t.Errorf("plan: %v\n%s", err, diff)
	}
	// More users than one batch holds.
	in := users(1001)
	outcomes, err := c.Load(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if want := (pluginapi.Outcome{SourceID: in[i].SourceID, Action: pluginapi.Created, TargetID: "t-" + in[i].SourceID}); !cmp.Equal(want, o) {
			t.Fatalf("outcome %d: %+v, want %+v", i, o, want)
		}
	}
	if err := c.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	late, err := c.Load(t.Context(), users(2))
	if err == nil {
		t.Error("a Load after Finish went through")
	}
	for _, o := range late {
		if o.Action != pluginapi.InDoubt || o.Code != diag.PluginNotSent {
			t.Errorf("after Finish: %+v", o)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhatThePluginSees(t *testing.T) {
	t.Setenv("STETL_TEST_MARKER", "must not cross")
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	see := func(mode string) string {
		c, _ := launch(t, mode)
		outcomes, err := c.Load(t.Context(), users(1))
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0].Detail
	}
	t.Run("environment", func(t *testing.T) {
		var names []string
		for line := range strings.Lines(see("environment")) {
			name, _, ok := strings.Cut(line, "=")
			// The rest of a certificate in PEM has no names.
			if ok && !strings.ContainsAny(name, "+/-") && strings.ToUpper(name) == name {
				names = append(names, name)
			}
		}
		allowed := append([]string{"STETL_PLUGIN", "STETL_PLUGIN_LOG", "GOCOVERDIR"}, passed...)
		for _, name := range names {
			if !slices.Contains(allowed, name) && !strings.HasPrefix(name, "PLUGIN_") {
				t.Errorf("the plugin sees %s", name)
			}
		}
		if !slices.Contains(names, "HTTPS_PROXY") {
			t.Errorf("the plugin does not see HTTPS_PROXY among %q", names)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		if got := see("stdin"); got != "0 EOF" {
			t.Errorf("reading stdin gave %q, want its end", got)
		}
	})
	t.Run("folder", func(t *testing.T) {
		if got := see("folder"); got != "/<nil>" {
			t.Errorf("the plugin works in %s, want /", got)
		}
	})
	t.Run("process group", func(t *testing.T) {
		if got := see("group"); got != "true" {
			t.Error("the plugin is in the process group of the host")
		}
	})
}

func TestNoiseIsHarmless(t *testing.T) {
	t.Parallel()
	c, l := launch(t, "noisy")
	for range 3 {
		if _, err := c.Load(t.Context(), users(10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := l.String()
	for _, want := range []string{"to os.Stdout", "straight to descriptor 1", `{\"@message\":1}`, "yyyy"} {
		if !strings.Contains(all, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(all, "\x1b") || strings.Contains(all, `\u001b`) {
		t.Error("an escape sequence reached the log")
	}
	for _, r := range l.records(t) {
		if r["plugin"] != "good" || r["pid"] != float64(c.Info().PID) {
			t.Errorf("record without its origin: %v", r)
		}
	}
}

func TestSignalsAreIgnored(t *testing.T) {
	t.Parallel()
	c, _ := launch(t, "signals")
	for range 2 {
		if _, err := c.Load(t.Context(), users(1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	c, l := launch(t, "reflect-secret")
	outcomes, err := c.Load(t.Context(), users(1))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := outcomes[0].Detail, "the target said: bad token ‹secret›"; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(l.String(), "opened with ‹secret›") {
		t.Errorf("the log lacks the line that held the secret:\n%s", l)
	}
	for _, r := range l.records(t) {
		for key, v := range r {
			if strings.Contains(fmt.Sprint(v), marker) {
				t.Errorf("the secret is in %s of %v", key, r)
			}
		}
	}
	if args := c.process.cmd.Args; strings.Contains(strings.Join(args, " "), "S3CR3T") {
		t.Errorf("the secret is in the arguments %q", args)
	}
	if env := c.process.cmd.Env; strings.Contains(strings.Join(env, " "), "S3CR3T") {
		t.Errorf("the secret is in the environment")
	}
}

// Neither the log nor the words about a crash hold a password hash, whatever a plugin writes.
func TestHashesStayOut(t *testing.T) {
	t.Parallel()
	c, l := launch(t, "give-away")
	const hash = "$2a$11$abcdefghijklmnopqrstuuKVp/qYJhGd1Z8v2mX7sW9tR3nB5cL6e"
	one := users(1)
	one[0].Password, one[0].Class = canonical.ParsePasswordHash(hash), pluginapi.HashCarried
	outcomes, err := c.Load(t.Context(), one)
	text := fmt.Sprint(l, outcomes, err)
	if !errors.As(err, new(*CrashError)) || strings.Contains(text, hash[29:]) || strings.Count(text, canonical.Redacted) < 4 || !strings.Contains(text, "what it says is masked") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestCrashLeavesEveryUserAccountedFor(t *testing.T) {
	t.Parallel()
	c, _ := launch(t, "crash-midway")
	type result struct {
		outcomes []pluginapi.Outcome
		err      error
	}
	var wg sync.WaitGroup
	results := make([]result, 3) // the third Load kills the process
	for i := range results {
		wg.Go(func() {
			results[i].outcomes, results[i].err = c.Load(t.Context(), users(100))
		})
	}
	wg.Wait()
	for i, r := range results {
		var crash *CrashError
		if !errors.As(r.err, &crash) || crash.State != "signal: killed" || crash.ExitCode != -1 || crash.PID != c.Info().PID {
			t.Errorf("load %d: error %v, want a CrashError", i, r.err)
		}
		if len(r.outcomes) != 100 {
			t.Fatalf("load %d: %d outcomes for 100 users", i, len(r.outcomes))
		}
		for j, o := range r.outcomes {
			if o.SourceID != users(100)[j].SourceID {
				t.Fatalf("load %d: outcome %d is of %s", i, j, o.SourceID)
			}
			// Which of the first half came through is up to the scheduler.
			if o.Action == pluginapi.InDoubt && o.Code != diag.PluginCrash || o.Action != pluginapi.InDoubt && (o.Action != pluginapi.Created || j >= 50) {
				t.Errorf("load %d: %+v", i, o)
			}
		}
	}
	outcomes, err := c.Load(t.Context(), users(2))
	if err == nil || len(outcomes) != 2 || outcomes[0].Code != diag.PluginNotSent {
		t.Errorf("a Load after the crash gave %+v, %v", outcomes, err)
	}
	if err := c.Finish(t.Context()); err == nil {
		t.Error("Finish after the crash went through")
	}
	var crash *CrashError
	if err := c.Close(t.Context()); !errors.As(err, &crash) {
		t.Errorf("Close after the crash: %v", err)
	}
}

func TestCrashErrorQuotesThePlugin(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"exit":            "died: exit status 3 (stderr: panic: not really, but it reads like one)",
		"panic-elsewhere": "died: exit status 2 (stderr: panic: boom in the background)",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c, _ := launch(t, mode)
			outcomes, err := c.Load(t.Context(), users(1))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if outcomes[0].Code != diag.PluginCrash || !strings.Contains(outcomes[0].Detail, want) {
				t.Errorf("outcome %+v", outcomes[0])
			}
		})
	}
}

func TestLargeUsers(t *testing.T) {
	t.Parallel()
	c, _ := launch(t, "metadata")
	in := users(4)
	in[1].Metadata = json.RawMessage(`"` + strings.Repeat("m", 8<<20) + `"`)
	in[2].Metadata = json.RawMessage(`"` + strings.Repeat("m", 16<<20) + `"`)
	outcomes, err := c.Load(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if o := outcomes[1]; o.Action != pluginapi.Created || o.Detail != fmt.Sprint(8<<20+2) {
		t.Errorf("8 MiB: %+v", o)
	}
	if o := outcomes[2]; o.Action != pluginapi.Rejected || o.Code != diag.LoadUserTooLarge {
		t.Errorf("16 MiB: %+v", o)
	}
	if outcomes[0].Action != pluginapi.Created || outcomes[3].Action != pluginapi.Created {
		t.Errorf("their neighbours: %+v, %+v", outcomes[0], outcomes[3])
	}
}

func TestFinishAndCloseErrors(t *testing.T) {
	t.Parallel()
	c, _ := launch(t, "finish-fails")
	if err := c.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "rename a.json: no space left") {
		t.Errorf("finish: %v", err)
	}
	c, _ = launch(t, "close-fails")
	first := c.Close(t.Context())
	if first == nil || !strings.Contains(first.Error(), "log out: connection reset") {
		t.Errorf("close: %v", first)
	}
	if again := c.Close(t.Context()); !errors.Is(again, first) {
		t.Errorf("second close: %v", again)
	}
}

func TestConcurrentLoads(t *testing.T) {
	t.Parallel()
	c, _ := launch(t, "ok")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			outcomes, err := c.Load(t.Context(), users(500))
			if err != nil || slices.ContainsFunc(outcomes, func(o pluginapi.Outcome) bool { return o.Action != pluginapi.Created }) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if err := c.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloseKillsAFrozenPlugin(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "waits for a plugin that does not end")
	c, _ := launch(t, "frozen")
	if err := c.Close(t.Context()); err == nil {
		t.Error("closing a frozen plugin gave no error")
	}
}

func TestLaunchFailures(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]*Error{
		"noisy-before": {Code: diag.PluginBadHandshake, Cause: `it wrote "Hello, I am a friendly plugin!" to stdout instead of the handshake`},
		"dies":         {Code: diag.PluginDiedAtStart, Cause: "it ended before it was ready: exit status 7, and said: cannot find my shared library"},
		"exits-zero":   {Code: diag.PluginDiedAtStart, Cause: "it ended before it was ready: exit status 0"},
		"hangs":        {Code: diag.PluginStartTimeout, Cause: "it was not ready within 1s, and said: waiting for nothing"},
		"old":          {Code: diag.PluginWrongProtocol, Cause: "it uses version 9 of the protocol, stetl uses version 1"},
		"plain":        {Code: diag.PluginWrongProtocol, Cause: "it offers no certificate for mutual TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc, o, _ := options(t, name)
			if name == "hangs" {
				o.StartTimeout = time.Second
			}
			_, err := Launch(t.Context(), loc, o)
			wantError(t, err, want)
		})
	}
}

func TestLaunchInAMissingFolder(t *testing.T) {
	t.Parallel()
	loc, o, _ := options(t, "good")
	o.WorkDir = filepath.Join(t.TempDir(), "none")
	_, err := Launch(t.Context(), loc, o)
	wantError(t, err, &Error{Code: diag.PluginCannotStart, Cause: "its working folder " + o.WorkDir + " cannot be entered"})
}

func TestLaunchStopsWithItsContext(t *testing.T) {
	t.Parallel()
	loc, o, _ := options(t, "hangs")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
	defer cancel()
	o.StartTimeout = time.Hour
	if _, err := Launch(ctx, loc, o); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error %v", err)
	}
}

func TestLaunchOfWrongFiles(t *testing.T) {
	t.Parallel()
	// The header of an ELF file for a machine nobody has.
	foreign := "\x7fELF\x02\x01\x01\x00" + strings.Repeat("\x00", 8) + "\x02\x00\x2a\x00\x01\x00\x00\x00" + strings.Repeat("\x00", 28) + "\x40\x00\x38\x00\x00\x00\x40\x00\x00\x00\x00\x00"
	for name, tc := range map[string]struct {
		content string
		want    *Error
	}{
		"foreign": {foreign, &Error{Code: diag.PluginWrongArchitecture, Cause: "a program for SH"}},
		"text":    {"just a text\n", &Error{Code: diag.PluginWrongArchitecture, Cause: "not a program for any system"}},
		"script":  {"#!/nowhere/interpreter -x\n", &Error{Code: diag.PluginCannotStart, Cause: "needs /nowhere/interpreter -x, which is not installed"}},
		"crlf":    {"#!/bin/sh\r\necho hi\r\n", &Error{Code: diag.PluginCannotStart, Cause: "lines end in CR LF"}},
		"shell":   {"#!/bin/sh\necho hi\n", &Error{Code: diag.PluginBadHandshake, Cause: `it wrote "hi" to stdout`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS != "linux" && name == "foreign" {
				testenv.Skip(t, "a program for another processor", "the example is an ELF file")
			}
			path := executable(t, t.TempDir(), "stetl-plugin-x", tc.content)
			loc, err := Find("x", Options{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Launch(t.Context(), loc, Options{})
			wantError(t, err, tc.want)
		})
	}
}

func wantError(t *testing.T, err error, want *Error) {
	t.Helper()
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v, want an Error", err)
	}
	if got.Code != want.Code || !strings.Contains(got.Cause, want.Cause) || got.Fix == "" {
		t.Errorf("got  %q\nwant %s: %s", got, want.Code, want.Cause)
	}
	if d := got.Diagnostic(); d.Code != want.Code || d.Hint != got.Fix {
		t.Errorf("diagnostic %+v", d)
	}
}

func executable(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

//go:build unix

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk"
)

// serveOdd is a plugin whose server differs from the SDK's in what happens before a
// call.
func serveOdd(before func(method string) error) {
	intercept := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := before(info.FullMethod); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: wire.Version, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{wire.Version: {wire.ServiceKey: odd{}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.UnaryInterceptor(intercept))...)
		},
	})
}

func unhealthy(method string) error {
	if strings.HasPrefix(method, "/grpc.health.v1.Health/") {
		return status.Error(codes.Unimplemented, "unknown service")
	}
	return nil
}

func mute(method string) error {
	if !strings.HasPrefix(method, "/grpc.health.v1.Health/") {
		return status.Error(codes.Unimplemented, "unknown service stetl.plugin.v1.TargetService")
	}
	return nil
}

func noisy(string) error {
	_, _ = syscall.Write(1, []byte("working hard\n"))
	return nil
}

type odd struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (odd) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	return sdk.Register(s, sdk.Plugin[config]{
		Name: "odd", Version: "1", New: func(context.Context, config, sdk.Env) (sdk.Target, error) { return &testTarget{}, nil },
	}, slog.New(slog.DiscardHandler))
}

func (odd) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func TestExamine(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]*Error{
		"good":         nil,
		"noisy-before": {Code: diag.PluginBadHandshake, Cause: "to stdout instead of the handshake"},
		"noisy-after":  {Code: diag.PluginStdoutNoise, Cause: `after the handshake it wrote "working hard`},
		"old":          {Code: diag.PluginWrongProtocol, Cause: "it uses version 9"},
		"hangs":        {Code: diag.PluginStartTimeout, Cause: "it was not ready within 1s"},
		"deaf":         {Code: diag.PluginWrongProtocol, Cause: "does not answer Describe: plugin deaf: Describe: connection error"},
		"mute":         {Code: diag.PluginWrongProtocol, Cause: "does not answer Describe: plugin odd does not know the call Describe"},
		"unhealthy":    {Code: diag.PluginNoHealth, Cause: "its health service does not report SERVING"},
		"stays":        {Code: diag.PluginStuck, Cause: "it does not end after Shutdown"},
		"renamed":      {Code: diag.PluginBadName, Cause: "it calls itself something-else"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc, o, _ := options(t, name)
			if name == "unhealthy" || name == "noisy-after" || name == "mute" {
				loc.Name = "odd"
			}
			if name == "hangs" {
				o.StartTimeout = time.Second
			}
			info, err := Examine(t.Context(), loc, o)
			if want == nil {
				if err != nil || info.Name != "good" {
					t.Errorf("%+v, %v", info, err)
				}
				return
			}
			wantError(t, err, want)
		})
	}
}

// install copies this test binary, which serves plugins, as one of its own.
func install(t *testing.T) Location {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stetl-plugin-good")
	if err := os.Link(self, path); err != nil {
		content, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Location{Name: "good", Path: path, Args: []string{"plugin-serve", "good"}}
}

func TestLock(t *testing.T) {
	t.Parallel()
	loc := install(t)
	path := filepath.Join(t.TempDir(), LockName)
	if l, err := ReadLock(path); l != nil || err != nil {
		t.Fatalf("no lock file: %v, %v", l, err)
	}
	sum, err := Checksum(loc)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLock(path)
	wantError(t, examine(t, loc, l), &Error{Code: diag.PluginChecksum, Cause: "does not name it"})

	l.Pin("good", "1.2.3", sum)
	l.Plugins["good"].SHA256["plan9/mips"] = []string{"00"}
	l.Pin("good", "1.2.3", sum) // keeps the other platform
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	if l, err = ReadLock(path); err != nil || len(l.Plugins["good"].SHA256) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := examine(t, loc, l); err != nil {
		t.Errorf("the locked plugin: %v", err)
	}

	l.Pin("good", "1.2.4", strings.Repeat("0", 64))
	if n := len(l.Plugins["good"].SHA256); n != 1 {
		t.Errorf("a new version keeps checksums of the old one: %d platforms", n)
	}
	err = examine(t, loc, l)
	wantError(t, err, &Error{Code: diag.PluginChecksum, Cause: "has sha256 " + sum + ", but"})
	for _, part := range []string{sum, strings.Repeat("0", 64), loc.Path, "stetl plugin lock " + loc.Path + " --lock " + path} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}

	delete(l.Plugins["good"].SHA256, Platform())
	wantError(t, examine(t, loc, l), &Error{Code: diag.PluginChecksum, Cause: "has no checksum of it for " + Platform()})

	if err := os.WriteFile(path, []byte(`{"plugins": {}, "extra": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLock(path); err == nil {
		t.Error("a lock with unknown fields was accepted")
	}
}

func examine(t *testing.T, loc Location, l *Lock) error {
	t.Helper()
	_, err := Examine(t.Context(), loc, Options{Lock: l})
	return err
}

// What was verified is what runs, whatever becomes of the file.
func TestLockedPluginRunsACopy(t *testing.T) {
	t.Parallel()
	loc := install(t)
	sum, err := Checksum(loc)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLock("")
	l.Pin("good", "1.2.3", sum)
	c, err := Launch(t.Context(), loc, Options{Lock: l})
	if err != nil {
		t.Fatal(err)
	}
	running := c.process.cmd.Path
	if info, err := os.Stat(filepath.Dir(running)); running == loc.Path || err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it runs %s (%v)", running, err)
	}
	list, err := c.Configure(t.Context(), []byte(`{}`))
	if err != nil || list.HasErrors() {
		t.Errorf("configure: %v, %v", list, err)
	}
	if out, err := c.Load(t.Context(), users(1)); err != nil || out[0].Action != pluginapi.Created {
		t.Errorf("load: %v, %v", out, err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(running)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left behind: %v", err)
	}
	if raw, err := json.Marshal(l); err != nil || !strings.Contains(string(raw), sum) {
		t.Errorf("%s, %v", raw, err)
	}
}

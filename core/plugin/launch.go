package plugin

import (
	"cmp"
	"context"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/internal/wire"
)

const defaultStartTimeout = 10 * time.Second

// Launch starts the plugin at loc and asks what it is. A plugin that cannot be
// used is an [*Error] and leaves nothing behind. The caller must Close the
// client.
func Launch(ctx context.Context, loc Location, o Options) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start plugin %s: %w", loc.Name, context.Cause(ctx))
	}
	if c, err := attach(ctx, loc, o); c != nil || err != nil {
		return c, err
	}
	log := cmp.Or(o.Log, slog.New(slog.DiscardHandler)).With("plugin", loc.Name)
	security, certificate, err := mutualTLS()
	if err != nil {
		return nil, err
	}
	loc, private, err := verified(loc, o.Lock)
	if err != nil {
		return nil, err
	}

	cmd := exec.Command(loc.Path, loc.Args...) //nolint:gosec,noctx // the configured plugin; it must outlive ctx to be closed in order
	cmd.Dir = o.WorkDir
	cmd.SysProcAttr = isolate(o.orphanable)
	cmd.Env = append(environ(ctx, log), certificateVariable+"="+certificate)
	p := newProcess(cmd)
	c := &Client{name: loc.Name, userAgent: o.UserAgent, log: log, process: p, privateDir: private}
	scrub := func(text string) string {
		if s := c.session.Load(); s != nil {
			return s.Scrub(text)
		}
		return text
	}
	p.stderr.log, p.stderr.scrub = log, scrub
	p.stdout.rest.log, p.stdout.rest.scrub = log.With("stream", "stdout"), scrub

	c.plugin = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: wire.Version, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{wire.Version: {wire.ServiceKey: dispenser{}}},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, dir string) (runner.Runner, error) {
			cmd.Env = append(cmd.Env, spec.Env...)
			c.socketDir = dir
			return p, nil
		},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: shortTempDir()},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		StartTimeout:     cmp.Or(o.StartTimeout, defaultStartTimeout),
		TLSConfig:        security,
		SkipHostEnv:      true,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)),
		},
	})
	if err := c.start(ctx, loc, o); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

func (c *Client) start(ctx context.Context, loc Location, o Options) error {
	// go-plugin waits without a context; ending the process ends the wait.
	defer context.AfterFunc(ctx, func() { _ = c.process.kill() })()
	if _, err := c.plugin.Start(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("start plugin %s: %w", loc.Name, context.Cause(ctx))
		}
		return c.process.explain(loc, cmp.Or(o.StartTimeout, defaultStartTimeout), err)
	}
	line, _ := c.process.stdout.firstLine()
	if parts := strings.Split(line, "|"); len(parts) < 6 || parts[5] == "" {
		return &Error{loc.Name, diag.PluginWrongProtocol, "it offers no certificate for mutual TLS", "ask its author to support AutoMTLS"}
	}
	client, err := c.plugin.Client()
	if err != nil {
		return fmt.Errorf("connect to plugin %s: %w", loc.Name, err)
	}
	raw, err := client.Dispense(wire.ServiceKey)
	if err != nil {
		return fmt.Errorf("connect to plugin %s: %w", loc.Name, err)
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return fmt.Errorf("connect to plugin %s: got a %T", loc.Name, raw)
	}
	c.pid = c.process.cmd.Process.Pid
	c.log = c.log.With("pid", c.pid)
	s := conversation.New(conn, conversation.Options{
		Name: loc.Name, Log: c.log, Explain: c.explain, CloseTimeout: o.closeTimeout,
		FingerprintKey: o.FingerprintKey, Memory: o.Memory, Pulse: o.Pulse,
		Silence: o.Silence, SilenceLimit: o.SilenceLimit, GiveUp: func() { _ = c.process.kill() },
	})
	c.session.Store(s)
	info, err := s.Describe(ctx)
	if err != nil {
		return c.explainSilence(ctx, err)
	}
	if info.Name != loc.Name {
		c.log.Warn("the plugin has another name", "name", info.Name)
	}
	c.info = Info{Description: info, Protocol: c.plugin.NegotiatedVersion(), PID: c.pid}
	return nil
}

// explainSilence says what it means that a process which is alive, and whose handshake
// was good, does not say what it is.
func (c *Client) explainSilence(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.As(err, new(*CrashError)) {
		return err
	}
	return &Error{
		c.name, diag.PluginWrongProtocol, "it started, but does not answer Describe: " + err.Error(),
		"check that it is a plugin of stetl, and that it listens on the address and with the certificate of its handshake line",
	}
}

// dispenser hands out the connection itself.
type dispenser struct {
	goplugin.NetRPCUnsupportedPlugin
}

// GRPCServer implements goplugin.GRPCPlugin, for the other side.
func (dispenser) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return errors.ErrUnsupported }

// GRPCClient implements goplugin.GRPCPlugin.
func (dispenser) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// shortTempDir returns the folder for the private socket folder: the usual one,
// or /tmp where its path leaves no room in the 104 bytes of a socket address.
func shortTempDir() string {
	const names = len("/plugin-dir1234567890/plugin1234567890")
	if dir := os.TempDir(); len(dir)+names < 104 || runtime.GOOS == "windows" {
		return dir
	}
	return "/tmp"
}

// explain turns a failed start into one cause and one fix. What go-plugin says
// is the last resort: its messages list possibilities.
func (p *process) explain(loc Location, timeout time.Duration, err error) error {
	if p.startErr != nil {
		return explainExec(loc, p.cmd.Dir, p.startErr)
	}
	line, whole := p.stdout.firstLine()
	parts := strings.Split(strings.TrimSpace(line), "|")
	version, versionErr := strconv.Atoi(parts[min(1, len(parts)-1)])
	switch {
	case line != "" && (len(parts) < 4 || parts[0] != "1" || versionErr != nil):
		if runes := []rune(line); len(runes) > 200 {
			line = string(runes[:200]) + "…"
		}
		return &Error{
			loc.Name, diag.PluginBadHandshake,
			fmt.Sprintf("it wrote %q to stdout instead of the handshake", line),
			"have it write to stderr instead, or check that it is a plugin",
		}
	case whole && version != wire.Version:
		return &Error{
			loc.Name, diag.PluginWrongProtocol, fmt.Sprintf("it uses version %d of the protocol, stetl uses version %d", version, wire.Version),
			"install matching versions of both",
		}
	case whole && (len(parts) < 5 || parts[4] != string(goplugin.ProtocolGRPC)):
		return &Error{loc.Name, diag.PluginWrongProtocol, "it does not speak gRPC", "check that it is a plugin of this program"}
	case p.endedByItself():
		cause := "it ended before it was ready: " + p.cmd.ProcessState.String()
		fix := "start it by hand to see its output"
		if words := p.stderr.lastWords(); words != "" {
			cause, fix = cause+", and said: "+words, "correct what it names"
		}
		return &Error{loc.Name, diag.PluginDiedAtStart, cause, fix}
	case !whole:
		cause := fmt.Sprintf("it was not ready within %s", timeout)
		if words := p.stderr.lastWords(); words != "" {
			cause += ", and said: " + words
		}
		return &Error{loc.Name, diag.PluginStartTimeout, cause, "check that it is a plugin and that the machine is not overloaded"}
	}
	return fmt.Errorf("start plugin %s: %w", loc.Name, err)
}

// explainExec says why the operating system did not run the file.
func explainExec(loc Location, dir string, err error) error {
	if err := check(loc.Name, loc.Path, "install the plugin again"); err != nil {
		return err
	}
	if info, statErr := os.Stat(dir); dir != "" && (statErr != nil || !info.IsDir()) {
		return &Error{loc.Name, diag.PluginCannotStart, "its working folder " + dir + " cannot be entered", "create the folder or correct its permissions"}
	}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return &Error{
			loc.Name, diag.PluginWrongArchitecture,
			fmt.Sprintf("%s is %s, this machine is %s/%s", loc.Path, format(loc.Path), runtime.GOOS, runtime.GOARCH),
			"install the build of the plugin for this machine",
		}
	case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(interpreter(loc.Path), "\r"):
		return &Error{loc.Name, diag.PluginCannotStart, loc.Path + " is a script whose lines end in CR LF", "save it with the line ends of Unix"}
	case errors.Is(err, fs.ErrNotExist): // although the file is there
		return &Error{
			loc.Name, diag.PluginCannotStart, fmt.Sprintf("%s needs %s, which is not installed", loc.Path, interpreter(loc.Path)),
			"install it, or a build of the plugin that does not need it",
		}
	case errors.Is(err, fs.ErrPermission):
		return &Error{
			loc.Name, diag.PluginNotExecutable, "this user may not execute " + loc.Path,
			"check its owner, the permissions of its folders and that the file system is not mounted noexec",
		}
	}
	return &Error{loc.Name, diag.PluginCannotStart, "the operating system cannot start it: " + err.Error(), "correct what it names"}
}

// format names what kind of executable a file is.
func format(path string) string {
	if f, err := elf.Open(path); err == nil {
		defer func() { _ = f.Close() }()
		return fmt.Sprintf("a program for %s (%s)", strings.TrimPrefix(f.Machine.String(), "EM_"), f.OSABI)
	}
	if f, err := macho.Open(path); err == nil {
		defer func() { _ = f.Close() }()
		return fmt.Sprintf("a macOS program for %s", strings.TrimPrefix(f.Cpu.String(), "Cpu"))
	}
	if f, err := macho.OpenFat(path); err == nil {
		defer func() { _ = f.Close() }()
		return "a macOS program"
	}
	if f, err := pe.Open(path); err == nil {
		defer func() { _ = f.Close() }()
		return "a Windows program"
	}
	return "not a program for any system (a script needs #! and an interpreter in its first line)"
}

// interpreter names what a script or a dynamically linked program needs first.
func interpreter(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "another file"
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	if script, ok := strings.CutPrefix(string(head[:n]), "#!"); ok {
		first, _, _ := strings.Cut(script, "\n")
		return strings.Trim(first, " \t")
	}
	if e, err := elf.NewFile(f); err == nil {
		for _, prog := range e.Progs {
			if prog.Type == elf.PT_INTERP && prog.Filesz < 4096 {
				name, _ := io.ReadAll(prog.Open())
				return "the loader " + strings.TrimRight(string(name), "\x00")
			}
		}
	}
	return "another file"
}

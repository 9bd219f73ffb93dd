package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginpb"
)

// Serve makes the program a plugin. It returns when the host is done with it,
// and main should return then too. Started by hand, it says what the program is
// and exits with status 1. With --debug as its only argument, it waits for hosts and
// prints how they find it.
func Serve[C any](p Plugin[C]) {
	if err := Run(p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // Serve is the body of a main function
	}
}

// ErrByHand matches the error of [Run] in a process that no host started.
var ErrByHand = errors.New("a target plugin of stetl, not a command of its own")

// Run is [Serve] for an executable that is more than a plugin: it returns
// instead of exiting. There is no context on purpose, since only the host ends
// a plugin. The process serves one plugin once, and os.Stdout, the default
// logger and the handling of SIGINT and SIGTERM are Run's from then on.
func Run[C any](p Plugin[C]) error {
	if len(os.Args) == 2 && os.Args[1] == debugFlag {
		return serveDebug(p)
	}
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		return fmt.Errorf("%s %s is %w; stetl starts it, if the configuration says \"plugin: %s\" and the executable is beside stetl as stetl-plugin-%s",
			p.Name, cmp.Or(p.Version, "(no version)"), ErrByHand, p.Name, p.Name)
	}
	// go-plugin would close the connection on SIGINT. SIGTERM arrives when a
	// service manager stops the whole group: the host still wants to finish.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)

	stderr := os.Stderr
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv(wire.LogLevelKey))); err != nil {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)

	svc, err := newService(p, log)
	if err != nil {
		return err
	}
	// go-plugin points os.Stdout and os.Stderr at pipes of its own right after
	// the handshake; a host that does not read those would block the plugin.
	redirect := sync.OnceFunc(func() { os.Stdout, os.Stderr = stderr, stderr })
	go func() {
		waitForOrphanhood(os.Getppid())
		abandon(svc)
		os.Exit(1) //nolint:forbidigo // there is nobody left to return to
	}()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: wire.Version, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			wire.Version: {wire.ServiceKey: &served{service: svc}},
		},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts,
				grpc.MaxRecvMsgSize(wire.MaxMessage),
				grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					redirect()
					return next(ctx, req)
				}),
				grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					redirect()
					return next(srv, ss)
				}),
			)...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	})
	return nil
}

// served puts the service on go-plugin's server.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	service *service
}

// GRPCServer implements goplugin.GRPCPlugin.
func (p *served) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginpb.RegisterTargetServiceServer(s, p.service)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin, for the other side.
func (p *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

// A plugin whose host was killed is gone within a few seconds: it notices, and
// its Closer gets a moment.
const (
	parentPoll    = time.Second
	orphanTimeout = 2 * time.Second
)

// waitForOrphanhood returns when the parent is no longer the process it was.
// Polling is the one way that works on every system and under every host.
func waitForOrphanhood(parent int) {
	for range time.Tick(parentPoll) {
		if os.Getppid() != parent {
			return
		}
	}
}

// abandon ends the conversation without the host.
func abandon(s *service) {
	s.log.Warn("the host is gone")
	if !s.shut() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), orphanTimeout)
	defer cancel()
	if err := release(ctx, s); err != nil {
		s.log.Error("close the target", "error", err)
	}
}

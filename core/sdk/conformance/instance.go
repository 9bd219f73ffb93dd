package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk"
)

// Starter knows how to start a plugin. Make one with [InProcess] or [Executable].
type Starter struct {
	start func(ctx context.Context, k *kit) (*instance, error)
	// process is set where the plugin is a process of its own.
	process bool
	// place is the executable.
	place plugin.Location
	// options start the executable, except for what the kit lends.
	options plugin.Options
	// config is one JSON object.
	config []byte
	// wrap lets tests put something between the plugin and the server.
	wrap func(grpc.ServiceRegistrar) grpc.ServiceRegistrar
}

// host is what a host can do with a plugin.
type host interface {
	Capabilities() pluginapi.Capabilities
	Check(ctx context.Context, needs pluginapi.Needs) (pluginapi.Checked, error)
	Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error)
	Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error)
	Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error)
	Login(ctx context.Context, l pluginapi.Login) (bool, error)
	SetPassword(ctx context.Context, p pluginapi.PasswordChange) error
	StartReset(ctx context.Context, r pluginapi.Reset) (string, error)
	Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error)
	Finish(ctx context.Context) error
	Close(ctx context.Context) error
}

// instance is a plugin that was started.
type instance struct {
	host
	info pluginapi.Description
	// configure passes config, or the configuration of the suite for nil.
	configure func(ctx context.Context, config []byte) (diag.List, error)
	propose   func(ctx context.Context, known []byte) (pluginapi.Proposal, diag.List, error)
	// defineRoles tells the plugin what roles allow.
	defineRoles func(ctx context.Context, roles []pluginapi.Role) error
	client      *plugin.Client // nil in process
	// expectDeath says that the rule itself has killed it.
	expectDeath bool
}

const userAgent = "stetl-conformance/1"

// InProcess serves p in this process, over real gRPC. config is JSON text or a value
// to encode. Rules about processes are not tried; use [Executable] for them too.
func InProcess[C any](p sdk.Plugin[C], config any) Starter {
	raw, encodeErr := encode(config)
	return Starter{config: raw, wrap: unwrapped, start: func(ctx context.Context, k *kit) (*instance, error) {
		if encodeErr != nil {
			return nil, encodeErr
		}
		lis := bufconn.Listen(1 << 20)
		srv := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage))
		if err := sdk.Register(k.suite.Start.wrap(srv), p, k.watch.logger); err != nil {
			return nil, err
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(lis) }()
		conn, err := grpc.NewClient("passthrough:///conformance",
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)))
		if err != nil {
			return nil, err
		}
		s := conversation.New(conn, conversation.Options{Name: p.Name, Log: k.watch.logger, Memory: k.memory, FingerprintKey: k.key, Pulse: k.watch.pulse})
		end := func() error {
			err := conn.Close()
			srv.Stop()
			return errors.Join(err, <-served)
		}
		i := &instance{host: &local{Session: s, end: end}}
		if i.info, err = s.Describe(ctx); err != nil {
			return nil, errors.Join(err, end())
		}
		i.configure = func(ctx context.Context, config []byte) (diag.List, error) {
			if config == nil {
				config = raw
			}
			return s.Configure(ctx, config, userAgent)
		}
		i.propose = func(ctx context.Context, known []byte) (pluginapi.Proposal, diag.List, error) {
			return conversation.Propose(ctx, s, known, userAgent)
		}
		i.defineRoles = func(ctx context.Context, roles []pluginapi.Role) error {
			return conversation.DefineRoles(ctx, s, roles)
		}
		return i, nil
	}}
}

func unwrapped(r grpc.ServiceRegistrar) grpc.ServiceRegistrar { return r }

// local is a host that ends its server.
type local struct {
	*conversation.Session
	end func() error
}

// Close ends the conversation and then the server.
func (l *local) Close(ctx context.Context) error {
	return errors.Join(l.Session.Close(ctx), l.end())
}

// Executable starts a plugin's executable the way stetl does. config is JSON text or
// a value to encode.
func Executable(loc plugin.Location, o plugin.Options, config any) Starter {
	raw, encodeErr := encode(config)
	s := Starter{process: true, place: loc, options: o, config: raw}
	s.start = func(ctx context.Context, k *kit) (*instance, error) {
		if encodeErr != nil {
			return nil, encodeErr
		}
		return s.launch(ctx, k, loc)
	}
	return s
}

func (s Starter) launch(ctx context.Context, k *kit, loc plugin.Location) (*instance, error) {
	o := s.options
	o.Log, o.UserAgent, o.Memory, o.FingerprintKey, o.Pulse = k.watch.logger, userAgent, k.memory, k.key, k.watch.pulse
	c, err := plugin.Launch(ctx, loc, o)
	if err != nil {
		return nil, err
	}
	return &instance{
		host: c, client: c, info: c.Info().Description,
		configure: func(ctx context.Context, config []byte) (diag.List, error) {
			if config == nil {
				config = s.config
			}
			return c.Configure(ctx, config)
		},
		propose: func(ctx context.Context, known []byte) (pluginapi.Proposal, diag.List, error) {
			return plugin.Propose(ctx, c, known)
		},
		defineRoles: func(ctx context.Context, roles []pluginapi.Role) error { return plugin.DefineRoles(ctx, c, roles) },
	}, nil
}

func encode(config any) ([]byte, error) {
	switch config := config.(type) {
	case nil:
		return []byte("{}"), nil
	case string:
		return []byte(config), nil
	case []byte:
		return config, nil
	case json.RawMessage:
		return config, nil
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	return raw, nil
}

// memory remembers for a plugin as long as the run takes.
type memory struct {
	watch *watch

	mu    sync.Mutex
	saved map[string][]byte
}

// Saved implements [plugin.Memory].
func (m *memory) Saved(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.saved), nil
}

// Save implements [plugin.Memory].
func (m *memory) Save(_ context.Context, key string, value []byte) error {
	m.watch.see("a saved value", key+"\n"+string(value))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saved == nil {
		m.saved = map[string][]byte{}
	}
	if value == nil {
		delete(m.saved, key)
		return nil
	}
	m.saved[key] = value
	return nil
}

// discard is where a plugin's log goes when nobody wants it.
func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

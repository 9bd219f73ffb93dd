package plugintest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk"
)

// Client talks to the plugin as stetl does. See [plugin.Client] in core/plugin
// for what the methods promise; Configure takes the user agent as well.
type Client struct {
	*conversation.Session
	// Info is what the plugin says about itself.
	Info pluginapi.Description
}

// DefineRoles tells the plugin what roles allow.
func (c *Client) DefineRoles(ctx context.Context, roles []pluginapi.Role) error {
	return conversation.DefineRoles(ctx, c.Session, roles)
}

// Host is what a test lends to a plugin in stetl's place. The zero value forgets
// what the plugin saves.
type Host struct {
	Memory conversation.Memory
	Pulse  func(sdk.Pulse)
	// FingerprintKey makes states comparable between two serves.
	FingerprintKey []byte
}

// Connect serves p and describes it, without configuring it. What the plugin
// logs goes to the log of the test. The plugin is closed when the test ends,
// unless the test has done so.
func Connect[C any](t testing.TB, p sdk.Plugin[C]) *Client {
	t.Helper()
	return ConnectLogging(t, p, t.Output())
}

// ConnectLogging is [Connect] with the plugin's log, JSON lines of every level,
// going to w. Tests use it to look for what must not be there.
func ConnectLogging[C any](t testing.TB, p sdk.Plugin[C], w io.Writer) *Client {
	t.Helper()
	return connect(t, p, w, Host{})
}

func connect[C any](t testing.TB, p sdk.Plugin[C], w io.Writer, h Host) *Client {
	t.Helper()
	log := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage))
	if err := sdk.Register(srv, p, log); err != nil {
		t.Fatalf("serve the plugin: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()

	conn, err := grpc.NewClient("passthrough:///plugintest",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)))
	if err != nil {
		t.Fatalf("connect to the plugin: %v", err)
	}
	c := &Client{Session: conversation.New(conn, conversation.Options{
		Name: p.Name, Log: log, Memory: h.Memory, Pulse: h.Pulse, FingerprintKey: h.FingerprintKey,
	})}
	t.Cleanup(func() {
		// The error is not a failure: the test may have closed it already.
		if err := c.Close(context.Background()); err != nil {
			log.Debug("close at the end of the test", "error", err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("disconnect: %v", err)
		}
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if c.Info, err = c.Describe(t.Context()); err != nil {
		t.Fatalf("describe: %v", err)
	}
	return c
}

// Serve is [Connect] followed by a successful Configure. config is JSON text (a
// string or json.RawMessage) or a value to encode: a map, usually, because the
// secrets of a config struct do not survive encoding.
func Serve[C any](t testing.TB, p sdk.Plugin[C], config any) *Client {
	t.Helper()
	return ServeWith(t, p, config, Host{})
}

// ServeWith is [Serve] with a host that remembers.
func ServeWith[C any](t testing.TB, p sdk.Plugin[C], config any, h Host) *Client {
	t.Helper()
	c := connect(t, p, t.Output(), h)
	list, err := c.Configure(t.Context(), encode(t, config), "stetl/test")
	if err != nil {
		t.Fatalf("configure: %v", err)
	}
	if err := list.Err(); err != nil {
		t.Fatalf("configure:\n%v", err)
	}
	return c
}

func encode(t testing.TB, config any) []byte {
	t.Helper()
	switch config := config.(type) {
	case string:
		return []byte(config)
	case json.RawMessage:
		return config
	case nil:
		return []byte("{}")
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatalf("encode the configuration: %v", err)
	}
	if strings.Contains(string(raw), canonical.Redacted) {
		t.Fatal("the configuration holds a Secret, which encodes as a placeholder: pass a map or JSON text")
	}
	return raw
}

package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/internal/wire"
)

// ReattachVariable is the environment variable that a plugin under a debugger asks
// to be set; its value belongs into [Options].Reattach.
const ReattachVariable = wire.ReattachKey

// attach connects to a plugin that somebody else has started, if o names one for loc;
// otherwise the client is nil.
func attach(ctx context.Context, loc Location, o Options) (*Client, error) {
	if o.Reattach == "" {
		return nil, nil //nolint:nilnil // nothing to attach to is a valid answer
	}
	var to wire.Reattach
	if err := json.Unmarshal([]byte(o.Reattach), &to); err != nil {
		return nil, &Error{loc.Name, diag.PluginCannotStart, ReattachVariable + " is not what a plugin with --debug prints", "set it to what the plugin prints, or unset it"}
	}
	if to.Name != loc.Name {
		return nil, nil //nolint:nilnil // it is about another plugin
	}
	log := cmp.Or(o.Log, slog.New(slog.DiscardHandler)).With("plugin", loc.Name, "pid", to.PID)
	conn, err := grpc.NewClient("unix:"+to.Socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)))
	if err != nil {
		return nil, fmt.Errorf("attach to plugin %s: %w", loc.Name, err)
	}
	s := conversation.New(conn, conversation.Options{
		Name: loc.Name, Log: log, FingerprintKey: o.FingerprintKey, Memory: o.Memory, Pulse: o.Pulse, Patient: true,
		Explain: func() (diag.Code, error) { return "", nil },
	})
	info, err := s.Describe(ctx)
	if err != nil {
		_ = conn.Close()
		return nil, &Error{
			loc.Name, diag.PluginCannotStart, fmt.Sprintf("the process %d that %s names does not answer: %v", to.PID, ReattachVariable, err),
			"start the plugin with --debug again, or unset the variable",
		}
	}
	log.Warn("attached to a plugin under a debugger: stetl did not start its process, nothing is verified or encrypted, and calls have no time limit")
	c := &Client{name: loc.Name, userAgent: o.UserAgent, log: log, pid: to.PID, attached: conn.Close}
	c.session.Store(s)
	c.info = Info{Description: info, Protocol: wire.Version, PID: to.PID}
	return c, nil
}

package plugin

import (
	"context"
	"fmt"

	"github.com/stetl/stetl/core/diag"
)

// Examine starts the plugin at loc, asks it what it is and ends it. It returns what
// the plugin says about itself, and an [*Error] with the first thing that is wrong.
func Examine(ctx context.Context, loc Location, o Options) (Info, error) {
	o.Reattach = "" // somebody else's process is no test of the file
	c, err := Launch(ctx, loc, o)
	if err != nil {
		return Info{}, err
	}
	err = c.examine()
	_ = c.Close(ctx) // its complaints are about targets, and it has none
	switch {
	case err != nil:
	case c.info.Name != loc.Name:
		err = &Error{
			loc.Name, diag.PluginBadName, fmt.Sprintf("it calls itself %s", c.info.Name),
			fmt.Sprintf("call the executable %s%s", Prefix, c.info.Name),
		}
	case c.Forced():
		err = &Error{loc.Name, diag.PluginStuck, "it does not end after Shutdown and had to be killed", "have it serve plugin.GRPCController, and end the process in Shutdown"}
	default:
		if words := c.process.stdout.rest.lastWords(); words != "" {
			err = &Error{loc.Name, diag.PluginStdoutNoise, fmt.Sprintf("after the handshake it wrote %q to stdout", words), "have it write to stderr instead"}
		}
	}
	return c.info, err
}

// examine tries what a conversation does not need.
func (c *Client) examine() error {
	protocol, err := c.plugin.Client()
	if err == nil {
		err = protocol.Ping()
	}
	if err == nil {
		return nil
	}
	return &Error{
		c.name, diag.PluginNoHealth, "its health service does not report SERVING: " + err.Error(),
		`serve grpc.health.v1.Health, with the service "plugin" as SERVING`,
	}
}

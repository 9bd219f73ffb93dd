package plugin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/pluginapi"
)

// Info is what a plugin says about itself, and where it runs.
type Info struct {
	pluginapi.Description
	// Protocol is the negotiated major version.
	Protocol int
	PID      int
}

// Client is one running plugin. All methods are safe for concurrent use. A
// client whose plugin has died stays dead: Launch again.
type Client struct {
	name, userAgent string
	log             *slog.Logger
	plugin          *goplugin.Client
	process         *process
	session         atomic.Pointer[conversation.Session] // nil until the connection stands
	socketDir       string
	privateDir      string // of a verified copy
	pid             int
	// attached ends the connection to a plugin whose process is not ours; nil for
	// all others. There is no process and no plugin then.
	attached func() error
	info     Info

	closing  sync.Once
	closeErr error
}

// Info is what the plugin said when it was launched.
func (c *Client) Info() Info { return c.info }

// Configure hands over the configuration, one JSON object with every reference
// resolved. With errors among the diagnostics, which point into that object, the
// plugin stays unconfigured and may be configured again. The secrets in it are
// from then on replaced in everything the plugin says.
func (c *Client) Configure(ctx context.Context, config []byte) (diag.List, error) {
	return c.session.Load().Configure(ctx, config, c.userAgent)
}

// Propose has the plugin look at the target and propose a configuration, before there is
// one: known is a JSON object of what is known of it, references resolved. The error
// matches [errors.ErrUnsupported] when the plugin cannot.
func Propose(ctx context.Context, c *Client, known []byte) (pluginapi.Proposal, diag.List, error) {
	return conversation.Propose(ctx, c.session.Load(), known, c.userAgent)
}

// Capabilities are those of the plugin as configured.
func (c *Client) Capabilities() pluginapi.Capabilities { return c.session.Load().Capabilities() }

// DefineRoles tells the plugin what roles allow. The error matches
// [errors.ErrUnsupported] when the plugin does not declare that it keeps that.
func DefineRoles(ctx context.Context, c *Client, roles []pluginapi.Role) error {
	return conversation.DefineRoles(ctx, c.session.Load(), roles)
}

// Check has the plugin examine the target without writing. The error matches
// [errors.ErrUnsupported] when the plugin cannot.
func (c *Client) Check(ctx context.Context, needs pluginapi.Needs) (pluginapi.Checked, error) {
	return c.session.Load().Check(ctx, needs)
}

// Plan says what Load would do: one change per user, in the order of users. The
// error matches [errors.ErrUnsupported] when the plugin cannot plan; otherwise
// it means what the error of Load means.
func (c *Client) Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	return c.session.Load().Plan(ctx, users)
}

// Load writes users and returns exactly one outcome for each, in the order of
// users, also together with an error. It cuts users into batches as the plugin
// wants them and waits while too many are in flight.
//
// The error says why answers are missing: ctx is over, after which the plugin
// has two seconds to report what it knows, or the plugin is gone, which is a
// [*CrashError]. Users without an answer are InDoubt with one of the codes of
// this package; a user who cannot be sent at all is Rejected.
func (c *Client) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	return c.session.Load().Load(ctx, users)
}

// Finish has the plugin make the work of the run visible. It waits for running
// Loads, and none may follow. When it fails, nothing of the run counts as loaded.
func (c *Client) Finish(ctx context.Context) error { return c.session.Load().Finish(ctx) }

// Fix has the plugin apply the remedies that Check names, put back what earlier calls have
// changed, or make the target's side. The error matches [errors.ErrUnsupported] when the
// plugin cannot, as that of each call below.
func (c *Client) Fix(ctx context.Context, f pluginapi.Fixing) (pluginapi.Fixed, error) {
	return c.session.Load().Fix(ctx, f)
}

// Undo takes back what earlier runs did to accounts. It returns one outcome for
// each, in their order, also together with an error.
func (c *Client) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	return c.session.Load().Undo(ctx, accounts)
}

// Tidy removes a bounded number of things that runs have created beside accounts and nobody
// has any more. It returns how many have gone, and how many are still to be looked at.
func (c *Client) Tidy(ctx context.Context) (removed, left int, err error) {
	return c.session.Load().Tidy(ctx)
}

// Login asks the target whether a password is right.
func (c *Client) Login(ctx context.Context, l pluginapi.Login) (bool, error) {
	return c.session.Load().Login(ctx, l)
}

// SetPassword gives an account a new password. What the target refuses is a
// [*pluginapi.Failure], here and in the two calls below.
func (c *Client) SetPassword(ctx context.Context, p pluginapi.PasswordChange) error {
	return c.session.Load().SetPassword(ctx, p)
}

// StartReset has the target run its own reset, which may send mail to the user.
// It returns where to send the browser, empty when a mail is on its way.
func (c *Client) StartReset(ctx context.Context, r pluginapi.Reset) (string, error) {
	return c.session.Load().StartReset(ctx, r)
}

// Exchange turns a signed assertion about a user into tokens of the target.
func (c *Client) Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error) {
	return c.session.Load().Exchange(ctx, a)
}

// Address is where the plugin of a client listens, for those who examine it; nil for one
// that was attached.
func Address(c *Client) net.Addr {
	if c.attached != nil {
		return nil
	}
	if at := c.plugin.ReattachConfig(); at != nil {
		return at.Addr
	}
	return nil
}

// exitTimeout is how long a plugin may take to exit after Close.
const exitTimeout = 3 * time.Second

// Close waits a few seconds for running Loads, has the plugin release what it
// holds, and ends the process, by force if need be. It takes no longer than
// about 20 seconds, whatever ctx says, because a cancelled run must clean up
// too. Further calls return the same error.
func (c *Client) Close(ctx context.Context) error {
	c.closing.Do(func() {
		if c.attached != nil {
			c.closeErr = errors.Join(c.session.Load().Close(ctx), c.attached())
			return
		}
		select {
		case <-c.process.exited:
			if !c.session.Load().GivenUp() { // of that, whoever waited has heard
				_, c.closeErr = c.explain()
			}
		default:
			c.closeErr = c.session.Load().Close(ctx)
		}
		c.kill()
	})
	return c.closeErr
}

// Exited reports whether the process has ended: nothing that is asked now will be
// answered.
func (c *Client) Exited() bool {
	if c.attached != nil {
		return false
	}
	select {
	case <-c.process.exited:
		return true
	default:
		return false
	}
}

// Kill ends the process at once, as a crash would. Users who are with the plugin end
// as after a crash; Close is still due.
func (c *Client) Kill() error {
	if c.attached != nil {
		return errors.ErrUnsupported
	}
	return c.process.kill()
}

// Forced reports whether the process had to be killed. It is final after Close.
func (c *Client) Forced() bool { return c.attached == nil && c.process.killed.Load() }

// kill asks go-plugin to end the process in order and makes sure that it ends:
// go-plugin waits without limit for a plugin that does not answer.
func (c *Client) kill() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.plugin.Kill()
	}()
	force := time.NewTimer(exitTimeout)
	defer force.Stop()
	select {
	case <-done:
	case <-force.C:
		c.log.Warn("the plugin does not exit, killing it")
		_ = c.process.kill()
		<-done
	}
	if c.socketDir != "" {
		_ = os.RemoveAll(c.socketDir)
	}
	if c.privateDir != "" {
		_ = os.RemoveAll(c.privateDir)
	}
}

// deathWatch is how long a broken connection waits for the end of the process
// that would explain it.
const deathWatch = 2 * time.Second

// explain is the session's question why the connection broke.
func (c *Client) explain() (diag.Code, error) {
	wait := time.NewTimer(deathWatch)
	defer wait.Stop()
	select {
	case <-c.process.exited:
	case <-wait.C:
		return "", nil
	}
	state := c.process.cmd.ProcessState
	return diag.PluginCrash, &CrashError{
		Plugin: c.name, PID: c.pid, State: state.String(), ExitCode: state.ExitCode(),
		LastWords: c.process.stderr.lastWords(),
	}
}

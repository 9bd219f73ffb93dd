package pluginapi

import (
	"fmt"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
)

// Login is a sign-in with user name and password.
type Login struct {
	TargetID string
	Username string
	Password canonical.Secret
}

// PasswordChange gives an account a new password. TargetID names the account. For a
// target that has no ids, Email names it.
type PasswordChange struct {
	TargetID string
	Email    string
	Password canonical.Secret
	// EndSessions asks the target to end all sessions of the user, if it can.
	EndSessions bool
}

// Reset asks the target to start its own password reset.
type Reset struct {
	TargetID string
	Email    string
	// RedirectURI is where the pages of the target send the user at the end.
	RedirectURI string
}

// Assertion asks for tokens on behalf of a user.
type Assertion struct {
	// JWT is signed by the host. The target trusts the host's keys.
	JWT      canonical.Secret
	TargetID string
	Email    string
	// ClientID is the client that will use the tokens; empty means the client in the
	// configuration.
	ClientID string
	Scope    string
}

// Tokens is the target's answer to an exchange, as JSON (RFC 6749 section 5.1).
type Tokens struct {
	JSON canonical.Secret
}

// Pulse tells a person who watches the run what the plugin is waiting for.
type Pulse struct {
	// Limit is how many requests the plugin sends at the same time; 0 is unknown.
	Limit int
	// Wait is how long the target has asked the plugin to wait.
	Wait time.Duration
	// Reason is one line of text.
	Reason string
	// Done and Total say how much of the work that Reason names is done, and how much there
	// is in all; 0 is unknown.
	Done, Total int
}

// Failure says why a call about one user has failed. It is an error of the data or of
// the target, and not of the connection to the plugin.
type Failure struct {
	Code diag.Code
	// Detail is for people: the message of the target, if there is one.
	Detail string
	Hint   string
}

// Error implements error.
func (f *Failure) Error() string {
	if f.Detail == "" {
		return string(f.Code)
	}
	return fmt.Sprintf("%s: %s", f.Code, f.Detail)
}

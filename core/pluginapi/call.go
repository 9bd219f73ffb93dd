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

// PasswordChange gives an account a new password. The account is named by id, and
// by address for a target that knows no ids.
type PasswordChange struct {
	TargetID string
	Email    string
	Password canonical.Secret
	// EndSessions asks a target that can to sign the user out everywhere.
	EndSessions bool
}

// Reset has the target run its own password reset.
type Reset struct {
	TargetID string
	Email    string
	// RedirectURI is where the target's pages should send the user in the end.
	RedirectURI string
}

// Assertion asks for tokens on behalf of a user.
type Assertion struct {
	// JWT is signed by the host, whose keys the target trusts.
	JWT      canonical.Secret
	TargetID string
	Email    string
	// ClientID is the client that will use the tokens; empty for the configured
	// one.
	ClientID string
	Scope    string
}

// Tokens is a target's answer to an exchange, RFC 6749 section 5.1, as JSON.
type Tokens struct {
	JSON canonical.Secret
}

// Pulse tells a person who is watching why it takes as long as it does.
type Pulse struct {
	// Limit is how many requests the plugin allows itself at the same time, 0 when
	// unknown.
	Limit int
	// Wait is how long the target asked to wait.
	Wait time.Duration
	// Reason is one line.
	Reason string
	// Done is how much of what Reason says is done, and Total of how much; 0 when unknown.
	Done, Total int
}

// Failure is why a call about one user did not do what it was asked to. It is an
// error of the data or of the target, not of the connection to the plugin.
type Failure struct {
	Code diag.Code
	// Detail is for people: the target's own words where there are any.
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

package wire

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The handshake. The cookie is politeness for people who start a plugin by
// hand, not security: AutoMTLS is.
const (
	// Version is the major version of the protocol, negotiated by go-plugin.
	Version = 1
	// Minor is the minor version that this program speaks. Each side says its own, and
	// both go by the lower one:
	//
	//	0  what was there before minor versions
	//	1  codes and configuration fields in Describe, ways to sign in, losses of parts
	//	   of an account, passkeys, folding, unique in a tenant, no user names
	//	2  undo as a stream, pulses of plans and undos
	//	3  what roles allow
	Minor       = 3
	CookieKey   = "STETL_PLUGIN"
	CookieValue = "3f0c9a1e5b7d42688f64d1c7b02e95aa"
	// ServiceKey names the one service in go-plugin's plugin set.
	ServiceKey = "target"
	// LogLevelKey is the environment variable that tells a plugin the lowest
	// level worth logging, in slog's notation.
	LogLevelKey = "STETL_PLUGIN_LOG"
	// ReattachKey is the environment variable that names a plugin under a debugger.
	ReattachKey = "STETL_REATTACH"
)

// Reattach is the value of ReattachKey, as JSON.
type Reattach struct {
	Name   string `json:"name"`
	PID    int    `json:"pid"`
	Socket string `json:"socket"`
}

// Sizes in bytes. gRPC's own receive limit of 4 MiB would be too small for a
// user with large metadata, and go-plugin leaves it in place on the plugin's side.
const (
	// MaxMessage is the receive limit on both sides.
	MaxMessage = 16 << 20
	// MaxUser is the largest encoded user; the rest is room for the envelope.
	MaxUser = MaxMessage - 64<<10
	// MaxState, MaxBefore and MaxSaved bound what a plugin has the host keep: the state
	// and the pre-image of an account, and one saved value. MaxSavedKey bounds its key,
	// and MaxSavedAll keys and values together, so that Configure can always bring them.
	MaxState    = 4 << 10
	MaxBefore   = 8 << 20
	MaxSaved    = 1 << 20
	MaxSavedKey = 1 << 10
	MaxSavedAll = 8 << 20
)

// The defaults of target.BatchLimits.
const (
	DefaultBatchUsers    = 200
	DefaultBatchBytes    = 1 << 20
	DefaultBatchInFlight = 1
)

// Misuse is the status of a call that the protocol does not allow now.
func Misuse(format string, args ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, args...)
}

// Broken is the status of a call that failed inside the plugin.
func Broken(format string, args ...any) error {
	return status.Errorf(codes.Internal, format, args...)
}

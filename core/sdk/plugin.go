package sdk

import (
	"context"
	"log/slog"
)

// Plugin describes a target plugin whose configuration is the struct C.
//
// The JSON Schema of the configuration is inferred from C. Field names come
// from json tags; a field is required unless its tag says omitempty or
// omitzero; unknown fields are refused. Three more tags:
//
//	jsonschema:"…"     description, shown by editors
//	default:"…"        value when absent: text, or JSON for other types
//	enum:"live,files"  the allowed strings
//
// A field of type [Secret] is marked writeOnly, one of type [Duration] is
// written like 1m30s. Validation and decoding happen before New.
type Plugin[C any] struct {
	// Name is what a configuration calls the plugin: "keycloak" for an
	// executable stetl-plugin-keycloak. Lower-case letters, digits and dashes.
	Name    string
	Version string
	// Capabilities are those of the plugin whatever its configuration; a
	// target that implements [Capable] replaces them once it is configured.
	// Abilities are added by themselves, for the optional interfaces that the
	// target has.
	Capabilities Capabilities
	// New prepares the target without any network traffic. ctx is for the call
	// only. Problems with the configuration are best returned with
	// [Diagnostics.Err] and a JSON pointer in Path, so that the host can point
	// at the line.
	New func(ctx context.Context, config C, env Env) (Target, error)
}

// Env is what the host lends to a plugin.
type Env struct {
	// Log goes to the host's log. User data is never an attribute; ids are.
	Log *slog.Logger
	// UserAgent names stetl and the plugin, for every HTTP request.
	UserAgent string
}

// Target is the only interface a plugin must implement.
type Target interface {
	// Load writes users and reports one outcome for each of them, as soon as it
	// is known. It may be called from several goroutines, up to
	// BatchLimits.InFlight. When ctx ends it stops starting new writes and
	// returns soon. An error means that the users without an outcome are
	// undecided, and why; it never takes back an outcome already given.
	Load(ctx context.Context, users []User, out Outcomes) error
}

// Outcomes receives what happened. Its methods may be called from several
// goroutines and in any order, until Load returns. The first outcome of a user
// counts; a second one is a bug of the plugin and is reported as such.
type Outcomes interface {
	// Report records o. Users are matched by o.SourceID.
	Report(o Outcome)
}

// Capable is a target whose configuration changes what it can do.
type Capable interface {
	Capabilities() Capabilities
}

// Checker is a target that can examine the other side before a run. It must
// not write anything.
type Checker interface {
	// Check reports every problem it finds. An error-severity diagnostic stops
	// the run before the first write.
	Check(ctx context.Context, needs Needs) Diagnostics
}

// Planner is a target that can say what Load would do. It must not write
// anything, and what it predicts must be what Load then does.
type Planner interface {
	// Plan follows the rules of [Target].Load, with changes for outcomes.
	Plan(ctx context.Context, users []User, out Changes) error
}

// Changes receives what would happen to each user of a Plan call, under the
// rules of [Outcomes].
type Changes interface {
	// Report records c. Users are matched by c.SourceID.
	Report(c Change)
}

// Finisher is a target that makes its work visible in one last step, such as
// renaming finished files. When Finish fails, nothing of this run counts as
// loaded. It is called once, after the last Load of a run that was not aborted.
type Finisher interface {
	Finish(ctx context.Context) error
}

// Closer is a target with something to release. Close is called once, also
// after errors, and when the host has vanished; it has ten seconds at most.
type Closer interface {
	Close(ctx context.Context) error
}

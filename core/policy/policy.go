package policy

import (
	"strconv"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
)

// Policies are the decisions about accounts. The zero value changes nothing that a run
// did not make.
type Policies struct {
	// Skip lists reasons the operator has accepted: whoever is rejected for one
	// of them counts as skipped.
	Skip []diag.Code `json:"skip,omitempty"`
	// Adopt brings accounts up to date that are in the target, differ, and were not
	// made by a run.
	Adopt Adopt `json:"existing,omitzero"`
	// OverwriteDrift writes over what others have changed in the target since the
	// last run. Without, such accounts are skipped with load.drift.
	OverwriteDrift Overwrite `json:"drift,omitzero"`
	// Canary says whether passwords are to be proven before the load.
	Canary Canary `json:"canary,omitempty"`
	// ReadBack says which of the accounts that a run has written are read back.
	ReadBack ReadBack `json:"read_back,omitempty"`
	// Password is about hashes that the target cannot verify: [Reset], [Reject] or
	// [Skip]. LongID is about ids that are longer than it takes: Reject, Skip or
	// [Internal].
	Password Choice `json:"password,omitempty"`
	LongID   Choice `json:"long_id,omitempty"`
	// Collision says what happens to accounts that want what another account keeps.
	Collision Collision `json:"collision,omitzero"`
	// Gone says what becomes of accounts that runs have made and whose people are not in the
	// source any more. GoneAfter is how long such an account is switched off before a run
	// deletes it; nil is [DefaultGoneAfter].
	Gone      Gone  `json:"gone,omitempty"`
	GoneAfter *Days `json:"gone_after,omitempty"`
	// SeveralTenants says what becomes of accounts that are in tenants of several targets:
	// [Each], [First] or [Reject]; the zero value is Each.
	SeveralTenants Choice `json:"several_tenants,omitempty"`
	// Limits have a section of their own in a configuration.
	Limits Limits `json:"-"`
}

// Choice is one decision. The zero value is the default of its subject.
type Choice string

// The choices there are. Which ones a subject knows is said with it.
const (
	Default  Choice = ""
	Reject   Choice = "reject"
	Skip     Choice = "skip"
	Reset    Choice = "reset"    // load without the password
	Internal Choice = "internal" // load under the source's internal id
	Suffix   Choice = "suffix"   // make the name another one
	Link     Choice = "link"     // make two accounts one
	Drop     Choice = "drop"     // load without the value
	Allow    Choice = "allow"    // load with it: the target takes it twice after all
	Each     Choice = "each"     // load into each of several targets
	First    Choice = "first"    // load into the first of several targets
)

// Collision says, by identifier, what happens to an account that wants one which
// another account keeps. The zero value rejects.
type Collision struct {
	// ID: [Reject], [Skip], or [Internal] for the source's internal id instead.
	ID Choice `json:"id,omitempty"`
	// Username: Reject, Skip, [Suffix] or [Link].
	Username Choice `json:"username,omitempty"`
	// Email: Reject, Skip, [Drop] for an account without address, Link, or [Allow]
	// where the target is set up to take an address twice.
	Email Choice `json:"email,omitempty"`
	// Identity is about social identities: Reject, Skip, Drop for an account without that
	// identity, or Link.
	Identity Choice `json:"identity,omitempty"`
}

// Canary says whether it is to be proven, before users are loaded, that old passwords will
// work. The zero value has it proven where that is possible.
type Canary string

// The answers there are beside the zero value.
const (
	// CanaryOff proves nothing; in a configuration it is false.
	CanaryOff Canary = "off"
	// CanaryRequired stops a run where nothing can be proven.
	CanaryRequired Canary = "required"
)

// UnmarshalJSON reads true, false or "required".
func (c *Canary) UnmarshalJSON(raw []byte) error {
	switch *c = ""; string(raw) {
	case "false":
		*c = CanaryOff
	case `"required"`:
		*c = CanaryRequired
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (c Canary) MarshalJSON() ([]byte, error) {
	switch c {
	case CanaryOff:
		return []byte("false"), nil
	case CanaryRequired:
		return []byte(`"required"`), nil
	}
	return []byte("true"), nil
}

// Adopt is "adopt" in a configuration, or else "skip".
type Adopt bool

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Adopt) UnmarshalText(text []byte) error { *a = string(text) == "adopt"; return nil }

// MarshalText implements [encoding.TextMarshaler].
func (a Adopt) MarshalText() ([]byte, error) { return word(bool(a), "adopt", "skip"), nil }

// Overwrite is "overwrite" in a configuration, or else "keep".
type Overwrite bool

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *Overwrite) UnmarshalText(text []byte) error { *o = string(text) == "overwrite"; return nil }

// MarshalText implements [encoding.TextMarshaler].
func (o Overwrite) MarshalText() ([]byte, error) { return word(bool(o), "overwrite", "keep"), nil }

func word(is bool, yes, no string) []byte {
	if is {
		return []byte(yes)
	}
	return []byte(no)
}

// Gone says what becomes of accounts whose people have gone from the source. The zero value
// keeps them.
type Gone string

// The answers there are beside the zero value.
const (
	GoneDisable Gone = "disable"
	// GoneDelete switches an account off, and has a later run delete it.
	GoneDelete Gone = "delete"
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (g *Gone) UnmarshalText(text []byte) error {
	if *g = Gone(text); *g == "keep" {
		*g = ""
	}
	return nil
}

// Follows says that something is done about people who have gone.
func (g Gone) Follows() bool { return g != "" }

// Days is a time that is written as in 7d, 36h or 90m.
type Days struct{ time.Duration }

// DefaultGoneAfter is how long an account of somebody who has gone is switched off, before a
// run deletes it.
const DefaultGoneAfter = 7 * 24 * time.Hour

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Days) UnmarshalText(text []byte) (err error) {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.Atoi(days)
		d.Duration = time.Duration(n) * 24 * time.Hour
		return err
	}
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d Days) MarshalText() ([]byte, error) {
	const day = 24 * time.Hour
	if d.Duration > 0 && d.Duration%day == 0 {
		return []byte(strconv.Itoa(int(d.Duration/day)) + "d"), nil
	}
	return []byte(d.String()), nil
}

// After is how long accounts of people who have gone are switched off before they go.
func (p *Policies) After() time.Duration {
	if p.GoneAfter == nil {
		return DefaultGoneAfter
	}
	return p.GoneAfter.Duration
}

// ReadBack says which of the accounts that were written are read back: "all", which is
// the default, "sample" or "off".
type ReadBack string

// Every is of how many accounts one is read back: 1 is every one, 0 none.
func (r ReadBack) Every() int {
	switch r {
	case "off":
		return 0
	case "sample":
		return 100
	default:
		return 1
	}
}

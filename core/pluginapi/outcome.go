package pluginapi

import (
	"slices"

	"github.com/stetl/stetl/core/diag"
)

// Action is what happened, or would happen, to a user.
type Action string

// The actions. Every user of a run ends in exactly one.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
	// Skipped: deliberately left alone, Code says why.
	Skipped Action = "skipped"
	// Rejected: this user cannot be loaded as it is, Code and Detail say why.
	Rejected Action = "rejected"
	// InDoubt: it was sent and the answer is unknown. A later run looks it up.
	InDoubt Action = "in_doubt"
	// Deleted answers an undo only: the account was removed.
	Deleted Action = "deleted"
)

// Summary counts users by action. Read is how many the source gave, and the
// actions add up to it.
type Summary struct {
	Read      int `json:"read"`
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Skipped   int `json:"skipped"`
	Rejected  int `json:"rejected"`
	InDoubt   int `json:"in_doubt"`
}

// Count adds one user with action a. An action that does not exist counts as
// in doubt: nobody knows what it did.
func (s *Summary) Count(a Action) {
	switch a {
	case Created:
		s.Created++
	case Updated:
		s.Updated++
	case Unchanged:
		s.Unchanged++
	case Skipped:
		s.Skipped++
	case Rejected:
		s.Rejected++
	case InDoubt:
		s.InDoubt++
	default:
		s.InDoubt++
	}
}

// Accounted is the sum of the actions.
func (s *Summary) Accounted() int {
	return s.Created + s.Updated + s.Unchanged + s.Skipped + s.Rejected + s.InDoubt
}

// Outcome is what became of one user.
type Outcome struct {
	SourceID string `json:"source_id"`
	Action   Action `json:"action"`
	// TargetID is the target's id of the account, empty when it has none.
	TargetID string `json:"target_id,omitempty"`
	// Code is empty for Created, Updated and Unchanged.
	Code diag.Code `json:"code,omitempty"`
	// Detail is for people: the target's own words where there are any. It
	// never holds a secret.
	Detail string `json:"detail,omitempty"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`
	// Changed names the fields an update touched.
	Changed []string `json:"changed,omitempty"`
	// State fingerprints what the plugin would compare next time: after a load
	// the state that was left behind, in a plan the state that was found, nil when
	// there is no account. It is opaque but for equality and holds no clear text.
	State []byte `json:"-"`
	// Before is how an updated account was, for an undo. It is opaque and can hold
	// personal data: whoever stores it encrypts it.
	Before []byte `json:"-"`
	// Holder is the target's id of the account that has what the user wants, of a reject
	// for that reason.
	Holder string `json:"holder,omitempty"`
	// Losses are what of the account the target did not take, although the account
	// itself is there: only with Created, Updated and Unchanged.
	Losses []PartLoss `json:"losses,omitempty"`
}

// PartLoss is a part of an account that could not be written: a role that is not
// there, an identity that belongs to somebody else, a factor that was refused.
type PartLoss struct {
	// Feature is what the part is of.
	Feature Feature   `json:"feature"`
	Code    diag.Code `json:"code"`
	// Attribute says which one, where there are several: the name of a role, a
	// provider, a device. Like Detail it never holds a secret.
	Attribute string `json:"attribute,omitempty"`
	// Detail is for people: the target's own words where there are any.
	Detail string `json:"detail,omitempty"`
}

// UnreadValue is the old value in a [FieldChange] of a part that the target does not show
// and of which no run remembers what it sent: whether it differs, nobody can tell.
const UnreadValue = "‹not shown›"

// Unread says that nobody can tell whether the account is as it should be: all that is
// known of it is, and the rest is not shown.
func (c *Change) Unread() bool {
	if c.Action == Unchanged {
		return slices.ContainsFunc(c.Losses, func(l PartLoss) bool { return l.Code == diag.LoadUnread })
	}
	return c.Action == Updated && len(c.Fields) > 0 &&
		!slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return f.Old != UnreadValue })
}

// Incomplete says that the account is in the target and lacks a part that it should have.
// What the target has no place for is lost with every account, and known beforehand.
func (o *Outcome) Incomplete() bool {
	return slices.ContainsFunc(o.Losses, func(l PartLoss) bool { return l.Code != diag.LoadUnread && l.Code != diag.LoadNoPlace })
}

// Settled says that a next run has nothing to do about the account as long as the source
// does not change it: no part of it is unknown, or to be tried again.
func (o *Outcome) Settled() bool {
	return !slices.ContainsFunc(o.Losses, func(l PartLoss) bool { return l.Code == diag.LoadUnread || l.Code == diag.LoadPartFailed })
}

// MayLose says whether an account with this action is there, so that it can have
// losses.
func (a Action) MayLose() bool { return a == Created || a == Updated || a == Unchanged }

// Change is what would happen to one user: the outcome a load would give, and
// for an update each field's old and new value.
type Change struct {
	Outcome
	Fields []FieldChange `json:"fields,omitempty"`
}

// FieldChange is one difference between target and source. Values are for
// display: secrets appear as shapes.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
	// Drift says that the target's value is not what was last applied: somebody
	// else has changed it.
	Drift bool `json:"drift,omitempty"`
}

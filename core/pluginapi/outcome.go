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
	// Detail is for people: the message of the target, if there is one. It never
	// holds a secret.
	Detail string `json:"detail,omitempty"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`
	// Changed names the fields that an update has changed.
	Changed []string `json:"changed,omitempty"`
	// State is a fingerprint of what the plugin compares the next time. After a load it
	// is the state of the account that was written, and in a plan the state that was
	// found. It is nil if there is no account. The host only compares states. A state
	// holds no clear text.
	State []byte `json:"-"`
	// Before is the pre-image: what an updated account was before, for an undo. Only the
	// plugin reads it. It can hold personal data, so it is encrypted wherever it is stored.
	Before []byte `json:"-"`
	// Holder is set in a reject because of a conflict: the target's id of the account
	// that has the address, the name or the id that the user wants.
	Holder string `json:"holder,omitempty"`
	// Losses are the parts of the account that the target did not take, although it has
	// the account. They are allowed only with Created, Updated and Unchanged.
	Losses []PartLoss `json:"losses,omitempty"`
}

// PartLoss is a part of an account that could not be written: a role that is not
// there, an identity that belongs to somebody else, a factor that was refused.
type PartLoss struct {
	// Feature says what kind of part it is.
	Feature Feature   `json:"feature"`
	Code    diag.Code `json:"code"`
	// Attribute says which one, if there can be several: the name of a role, a
	// provider or a device. It never holds a secret.
	Attribute string `json:"attribute,omitempty"`
	// Detail is for people: the message of the target, if there is one. It never
	// holds a secret.
	Detail string `json:"detail,omitempty"`
}

// UnreadValue is the old value in a [FieldChange] of a part that the target does not show
// and of which no run remembers what it sent: whether it differs, nobody can tell.
const UnreadValue = "‹not shown›"

// Unread says that it is unknown whether the account is as it should be: everything that
// the target shows is, and it does not show the rest.
func (c *Change) Unread() bool {
	if c.Action == Unchanged {
		return slices.ContainsFunc(c.Losses, func(l PartLoss) bool { return l.Code == diag.LoadUnread })
	}
	return c.Action == Updated && len(c.Fields) > 0 &&
		!slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return f.Old != UnreadValue })
}

// Incomplete says that the account is in the target and lacks a part that it should have.
// Parts for which the target has no place do not count: they are known beforehand.
func (o *Outcome) Incomplete() bool {
	return slices.ContainsFunc(o.Losses, func(l PartLoss) bool { return l.Code != diag.LoadUnread && l.Code != diag.LoadNoPlace })
}

// Settled says that the next run has nothing to do for the account unless it changes in
// the source: no part of it is unknown, and no part has to be tried again.
func (o *Outcome) Settled() bool {
	return !slices.ContainsFunc(o.Losses, func(l PartLoss) bool { return l.Code == diag.LoadUnread || l.Code == diag.LoadPartFailed })
}

// MayLose says whether the target has the account after this action, so that it can have
// losses.
func (a Action) MayLose() bool { return a == Created || a == Updated || a == Unchanged }

// Change is what would happen to one user: the outcome that a load would report and,
// for an update, the old and the new value of each field.
type Change struct {
	Outcome
	Fields []FieldChange `json:"fields,omitempty"`
}

// FieldChange is one difference between target and source. The values are for people;
// a secret is shown by its shape.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
	// Drift says that somebody has changed the value in the target since the last run.
	Drift bool `json:"drift,omitempty"`
}

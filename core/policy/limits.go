package policy

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Limits stop a run that would do more than was expected of it.
type Limits struct {
	// Updates bounds how many accounts an earlier run has loaded may be changed,
	// Resets how many of those that are sent will need a new password, and Adoptions
	// how many accounts may be adopted.
	Updates   Limit `json:"updates,omitzero"`
	Resets    Limit `json:"resets,omitzero"`
	Adoptions Limit `json:"adoptions,omitzero"`
	// Mails bounds how many people the target may mail because of the run.
	Mails Limit `json:"mails,omitzero"`
	// Stranded bounds how many people may have no way to sign in afterwards.
	Stranded Limit `json:"stranded,omitzero"`
	// Gone bounds how many accounts of people who have gone from the source may be switched
	// off or deleted; none where it is not set.
	Gone Limit `json:"gone,omitzero"`
	// Failures stops a run when that many of the last Window outcomes of the target
	// are rejects or in doubt; a Window of 0 is one of 1000. A share is one of all
	// outcomes of the run, and 5 % where nothing is set: see [Limits.Share].
	Failures Limit `json:"failures,omitzero"`
	Window   int   `json:"window,omitempty"`
	// Silence is how long a plugin may say nothing about the accounts that are with it
	// before they end as in doubt; 0 is [DefaultSilence].
	Silence Duration `json:"silence,omitzero"`
}

// DefaultSilence is how long a plugin may say nothing where no limit is set.
const DefaultSilence = 15 * time.Minute

// Duration is written as in 90s, 15m or 1h.
type Duration struct{ time.Duration }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// AlikeFailures is how many of the first accounts end with one and the same code before a
// run gives up, whatever the limits say: then the cause is no account.
const AlikeFailures = 100

// Share returns how many failures of a run about total accounts stop it, however they are
// spread; false where the operator counts them otherwise. A hundred never stop one.
func (l Limits) Share(total int) (int, bool) {
	percent := l.Failures.Percent
	switch {
	case !l.Failures.Set:
		percent = 5
	case percent == 0:
		return 0, false
	}
	return max(AlikeFailures, int(percent*float64(total)/100)), true
}

// Limit is a number of accounts, or a share of those that the run is about. The zero
// value has no bound.
type Limit struct {
	Set     bool
	Count   int
	Percent float64 // used instead of Count when not 0
}

// Of returns the bound for a number of accounts.
func (l Limit) Of(total int) (int, bool) {
	if l.Percent > 0 {
		return int(l.Percent * float64(total) / 100), l.Set
	}
	return l.Count, l.Set
}

// UnmarshalJSON reads 5 or "5%".
func (l *Limit) UnmarshalJSON(raw []byte) error {
	l.Set = true
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return json.Unmarshal(raw, &l.Count)
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	l.Percent = percent
	if percent == 0 { // 0% is none, which Count says
		l.Count = 0
	}
	return err
}

// MarshalJSON writes what UnmarshalJSON reads.
func (l Limit) MarshalJSON() ([]byte, error) {
	if l.Percent > 0 {
		return json.Marshal(strconv.FormatFloat(l.Percent, 'f', -1, 64) + "%")
	}
	return json.Marshal(l.Count)
}

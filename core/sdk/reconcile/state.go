package reconcile

import (
	"bytes"
	"encoding/binary"

	"github.com/stetl/stetl/core/sdk"
)

// State is what a load has left behind, as [sdk.Outcome] carries it. It has three parts:
// fingerprints of the secrets that were sent, of the values that the target keeps in
// another form than they were sent in, and of everything that it shows of the account.
// A State without its first part says that nobody knows which secrets the account has.
type State struct{ secrets, sent, shown []byte }

// stateFormat is the first byte of a state. Anything else was not written here and tells
// nothing.
const stateFormat = 3

// What the parts take, so that the host keeps all of them: it takes 4 KiB. Fields that are
// more are digested as a whole.
const (
	mostSecrets = 240
	mostSent    = 720
	mostShown   = 3 << 10
)

func sentState(fp sdk.Fingerprints, fields map[string]string) []byte {
	return fp.StateWithin(mostSent, fields)
}

func shownState(fp sdk.Fingerprints, fields map[string]string) []byte {
	return fp.StateWithin(mostShown, fields)
}

// ParseState reads the state of an earlier run. What cannot be read knows nothing.
func ParseState(b []byte) State {
	if len(b) == 0 || b[0] != stateFormat {
		return State{}
	}
	secrets, rest, ok := cut(b[1:])
	if !ok {
		return State{}
	}
	sent, shown, ok := cut(rest)
	if !ok {
		return State{}
	}
	return State{secrets, sent, shown}
}

func cut(b []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) { //nolint:gosec // size is not above len(b)
		return nil, nil, false
	}
	end := size + int(n) //nolint:gosec // bounded by the line above
	return b[size:end], b[end:], true
}

func (s State) bytes() []byte {
	b := make([]byte, 0, 1+2*binary.MaxVarintLen16+len(s.secrets)+len(s.sent)+len(s.shown))
	b = append(b, stateFormat)
	b = append(binary.AppendUvarint(b, uint64(len(s.secrets))), s.secrets...)
	b = append(binary.AppendUvarint(b, uint64(len(s.sent))), s.sent...)
	return append(b, s.shown...)
}

// Showing is the state of an account of which nothing has changed but what the target
// shows of it, such as whether it is switched on.
func (s State) Showing(fp sdk.Fingerprints, fields map[string]string) []byte {
	return State{s.secrets, s.sent, shownState(fp, fields)}.bytes()
}

// IsZero says that no run has left anything.
func (s State) IsZero() bool { return len(s.shown) == 0 && len(s.secrets) == 0 }

// KnowsSecrets says that a run has noted what it sent of what the target does not show.
func (s State) KnowsSecrets() bool { return len(s.secrets) > 0 }

// SameSecrets reports whether two states know of the same secrets: what the target does not
// show was last sent alike.
func (s State) SameSecrets(other State) bool { return bytes.Equal(s.secrets, other.secrets) }

// Recorded reports whether a field was part of what a run has left behind, whatever its
// value was.
func (s State) Recorded(fp sdk.Fingerprints, field string) bool {
	return fp.Drifted(s.shown, field, "")
}

// Holds reports whether a run has left exactly this value in a field. It is false where
// nobody knows.
func (s State) Holds(fp sdk.Fingerprints, field, value string) bool {
	return s.Recorded(fp, field) && !fp.Drifted(s.shown, field, value)
}

// SentAnother reports whether a run has noted what it sent of a part that the target does
// not show, and that was not value.
func (s State) SentAnother(fp sdk.Fingerprints, field, value string) bool {
	return fp.Drifted(s.secrets, field, "") && fp.Drifted(s.secrets, field, value)
}

// Untouched reports whether the target shows exactly what a run has left behind. Fields
// are all that the target shows of what was recorded.
func (s State) Untouched(fp sdk.Fingerprints, fields map[string]string) bool {
	return bytes.Equal(s.shown, shownState(fp, fields))
}

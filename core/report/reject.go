package report

import (
	"io"
	"time"
)

// Reject is one account that is not in the target as it should be: a line of
// stetl rejects. It holds no secret; Payload is encrypted.
type Reject struct {
	SourceID  string `json:"source_id"`
	VisibleID string `json:"visible_id,omitempty"`
	TargetID  string `json:"target_id,omitempty"`
	Outcome   string `json:"outcome"` // rejected, in_doubt or [OutcomeStranded]
	Code      string `json:"code"`
	// Path points into the account, where the code says.
	Path string `json:"path,omitempty"`
	// Detail can be the target's own words.
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Permanent says that running again changes nothing as long as account, settings and
	// target stay as they are.
	Permanent bool `json:"permanent,omitempty"`
	// Accepted says that policies.skip lists the code.
	Accepted bool      `json:"accepted,omitempty"`
	Run      int64     `json:"run"`
	At       time.Time `json:"at"`
	// Payload is the account, encrypted with age, as base64. PayloadOf says whether it is
	// the account as it was when the run rejected it, or as it is in the source now.
	Payload   []byte `json:"payload,omitempty"`
	PayloadOf string `json:"payload_of,omitempty"`
	// Changed says that the account in the source is not any more what was rejected.
	Changed bool `json:"changed,omitempty"`
}

// OutcomeStranded is the outcome of an account that was loaded and whose person has no way
// to sign in.
const OutcomeStranded = "stranded"

// What a payload can be of.
const (
	OfRejection = "rejection"
	OfNow       = "now"
)

// WriteRejects writes one JSON object a line.
func WriteRejects(w io.Writer, list []Reject) error { return writeLines(w, list) }

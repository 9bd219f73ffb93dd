package report

import (
	"io"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
)

// Reject is one account that is not in the target as it should be: a line of
// stetl rejects. It holds no secret; Payload is encrypted.
type Reject struct {
	SourceID  string `json:"source_id"`
	VisibleID string `json:"visible_id,omitempty"`
	TargetID  string `json:"target_id,omitempty"`
	Outcome   string `json:"outcome"` // rejected or in_doubt
	Code      string `json:"code"`
	// Path points into the account, where the code says.
	Path string `json:"path,omitempty"`
	// Detail can be the target's own words.
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
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

// What a payload can be of.
const (
	OfRejection = "rejection"
	OfNow       = "now"
)

// paths say which part of an account a code is about.
var paths = []struct{ part, path string }{
	{"password", "/password"},
	{"hash", "/password"},
	{"totp", "/totp"},
	{"username", "/username"},
	{"email", "/email"},
	{"identity", "/identities"},
	{"_id", "/id"},
	{".id_", "/id"},
}

// PathOf is the part of an account that a code is about, "" when it is not about
// one.
func PathOf(code diag.Code) string {
	for _, p := range paths {
		if strings.Contains(string(code), p.part) {
			return p.path
		}
	}
	return ""
}

// WriteRejects writes one JSON object a line.
func WriteRejects(w io.Writer, list []Reject) error { return writeLines(w, list) }

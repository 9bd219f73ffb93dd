package auth0

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// claims keeps users of one run from taking the same identifier: two of them in one
// file, or in two jobs at the same time, would cost one of them its account, and
// nobody could say which. It is safe for concurrent use.
type claims struct {
	seed maphash.Seed

	mu     sync.Mutex
	owners map[uint64]uint64 // identifier to source id, both hashed: a run may have millions
}

func newClaims() *claims {
	return &claims{seed: maphash.MakeSeed(), owners: map[uint64]uint64{}}
}

// take claims everything r needs, or nothing and says what somebody else has.
func (c *claims) take(r *record) *sdk.Outcome {
	me := maphash.String(c.seed, r.source)
	wanted := []struct {
		kind, value string
		code        sdk.Code
	}{
		{"id", r.UserID, sdk.CodeIDConflict},
		{"e-mail address", r.Email, sdk.CodeEmailConflict},
		{"user name", r.Username, sdk.CodeUsernameConflict},
		{"phone number", r.PhoneNumber, sdk.CodeUsernameConflict},
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []uint64
	for _, w := range wanted {
		if w.value == "" {
			continue
		}
		key := maphash.Comparable(c.seed, [2]string{w.kind, w.value})
		if owner, taken := c.owners[key]; taken && owner != me {
			return &sdk.Outcome{
				SourceID: r.source, Action: sdk.Rejected, Code: w.code,
				Detail: fmt.Sprintf("another user of this run has the same %s", w.kind),
				Hint:   "merge the two accounts in SuperTokens, or change one of them",
			}
		}
		keys = append(keys, key)
	}
	for _, key := range keys {
		c.owners[key] = me
	}
	return nil
}

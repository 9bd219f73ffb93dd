package reconcile

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// Claim is an identifier that one account at most can have.
type Claim struct {
	// Kind says what it is, in words: "e-mail address". Value is compared as it is: fold
	// it first where the target does.
	Kind, Value string
	// Code is that of the user who comes second.
	Code sdk.Code
}

// Claims keep users of one run from taking the same identifier: two of them in one
// request may cost the whole batch, and two in parallel requests one of them its account,
// and nobody could say which. Claims are safe for concurrent use.
type Claims struct {
	seed maphash.Seed

	mu     sync.Mutex
	owners map[uint64]uint64 // claim to source id, both hashed: a run may have millions
}

// NewClaims returns claims of a run that has not begun.
func NewClaims() *Claims {
	return &Claims{seed: maphash.MakeSeed(), owners: map[uint64]uint64{}}
}

// Take claims all that a user needs, or nothing and says what somebody else has. A claim
// without a value is none. Whoever takes what it has already, has it.
func (c *Claims) Take(u *sdk.User, wanted ...Claim) *sdk.Outcome {
	me := maphash.String(c.seed, u.SourceID)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range wanted {
		if owner, taken := c.owners[c.key(w)]; taken && owner != me && w.Value != "" {
			return &sdk.Outcome{
				SourceID: u.SourceID, Action: sdk.Rejected, Code: w.Code, Detail: fmt.Sprintf("another user of this run has the same %s", w.Kind),
				Hint: "merge the two accounts in SuperTokens, or let the mapping change one of them",
			}
		}
	}
	for _, w := range wanted {
		if w.Value != "" {
			c.owners[c.key(w)] = me
		}
	}
	return nil
}

// Release gives claims back, because the user did not get them or because the target
// itself guards them now.
func (c *Claims) Release(claims ...Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range claims {
		delete(c.owners, c.key(w))
	}
}

func (c *Claims) key(w Claim) uint64 { return maphash.Comparable(c.seed, [2]string{w.Kind, w.Value}) }

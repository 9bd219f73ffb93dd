package keycloak

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// claims keeps users of one run from taking the same name: two of them in one
// request would cost the whole batch, and two in parallel requests one of the
// batches. It is safe for concurrent use.
type claims struct {
	emailsOnce bool
	seed       maphash.Seed

	mu     sync.Mutex
	owners map[claim]string // source id
}

type claim struct {
	kind string
	hash uint64 // of the value: a run may have millions
}

func newClaims(emailsOnce bool) *claims {
	return &claims{emailsOnce: emailsOnce, seed: maphash.MakeSeed(), owners: map[claim]string{}}
}

func (c *claims) of(kind, value string) claim {
	return claim{kind, maphash.String(c.seed, value)}
}

func (c *claims) names(u *representation) []claim {
	out := []claim{c.of("id", u.ID), c.of("username", u.Username)}
	if u.Email != "" && c.emailsOnce {
		out = append(out, c.of("email", u.Email))
	}
	return out
}

func (c *claims) links(u *representation) (out []claim) {
	for _, f := range u.FederatedIdentities {
		out = append(out, c.of("identity", f.IdentityProvider+"\x00"+f.UserID))
	}
	return out
}

// take claims everything u needs, or nothing and says who has it.
func (c *claims) take(u *representation) *sdk.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := append(c.names(u), c.links(u)...)
	for _, w := range wanted {
		owner, taken := c.owners[w]
		if !taken || owner == u.source {
			continue
		}
		code := map[string]sdk.Code{"id": sdk.CodeIDConflict, "username": sdk.CodeUsernameConflict, "email": sdk.CodeEmailConflict, "identity": sdk.CodeIdentityConflict}[w.kind]
		return &sdk.Outcome{
			SourceID: u.source, Action: sdk.Rejected, Code: code,
			Detail: fmt.Sprintf("user %s of this run has the same %s", owner, w.kind),
			Hint:   "merge the two accounts in SuperTokens, or let the mapping rename one",
		}
	}
	for _, w := range wanted {
		c.owners[w] = u.source
	}
	return nil
}

// created gives the names back, since the realm itself guards them now. Nothing
// in Keycloak guards against linking one identity to two users, so links stay.
func (c *claims) created(u *representation) { c.drop(c.names(u)) }

// refused gives everything back.
func (c *claims) refused(u *representation) { c.drop(append(c.names(u), c.links(u)...)) }

func (c *claims) drop(cs []claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range cs {
		delete(c.owners, w)
	}
}

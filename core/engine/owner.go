package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/target"
)

// owners decides who keeps an identifier that must be unique in the target and
// that several accounts want. The account whose old password will work wins,
// then the older one, then the smaller id: the choice depends on the data alone.
type owners struct {
	byKey map[string]claim
}

type claim struct {
	sourceID string
	carried  bool
	joined   time.Time
}

func (c claim) beats(o claim) bool {
	switch {
	case c.carried != o.carried:
		return c.carried
	case !c.joined.Equal(o.joined):
		return !c.joined.IsZero() && (o.joined.IsZero() || c.joined.Before(o.joined))
	default:
		return c.sourceID < o.sourceID
	}
}

// identifiers are the keys of u that must be unique, by what to call them.
func identifiers(u *target.User, caps target.Capabilities) [][2]string {
	out := [][2]string{{"id", u.ID}, {"username", strings.ToLower(u.Username)}}
	if caps.UniqueEmail && u.Email != "" {
		out = append(out, [2]string{"e-mail", strings.ToLower(u.Email)})
	}
	return out
}

func (o *owners) claim(u *target.User, caps target.Capabilities) {
	if o.byKey == nil {
		o.byKey = map[string]claim{}
	}
	mine := claim{sourceID: u.SourceID, carried: u.Class == target.HashCarried, joined: u.Created}
	for _, id := range identifiers(u, caps) {
		key := id[0] + "\x00" + id[1]
		if other, taken := o.byKey[key]; !taken || mine.beats(other) {
			o.byKey[key] = mine
		}
	}
}

var collisionCodes = map[string]diag.Code{
	"id": diag.MapDuplicateID, "username": diag.MapDuplicateUsername, "e-mail": diag.MapDuplicateEmail,
}

// collision returns the reject of a user whose identifier another one keeps.
func (o *owners) collision(u *target.User, caps target.Capabilities) (target.Outcome, bool) {
	for _, id := range identifiers(u, caps) {
		if winner := o.byKey[id[0]+"\x00"+id[1]]; winner.sourceID != u.SourceID {
			return target.Outcome{
				SourceID: u.SourceID, Action: target.Rejected, Code: collisionCodes[id[0]],
				Detail: fmt.Sprintf("another account wants the same %s, and the target allows one: %s", id[0], winner.sourceID),
				Hint:   "link or merge the two accounts in SuperTokens, or change one of them, and run again",
			}, true
		}
	}
	return target.Outcome{}, false
}

package bridge

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Trial is what a hand-over of one session would come to. Nothing has been changed, and the
// target has not been asked.
type Trial struct {
	// Would says whether it would be handed over, and Why, if not, what is in the way.
	Would bool   `json:"would"`
	Why   string `json:"why,omitempty"`
	// Session is its handle; with a token of nobody it is empty.
	Session string    `json:"session,omitempty"`
	Tenant  string    `json:"tenant,omitempty"`
	Begun   time.Time `json:"begun,omitzero"`
	Ends    time.Time `json:"ends,omitzero"`
	// User is whose it is, and Target the id in the target, once a run has loaded the
	// account.
	User   string `json:"user,omitempty"`
	Target string `json:"target,omitempty"`
	// Browser and API say in which ways the configuration hands sessions over.
	Browser bool `json:"browser"`
	API     bool `json:"api"`
}

// Try examines a session, by its handle or by one of its tokens, as a hand-over would. An
// error is about the database or the journal.
func Try(ctx context.Context, store *session.Store, accounts Accounts, c config.Bridge, presented string) (Trial, error) {
	t := Trial{Browser: len(c.Clients) > 0, API: c.Exchange.Audience != ""}
	found, err := tried(ctx, store, c, presented)
	t.Session, t.Tenant, t.Begun, t.Ends = found.Handle, found.Tenant, found.Created, found.Expires
	var user session.User
	if err == nil {
		user, err = store.User(ctx, found)
		t.User = user.ID
	}
	if err == nil {
		id, known, e := accounts.TargetID(ctx, user)
		switch {
		case e != nil:
			return t, e
		case known:
			t.Target = id
		default:
			err = errNotLoaded
		}
	}
	if err == nil && !t.Browser && !t.API {
		err = errNoWay
	}
	switch {
	case err == nil:
		t.Would = true
	case refusal(err) || errors.Is(err, errNoWay):
		t.Why = err.Error()
	default:
		return t, err
	}
	return t, nil
}

var errNoWay = errors.New("the configuration has neither bridge.clients nor bridge.exchange")

func tried(ctx context.Context, store *session.Store, c config.Bridge, presented string) (session.Session, error) {
	check := session.Check{Claims: c.RequiredClaims, Present: c.ClaimsNamed}
	switch {
	case !Token(presented):
		return session.ByHandle(ctx, store, presented, check)
	case strings.HasSuffix(presented, ".V2"):
		return store.VerifyRefresh(ctx, presented, check)
	}
	return store.VerifyAccess(ctx, presented, check)
}

// Token tells a token from the handle of a session.
func Token(presented string) bool { return strings.Contains(presented, ".") || len(presented) > 200 }

package scim

import (
	"fmt"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// User names that accounts pass on are carried, whatever the order, and whatever the server
// can: chains, and rings of any length.
func TestExchangedNames(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]profile{
		"plain": {}, "versions": {etags: true}, "PUT only": {noPatch: true}, "400 for what is taken": {conflict400: true},
	} {
		for _, next := range []map[int]int{{1: 2, 2: 1}, {1: 2, 2: 3, 3: 4, 4: 1}, {1: 2, 2: 3, 3: 9}, {3: 4, 2: 3, 1: 2, 4: 9}} {
			t.Run(fmt.Sprint(name, next), func(t *testing.T) {
				t.Parallel()
				f, j := newFake(t, p), &memory{}
				users := people(1, 9)
				first := load(t, openLive(t, f.settings(), j), users[:8])
				var changed []sdk.User
				for n, to := range next {
					u, o := users[n-1], first.ByID[users[n-1].SourceID]
					u.Username, u.Existing, u.Prior = users[to-1].Username, sdk.Update, sdk.Prior{TargetID: o.TargetID, State: o.State}
					changed = append(changed, u)
				}
				got := load(t, openLive(t, f.settings(), j), changed)
				for _, u := range changed {
					if o := got.ByID[u.SourceID]; o.Action != sdk.Updated || f.users[o.TargetID].text("userName") != userName(u.Username) {
						t.Errorf("%s is %s and called %s, want %s", u.SourceID, got.Of(u.SourceID), f.users[u.Prior.TargetID].text("userName"), u.Username)
					}
				}
			})
		}
	}
}

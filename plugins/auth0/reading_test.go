package auth0

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestReadingByLists: many accounts are compared by the lists of their roles and
// organizations. What others have changed is seen all the same, and a few accounts are
// asked about alone.
func TestReadingByLists(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "compares many accounts")
	for name, o := range map[string]simulator.Options{
		"lists": {},
		"no totals": {Instead: func(method, path string) int {
			if method == "GET" && (strings.HasPrefix(path, "/api/v2/roles/") || strings.HasSuffix(path, "/members")) {
				return 403
			}
			return 0
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 1_200 // more than pages show
			b := start(t, o, map[string]any{"lookups_before_export": 10})
			users := people(1, n)
			for i := range users {
				users[i].Tenants = []string{"public", "acme"}
				users[i].Roles = map[string][]string{"public": {"admin"}, "acme": {"owner"}}
				if i%2 == 0 {
					users[i].Roles = map[string][]string{"public": {"admin", "editor"}}
				}
			}
			first := b.load(users...)
			b.expect(first, sdk.Created, n)
			for i := range users {
				users[i] = again(users[i], first[users[i].SourceID])
			}
			b.client = b.serve()
			requests := func(about func()) (list, alone int) {
				before := len(b.server.Requests())
				about()
				for _, r := range b.server.Requests()[before:] {
					if strings.HasPrefix(r.Path, "/api/v2/users/") || strings.HasSuffix(r.Path, "/roles") && strings.Contains(r.Path, "/members/") {
						alone++
					} else {
						list++
					}
				}
				return list, alone
			}
			equal := func(users []sdk.User, but ...string) func() {
				return func() {
					t.Helper()
					for id, c := range b.plan(users...) {
						want := sdk.Unchanged
						if strings.Contains(fmt.Sprint(but, " "), id+" ") || strings.Contains(fmt.Sprint(but), id+"]") {
							want = sdk.Updated
						}
						if c.Action != want || len(c.Losses) > 0 {
							t.Errorf("%s: %s, lost %s", id, c.Action, lossText(c.Outcome))
						}
					}
				}
			}
			list, alone := requests(equal(users))
			t.Logf("%d users: %d requests for lists, %d about single users", n, list, alone)
			if all := list + alone; name == "lists" && (alone > 0 || all > 65) || name != "lists" && alone < n {
				t.Errorf("%d requests for lists and %d about single users", list, alone)
			}
			for id, role := range map[string]string{"source-8": "admin", "source-9": "editor"} {
				b.server.ChangeRole(role, func(users, _ map[string]bool) { delete(users, first[id].TargetID) })
			}
			b.client = b.serve()
			equal(users, "source-8", "source-9")()
			b.client = b.serve()
			if list, _ := requests(equal(users[20:22])); list > 9 { // what the roles allow is read, too
				t.Errorf("%d requests for lists about two users", list)
			}
			// What this process changes is seen by it.
			b.client = b.serve()
			equal(users, "source-8", "source-9")()
			users[7].Roles = nil
			users[7].Tenants = []string{"public"}
			o := b.load(users[7])["source-8"]
			if o.Action != sdk.Updated || lossText(o) != "" || belongs(b.server.Users()[o.TargetID]) != "[] map[]" {
				t.Errorf("%s, lost %s: %s", o.Action, lossText(o), belongs(b.server.Users()[o.TargetID]))
			}
			users[7] = again(users[7], o)
			equal(users, "source-9")()
		})
	}
}

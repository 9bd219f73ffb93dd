package keycloak

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// staff are users of a directory.
func staff() []*fakeUser {
	names := []string{"boss@example.com", "clerk"}
	return []*fakeUser{
		{ID: "f:1:boss@example.com", Username: &names[0], Email: "the.boss@example.com", Enabled: true},
		{ID: "f:1:clerk", Username: &names[1], Email: "clerk@example.com", Enabled: true},
	}
}

// rivals are two users whose name or address is somebody's of the staff, and one who
// is nobody's rival; with what is to become of each.
func rivals(offset int) ([]sdk.User, []string) {
	return []sdk.User{
		person(offset, func(u *sdk.User) { u.Username = "Boss@example.com" }),
		person(offset+1, func(u *sdk.User) { u.Email = "clerk@example.com" }),
		person(offset + 2),
	}, []string{"rejected load.username_conflict", "rejected load.email_conflict", "created"}
}

func holdsOutcomes(t *testing.T, what string, got *book, users []sdk.User, want []string) {
	t.Helper()
	for i, u := range users {
		if o := got.Of(u.SourceID); o != want[i] {
			t.Errorf("%s of user %d: %s, want %s: %s", what, i, o, want[i], got.ByID[u.SourceID].Detail)
		}
	}
}

func TestFederatedUsersCount(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.ldap = staff()
	target := open(t, f.config())
	users, want := rivals(1)
	holdsOutcomes(t, "plan", plan(t, target, users), users, want)
	holdsOutcomes(t, "load", load(t, target, users), users, want)
}

// A server that cannot reach its directory finds nobody in it and says nothing.
func TestFederationDown(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.ldap = staff()
	target := open(t, f.config())
	users, _ := rivals(1)
	plan(t, target, users)
	f.mu.Lock()
	f.ldapIsDown = true // in the middle of a run
	f.mu.Unlock()
	err := target.Load(t.Context(), users, newBook(t))
	if err == nil || !strings.Contains(err.Error(), string(codeFederationDown)) {
		t.Errorf("load: %v", err)
	}
	if n := f.imports(); n > 0 {
		t.Errorf("%d requests with users", n)
	}
}

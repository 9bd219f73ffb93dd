//go:build unix

package keycloak

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestServerBridgeComesLater names the bridge after a first run: everybody who is there
// is linked, or the run is refused and says what is missing. A link that somebody has
// taken away is found.
func TestServerBridgeComesLater(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	const realm = "bridge-later"
	all := newRealmOn(t, s, realm)
	users := []sdk.User{person(8100, func(*sdk.User) {}), person(8101, func(*sdk.User) {})}
	loaded, err := client(t, all).Load(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	known := remembering(users, loaded)

	blind := testerIn(t, s, realm, []string{"manage-realm", "manage-users", "view-users"})
	all.BridgeAlias, blind.BridgeAlias = "supertokens", "supertokens"
	refused := func(c Config, want string) {
		t.Helper()
		if err := open(t, c).Load(t.Context(), known, newBook(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load: %v, want %s", err, want)
		}
		if list := open(t, c).Check(t.Context(), sdk.Needs{}); !list.HasErrors() || !strings.Contains(list.Err().Error(), want) {
			t.Errorf("check: %v, want %s", list, want)
		}
	}
	refused(all, "no identity provider called supertokens")
	addProvider(t, s, realm, "supertokens")
	refused(blind, "view-identity-providers")

	updated, err := client(t, all).Load(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	path := "/realms/" + realm + "/users/" + url.PathEscape(users[0].ID) + "/federated-identity"
	for i, u := range users {
		var links []link
		err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/"+url.PathEscape(u.ID)+"/federated-identity", nil, &links)
		if err != nil || len(links) != 1 || links[0].UserID != u.ID || updated[i].Action != sdk.Updated {
			t.Errorf("%s is linked to %v, %+v, %v", u.ID, links, updated[i], err)
		}
	}
	if err := s.Admin(t.Context(), http.MethodDelete, path+"/supertokens", nil, nil); err != nil {
		t.Fatal(err)
	}
	for i, p := range planOf(t, client(t, all), remembering(known, updated)) {
		if missing := len(p.Fields) == 1 && p.Fields[0].Field == "identity.supertokens"; missing != (i == 0) {
			t.Errorf("account %d: %+v", i, p)
		}
	}
}

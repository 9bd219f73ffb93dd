//go:build unix

package keycloak

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/ldap"
)

const staffLDIF = `dn: dc=example,dc=com
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=Boss@Example.com,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: Boss@Example.com
cn: The Boss
sn: Boss
mail: the.boss@example.com

dn: uid=clerk,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: clerk
cn: A Clerk
sn: Clerk
mail: Clerk@Example.com
`

// addFederation has a realm take users from an LDAP server, with the settings that let
// the server write there most.
func addFederation(t *testing.T, s *keycloak.Server, realm, address string, imports bool) {
	t.Helper()
	config := map[string][]string{}
	for name, value := range map[string]string{
		"connectionUrl": address, "authType": "simple", "bindDn": ldap.BindDN, "bindCredential": ldap.Password, "vendor": "other",
		"usersDn": "ou=people," + ldap.Suffix, "usernameLDAPAttribute": "uid", "rdnLDAPAttribute": "uid", "uuidLDAPAttribute": "entryUUID",
		"userObjectClasses": "inetOrgPerson", "editMode": "WRITABLE", "syncRegistrations": "true", "pagination": "true", "importEnabled": fmt.Sprint(imports),
	} {
		config[name] = []string{value}
	}
	err := s.Admin(t.Context(), http.MethodPost, "/realms/"+realm+"/components", map[string]any{
		"name": "staff", "providerId": "ldap", "providerType": "org.keycloak.storage.UserStorageProvider", "config": config,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// moveFederation points it to another address.
func moveFederation(t *testing.T, s *keycloak.Server, realm, address string) {
	t.Helper()
	base := "/realms/" + realm + "/components"
	var all []map[string]any
	if err := s.Admin(t.Context(), http.MethodGet, base+"?name=staff", nil, &all); err != nil || len(all) != 1 {
		t.Fatalf("federations %v, %v", all, err)
	}
	all[0]["config"].(map[string]any)["connectionUrl"] = []string{address}
	if err := s.Admin(t.Context(), http.MethodPut, base+"/"+all[0]["id"].(string), all[0], nil); err != nil {
		t.Fatal(err)
	}
}

// Who exists only in a realm's LDAP server is never doubled, whether or not the server
// keeps copies of its users, and nothing is written there.
func TestServerFederation(t *testing.T) {
	t.Parallel()
	d := ldap.Start(t, staffLDIF)
	s := keycloak.Shared(t, withJar)
	t.Cleanup(func() {
		if got := d.Changes(t); len(got) > 0 {
			t.Errorf("requests to change the directory: %v", got)
		}
		if d.Searches(t) == 0 {
			t.Error("nobody asked the directory")
		}
	})
	for i, w := range ways {
		for j, imports := range []bool{false, true} {
			name := fmt.Sprintf("%s-imports-%t", w.name, imports)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testFederation(t, s, d.URL(), w, "federation-"+name, imports, 47_000+20*i+10*j)
			})
		}
	}
}

func testFederation(t *testing.T, s *keycloak.Server, address string, w way, realm string, imports bool, offset int) {
	t.Helper()
	c := newRealmOn(t, s, realm)
	addFederation(t, s, realm, address, imports)
	c.URL = w.front(t, s)
	target := open(t, c)
	if list := target.Check(t.Context(), sdk.Needs{}); !slices.Equal(codes(list), usual) {
		t.Errorf("check: %+v", list)
	}
	users, want := rivals(offset)
	holdsOutcomes(t, "plan", plan(t, target, users), users, want)

	// What the server itself makes of them, should they come up after the look-ups.
	r, err := target.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range users[:2] {
		rep, rejected := r.mapper.user(&users[i])
		if rejected != nil {
			t.Fatalf("%+v", rejected)
		}
		body, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := (&importer{openRealm: r}).send(t.Context(), []*delivery{{verdict: &verdict{user: rep}, body: body}})
		if (err == nil && (answers[0].id != "" || answers[0].err != nil)) || (err != nil && !refused(err)) {
			t.Errorf("user %d without a look-up: %+v, %v", i, answers, err)
		}
	}

	loaded := load(t, target, users)
	holdsOutcomes(t, "load", loaded, users, want)
	users[2].Existing, users[2].Prior.State = sdk.Update, loaded.ByID[users[2].SourceID].State
	for _, again := range []*live{target, open(t, c)} {
		holdsOutcomes(t, "second plan", plan(t, again, users), users, []string{want[0], want[1], "unchanged"})
		holdsOutcomes(t, "second load", load(t, again, users), users, []string{want[0], want[1], "unchanged"})
	}

	var all []account
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users", nil, &all); err != nil {
		t.Fatal(err)
	}
	held := map[string]string{}
	for _, a := range all {
		held[a.Username] = a.Email
	}
	everybody := map[string]string{"boss@example.com": "the.boss@example.com", "clerk": "clerk@example.com", users[2].Username: users[2].Email}
	if d := cmp.Diff(everybody, held); d != "" || len(all) != len(everybody) {
		t.Errorf("%d users: %s", len(all), d)
	}

	moveFederation(t, s, realm, "ldap://127.0.0.1:1")
	down := open(t, c)
	if got := codes(down.Check(t.Context(), sdk.Needs{})); !slices.Equal(got, append([]string{"error " + string(codeFederationDown)}, usual...)) {
		t.Errorf("check without the directory: %v", got)
	}
	err = down.Load(t.Context(), []sdk.User{person(offset+3, func(u *sdk.User) { u.Username = "clerk" })}, newBook(t))
	if err == nil || !strings.Contains(err.Error(), string(codeFederationDown)) {
		t.Errorf("load without the directory: %v", err)
	}
}

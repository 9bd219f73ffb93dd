package keycloak

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A realm that is made from a template has nothing that is the template's own: no ids, names,
// users, keys, and no mask in the place of a secret.
func TestRealmOfATemplate(t *testing.T) {
	t.Parallel()
	const shown = `{
		"id": "1", "realm": "Model", "displayName": "Model", "keycloakVersion": "26.0.8", "enabled": true,
		"defaultRole": {"id": "2", "name": "default-roles-model", "containerId": "1"},
		"roles": {"realm": [{"id": "2", "name": "default-roles-model", "composites": {"realm": ["offline_access"]}, "attributes": {"id": ["kept"]}}]},
		"users": [{"username": "service-account-shop"}],
		"smtpServer": {"host": "mail", "password": "**********"},
		"clients": [
			{"id": "3", "clientId": "account", "baseUrl": "/realms/Model/account/", "redirectUris": ["/realms/Model/account/*", "https://app.example.com/*"], "publicClient": true},
			{"id": "4", "clientId": "shop", "secret": "**********", "enabled": true, "protocolMappers": [{"id": "5", "name": "m", "config": {"id": "kept"}}]}],
		"identityProviders": [
			{"internalId": "6", "alias": "google", "enabled": true, "config": {"clientId": "g", "clientSecret": "**********"}},
			{"internalId": "7", "alias": "github", "enabled": true, "config": {"clientId": "h", "clientSecret": "${vault.github}"}}],
		"components": {
			"org.keycloak.keys.KeyProvider": [{"id": "8", "name": "rsa", "config": {"privateKey": ["**********"]}}],
			"org.keycloak.storage.UserStorageProvider": [{"id": "9", "name": "ldap", "providerId": "ldap", "config": {"bindCredential": ["**********"]}}],
			"org.keycloak.userprofile.UserProfileProvider": [{"id": "10", "providerId": "declarative-user-profile", "config": {"kc.user.profile.config": ["{}"]}}]}
	}`
	const want = `{
		"realm": "Acme", "displayName": "Acme", "enabled": true,
		"defaultRole": {"name": "default-roles-acme"},
		"roles": {"realm": [{"name": "default-roles-acme", "composites": {"realm": ["offline_access"]}, "attributes": {"id": ["kept"]}}]},
		"smtpServer": {"host": "mail"},
		"clients": [
			{"clientId": "account", "baseUrl": "/realms/Acme/account/", "redirectUris": ["/realms/Acme/account/*", "https://app.example.com/*"], "publicClient": true},
			{"clientId": "shop", "enabled": true, "protocolMappers": [{"name": "m", "config": {"id": "kept"}}]}],
		"identityProviders": [
			{"alias": "google", "enabled": false, "config": {"clientId": "g"}},
			{"alias": "github", "enabled": true, "config": {"clientId": "h", "clientSecret": "${vault.github}"}}],
		"components": {
			"org.keycloak.storage.UserStorageProvider": null,
			"org.keycloak.userprofile.UserProfileProvider": [{"providerId": "declarative-user-profile", "config": {"kc.user.profile.config": ["{}"]}}]}
	}`
	var realm, expected map[string]any
	if err := json.Unmarshal([]byte(shown), &realm); err != nil {
		t.Fatal(err)
	}
	lost := derive(realm, "Model", "Acme")
	raw, err := json.Marshal(realm)
	if err != nil || strings.Contains(string(raw), masked) {
		t.Fatalf("%s, %v", raw, err)
	}
	realm = nil
	if err := json.Unmarshal(raw, &realm); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(expected, realm); d != "" {
		t.Errorf("the realm differs (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{
		"the component ldap (ldap), whose secret is not shown", "the password of the mail server",
		"the secret of the client shop, which gets a new one", "the secret of the identity provider google, which is switched off",
	}, lost); d != "" {
		t.Errorf("what is lost differs (-want +got):\n%s", d)
	}
}

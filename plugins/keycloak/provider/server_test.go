//go:build unix

package provider_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// server is a real Keycloak with the embedded jar, shared by these tests.
func server(t *testing.T) *keycloak.Server {
	t.Helper()
	return keycloak.Shared(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
}

const (
	client      = "app"
	createdDate = 1_700_000_000_000
	label       = "imported"
)

// newRealm creates a realm whose users can log in with nothing but a password.
func newRealm(t *testing.T, s *keycloak.Server, realm, passwordPolicy string) {
	t.Helper()
	s.CreateRealm(t, map[string]any{
		"realm":          realm,
		"enabled":        true,
		"passwordPolicy": passwordPolicy,
		"clients":        []any{map[string]any{"clientId": client, "publicClient": true, "directAccessGrantsEnabled": true}},
	})
	if err := s.RelaxUserProfile(t.Context(), realm); err != nil {
		t.Fatal(err)
	}
}

// account is a user to import, with a hash in its stored form.
type account struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Hash     string `json:"hash"`
}

// storedBySuperTokens are hashes out of a SuperTokens database with their
// passwords. The Java tests read them as well.
func storedBySuperTokens(t *testing.T) []account {
	t.Helper()
	b, err := os.ReadFile("src/test/resources/supertokens.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []account
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// id is the user id of an account. Keycloak's ids are unique across realms.
func id(realm, name string) string {
	h := sha256.Sum256([]byte(realm + "/" + name))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func partialImport(t *testing.T, s *keycloak.Server, realm string, accounts []account) {
	t.Helper()
	users := make([]any, len(accounts))
	for n, a := range accounts {
		users[n] = map[string]any{
			"id":          id(realm, a.Name),
			"username":    a.Name,
			"enabled":     true,
			"credentials": []any{credential(t, a.Hash)},
		}
	}
	var result struct{ Added, Skipped, Overwritten int }
	body := map[string]any{"ifResourceExists": "FAIL", "users": users}
	if err := s.Admin(t.Context(), http.MethodPost, "/realms/"+realm+"/partialImport", body, &result); err != nil {
		t.Fatal(err)
	}
	if result.Added != len(accounts) {
		t.Fatalf("import added %d users, want %d", result.Added, len(accounts))
	}
}

// credential renders a bcrypt or PHC argon2 string the way Keycloak stores it.
func credential(t *testing.T, hash string) map[string]any {
	t.Helper()
	fields := strings.Split(hash, "$")
	var data, secret map[string]any
	switch {
	case strings.HasPrefix(hash, "$2"):
		cost, err := strconv.Atoi(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		data = map[string]any{"algorithm": provider.ID, "hashIterations": cost, "additionalParameters": map[string]any{}}
		secret = map[string]any{"value": hash, "salt": "", "additionalParameters": map[string]any{}}
	case strings.HasPrefix(hash, "$argon2"):
		var memory, iterations, parallelism int
		if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &memory, &iterations, &parallelism); err != nil {
			t.Fatal(err)
		}
		salt, digest := padded(t, fields[4]), padded(t, fields[5])
		data = map[string]any{"algorithm": "argon2", "hashIterations": iterations, "additionalParameters": map[string]any{
			"type":        []string{strings.TrimPrefix(fields[1], "argon2")},
			"version":     []string{"1.3"},
			"memory":      []string{strconv.Itoa(memory)},
			"parallelism": []string{strconv.Itoa(parallelism)},
			"hashLength":  []string{strconv.Itoa(base64.RawStdEncoding.DecodedLen(len(fields[5])))},
		}}
		secret = map[string]any{"value": digest, "salt": salt, "additionalParameters": map[string]any{}}
	default:
		t.Fatalf("hash of an unknown kind")
	}
	return map[string]any{
		"type": "password", "userLabel": label, "createdDate": createdDate,
		"credentialData": toJSON(t, data), "secretData": toJSON(t, secret),
	}
}

func padded(t *testing.T, unpadded string) string {
	t.Helper()
	b, err := base64.RawStdEncoding.DecodeString(unpadded)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stored is what Keycloak shows of a password.
type stored struct {
	Algorithm string
	Cost      int
	Created   int64
	Label     string
}

func storedPassword(t *testing.T, s *keycloak.Server, realm, userID string) stored {
	t.Helper()
	var credentials []struct {
		Type           string `json:"type"`
		UserLabel      string `json:"userLabel"`
		CreatedDate    int64  `json:"createdDate"`
		CredentialData string `json:"credentialData"`
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/"+userID+"/credentials", nil, &credentials); err != nil {
		t.Fatal(err)
	}
	if len(credentials) != 1 || credentials[0].Type != "password" {
		t.Fatalf("user %s has credentials %v, want one password", userID, credentials)
	}
	var data struct {
		Algorithm      string `json:"algorithm"`
		HashIterations int    `json:"hashIterations"`
	}
	if err := json.Unmarshal([]byte(credentials[0].CredentialData), &data); err != nil {
		t.Fatal(err)
	}
	c := credentials[0]
	return stored{Algorithm: data.Algorithm, Cost: data.HashIterations, Created: c.CreatedDate, Label: c.UserLabel}
}

// accepts logs the user in and tells whether the password was right.
func accepts(t *testing.T, s *keycloak.Server, realm, username, password string) bool {
	t.Helper()
	g, err := s.PasswordGrant(t.Context(), realm, client, username, password)
	if err != nil {
		t.Fatal(err)
	}
	if g.Status != http.StatusOK && !g.Refused() {
		t.Fatalf("login of %s: status %d: %s", username, g.Status, g.Body)
	}
	return g.Status == http.StatusOK
}

func TestServerListsTheProvider(t *testing.T) {
	t.Parallel()
	s := server(t)
	type info struct {
		OperationalInfo map[string]string `json:"operationalInfo"`
	}
	var got struct {
		Providers map[string]struct {
			Providers map[string]info `json:"providers"`
		} `json:"providers"`
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/serverinfo", nil, &got); err != nil {
		t.Fatal(err)
	}
	want := info{OperationalInfo: map[string]string{
		"implementation": "stetl-keycloak-bcrypt",
		"longPasswords":  "cut at 72 bytes",
	}}
	if diff := cmp.Diff(want, got.Providers["password-hashing"].Providers[provider.ID]); diff != "" {
		t.Errorf("provider %s in serverinfo (-want +got):\n%s", provider.ID, diff)
	}
}

// TestProviderOnRealServer logs in with every kind of hash that SuperTokens
// stores and Keycloak can verify.
func TestProviderOnRealServer(t *testing.T) {
	t.Parallel()
	s := server(t)
	const realm = "bcrypt"
	newRealm(t, s, realm, "")

	accounts := storedBySuperTokens(t)
	for _, a := range accounts {
		switch a.Name {
		case "bcrypt-2a-10": // as SuperTokens does, $2x$ is verified as $2a$
			accounts = append(accounts, account{"bcrypt-2x-10", a.Password, "$2x" + a.Hash[3:]})
		case "len-99":
			accounts = append(accounts,
				account{"len-99-cut", a.Password[:72], a.Hash},
				account{"len-99-other-tail", a.Password[:72] + "other tail", a.Hash})
		}
	}
	partialImport(t, s, realm, accounts)

	for _, a := range accounts {
		t.Run(a.Name, func(t *testing.T) {
			if accepts(t, s, realm, a.Name, "x"+a.Password) {
				t.Error("wrong password was accepted")
			}
			g, err := s.PasswordGrant(t.Context(), realm, client, a.Name, a.Password)
			if err != nil {
				t.Fatal(err)
			}
			if g.Status != http.StatusOK {
				t.Fatalf("right password was refused: status %d: %s", g.Status, g.Body)
			}
			if g.Claims["sub"] != id(realm, a.Name) {
				t.Errorf("subject is %v, want the imported id %s", g.Claims["sub"], id(realm, a.Name))
			}
			// A login replaces the hash by one of the server's own algorithm, five
			// rounds being its default, and keeps the rest.
			want := stored{Algorithm: "argon2", Cost: 5, Created: createdDate, Label: label}
			if diff := cmp.Diff(want, storedPassword(t, s, realm, id(realm, a.Name))); diff != "" {
				t.Errorf("password after login (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("a long password counts in full after the first login", func(t *testing.T) {
		const name = "len-99-other-tail"
		for _, a := range accounts {
			if a.Name != name {
				continue
			}
			if !accepts(t, s, realm, name, a.Password) {
				t.Error("the password of the first login was refused")
			}
			if accepts(t, s, realm, name, a.Password[:72]) {
				t.Error("the first 72 bytes were accepted")
			}
		}
	})
}

// TestProviderAsRealmPolicy keeps bcrypt, in a realm that asks for it.
func TestProviderAsRealmPolicy(t *testing.T) {
	t.Parallel()
	s := server(t)
	const realm = "policy"
	newRealm(t, s, realm, "hashAlgorithm(bcrypt) and hashIterations(10)")
	var accounts []account
	for _, a := range storedBySuperTokens(t) {
		if a.Name == "bcrypt-2b-10" || a.Name == "bcrypt-2y-12" || a.Name == "argon2i" {
			accounts = append(accounts, a)
		}
	}
	accounts = append(accounts, account{Name: "new", Password: "correct horse 1", Hash: accounts[0].Hash})
	partialImport(t, s, realm, accounts)

	reset := map[string]any{"type": "password", "value": "correct horse 1"}
	if err := s.Admin(t.Context(), http.MethodPut, "/realms/"+realm+"/users/"+id(realm, "new")+"/reset-password", reset, nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if accepts(t, s, realm, a.Name, "x"+a.Password) {
			t.Errorf("%s: wrong password was accepted", a.Name)
		}
		if !accepts(t, s, realm, a.Name, a.Password) {
			t.Errorf("%s: right password was refused", a.Name)
		}
		got := storedPassword(t, s, realm, id(realm, a.Name))
		if got.Algorithm != provider.ID || got.Cost != 10 {
			t.Errorf("%s: stored as %s with cost %d, want %s with 10", a.Name, got.Algorithm, got.Cost, provider.ID)
		}
		if !accepts(t, s, realm, a.Name, a.Password) {
			t.Errorf("%s: right password was refused the second time", a.Name)
		}
	}
}

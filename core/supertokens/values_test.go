package supertokens

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stetl/stetl/core/canonical"
)

// cases are small inputs, each with a fault of its own.
const cases = "testdata/cases"

func caseSQL(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(cases, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestResidueOfTheVendorsScript: what SuperTokens' own script from MySQL to PostgreSQL
// leaves is reported, and the word NULL is nobody's address.
func TestResidueOfTheVendorsScript(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-10.1.4", caseSQL(t, "s2-vendor-mysql-script-residue.sql"))
	users, findings := read(t, Options{URL: canonical.NewSecret(dsn)})
	for _, u := range users {
		for _, l := range u.Logins {
			if l.Email != nil && *l.Email == "NULL" || l.Phone != nil && *l.Phone == "NULL" {
				t.Errorf("login %s has a contact that is the word NULL", l.ID)
			}
		}
		if u.ExternalIDInfo != nil && *u.ExternalIDInfo == "NULL" {
			t.Errorf("account %s has a note that is the word NULL", u.ID)
		}
	}
	for _, code := range []string{WarnPlaceholder, WarnMetadataEscaped} {
		if f := finding(findings, code); f.Count == 0 {
			t.Errorf("%s is missing from %v", code, findings)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "  ": true, "NULL": true, "null": true, `\N`: true, "\u00a0": true, "None": true, "(null)": true,
		"null@example.com": false, "+1": false, "N": false,
	} {
		if got := isPlaceholder(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestLoneSurrogates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"a":"\ud83d\ude00"}`: false, `{"a":"\ud83d"}`: true, `{"a":"\ude00"}`: true, `{"a":"\ud83d x"}`: true, `{"a":"\\ud83d"}`: false,
		`{"a":"\ud83d\ud83d\ude00"}`: true, `{"a":"\u00e9"}`: false, `{}`: false, `"\`: false, `"\ud8`: false, `{"\uD83D":1}`: true,
	} {
		if got := hasLoneSurrogate([]byte(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// TestIDsSharedByTwo: an external id that is another user's internal id. Each table has
// its own rule whose row it is.
func TestIDsSharedByTwo(t *testing.T) {
	t.Parallel()
	const (
		a = "1253d773-8f36-4a0b-89ed-bc450e966ef2"
		b = "14be7b66-9313-4afc-af73-ebcbf7f96d69"
		c = "1898426d-4780-42e6-ad20-153b7c641716"
		d = "210fe96d-42ca-4caf-a3e9-a987cc1581fd"
	)
	dsn := twist(t, "core-7.0.18", caseSQL(t, "s1-shared-id.sql"))
	for _, size := range []int{0, 1} {
		users, _ := read(t, Options{URL: canonical.NewSecret(dsn), RangeSize: size})
		for id, want := range map[string][]string{a: nil, b: {"B-phone"}, c: nil, d: {"D-phone"}} {
			var got []string
			for _, device := range users[id].TOTPDevices {
				got = append(got, device.Name)
			}
			if !slices.Equal(got, want) {
				t.Errorf("ranges of %d: authenticators of %s are %v, want %v", size, id, got, want)
			}
		}
		if !users[a].LastActive.IsZero() || users[b].LastActive.UnixMilli() != 1700000000000 {
			t.Errorf("ranges of %d: last active %v and %v", size, users[a].LastActive, users[b].LastActive)
		}
	}
}

// TestLeftUnderInternalID: what a core does not see is not taken, and roles never are.
func TestLeftUnderInternalID(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	dsn := twist(t, "core-10.1.4", `
INSERT INTO user_metadata (app_id, user_id, user_metadata) VALUES ('public', '`+ids[0]+`', '{"left":true}');
INSERT INTO user_roles (app_id, tenant_id, user_id, role) SELECT 'public', 'public', '`+ids[0]+`', role FROM roles WHERE app_id = 'public' LIMIT 1;
INSERT INTO totp_users (app_id, user_id) VALUES ('public', '`+ids[0]+`');
INSERT INTO totp_user_devices (app_id, user_id, device_name, secret_key, period, skew, verified) VALUES ('public', '`+ids[0]+`', 'old', 'AAAA', 30, 1, true);
INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) VALUES ('public', '`+ids[0]+`', 'forced');`)
	for _, take := range []bool{false, true} {
		users, findings := read(t, Options{URL: canonical.NewSecret(dsn), TakeLeft: take})
		u := users[ids[0]]
		if got := u.Metadata != nil; got != take {
			t.Errorf("take %t: metadata %s", take, u.Metadata)
		}
		if got := len(u.TOTPDevices) == 1; got != take {
			t.Errorf("take %t: authenticators %v", take, len(u.TOTPDevices))
		}
		if len(u.Roles) != 0 {
			t.Errorf("take %t: roles %v, which the core says the account has not", take, u.Roles)
		}
		for _, code := range []string{WarnForcedMapping, WarnTOTPUnderInternalID} {
			if f := finding(findings, code); !slices.Contains(f.Examples, ids[0]) {
				t.Errorf("take %t: %s is missing: %+v", take, code, f)
			}
		}
	}
}

package supertokens

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
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

// TestNothingWhereSomethingIsDue: NULL and an empty text in a tenant, a role, a hash, an
// identity or a secret are reported, and never taken for something else.
func TestNothingWhereSomethingIsDue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fixture      string
		table        TableName
		column, says string
		holds        func(*canonical.User) int
	}{
		{"core-10.1.4", UserIndex, "tenant_id", "a tenant", func(u *canonical.User) (n int) {
			for _, l := range u.Logins {
				n += len(l.Tenants)
			}
			return n
		}},
		{"modelled-12.0-migrated", RecipeUserTenants, "tenant_id", "a tenant", func(u *canonical.User) (n int) {
			for _, l := range u.Logins {
				n += len(l.Tenants)
			}
			return n
		}},
		{"core-10.1.4", UserRoles, "tenant_id", "a tenant", func(u *canonical.User) int { return len(u.Roles) }},
		{"core-10.1.4", UserRoles, "role", "a role", func(u *canonical.User) int { return len(u.Roles) }},
		{"core-5.0.0", UserRoles, "role", "a role", func(u *canonical.User) int { return len(u.Roles) }},
		{"core-3.3.0", EmailPasswordUsers, "password_hash", "a password hash", func(u *canonical.User) (n int) {
			for _, l := range u.Logins {
				n += count01(!l.Password.IsZero())
			}
			return n
		}},
		{"core-9.3.0", ThirdPartyUsers, "third_party_user_id", "a provider", func(u *canonical.User) (n int) {
			for _, l := range u.Logins {
				n += count01(l.Identity != nil)
			}
			return n
		}},
		{"core-9.3.0", TOTPDevices, "secret_key", "the secret", func(u *canonical.User) int { return len(u.TOTPDevices) }},
	} {
		for _, stored := range [][]byte{nil, {}} {
			read := func(m memory) (held, reported int) {
				s, err := openIn(t.Context(), &m, Options{AcceptIncomplete: GapCodes()})
				if err != nil {
					t.Fatalf("%s.%s: %v", tt.table, tt.column, err)
				}
				err = s.Read(t.Context(), func(b Batch) error {
					for i := range b.Users {
						held += tt.holds(&b.Users[i])
						for _, w := range b.Users[i].Warnings {
							reported += count01(w.Code == WarnNothingStored && strings.Contains(w.Detail, tt.says))
						}
					}
					return nil
				})
				if err := errors.Join(err, s.Close()); err != nil {
					t.Fatalf("%s.%s: %v", tt.table, tt.column, err)
				}
				return held, reported
			}
			m := *inMemory(t, tt.fixture)
			if held, reported := read(m); held == 0 || reported != 0 {
				t.Errorf("%s of %s: as it is, %d are held and %d reported", tt.table, tt.fixture, held, reported)
			}
			m.rows = maps.Clone(m.rows)
			for _, r := range m.of.tables {
				if at := slices.Index(r.columns, tt.column); r.name == string(tt.table) && at >= 0 {
					rows := slices.Clone(m.rows[r])
					for i := range rows {
						rows[i] = slices.Clone(rows[i])
						rows[i][at] = stored
					}
					m.rows[r] = rows
				}
			}
			if held, reported := read(m); held != 0 || reported == 0 {
				t.Errorf("%s.%s of %s is %q: %d are held and %d reported", tt.table, tt.column, tt.fixture, stored, held, reported)
			}
		}
	}
}

// TestTenantCalledNone is one like any other: words are not taken for nothing here.
func TestTenantCalledNone(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-10.1.4", `SET session_replication_role = replica; UPDATE all_auth_recipe_users SET tenant_id = 'none' WHERE tenant_id = 'public' AND app_id = 'public'; UPDATE user_roles SET role = 'NULL' WHERE role = (SELECT min(role) FROM user_roles)`)
	users, findings := read(t, Options{URL: canonical.NewSecret(dsn), AcceptIncomplete: GapCodes()})
	roles := 0
	for _, u := range users {
		roles += len(u.Roles)
		for _, l := range u.Logins {
			if slices.Contains(l.Tenants, defaultName) {
				t.Errorf("login %s is in %v", l.ID, l.Tenants)
			}
		}
	}
	if f := finding(findings, WarnNothingStored); roles == 0 || f.Count != 0 {
		t.Errorf("%d accounts with roles, %+v", roles, f)
	}
}

// TestOddValues: each of these came out without a word.
func TestOddValues(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	dsn := twist(t, "core-10.1.4", `
SET session_replication_role = replica;
DELETE FROM webauthn_credentials WHERE app_id = 'public';
UPDATE emailpassword_users SET email = ' ' || email WHERE user_id = '`+ids[0]+`';
INSERT INTO user_metadata (app_id, user_id, user_metadata) VALUES ('public', '`+ids[0]+`', ' [1, 2]');
ALTER TABLE userid_mapping DROP CONSTRAINT userid_mapping_external_user_id_key CASCADE;
INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) VALUES ('public', '`+ids[1]+`', 'twin'), ('public', '`+ids[2]+`', 'twin');`)
	_, findings := read(t, Options{URL: canonical.NewSecret(dsn)})
	for code, example := range map[string]string{
		WarnNoPasskey: "", WarnBlankEmail: ids[0], WarnMetadataInvalid: ids[0], WarnDuplicateExternalID: min(ids[1], ids[2]),
	} {
		f := finding(findings, code)
		if f.Count == 0 || example != "" && !slices.Equal(f.Examples, []string{example}) {
			t.Errorf("%s: %+v", code, f)
		}
	}
}

// TestLinkingDiffers: the two tables that say which account a login is of contradict each
// other.
func TestLinkingDiffers(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	dsn := twist(t, "core-10.1.4", `
SET session_replication_role = replica;
UPDATE all_auth_recipe_users SET primary_or_recipe_user_id = '`+ids[1]+`' WHERE user_id = '`+ids[0]+`';`)
	if _, findings := read(t, Options{URL: canonical.NewSecret(dsn)}); !slices.Equal(finding(findings, WarnLinkingDiffers).Examples, []string{ids[0]}) {
		t.Errorf("%+v", findings)
	}
	if _, findings := read(t, Options{Dump: fixture.Dump(t, "core-10.1.4")}); finding(findings, WarnLinkingDiffers).Count > 0 {
		t.Error("tables that a core has made differ")
	}
}

// TestLettersOfEitherCase: addresses in a type that takes letter case for nothing are read
// as any text.
func TestLettersOfEitherCase(t *testing.T) {
	t.Parallel()
	path := fixture.Dump(t, "core-10.1.4")
	want, _ := read(t, Options{Dump: path})
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(raw), "email character varying(256)", "email public.citext")
	path = filepath.Join(t.TempDir(), "citext.sql")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil || changed == string(raw) {
		t.Fatal("nothing was changed", err)
	}
	if got, _ := read(t, Options{Dump: path}); len(got) != len(want) {
		t.Errorf("%d accounts, want %d", len(got), len(want))
	}
}

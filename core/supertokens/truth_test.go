package supertokens

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

const fixtures = "../../testdata/supertokens"

// truth is what was done to a fixture, recorded independently of any reader.
type truth struct {
	Generation Generation `json:"generation"`
	Layout     struct {
		Schema  string            `json:"schema"`
		Prefix  string            `json:"tablePrefix"`
		Renamed map[string]string `json:"renamedTables"`
	} `json:"layout"`
	Apps []struct {
		AppID string              `json:"appId"`
		Roles map[string][]string `json:"roles"`
	} `json:"apps"`
	Accounts []map[string]any `json:"accounts"`
	Warnings []map[string]any `json:"warnings"`
}

func readTruth(t *testing.T, name string) truth {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtures, name+".truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	return parseTruth(t, raw)
}

func parseTruth(t *testing.T, raw []byte) truth {
	t.Helper()
	var tr truth
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// truthKeys are the keys of an account that an extractor answers for; the
// others say how a fixture was made.
var (
	truthKeys      = []string{"appId", "internalId", "visibleId", "externalIdInfo", "isPrimary", "ghostPrimary", "timeJoinedMs", "loginMethods", "metadata", "roles", "totpDevices", "lastActiveMs"}
	truthLoginKeys = []string{"recipe", "recipeUserId", "visibleRecipeUserId", "email", "verified", "phone", "thirdParty", "timeJoinedMs", "tenants", "passwordHash", "passwordFormat", "webauthn"}
	truthTOTPKeys  = []string{"name", "secret", "period", "skew", "verified", "createdMs"}
)

func keep(m map[string]any, keys []string) map[string]any {
	out := map[string]any{}
	for _, k := range keys {
		if v, ok := m[k]; ok && v != nil {
			out[k] = v
		}
	}
	return out
}

func objects(v any, keys []string, order func(map[string]any) string) []any {
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		out = append(out, keep(m, keys))
	}
	slices.SortFunc(out, func(a, b map[string]any) int { return cmp.Compare(order(a), order(b)) })
	back := make([]any, len(out))
	for i := range out {
		back[i] = out[i]
	}
	return back
}

func normal(account map[string]any) map[string]any {
	a := keep(account, truthKeys)
	a["loginMethods"] = objects(a["loginMethods"], truthLoginKeys, func(m map[string]any) string {
		s, _ := m["recipeUserId"].(string)
		return s
	})
	a["totpDevices"] = objects(a["totpDevices"], truthTOTPKeys, func(m map[string]any) string {
		s, _ := m["name"].(string)
		return s
	})
	for _, l := range a["loginMethods"].([]any) {
		if w, ok := l.(map[string]any)["webauthn"].(map[string]any); ok {
			creds, _ := w["credentials"].([]any)
			w["credentials"] = objects(creds, []string{"credentialId", "counter", "transports", "publicKeyBlobHex"}, func(m map[string]any) string {
				s, _ := m["credentialId"].(string)
				return s
			})
		}
	}
	return a
}

// export reads a whole app in the export format, with secrets.
func export(t *testing.T, o Options) (lines []string, users []canonical.User, s *Source, orphans []Orphan) {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	lines, users, orphans = readAll(t, s)
	return lines, users, s, orphans
}

func readAll(t *testing.T, s *Source) (lines []string, users []canonical.User, orphans []Orphan) {
	t.Helper()
	err := s.Read(t.Context(), func(b Batch) error {
		orphans = append(orphans, b.Orphans...)
		for i := range b.Users {
			line, err := b.Users[i].RevealJSON()
			if err != nil {
				return err
			}
			lines = append(lines, string(line))
			users = append(users, b.Users[i])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, users, orphans
}

func checkTruth(t *testing.T, tr truth, options func() Options) {
	t.Helper()
	for _, app := range tr.Apps {
		o := options()
		o.App = app.AppID
		lines, _, s, _ := export(t, o)
		if got := s.Layout().Generation; !strings.HasPrefix(got.String(), tr.Generation.String()) {
			t.Errorf("generation %s, want %s", got, tr.Generation)
		}
		renamed := map[string]string{} // the truth names the core's settings
		for setting, name := range tr.Layout.Renamed {
			renamed[strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(setting, "postgresql_"), "mysql_"), "_table_name")] = name
		}
		if diff := gocmp.Diff(renamed, s.Layout().Renamed); diff != "" {
			t.Errorf("renamed tables (-want +got):\n%s", diff)
		}
		roles := map[string][]string{}
		for _, r := range s.Roles() {
			if r.App != app.AppID {
				t.Errorf("app %s: role %s is of app %s", app.AppID, r.Name, r.App)
			}
			roles[r.Name] = r.Permissions
		}
		if diff := gocmp.Diff(app.Roles, roles, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("app %s: permissions of roles (-want +got):\n%s", app.AppID, diff)
		}
		want := map[string]map[string]any{}
		for _, a := range tr.Accounts {
			if a["appId"] == app.AppID {
				want[a["internalId"].(string)] = normal(a)
			}
		}
		got := map[string]map[string]any{}
		for _, line := range lines {
			var a map[string]any
			dec := json.NewDecoder(strings.NewReader(line))
			dec.UseNumber()
			if err := dec.Decode(&a); err != nil {
				t.Fatal(err)
			}
			got[a["internalId"].(string)] = normal(a)
		}
		for _, id := range slices.Sorted(maps.Keys(want)) {
			if diff := gocmp.Diff(want[id], got[id]); diff != "" {
				t.Errorf("app %s account %s (-want +got):\n%s", app.AppID, id, diff)
			}
		}
		for id := range got {
			if want[id] == nil {
				t.Errorf("app %s: account %s is not in the truth", app.AppID, id)
			}
		}
	}
}

func TestLiveEqualsTruth(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			for _, size := range []int{0, 7} { // one range, and many that split linked accounts
				checkTruth(t, readTruth(t, name), func() Options {
					return Options{URL: canonical.NewSecret(dsn), RangeSize: size}
				})
			}
		})
	}
}

// accountCodes are the warnings of the truth that belong to one account.
var accountCodes = []string{
	WarnFakeEmail, WarnMixedCaseEmail, WarnForcedMapping, WarnGhostPrimary, WarnNoTenant, WarnStaleVerified,
	WarnVerifiedCaseMismatch, WarnPasswordlessUnverified, WarnTemporaryPassword, WarnSeveralPasswords, WarnFirebaseHash,
	WarnDoubleEncoded, WarnDanglingRole, WarnTOTPUnverified, WarnTOTPUnderInternalID, WarnRowsUnderLinkedMethod,
}

func TestWarningsEqualTruth(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			checkWarnings(t, readTruth(t, name), func() Options { return Options{URL: canonical.NewSecret(dsn)} })
		})
	}
}

func checkWarnings(t *testing.T, tr truth, options func() Options) {
	t.Helper()
	for _, app := range tr.Apps {
		o := options()
		o.App, o.RangeSize, o.Audit = app.AppID, 7, true
		_, users, s, orphans := export(t, o)
		findings := review(t, s, users, orphans)
		got, want := map[string][]string{}, map[string][]string{}
		for _, u := range users {
			for _, w := range u.Warnings {
				if slices.Contains(accountCodes, w.Code) {
					got[w.Code] = append(got[w.Code], u.InternalID)
				}
			}
		}
		for _, o := range orphans {
			got[WarnOrphanRow] = append(got[WarnOrphanRow], o.Table+" "+o.ID)
		}
		for _, w := range tr.Warnings {
			code := w["code"].(string)
			switch {
			case w["appId"] != app.AppID:
			case slices.Contains(accountCodes, code):
				want[code] = append(want[code], w["internalId"].(string))
			case code == WarnOrphanRow:
				want[code] = append(want[code], w["table"].(string)+" "+w["userId"].(string))
			default:
				if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Code == code }) {
					t.Errorf("app %s: finding %s is missing: %v", app.AppID, code, w)
				}
			}
		}
		for _, m := range []map[string][]string{got, want} {
			for code := range m {
				slices.Sort(m[code])
				m[code] = slices.Compact(m[code])
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("app %s: warnings (-want +got):\n%s", app.AppID, diff)
		}
	}
}

func TestDumpEqualsTruth(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{0, 7} {
				checkTruth(t, readTruth(t, name), func() Options {
					return Options{Dump: fixture.Dump(t, name), RangeSize: size}
				})
			}
		})
	}
}

// TestSourcesGiveTheSameBytes holds for every way to read the same database.
func TestSourcesGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			for _, app := range readTruth(t, name).Apps {
				variants := map[string]Options{
					"live":            {URL: canonical.NewSecret(dsn)},
					"live, 7 a range": {URL: canonical.NewSecret(dsn), RangeSize: 7},
					"plain":           {Dump: fixture.Dump(t, name)},
					"plain, 5":        {Dump: fixture.Dump(t, name), RangeSize: 5},
				}
				if custom := filepath.Join(fixtures, name+".dump"); exists(custom) {
					variants["custom"] = Options{Dump: custom, RangeSize: 11}
				}
				var want []string
				for _, variant := range slices.Sorted(maps.Keys(variants)) {
					o := variants[variant]
					o.App, o.Audit = app.AppID, true
					lines, users, _, orphans := export(t, o)
					for _, u := range users {
						for _, w := range u.Warnings {
							lines = append(lines, u.InternalID+" "+w.Code+" "+w.Detail)
						}
					}
					found := []string{}
					for _, o := range orphans {
						found = append(found, "orphan "+o.Table+" "+o.ID)
					}
					slices.Sort(found)
					lines = append(lines, found...)
					if want == nil {
						want = lines
					}
					if diff := gocmp.Diff(want, lines); diff != "" {
						t.Errorf("app %s, %s (-first +this):\n%s", app.AppID, variant, diff)
					}
				}
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

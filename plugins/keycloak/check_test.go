package keycloak

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	all := sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt, sdk.Argon2i}, Providers: []string{"google", "github"}, Users: 10}
	tests := []struct {
		name   string
		change func(f *fake, c *Config)
		needs  sdk.Needs
		want   []string
	}{
		{"all is well", func(f *fake, _ *Config) { f.providers = []string{"google", "github"} }, all, nil},
		{"all is well behind a lightweight token", func(f *fake, _ *Config) { f.tokenRoles = nil }, sdk.Needs{}, nil},
		{"no bcrypt", func(f *fake, _ *Config) { f.hashing = []string{"argon2"} }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}}, []string{"error keycloak.bcrypt_provider_missing"}},
		{"no bcrypt needed", func(f *fake, _ *Config) { f.hashing = []string{"argon2"} }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Argon2id}}, nil},
		{"bcrypt by another spelling", func(f *fake, _ *Config) { f.hashing = []string{"BCrypt"} }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}}, []string{"error keycloak.bcrypt_provider_missing"}},
		{"no argon2", func(f *fake, _ *Config) { f.hashing = []string{"bcrypt"} }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Argon2d}}, []string{"error keycloak.argon2_missing"}},
		{"wrong secret", func(_ *fake, c *Config) { c.ClientSecret = secretOf("x") }, all, []string{"error keycloak.login_refused"}},
		{"unknown realm to sign in to", func(_ *fake, c *Config) { c.AuthRealm = "nope" }, all, []string{"error keycloak.realm_missing"}},
		{"unknown realm", func(_ *fake, c *Config) { c.AuthRealm, c.Realm = "customers", "nope" }, all, []string{"error keycloak.realm_missing"}},
		{"no roles", func(f *fake, _ *Config) { f.tokenRoles = []string{"view-realm"} }, sdk.Needs{}, []string{"error keycloak.role_missing", "error keycloak.role_missing", "warning keycloak.role_missing"}},
		{"may not make groups", func(f *fake, _ *Config) { f.tokenRoles = []string{"manage-realm", "view-users"} }, sdk.Needs{}, []string{"warning keycloak.role_missing"}},
		{"need not make groups", func(f *fake, c *Config) {
			f.tokenRoles, c.Tenants = []string{"manage-realm", "view-users"}, "none"
		}, sdk.Needs{}, nil},
		{"realm cannot be read", func(f *fake, _ *Config) { f.tokenRoles = nil; delete(f.realm, "defaultRole") }, sdk.Needs{}, []string{"error keycloak.role_missing"}},
		{"users cannot be read", func(f *fake, _ *Config) { f.tokenRoles = nil; existing(f); f.listsNobody = true }, sdk.Needs{}, []string{"error keycloak.role_missing"}},
		{"may not make a client to prove passwords with", func(f *fake, _ *Config) { f.tokenRoles = []string{"manage-realm", "manage-users", "view-users"} }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}}, []string{"warning target.login_unavailable"}},
		{"old server", func(f *fake, _ *Config) { f.version = "22.0.5" }, sdk.Needs{}, []string{"error keycloak.too_old"}},
		{"untested server", func(f *fake, _ *Config) { f.version = "25.0.6" }, sdk.Needs{}, []string{"warning keycloak.untested_version"}},
		{"version hidden", func(f *fake, _ *Config) { f.version = "" }, sdk.Needs{}, nil},
		{"missing provider", func(f *fake, c *Config) {
			f.providers = []string{"g"}
			c.IdentityProviders = map[string]string{"google": "g"}
		}, all, []string{"warning keycloak.identity_provider_missing"}},
		{"provider switched off", func(f *fake, _ *Config) { f.providers = []string{"google", "github off"} }, all, []string{"warning keycloak.identity_provider_missing"}},
		{"hidden attributes", func(f *fake, _ *Config) { delete(f.profile, "unmanagedAttributePolicy") }, sdk.Needs{}, []string{"warning keycloak.attributes_hidden"}},
		{"attributes that administrators only see", func(f *fake, _ *Config) { f.profile["unmanagedAttributePolicy"] = "ADMIN_VIEW" }, sdk.Needs{}, []string{"warning keycloak.attributes_fixed"}},
		{"attributes for nobody and for their owners", func(f *fake, _ *Config) {
			f.profile["attributes"] = []any{
				map[string]any{"name": "username"},
				map[string]any{"name": "metadata.plan", "permissions": map[string]any{"view": []string{"user"}, "edit": []string{"user"}}},
				map[string]any{"name": "phoneNumber", "permissions": map[string]any{"view": []string{"admin"}, "edit": []string{"user"}}},
				map[string]any{"name": "shoe", "permissions": map[string]any{"view": []string{"user"}, "edit": []string{"user"}}},
			}
		}, sdk.Needs{MetadataKeys: []string{"plan"}}, []string{"warning keycloak.attributes_fixed", "warning keycloak.attributes_hidden"}},
		{"required by scope", func(f *fake, _ *Config) {
			f.profile["attributes"] = []any{map[string]any{"name": "lastName", "required": map[string]any{"scopes": []string{"billing"}}}}
		}, sdk.Needs{}, []string{"warning keycloak.profile_required"}},
		{"required names", func(f *fake, _ *Config) { requireNames(f) }, sdk.Needs{}, []string{"warning keycloak.profile_required"}},
		{"required names that nobody verifies", func(f *fake, _ *Config) { requireNames(f); f.verifyProfile = false }, sdk.Needs{}, nil},
		{"password policy", func(f *fake, _ *Config) {
			f.realm["passwordPolicy"] = "length(8) and forceExpiredPasswordChange(365) and hashAlgorithm(scrypt)"
		}, sdk.Needs{}, []string{"error keycloak.policy_algorithm_missing", "warning keycloak.password_expiry"}},
		{"harmless policy", func(f *fake, _ *Config) { f.realm["passwordPolicy"] = "hashAlgorithm(argon2) and length(8)" }, sdk.Needs{}, nil},
		{"locked for good", func(f *fake, _ *Config) {
			f.realm["bruteForceProtected"], f.realm["permanentLockout"], f.realm["failureFactor"] = true, true, 3
		}, sdk.Needs{}, []string{"warning keycloak.permanent_lockout"}},
		{"locked for a time", func(f *fake, _ *Config) { f.realm["bruteForceProtected"] = true }, sdk.Needs{}, nil},
		{"no sign-in by address", func(f *fake, _ *Config) { f.realm["loginWithEmailAllowed"] = false }, sdk.Needs{}, []string{"warning keycloak.email_login_off"}},
		{"shared addresses", func(f *fake, _ *Config) { f.realm["duplicateEmailsAllowed"] = true }, sdk.Needs{}, []string{"warning keycloak.duplicate_emails"}},
		{"a directory that is down", func(f *fake, _ *Config) { f.ldap, f.ldapIsDown = staff(), true }, sdk.Needs{}, []string{"error keycloak.federation_unreachable"}},
		{"a directory", func(f *fake, _ *Config) { f.ldap = staff() }, sdk.Needs{}, nil},
		{"small heap", func(f *fake, _ *Config) { f.heap = 400 << 20 }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Argon2id}}, []string{"warning keycloak.heap_small"}},
		{"small heap and no argon2", func(f *fake, _ *Config) { f.heap = 400 << 20 }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}}, nil},
		{"large heap", func(f *fake, _ *Config) { f.heap = 1 << 30 }, sdk.Needs{Schemes: []sdk.Scheme{sdk.Argon2id}}, nil},
		{"not a Keycloak", func(f *fake, _ *Config) {
			f.before = func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<html>hello</html>"))
				return true
			}
		}, sdk.Needs{}, []string{"error keycloak.unreachable"}},
		{"redirect", func(f *fake, _ *Config) {
			f.before = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "https://elsewhere.example", http.StatusMovedPermanently)
				return true
			}
		}, sdk.Needs{}, []string{"error keycloak.unreachable"}},
		{"nobody listens", func(f *fake, _ *Config) { f.Close() }, sdk.Needs{}, []string{"error keycloak.unreachable"}},
		{"parts cannot be read", func(f *fake, _ *Config) {
			f.before = func(w http.ResponseWriter, r *http.Request) bool {
				for _, part := range []string{"/serverinfo", "/profile", "/instances", "/components"} {
					if strings.HasSuffix(r.URL.Path, part) {
						refuse(w, http.StatusForbidden, "HTTP 403 Forbidden")
						return true
					}
				}
				return false
			}
		}, all, slices.Repeat([]string{"warning keycloak.check_incomplete"}, 4)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			c := f.config()
			tt.change(f, &c)
			list := open(t, c).Check(t.Context(), tt.needs)
			if d := cmp.Diff(tt.want, codes(list)); d != "" {
				t.Errorf("%s\n%+v", d, list)
			}
			for _, d := range list {
				if d.Summary == "" || d.Hint == "" {
					t.Errorf("%s tells nothing to do", d.Code)
				}
			}
			if got := f.mutations(); len(got) > 0 {
				t.Errorf("check wrote: %v", got)
			}
		})
	}
}

// A realm that verifies addresses mails people at their first sign-in.
func TestCheckSaysWhomTheRealmMails(t *testing.T) {
	t.Parallel()
	for verify, want := range map[bool][]sdk.Mailing{false: nil, true: {sdk.MailsUnverified}} {
		f := newFake(t)
		f.realm["verifyEmail"] = verify
		target := open(t, f.config())
		target.Check(t.Context(), sdk.Needs{})
		if d := cmp.Diff(want, target.Mails()); d != "" {
			t.Errorf("a realm with verifyEmail %v (-want +got):\n%s", verify, d)
		}
	}
}

// The realm stores names in lower case, so those that differ in case alone are one.
func TestNamesThatDifferInCaseAreOne(t *testing.T) {
	t.Parallel()
	caps := capabilities(Config{}.withDefaults())
	one := func(u sdk.User) *representation {
		r, _ := mapper{}.user(&u)
		return r
	}
	a, b := one(sdk.User{SourceID: "1", ID: "x", Username: "Ada", Email: "A@example.org"}), one(sdk.User{SourceID: "2", ID: "X", Username: "ada", Email: "a@Example.org"})
	if (a.Username == b.Username) != caps.Folds(sdk.IdentifierUsername) || (a.Email == b.Email) != caps.Folds(sdk.IdentifierEmail) || (a.ID == b.ID) != caps.Folds(sdk.IdentifierID) {
		t.Errorf("%+v and %+v are not what %v declares", a, b, caps.FoldsCase)
	}
}

func TestBcryptRemedy(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.hashing = nil
	list := open(t, f.config()).Check(t.Context(), sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}})
	want := `run "stetl plugin assets keycloak --out DIR" and copy the jar into the server's providers/ folder, then restart (or kc.sh build)`
	if len(list) != 1 || list[0].Hint != want {
		t.Errorf("%+v", list)
	}
}

func requireNames(f *fake) {
	f.profile["attributes"] = []any{
		map[string]any{"name": "username"},
		map[string]any{"name": "email", "required": map[string]any{"roles": []string{"user"}}},
		map[string]any{"name": "firstName", "required": map[string]any{}},
		map[string]any{"name": "lastName", "required": map[string]any{"roles": []string{"admin"}}},
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]int{
		"http://sso.example.com": 1, "https://sso.example.com": 0, "http://127.0.0.1:1": 0, "http://localhost": 0, "http://[::1]:8080": 0,
	} {
		var l sdk.Diagnostics
		(&preflight{config: Config{URL: address, Realm: "customers"}}).checkAddress(&l)
		if len(l) != want {
			t.Errorf("%s: %v", address, codes(l))
		}
	}
	var l sdk.Diagnostics
	(&preflight{config: Config{URL: "https://h", Realm: "master"}}).checkAddress(&l)
	if d := cmp.Diff([]string{"error keycloak.master_realm"}, codes(l)); d != "" {
		t.Error(d)
	}
}

package keycloak

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk/plugintest"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	live := func(more string) string {
		return `{"realm":"customers","url":"https://sso.example.com/","client_id":"loader","client_secret":"s3cr3t-canary"` + more + `}`
	}
	tests := []struct {
		name, config string
		want         []string // code and path
	}{
		{"live", live(""), nil},
		{"all of live", live(`,"mode":"live","auth_realm":"master","timeout":"90s","identity_providers":{"a":"b"},"tenants":"none","batch_size":50`), nil},
		{"files", `{"mode":"files","realm":"customers","out":"x"}`, nil},
		{"nothing", `{}`, []string{"config.missing_field /realm"}},
		{"live without address and client", `{"realm":"customers"}`, []string{"config.missing_field /client_id", "config.missing_field /client_secret", "config.missing_field /url"}},
		{"files without folder", `{"mode":"files","realm":"customers"}`, []string{"config.missing_field /out"}},
		{"unknown field", live(`,"relam":"x"`), []string{"config.unknown_field /relam"}},
		{"mode", live(`,"mode":"lve"`), []string{"config.invalid_value /mode"}},
		{"tenants", live(`,"tenants":"realms"`), []string{"config.invalid_value /tenants"}},
		{"batch", live(`,"batch_size":501`), []string{"config.invalid_value /batch_size"}},
		{"negative batch", live(`,"batch_size":-1`), []string{"config.invalid_value /batch_size"}},
		{"timeout", live(`,"timeout":"soon"`), []string{"config.invalid_value /timeout"}},
		{"short timeout", live(`,"timeout":"10ms"`), []string{"config.invalid_value /timeout"}},
		{"empty alias", live(`,"identity_providers":{"a/b":""}`), []string{"config.invalid_value /identity_providers/a~1b"}},
		{"realm with a slash", `{"mode":"files","realm":"../x","out":"y"}`, []string{"config.invalid_value /realm"}},
	}
	for _, address := range []string{
		"sso.example.com", "ftp://h", "https://", "https://user:s3cr3t-canary@h", "https://h?x=1", "https://h/realms/x", "https://h/admin/", "https://h/#x", "://",
	} {
		tests = append(tests, struct {
			name, config string
			want         []string
		}{"url " + address, strings.Replace(live(""), "https://sso.example.com/", address, 1), []string{"config.invalid_value /url"}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := plugintest.Connect(t, Plugin())
			list, err := c.Configure(t.Context(), []byte(tt.config), "stetl/test")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range list {
				got = append(got, fmt.Sprintf("%s %s", d.Code, d.Path))
				if strings.Contains(fmt.Sprintf("%+v", d), "s3cr3t-canary") {
					t.Errorf("%s shows the secret", d.Code)
				}
			}
			slices.Sort(got)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCapabilitiesFollowConfiguration(t *testing.T) {
	t.Parallel()
	c := plugintest.Serve(t, Plugin(), map[string]any{"mode": "files", "realm": "customers", "out": t.TempDir(), "tenants": "none"})
	caps := c.Capabilities()
	if caps.Batch.InFlight != 1 || caps.Batch.Users != defaultFile {
		t.Errorf("files: %+v", caps.Batch)
	}
	if caps.Has("tenants") || !caps.Has("roles") {
		t.Errorf("carries %v", caps.Carries)
	}
	if c.Info.Capabilities.MaxIDLength != 36 || !c.Info.Capabilities.Has("tenants") {
		t.Errorf("by default: %+v", c.Info.Capabilities)
	}
}

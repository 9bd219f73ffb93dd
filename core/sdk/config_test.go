package sdk

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

var update = flag.Bool("update", false, "rewrite golden files")

type exampleConfig struct {
	Mode    string            `json:"mode" enum:"live,files" default:"live" jsonschema:"where users go"`
	URL     string            `json:"url" title:"Address" example:"https://acme.example" jsonschema:"base URL of the tenant"`
	Token   Secret            `json:"token" jsonschema:"management API token"`
	Timeout Duration          `json:"timeout" default:"30s" jsonschema:"per request"`
	Retries int               `json:"retries" default:"3" example:"5"`
	Realm   string            `json:"realm,omitempty"`
	Roles   []string          `json:"roles,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Auth    authConfig        `json:"auth,omitzero"`
	Proxy   *proxyConfig      `json:"proxy,omitempty"`
	common
	hidden int //nolint:unused // must not appear
	Skip   int `json:"-"`
}

type authConfig struct {
	Type   string `json:"type" enum:"basic,bearer" default:"bearer"`
	Secret Secret `json:"secret,omitzero"`
}

type proxyConfig struct {
	URL string `json:"url"`
}

type common struct {
	Dry bool `json:"dry" default:"true"`
}

func exampleType(t *testing.T) *configType {
	t.Helper()
	c, err := newConfigType(reflect.TypeFor[exampleConfig]())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	var pretty strings.Builder
	enc := json.NewEncoder(&pretty)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(json.RawMessage(exampleType(t).schema)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/schema.json"
	if *update {
		if err := os.WriteFile(golden, []byte(pretty.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("run go test -update if this is meant:\n%s", diff)
	}
}

func TestConfigProposal(t *testing.T) {
	t.Parallel()
	text := func(s string) json.RawMessage { return json.RawMessage(strconv.Quote(s)) }
	want := []pluginapi.ConfigField{
		{Key: "mode", Description: "where users go", Default: text("live")},
		{Key: "url", Title: "Address", Description: "base URL of the tenant", Example: text("https://acme.example"), Required: true},
		{Key: "token", Description: "management API token", Required: true, Secret: true},
		{Key: "timeout", Description: "per request", Default: text("30s")},
		{Key: "retries", Default: json.RawMessage("3"), Example: json.RawMessage("5")},
		{Key: "realm"},
		{Key: "roles"},
		{Key: "labels"},
		{Key: "auth.type", Default: text("bearer")},
		{Key: "auth.secret", Secret: true},
		{Key: "proxy.url"},
		{Key: "dry", Default: json.RawMessage("true")},
	}
	if diff := cmp.Diff(want, exampleType(t).proposal()); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

func TestConfigDecode(t *testing.T) {
	t.Parallel()
	reveal := cmp.Transformer("reveal", Secret.Reveal)
	for name, tc := range map[string]struct {
		in   string
		want exampleConfig
	}{
		"defaults": {
			`{"url": "https://x", "token": "t"}`,
			exampleConfig{
				Mode: "live", URL: "https://x", Token: NewSecret("t"), Timeout: Duration{30 * time.Second}, Retries: 3,
				Auth: authConfig{Type: "bearer"}, common: common{Dry: true},
			},
		},
		"everything": {
			`{"mode": "files", "url": "u", "token": "t", "timeout": "1m30s", "retries": 0, "realm": "r", "roles": ["a"], "labels": {"k": "v"},
			  "auth": {"type": "basic", "secret": "s"}, "proxy": {"url": "p"}, "dry": false}`,
			exampleConfig{
				Mode: "files", URL: "u", Token: NewSecret("t"), Timeout: Duration{90 * time.Second}, Realm: "r", Roles: []string{"a"},
				Labels: map[string]string{"k": "v"}, Auth: authConfig{Type: "basic", Secret: NewSecret("s")}, Proxy: &proxyConfig{URL: "p"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got exampleConfig
			if list := exampleType(t).decode([]byte(tc.in), &got); len(list) > 0 {
				t.Fatal(list.Err())
			}
			if diff := cmp.Diff(tc.want, got, reveal, cmp.AllowUnexported(exampleConfig{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	const minimal = `"url": "u", "token": "t"`
	for name, tc := range map[string]struct {
		in   string
		want diag.List
	}{
		"not JSON": {`{`, diag.List{{Code: diag.ConfigSyntax, Summary: "the configuration is not JSON: unexpected EOF"}}},
		"not an object": {
			`[]`,
			diag.List{{Code: diag.ConfigWrongType, Summary: "the configuration must be object, not array"}},
		},
		"all at once": {
			`{"relm": "x", "retries": "many", "mode": "ftp"}`,
			diag.List{
				{Code: diag.ConfigMissingField, Path: "/token", Summary: `"token" is missing`, Hint: "management API token"},
				{Code: diag.ConfigMissingField, Path: "/url", Summary: `"url" is missing`, Hint: "base URL of the tenant"},
				{Code: diag.ConfigInvalidValue, Path: "/mode", Summary: `"mode" must be one of: live, files`},
				{Code: diag.ConfigUnknownField, Path: "/relm", Summary: `"relm" is not a field here`, Hint: `did you mean "realm"?`},
				{Code: diag.ConfigWrongType, Path: "/retries", Summary: `"retries" must be integer, not string`},
			},
		},
		"empty text":      {`{"url": "", "token": "t"}`, diag.List{{Code: diag.ConfigMissingField, Path: "/url", Summary: `"url" is empty`, Hint: "base URL of the tenant"}}},
		"empty secret":    {`{"url": "u", "token": ""}`, diag.List{{Code: diag.ConfigMissingField, Path: "/token", Summary: `"token" is empty`, Hint: "management API token"}}},
		"numeric secret":  {`{"url": "u", "token": 12345}`, diag.List{{Code: diag.ConfigWrongType, Path: "/token", Summary: `"token" must be string, not number`}}},
		"duration":        {`{` + minimal + `, "timeout": "soon"}`, diag.List{{Code: diag.ConfigInvalidValue, Path: "/timeout", Summary: `"timeout" is not a duration`, Hint: "write it like 90s or 1m30s"}}},
		"nested unknown":  {`{` + minimal + `, "auth": {"typ": "basic"}}`, diag.List{{Code: diag.ConfigUnknownField, Path: "/auth/typ", Summary: `"typ" is not a field here`, Hint: `did you mean "type"?`}}},
		"nested missing":  {`{` + minimal + `, "proxy": {}}`, diag.List{{Code: diag.ConfigMissingField, Path: "/proxy/url", Summary: `"url" is missing`}}},
		"pointer escapes": {`{` + minimal + `, "a/b~c": 1}`, diag.List{{Code: diag.ConfigUnknownField, Path: "/a~1b~0c", Summary: `"a/b~c" is not a field here`}}},
		"in a list":       {`{` + minimal + `, "roles": ["a", 1]}`, diag.List{{Code: diag.ConfigWrongType, Path: "/roles/1", Summary: `"1" must be string, not number`}}},
		"in a map":        {`{` + minimal + `, "labels": {"k": 1}}`, diag.List{{Code: diag.ConfigWrongType, Path: "/labels/k", Summary: `"k" must be string, not number`}}},
		"too large":       {`{` + minimal + `, "retries": 99999999999999999999}`, diag.List{{Code: diag.ConfigInvalidValue, Path: "/retries", Summary: `"retries" does not fit into its type int`}}},
		"case matters":    {`{` + minimal + `, "Retries": 1}`, diag.List{{Code: diag.ConfigUnknownField, Path: "/Retries", Summary: `"Retries" is not a field here`, Hint: `did you mean "retries"?`}}},
		"skipped":         {`{` + minimal + `, "Skip": 1}`, diag.List{{Code: diag.ConfigUnknownField, Path: "/Skip", Summary: `"Skip" is not a field here`}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c exampleConfig
			got := exampleType(t).decode([]byte(tc.in), &c)
			got.Sort()
			tc.want.Sort()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigTypesRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typ  reflect.Type
		want string
	}{
		"not a struct":       {reflect.TypeFor[string](), "is not a struct"},
		"time.Duration":      {reflect.TypeFor[struct{ T time.Duration }](), "field T: use sdk.Duration"},
		"deep time.Duration": {reflect.TypeFor[struct{ T map[string][]*time.Duration }](), "use sdk.Duration"},
		"channel":            {reflect.TypeFor[struct{ C chan int }](), "infer configuration schema"},
		"default of no value": {reflect.TypeFor[struct {
			N int `default:"many"`
		}](), `field N: default "many"`},
		"default of a secret": {reflect.TypeFor[struct {
			S Secret `default:"\"s\""`
		}](), "a secret cannot have a default"},
		"example of no value": {reflect.TypeFor[struct {
			N int `example:"many"`
		}](), `field N: example "many"`},
		"example of a secret": {reflect.TypeFor[struct {
			S Secret `example:"s"`
		}](), "example"},
		"default in a list": {reflect.TypeFor[struct{ L []authConfig }](), "a default cannot be set below a pointer"},
		"enum of numbers": {reflect.TypeFor[struct {
			N int `enum:"1,2"`
		}](), "an enum tag needs a text"},
		"default not in enum": {reflect.TypeFor[struct {
			M string `enum:"a,b" default:"c"`
		}](), `default "c" is not among a,b`},
		"embedded as pointer": {reflect.TypeFor[struct{ *common }](), "embed the struct itself"},
		"empty description": {reflect.TypeFor[struct {
			S string `jsonschema:""`
		}](), "empty jsonschema tag"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newConfigType(tc.typ)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

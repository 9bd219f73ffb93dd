package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
)

const eachTenant = `source: {dump: a.sql}
targets:
  for_each: tenant
  exclude: [public]
  plugin: keycloak
  config:
    url: https://id.example.com
    realm: "t-{tenant}"
    client_id: "{{{tenant}}}"
    client_secret: "${env:CLIENT_SECRET}"
    auth: {type: bearer, token: "${env:CLIENT_SECRET}"}
    identity_providers: {google: "google-{tenant}", github: hub}
  overrides:
    acme:
      config: {realm: acme-inc, identity_providers: {google: null, apple: "{tenant}"}}
`

// inBraces replaces {tenant} as the templates of the mapping do.
func inBraces(tenant string) func(text, path string) string {
	return func(text, _ string) string {
		return strings.NewReplacer("{{", "{", "}}", "}", "{tenant}", tenant).Replace(text)
	}
}

func loadTargets(t *testing.T, text string) *Config {
	t.Helper()
	cfg, list := problems(text, pluginSchema(t))
	if list.HasErrors() {
		t.Fatalf("unexpected problems:\n%s", render(t, list))
	}
	return cfg
}

// Every tenant has a configuration of its own, made of the common one, its templates and what
// is different for it; what a reference stands for is no template.
func TestTargetOfEachTenant(t *testing.T) {
	t.Parallel()
	cfg := loadTargets(t, strings.ReplaceAll(eachTenant, "hub}", `"${env:YAMLISH}-{tenant}"}`))
	for name, want := range map[string]string{
		"globex": `{"auth":{"token":"cAnArY-7f3a","type":"bearer"},"client_id":"{globex}","client_secret":"cAnArY-7f3a",` +
			`"identity_providers":{"github":"a: [b] # ${env:DB}\n-globex","google":"google-globex"},"realm":"t-globex","url":"https://id.example.com"}`,
		"acme": `{"auth":{"token":"cAnArY-7f3a","type":"bearer"},"client_id":"{acme}","client_secret":"cAnArY-7f3a",` +
			`"identity_providers":{"apple":"acme","github":"a: [b] # ${env:DB}\n-acme"},"realm":"acme-inc","url":"https://id.example.com"}`,
	} {
		target := cfg.Targets.Target(name, inBraces(name))
		if list := target.Validate(pluginSchema(t)); list.HasErrors() {
			t.Fatalf("%s:\n%s", name, render(t, list))
		}
		if d := cmp.Diff(want, string(target.RevealJSON())); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, d)
		}
		if plain := string(target.PlainJSON()); strings.Contains(plain, canary) {
			t.Errorf("%s: a secret is plain: %s", name, plain)
		}
	}
	for name, want := range map[string]bool{"public": false, "acme": true, "anything": true} {
		if got := cfg.Targets.Has(name); got != want {
			t.Errorf("Has(%s) = %v", name, got)
		}
	}
}

// What is wrong with a target points at where the value was written, also where that is an
// override.
func TestTargetProblemsHaveAPlace(t *testing.T) {
	t.Parallel()
	cfg := loadTargets(t, strings.ReplaceAll(eachTenant, "realm: acme-inc", "realm: 7, relam: x, client_secret: hunter2"))
	target := cfg.Targets.Target("acme", inBraces("acme"))
	got := render(t, target.Validate(pluginSchema(t)))
	want := `stetl.yaml:15:23: error[config.wrong_type]: targets.config.realm must be a string, not a number
   15 |       config: {realm: 7, relam: x, client_secret: ‹secret›, identity_providers: {google: null, apple: "{tenant}"}}
      |                       ^ write it in quotes
stetl.yaml:15:26: error[config.unknown_field]: "relam" is not a field of targets.config
   15 |       config: {realm: 7, relam: x, client_secret: ‹secret›, identity_providers: {google: null, apple: "{tenant}"}}
      |                          ^^^^^
      = available: mode, out, pattern, port, scopes, verify
stetl.yaml:15:51: error[config.secret_literal]: targets.config.client_secret is a secret and must not be here in clear text
   15 |       config: {realm: 7, relam: x, client_secret: ‹secret›, identity_providers: {google: null, apple: "{tenant}"}}
      |                                                   ^^^^^^^^ refer to it: ${env:NAME} or ${file:PATH}
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
	located := target.Locate(diag.List{{Code: "keycloak.x", Summary: "no such realm", Path: "/realm"}, {Code: "keycloak.y", Summary: "refused", Path: "/url"}})
	if located[0].Pos.Line != 15 || located[1].Pos.Line != 7 || located[0].Path != "/targets/config/realm" {
		t.Errorf("located at %v and %v, path %s", located[0].Pos, located[1].Pos, located[0].Path)
	}
}

// The targets of a list are as they are written: braces are braces.
func TestTargetsOfAList(t *testing.T) {
	t.Parallel()
	cfg := loadTargets(t, `source: {dump: a.sql}
targets:
  - leave_out: [old]
  - name: north
    tenants: [north, west]
    plugin: keycloak
    config: {mode: files, realm: "{tenant}", out: north}
  - {name: all, plugin: other, path: ./other}
`)
	want := []Listed{{Name: "north", Tenants: []string{"north", "west"}, at: 1}, {Name: "all", at: 2}}
	if d := cmp.Diff(want, cfg.Targets.Listed, cmp.AllowUnexported(Listed{})); d != "" || !slices.Equal(cfg.Targets.LeaveOut, []string{"old"}) {
		t.Errorf("left out %v; differs (-want +got):\n%s", cfg.Targets.LeaveOut, d)
	}
	north, all := cfg.Targets.Target("north", nil), cfg.Targets.Target("all", nil)
	if got := string(north.RevealJSON()); got != `{"mode":"files","out":"north","realm":"{tenant}"}` {
		t.Errorf("north is %s", got)
	}
	if all.Plugin != "other" || all.Path != "other" || string(all.RevealJSON()) != "{}" || all.PluginPath() != "/targets/2/plugin" {
		t.Errorf("all is %s at %s, %s", all.Plugin, all.Path, all.PluginPath())
	}
	if got := cfg.Targets.Plugins(); !slices.Equal(got, []string{"keycloak", "other"}) {
		t.Errorf("plugins are %v", got)
	}
	var places []string
	cfg.Targets.Places(func(tenant, path string) { places = append(places, tenant+path) })
	if want := []string{"old/targets/0/leave_out/0", "north/targets/1/tenants/0", "west/targets/1/tenants/1"}; !slices.Equal(places, want) {
		t.Errorf("places are %v", places)
	}
}

// A value of one target does not show in another one.
func TestTargetsAreCopies(t *testing.T) {
	t.Parallel()
	cfg := loadTargets(t, eachTenant)
	one, two := cfg.Targets.Target("one", inBraces("one")), cfg.Targets.Target("two", inBraces("two"))
	for _, target := range []*Target{&one, &two} {
		if list := target.Validate(pluginSchema(t)); list.HasErrors() {
			t.Fatal(render(t, list))
		}
	}
	raw, err := cfg.ForTarget(one).Target.MarshalJSON()
	if err != nil || !strings.Contains(string(raw), `"realm":"t-one"`) || strings.Contains(string(raw), canary) {
		t.Errorf("shown as %s, %v", raw, err)
	}
	if cfg.Target.Plugin != "" || !strings.Contains(string(two.PlainJSON()), "t-two") {
		t.Error("targets share their state")
	}
}

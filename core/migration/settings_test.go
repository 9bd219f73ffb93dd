package migration

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/plugin"
)

func configured(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stetl.yaml")
	if err := os.WriteFile(path, []byte("source: {dump: ./x.sql}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load(path, config.Env{Lookup: func(string) (string, bool) { return "from the environment", true }})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Target.Validate([]byte(`{"type":"object","properties":{"out":{"type":"string"},"token":{"type":"string","writeOnly":true}}}`))
	return cfg
}

// The settings of a run are what decides what an account becomes, and nothing else: a
// change of anything else must not have every account compared anew.
func TestSettings(t *testing.T) {
	t.Parallel()
	const target = "target: {plugin: acme, config: {out: ./a}}\n"
	named := func(version string) (info plugin.Info) {
		info.Name, info.Version = "acme", version
		return info
	}
	info := named("1")
	usual := settings(configured(t, target), info)
	for name, tc := range map[string]struct {
		text  string
		info  plugin.Info
		other bool
	}{
		"the same":               {target, info, false},
		"another journal":        {target + "journal: ./elsewhere\n", info, false},
		"what to do about drift": {target + "policies: {drift: overwrite}\n", info, false},
		"limits":                 {target + "limits: {updates: 5}\n", info, false},
		"examples of a mapping":  {target + "mapping: {tests: [{name: x, account: {}, want: {}}]}\n", info, false},
		"a secret":               {"target: {plugin: acme, config: {out: ./a, token: '${env:TOKEN}'}}\n", info, false},
		"another target":         {"target: {plugin: acme, config: {out: ./b}}\n", info, true},
		"another version":        {target, named("2"), true},
		"who may be adopted":     {target + "policies: {existing: adopt}\n", info, true},
		"who wins a collision":   {target + "policies: {collision: {email: reject}}\n", info, true},
		"what hashes may be":     {target + "policies: {password: reject}\n", info, true},
		"a filter":               {target + "mapping: {filter: 'true'}\n", info, true},
		"a rule":                 {target + "mapping: {set: {email: {cel: email}}}\n", info, true},
	} {
		if got := settings(configured(t, tc.text), tc.info); bytes.Equal(got, usual) == tc.other {
			t.Errorf("%s: other settings %v, want %v", name, !tc.other, tc.other)
		}
	}
}

// A target keeps its part of the journal when only settings change that do not say
// which one it is.
func TestScopeName(t *testing.T) {
	t.Parallel()
	cfg := configured(t, "target: {plugin: acme, config: {out: ./a, realm: r, domain: T.Example.com, url: 'https://t.example.com:443/api/', token: '${env:TOKEN}'}}\n")
	for _, tc := range []struct {
		identity []string
		want     string
	}{
		{[]string{"realm"}, `acme {"realm":"r"}`},
		{[]string{"realm", "absent"}, `acme {"realm":"r"}`},
		{[]string{"realm", "mode=live"}, `acme {"mode":"live","realm":"r"}`},
		{[]string{"realm=s"}, `acme {"realm":"r"}`},
		{[]string{"host:audience|domain"}, `acme {"audience|domain":"t.example.com"}`},
		{[]string{"host:url|domain"}, `acme {"url|domain":"t.example.com"}`},
		{[]string{"host:domain"}, `acme {"domain":"t.example.com"}`},
	} {
		if got, err := scopeName(cfg, tc.identity); err != nil || got != tc.want {
			t.Errorf("%v: %s, %v", tc.identity, got, err)
		}
	}
	all, err := scopeName(cfg, nil)
	if err != nil || all == `acme {"realm":"r"}` || bytes.Contains([]byte(all), []byte("from the environment")) {
		t.Errorf("%s, %v", all, err)
	}
}

// Each of these may decide which accounts a source has: of a run with another one, nobody
// knows whether somebody has gone or is not looked for.
func TestReadingSettings(t *testing.T) {
	t.Parallel()
	const rest = "target: {plugin: acme, config: {out: ./a}}\n"
	usual := readingSettings(&Config{Config: configured(t, rest)})
	if !bytes.Equal(usual, readingSettings(&Config{Config: configured(t, rest+"mapping: {set: {given_name: {constant: A}}}\nlimits: {gone: 5}\n")})) {
		t.Error("how accounts are mapped is no choice of them")
	}
	for name, change := range map[string]func(*config.Config){
		"app":                    func(c *config.Config) { c.Source.App = "shop" },
		"schema":                 func(c *config.Config) { c.Source.Schema = "people" },
		"prefix":                 func(c *config.Config) { auth := "auth"; c.Source.TablePrefix = &auth },
		"names of tables":        func(c *config.Config) { c.Source.Tables = map[string]string{"apps": "all_apps"} },
		"migration mode":         func(c *config.Config) { c.Source.MigrationMode = "MIGRATED" },
		"left under internal id": func(c *config.Config) { c.Source.LeftUnderInternalID = "take" },
		"filter":                 func(c *config.Config) { c.Mapping = []byte(`{"filter":"true"}`) },
	} {
		c := configured(t, rest)
		change(c)
		if bytes.Equal(usual, readingSettings(&Config{Config: c})) {
			t.Errorf("another %s is the same reading", name)
		}
	}
}

package migration

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/supertokens"
)

// Config is a configuration file, read. It keeps its problems, so that whoever goes on
// to open what it names can report all of them at once.
type Config struct {
	*config.Config
	problems diag.List
	// share is what the target gets of the source; nil where it is the only one. See ForTarget.
	share *share
}

// Load reads the file at path, and judges it as far as that takes no plugin.
func Load(path string, env config.Env) *Config {
	cfg, problems := config.Load(path, env)
	problems.Add(cfg.CheckTables(supertokens.RenamableTables())...)
	translateSettings(problems)
	problems.Add(checkAddresses(cfg)...)
	if cfg.Targets.Set {
		_, found := newNaming(cfg)
		problems.Add(found...)
	}
	return &Config{Config: cfg, problems: problems}
}

// Err returns the problems that [Load] has found.
func (c *Config) Err() error { return c.problems.Err() }

// SourceError says of an error of the source which line of the configuration it is
// about.
func (c *Config) SourceError(err error) error { return RefusedError{sourceError(c.Config, err)} }

// maxShown is how much of a setting a header has room for.
const maxShown = 120

// TargetText names the plugin and the texts in its configuration, such as address and
// realm, on one line. What is secret is left out.
func (c *Config) TargetText() string {
	shown, err := json.Marshal(c.Target)
	var target struct {
		Config map[string]any `json:"config"`
	}
	if err != nil || json.Unmarshal(shown, &target) != nil {
		return c.Target.Plugin
	}
	var settings []string
	for _, key := range slices.Sorted(maps.Keys(target.Config)) {
		if v, ok := target.Config[key].(string); ok && v != canonical.Redacted {
			text := []rune(diag.Printable(v))
			if len(text) > maxShown {
				text = append(text[:maxShown], '…')
			}
			settings = append(settings, key+" "+string(text))
		}
	}
	if len(settings) == 0 {
		return c.Target.Plugin
	}
	return c.Target.Plugin + " (" + strings.Join(settings, ", ") + ")"
}

// translateSettings says of fields that are SuperTokens' own settings what they are
// called here.
func translateSettings(problems diag.List) {
	for i, d := range problems {
		if d.Code != diag.ConfigUnknownField && d.Code != diag.ConfigUnknownTable {
			continue
		}
		steps := diag.Steps(d.Path)
		if len(steps) == 0 || len(steps) > 1 && steps[0] != "source" { // at the top, too: pasted without the section
			continue
		}
		if hint := supertokens.SettingHint(steps[len(steps)-1]); hint != "" {
			problems[i].Hint, problems[i].Detail = hint, ""
		}
	}
}

// checkAddresses looks at the addresses of databases without connecting.
func checkAddresses(cfg *config.Config) diag.List {
	var found diag.List
	check := func(path string, err error) {
		for _, problem := range parts(err) {
			d := diag.Diagnostic{Code: diag.ConfigInvalidValue, Summary: problem.Error(), Path: path}
			if p, ok := errors.AsType[supertokens.URLProblem](problem); ok {
				d.Summary, d.Hint = p.What, p.Cure
			}
			found.Add(d)
		}
	}
	if url := cfg.Source.URL; !url.IsZero() {
		check("/source/url", supertokens.CheckURL(url))
		check("/source/schema", supertokens.CheckSchema(url, cfg.Source.Schema))
	}
	if url := cfg.Bridge.Database; !url.IsZero() {
		check("/bridge/database", supertokens.CheckURL(url))
		if source := cfg.Source.URL; !source.IsZero() && supertokens.IsMySQL(source) != supertokens.IsMySQL(url) {
			found.Add(diag.Diagnostic{Code: diag.ConfigInvalidValue, Summary: "source.url and bridge.database are of two kinds of databases", Path: "/bridge/database", Hint: "name the same database, with a role of its own"})
		}
		check("/source/schema", supertokens.CheckSchema(url, cfg.Source.Schema))
	}
	located := cfg.Locate(found)
	located.Sort()
	return located
}

// parts gives what a joined error holds.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

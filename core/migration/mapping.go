package migration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/plugin"
)

// compileMapping compiles the mapping section and the policies that belong to it.
// Problems have their place in the file.
func compileMapping(cfg *config.Config) (*mapping.Rules, diag.List) {
	spec, err := mappingSpec(cfg)
	if err != nil {
		return nil, nil // the schema has said why
	}
	compile := mapping.Compile
	if cfg.Targets.Set {
		compile = mapping.CompileForTargets
	}
	rules, found := compile(spec, cfg.Policies)
	for i := range found {
		found[i].Path = "/mapping" + found[i].Path
	}
	return rules, cfg.Locate(found)
}

func mappingSpec(cfg *config.Config) (mapping.Spec, error) {
	var spec mapping.Spec
	if cfg.Mapping == nil {
		return spec, nil
	}
	err := json.Unmarshal(cfg.Mapping, &spec)
	return spec, err
}

// Tried is what came of an example of the mapping.
type Tried struct {
	Name        string               `json:"name"`
	OK          bool                 `json:"ok"`
	Differences []mapping.Difference `json:"differences,omitempty"`
	Error       string               `json:"error,omitempty"`
}

// TryMapping maps the examples under mapping.tests, or those in the file if one is
// named, and compares them with what is wanted. It reads neither source nor target; of
// the plugin it asks what the target can hold.
func TryMapping(ctx context.Context, cfg *Config, file string, plugins plugin.Options) (_ []Tried, err error) {
	problems := slices.Clone(cfg.problems)
	rules, found := compileMapping(cfg.Config)
	problems.Add(found...)
	examples, err := examplesOf(cfg.Config, file)
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		problems.Sort()
		return nil, problems.Err()
	}
	if len(examples) == 0 {
		return nil, UsageError{errors.New("there are no examples: write some under mapping.tests, or name a file with --file")}
	}
	info, err := describePlugin(ctx, cfg.Config, plugins)
	if err != nil {
		return nil, err
	}
	results := make([]Tried, len(examples))
	for i, e := range examples {
		r := Tried{Name: e.Name}
		differences, err := rules.Try(e, info.Capabilities)
		if err != nil {
			r.Error = err.Error()
		}
		r.Differences, r.OK = differences, err == nil && len(differences) == 0
		results[i] = r
	}
	return results, nil
}

func examplesOf(cfg *config.Config, file string) ([]mapping.Example, error) {
	if file == "" {
		spec, err := mappingSpec(cfg)
		if err != nil {
			return nil, nil //nolint:nilerr // the schema says why
		}
		return spec.Tests, nil
	}
	raw, found := config.LoadExamples(file, config.Env{})
	if found.HasErrors() {
		return nil, found.Err()
	}
	var examples []mapping.Example
	if err := json.Unmarshal(raw, &examples); err != nil {
		return nil, UsageError{fmt.Errorf("%s: an example has name, account and want: %w", file, err)}
	}
	return examples, nil
}

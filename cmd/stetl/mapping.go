package main

import (
	"encoding/json"
	"slices"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/policy"
)

// compileMapping compiles the mapping section and the policies that belong to it.
// Problems have their place in the file.
func compileMapping(cfg *config.Config) (*mapping.Rules, diag.List) {
	spec, err := mappingSpec(cfg)
	if err != nil {
		return nil, nil // the schema has said why
	}
	rules, found := mapping.Compile(spec, cfg.Policies)
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

// mappingSettings is what of the mapping decides what an account becomes.
func mappingSettings(cfg *config.Config) []byte {
	spec, _ := mappingSpec(cfg) // checked when it was compiled
	spec.Tests = nil
	p := cfg.Policies
	if len(spec.Set) == 0 && spec.Filter == "" && p.Password+p.LongID == "" && p.Collision == (policy.Collision{}) {
		return nil // as before there were any
	}
	raw, _ := json.Marshal(struct {
		mapping.Spec
		OnHash, LongID policy.Choice
		Collision      policy.Collision
	}{spec, p.Password, p.LongID, p.Collision}) // made of text only
	return slices.Clip(raw)
}

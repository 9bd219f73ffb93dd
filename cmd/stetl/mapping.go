package main

import (
	"encoding/json"
	"slices"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/mapping"
)

// compileMapping compiles the mapping section and the policies that belong to it.
// Problems have their place in the file.
func compileMapping(cfg *config.Config) (*mapping.Rules, diag.List) {
	spec, err := mappingSpec(cfg)
	if err != nil {
		return nil, nil // the schema has said why
	}
	rules, found := mapping.Compile(spec, mapping.Policies{
		Password: mapping.Policy(cfg.Policies.Password), LongID: mapping.Policy(cfg.Policies.LongID),
	})
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
	if len(spec.Set) == 0 && spec.Filter == "" && p.Password+p.LongID == "" && p.Collision == (config.Collision{}) {
		return nil // as before there were any
	}
	raw, _ := json.Marshal(struct {
		mapping.Spec
		OnHash, LongID string
		Collision      config.Collision
	}{spec, p.Password, p.LongID, p.Collision}) // made of text only
	return slices.Clip(raw)
}

func collisionPolicies(c config.Collision) engine.Collision {
	return engine.Collision{ID: mapping.Policy(c.ID), Username: mapping.Policy(c.Username), Email: mapping.Policy(c.Email)}
}

package scim

import (
	"embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// presetFiles hold what is known of providers, as configuration.
//
//go:embed presets/*.json
var presetFiles embed.FS

// preset is the part of a configuration that a provider decides.
type preset struct {
	// Note says what an operator must know. It is shown by check.
	Note string `json:"note"`
	// Refuse says why the provider cannot be a target of this plugin.
	Refuse string `json:"refuse"`

	Config // of which withPreset takes a part
}

func presetNames() []string {
	entries, _ := presetFiles.ReadDir("presets") // embedded
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return names
}

func readPreset(name string) (p preset, ok bool) {
	if !slices.Contains(presetNames(), name) {
		return p, false
	}
	b, err := presetFiles.ReadFile("presets/" + name + ".json")
	return p, err == nil && json.Unmarshal(b, &p) == nil
}

// withPreset lets the preset speak where the configuration does not: a value that
// is absent, or the one that stands for "decide for me".
func (c Config) withPreset() Config {
	p, ok := readPreset(c.Preset)
	if !ok {
		return c
	}
	text := func(v *string, open, from string) {
		if (*v == "" || *v == open) && from != "" {
			*v = from
		}
	}
	number := func(v *int, from int) {
		if *v == 0 {
			*v = from
		}
	}
	text(&c.Bulk, auto, p.Bulk)
	text(&c.Patch, auto, p.Patch)
	text(&c.ETag, auto, p.ETag)
	text(&c.Lookup, auto, p.Lookup)
	text(&c.ContentType, auto, p.ContentType)
	text(&c.Undo, auto, p.Undo)
	text(&c.Extension.Use, auto, p.Extension.Use)
	text(&c.Extension.URN, "", p.Extension.URN)
	text(&c.Emails, "all", p.Emails)
	text(&c.EmailType, "work", p.EmailType)
	text(&c.Roles, auto, p.Roles)
	text(&c.Tenants, inExtension, p.Tenants)
	text(&c.UsersEndpoint, "", p.UsersEndpoint)
	number(&c.BulkSize, p.BulkSize)
	number(&c.Parallel, p.Parallel)
	number(&c.PageSize, p.PageSize)
	number(&c.MemberChunk, p.MemberChunk)
	if c.RateLimit == 0 {
		c.RateLimit = p.RateLimit
	}
	if c.Drop == nil {
		c.Drop = p.Drop
	}
	constants := maps.Clone(p.Constants)
	if constants == nil {
		constants = map[string]string{}
	}
	maps.Copy(constants, c.Constants)
	c.Constants = constants
	return c
}

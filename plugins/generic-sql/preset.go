package sqltarget

import (
	"embed"
	"encoding/json"
	"strings"
)

// presetFiles hold the tables of libraries, as configuration.
//
//go:embed presets/*.json
var presetFiles embed.FS

// preset is the part of a configuration that a library decides.
type preset struct {
	Tables     []Table            `json:"tables"`
	Parts      map[string][]Table `json:"parts"`
	Unique     []string           `json:"unique"`
	FoldsCase  []string           `json:"folds_case"`
	Disposable []string           `json:"disposable"`
	Sessions   []string           `json:"sessions"`
	SignIn     SignIn             `json:"sign_in"`
	SignIns    []string           `json:"sign_ins"`
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
	b, err := presetFiles.ReadFile("presets/" + name + ".json")
	if err != nil || strings.Contains(name, "/") {
		return p, false
	}
	return p, json.Unmarshal(b, &p) == nil
}

package pluginapi

import (
	"encoding/json"

	"github.com/stetl/stetl/core/diag"
)

// Description is what a plugin says about itself, whatever its configuration.
type Description struct {
	Name, Version string
	// Minor is the minor version of the protocol that the plugin speaks.
	Minor uint32
	// Capabilities are those without a configuration; abilities may be missing until
	// the plugin has one.
	Capabilities Capabilities
	// ConfigSchema is the JSON Schema of the configuration; secret fields are marked
	// writeOnly.
	ConfigSchema json.RawMessage
	// ConfigFields is what a new configuration should have, in the order in which to
	// ask for it.
	ConfigFields []ConfigField
	// Codes are the codes of the plugin's own, with what they mean.
	Codes diag.Words
}

// ConfigField proposes a field of a plugin's configuration.
type ConfigField struct {
	// Key is where it stands, with dots between the steps: "auth.token".
	Key string `json:"key"`
	// Title is a few words to ask for it with, Description one sentence.
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	// Default is what holds when it is absent, and Example a value to show, which is
	// never a secret; each as JSON, nil when there is none.
	Default  json.RawMessage `json:"default,omitempty"`
	Example  json.RawMessage `json:"example,omitempty"`
	Required bool            `json:"required"`
	// Secret says that a reference belongs there, never the value itself.
	Secret bool `json:"secret"`
}

// Proposal is what a plugin proposes for a configuration, once it has looked at the
// target.
type Proposal struct {
	// Config is a JSON object: the fields that it proposes. No secret is in it.
	Config json.RawMessage
	// Comments are sentences by the JSON pointer, in Config, of what they are about.
	Comments map[string]string
}

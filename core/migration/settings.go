package migration

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/policy"
)

// settings digests what, beside an account itself, decides what it becomes in the
// target. With others, every account is compared anew and no saved plan fits.
func settings(cfg *config.Config, info plugin.Info) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%t%s", info.Name, info.Version, cfg.Target.PlainJSON(), cfg.Policies.Adopt, mappingSettings(cfg)))
	return sum[:16]
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
	return raw
}

// scopeName names the target in the journal: by the settings that the plugin says
// identify it, or by all of them.
func scopeName(cfg *config.Config, identity []string) (string, error) {
	var all map[string]any
	if err := json.Unmarshal(cfg.Target.PlainJSON(), &all); err != nil {
		return "", fmt.Errorf("name the target: %w", err)
	}
	if len(identity) > 0 {
		all = identified(all, identity)
	}
	place, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("name the target: %w", err)
	}
	return cfg.Target.Plugin + " " + string(place), nil
}

// identified are the settings that identify a target, each spelled in one way only, see
// [pluginapi.Capabilities].
func identified(all map[string]any, identity []string) map[string]any {
	out := map[string]any{}
	for _, entry := range identity {
		entry, usual, _ := strings.Cut(entry, "=")
		keys, isHost := strings.CutPrefix(entry, "host:")
		var value any
		for key := range strings.SplitSeq(keys, "|") {
			if value = all[key]; value != nil && value != "" {
				break
			}
		}
		if text, ok := value.(string); ok && isHost {
			value = hostOf(text)
		}
		if value == nil && usual != "" {
			value = usual
		}
		if value != nil {
			out[keys] = value
		}
	}
	return out
}

// hostOf is the host of an address, or a host name, in lower case and without the port that
// goes without saying.
func hostOf(text string) string {
	_, rest, found := strings.Cut(text, "://")
	if !found {
		rest = text
	}
	host, _, _ := strings.Cut(rest, "/")
	return strings.TrimSuffix(strings.ToLower(host), ":443")
}

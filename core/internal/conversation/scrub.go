package conversation

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
)

// scrubber replaces the secrets of a configuration. Types keep secrets out of
// text on our side of the protocol; a plugin may be written in any language.
type scrubber struct {
	replace *strings.Replacer
	// long are those that nobody says by accident.
	long []string
}

// shortestSecret keeps a secret of a few letters from turning every message
// into noise. Nothing that short protects anything.
const shortestSecret = 4

// newScrubber knows the values that schema marks writeOnly in config.
func newScrubber(schema, config []byte) *scrubber {
	var pairs []string
	for _, secret := range secretsIn(schema, config) {
		pairs = append(pairs, secret, canonical.Redacted)
	}
	return &scrubber{strings.NewReplacer(pairs...), Secrets(schema, config)}
}

// secretsIn are the values that schema marks writeOnly in config, the longest first: one may
// be the beginning of another.
func secretsIn(schema, config []byte) []string {
	var root, value any
	if json.Unmarshal(schema, &root) != nil || json.Unmarshal(config, &value) != nil {
		return nil
	}
	w := &secretWalk{root: root}
	w.visit(root, value, false, 0)
	slices.SortFunc(w.found, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return w.found
}

// Secrets are those of a configuration that are long enough for nobody to say them by
// accident.
func Secrets(schema, config []byte) []string {
	return slices.DeleteFunc(secretsIn(schema, config), func(secret string) bool { return len(secret) < seed })
}

// scrub returns text without secrets, and whether it held one.
func (s *scrubber) scrub(text string) (scrubbed string, leaked bool) {
	if s == nil {
		return text, false
	}
	said := func(secret string) bool { return strings.Contains(text, secret) }
	return s.replace.Replace(text), slices.ContainsFunc(s.long, said)
}

// secretWalk follows the parts of JSON Schema that lead from a value to its
// parts. Unlike a validator it takes every branch: too many secrets is the
// harmless mistake.
type secretWalk struct {
	root  any
	found []string
}

const deepest = 64

func (w *secretWalk) visit(schema, value any, secret bool, depth int) {
	node, ok := schema.(map[string]any)
	if !ok || depth > deepest {
		return
	}
	secret = secret || node["writeOnly"] == true
	if text, ok := value.(string); ok && secret && len(text) >= shortestSecret {
		w.found = append(w.found, text)
	}
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		branches, _ := node[keyword].([]any)
		for _, branch := range branches {
			w.visit(branch, value, secret, depth+1)
		}
	}
	for _, keyword := range []string{"if", "then", "else"} {
		w.visit(node[keyword], value, secret, depth+1)
	}
	if ref, ok := node["$ref"].(string); ok {
		w.visit(w.resolve(ref), value, secret, depth+1)
	}
	switch value := value.(type) {
	case map[string]any:
		properties, _ := node["properties"].(map[string]any)
		for key, part := range value {
			if sub, ok := properties[key]; ok {
				w.visit(sub, part, secret, depth+1)
			} else {
				w.visit(node["additionalProperties"], part, secret, depth+1)
			}
		}
	case []any:
		for _, part := range value {
			w.visit(node["items"], part, secret, depth+1)
		}
	}
}

// resolve finds a reference inside the same document, nil for any other.
func (w *secretWalk) resolve(ref string) any {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	at := w.root
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		node, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = node[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return at
}

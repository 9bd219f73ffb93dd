package pluginapi

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func text(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// between is what stands between two texts.
func between(t *testing.T, s, from, to string) string {
	t.Helper()
	_, s, ok := strings.Cut(s, from)
	s, _, end := strings.Cut(s, to)
	if !ok || !end {
		t.Fatalf("there is nothing between %q and %q", from, to)
	}
	return s
}

func quoted(s, pattern string) (names []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(s, -1) {
		names = append(names, m[1])
	}
	return names
}

// The protocol's own words list every feature.
func TestProtocolListsEveryFeature(t *testing.T) {
	t.Parallel()
	comment := between(t, text(t, "../pluginpb/proto/stetl/plugin/v1/capability.proto"), "What else survives:", "repeated string carries")
	said := quoted(comment, `"([a-z_]+)"`)
	for _, f := range Features() {
		if !slices.Contains(said, string(f)) {
			t.Errorf("capability.proto does not say that there is %q", f)
		}
	}
}

// The contract has a line for each feature, with the fields that it stands for.
func TestContractListsEveryFeature(t *testing.T) {
	t.Parallel()
	page := between(t, text(t, "../../docs/wire-contract.md"), "## What a target carries", "Fields of a feature")
	lines := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (.*) \\|$").FindAllStringSubmatch(page, -1) {
		lines[m[1]] = m[2]
	}
	for _, f := range fields {
		name := f.Name
		if f.Kind == Object {
			name += "_json" // as the message has it
		}
		if f.Feature != "" && !slices.Contains(quoted(lines[string(f.Feature)], "`([a-z_]+)`"), name) {
			t.Errorf("docs/wire-contract.md does not say that %s is of the feature %q", name, f.Feature)
		}
	}
	if len(lines) != len(Features()) {
		t.Errorf("docs/wire-contract.md has %d features, there are %d", len(lines), len(Features()))
	}
}

// The page about mapping lists what rules can set, and what they can read.
func TestMappingPageListsEveryField(t *testing.T) {
	t.Parallel()
	page := text(t, "../../docs/mapping.md")
	settable := quoted(between(t, page, "A rule sets one field of the target:", "`null` removes"), "`([a-z_]+)`")
	readable := quoted(between(t, page, "They can read the fields above and", "Password hashes and secrets"), "`([a-z_]+)`")
	for _, f := range fields {
		if got := slices.Contains(settable, f.Name); got != (f.Rules == Settable) {
			t.Errorf("docs/mapping.md says that rules can set %s: %v", f.Name, got)
		}
		if got := slices.Contains(readable, f.Name); f.Rules == Readable && !got {
			t.Errorf("docs/mapping.md does not say that rules can read %s", f.Name)
		}
	}
}

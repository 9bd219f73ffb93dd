package conformance

import (
	"slices"
	"testing"

	"github.com/stetl/stetl/core/pluginapi"
)

// Every field is tried on every plugin that declares it, or is named here.
func TestCrowdHasEveryField(t *testing.T) {
	t.Parallel()
	untried := []string{
		"identities", "roles", // a target may not know the provider or the role
		"last_active",                 // no target is asked to hold it
		"existing", "prior", "expect", // rules set them
	}
	hash := []pluginapi.HashSupport{{Scheme: "bcrypt"}}
	k := &kit{watch: &watch{}, caps: pluginapi.Capabilities{Hashes: hash, Carries: pluginapi.Features()}}
	all := k.crowd(6)
	k.caps.Carries = nil
	bare := k.crowd(6)
	for _, f := range pluginapi.Fields() {
		has := func(u pluginapi.User) bool { return !f.Empty(&u) }
		if tried := slices.ContainsFunc(all, has); tried == slices.Contains(untried, f.Name) {
			t.Errorf("%s is tried: %v", f.Name, tried)
		}
		if f.Feature != "" && f.Feature != pluginapi.CarriesID && slices.ContainsFunc(bare, has) {
			t.Errorf("%s is sent to a plugin that does not declare %s", f.Name, f.Feature)
		}
	}
}

package migration

import (
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

// A code that no account is ever rejected with is a mistake in policies.skip: whoever waits
// for it would find accounts rejected that were to be skipped.
func TestUnknownReasons(t *testing.T) {
	t.Parallel()
	info := plugin.Info{Description: pluginapi.Description{Name: "acme", Minor: 1, Codes: diag.Words{{Code: "acme.quota", Meaning: "m", Remedy: "r"}}}}
	skip := []diag.Code{diag.LoadEmailMissing, "acme.quota", "acme.qouta", "load.emial_missing"}
	got := unknownReasons(skip, info)
	if len(got) != 2 || got[0].Path != "/policies/skip/2" || got[1].Path != "/policies/skip/3" {
		t.Errorf("%v", got)
	}
	info.Minor, info.Codes = 0, nil
	if got = unknownReasons(skip, info); len(got) != 1 || got[0].Path != "/policies/skip/3" {
		t.Errorf("of a plugin that cannot say which codes it has: %v", got)
	}
}

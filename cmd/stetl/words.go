package main

import (
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
)

// explained is what is known of a code without a configuration: those of the core, of
// findings, and of the bundled plugins.
func explained(name string) (report.Code, bool) {
	code := diag.Code(name)
	if info, ok := supertokens.Findings().Lookup(code); ok { // also those of the core
		return report.Code{Info: info}, true
	}
	for _, plugin := range bundledNames() {
		if info, ok := bundledPlugins()[plugin].codes.Lookup(code); ok {
			return report.Code{Info: info, Of: plugin}, true
		}
	}
	return report.Code{}, false
}

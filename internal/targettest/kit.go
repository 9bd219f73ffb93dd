package targettest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
)

// WantTried fails the test where a rule was broken, or where one of these was skipped.
func WantTried(tb testing.TB, report conformance.Report, rules ...string) {
	tb.Helper()
	for _, r := range report.Results {
		if r.Status == conformance.Failed {
			tb.Errorf("%s: %s\n  %s", r.Rule, r.Promise, strings.Join(r.Problems, "\n  "))
		}
		if i := slices.Index(rules, r.Rule); i >= 0 {
			rules = slices.Delete(slices.Clone(rules), i, i+1)
			if r.Status == conformance.Skipped {
				tb.Errorf("%s was not tried: %s", r.Rule, r.Reason)
			}
		}
	}
	if len(rules) > 0 {
		tb.Errorf("there are no such rules: %q", rules)
	}
}

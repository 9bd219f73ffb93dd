package report

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// The last lines say what came of it, why the exit code is what it is, and what to do next.
func TestEnding(t *testing.T) {
	t.Parallel()
	refused := func(code diag.Code) pluginapi.Change {
		return pluginapi.Change{Outcome: pluginapi.Outcome{Action: pluginapi.Rejected, Code: code}}
	}
	for name, tt := range map[string]struct {
		run  Run
		want Ending
		text string
	}{
		"done": {
			Run{Result: &engine.Result{Summary: pluginapi.Summary{Read: 3, Created: 3}}},
			EndDone,
			"Of 3 accounts: 3 created.\nNext: stetl report --config 'my run.yaml'\n",
		},
		"nothing to do": {Run{Result: &engine.Result{Summary: pluginapi.Summary{Read: 1234, Unchanged: 1234}}}, EndDone, "Of 1,234 accounts: 1,234 unchanged.\n"},
		"rejects": {
			Run{
				Result:  &engine.Result{Summary: pluginapi.Summary{Read: 5, Created: 2, Rejected: 3}},
				Changes: []pluginapi.Change{refused(diag.LoadEmailMissing), refused(diag.MapDuplicateEmail), refused(diag.LoadEmailMissing)},
			},
			EndRejects,
			"Of 5 accounts: 2 created, 3 rejected.\nExit code 4: not everybody was loaded; most often load.email_missing (2 accounts): " +
				"give it an address, or use the target's option for such users.\nNext: stetl rejects --config 'my run.yaml'\n",
		},
		"a part is missing": {
			Run{Result: &engine.Result{Summary: pluginapi.Summary{Read: 2, Created: 2}, Incomplete: 1}},
			EndRejects,
			"Of 2 accounts: 2 created.\n1 of those that are in the target lack a part, see \"In the target, but incomplete\".\n" +
				"Exit code 4: accounts lack a part that the target did not take.\nNext: stetl report --config 'my run.yaml'\n",
		},
		"dry run, asked for changes": {
			Run{Detailed: true, Result: &engine.Result{DryRun: true, Summary: pluginapi.Summary{Read: 2, Created: 1, Rejected: 1}}, Changes: []pluginapi.Change{refused(diag.MapFailed)}},
			EndWouldChange,
			"A run would have this result for 2 accounts: 1 created, 1 rejected.\nExit code 6: something would change.\nNext: stetl run --config 'my run.yaml'\n",
		},
		"dry run, nothing but rejects": {
			Run{Detailed: true, Result: &engine.Result{DryRun: true, Summary: pluginapi.Summary{Read: 2, Unchanged: 1, Rejected: 1}}, Changes: []pluginapi.Change{refused(diag.LoadEmailConflict)}},
			EndRejects,
			"A run would have this result for 2 accounts: 1 unchanged, 1 rejected.\nExit code 4: not everybody would be loaded; most often load.email_conflict (1 account): " +
				"merge the accounts or change one of the addresses.\nNext: stetl plan --detail users --config 'my run.yaml'\n",
		},
		"dry run, nothing": {
			Run{Detailed: true, Result: &engine.Result{DryRun: true, Summary: pluginapi.Summary{Read: 1, Unchanged: 1}}}, EndDone, "A run would have this result for 1 account: 1 unchanged.\n",
		},
	} {
		tt.run.Config = "my run.yaml"
		var b sheet
		writeEnding(&b, &tt.run)
		if got := strings.TrimPrefix(b.String(), "\n"); got != tt.text || EndingOf(&tt.run) != tt.want {
			t.Errorf("%s: ending %d\n%s\nwant %d\n%s", name, EndingOf(&tt.run), got, tt.want, tt.text)
		}
	}
	stopped := Run{Err: "no", Result: &engine.Result{}}
	var b sheet
	writeEnding(&b, &stopped)
	if b.Len() > 0 {
		t.Errorf("a run that stopped early: %q, and the error comes after it", b.String())
	}
}

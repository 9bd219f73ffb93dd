package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

func TestVerificationText(t *testing.T) {
	t.Parallel()
	v := Verification{
		Source: "a.sql", Target: "keycloak",
		Result: &engine.Verification{Compared: 1200, Match: 1198, Expected: 3, Elapsed: 1234 * time.Millisecond, Differences: map[diag.Code]int{diag.VerifyMissing: 1, diag.VerifyDiffers: 1}},
		Changes: []pluginapi.Change{
			{Outcome: pluginapi.Outcome{SourceID: "b", Code: diag.VerifyMissing}},
			{Outcome: pluginapi.Outcome{SourceID: "a", Code: diag.VerifyDiffers}, Fields: []pluginapi.FieldChange{{Field: "email", Old: "x@example.com", New: "y@example.com"}}},
		},
	}
	want := `
Source   a.sql
Target   keycloak

1,200 accounts compared in 1.23s

                                accounts
  as they should be                1,198
  different                            2
  not loaded, as the runs said         3

  code            accounts  meaning
  verify.differs         1  the account is not as it should be; the fields say where
  verify.missing         1  the account should be in the target and is not

  a  verify.differs
      email: "x@example.com" in the target, should be "y@example.com"
  b  verify.missing
`
	var b strings.Builder
	if err := v.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestUndoingText(t *testing.T) {
	t.Parallel()
	u := Undoing{
		Target: "keycloak", Result: &engine.Undoing{Deleted: 1000, Restored: 2, Gone: 1, Left: 4},
		Kept: []pluginapi.Outcome{{SourceID: "a", Code: diag.LoadMoved, Detail: "somebody has changed it"}},
	}
	want := `
Target   keycloak

                   accounts
  deleted             1,000
  restored                2
  gone already            1
  kept, see below         1
  not of any run          4

  a  load.moved: somebody has changed it
`
	var b strings.Builder
	if err := u.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

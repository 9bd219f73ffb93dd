package report

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// A run whose read-back differs has come to its end.
func TestReadBackDiffersIsNoStop(t *testing.T) {
	t.Parallel()
	for failure, want := range map[string]string{
		fmt.Sprint(fmt.Errorf("%w: 1 of 4", engine.ErrDiffers)): "Done, but the target does not have all of it: 4 accounts", engine.ErrLimit.Error(): "Stopped early: 4 accounts",
	} {
		var b strings.Builder
		if err := (&Run{Err: failure, Layout: &supertokens.Layout{}, Result: &engine.Result{Summary: pluginapi.Summary{Read: 4, Created: 4}}}).WriteText(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v\n%s", failure, err, b.String())
		}
	}
}

// Nobody to compare is no success.
func TestVerificationOfNobody(t *testing.T) {
	t.Parallel()
	v := Verification{Result: &engine.Verification{Read: 3, Expected: 3}}
	var text, object strings.Builder
	if err := errors.Join(v.WriteText(&text), v.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "nothing was compared") || !strings.Contains(object.String(), `"ok":false`) {
		t.Errorf("%s\n%s", text.String(), object.String())
	}
}

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
  as they should be                     1,198
  different                                 2
  not loaded, as runs have reported         3

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
		Target: "keycloak", Result: &engine.Undoing{Deleted: 1000, Restored: 2, Gone: 1, Left: 4, Tidied: 3, Untidy: "the server is down"},
		Kept:   []pluginapi.Outcome{{SourceID: "a", Code: diag.LoadMoved, Detail: "somebody has changed it"}},
		Partly: []pluginapi.Outcome{{SourceID: "b", Losses: []pluginapi.PartLoss{{Feature: pluginapi.PartPassword, Code: diag.UndoPartLost, Detail: "is the one of the run"}}}},
	}
	want := `
Target   keycloak

                              accounts
  deleted                        1,000
  restored                           2
  of them in part, see below         1
  gone already                       1
  kept, see below                    1
  not of any run                     4

3 roles, groups and the like that runs had created, and nobody has any more, were deleted, too.

Some roles, groups and the like that runs had created are still there; another undo goes on with them: the server is down

  a  load.moved: somebody has changed it
  b  undo.part_lost: password is the one of the run
`
	var b strings.Builder
	if err := u.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

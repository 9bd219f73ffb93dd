package reconcile_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/internal/targettest"
)

// What the target has against one account costs nobody else anything; any other error is
// about all of them.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	no, down := errors.New("no"), errors.New("down")
	take := func(_ context.Context, a sdk.Account) (sdk.Outcome, error) {
		switch a.SourceID {
		case "refused":
			return sdk.Outcome{}, no
		case "down":
			return sdk.Outcome{}, down
		case "found":
			return sdk.Outcome{TargetID: "elsewhere", Action: sdk.Deleted}, nil
		}
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	}
	refused := func(err error) bool { return errors.Is(err, no) }
	b := targettest.NewBook(t)
	accounts := []sdk.Account{{SourceID: "refused", TargetID: "1"}, {SourceID: "found"}, {SourceID: "gone", TargetID: "3"}}
	if err := reconcile.TakeBack(t.Context(), 2, accounts, b, take, refused); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{"refused": "rejected load.target_refused 1", "found": "deleted elsewhere", "gone": "unchanged 3"} {
		if got := b.Of(source) + " " + b.ByID[source].TargetID; got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
	err := reconcile.TakeBack(t.Context(), 2, []sdk.Account{{SourceID: "down"}}, targettest.NewBook(t), take, refused)
	if !errors.Is(err, down) {
		t.Errorf("a target that is down: %v", err)
	}
}

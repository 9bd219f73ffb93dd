package reconcile

import (
	"cmp"
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
)

// TakeBack takes accounts back, so many at a time, and reports an outcome for each: take
// does it for one. refused says that an error is the target's word against that account,
// which is then its outcome; any other error ends the whole. take leaves SourceID empty, and
// TargetID where it is the known one.
func TakeBack(
	ctx context.Context, atOnce int, accounts []sdk.Account, out sdk.Outcomes,
	take func(context.Context, sdk.Account) (sdk.Outcome, error), refused func(error) bool,
) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, a := range accounts {
		g.Go(func() error {
			o, err := take(ctx, a)
			if err != nil && refused(err) {
				o, err = sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "delete it by hand if it is not wanted"}, nil
			}
			if err != nil {
				return err
			}
			o.SourceID, o.TargetID = a.SourceID, cmp.Or(o.TargetID, a.TargetID)
			out.Report(o)
			return nil
		})
	}
	return g.Wait()
}

// Unproven is the outcome of an undo about an account that is there, and of which nothing
// proves that a run has made it.
func Unproven(targetID string) sdk.Outcome {
	return sdk.Outcome{
		TargetID: targetID, Action: sdk.Skipped, Code: sdk.CodeUndoInDoubt, Detail: "there is such an account, but nothing proves that a run has made it",
		Hint: "check it, and delete it by hand if it is not wanted",
	}
}

package bridge

import (
	"context"
	"errors"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Target is what the bridge asks of a plugin; of a target that cannot, the calls
// fail with [errors.ErrUnsupported].
type Target interface {
	SetPassword(ctx context.Context, p pluginapi.PasswordChange) error
	StartReset(ctx context.Context, r pluginapi.Reset) (location string, err error)
	Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error)
}

// Accounts says which account of the target belongs to one of the source.
type Accounts interface {
	// TargetID returns the id in the target; false when no run has loaded the
	// account.
	TargetID(ctx context.Context, u session.User) (id string, known bool, err error)
}

// Limits of what the target is asked.
const (
	callTimeout = 30 * time.Second // of a transaction in which the target is asked
	askTimeout  = 25 * time.Second // of the target, so that its answer can be committed
	turnTimeout = 2 * time.Second  // of waiting to be allowed to ask
)

// turns bound how many transactions are open while the target is asked.
type turns chan struct{}

// errCrowded is for a target that answers too slowly for all who want it.
var errCrowded = errors.New("too many wait for the target")

// ask runs do, which asks the target inside a transaction, once few enough others
// are doing that: a slow target must not take all connections. A caller who hangs
// up must not undo half of it.
func (t turns) ask(ctx context.Context, do func(context.Context) error) error {
	turn, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	select {
	case t <- struct{}{}:
		defer func() { <-t }()
	case <-turn.Done():
		return errCrowded
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return do(ctx)
}

// busy tells whether trying again soon is all that is needed.
func busy(err error) bool { return errors.Is(err, errCrowded) || errors.Is(err, cutover.ErrBusy) }

// isBroken tells whether something that the bridge needs did not work.
func isBroken(err error) bool { return errors.As(err, new(brokenError)) }

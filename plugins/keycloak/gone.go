package keycloak

import (
	"context"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// switchOff has nobody sign in with an account any more. d is the account as it was. To
// give free what others want, it gets a name and an address that nobody has, and loses its
// identities at other providers.
func (u *undoing) switchOff(ctx context.Context, a sdk.Account, d *detail) (sdk.Outcome, error) {
	off := d.account
	off.Enabled = false
	e := &edit{api: u.api, members: u.members, view: &u.view, held: d}
	if a.Release {
		off.Username = d.ID + "@gone.invalid"
		off.Email = off.Username
		for _, l := range d.Links {
			if err := e.link(ctx, l.Alias, nil); err != nil {
				return sdk.Outcome{}, err
			}
		}
	}
	if err := e.put(ctx, off, nil); err != nil {
		return sdk.Outcome{}, err
	}
	after, err := u.reader.one(ctx, d.ID, nil, nil)
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case after == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil // somebody was faster
	case after.Enabled:
		return sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "the server has confirmed the change, but has not made it", Hint: "switch it off by hand"}, nil
	}
	last := reconcile.ParseState(a.State)
	state := last.Showing(u.view.judge.Fingerprints, u.view.held(after, reconcile.Wanted{}, last).Fields)
	return sdk.Outcome{Action: sdk.Updated, State: state, Before: []byte(text(preImage{detail: *d, Left: state}))}, nil
}

package scim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// asLeft says whether an account is as the host says, and returns it as it was. One that was
// about to be switched off, and of which no answer came, may be so already.
func (s reversal) asLeft(ctx context.Context, a sdk.Account, held resource) (resource, bool, error) {
	f, err := s.heldFields(ctx, nil, held, a.State)
	if err != nil || untouched(s.env.Fingerprints, a.State, f, s.learned.additions()) {
		return held, err == nil, err
	}
	if active, _ := held.get("active").(bool); active || !a.Disable || !a.InDoubt {
		return held, false, nil
	}
	was := deepCopy(held)
	was.set("active", true)
	f = flatten(was)
	return was, untouched(s.env.Fingerprints, a.State, f, s.learned.additions()), nil
}

// switchOff has nobody sign in with an account any more. Was is the account as it was. To
// give free what others want, it gets a name and an address that nobody has.
func (s reversal) switchOff(ctx context.Context, a sdk.Account, held, was resource) (sdk.Outcome, error) {
	last := reconcile.ParseState(a.State)
	image := preImage{Account: was}
	if s.facts.groups != "" {
		names, err := s.groups.names(ctx)
		if err != nil {
			return sdk.Outcome{}, err
		}
		for _, name := range names {
			if last.Recorded(s.env.Fingerprints, groupPath(name)) {
				image.Groups = append(image.Groups, name)
			}
		}
	}
	before, err := json.Marshal(image)
	if err != nil {
		return sdk.Outcome{}, fmt.Errorf("encode the account %s: %w", held.id(), err)
	}
	is, want := flatten(held), resource{"active": false}
	diffs := []reconcile.Difference{{Field: "active", Held: is["active"], Want: "false"}}
	if a.Release {
		name := held.id() + "@gone.invalid"
		want.set("userName", name)
		diffs = append(diffs, reconcile.Difference{Field: "username", Held: is["username"], Want: name})
		for path, v := range is {
			if strings.HasPrefix(path, "emails[") {
				diffs = append(diffs, reconcile.Difference{Field: path, Held: v})
			}
		}
		if len(diffs) > 2 {
			want.set("emails", []any{resource{"value": name, "type": "work", "primary": true}})
		}
		slices.SortFunc(diffs, func(a, b reconcile.Difference) int { return strings.Compare(a.Field, b.Field) })
	}
	if err := s.write.rewrite(ctx, held, want, diffs); err != nil {
		return sdk.Outcome{}, err
	}
	after, err := s.api.one(ctx, s.facts.users, held.id())
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case after == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil // somebody was faster
	}
	if active, _ := after.get("active").(bool); active || a.Release && !strings.EqualFold(after.text("userName"), want.text("userName")) {
		return sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "the server has confirmed the change, but has not made it", Hint: "switch it off by hand"}, nil
	}
	f, err := s.heldFields(ctx, nil, after, a.State)
	if err != nil {
		return sdk.Outcome{}, err
	}
	recorded, added := fields{}, s.learned.additions()
	for path, v := range f {
		if last.Recorded(s.env.Fingerprints, path) || added != nil && !added[lossKey(path)] {
			recorded[path] = v
		}
	}
	return sdk.Outcome{Action: sdk.Updated, State: last.Showing(s.env.Fingerprints, recorded), Before: before}, nil
}

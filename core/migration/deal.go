package migration

import (
	"context"
	"fmt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/spill"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
)

// dealt are the accounts of one reading, dealt to several targets. They wait in a file that
// only this process can read.
type dealt struct {
	spill  *spill.Spill
	places map[string]int // of targets
	counts []int          // accounts of each
	// dealing counts the accounts, and without those of tenants that have no target.
	dealing report.Dealing
	without map[string]int
	// nowhere are accounts that no target gets because they are in no tenant.
	nowhere []pluginapi.Change
	encoded []byte
}

// deal reads the source once and deals its accounts to the targets of these names.
func deal(ctx context.Context, src *Source, r *routing, names []string, progress func(accounts int)) (_ *dealt, findings []supertokens.Finding, err error) {
	d := &dealt{spill: spill.New(max(len(names), 1)), places: map[string]int{}, counts: make([]int, len(names)), without: map[string]int{}}
	for i, name := range names {
		d.places[name] = i
	}
	review := supertokens.NewReview(src.src)
	defer func() {
		if closeErr := review.Close(); closeErr != nil && err == nil {
			err = closeErr
		}
		if err != nil {
			_ = d.spill.Close() // the first error says it
		}
	}()
	err = src.Read(ctx, func(b supertokens.Batch) error {
		if err := review.Add(b); err != nil {
			return err
		}
		for i := range b.Users {
			if err := d.add(&b.Users[i], r); err != nil {
				return err
			}
		}
		progress(d.dealing.Accounts)
		return ctx.Err()
	})
	if err == nil {
		err = d.spill.Done()
	}
	if err == nil {
		findings, err = review.Findings()
	}
	return d, findings, err
}

// add deals one account.
func (d *dealt) add(u *canonical.User, r *routing) error {
	to := r.route(u)
	c := &d.dealing
	c.Accounts++
	for _, tenant := range to.without {
		d.without[tenant]++
	}
	switch {
	case len(to.parts) > 0 && to.several:
		c.Several++
	case len(to.parts) > 0:
		c.One++
	case to.left:
		c.LeftOut++
	case len(to.without) == 0:
		c.NoTenant++
		d.nowhere = append(d.nowhere, pluginapi.Change{Outcome: pluginapi.Outcome{
			SourceID: u.InternalID, Action: pluginapi.Rejected, Code: diag.MapNoTenant, Detail: "it is in no tenant, so no target gets it",
		}})
	}
	if len(to.parts) > 0 && to.left {
		c.PartlyLeftOut++
	}
	if to.astray {
		c.RolesElsewhere++
	}
	for i := range to.parts {
		at, wanted := d.places[to.parts[i].target]
		if !wanted {
			continue
		}
		d.counts[at]++
		d.encoded = to.parts[i].account.Encode(d.encoded[:0])
		if err := d.spill.Append(at, [][]byte{d.encoded}, 0); err != nil {
			return err
		}
	}
	return nil
}

// hand is what was dealt to one target.
type hand struct {
	dealt *dealt
	at    int
}

// Accounts implements [engine.Source].
func (h hand) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	users := make([]canonical.User, 0, hot)
	flush := func() error {
		if len(users) == 0 {
			return nil
		}
		err := emit(users)
		users = users[:0]
		return err
	}
	err := spill.InOrder(h.dealt.spill, h.at, func(fields [][]byte, _ uint64) error {
		users = append(users, canonical.User{})
		if err := users[len(users)-1].Decode(fields[0]); err != nil {
			return fmt.Errorf("read temporary data: %w", err)
		}
		if len(users) < hot {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

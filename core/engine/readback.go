package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/target"
)

// ErrDiffers says that the target has confirmed accounts that it does not hold, or not as
// they were given to it.
var ErrDiffers = errors.New("the target does not hold what it has confirmed")

// patience is how long after the load an account may stay out of sight, in growing
// steps: many targets answer before their index knows.
var patience = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// mostLate bounds how many accounts are waited for. With more of them, waiting is
// not what helps.
const mostLate = 10_000

// comparison reads accounts back in batches and counts those that are not as they
// should be.
type comparison struct {
	r     *runner
	v     *Verification
	size  int
	users []target.User
	group *errgroup.Group
	// patience is none where accounts have had time enough.
	patience []time.Duration
	// asking is what the group's questions run under.
	asking func(users []target.User, again bool)

	mu     sync.Mutex
	late   []target.User // those out of sight so far
	differ func(target.Change) error
}

// compare starts a comparison; differ is called one call at a time.
func (r *runner) compare(ctx context.Context, v *Verification, differ func(target.Change) error) *comparison {
	c := &comparison{r: r, v: v, size: r.caps.Batch.Users, differ: differ}
	if c.size <= 0 {
		c.size = defaultBatchUsers
	}
	c.start(ctx)
	return c
}

func (c *comparison) start(ctx context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(c.r.caps.Batch.InFlight, defaultInFlight))
	c.group = group
	c.asking = func(users []target.User, again bool) {
		group.Go(func() error { return c.ask(ctx, users, again) })
	}
}

// take adds an account, which should be as u.
func (c *comparison) take(u target.User) {
	u.Existing, u.Expect = target.Update, nil
	if c.users = append(c.users, u); len(c.users) == c.size {
		c.flush()
	}
}

func (c *comparison) flush() {
	if len(c.users) > 0 {
		c.asking(c.users, true)
		c.users = nil
	}
}

func (c *comparison) ask(ctx context.Context, users []target.User, again bool) error {
	changes, err := c.r.dst.Plan(ctx, users)
	if err != nil {
		return fmt.Errorf("read the target back: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range changes {
		if again && len(c.patience) > 0 && changes[i].Action == target.Created && len(c.late) < mostLate {
			c.late = append(c.late, users[i])
			continue
		}
		if err := c.r.judge(c.v, &users[i], changes[i], c.differ); err != nil {
			return err
		}
	}
	return nil
}

// end finishes a comparison, unless reading has failed.
func (c *comparison) end(ctx context.Context, err error) error {
	if err != nil {
		return errors.Join(err, c.group.Wait())
	}
	return c.finish(ctx)
}

// finish compares what is left, and looks for accounts that were out of sight a few
// times more.
func (c *comparison) finish(ctx context.Context) error {
	c.flush()
	if err := c.group.Wait(); err != nil {
		return err
	}
	for n, pause := range c.patience {
		if len(c.late) == 0 {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		late := c.late
		c.late = nil
		c.start(ctx)
		for part := range slices.Chunk(late, c.size) {
			c.asking(part, n < len(c.patience)-1)
		}
		if err := c.group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// judge counts one comparison and reports it when it is a difference.
func (r *runner) judge(v *Verification, u *target.User, c target.Change, differ func(target.Change) error) error {
	v.Compared++
	moved := u.Prior.TargetID != "" && c.TargetID != "" && u.Prior.TargetID != c.TargetID
	switch {
	case c.Action == target.Unchanged && !moved:
		v.Match++
		return nil
	case moved:
		c.Code, c.Detail = diag.VerifyMisplaced, fmt.Sprintf("it has the id %s, the run made it with %s", c.TargetID, u.Prior.TargetID)
	case c.Action == target.Created:
		c.Code, c.Detail = diag.VerifyMissing, "the account is not in the target"
	case c.Action == target.Updated:
		c.Code = differenceCode(c.Fields)
		c.Detail = fieldsText(c.Fields)
	case c.Action == target.Skipped || c.Action == target.Rejected:
		if r.options.Journal == nil && r.written == nil { // without a memory, nobody knows better
			v.Compared--
			v.Expected++
			return nil
		}
	}
	if c.Code == "" {
		c.Code = diag.VerifyDiffers
	}
	v.Differences[c.Code]++
	return differ(c)
}

// places are fields that say where an account is.
var places = []string{"tenants", "tenant", "organizations", "organization", "container", "connection", "realm"}

func differenceCode(fields []target.FieldChange) diag.Code {
	code := diag.VerifyDiffers
	for _, f := range fields {
		switch {
		case slices.Contains(places, f.Field):
			return diag.VerifyMisplaced
		case f.New != "" && f.Old == "":
			code = diag.VerifyDropped
		}
	}
	return code
}

func fieldsText(fields []target.FieldChange) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Field
	}
	return "not as it should be: " + strings.Join(names, ", ")
}

// written remembers which accounts a run has created or updated.
type written struct {
	seed maphash.Seed
	mu   sync.Mutex
	ids  map[uint64]string // target id where no journal has it
}

// wrote notes the outcomes of a load.
func (r *runner) wrote(users []target.User, changes []target.Change) {
	if r.written == nil {
		return
	}
	r.written.mu.Lock()
	defer r.written.mu.Unlock()
	for i := range users {
		if a := changes[i].Action; a != target.Created && a != target.Updated {
			continue
		}
		h := maphash.String(r.written.seed, users[i].SourceID)
		if n := r.options.ReadBack; n > 1 && h%uint64(n) != 0 {
			continue
		}
		id := ""
		if r.options.Journal == nil {
			id = changes[i].TargetID
		}
		r.written.ids[h] = id
	}
}

// readBack compares what this run has written with what is in the target now. What
// is not there is in doubt again, and what differs will be looked at by the next
// run.
func (r *runner) readBack(ctx context.Context) error {
	if r.written == nil || len(r.written.ids) == 0 {
		return nil
	}
	v := &Verification{Differences: map[diag.Code]int{}}
	r.result.ReadBack = v
	start := time.Now()
	defer func() { v.Elapsed = time.Since(start) }()
	c := r.compare(ctx, v, func(change target.Change) error { return r.disprove(ctx, change) })
	c.patience = patience
	if r.options.patience != nil {
		c.patience = r.options.patience
	}
	err := r.src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			n := v.Read
			v.Read++
			id, ok := r.written.ids[maphash.String(r.written.seed, users[i].InternalID)]
			if !ok {
				continue
			}
			u, _ := r.mapped(n, &users[i])
			u.Prior.TargetID = id
			if r.options.Journal != nil {
				e, err := r.prior(ctx, u.SourceID)
				if err != nil {
					return err
				}
				u.Prior = target.Prior{TargetID: e.TargetID, State: e.State}
			}
			c.take(u)
		}
		r.progress(Verifying, v.Read, r.total)
		return ctx.Err()
	})
	err = c.end(ctx, err)
	if err == nil && v.Different() > 0 {
		err = fmt.Errorf("%w: %d of %d accounts", ErrDiffers, v.Different(), v.Compared)
	}
	return err
}

// disprove takes back what the journal believes of an account that was written and
// is not as it should be.
func (r *runner) disprove(ctx context.Context, c target.Change) error {
	if r.options.Different != nil {
		r.options.Different(c)
	}
	if r.options.Journal == nil {
		return nil
	}
	e, err := r.prior(ctx, c.SourceID)
	if err != nil {
		return err
	}
	e.Action, e.Code, e.Digest, e.Run = target.InDoubt, c.Code, nil, r.options.Run
	e.InDoubt = c.Code == diag.VerifyMissing
	if err := r.options.Journal.Record(0, []journal.Entry{e}); err != nil {
		return fmt.Errorf("remember what was read back: %w", err)
	}
	return nil
}

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

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// ErrDiffers says that the target has confirmed accounts that it does not hold, or not as
// they were given to it.
var ErrDiffers = errors.New("the target does not have what it has confirmed")

// Verification is what a target holds beside what it should hold.
type Verification struct {
	// Read counts the accounts of the source, Compared those that should be in the
	// target, Match those that are as they should be.
	Read     int `json:"read"`
	Compared int `json:"compared"`
	Match    int `json:"match"`
	// Unread counts those that are as they should be in all that the target shows, and of
	// which no run remembers what it sent of the rest: nobody can tell about them.
	Unread int `json:"unread,omitempty"`
	// Expected counts accounts that are rightly not in the target: rejected or
	// excluded by the runs so far.
	Expected int `json:"not_loaded"`
	// Differences counts the rest by what is wrong.
	Differences map[diag.Code]int `json:"differences"`
	Elapsed     time.Duration     `json:"-"`
}

// Different is how many accounts are not as they should be.
func (v *Verification) Different() int { return v.Compared - v.Match - v.Unread }

// Nobody says that nothing could be compared, as no run has loaded any account there is.
func (v *Verification) Nobody() bool { return v.Compared == 0 && v.Expected > 0 }

// patience is how long after the load an account may stay out of sight, in growing
// steps: many targets answer before their index knows.
var patience = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// mostLate bounds how many accounts are waited for. With more of them, waiting is
// not what helps.
const mostLate = 10_000

// comparison reads accounts back in batches and counts those that are not as they
// should be.
type comparison struct {
	dst    Target
	v      *Verification
	limits pluginapi.BatchLimits
	users  []pluginapi.User
	group  *errgroup.Group
	// patience is none where accounts have had time enough.
	patience []time.Duration
	// guessing says that nobody knows who was loaded, so that who is refused may never
	// have been there.
	guessing bool
	// all has differences count that no run can do anything about, as the target does not let
	// them be written.
	all bool
	// asking is what the group's questions run under.
	asking func(users []pluginapi.User, patient bool)

	mu     sync.Mutex
	late   []pluginapi.User // those out of sight so far
	differ func(pluginapi.Change) error
}

// compare starts a comparison; differ is called one call at a time.
func compare(ctx context.Context, dst Target, v *Verification, differ func(pluginapi.Change) error) *comparison {
	caps := dst.Capabilities()
	c := &comparison{dst: dst, v: v, limits: batchLimits(&caps), differ: differ}
	c.start(ctx)
	return c
}

func (c *comparison) start(ctx context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.limits.InFlight)
	c.group = group
	c.asking = func(users []pluginapi.User, patient bool) {
		group.Go(func() error { return c.ask(ctx, users, patient) })
	}
}

// add takes an account in, which should be as u.
func (c *comparison) add(u pluginapi.User) {
	u.Existing, u.Expect = pluginapi.Update, nil
	if c.users = append(c.users, u); len(c.users) == c.limits.Users {
		c.flush()
	}
}

func (c *comparison) flush() {
	if len(c.users) > 0 {
		c.asking(c.users, true)
		c.users = nil
	}
}

func (c *comparison) ask(ctx context.Context, users []pluginapi.User, patient bool) error {
	changes, err := c.dst.Plan(ctx, users)
	if err != nil {
		return fmt.Errorf("read the target back: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range changes {
		if patient && len(c.patience) > 0 && changes[i].Action == pluginapi.Created && len(c.late) < mostLate {
			c.late = append(c.late, users[i])
			continue
		}
		if err := c.judge(&users[i], changes[i]); err != nil {
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
		for part := range slices.Chunk(late, c.limits.Users) {
			c.asking(part, n < len(c.patience)-1)
		}
		if err := c.group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// lacks counts an account that is on one side only.
func (c *comparison) lacks(found pluginapi.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.v.Compared++
	if found.Code != diag.VerifyGone && found.Code != diag.VerifyNotLoaded {
		found.Detail, found.Code = strings.TrimSuffix(string(found.Code)+": "+found.Detail, ": "), diag.VerifyNotLoaded
	}
	c.v.Differences[found.Code]++
	return c.differ(found)
}

// judge counts one comparison and reports it when it is a difference.
func (c *comparison) judge(u *pluginapi.User, found pluginapi.Change) error {
	v := c.v
	v.Compared++
	moved := u.Prior.TargetID != "" && found.TargetID != "" && u.Prior.TargetID != found.TargetID
	stays := c.all && found.Action == pluginapi.Unchanged && len(found.Fields) > 0
	switch {
	case found.Unread() && !moved && !stays:
		v.Unread++
		return nil
	case found.Action == pluginapi.Unchanged && !moved && !stays:
		v.Match++
		return nil
	case moved:
		found.Code, found.Detail = diag.VerifyMisplaced, fmt.Sprintf("it has the id %s, the run made it with %s", found.TargetID, u.Prior.TargetID)
	case found.Action == pluginapi.Created:
		found.Code, found.Detail = diag.VerifyMissing, "the account is not in the target"
	case found.Action == pluginapi.Updated, found.Action == pluginapi.Unchanged:
		found.Code = differenceCode(found.Fields)
		found.Detail = fieldsText(found.Fields)
	case c.guessing && (found.Action == pluginapi.Skipped || found.Action == pluginapi.Rejected):
		v.Compared--
		v.Expected++
		return nil
	}
	if found.Code == "" {
		found.Code = diag.VerifyDiffers
	}
	v.Differences[found.Code]++
	return c.differ(found)
}

// placeFields say where an account is.
var placeFields = []string{"tenants", "tenant", "organizations", "organization", "container", "connection", "realm"}

func differenceCode(fields []pluginapi.FieldChange) diag.Code {
	code := diag.VerifyDiffers
	for _, f := range fields {
		switch {
		case slices.Contains(placeFields, f.Field):
			return diag.VerifyMisplaced
		case f.New != "" && f.Old == "":
			code = diag.VerifyDropped
		}
	}
	return code
}

func fieldsText(fields []pluginapi.FieldChange) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Field
	}
	return "not as it should be: " + strings.Join(names, ", ")
}

// written remembers which accounts a run has created or updated, as far as they are to
// be read back: every is of how many one is. Nil remembers none.
type written struct {
	every   int
	withIDs bool // no journal has the target's ids
	seed    maphash.Seed

	mu    sync.Mutex
	at    places
	count int
	ids   map[int]string
}

// note takes in the outcomes of accounts by their places.
func (w *written) note(at []int, changes []pluginapi.Change) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range changes {
		if c.Action != pluginapi.Created && c.Action != pluginapi.Updated || w.every > 1 && maphash.String(w.seed, c.SourceID)%uint64(w.every) != 0 {
			continue
		}
		if !w.at.has(at[i]) {
			w.count++
		}
		w.at.add(at[i])
		if w.withIDs {
			w.ids[at[i]] = c.TargetID
		}
	}
}

// disprove takes back what the journal believes of an account that was written and
// is not as it should be. What is not there is in doubt again, and what differs will be
// looked at by the next run.
func disprove(ctx context.Context, j Journal, run int64, c pluginapi.Change) error {
	if j == nil {
		return nil
	}
	e, err := entryOf(ctx, j, c.SourceID)
	if err != nil {
		return err
	}
	e.Action, e.Code, e.Digest, e.Run = pluginapi.InDoubt, c.Code, nil, run
	e.InDoubt = c.Code == diag.VerifyMissing
	if err := j.Record(0, []journal.Entry{e}); err != nil {
		return fmt.Errorf("store what was read back: %w", err)
	}
	return nil
}

package scim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// tidyFor is how long one step of tidying up goes on before it says how far it is.
const tidyFor = 5 * time.Second

// shownKey is the journal's note that the server shows members of groups.
const shownKey = "members_shown"

// tidying deletes groups that loads have made and that nobody is in any more, piece by
// piece.
type tidying struct {
	mu     sync.Mutex
	listed bool
	queue  []*group
}

// Tidy implements [sdk.Tidier].
func (t *live) Tidy(ctx context.Context) (removed, left int, err error) {
	s, err := t.forUndo(ctx)
	if err == nil && s.facts.groups != "" {
		removed, left, err = t.tidying.step(ctx, s.groups, tidyFor)
	}
	if err != nil {
		err = explain(fmt.Errorf("remove the groups that a load had made: %w", err))
	}
	return removed, left, err
}

// step goes on for a while, from where the last one has stopped.
func (t *tidying) step(ctx context.Context, d *groupDirectory, budget time.Duration) (removed, left int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := time.Now().Add(budget)
	if !t.listed {
		if t.queue, err = droppable(ctx, d); err != nil {
			return 0, 0, err
		}
		t.listed = true
	}
	for len(t.queue) > 0 {
		gone, err := d.drop(ctx, t.queue[0])
		if err != nil {
			return removed, len(t.queue), err
		}
		if gone {
			removed++
		}
		t.queue = t.queue[1:]
		if time.Now().After(end) {
			break
		}
	}
	t.listed = len(t.queue) > 0 // whoever asks again after the end wants another look
	return removed, len(t.queue), nil
}

// droppable lists the groups that loads have made, where it can be seen whether somebody is
// in them: else an empty group looks like a full one.
func droppable(ctx context.Context, d *groupDirectory) ([]*group, error) {
	d.mu.Lock()
	d.byName = nil // the groups of now
	d.mu.Unlock()
	own, err := d.own(ctx)
	if err != nil || len(own) == 0 {
		return nil, err
	}
	noted := false
	if d.journal != nil {
		_, noted = d.journal.Get(shownKey)
	}
	if !noted && !d.shown(ctx) {
		return nil, nil
	}
	slices.SortFunc(own, func(a, b *group) int { return strings.Compare(a.name, b.name) })
	return own, nil
}

// learnShown looks, once, whether the server shows the members of a group that has some, and
// remembers it: after an undo there may be none left to see. Only a load may write the
// journal.
func learnShown(ctx context.Context, d *groupDirectory, g *group) error {
	d.probing.Lock()
	defer d.probing.Unlock()
	if d.learnt || d.journal == nil {
		return nil
	}
	d.learnt = true
	if _, noted := d.journal.Get(shownKey); noted {
		return nil
	}
	if list, err := d.members.list(ctx, g); err != nil || len(list) == 0 {
		return nil
	}
	return d.journal.Put(ctx, shownKey, []byte{1})
}

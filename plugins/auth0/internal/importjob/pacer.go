package importjob

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Pacer says when to look at a job again. Jobs of one tenant take about the same time
// for a user, so from the first end on it is known when the others are worth a look: a
// little before the earliest end that the last jobs let expect, and then often until
// the latest, so that a slot is not left idle. Without an expectation, and after it,
// the time between two looks grows with the job's age. It is safe for concurrent use.
type Pacer struct {
	shortest time.Duration
	burst    func() int64 // requests at once that the tenant allows, 0 when unknown

	mu      sync.Mutex
	perUser []time.Duration // of the latest jobs
	changed chan struct{}   // closed when something was learnt
}

const (
	longestPace = 60   // times the shortest
	usualPace   = 4    // the same, where an end is expected or the tenant allows little
	smallBurst  = 10   // requests: a free tenant has 2
	early       = 0.95 // of the expected time
	remembered  = 8    // jobs
	ageParts    = 40   // without an expectation, a look is due after so small a part of the age
	jobParts    = 100  // where an end is expected, after so small a part of the expected time
	lateParts   = 8    // after that, of the time by which the job is late
)

// due is when to look again at a job of so many users.
func (p *Pacer) due(begun, looked time.Time, users int) (time.Time, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	age, wait, shortest := looked.Sub(begun), time.Duration(0), p.shortest
	n := p.burst()
	little := n > 0 && n < smallBurst
	if little {
		shortest *= usualPace
	}
	if len(p.perUser) == 0 {
		wait = age / ageParts
	} else {
		first := time.Duration(early * float64(slices.Min(p.perUser)) * float64(users))
		last := slices.Max(p.perUser) * time.Duration(users)
		wait = max(first-age, min(last/jobParts, usualPace*p.shortest), (age-last)/lateParts)
		if !little && age < last+last/lateParts {
			shortest /= usualPace // a few more looks, so that the slot of a short job is not left idle
		}
	}
	return looked.Add(min(max(wait, shortest), longestPace*p.shortest)), p.changed
}

// Wait waits until then. What is learnt on the way counts.
func (p *Pacer) Wait(ctx context.Context, begun, looked time.Time, users int) error {
	for {
		at, changed := p.due(begun, looked, users)
		left := time.Until(at)
		if left <= 0 {
			return context.Cause(ctx)
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// learn takes note of how long a job took.
func (p *Pacer) learn(took time.Duration, users int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.perUser = append(p.perUser, took/time.Duration(max(users, 1)))
	p.perUser = p.perUser[max(0, len(p.perUser)-remembered):]
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// expected is how long a job of so many users may take, as far as is known.
func (p *Pacer) expected(users int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.perUser) == 0 {
		return 0
	}
	return slices.Max(p.perUser) * time.Duration(users)
}

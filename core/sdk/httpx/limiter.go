package httpx

import (
	"context"
	"sync"
	"time"
)

// limiter decides how many requests may be under way: it adds one as long as all goes
// well, halves when the target is overloaded, and stops while the target asks to.
type limiter struct {
	mu       sync.Mutex
	most     float64
	limit    float64
	inFlight int
	// blocked is until when nothing may start.
	blocked time.Time
	// throttled counts refusals that did not say for how long, one after another; paused
	// is when the last of them came that counted.
	throttled int
	paused    time.Time
	// Until reset, no more than left may start, where the target counts.
	left  int
	reset time.Time
	// halved is when the limit was last lowered: requests that began before cannot
	// say anything about the new one.
	halved time.Time
	// latencies are those of each kind of request.
	latencies map[string]*latency
	// changed is closed when somebody who waits should look again.
	changed chan struct{}
}

// startLimit is what a target is trusted with before anything is known.
const startLimit = 4

func newLimiter(first, most int) *limiter {
	return &limiter{most: float64(most), limit: float64(min(most, first)), latencies: map[string]*latency{}, changed: make(chan struct{})}
}

// current is the limit as it is now.
func (l *limiter) current() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.limit)
}

// enter waits until a request may start, and returns when it did. waiting hears how
// long the target has asked to wait. Requests of free number wait for nothing else.
func (l *limiter) enter(ctx context.Context, free bool, waiting func(time.Duration)) (time.Time, error) {
	for told := false; ; {
		if err := ctx.Err(); err != nil {
			return time.Time{}, context.Cause(ctx)
		}
		l.mu.Lock()
		now := time.Now()
		wait := l.blocked.Sub(now)
		counted := now.Before(l.reset)
		if counted && l.left <= 0 {
			wait = max(wait, l.reset.Sub(now))
		}
		if wait <= 0 && (free || l.inFlight < int(l.limit)) {
			if !free {
				l.inFlight++
			}
			if counted {
				l.left--
			}
			l.mu.Unlock()
			return now, nil
		}
		changed := l.changed
		l.mu.Unlock()
		if wait <= 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if !told {
			told = true
			waiting(wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed: // those under way may turn out to have been counted already
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// observation is what one request says about the target.
type observation struct {
	answered   bool
	overloaded bool
	// throttled: the target refuses requests because there are too many.
	throttled bool
	// free: the caller decides how many requests there are.
	free bool
	// kind tells requests apart that cannot be as quick as others.
	kind string
	// until is when the target wants to hear the next request; zero for now.
	until time.Time
	// Where the target counts, it allows so many requests until reset.
	counted bool
	left    int
	reset   time.Time
}

// leave ends a request that began at started.
func (l *limiter) leave(started time.Time, o observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	used := l.inFlight >= int(l.limit) // only a limit that is used can be too low
	if !o.free {
		l.inFlight--
	}
	until := o.until
	switch {
	case !o.throttled && o.answered:
		l.throttled = 0
	case o.throttled && until.IsZero() && started.After(l.paused):
		// It does not say for how long: nobody asks for a while, and for longer each time.
		l.throttled++
		l.paused = now
		until = now.Add(min(firstWait<<min(l.throttled, 8), maxWait))
	}
	if until.After(l.blocked) {
		l.blocked = until
	}
	if o.counted {
		// Nobody knows which of those under way are in its count.
		l.left, l.reset = o.left-l.inFlight, o.reset
	}
	fresh := started.After(l.halved)
	slow := false
	if o.answered && !o.overloaded && !o.free {
		slow = l.measure(o.kind, now.Sub(started))
	}
	switch {
	case o.free:
	case o.overloaded && fresh:
		l.limit, l.halved = max(1, l.limit/2), now
	case o.overloaded || !o.answered:
	case slow && fresh:
		l.limit, l.halved = max(1, l.limit*slowDown), now
	case used && !slow:
		l.limit = min(l.most, l.limit+1/l.limit)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// latency is how long answers take: without load, and lately.
type latency struct{ usual, recent time.Duration }

// maxKinds bounds the memory for latencies. What comes after them is not measured.
const maxKinds = 64

// measure follows the latency of a kind of request, and reports whether such answers
// take so long lately that more requests at the same time would only queue up in the
// target.
func (l *limiter) measure(kind string, took time.Duration) (slow bool) {
	of := l.latencies[kind]
	switch {
	case of != nil:
	case len(l.latencies) >= maxKinds:
		return false
	default:
		of = &latency{took, took}
		l.latencies[kind] = of
	}
	of.recent += (took - of.recent) / 8
	// The usual one falls at once and rises slowly, since a target can become slower
	// for good.
	if took < of.usual {
		of.usual = took
	} else {
		of.usual += (took - of.usual) / 1024
	}
	return of.recent > slowFrom && of.recent > 3*of.usual
}

// slowDown is what the limit is multiplied with when answers have become slow.
const slowDown = 0.8

// slowFrom is the latency below which nobody minds.
const slowFrom = 20 * time.Millisecond

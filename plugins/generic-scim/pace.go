package scim

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pace chooses how many users go into a Bulk request and how many requests are on
// their way, by measuring: what a server says it takes is often its worst size.
type pace struct {
	mu       sync.Mutex
	off      bool
	size     int
	requests int
	fixed    bool          // by the configuration
	most     int           // no larger requests, because the server said so
	away     time.Duration // no request takes less
	resumed  bool          // an earlier run has found the setting
	inside   int
	moved    chan struct{}
	failures int // in a row

	// The climb: the best setting so far, the steps that are left to be tried from it,
	// those that have brought it up, and how long to rest when there is none left.
	best    float64
	bestAt  [2]int
	left    []step
	gained  map[step]bool
	trying  step
	resting int
	rest    int
	epoch   int // counts settings; a request belongs to the one it began under
	window  window
	now     func() time.Time
}

// window is a stretch of time in which requests of one setting are counted.
type window struct {
	through int     // requests that were still mixed with those of the setting before
	work    float64 // users times requests on their way
	took    time.Duration
	asked   int
	each    float64 // time for a user, summed over requests, and its squares
	squares float64
	longest time.Duration
}

// step is a change of the setting.
type step int

const (
	oneByOne step = iota
	larger
	moreRequests
	smaller
	aBitLarger
	aBitSmaller
	fewerRequests
)

// allSteps, in the order in which they are tried.
var allSteps = []step{larger, moreRequests, smaller, aBitLarger, aBitSmaller, fewerRequests}

// back is the step that would undo one.
var back = map[step]step{moreRequests: fewerRequests, larger: smaller, smaller: larger, aBitLarger: aBitSmaller, aBitSmaller: aBitLarger, fewerRequests: moreRequests}

const (
	firstSize    = 20
	mostSize     = 200
	mostRequests = 16

	leastAsked = 6    // requests of a window
	gain       = 1.15 // of a step that is kept, since no two windows are alike
	clearGain  = 2    // of single requests: Bulk is left for good, and has not found its best yet
	leastRest  = 16   // windows
	certainty  = 0.08 // of a window: its standard error

	// No request is to come near what a gateway waits for.
	tooLong    = 2 * time.Second // to send larger ones
	farTooLong = 5 * time.Second // to send such ones
)

// newPace begins with more requests at a time where answers are far away.
func newPace(c Config, f *facts, away time.Duration) *pace {
	p := &pace{off: !f.bulk, size: firstSize, requests: 4, most: mostSize, away: away, moved: make(chan struct{}), now: time.Now, rest: leastRest, gained: map[step]bool{}}
	switch {
	case away > 20*time.Millisecond:
		p.requests = mostRequests
	case away > 5*time.Millisecond:
		p.requests = mostRequests / 2
	}
	if f.maxOps > 0 {
		p.most = min(p.most, f.maxOps)
	}
	if c.BulkSize > 0 {
		p.size, p.most = c.BulkSize, max(c.BulkSize, p.most)
	}
	if c.Parallel > 0 {
		p.requests = c.Parallel
	}
	p.fixed = c.BulkSize > 0 || c.Parallel > 0
	p.size = min(p.size, p.most)
	p.bestAt = [2]int{p.size, p.requests}
	return p
}

// resume begins with what an earlier run has found, and stays there for a while: in a short
// load, every look around costs more than it brings.
func (p *pace) resume(at [2]int) {
	if p.fixed || at[0] < leastBulk || at[1] < 1 {
		return
	}
	p.size, p.requests = min(at[0], p.most, mostSize), min(at[1], mostRequests)
	p.bestAt = [2]int{p.size, p.requests}
	p.resumed, p.resting = true, p.rest
}

// found is the setting that was fastest, zero before anything was measured.
func (p *pace) found() [2]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off || p.fixed || p.best == 0 {
		return [2]int{}
	}
	return p.bestAt
}

func (p *pace) bulk() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.off
}

func (p *pace) noBulk() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
}

// enter waits until another request may go, and says of what size.
func (p *pace) enter(ctx context.Context) (size int, leave func(), err error) {
	for {
		p.mu.Lock()
		if p.inside < p.requests {
			p.inside++
			size = p.size
			p.mu.Unlock()
			return size, func() {
				p.mu.Lock()
				p.inside--
				close(p.moved)
				p.moved = make(chan struct{})
				p.mu.Unlock()
			}, nil
		}
		moved := p.moved
		p.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, nil, context.Cause(ctx)
		}
	}
}

// smaller obeys a server that finds n users too many.
func (p *pace) smaller(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = max(1, min(p.most, n/2))
	p.size = min(p.size, p.most)
	p.bestAt[0] = min(p.bestAt[0], p.most)
	if p.most < leastBulk {
		p.off = true
	}
}

// slower halves after a request that was lost.
func (p *pace) slower() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = max(leastBulk, p.size/2)
	p.requests = max(1, p.requests/2)
	p.best, p.bestAt = 0, [2]int{p.size, p.requests}
	p.window = window{}
	p.epoch++
	p.lost()
}

// failed counts requests that were refused as a whole.
func (p *pace) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost()
}

func (p *pace) lost() {
	if p.failures++; p.failures >= 3 {
		p.off = true
	}
}

// start returns what to call with the number of users when a request has ended well.
func (p *pace) start() func(users int) {
	begun := p.now()
	p.mu.Lock()
	epoch, company := p.epoch, p.inside
	p.mu.Unlock()
	return func(users int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failures = 0
		if !p.fixed && epoch == p.epoch {
			p.measure(users, float64(company+p.inside)/2, p.now().Sub(begun))
		}
	}
}

// measure counts a request of the present setting, and climbs when there are enough
// of them: a step that brought more users a second is kept and taken again, any
// other one is taken back. Users a second follow from how long a request takes and
// how many are on their way (Little's law), which varies less than the
// moments at which requests end.
func (p *pace) measure(users int, company float64, took time.Duration) {
	w := &p.window
	w.longest = max(w.longest, took)
	mixed := p.requests / 2
	if p.best == 0 {
		mixed = p.requests // the first ones have come to an idle server, one after the other
	}
	if w.through < mixed {
		w.through++
		return
	}
	w.work += float64(users) * company
	w.took += took
	w.asked++
	each := took.Seconds() / float64(users)
	w.each += each
	w.squares += each * each
	if enough := max(leastAsked, p.requests/2); w.asked < enough || (w.asked < 4*enough && w.uncertain()) {
		return
	}
	speed := w.work / max(w.took.Seconds(), 1e-6)
	long := w.longest
	p.window = window{}
	at := [2]int{p.size, p.requests}
	switch {
	case long > farTooLong && p.size > leastBulk:
		p.best, p.bestAt[0] = 0, max(leastBulk, p.size/2)
	case p.best == 0:
		p.best, p.bestAt = speed, at
		if p.left == nil && !p.resumed {
			p.left = append([]step{oneByOne}, allSteps...)
		}
	case p.trying == oneByOne && p.size == 1:
		p.off = speed > clearGain*p.best
	case at == p.bestAt:
		if changed := speed / p.best; changed > 1.5 || changed < 0.6 {
			p.resting = 0 // the server is another one now: look around
		}
		p.best = (p.best + speed) / 2
	case speed > gain*p.best:
		p.best, p.bestAt = speed, at
		p.gained[p.trying] = true
		p.rest = leastRest
		p.left = []step{p.trying}
		for _, s := range allSteps {
			if s != p.trying && !p.gained[back[s]] {
				p.left = append(p.left, s)
			}
		}
	}
	p.size, p.requests = p.bestAt[0], p.bestAt[1]
	if p.resting > 0 {
		p.resting--
		return
	}
	p.next(long)
	if [2]int{p.size, p.requests} != at {
		p.epoch++
	}
}

// uncertain reports whether requests differ so much that their mean says little: on a
// busy machine, a step would be a matter of luck.
func (w *window) uncertain() bool {
	n := float64(w.asked)
	mean := w.each / n
	return w.squares/n-mean*mean > n*(certainty*mean)*(certainty*mean)
}

// next takes the next step that leads anywhere, or a rest.
func (p *pace) next(long time.Duration) {
	if p.left == nil {
		p.left = slices.Clone(allSteps)
		clear(p.gained)
	}
	for len(p.left) > 0 {
		p.trying, p.left = p.left[0], p.left[1:]
		switch p.trying {
		case oneByOne:
			if !promises(maxParallel, clearGain*p.best, p.away) {
				continue
			}
			p.size = 1
			return
		case moreRequests:
			p.requests = min(mostRequests, p.requests*2)
		case larger:
			p.size = p.size * 5 / 2
		case smaller:
			p.size = p.size * 2 / 5
		case aBitLarger:
			p.size = p.size * 3 / 2
		case aBitSmaller:
			p.size = p.size * 2 / 3
		case fewerRequests:
			p.requests = max(1, p.requests/2)
		}
		p.size = min(max(p.size, leastBulk), p.most, mostSize)
		if p.size > p.bestAt[0] && long > tooLong {
			p.size = p.bestAt[0]
		}
		if [2]int{p.size, p.requests} != p.bestAt && promises(p.size*p.requests, gain*p.best, p.away) {
			return
		}
		p.size, p.requests = p.bestAt[0], p.bestAt[1]
	}
	p.left, p.resting = nil, p.rest
	p.rest *= 2
}

// promises reports whether so many users on their way can be faster than so many a second, if
// requests take no longer than the way there and back.
func promises(users int, speed float64, away time.Duration) bool {
	return away <= 0 || float64(users) > speed*away.Seconds()
}

// evenly is how many of n users go into the next request: the last one of a batch is
// to be no smaller than the others.
func evenly(n, size int) int {
	parts := (n + size - 1) / size
	return (n + parts - 1) / parts
}

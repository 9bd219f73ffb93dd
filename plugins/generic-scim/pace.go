package scim

import (
	"context"
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
	fixed    bool // by the configuration
	most     int  // no larger requests, because the server said so
	inside   int
	moved    chan struct{}
	failures int // in a row

	window  window
	best    float64
	bestAt  [2]int
	step    int
	resting int
	now     func() time.Time
}

// window is a stretch of time in which users are counted.
type window struct {
	began time.Time
	users int
	asked int
}

const (
	firstSize    = 20
	mostSize     = 200
	mostRequests = 16
)

// newPace begins with more requests at a time where answers are far away.
func newPace(c Config, f *facts, away time.Duration) *pace {
	p := &pace{off: !f.bulk, size: firstSize, requests: 4, most: mostSize, moved: make(chan struct{}), now: time.Now}
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
	return func(users int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failures = 0
		if !p.fixed {
			p.measure(users, p.now(), begun)
		}
	}
}

// measure closes a window when enough has happened in it, and climbs: a step that
// brought more users a second is kept, any other one is taken back. A request that
// began before the window did is not counted into it.
func (p *pace) measure(users int, now, begun time.Time) {
	if p.window.began.IsZero() {
		p.window = window{began: now}
		return
	}
	if begun.Before(p.window.began) && p.window.asked == 0 {
		p.window.users += users / 2
	} else {
		p.window.users += users
	}
	p.window.asked++
	if p.window.asked < 2*p.requests || p.window.users < 256 {
		return
	}
	speed := float64(p.window.users) / max(now.Sub(p.window.began).Seconds(), 1e-6)
	p.window = window{}
	at := [2]int{p.size, p.requests}
	switch {
	case speed > 1.05*p.best:
		if at == p.bestAt && p.best > 0 {
			p.resting = 0 // the server has become faster: look around again
		}
		p.best, p.bestAt = speed, at
	default:
		if at == p.bestAt {
			p.best = (p.best + speed) / 2 // it has become slower
		}
		p.step++
	}
	p.size, p.requests = p.bestAt[0], p.bestAt[1]
	if p.resting > 0 {
		p.resting--
		return
	}
	// The steps: larger, smaller, more requests, fewer; then a rest.
	switch p.step % 5 {
	case 0:
		p.size = min(p.most, mostSize, p.size*8/5+1)
	case 1:
		p.size = max(leastBulk, p.size*5/8)
	case 2:
		p.requests = min(mostRequests, p.requests*2)
	case 3:
		p.requests = max(1, p.requests/2)
	default:
		p.step, p.resting = 0, 12
	}
}

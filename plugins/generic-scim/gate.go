package scim

import (
	"context"
	"sync"
	"time"
)

// gate bounds the requests that are on their way, by a number that grows while all
// goes well and halves when the server complains.
type gate struct {
	mu     sync.Mutex
	limit  float64
	most   int
	inside int
	until  time.Time // nobody enters before
	moved  chan struct{}
	shrunk time.Time
}

func newGate(first, most int) *gate {
	return &gate{limit: float64(first), most: most, moved: make(chan struct{})}
}

// enter waits for a place, or only for the end of a pause.
func (g *gate) enter(ctx context.Context, paced bool) (leave func(), err error) {
	for {
		g.mu.Lock()
		rest := time.Until(g.until)
		if rest <= 0 && paced {
			g.mu.Unlock()
			return func() {}, nil
		}
		if rest <= 0 && g.inside < max(1, int(g.limit)) {
			g.inside++
			g.mu.Unlock()
			return func() {
				g.mu.Lock()
				g.inside--
				g.stir()
				g.mu.Unlock()
			}, nil
		}
		moved := g.moved
		g.mu.Unlock()
		if rest > 0 {
			if err := sleep(ctx, rest); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// stir wakes whoever waits; the lock is held.
func (g *gate) stir() {
	close(g.moved)
	g.moved = make(chan struct{})
}

func (g *gate) more() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit < float64(g.most) && g.inside >= int(g.limit) {
		g.limit = min(g.limit+1/g.limit, float64(g.most))
		g.stir()
	}
}

// fewer halves, once for all complaints of a moment.
func (g *gate) fewer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.shrunk) < 200*time.Millisecond {
		return
	}
	g.shrunk = time.Now()
	g.limit = max(1, g.limit/2)
}

func (g *gate) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(d); until.After(g.until) {
		g.until = until
	}
}

func (g *gate) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(1, int(g.limit))
}

// rate spaces operations out. A nil one does nothing.
type rate struct {
	mu    sync.Mutex
	every time.Duration
	next  time.Time
}

func newRate(perSecond float64) *rate {
	if perSecond <= 0 {
		return nil
	}
	return &rate{every: time.Duration(float64(time.Second) / perSecond)}
}

func (r *rate) take(ctx context.Context, n int) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	wait := r.next.Sub(now)
	r.next = r.next.Add(time.Duration(n) * r.every)
	r.mu.Unlock()
	return sleep(ctx, wait)
}

package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginpb"
)

// controlStream carries what a plugin tells the host outside of batches, over whichever
// Load stream is open. It is the [Journal] of a plugin.
type controlStream struct {
	mu      sync.Mutex
	saved   map[string][]byte
	out     *outbox   // nil while no stream is open
	also    []*outbox // of plans and undos, which carry pulses alone
	lastID  uint64
	waiting map[uint64]chan error
	pulsed  time.Time
}

// pulseEvery keeps a busy plugin from flooding a line that people read.
const pulseEvery = 100 * time.Millisecond

var errNoLoad = errors.New("the journal can be written while a load is running, and none is")

func newControlStream() *controlStream {
	return &controlStream{saved: map[string][]byte{}, waiting: map[uint64]chan error{}}
}

// restore takes over what earlier runs saved.
func (c *controlStream) restore(saved map[string][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.saved, saved)
}

// Get implements [Journal].
func (c *controlStream) Get(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.saved[key]
	return value, ok
}

// Put implements [Journal].
func (c *controlStream) Put(ctx context.Context, key string, value []byte) error {
	c.mu.Lock()
	if c.out == nil {
		c.mu.Unlock()
		return fmt.Errorf("save %s: %w", key, errNoLoad)
	}
	c.lastID++
	id, answer := c.lastID, make(chan error, 1)
	c.waiting[id] = answer
	c.out.push(message{post: &pluginpb.LoadResponse{Save: &pluginpb.Save{Id: id, Key: key, Value: value}}})
	c.mu.Unlock()

	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
	switch {
	case err != nil:
		return fmt.Errorf("save %s: %w", key, err)
	case value == nil:
		delete(c.saved, key)
	default:
		c.saved[key] = value
	}
	return nil
}

// pulse sends p unless the last one was a moment ago.
func (c *controlStream) pulse(p Pulse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	if out == nil && len(c.also) > 0 {
		out = c.also[0]
	}
	if now := time.Now(); out != nil && now.Sub(c.pulsed) >= pulseEvery {
		c.pulsed = now
		out.push(message{post: &pluginpb.LoadResponse{Pulse: wire.EncodePulse(p)}})
	}
}

// confirm passes the host's answer to the Put that waits for it.
func (c *controlStream) confirm(p *pluginpb.Saved) {
	if p == nil {
		return
	}
	var err error
	if p.GetError() != "" {
		err = errors.New(p.GetError())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.waiting[p.GetId()]; answer != nil {
		select {
		case answer <- err:
		default: // a second answer
		}
	}
}

func (c *controlStream) open(out *outbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = out
}

// lend has pulses go over out as well, until the returned function is called.
func (c *controlStream) lend(out *outbox) (back func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.also = append(c.also, out)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.also = slices.DeleteFunc(c.also, func(o *outbox) bool { return o == out })
	}
}

// shut is the end of the stream: no answer can come any more.
func (c *controlStream) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = nil
	for _, answer := range c.waiting {
		select {
		case answer <- errNoLoad:
		default:
		}
	}
}

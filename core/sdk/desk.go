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

// desk carries what a plugin tells the host outside of batches, over whichever
// Load stream is open. It is the [Journal] of a plugin.
type desk struct {
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

func newDesk() *desk { return &desk{saved: map[string][]byte{}, waiting: map[uint64]chan error{}} }

// restore takes over what earlier runs saved.
func (d *desk) restore(saved map[string][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.Copy(d.saved, saved)
}

// Get implements [Journal].
func (d *desk) Get(key string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	value, ok := d.saved[key]
	return value, ok
}

// Put implements [Journal].
func (d *desk) Put(ctx context.Context, key string, value []byte) error {
	d.mu.Lock()
	if d.out == nil {
		d.mu.Unlock()
		return fmt.Errorf("save %s: %w", key, errNoLoad)
	}
	d.lastID++
	id, answer := d.lastID, make(chan error, 1)
	d.waiting[id] = answer
	d.out.push(letter{post: &pluginpb.LoadResponse{Save: &pluginpb.Save{Id: id, Key: key, Value: value}}})
	d.mu.Unlock()

	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, id)
	switch {
	case err != nil:
		return fmt.Errorf("save %s: %w", key, err)
	case value == nil:
		delete(d.saved, key)
	default:
		d.saved[key] = value
	}
	return nil
}

// pulse sends p unless the last one was a moment ago.
func (d *desk) pulse(p Pulse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.out
	if out == nil && len(d.also) > 0 {
		out = d.also[0]
	}
	if now := time.Now(); out != nil && now.Sub(d.pulsed) >= pulseEvery {
		d.pulsed = now
		out.push(letter{post: &pluginpb.LoadResponse{Pulse: wire.EncodePulse(p)}})
	}
}

// confirm passes the host's answer to the Put that waits for it.
func (d *desk) confirm(p *pluginpb.Saved) {
	if p == nil {
		return
	}
	var err error
	if p.GetError() != "" {
		err = errors.New(p.GetError())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if answer := d.waiting[p.GetId()]; answer != nil {
		select {
		case answer <- err:
		default: // a second answer
		}
	}
}

func (d *desk) open(out *outbox) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = out
}

// lend has pulses go over out as well, until the returned function is called.
func (d *desk) lend(out *outbox) (back func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.also = append(d.also, out)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.also = slices.DeleteFunc(d.also, func(o *outbox) bool { return o == out })
	}
}

// shut is the end of the stream: no answer can come any more.
func (d *desk) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = nil
	for _, answer := range d.waiting {
		select {
		case answer <- errNoLoad:
		default:
		}
	}
}

package conversation

import (
	"fmt"
	"sync"

	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginpb"
)

// listen takes out of a response what is no answer to a batch.
func (s *Session) listen(p *pluginpb.LoadResponse) {
	if p == nil {
		return
	}
	hear(s, p.GetPulse())
	if save := p.GetSave(); save != nil {
		// Apart from the receiver, so that outcomes keep coming while it is written.
		go s.save(save)
	}
}

// hear takes in a sign of life, and what a plugin says about how it gets on.
func hear(s *Session, p *pluginpb.Pulse) {
	s.vigil.sign()
	if p != nil && s.opts.Pulse != nil {
		heard := wire.DecodePulse(p)
		heard.Reason = s.Scrub(heard.Reason)
		s.pulsing.Lock()
		defer s.pulsing.Unlock()
		s.opts.Pulse(heard)
	}
}

// save confirms a value once it is durable. A confirmation that can no longer be
// sent is lost together with the stream and the plugin's wait for it.
func (s *Session) save(p *pluginpb.Save) {
	answer := &pluginpb.Saved{Id: p.GetId()}
	if err := keepValue(s, p.GetKey(), p.Value); err != nil {
		answer.Error = err.Error()
	}
	s.mu.Lock()
	l := s.load
	s.mu.Unlock()
	if l != nil {
		l.request(s.ctx, func() error { return l.rpc.saved(answer) })
	}
}

// keepValue makes a value durable, or says why it is not; nil removes the key.
func keepValue(s *Session, key string, value []byte) error {
	if value != nil && len(value) == 0 {
		value = []byte{} // present, not removed
	}
	return s.saved.keep(key, value, func() error {
		if s.opts.Memory == nil {
			return nil
		}
		return s.opts.Memory.Save(s.ctx, key, value)
	})
}

// quota bounds what a plugin has saved in all, because every Configure brings it back.
type quota struct {
	mu    sync.Mutex
	sizes map[string]int // of key and value
	all   int
}

// restore counts what earlier runs have saved.
func (q *quota) restore(saved map[string][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sizes, q.all = make(map[string]int, len(saved)), 0
	for key, value := range saved {
		q.sizes[key] = len(key) + len(value)
		q.all += q.sizes[key]
	}
}

// keep has write save a value, unless that would be too much.
func (q *quota) keep(key string, value []byte, write func() error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	if value != nil {
		size = len(key) + len(value)
	}
	all := q.all - q.sizes[key] + size
	switch {
	case len(key) == 0 || len(key) > wire.MaxSavedKey:
		return fmt.Errorf("a key of %d bytes: one has 1 to %d", len(key), wire.MaxSavedKey)
	case len(value) > wire.MaxSaved:
		return fmt.Errorf("a value of %d bytes: one has at most %d", len(value), wire.MaxSaved)
	case value != nil && all > wire.MaxSavedAll:
		return fmt.Errorf("with it, %d bytes would be saved for this plugin: at most %d can be; remove some", all, wire.MaxSavedAll)
	}
	if err := write(); err != nil {
		return err
	}
	q.all = all
	if value == nil {
		delete(q.sizes, key)
		return nil
	}
	if q.sizes == nil {
		q.sizes = map[string]int{}
	}
	q.sizes[key] = size
	return nil
}

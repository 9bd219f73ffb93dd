package conversation

import (
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginpb"
)

// listen takes out of a response what is no answer to a batch.
func (s *Session) listen(p *pluginpb.LoadResponse) {
	if pulse := p.GetPulse(); pulse != nil && s.opts.Pulse != nil {
		heard := wire.DecodePulse(pulse)
		heard.Reason = s.Scrub(heard.Reason)
		s.opts.Pulse(heard)
	}
	if save := p.GetSave(); save != nil {
		// Apart from the receiver, so that outcomes keep coming while it is written.
		go s.save(save)
	}
}

// save confirms a value once it is durable. A confirmation that can no longer be
// sent is lost together with the stream and the plugin's wait for it.
func (s *Session) save(p *pluginpb.Save) {
	answer := &pluginpb.Saved{Id: p.GetId()}
	if s.opts.Memory != nil {
		value := p.Value
		if value != nil && len(value) == 0 {
			value = []byte{} // present, not removed
		}
		if err := s.opts.Memory.Save(s.ctx, p.GetKey(), value); err != nil {
			answer.Error = err.Error()
		}
	}
	s.mu.Lock()
	l := s.load
	s.mu.Unlock()
	if l != nil {
		l.request(s.ctx, func() error { return l.rpc.saved(answer) })
	}
}

package engine

import (
	"sync"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/signin"
)

// signIns counts the accounts that a run is about and that are, or will be, in the target,
// by what they bring to sign in with.
type signIns struct {
	mu       sync.Mutex
	accounts map[signin.Account]int
	target   signin.Target
	told     func(sourceID string, ways []signin.Way)
}

func newSignIns() *signIns { return &signIns{accounts: map[signin.Account]int{}} }

// add counts an account, or takes it out again.
func (s *signIns) add(u *pluginapi.User, n int) {
	a := signin.Of(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[a] += n
}

// outcomes takes out those that did not come into the target, and tells of the others. The
// changes are in the order of the batch, and some of its accounts may have none.
func (s *signIns) outcomes(b *batch, changes []pluginapi.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.users {
		u := &b.users[i]
		if len(changes) == 0 || changes[0].SourceID != u.SourceID {
			continue
		}
		a := signin.Of(u)
		switch {
		case refused(&changes[0]) && !b.before[i].InTarget():
			s.accounts[a]--
		case s.told != nil && s.target.Known():
			s.told(u.SourceID, s.target.Ways(a))
		}
		changes = changes[1:]
	}
}

// refused says that nothing of an account has come into the target with this outcome: who
// was not there before is not there.
func refused(c *pluginapi.Change) bool {
	return c.Action == pluginapi.Rejected || c.Action == pluginapi.Skipped
}

// stranded is who has no way to sign in; nil where the plugin tells nothing about that.
func (s *signIns) stranded() *signin.Stranded {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.target.Known() {
		return nil
	}
	all := s.target.Count(s.accounts)
	return &all
}

package conversation

import (
	"fmt"
	"sync"
	"time"
)

// Silence says that a plugin has said nothing for a while: no outcome, no pulse.
type Silence struct {
	// Call is what it was asked, and Batch and Users what of it, where it came in batches:
	// the oldest one without an answer.
	Call  string
	Batch uint64
	Users int
	// For is how long it has been; 0 is the end of a silence that was told.
	For time.Duration
	// Limit is when it ends as in doubt, 0 when never.
	Limit time.Duration
}

// String is one line for people.
func (s Silence) String() string {
	text := fmt.Sprintf("the plugin has said nothing for %s: waiting for %s", s.For.Round(time.Second), s.Call)
	if s.Batch > 0 {
		text += fmt.Sprintf(" of batch %d with %d users", s.Batch, s.Users)
	}
	if s.Limit > 0 {
		text += fmt.Sprintf("; it ends as in doubt after %s", s.Limit)
	}
	return text
}

// SilentError says that a plugin was given up because it said nothing for too long.
type SilentError struct {
	Plugin string
	Silence
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("plugin %s said nothing about %s for %s (limits.silence); who was with it is in doubt", e.Plugin, e.Call, e.Limit)
}

// noticeAfter is when silence is told for the first time, and how often from then on.
const noticeAfter = time.Minute

// vigil notices that a plugin says nothing although somebody waits.
type vigil struct {
	notice, limit time.Duration // 0 is never
	tell          func(Silence)
	give          func(Silence) // at the limit, once

	mu    sync.Mutex
	open  []*watched // the oldest first
	heard time.Time
	told  time.Time // zero when nothing was told since heard
	given bool
	timer *time.Timer
	round int // of the timer, as one that fires late is not this one
}

// watched is something that a plugin owes an answer to.
type watched struct {
	call  string
	batch uint64
	users int
}

// begin counts w as waited for until end is called, which may be more than once.
func (v *vigil) begin(w watched) (end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.open) == 0 {
		v.heard = time.Now()
		v.arm()
	}
	v.open = append(v.open, &w)
	return sync.OnceFunc(func() { v.end(&w) })
}

func (v *vigil) end(w *watched) {
	v.sign()
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, o := range v.open {
		if o == w {
			v.open = append(v.open[:i:i], v.open[i+1:]...)
			break
		}
	}
	if len(v.open) == 0 && v.timer != nil {
		v.timer.Stop()
		v.round++
	}
}

// sign is anything that the plugin says.
func (v *vigil) sign() {
	v.mu.Lock()
	was := v.told
	v.heard, v.told = time.Now(), time.Time{}
	v.mu.Unlock()
	if !was.IsZero() {
		v.tell(Silence{})
	}
}

// arm has check called when there may be something to tell. The lock is held.
func (v *vigil) arm() {
	next := v.notice
	if !v.told.IsZero() {
		next = time.Until(v.told.Add(v.notice))
	} else if v.notice > 0 {
		next = time.Until(v.heard.Add(v.notice))
	}
	if v.limit > 0 && (v.notice == 0 || time.Until(v.heard.Add(v.limit)) < next) {
		next = time.Until(v.heard.Add(v.limit))
	}
	if v.notice == 0 && v.limit == 0 || v.given {
		return
	}
	v.round++
	round := v.round
	v.timer = time.AfterFunc(max(next, time.Millisecond), func() { v.check(round) })
}

func (v *vigil) check(round int) {
	v.mu.Lock()
	if len(v.open) == 0 || v.round != round {
		v.mu.Unlock()
		return
	}
	now := time.Now()
	o := v.open[0]
	s := Silence{Call: o.call, Batch: o.batch, Users: o.users, For: now.Sub(v.heard), Limit: v.limit}
	over := v.limit > 0 && s.For >= v.limit && !v.given
	due := v.notice > 0 && s.For >= v.notice && (v.told.IsZero() || now.Sub(v.told) >= v.notice)
	if due {
		v.told = now
	}
	v.given = v.given || over
	v.arm()
	v.mu.Unlock()
	if due {
		v.tell(s)
	}
	if over {
		v.give(s)
	}
}

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// status shows progress: a line that rewrites itself on a terminal, else a
// plain line every so often. Its methods are called one at a time.
type status struct {
	w        io.Writer
	terminal bool
	off      bool
	every    time.Duration
	last     time.Time
	title    string
	began    time.Time
	shown    bool

	mu    sync.Mutex
	heard pluginapi.Pulse       // what the plugin said last
	until time.Time             // when its wait ends
	also  func(pluginapi.Pulse) // when set, hears it as well
}

func newStatus(w io.Writer, off bool) *status {
	s := &status{w: w, terminal: isTerminal(w), off: off, every: 10 * time.Second, last: time.Now()}
	if s.terminal {
		s.every = 200 * time.Millisecond
	}
	return s
}

// pulse remembers what a plugin says of itself, for the next line. It may be
// called from any goroutine.
func (s *status) pulse(p pluginapi.Pulse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.until = p, time.Now().Add(p.Wait)
	if s.also != nil {
		s.also(p)
	}
}

// hindrance is the part of the line that says what the plugin is up against.
func (s *status) hindrance(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	if s.heard.Limit > 0 {
		parts = append(parts, fmt.Sprintf("%d requests at a time", s.heard.Limit))
	}
	if left := s.until.Sub(now); left > 0 {
		parts = append(parts, fmt.Sprintf("waiting %s: %s", left.Round(time.Second), s.heard.Reason))
	}
	if len(parts) == 0 {
		return ""
	}
	return "  " + strings.Join(parts, ", ")
}

var phaseText = map[engine.Phase]string{
	engine.Choosing: "Choosing accounts", engine.Surveying: "Looking at accounts", engine.Planning: "Comparing with the target", engine.Loading: "Loading", engine.Verifying: "Reading back",
	migration.Undoing: "Undoing",
}

// rows is the progress of reading tables.
func (s *status) rows(n int) { s.show("Reading rows", n, 0) }

// ranges is the progress of a whole reading: accounts so far, and how many
// ranges are done.
func (s *status) ranges(accounts int, b supertokens.Batch) {
	s.show("Accounts", accounts, accounts/max(b.Done, 1)*b.Total)
}

// engine is the progress of a run.
func (s *status) engine(p engine.Progress) { s.show(phaseText[p.Phase], p.Done, p.Total) }

func (s *status) show(title string, done, total int) {
	now := time.Now()
	if title != s.title {
		s.title, s.began = title, now
	}
	if s.off || now.Sub(s.last) < s.every {
		return
	}
	s.last = now
	line := fmt.Sprintf("%s  %d", title, done)
	if total > 0 {
		line += fmt.Sprintf(" of %d (%d %%)", total, 100*done/total)
	}
	if passed := now.Sub(s.began).Seconds(); passed > 0 && done > 0 {
		rate := float64(done) / passed
		line += fmt.Sprintf("  %.0f/s", rate)
		if left := total - done; left > 0 {
			line += fmt.Sprintf("  about %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	line += s.hindrance(now)
	if s.terminal {
		fmt.Fprintf(s.w, "\r\x1b[K%s", line)
		s.shown = true
	} else {
		fmt.Fprintln(s.w, line)
	}
}

// clear removes the line before something else is printed.
func (s *status) clear() {
	if s.shown {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

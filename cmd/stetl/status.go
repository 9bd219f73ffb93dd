package main

import (
	"fmt"
	"io"
	"time"

	"github.com/stetl/stetl/core/engine"
)

// status shows progress: a line that rewrites itself on a terminal, else a
// plain line every so often.
type status struct {
	w        io.Writer
	terminal bool
	off      bool
	every    time.Duration
	last     time.Time
	phase    engine.Phase
	began    time.Time
	shown    bool
}

func newStatus(w io.Writer, off bool) *status {
	s := &status{w: w, terminal: isTerminal(w), off: off, every: 10 * time.Second}
	if s.terminal {
		s.every = 200 * time.Millisecond
	}
	s.last = time.Now()
	return s
}

var phaseText = map[engine.Phase]string{
	engine.Surveying: "Reading accounts", engine.Planning: "Comparing with the target", engine.Loading: "Loading",
}

func (s *status) show(p engine.Progress) {
	now := time.Now()
	if p.Phase != s.phase {
		s.phase, s.began = p.Phase, now
	}
	if s.off || now.Sub(s.last) < s.every {
		return
	}
	s.last = now
	line := fmt.Sprintf("%s  %d", phaseText[p.Phase], p.Done)
	if p.Total > 0 {
		line += fmt.Sprintf(" of %d (%d %%)", p.Total, 100*p.Done/p.Total)
	}
	if passed := now.Sub(s.began).Seconds(); passed > 0 && p.Done > 0 {
		rate := float64(p.Done) / passed
		line += fmt.Sprintf("  %.0f/s", rate)
		if left := p.Total - p.Done; left > 0 {
			line += fmt.Sprintf("  about %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
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

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
)

// status shows what is being done, how far it is and since when: a line that rewrites
// itself on a terminal, else a plain line every so often. It goes on telling the time while
// nothing is counted. Its methods are safe for concurrent use.
type status struct {
	w        io.Writer
	terminal bool
	width    func() int // of the terminal
	off      bool
	every    time.Duration
	stopped  chan struct{}
	stop     sync.Once

	mu          sync.Mutex
	last        time.Time // when something was shown
	title       string
	done, total int
	began       time.Time // of the title
	counted     time.Time // when somebody last said how far it is
	shown       bool
	heard       pluginapi.Pulse       // what the plugin said last
	said, until time.Time             // when it said so, and when its wait ends
	also        func(pluginapi.Pulse) // when set, hears it as well
	silent      plugin.Silence        // since when the plugin says nothing, once that was told
	silentSince time.Time
	alsoSilent  func(plugin.Silence) // when set, hears it as well
}

func newStatus(w io.Writer, off bool) *status {
	s := &status{w: w, terminal: isTerminal(w), width: func() int { return widthOf(w) }, off: off, every: 10 * time.Second, last: time.Now(), stopped: make(chan struct{})}
	if s.terminal {
		s.every = 200 * time.Millisecond
	}
	if !off {
		go s.tick()
	}
	return s
}

// tick keeps the time going while nothing is counted.
func (s *status) tick() {
	ticker := time.NewTicker(max(s.every, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-s.stopped:
			return
		case <-ticker.C:
			s.mu.Lock()
			if now := time.Now(); now.Sub(s.counted) >= s.every {
				s.line(now)
			}
			s.mu.Unlock()
		}
	}
}

// pulse remembers what a plugin says of itself, for the next line. It may be
// called from any goroutine.
func (s *status) pulse(p pluginapi.Pulse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.said = p, time.Now()
	s.until = s.said.Add(p.Wait)
	if s.also != nil {
		s.also(p)
	}
}

// silence remembers that a plugin says nothing, for the lines from now on.
func (s *status) silence(silence plugin.Silence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent, s.silentSince = silence, time.Now().Add(-silence.For)
	if s.alsoSilent != nil {
		s.alsoSilent(silence)
	}
}

// hindrance is the part of the line that says what the plugin is up to, or against.
func (s *status) hindrance(now time.Time) string {
	var parts []string
	if silence := s.silent; silence.For > 0 {
		silence.For = now.Sub(s.silentSince)
		parts = append(parts, silence.String())
	}
	if s.heard.Limit > 0 {
		parts = append(parts, fmt.Sprintf("%d requests at a time", s.heard.Limit))
	}
	switch left := s.until.Sub(now); {
	case left > 0:
		parts = append(parts, fmt.Sprintf("waiting %s: %s", left.Round(time.Second), s.heard.Reason))
	case s.heard.Wait == 0 && s.heard.Reason != "" && now.Sub(s.said) < staleAfter:
		parts = append(parts, s.heard.Reason+amount(s.heard.Done, s.heard.Total))
	}
	if len(parts) == 0 {
		return ""
	}
	return "  " + strings.Join(parts, ", ")
}

// amount is how far something is, as far as that is known.
func amount(done, total int) string {
	switch {
	case total > 0:
		return " " + report.Number(done) + " of " + report.Number(total)
	case done > 0:
		return " " + report.Number(done)
	}
	return ""
}

// staleAfter is how long what a plugin is up to is believed, unless it says it again.
const staleAfter = 30 * time.Second

var phaseText = map[engine.Phase]string{
	engine.Choosing: "Choosing accounts", engine.Surveying: "Looking at accounts",
	engine.Checking: "Checking the target", engine.Proving: "Proving that old passwords work", engine.Planning: "Comparing with the target", engine.Loading: "Loading", engine.Verifying: "Reading back",
	migration.Undoing: "Undoing", migration.Dealing: "Dealing accounts to targets", migration.Sharing: "Accounts of all targets",
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if title != s.title {
		s.title, s.began = title, now
	}
	s.done, s.total, s.counted = done, total, now
	s.line(now)
}

// line shows how it stands, unless that was done a moment ago.
func (s *status) line(now time.Time) {
	if s.off || s.title == "" || now.Sub(s.last) < s.every {
		return
	}
	s.last = now
	line := s.title
	if s.done > 0 || s.total > 0 {
		line += fmt.Sprintf("  %d", s.done)
	}
	if s.total > 0 {
		line += fmt.Sprintf(" of %d (%d %%)", s.total, 100*s.done/s.total)
	}
	passed := now.Sub(s.began)
	if passed > 0 && s.done > 0 {
		rate := float64(s.done) / passed.Seconds()
		line += fmt.Sprintf("  %.0f/s", rate)
		if left := s.total - s.done; left > 0 {
			line += fmt.Sprintf("  about %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	if passed >= time.Second {
		line += " · " + passed.Round(time.Second).String()
	}
	line += s.hindrance(now)
	if s.terminal {
		fmt.Fprintf(s.w, "\r\x1b[K%s", cutTo(line, s.width()-1))
		s.shown = true
	} else {
		fmt.Fprintln(s.w, line)
	}
}

// cutTo shortens a line that would not fit: one that wraps around cannot be written over.
func cutTo(line string, width int) string {
	runes := []rune(line)
	if width <= 1 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}

// aside has something said and asked without the line in between.
func (s *status) aside(ask func() error) error {
	s.mu.Lock()
	off := s.off
	s.off = true
	if s.shown {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.shown = false
	}
	s.mu.Unlock()
	err := ask()
	s.mu.Lock()
	s.off = off
	s.mu.Unlock()
	return err
}

// clear removes the line before something else is printed, and ends the status.
func (s *status) clear() {
	s.stop.Do(func() { close(s.stopped) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = true
	if s.shown {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

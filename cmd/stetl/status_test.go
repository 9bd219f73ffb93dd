package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// Whoever waits sees what is going on while it goes on: where there is no terminal a
// line every ten seconds, on one a line that follows.
func TestProgressIsShownOnTheWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		s := newStatus(&out, false)
		begin := func() { s.engine(engine.Progress{Phase: engine.Loading, Total: 1000}) }
		begin()
		for n := range 30 {
			time.Sleep(time.Second)
			if n == 15 {
				s.pulse(pluginapi.Pulse{Limit: 8, Wait: 90 * time.Second, Reason: "429 from the target"})
			}
			s.engine(engine.Progress{Phase: engine.Loading, Done: 20 * (n + 1), Total: 1000})
		}
		want := `Loading  200 of 1000 (20 %)  20/s  about 40s left
Loading  400 of 1000 (40 %)  20/s  about 30s left  8 requests at a time, waiting 1m26s: 429 from the target
Loading  600 of 1000 (60 %)  20/s  about 20s left  8 requests at a time, waiting 1m16s: 429 from the target
`
		if out.String() != want {
			t.Errorf("a log:\n%s", out.String())
		}

		out.Reset()
		s = newStatus(&out, false)
		s.terminal, s.every = true, 200*time.Millisecond
		begin()
		for n := range 4 {
			time.Sleep(100 * time.Millisecond)
			s.engine(engine.Progress{Phase: engine.Loading, Done: 10 * (n + 1), Total: 1000})
		}
		s.clear()
		want = "\r\x1b[KLoading  20 of 1000 (2 %)  100/s  about 10s left\r\x1b[KLoading  40 of 1000 (4 %)  100/s  about 10s left\r\x1b[K"
		if out.String() != want {
			t.Errorf("a terminal: %q", out.String())
		}

		out.Reset()
		s = newStatus(&out, true)
		time.Sleep(time.Minute)
		begin()
		if out.Len() > 0 {
			t.Errorf("quiet: %s", out.String())
		}
	})
}

package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/plugin"
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
		s.clear()
		want := `Loading  200 of 1000 (20 %)  20/s  about 40s left · 10s
Loading  400 of 1000 (40 %)  20/s  about 30s left · 20s  8 requests at a time, waiting 1m26s: 429 from the target
Loading  600 of 1000 (60 %)  20/s  about 20s left · 30s  8 requests at a time, waiting 1m16s: 429 from the target
`
		if out.String() != want {
			t.Errorf("a log:\n%s", out.String())
		}

		// Nobody counts anything, and the time goes on.
		out.Reset()
		s = newStatus(&out, false)
		s.engine(engine.Progress{Phase: engine.Checking})
		time.Sleep(15 * time.Second)
		s.pulse(pluginapi.Pulse{Reason: "listing the realm", Done: 41_000, Total: 199_448})
		time.Sleep(20 * time.Second)
		s.clear()
		time.Sleep(time.Minute)
		want = "Checking the target · 10s\nChecking the target · 20s  listing the realm 41,000 of 199,448\nChecking the target · 30s  listing the realm 41,000 of 199,448\n"
		if out.String() != want {
			t.Errorf("a step without numbers:\n%s", out.String())
		}

		// The plugin says nothing, and then something.
		out.Reset()
		s = newStatus(&out, false)
		begin()
		time.Sleep(5 * time.Second)
		s.silence(plugin.Silence{Call: "Load", Batch: 3, Users: 200, For: time.Minute, Limit: 15 * time.Minute})
		time.Sleep(6 * time.Second)
		s.silence(plugin.Silence{})
		time.Sleep(10 * time.Second)
		s.clear()
		want = "Loading  0 of 1000 (0 %) · 10s  the plugin has said nothing for 1m5s: waiting for Load of batch 3 with 200 users; it ends as in doubt after 15m0s\n" +
			"Loading  0 of 1000 (0 %) · 20s\n"
		if out.String() != want {
			t.Errorf("a silence:\n%s", out.String())
		}

		out.Reset()
		s = newStatus(&out, true)
		s.off, s.terminal, s.every = false, true, 200*time.Millisecond
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
		if got := cutTo("Loading  20 of 1000", 10); got != "Loading  …" {
			t.Errorf("a narrow terminal: %q", got)
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

//go:build unix

package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/chromium"
)

// crowded is a history with as much of everything, and as long, as there can be.
func crowded(t *testing.T) *History {
	t.Helper()
	h := history(t)
	r := engine.Result{
		Summary: pluginapi.Summary{Read: 12_345_678, Created: 11_000_000, Updated: 1, Unchanged: 1_245_677, Skipped: 40_000, Rejected: 59_000, InDoubt: 1_000},
		Classes: map[pluginapi.Class]int{pluginapi.HashCarried: 12_000_000, pluginapi.NeedsReset: 100_000, pluginapi.NoPassword: 205_678, pluginapi.Filtered: 40_000},
		Losses:  map[mapping.Loss]int{}, Reasons: map[diag.Code]int{}, ReadBack: &engine.Verification{Compared: 11_000_001, Match: 10_999_999},
		Canaries: []engine.Proof{
			{Shape: "bcrypt 2a cost 11"},
			{Shape: "argon2id m=87795 t=1 p=8", Problem: "the target refused the right password: " + strings.Repeat("x", 200)},
		},
	}
	for n, info := range diag.Codes() {
		r.Reasons[info.Code] = 1 + n*n
	}
	for loss := range lossText {
		r.Losses[loss] = 7
	}
	r.Reasons[diag.Code("acme."+strings.Repeat("quite_unusually_long_", 6)+"code")] = 3
	raw, err := json.Marshal(struct {
		engine.Result
		Error string `json:"error"`
	}{r, "stopped by a limit: " + strings.Repeat("0123456789", 20)})
	if err != nil {
		t.Fatal(err)
	}
	h.Run.Result = raw
	h.Run.Source = "postgres host=" + strings.Repeat("a-very-long-name-of-a-host.", 8) + "example.org database=supertokens"
	h.Run.Target = "keycloak (realm " + strings.Repeat("customers", 20) + ")"
	h.Run.Program = "stetl 1.2.3-0.20261126101112-0123456789abcdef0123456789abcdef01234567"
	h.Run.Ended = h.Run.Began.Add(90*time.Hour + 3*time.Millisecond)
	h.Outcomes, h.Reasons = map[pluginapi.Action]int{pluginapi.Created: 12_245_678, pluginapi.Rejected: 59_000, pluginapi.InDoubt: 1_000}, nil
	h.Runs = nil
	for n := range 20 {
		run := h.Run
		run.ID = int64(1000 - n)
		h.Runs = append(h.Runs, run)
	}
	return h
}

// watched are the requests and complaints of a tab.
type watched struct {
	mu       sync.Mutex
	requests []string
	problems []string
}

func watch(t *testing.T, tab context.Context) *watched {
	t.Helper()
	w := &watched{}
	err := chromedp.Listen(tab, func(ev any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			w.requests = append(w.requests, e.Request.URL)
		case *log.EventEntryAdded:
			w.problems = append(w.problems, e.Entry.Text)
		case *runtime.EventExceptionThrown:
			w.problems = append(w.problems, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			w.problems = append(w.problems, fmt.Sprint("console: ", e.Type))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// media makes the tab print, or prefer dark colours.
func media(kind, scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Media: kind, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// examine runs in the page and gives what is wrong with how it looks: what sticks out
// of the page, bars whose length is not their share, text that is hard to read.
const examine = `(() => {
	const wrong = [], width = document.documentElement.clientWidth;
	for (const e of document.querySelectorAll('main *')) {
		const box = e.getBoundingClientRect(), style = getComputedStyle(e);
		if (box.right > width + 1 && !e.closest('.wide')) wrong.push(e.tagName + ' sticks out by ' + (box.right - width) + ': ' + e.textContent.slice(0, 40));
		if (!e.closest('svg') && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && contrast(style.color, ground(e)) < 4.5) wrong.push(e.tagName + ' is hard to read: ' + style.color + ' on ' + ground(e));
	}
	for (const e of document.querySelectorAll('.wide')) if (width < 640 && e.scrollWidth > e.clientWidth) wrong.push('a phone has to scroll sideways: ' + e.scrollWidth + ' of ' + e.clientWidth);
	for (const table of document.querySelectorAll('section')) {
		const bars = [...table.querySelectorAll('rect')].map(e => [e.getBoundingClientRect().width, e.closest('tr').querySelector('td.p').textContent, contrast(getComputedStyle(e).fill, ground(table)), e.closest('svg').getBoundingClientRect().width]);
		for (const [drawn, share, seen, room] of bars) {
			const part = parseFloat(share.replace(/[<>]/, '') || '0') / 100;
			if (Math.abs(drawn / room - part) > .01 && !(part > 0 && drawn > 0 && drawn < 4)) wrong.push('a bar of ' + share + ' has a length of ' + drawn + ' of ' + room);
			if (seen < 3) wrong.push('a bar is hard to see: ' + seen);
		}
	}
	function rgb(c) { return c.match(/[\d.]+/g).map(Number); }
	function ground(e) { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] !== 0) return c; } return 'rgb(255, 255, 255)'; }
	function light(c) { const [r, g, b] = rgb(c).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; }
	function contrast(a, b) { const [x, y] = [light(a), light(b)]; return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); }
	return wrong.slice(0, 20);
})()`

// A browser shows the page as it is meant, on every screen, in the dark and on paper,
// and the page asks it for nothing.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	for name, h := range map[string]*History{"usual": history(t), "crowded": crowded(t), "killed": {Run: journal.Run{ID: 1, Began: time.Now()}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "report.html")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.WriteHTML(f); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			tab := chromium.Private(t, browser)
			w := watch(t, tab)
			for _, view := range []struct {
				name, kind, scheme string
				width              int64
			}{
				{"light", "screen", "light", 1280},
				{"dark", "screen", "dark", 1280},
				{"narrow", "screen", "light", 390},
				{"paper", "print", "dark", 750},
			} {
				if err := chromedp.Do(tab, media(view.kind, view.scheme), chromedp.EmulateViewport(view.width, 900), chromedp.Navigate("file://"+path)); err != nil {
					t.Fatal(err)
				}
				wrong, err := chromedp.Run(tab, chromedp.Evaluate[[]string](examine))
				if err != nil {
					t.Fatal(err)
				}
				for _, problem := range wrong {
					t.Errorf("%s: %s", view.name, problem)
				}
				background, err := chromedp.Run(tab, chromedp.Evaluate[string]("getComputedStyle(document.body).backgroundColor"))
				if white := background == "rgb(255, 255, 255)"; err != nil || white == (view.name == "dark") {
					t.Errorf("%s: the page is %s, %v", view.name, background, err)
				}
				picture(t, tab, name+"-"+view.name)
			}
			charts, err := chromedp.Run(tab, chromedp.Evaluate[[]int]("[document.querySelectorAll('rect').length, document.querySelectorAll('polyline').length]"))
			if want := len(h.Samples) > 0; err != nil || (charts[0] > 0) != want || (charts[1] == 1) != want {
				t.Errorf("%v bars and curves, %v", charts, err)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, url := range w.requests {
				if url != "file://"+path {
					t.Errorf("the page asks for %s", url)
				}
			}
			if len(w.requests) != 4 || len(w.problems) > 0 {
				t.Errorf("requests %v, complaints %v", w.requests, w.problems)
			}
		})
	}
}

// The page about a plan finds one of fifty thousand, keeps few in the page at a time,
// shows hostile values as what they are, and asks for nothing.
func TestPlanPageInABrowser(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	path := filepath.Join(t.TempDir(), "plan.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(WritePlanHTML(f, planned(50_000), time.Now()), f.Close()); err != nil {
		t.Fatal(err)
	}
	tab := chromium.Private(t, browser)
	w := watch(t, tab)
	for _, view := range []struct {
		name, scheme string
		width        int64
	}{{"wide", "dark", 1280}, {"narrow", "light", 390}} {
		if err := chromedp.Do(tab, media("screen", view.scheme), chromedp.EmulateViewport(view.width, 900), chromedp.Navigate("file://"+path)); err != nil {
			t.Fatal(err)
		}
		wrong, err := chromedp.Run(tab, chromedp.Evaluate[[]string](examine))
		if err != nil || len(wrong) > 0 {
			t.Errorf("%s: %q, %v", view.name, wrong, err)
		}
		picture(t, tab, "plan-"+view.name)
	}
	ask := func(expression string) string {
		t.Helper()
		got, err := chromedp.Run(tab, chromedp.Evaluate[string](expression))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	const seen = `[document.getElementById('count').textContent, document.querySelectorAll('#found article').length, document.getElementById('more').hidden].join('; ')`
	if got := ask(seen); got != "50,006 of 50,006, the first 100 are shown; 100; false" {
		t.Errorf("at first: %s", got)
	}
	if err := chromedp.Do(tab, chromedp.Click("#more")); err != nil {
		t.Fatal(err)
	}
	if got := ask(seen); got != "50,006 of 50,006, the first 200 are shown; 200; false" {
		t.Errorf("more: %s", got)
	}
	if err := chromedp.Do(tab, chromedp.SendKeys("#words", "PERSON-04 after 49999")); err != nil {
		t.Fatal(err)
	}
	if got := ask(seen + ` + '; ' + document.querySelector('#found article').innerText.replace(/\s+/g, ' ')`); got != "1 of 50,006; 1; true; person-049999, updated field now after the run name before after 49999" {
		t.Errorf("found: %q", got)
	}
	for words, want := range map[string]string{
		"zoe\u0308@example":   "1 of 50,006; 1; true", // written in another way
		"441632960000 email":  "1 of 50,006; 1; true",
		"tester acme.no_role": "1 of 50,006; 1; true",
		"nobody at all":       "0 of 50,006; 0; true",
		"</script>":           "4 of 50,006; 4; true",
	} {
		typed, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(`document.getElementById('words').value = ` + string(typed) + `; document.getElementById('words').dispatchEvent(new Event('input')); ` + seen); got != want {
			t.Errorf("%s: %s, want %s", words, got, want)
		}
		if words == "</script>" {
			picture(t, tab, "plan-hostile")
			if got := ask(`document.getElementById('found').textContent`); !strings.Contains(got, ends) || !strings.Contains(got, quotes) || !strings.Contains(got, comments) {
				t.Errorf("values are not shown as they are: %s", got)
			}
		}
	}
	if got := ask(`document.getElementById('words').value = ''; document.getElementById('kind').value = 'rejected (acme.refused)'; document.getElementById('kind').dispatchEvent(new Event('change')); ` + seen + ` + document.title`); got != "1 of 50,006; 1; truestetl: plan" {
		t.Errorf("by kind: %s", got)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.requests) != 2 || len(w.problems) > 0 {
		t.Errorf("requests %v, complaints %v", w.requests, w.problems)
	}
}

// picture keeps what the tab shows where somebody wants to look at it.
func picture(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("STETL_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}

package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/signin"
)

// History is what the journal tells of a run and of where the accounts stand now.
type History struct {
	Run     journal.Run
	Samples []journal.Sample
	// Outcomes counts the accounts in the journal by their last outcome, over all runs, and
	// Reasons those not loaded by code.
	Outcomes map[pluginapi.Action]int
	Reasons  map[diag.Code]int
	// Runs are the latest runs, the newest first.
	Runs []journal.Run
	// Words explain the codes of the plugin.
	Words diag.Words
}

// result is what a run left in the journal; zero for one that was killed.
type result struct {
	engine.Result
	Parts PartLosses `json:"part_losses"`
	Error string     `json:"error"`
}

// SignInOf is what a run has seen of the ways to sign in at its target.
func SignInOf(r journal.Run) *signin.Target {
	got := resultOf(r)
	return &got.SignIn
}

func resultOf(r journal.Run) result {
	var out result
	_ = json.Unmarshal(r.Result, &out) // an older version's fields that have changed stay empty
	return out
}

// allOutcomes is [History.Outcomes] with those that a filter leaves out, most of which the
// journal has never heard of.
func (h *History) allOutcomes() map[pluginapi.Action]int {
	out := maps.Clone(orNone(h.Outcomes))
	for _, r := range h.Runs {
		got := resultOf(r)
		if classes := got.Classes; len(classes) > 0 && got.Chosen == nil { // the latest that was about everybody and has read the source
			if unheard := classes[pluginapi.Filtered] - h.Reasons[diag.MapFiltered]; unheard > 0 {
				out[pluginapi.Skipped] += unheard
			}
			break
		}
	}
	return out
}

func (h *History) state() string {
	switch {
	case h.Run.Ended.IsZero():
		return "at work, or killed"
	case resultOf(h.Run).Error != "":
		return "stopped early"
	default:
		return "done"
	}
}

type runLine struct {
	ID      int64             `json:"run"`
	Began   time.Time         `json:"began"`
	Ended   *time.Time        `json:"ended"`
	Program string            `json:"program"`
	Summary pluginapi.Summary `json:"summary"`
	Chosen  *engine.Part      `json:"chosen,omitempty"`
	Error   string            `json:"error,omitempty"`
}

func line(r journal.Run) runLine {
	got := resultOf(r)
	out := runLine{ID: r.ID, Began: r.Began.UTC(), Program: r.Program, Summary: got.Summary, Error: got.Error}
	if c := got.Chosen; c != nil {
		out.Chosen = &engine.Part{Flag: c.Flag, Count: c.Count, Of: c.Of} // whose ids they were is of no use any more
	}
	if !r.Ended.IsZero() {
		out.Ended = new(r.Ended.UTC())
	}
	return out
}

type sampleLine struct {
	Ms   int64 `json:"ms"`
	Done int   `json:"done"`
}

// WriteJSON writes the history as one JSON object on one line.
func (h *History) WriteJSON(w io.Writer) error {
	got := resultOf(h.Run)
	samples := []sampleLine{}
	for _, s := range h.Samples {
		samples = append(samples, sampleLine{s.At.Sub(h.Run.Began).Milliseconds(), s.Done})
	}
	var runs []runLine
	for _, r := range h.Runs {
		runs = append(runs, line(r))
	}
	return WriteJSON(w, struct {
		runLine
		Source   string                   `json:"source"`
		Target   string                   `json:"target"`
		State    string                   `json:"state"`
		Classes  map[pluginapi.Class]int  `json:"classes"`
		Losses   map[mapping.Loss]int     `json:"losses"`
		Stranded *int                     `json:"stranded,omitempty"`
		Withheld *engine.Withheld         `json:"not_declared,omitempty"`
		Parts    PartLosses               `json:"part_losses,omitempty"`
		Reasons  map[diag.Code]int        `json:"reasons"`
		Removed  int                      `json:"removed"`
		Gone     *engine.Gone             `json:"gone,omitempty"`
		Canaries []engine.Proof           `json:"canaries"`
		ReadBack *engine.Verification     `json:"read_back,omitempty"`
		Accounts map[pluginapi.Action]int `json:"accounts"`
		Open     map[diag.Code]int        `json:"accounts_not_loaded"`
		Samples  []sampleLine             `json:"samples"`
		Runs     []runLine                `json:"runs"`
	}{
		line(h.Run), h.Run.Source, h.Run.Target, h.state(), orNone(got.Classes), orNone(got.Losses), strandedOf(&got.Result), got.Withheld, got.Parts, orNone(got.Reasons), len(got.Removed), got.Gone,
		orEmpty(got.Canaries), got.ReadBack, h.allOutcomes(), orNone(h.Reasons), samples, orEmpty(runs),
	})
}

func orNone[K comparable](m map[K]int) map[K]int {
	if m == nil {
		return map[K]int{}
	}
	return m
}

// WriteText writes the history for a person.
func (h *History) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\nSource   %s\nTarget   %s\n", h.Run.Source, h.Run.Target)
	fmt.Fprintf(b, "\nRun %d, %s: %s (%s)\n", h.Run.ID, h.state(), h.Run.Began.UTC().Format(time.DateTime+" UTC"), h.Run.Program)
	if c := resultOf(h.Run).Chosen; c != nil {
		fmt.Fprintf(b, "%s\n", chosenText(c))
	}
	said := h.headline()
	said.write(b)
	for _, g := range h.groups() {
		if len(g.Bars) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s\n\n", g.Title)
		t := table{header: []string{"", "accounts#", ""}}
		for _, bar := range g.Bars {
			t.add(bar.Name, Number(bar.Count), bar.Note)
		}
		_ = t.write(b) // a Builder does not fail
	}
	if rate, ok := h.rate(); ok {
		fmt.Fprintf(b, "\n%.0f accounts a second, on average\n", rate)
	}
	if text := resultOf(h.Run).Error; text != "" {
		fmt.Fprintf(b, "\nIt ended with: %s\n", text)
	}
	fmt.Fprintf(b, "\nThe latest runs\n\n")
	t := table{header: []string{"run#", "began", "took", "created#", "updated#", "unchanged#", "skipped#", "rejected#", "in doubt#"}}
	for _, r := range h.Runs {
		s, took := resultOf(r).Summary, "?"
		if !r.Ended.IsZero() {
			took = r.Ended.Sub(r.Began).Round(10 * time.Millisecond).String()
		}
		t.add(Number(int(r.ID)), r.Began.UTC().Format(time.DateTime), took, Number(s.Created), Number(s.Updated), Number(s.Unchanged), Number(s.Skipped), Number(s.Rejected), Number(s.InDoubt))
	}
	_ = t.write(b)
	return b.flush(w)
}

func (h *History) rate() (float64, bool) {
	if len(h.Samples) < 2 {
		return 0, false
	}
	first, last := h.Samples[0], h.Samples[len(h.Samples)-1]
	took := last.At.Sub(first.At).Seconds()
	return float64(last.Done-first.Done) / took, took > 0
}

// group is one chart of bars.
type group struct {
	Title string
	Bars  []bar
	// Of is how many accounts there are.
	Of int
}

// shownBars are shown of a chart before the reader asks for the rest.
const shownBars = 12

// stretch is a group with the bars that are shown, or with the rest.
func stretch(g group, rest bool) group {
	at := len(g.Bars)
	if at > shownBars+2 { // else there is little to hide
		at = shownBars
	}
	if rest {
		g.Bars = g.Bars[at:]
	} else {
		g.Bars = g.Bars[:at]
	}
	return g
}

type bar struct {
	Name, Note string
	Count      int
	// Tone chooses the colour: good, plain or bad.
	Tone string
}

// Width is the bar's share of all accounts, in percent, and enough to be seen where
// there is something.
func (g group) Width(b bar) float64 {
	if b.Count == 0 || g.Of == 0 {
		return 0
	}
	return math.Round(10*min(max(100*float64(b.Count)/float64(g.Of), .5), 100)) / 10
}

// Share is the bar's share of all accounts, as text.
func (g group) Share(b bar) string {
	percent := 100 * float64(b.Count) / float64(max(g.Of, 1))
	switch {
	case b.Count == 0 || g.Of == 0:
		return ""
	case percent < .1:
		return "<0.1%"
	case percent > 99.9 && b.Count < g.Of:
		return ">99.9%"
	default:
		return fmt.Sprintf("%.1f%%", percent)
	}
}

// groups are the charts of a run, and of where the accounts stand after it.
func (h *History) groups() []group {
	got := resultOf(h.Run)
	now := group{Title: "Where the accounts stand now"}
	for _, a := range byCount(h.allOutcomes()) {
		tone := "good"
		switch a { //nolint:exhaustive // the others are where they should be
		case pluginapi.Rejected, pluginapi.InDoubt:
			tone = "bad"
		case pluginapi.Skipped:
			tone = "plain"
		}
		n := h.allOutcomes()[a]
		now.Bars = append(now.Bars, bar{strings.ReplaceAll(string(a), "_", " "), "", n, tone})
		now.Of += n
	}
	return append(resultGroups(&got.Result, got.Parts, h.Words), now)
}

// resultGroups are the charts of what a run did, or would do.
func resultGroups(r *engine.Result, parts PartLosses, words diag.Words) []group {
	s := r.Summary
	outcomes := group{Title: "Outcomes of this run"}
	if r.DryRun {
		outcomes.Title = "What would happen to the accounts"
	}
	for _, o := range []bar{
		{"created", "", s.Created, "good"},
		{"updated", "", s.Updated, "good"},
		{"unchanged", "", s.Unchanged, "plain"},
		{"skipped", "", s.Skipped, "plain"},
		{"rejected", "", s.Rejected, "bad"},
		{"in doubt", "", s.InDoubt, "bad"},
	} {
		if s.Read > 0 {
			outcomes.Bars = append(outcomes.Bars, o)
		}
	}
	classes := group{Title: "Passwords"}
	for _, c := range []bar{
		{"hash carried", "the old password works", r.Classes[pluginapi.HashCarried], "good"},
		{"needs reset", "the target cannot verify this hash", r.Classes[pluginapi.NeedsReset], "bad"},
		{"no password", "social, passwordless or passkey only", r.Classes[pluginapi.NoPassword], "plain"},
		{"filtered", "left out by mapping.filter", r.Classes[pluginapi.Filtered], "plain"},
	} {
		if len(r.Classes) > 0 && (c.Count > 0 || c.Name != "filtered") {
			classes.Bars = append(classes.Bars, c)
		}
	}
	reasons := group{Title: "Not loaded, by reason"}
	for _, code := range byCount(r.Reasons) {
		info, _ := words.Lookup(code)
		tone := "bad"
		if code == diag.MapFiltered || code == diag.RunNotSelected {
			tone = "plain" // that was the wish
		}
		reasons.Bars = append(reasons.Bars, bar{string(code), info.Meaning, r.Reasons[code], tone})
	}
	losses := group{Title: "Not carried over"}
	for _, l := range byCount(r.Losses) {
		note := lossText[l]
		if what, why := lossWords(l, pluginOf(r)); why != "" {
			note = what + "; " + why
		}
		losses.Bars = append(losses.Bars, bar{string(l), note, r.Losses[l], "plain"})
	}
	out := []group{outcomes, classes, reasons, losses, {Title: partLossTitle, Bars: partLossBars(parts, words)}}
	for i := range out {
		out[i].Of = s.Read
	}
	return out
}

// byCount puts the most frequent first.
func byCount[K ~string](m map[K]int) []K {
	keys := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(keys, func(a, b K) int { return m[b] - m[a] })
	return keys
}

//go:embed shared.html
var sharedHTML string

//go:embed history.html
var page string

// counted is a number in the list of runs, with the name of its column.
type counted struct {
	Name  string
	Count int
}

// sharedTemplate is what all pages look like.
var sharedTemplate = template.Must(template.New("shared").Funcs(template.FuncMap{
	"number": Number,
	"moment": func(t time.Time) string { return t.UTC().Format(time.DateTime + " UTC") },
	"took": func(r journal.Run) string {
		if r.Ended.IsZero() {
			return "?"
		}
		took := r.Ended.Sub(r.Began)
		if took >= time.Minute {
			return took.Round(time.Second).String()
		}
		return took.Round(10 * time.Millisecond).String()
	},
	"stretch": stretch,
	"summary": func(r journal.Run) pluginapi.Summary { return resultOf(r).Summary },
	"column":  func(name string, count int) counted { return counted{name, count} },
}).Parse(sharedHTML))

var pageTemplate = template.Must(template.Must(sharedTemplate.Clone()).New("report").Parse(page))

// WriteHTML writes one page that needs nothing else: no script, no font, no
// request. It names no account.
func (h *History) WriteHTML(w io.Writer) error {
	got := resultOf(h.Run)
	var proven, open []engine.Proof
	for _, p := range got.Canaries {
		if p.Proven {
			proven = append(proven, p)
		} else {
			open = append(open, p)
		}
	}
	return pageTemplate.Execute(w, map[string]any{
		"Run": h.Run, "State": h.state(), "Headline": h.headline(), "Error": got.Error, "Groups": h.groups(), "Runs": h.Runs, "Proven": proven, "Open": open,
		"ReadBack": got.ReadBack, "Throughput": h.throughput(), "Read": got.Summary.Read, "Chosen": got.Chosen,
	})
}

// curve is the throughput as a line in a picture of 600 by 160.
type curve struct {
	Points string
	// Peak is the highest rate, Rows the same as numbers.
	Peak  int
	Total string
	Rows  []rateRow
}

type rateRow struct {
	From string
	Rate int
}

// mostPoints keeps the page small for runs of days.
const mostPoints = 120

func (h *History) throughput() *curve {
	s := h.Samples
	if step := (len(s) + mostPoints - 1) / mostPoints; step > 1 {
		var thin []journal.Sample
		for i := 0; i < len(s); i += step {
			thin = append(thin, s[i])
		}
		s = thin
	}
	if len(s) < 2 || !s[len(s)-1].At.After(s[0].At) {
		return nil
	}
	c := &curve{Total: s[len(s)-1].At.Sub(s[0].At).Round(time.Second).String()}
	rates := make([]float64, 0, len(s)-1)
	for i := 1; i < len(s); i++ {
		rate := 0.0
		if took := s[i].At.Sub(s[i-1].At).Seconds(); took > 0 {
			rate = float64(s[i].Done-s[i-1].Done) / took
		}
		rates = append(rates, rate)
		c.Peak = max(c.Peak, int(math.Ceil(rate)))
		c.Rows = append(c.Rows, rateRow{s[i-1].At.Sub(s[0].At).Round(time.Second).String(), int(math.Round(rate))})
	}
	var b strings.Builder
	for i, rate := range rates {
		x := 600.0
		if len(rates) > 1 {
			x = 600 * float64(i) / float64(len(rates)-1)
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", x, 160-150*rate/float64(max(c.Peak, 1)))
	}
	c.Points = strings.TrimSpace(b.String())
	if len(rates) == 1 { // a line needs two ends
		c.Points = "0," + strings.Split(c.Points, ",")[1] + " " + c.Points
	}
	return c
}

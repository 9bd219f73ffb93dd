package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// headline says what came of a run, or would come of it, in plain words.
type headline struct {
	// Lead is the first sentence, and Points are what belongs to it.
	Lead   string
	Points []point
}

// point is one more sentence. Bad ones are about accounts that are not as they should be.
type point struct {
	Text string
	Bad  bool
}

// mostNamed bounds what a sentence lists.
const mostNamed = 3

// newHeadline writes it of a result. Nobody is named.
func newHeadline(r *engine.Result, parts PartLosses, target string, words diag.Words) headline {
	s := r.Summary
	there, about := s.Created+s.Updated+s.Unchanged, "accounts are in"
	if r.DryRun {
		about = "accounts would be in"
	}
	h := headline{Lead: fmt.Sprintf("%s of %s %s %s.", Number(there), Number(s.Read), about, cmp.Or(diag.Printable(target), "the target"))}
	if r.DryRun {
		h.Lead = strings.TrimSuffix(h.Lead, ".") + " after a run."
		h.say(false, "%s would be created, %s updated, and %s are as they should be.", Number(s.Created), Number(s.Updated), Number(s.Unchanged))
	}
	if n := r.Reasons[diag.RunNotSelected]; n > 0 {
		h.say(false, "%s were not chosen.", Number(n))
	}
	if n := r.Reasons[diag.MapFiltered]; n > 0 {
		h.say(false, "%s are left out by mapping.filter.", Number(n))
	}
	h.notLoaded(r, words)
	if text := strandedText(r); text != "" {
		h.say(true, "%s.", text)
	}
	if text := goneText(r); text != "" {
		h.say(r.Gone.Withheld != "", "%s.", text)
	}
	h.lacking(r, parts)
	h.unproven(r)
	return h
}

func (h *headline) say(bad bool, format string, args ...any) {
	h.Points = append(h.Points, point{fmt.Sprintf(format, args...), bad})
}

// notLoaded says who is missing and why, the commonest reason first.
func (h *headline) notLoaded(r *engine.Result, words diag.Words) {
	reasons := maps.Clone(r.Reasons)
	delete(reasons, diag.MapFiltered)
	delete(reasons, diag.RunNotSelected)
	missing := 0
	for _, n := range reasons {
		missing += n
	}
	if missing == 0 {
		return
	}
	var why []string
	for _, code := range byCount(reasons) {
		text := fmt.Sprintf("%s for %s", Number(reasons[code]), diag.Printable(string(code)))
		if info, ok := words.Lookup(code); ok {
			text = fmt.Sprintf("%s because %s (%s)", Number(reasons[code]), diag.Printable(info.Meaning), diag.Printable(string(code)))
		}
		why = append(why, text)
	}
	verb := "were not loaded"
	if r.DryRun {
		verb = "would not be loaded"
	}
	because := ": " + shortened(why, "; ", "reasons")
	if len(why) == 1 {
		because = "," + strings.TrimPrefix(why[0], Number(missing))
	}
	h.say(r.Summary.Rejected+r.Summary.InDoubt > 0, "%s %s%s.", Number(missing), verb, because)
	if n := r.Summary.InDoubt; n > 0 {
		h.say(true, "For %s of them it is not known yet whether they are there: the next run looks them up.", Number(n))
	}
}

// lacking says which accounts are there, and not whole or not known to be.
func (h *headline) lacking(r *engine.Result, parts PartLosses) {
	const failed diag.Code = "" // any code that is not one of the two others
	counts := map[diag.Code]map[string]int{}
	parts.each(func(f pluginapi.Feature, c diag.Code, n int) {
		what := cmp.Or(f.PartName(), diag.Printable(string(f)))
		kind := c
		if c != diag.LoadUnread && c != diag.LoadNoPlace {
			kind = failed
			what += fmt.Sprintf(" (%s)", diag.Printable(string(c)))
		}
		if counts[kind] == nil {
			counts[kind] = map[string]int{}
		}
		counts[kind][what] += n
	})
	list := func(kind diag.Code) string {
		var out []string
		for _, what := range byCount(counts[kind]) {
			out = append(out, fmt.Sprintf("%s of %s", what, Number(counts[kind][what])))
		}
		return shortened(out, ", ", "parts")
	}
	if len(counts[failed]) > 0 {
		who, lack, took := "", "are there lack", "did"
		if r.DryRun {
			lack, took = "would be there would lack", "would"
		}
		if r.Incomplete > 0 { // what older versions did not count
			who = fmt.Sprintf("%s of those that %s a part: ", Number(r.Incomplete), lack)
		}
		h.say(true, "%sthe target %s not take %s.", who, took, list(failed))
	}
	if len(counts[diag.LoadUnread]) > 0 {
		h.say(true, "It is unknown whether the target has the same as the source: %s. The target does not show these, and no run knows what was sent.", list(diag.LoadUnread))
	}
	if len(counts[diag.LoadNoPlace]) > 0 {
		h.say(false, "The target has no place for %s.", list(diag.LoadNoPlace))
	}
}

// unproven says of which passwords nobody knows whether they work.
func (h *headline) unproven(r *engine.Result) {
	var why []string
	for _, p := range r.Canaries {
		if p.Unasked {
			why = append(why, fmt.Sprintf("%s: %s", cmp.Or(p.Shape, "every hash"), diag.Printable(p.Problem)))
		}
	}
	if len(why) > 0 {
		h.say(true, "NOT PROVEN that old passwords work: %s.", shortened(why, "; ", "kinds of hashes"))
	}
}

// shortened joins the first of a list, and counts the rest.
func shortened(list []string, between, what string) string {
	if more := len(list) - mostNamed; more > 1 {
		return strings.Join(list[:mostNamed], between) + between + fmt.Sprintf("and %d other %s, see below", more, what)
	}
	return strings.Join(list, between)
}

// headline of a run that has ended.
func (h *History) headline() headline {
	got := resultOf(h.Run)
	switch {
	case h.Run.Ended.IsZero():
		lead := "This run is at work, or was killed."
		if n := len(h.Samples); n > 0 {
			lead += fmt.Sprintf(" Its last sign of life was at %s accounts.", Number(h.Samples[n-1].Done))
		}
		return headline{Lead: lead}
	case got.Error != "" && got.Summary.Read == 0:
		return headline{Lead: "This run loaded nobody."}
	}
	out := newHeadline(&got.Result, got.Parts, h.Run.Target, h.Words)
	if got.Error != "" {
		what := "The run ended before it was complete."
		if whole(got.Error) {
			what = "The target does not have everything that it has confirmed."
		}
		out.Points = slices.Insert(out.Points, 0, point{what, true})
	}
	return out
}

// write writes the headline as text.
func (h *headline) write(b *sheet) {
	fmt.Fprintf(b, "%s\n", h.Lead)
	for _, p := range h.Points {
		fmt.Fprintf(b, "%s\n", p.Text)
	}
}

package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// PartLosses counts accounts that are in the target and lack a part, by the feature that
// it is of and by code.
type PartLosses map[pluginapi.Feature]map[diag.Code]int

// Add counts what one account has lost.
func (p PartLosses) Add(losses []pluginapi.PartLoss) {
	type kind struct {
		feature pluginapi.Feature
		code    diag.Code
	}
	seen := map[kind]bool{}
	for _, l := range losses {
		k := kind{l.Feature, l.Code}
		if seen[k] { // two roles, one account
			continue
		}
		seen[k] = true
		if p[l.Feature] == nil {
			p[l.Feature] = map[diag.Code]int{}
		}
		p[l.Feature][l.Code]++
	}
}

// each gives the counts in a fixed order.
func (p PartLosses) each(use func(f pluginapi.Feature, c diag.Code, accounts int)) {
	for _, f := range slices.Sorted(maps.Keys(p)) {
		for _, c := range slices.Sorted(maps.Keys(p[f])) {
			use(f, c, p[f][c])
		}
	}
}

// partLossTitle is what reports call it.
const partLossTitle = "In the target, but incomplete"

func (r *Run) writePartLosses(b *sheet) {
	if len(r.PartLosses) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n\n", partLossTitle)
	t := table{header: []string{"without", "users#", "code", "meaning"}}
	r.PartLosses.each(func(f pluginapi.Feature, c diag.Code, n int) {
		info, _ := r.Words.Lookup(c)
		t.add(cmp.Or(f.PartName(), string(f)), Number(n), string(c), info.Meaning)
	})
	_ = t.write(b)
}

// partLossBars are the same as a chart.
func partLossBars(p PartLosses, words diag.Words) []bar {
	var bars []bar
	p.each(func(f pluginapi.Feature, c diag.Code, n int) {
		info, _ := words.Lookup(c)
		tone := "bad"
		if c == diag.LoadNoPlace {
			tone = "plain" // that was known before
		}
		bars = append(bars, bar{string(f) + ": " + string(c), info.Meaning, n, tone})
	})
	slices.SortStableFunc(bars, func(x, y bar) int { return cmp.Compare(y.Count, x.Count) })
	return bars
}

package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"slices"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

//go:embed plan.html
var planHTML string

//go:embed plan.js
var planScript string

var planTemplate = template.Must(template.Must(sharedTemplate.Clone()).New("plan").Parse(planHTML))

// planRow is one account in the page. Its texts are such that nothing in them can turn
// around or hide what stands beside them.
type planRow struct {
	ID     string      `json:"id"`
	What   string      `json:"what"`
	Detail string      `json:"detail,omitempty"`
	Hint   string      `json:"hint,omitempty"`
	Fields []planField `json:"fields,omitempty"`
	Losses []planLoss  `json:"losses,omitempty"`
}

type planField struct {
	Name  string `json:"name"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
	Drift bool   `json:"drift,omitempty"`
}

type planLoss struct {
	Part   string `json:"part"`
	Code   string `json:"code"`
	Which  string `json:"which,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func newPlanRow(c *pluginapi.Change) planRow {
	row := planRow{ID: diag.Printable(c.SourceID), What: diag.Printable(actionText(*c)), Detail: diag.Printable(c.Detail), Hint: diag.Printable(c.Hint)}
	for _, f := range c.Fields {
		row.Fields = append(row.Fields, planField{diag.Printable(f.Field), diag.Printable(f.Old), diag.Printable(f.New), f.Drift})
	}
	for _, l := range c.Losses {
		row.Losses = append(row.Losses, planLoss{cmp.Or(l.Feature.PartName(), diag.Printable(string(l.Feature))), diag.Printable(string(l.Code)), diag.Printable(l.Attribute), diag.Printable(l.Detail)})
	}
	return row
}

// planKind is one kind of change with an account to which it would happen.
type planKind struct {
	What, Fields string
	Count        int
	Sample       planRow
}

// planOrder is how accounts are listed: first those that need somebody's eyes.
var planOrder = []pluginapi.Action{pluginapi.Rejected, pluginapi.InDoubt, pluginapi.Updated, pluginapi.Created, pluginapi.Skipped, pluginapi.Unchanged}

// WritePlanHTML writes what a dry run has found as one page that needs nothing else and
// asks for nothing: every account that would change can be searched in it. It names
// people, and says so.
func WritePlanHTML(w io.Writer, r *Run, made time.Time) error {
	changes := slices.DeleteFunc(slices.Clone(r.Changes), func(c pluginapi.Change) bool {
		return c.Action == pluginapi.Unchanged && c.Code == "" && len(c.Losses) == 0 && len(c.Fields) == 0
	})
	slices.SortFunc(changes, func(x, y pluginapi.Change) int {
		return cmp.Or(cmp.Compare(slices.Index(planOrder, x.Action), slices.Index(planOrder, y.Action)), cmp.Compare(x.Code, y.Code), cmp.Compare(x.SourceID, y.SourceID))
	})
	kinds, more := planKinds(changes)
	out := bufio.NewWriter(w)
	sum := sha256.Sum256([]byte(planScript))
	err := planTemplate.Execute(out, map[string]any{
		"Hash": "sha256-" + base64.StdEncoding.EncodeToString(sum[:]), "Made": made,
		"Headline": newHeadline(r.Result, r.PartLosses, r.Target, r.Words), "Groups": resultGroups(r.Result, r.PartLosses, r.Words),
		"Source": diag.Printable(r.Source), "Generation": generationText(r.Layout.Generation), "App": diag.Printable(r.App), "Target": diag.Printable(r.Target),
		"Read": r.Result.Summary.Read, "Chosen": r.Result.Chosen, "Patterns": kinds, "More": more, "Kinds": whats(changes), "Rows": len(changes),
		"Findings": r.Findings, "Diagnostics": r.Result.Diagnostics,
	})
	if err != nil {
		return err
	}
	// A bufio.Writer keeps its first error for Flush.
	_, _ = out.WriteString("<script type=\"application/json\" id=\"changes\">[")
	enc := json.NewEncoder(out) // which escapes < and &, so that no value ends the element
	for i := range changes {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		if err := enc.Encode(newPlanRow(&changes[i])); err != nil {
			return err
		}
	}
	_, _ = out.WriteString("]</script>\n<script>" + planScript + "</script>\n</body>\n</html>\n")
	return out.Flush()
}

// planKinds groups the changes, and counts the groups for which there is no room.
func planKinds(changes []pluginapi.Change) (kinds []planKind, more int) {
	all := patterns(changes)
	for _, p := range all[:min(len(all), maxListed)] {
		kinds = append(kinds, planKind{diag.Printable(actionText(p.sample)), diag.Printable(p.fields), p.count, newPlanRow(&p.sample)})
	}
	return kinds, len(all) - len(kinds)
}

// whats lists what would happen, in the order of the changes.
func whats(changes []pluginapi.Change) []string {
	var out []string
	for i := range changes {
		if what := diag.Printable(actionText(changes[i])); len(out) == 0 || out[len(out)-1] != what {
			out = append(out, what)
		}
	}
	return out
}

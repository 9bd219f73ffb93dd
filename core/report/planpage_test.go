package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// Values that would leave the place that they stand in, if they could.
const (
	ends     = `</script><script>document.title='owned'</script>`
	comments = `<!--<script>`
	quotes   = `"'` + "`" + `\"${1+1}{{.}}</td>`
	controls = "a\x00b\x1b[2Jc\u202egnp\u2028d\xff"
)

// planned is a dry run with something of everything, and with n more people.
func planned(n int) *Run {
	r := &Run{
		Source: "database users at db:5432 " + ends, Target: "acme (realm " + quotes + ")", App: "public", Layout: &supertokens.Layout{},
		Result: &engine.Result{
			DryRun: true, Summary: pluginapi.Summary{Read: n + 7, Created: 1, Updated: n + 3, Unchanged: 2, Rejected: 1},
			Classes: map[pluginapi.Class]int{pluginapi.HashCarried: n + 7}, Reasons: map[diag.Code]int{"acme.refused": 1}, Incomplete: 1,
			Diagnostics: diag.List{{Severity: diag.Warning, Code: "acme.slow", Summary: ends, Hint: quotes}},
		},
		Findings:   []supertokens.Finding{{Code: "fake_email", Count: 4, Examples: []string{"user-1"}, Detail: comments}},
		PartLosses: PartLosses{pluginapi.CarriesRoles: {"acme.no_role": 1}},
		Words:      diag.Words{{Code: "acme.refused", Meaning: "Acme " + ends}},
		Changes: []pluginapi.Change{
			{Outcome: pluginapi.Outcome{SourceID: "same", Action: pluginapi.Unchanged}},
			{Outcome: pluginapi.Outcome{SourceID: "whole", Action: pluginapi.Unchanged, Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "tester" + ends, Detail: controls}}}},
			{Outcome: pluginapi.Outcome{SourceID: "new", Action: pluginapi.Created}},
			{Outcome: pluginapi.Outcome{SourceID: "refused", Action: pluginapi.Rejected, Code: "acme.refused", Detail: ends, Hint: comments}},
			{
				Outcome: pluginapi.Outcome{SourceID: "renamed", Action: pluginapi.Updated},
				Fields:  []pluginapi.FieldChange{{Field: "email", Old: "old@example.com", New: "Zoë@Example.com", Drift: true}, {Field: "phone", New: "+441632960000"}},
			},
			{
				Outcome: pluginapi.Outcome{SourceID: quotes, Action: pluginapi.Updated},
				Fields:  []pluginapi.FieldChange{{Field: "metadata." + ends, Old: comments, New: ends}, {Field: quotes, Old: controls, New: quotes}},
			},
			{Outcome: pluginapi.Outcome{SourceID: ends, Action: pluginapi.Updated}, Fields: []pluginapi.FieldChange{{Field: "email", New: "x@example.com"}}},
		},
	}
	for i := range n {
		r.Changes = append(r.Changes, pluginapi.Change{
			Outcome: pluginapi.Outcome{SourceID: fmt.Sprintf("person-%06d", i), Action: pluginapi.Updated},
			Fields:  []pluginapi.FieldChange{{Field: "name", Old: "before", New: fmt.Sprintf("after %d", i)}},
		})
	}
	return r
}

var rowsOfPage = regexp.MustCompile(`(?s)<script type="application/json" id="changes">(.*?)</script>`)

func TestPlanPage(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WritePlanHTML(&b, planned(0), time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if n := strings.Count(page, "<script"); n != 2 || strings.Count(page, "</script") != 2 || strings.Contains(page, "<!--") {
		t.Errorf("%d scripts: a value has left its place", n)
	}
	for _, c := range []string{"\x00", "\x1b", "\u202e", "\u2028"} {
		if strings.Contains(page, c) {
			t.Errorf("the control character %q is in the page", c)
		}
	}
	for _, want := range []string{
		"This page holds personal data", "6 of 7 accounts would be in acme (realm ", " after a run.", "1 would not be loaded, because Acme &lt;/script&gt;", "2026-11-25 12:00:00 UTC",
		"1 of those that would be there would lack a part: the target would not take roles (acme.no_role) of 1.", "What would happen to the accounts", "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-",
		">email (drift), phone<", "fake_email",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if found := regexp.MustCompile(`(?i)https?:|@import|url\(|<link|<img|<iframe| src=|innerHTML|fetch|XMLHttp`).FindString(page); found != "" {
		t.Errorf("the page holds %q: it could ask for something", found)
	}
	raw := rowsOfPage.FindStringSubmatch(page)
	if raw == nil {
		t.Fatal("there are no changes in the page")
	}
	var rows []planRow
	if err := json.Unmarshal([]byte(raw[1]), &rows); err != nil {
		t.Fatal(err)
	}
	ids := ""
	for _, r := range rows {
		ids += r.ID + "|"
	}
	if want := "refused|" + quotes + "|" + ends + "|renamed|new|whole|"; ids != want {
		t.Errorf("accounts %q, want %q", ids, want)
	}
	if f := rows[1].Fields[1]; f.Old != "a\uFFFDb\uFFFD[2Jc\uFFFDgnp\uFFFDd\uFFFD" || f.New != quotes {
		t.Errorf("values %+v", f)
	}
	if l := rows[5].Losses[0]; l.Part != "roles" || l.Which != "tester"+ends {
		t.Errorf("losses %+v", l)
	}
	wellFormed(t, regexp.MustCompile(`(?s)<script.*?</script>`).ReplaceAllString(page, ""))
}

// A plan with nothing in it is a page as well.
func TestPlanPageOfNothing(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WritePlanHTML(&b, &Run{Layout: &supertokens.Layout{}, Result: &engine.Result{DryRun: true}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "0 of 0 accounts would be in the target after a run.") || !strings.Contains(b.String(), `id="changes">[]</script>`) {
		t.Errorf("%s", b.String())
	}
}

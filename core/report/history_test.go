package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
)

func history(t *testing.T) *History {
	t.Helper()
	began := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	raw, err := json.Marshal(engine.Result{
		Summary: pluginapi.Summary{Read: 3000, Created: 2900, Skipped: 40, Rejected: 60}, Classes: map[pluginapi.Class]int{pluginapi.HashCarried: 2500, pluginapi.NeedsReset: 100, pluginapi.NoPassword: 360, pluginapi.Filtered: 40},
		Losses: map[mapping.Loss]int{mapping.Loss(pluginapi.CarriesPasskeys): 7}, Reasons: map[diag.Code]int{diag.LoadIDInvalid: 60, diag.MapFiltered: 40}, Canaries: []engine.Proof{{Shape: "bcrypt 2a cost 10", Proven: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &History{
		Run:      journal.Run{ID: 7, Source: "db <main>", Target: "keycloak & more", Program: "stetl 1", Began: began, Ended: began.Add(6 * time.Second), Result: raw},
		Outcomes: map[pluginapi.Action]int{pluginapi.Created: 2900, pluginapi.Rejected: 60}, Reasons: map[diag.Code]int{diag.LoadIDInvalid: 60},
	}
	for i := range 500 {
		h.Samples = append(h.Samples, journal.Sample{At: began.Add(time.Duration(i) * time.Second), Done: i * i / 100})
	}
	h.Runs = []journal.Run{h.Run, {ID: 6, Program: "stetl 1", Began: began.Add(-time.Hour)}}
	return h
}

func TestHistoryPageIsSelfContained(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := history(t).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, forbidden := range []string{"<script", "http:", "https:", "//", "@import", "url(", "<link", "<img", " src=", " onload"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page holds %q: it could ask for something", forbidden)
		}
	}
	for _, wanted := range []string{
		`<html lang="en">`, "default-src 'none'", "prefers-color-scheme: dark", "db &lt;main&gt;", "keycloak &amp; more", "2,900",
		"<polyline points=", `role="img" aria-labelledby`, "bcrypt 2a cost 10", "load.id_invalid", "passkeys; the plugin",
	} {
		if !strings.Contains(page, wanted) {
			t.Errorf("the page lacks %q", wanted)
		}
	}
	wellFormed(t, page)
	if len(page) > 40_000 {
		t.Errorf("%d bytes for one run", len(page))
	}
	// Every table has headings that say what its cells are.
	if strings.Count(page, "<table") != strings.Count(page, "<thead") {
		t.Error("a table has no headings")
	}
}

// wellFormed checks that every element is closed by the one that opened it.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	page = regexp.MustCompile(`<meta [^>]*>`).ReplaceAllString(page, "")
	dec := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(page, "<!doctype html>\n")))
	dec.Strict, dec.Entity = true, xml.HTMLEntity
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
	}
}

func TestHistoryJSONAddsUp(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := history(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Run     int64
		State   string
		Summary pluginapi.Summary
		Samples []any
		Runs    []struct{ Ended *time.Time }

		Classes, Accounts map[string]int
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Run != 7 || got.State != "done" || got.Summary.Accounted() != got.Summary.Read || len(got.Samples) != 500 || got.Runs[1].Ended != nil {
		t.Errorf("%+v", got)
	}
	for what, counts := range map[string]map[string]int{"classes": got.Classes, "accounts": got.Accounts} {
		sum := 0
		for _, n := range counts {
			sum += n
		}
		if sum != got.Summary.Read {
			t.Errorf("%s add up to %d of %d: %v", what, sum, got.Summary.Read, counts)
		}
	}
}

// What a filter leaves out is known of the last run about everybody: one about a part
// counts only its own.
func TestHistoryOfAPart(t *testing.T) {
	t.Parallel()
	h := history(t)
	raw, err := json.Marshal(engine.Result{
		Summary: pluginapi.Summary{Read: 3000, Created: 4, Skipped: 2996}, Classes: map[pluginapi.Class]int{pluginapi.HashCarried: 4, pluginapi.Filtered: 1},
		Reasons: map[diag.Code]int{diag.RunNotSelected: 2995, diag.MapFiltered: 1}, Chosen: &engine.Part{Flag: "--sample 5", Count: 5, Of: 3000, Logins: map[string]string{"login1": "account1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Run = journal.Run{ID: 8, Program: "stetl 1", Began: h.Run.Began, Ended: h.Run.Ended, Result: raw}
	h.Runs = append([]journal.Run{h.Run}, h.Runs...)
	if got := h.allOutcomes(); got[pluginapi.Skipped] != 40 {
		t.Errorf("%v", got)
	}
	var text, object, page bytes.Buffer
	if err := errors.Join(h.WriteText(&text), h.WriteJSON(&object), h.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]struct{ text, want string }{
		"text":   {text.String(), "\n5 of 3,000 accounts were chosen: --sample 5\n"},
		"object": {object.String(), `"chosen":{"flag":"--sample 5","count":5,"of":3000},`},
		"page":   {page.String(), "<dt>Chosen</dt><dd>5, by --sample 5</dd>"},
	} {
		if !strings.Contains(got.text, got.want) || strings.Contains(got.text, "login1") {
			t.Errorf("the %s lacks %q, or names somebody:\n%s", what, got.want, got.text)
		}
	}
	wellFormed(t, page.String())
}

func TestHistoryOfAKilledRun(t *testing.T) {
	t.Parallel()
	h := &History{Run: journal.Run{ID: 1, Began: time.Now()}, Samples: []journal.Sample{{At: time.Now(), Done: 5}}}
	for _, write := range []func(io.Writer) error{h.WriteText, h.WriteJSON, h.WriteHTML} {
		var b bytes.Buffer
		if err := write(&b); err != nil || !strings.Contains(b.String(), "at work, or killed") {
			t.Errorf("%v: %s", err, b.String())
		}
	}
}

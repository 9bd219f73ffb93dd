package report

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/supertokens"
)

// Tables fit the terminal, whatever is in them, and no word of a cell is lost.
func TestTablesFitTheScreen(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{80, 200} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				words := rapid.SliceOfN(rapid.StringMatching(`[a-z_.ü0-9-]{1,40}`), 0, 12)
				tab := table{header: []string{"code", "count#", "first of them", "detail"}}
				var want []string
				for range rapid.IntRange(0, 5).Draw(t, "rows") {
					cells := []string{strings.Join(words.Draw(t, "code"), "_"), Number(rapid.IntRange(0, 99_999_999).Draw(t, "n")), strings.Join(words.Draw(t, "first"), " "), strings.Join(words.Draw(t, "detail"), " ")}
					tab.add(cells...)
					want = append(want, cells...)
				}
				p := newSheet(Screen{Columns: columns})
				if err := tab.write(p); err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(p.String()) {
					if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
						t.Errorf("%d columns: %s", n, line)
					}
				}
				if got, wanted := letters(p.String()), letters(strings.Join(append([]string{"code count first of them detail"}, want...), " ")); got != wanted {
					t.Errorf("something is lost:\n got %s\nwant %s\n%s", got, wanted, p.String())
				}
			})
		})
	}
}

// letters are those of a text, in their own order.
func letters(text string) string {
	all := []rune(strings.Join(strings.Fields(text), ""))
	slices.Sort(all)
	return string(all)
}

// A screen has no say where nobody knows how wide it is: scripts find a row on its line.
func TestFilesAreNotBroken(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 60)
	tab := table{header: []string{"code", "detail"}}
	tab.add("a", long)
	for name, p := range map[string]*sheet{"a file": newSheet(&bytes.Buffer{}), "a screen of unknown width": newSheet(Screen{})} {
		if err := tab.write(p); err != nil {
			t.Fatal(err)
		}
		p.WriteString(long + "\n")
		var out bytes.Buffer
		if err := p.flush(&out); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); n != 3 {
			t.Errorf("%s has %d lines:\n%s", name, n, out.String())
		}
	}
}

// Sentences break between words, under their beginning; an id stays whole.
func TestSentencesBreakBetweenWords(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newSheet(Screen{Writer: &out, Columns: 30})
	p.WriteString("  6c0f3a52-0b39-4a49-a06b-66a4a43c4d1e  map.duplicate: another account has it\nshort\n")
	if err := p.flush(Screen{Writer: &out, Columns: 30}); err != nil {
		t.Fatal(err)
	}
	want := "  6c0f3a52-0b39-4a49-a06b-66a4a43c4d1e\n   map.duplicate: another\n  account has it\nshort\n"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
}

// On a narrow screen ids stay whole, so that they can be copied, and sentences have room.
func TestFindingsOnANarrowScreen(t *testing.T) {
	t.Parallel()
	const id = "47de067c-57c0-4570-9c86-3ea66bc8fdb5"
	list := []supertokens.Finding{
		{Code: "forced_mapping", Count: 1200, Examples: []string{id, "b"}, Detail: "login " + id + ": the verification is stored under the internal id"},
		{Code: "other_apps", Count: 1, Detail: "app shop is not read"},
	}
	narrow, wide := newSheet(Screen{Columns: 80}), newSheet(Screen{Columns: 200})
	writeFindings(narrow, list)
	writeFindings(wide, list)
	var text, row strings.Builder
	if err := errors.Join(narrow.flush(&text), wide.flush(&row)); err != nil {
		t.Fatal(err)
	}
	want := `
Found in the source

  forced_mapping  1,200  ` + id + `
      login ` + id + `: the verification is stored
      under the internal id
  other_apps  1
      app shop is not read
`
	if d := cmp.Diff(want, text.String()); d != "" {
		t.Error(d)
	}
	if !strings.Contains(row.String(), "forced_mapping  1,200  "+id+"  login "+id+": the verification") {
		t.Errorf("on a wide screen a finding is a row:\n%s", row.String())
	}
}

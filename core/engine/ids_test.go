package engine

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
)

func TestReadIDs(t *testing.T) {
	t.Parallel()
	at := func(line, id string, exact bool) Named { return Named{ID: id, Exact: exact, Place: "u.txt:" + line} }
	for name, tt := range map[string]struct {
		text string
		want []Named
	}{
		"plain":                {"a\nb\n", []Named{at("1", "a", false), at("2", "b", false)}},
		"without a last end":   {"a\nb", []Named{at("1", "a", false), at("2", "b", false)}},
		"of Windows":           {"\ufeffa\r\n\r\nb\r\n", []Named{at("1", "a", false), at("3", "b", false)}},
		"comments and blanks":  {"# who\n\n   \n  # and who else\n a \n", []Named{at("5", " a ", false)}},
		"blanks are kept":      {"a \nb\t\n", []Named{at("1", "a ", false), at("2", "b\t", false)}},
		"a # inside":           {"a#1 # not a comment\n", []Named{at("1", "a#1 # not a comment", false)}},
		"quotation marks":      {"\"a \"\n \"#b\"\t\n\"\\\"c\\u00e9\"\n", []Named{at("1", "a ", true), at("2", "#b", true), at("3", `"cé`, true)}},
		"a mark is no comment": {"\ufeff# who\na\n", []Named{at("2", "a", false)}},
		"twice":                {"a\na\n", []Named{at("1", "a", false), at("2", "a", false)}},
	} {
		got, err := ReadIDs(iotest.OneByteReader(strings.NewReader(tt.text)), "u.txt")
		if diff := gocmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestReadIDsRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		line int
		says string
	}{
		"nothing":            {"", 0, "names nobody"},
		"comments only":      {"# a\n\n", 0, "names nobody"},
		"UTF-16":             {"\xff\xfea\x00\n\x00", 1, "UTF-16"},
		"UTF-16, big end":    {"\xfe\xff\x00a", 1, "UTF-16"},
		"Latin-1":            {"a\nb\xe9\n", 2, "not text in UTF-8"},
		"a binary file":      {"a\nb\x00c\n", 2, "not text in UTF-8"},
		"a long line":        {"a\n" + strings.Repeat("x", longestID+5) + "\n", 2, "longer than an id"},
		"an open quotation":  {"a\n\n\"b\n", 3, "not a JSON string"},
		"text behind it":     {"\"a\" b\n", 1, "not a JSON string"},
		"an empty quotation": {"\"\"\n", 1, "not empty"},
	} {
		ids, err := ReadIDs(strings.NewReader(tt.text), "u.txt")
		list, ok := errors.AsType[*diag.ListError](err)
		if !ok || len(ids) > 0 || len(list.List) != 1 {
			t.Errorf("%s: %v, %v", name, ids, err)
			continue
		}
		if d := list.List[0]; d.Code != diag.RunBadUsersFile || d.Pos != (diag.Pos{File: "u.txt", Line: tt.line}) || !strings.Contains(d.Summary, tt.says) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if ids, err := ReadIDs(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), "u.txt"); len(ids) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that cannot be read: %v, %v", ids, err)
	}
}

// Whatever a file holds: it is refused, or each line that names somebody is an id.
func FuzzReadIDs(f *testing.F) {
	for _, seed := range []string{"a\nb \n# c\n", "\ufeff\"a \"\r\n", "\xff\xfea\x00", "\"\\ud800\"\n", "\"\"", "a\rb\n", "\n\n\u00a0x\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := ReadIDs(strings.NewReader(text), "u.txt")
		if (err == nil) != (len(ids) > 0) {
			t.Fatalf("%d ids, %v", len(ids), err)
		}
		if err != nil {
			return
		}
		lines := 0
		for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines++
			}
		}
		if len(ids) != lines {
			t.Fatalf("%d ids of %d lines", len(ids), lines)
		}
		for _, id := range ids {
			if id.ID == "" || !utf8.ValidString(id.ID) || !id.Exact && (strings.TrimSpace(id.ID) == "" || !strings.Contains(text, id.ID)) || id.Place == "" {
				t.Fatalf("%+v", id)
			}
		}
	})
}

package diag

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "add new codes to testdata/codes.golden")

// A code that was ever published stays. -update adds codes and never removes one.
func TestCodes(t *testing.T) {
	t.Parallel()
	const golden = "testdata/codes.golden"
	form := regexp.MustCompile(`^[a-z][a-z0-9]*(\.[a-z][a-z0-9_]*)+$`)
	registered := map[string]bool{}
	for _, info := range table {
		if registered[string(info.Code)] {
			t.Errorf("%s is registered twice", info.Code)
		}
		registered[string(info.Code)] = true
		if !form.MatchString(string(info.Code)) {
			t.Errorf("%q is not of the form area.reason", info.Code)
		}
		for _, text := range []string{info.Meaning, info.Remedy} {
			if text == "" || strings.ContainsAny(text, "\n\r") {
				t.Errorf("%s: meaning and remedy are one line each, got %q", info.Code, text)
			}
		}
	}

	b, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	published := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		published[strings.TrimSpace(line)] = true
	}
	if *update {
		maps.Copy(published, registered)
		text := strings.Join(slices.Sorted(maps.Keys(published)), "\n") + "\n"
		if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(published)) {
		if !registered[code] {
			t.Errorf("%s was published and is no longer registered", code)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(registered)) {
		if !published[code] {
			t.Errorf("%s is new: run go test ./core/diag -update", code)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	if info, ok := Lookup(ConfigUnknownField); !ok || info.Code != ConfigUnknownField {
		t.Errorf("Lookup(%s) = %v, %v", ConfigUnknownField, info, ok)
	}
	if _, ok := Lookup("nobody.knows"); ok {
		t.Error("an unregistered code was found")
	}
	words := Words{{Code: "acme.quota", Meaning: "m"}, {Code: LoadMoved, Meaning: "something else"}}
	if info, ok := words.Lookup("acme.quota"); !ok || info.Meaning != "m" {
		t.Errorf("a declared code: %v, %v", info, ok)
	}
	if info, _ := words.Lookup(LoadMoved); info.Meaning == "something else" {
		t.Error("a code of the core got another meaning")
	}
	codes := Codes()
	if len(codes) != len(table) || !slices.IsSortedFunc(codes, func(a, b Info) int { return strings.Compare(string(a.Code), string(b.Code)) }) {
		t.Error("Codes is not the whole table in order")
	}
}

func TestCheckOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		info Info
		want string
	}{
		{Info{Code: "acme.quota", Meaning: "m", Remedy: "r"}, ""},
		{Info{Code: "acme", Meaning: "m", Remedy: "r"}, "not a code"},
		{Info{Code: "Acme.quota", Meaning: "m", Remedy: "r"}, "not a code"},
		{Info{Code: "load.acme", Meaning: "m", Remedy: "r"}, "all plugins share"},
		{Info{Code: LoadMoved, Meaning: "m", Remedy: "r"}, "all plugins share"},
		{Info{Code: "acme.quota", Remedy: "r"}, "one line each"},
		{Info{Code: "acme.quota", Meaning: "m", Remedy: "a\nb"}, "one line each"},
	} {
		switch err := tt.info.CheckOwn(); {
		case tt.want == "" && err != nil:
			t.Errorf("%v: %v", tt.info, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%v: error %v, want one with %q", tt.info, err, tt.want)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 200) + "MARK" + strings.Repeat("b", 200)
	tests := []struct {
		name string
		d    Diagnostic
		want string
	}{
		{
			"all parts",
			Diagnostic{
				Code: "config.unknown_field", Summary: `"relam" is not a field of target.config`,
				Pos: Pos{"stetl.yaml", 14, 5}, Snippet: Snippet{"    relam: customers", 5, 5},
				Hint: `did you mean "realm"?`, Detail: "one\ntwo",
			},
			`stetl.yaml:14:5: error[config.unknown_field]: "relam" is not a field of target.config
   14 |     relam: customers
      |     ^^^^^ did you mean "realm"?
      = one
      = two
`,
		},
		{"only code and summary", Diagnostic{Code: "a.b", Summary: "s"}, "error[a.b]: s\n"},
		{"file only", Diagnostic{Code: "a.b", Summary: "s", Pos: Pos{File: "f"}, Hint: "h"}, "f: error[a.b]: s\n      = h\n"},
		{"warning", Diagnostic{Severity: Warning, Code: "a.b", Summary: "s", Pos: Pos{Line: 2}}, "2: warning[a.b]: s\n"},
		{
			"no underline",
			Diagnostic{Code: "a.b", Summary: "s", Pos: Pos{"f", 2, 1}, Snippet: Snippet{Text: "x"}, Hint: "h"},
			"f:2:1: error[a.b]: s\n    2 | x\n      = h\n",
		},
		{
			"tabs keep their width",
			Diagnostic{Code: "a.b", Summary: "s", Pos: Pos{"f", 2, 3}, Snippet: Snippet{"\té x", 4, 1}},
			"f:2:3: error[a.b]: s\n    2 | \té x\n      | \t  ^\n",
		},
		{
			"underline stays within the line",
			Diagnostic{Code: "a.b", Summary: "s", Pos: Pos{"f", 1, 2}, Snippet: Snippet{"ab", 2, 99}},
			"f:1:2: error[a.b]: s\n    1 | ab\n      |  ^\n",
		},
		{
			"control characters",
			Diagnostic{Code: "a.b", Summary: "a\x1b[31m", Pos: Pos{"f\x07", 1, 1}, Snippet: Snippet{"\x1b\u202ex", 1, 1}, Hint: "\r", Detail: "\x00\u200b"},
			"f\ufffd:1:1: error[a.b]: a\ufffd[31m\n    1 | \ufffd\ufffdx\n      | ^ \ufffd\n      = \ufffd\ufffd\n",
		},
		{
			"long lines are cut around the mark",
			Diagnostic{Code: "a.b", Summary: "s", Pos: Pos{"f", 1, 201}, Snippet: Snippet{long, 201, 4}},
			"f:1:201: error[a.b]: s\n    1 | …" + strings.Repeat("a", 59) + "MARK" + strings.Repeat("b", 57) + "…\n      | " + strings.Repeat(" ", 60) + "^^^^\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			if err := Write(&b, List{tt.d}, Options{}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, b.String()); d != "" {
				t.Errorf("differs (-want +got):\n%s", d)
			}
		})
	}
}

func TestWriteColor(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	l := List{{Severity: Warning, Code: "a.b", Summary: "s", Pos: Pos{"f", 1, 1}, Snippet: Snippet{"x", 1, 1}}}
	if err := Write(&b, l, Options{Color: true}); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[1mf:1:1:\x1b[0m \x1b[1;33mwarning[a.b]:\x1b[0m s\n    1 | x\n      | \x1b[36m^\x1b[0m\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteFails(t *testing.T) {
	t.Parallel()
	if err := Write(brokenWriter{}, List{{}}, Options{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	at := func(line, col int) Pos { return Pos{"f", line, col} }
	var l List
	l.Add(
		Diagnostic{Code: "b.b", Summary: "second", Pos: at(2, 1)},
		Diagnostic{Code: "a.a", Summary: "first", Pos: at(1, 9)},
		Diagnostic{Code: "a.a", Summary: "first", Pos: at(1, 9), Path: "/other"}, // the same text seen through an alias
		Diagnostic{Code: "a.a", Summary: "nowhere", Path: "/a"},
		Diagnostic{Code: "a.a", Summary: "nowhere", Path: "/b"},
		Diagnostic{Code: "a.a", Summary: "nowhere", Path: "/b"},
		Diagnostic{Severity: Warning, Code: "a.a", Summary: "early", Pos: at(1, 2)},
	)
	l.Sort()
	var got []string
	for _, d := range l {
		got = append(got, d.Summary+d.Path)
	}
	want := []string{"nowhere/a", "nowhere/b", "early", "first", "second"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
}

func TestListErr(t *testing.T) {
	t.Parallel()
	warning := Diagnostic{Severity: Warning, Code: "a.a", Summary: "w"}
	for _, l := range []List{nil, {}, {warning}} {
		if l.HasErrors() || l.Err() != nil {
			t.Errorf("%v counts as an error", l)
		}
	}
	l := List{warning, {Code: "b.b", Summary: "e"}}
	err := fmt.Errorf("load: %w", l.Err())
	le, ok := errors.AsType[*ListError](err)
	if !ok || !l.HasErrors() {
		t.Fatalf("the list is lost in %v", err)
	}
	if d := cmp.Diff(l, le.List); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
	if got, want := err.Error(), "load: warning[a.a]: w\nerror[b.b]: e"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	l := List{
		{Code: "a.b", Summary: "s"},
		{Severity: Warning, Code: "a.b", Summary: "s", Detail: "d", Path: "/p", Pos: Pos{"f", 1, 2}, Snippet: Snippet{"x", 1, 1}, Hint: "h"},
	}
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"severity":"error","code":"a.b","summary":"s"},` +
		`{"severity":"warning","code":"a.b","summary":"s","detail":"d","path":"/p","pos":{"file":"f","line":1,"col":2},` +
		`"snippet":{"text":"x","col":1,"width":1},"hint":"h"}]`
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
	var back List
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l, back); d != "" {
		t.Errorf("round trip differs (-want +got):\n%s", d)
	}
	if err := json.Unmarshal([]byte(`{"severity":"fatal"}`), &Diagnostic{}); err == nil {
		t.Error("an unknown severity was accepted")
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	fields := []string{"url", "realm", "client_id", "client_secret", "identity_providers", "out"}
	tests := map[string]string{
		"relam": "realm", "clientId": "client_id", "client-secret": "client_secret", "CLIENT_ID": "client_id",
		"ulr": "url", "uri": "url", "identityProvider": "identity_providers", "secret": "", "zzz": "", "": "", "r": "", "réalm": "realm",
	}
	for name, want := range tests {
		if got := Suggest(name, fields); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
	if got := Suggest("x", nil); got != "" {
		t.Errorf("without candidates: %q", got)
	}
}

func TestPointer(t *testing.T) {
	t.Parallel()
	steps := []string{"target", "a/b", "~", "~1", "", "0"}
	pointer := Pointer(steps...)
	if want := "/target/a~1b/~0/~01//0"; pointer != want {
		t.Errorf("%s, want %s", pointer, want)
	}
	if d := cmp.Diff(steps, Steps(pointer)); d != "" {
		t.Error(d)
	}
	if Pointer() != "" || Steps("") != nil {
		t.Error("the whole document has a pointer that is not empty")
	}
}

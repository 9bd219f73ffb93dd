//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var clock = regexp.MustCompile(`(?m)^\d\d:\d\d  `)

// said is what a reporter has printed, without the times.
func said(out *strings.Builder) string { return clock.ReplaceAllString(out.String(), "") }

// A line tells of each package; what failed says why, and the rest is silent.
func TestReport(t *testing.T) {
	t.Parallel()
	events := `{"Action":"start","Package":"github.com/stetl/stetl/core/a"}
{"Action":"run","Package":"github.com/stetl/stetl/core/a","Test":"TestGood"}
{"Action":"output","Package":"github.com/stetl/stetl/core/a","Test":"TestGood","Output":"nobody reads this\n"}
{"Action":"pass","Package":"github.com/stetl/stetl/core/a","Test":"TestGood/first","Elapsed":1.5}
{"Action":"pass","Package":"github.com/stetl/stetl/core/a","Test":"TestGood/beside","Elapsed":4}
{"Action":"pass","Package":"github.com/stetl/stetl/core/a","Test":"TestGood","Elapsed":2}
{"Action":"output","Package":"github.com/stetl/stetl/core/a","Test":"TestBad","Output":"it broke\n"}
{"Action":"fail","Package":"github.com/stetl/stetl/core/a","Test":"TestBad/part","Elapsed":1}
{"Action":"fail","Package":"github.com/stetl/stetl/core/a","Test":"TestBad","Elapsed":3}
{"Action":"fail","Package":"github.com/stetl/stetl/core/a","Elapsed":5.5}
{"Action":"start","Package":"github.com/stetl/stetl/core/d"}
{"Action":"output","Package":"github.com/stetl/stetl/core/d","Test":"TestPanics","Output":"panic: oh\n"}
{"Action":"fail","Package":"github.com/stetl/stetl/core/d","Elapsed":1.5}
{"Action":"build-output","ImportPath":"github.com/stetl/stetl/core/b","Output":"no such type\n"}
{"Action":"start","Package":"github.com/stetl/stetl/core/b"}
{"Action":"fail","Package":"github.com/stetl/stetl/core/b","Elapsed":0}
{"Action":"start","Package":"github.com/stetl/stetl/core/c"}
{"Action":"pass","Package":"github.com/stetl/stetl/core/c","Elapsed":7}
`
	var out strings.Builder
	r := newReporter(&out)
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	r.costs()
	if r.verdict(errors.New("exit status 1"), []string{"forgotten (2 KB)"}) {
		t.Error("all is said to be well")
	}
	want := `      core/a begins
FAIL  core/a TestBad
it broke
FAIL  core/a 5.5s
      core/d begins
FAIL  core/d TestPanics did not end
panic: oh
FAIL  core/d 1.5s
no such type
      core/b begins
FAIL  core/b 0s
      core/c begins
ok    core/c 7s
all tests have ended

Packages, in seconds:
     7.0  core/c
     5.5  core/a
     1.5  core/d

Slowest tests, in seconds:
     4.0  core/a TestGood/beside
     3.0  core/a TestBad
     2.0  core/a TestGood

FAILED:
  core/a TestBad/part
  core/b
  core/d TestPanics did not end
  left behind in the folder for temporary files: forgotten (2 KB)
`
	if d := cmp.Diff(want, said(&out)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := r.read(strings.NewReader("not JSON")); err == nil {
		t.Error("what go test says was not understood, and nobody is told")
	}
}

// The last lines say why a run fails, whatever the reason.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, events, want string
		err                error
		left               []string
	}{
		{name: "well", events: `{"Action":"pass","Package":"p","Test":"TestA"}{"Action":"pass","Package":"p"}`, want: "\nPASSED\n"},
		{name: "a package", events: `{"Action":"fail","Package":"p"}`, err: errors.New("exit status 1"), want: "\nFAILED:\n  p\n"},
		{name: "go itself", err: errors.New("exit status 2"), want: "\nFAILED:\n  exit status 2\n"},
		{name: "a file", left: []string{"x (1 KB)"}, want: "\nFAILED:\n  left behind in the folder for temporary files: x (1 KB)\n"},
	} {
		var out strings.Builder
		r := newReporter(&out)
		if err := r.read(strings.NewReader(test.events)); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if ok := r.verdict(test.err, test.left); ok != (test.name == "well") || out.String() != test.want {
			t.Errorf("%s: %v, %q", test.name, ok, out.String())
		}
	}
}

// What was skipped for want of something is listed, also when go test has not repeated it,
// and a package that passed before costs nothing now.
func TestReportOfSkipsAndOfWhatWasKept(t *testing.T) {
	t.Parallel()
	events := `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    skip.go:31: needs Keycloak: no Java\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    skip.go:40: slow: takes seconds\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":70}
{"Action":"output","Package":"p","Output":"ok  \tp\t(cached)\n"}
{"Action":"pass","Package":"p","Elapsed":0.001}
`
	var out strings.Builder
	r := newReporter(&out)
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	r.costs()
	r.skipped()
	want := `      p begins
ok    p, as before
all tests have ended

Packages, in seconds:

Slowest tests, in seconds:

Skipped:
  p TestA: Keycloak: no Java
`
	if d := cmp.Diff(want, said(&out)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What tests wait for is told at once, each line once; after a silence, what is at work.
func TestReportWhileItWaits(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := newReporter(&out)
	log := filepath.Join(t.TempDir(), "waits")
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	add("waiting for Keycloak\nKeycl")
	seen := r.lines(log, 0)
	add("oak: 6 s\n")
	seen = r.lines(log, seen)
	r.lines(log, seen)
	r.event(event{Action: "start", Package: "github.com/stetl/stetl/core/a"})
	r.event(event{Action: "run", Package: "github.com/stetl/stetl/core/a", Test: "TestSlow"})
	r.event(event{Action: "run", Package: "github.com/stetl/stetl/core/a", Test: "TestLater"})
	r.event(event{Action: "pause", Package: "github.com/stetl/stetl/core/a", Test: "TestLater"})
	r.atWork() // something was said just now
	r.spoke = time.Now().Add(-2 * silence)
	r.atWork()
	want := `      waiting for Keycloak
      Keycloak: 6 s
      core/a begins
      core/a since 0s: TestSlow
`
	if d := cmp.Diff(want, said(&out)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What a run leaves in the folder for temporary files is found, and removed.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("STETL_TEST_CACHE", t.TempDir())
	for _, name := range []string{"", "forgotten"} {
		p, err := newPlace(newReporter(&strings.Builder{}))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if name != "" {
			want = []string{"forgotten (2 KB)"}
			if err := os.WriteFile(filepath.Join(p.temp, name), make([]byte, 2048), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		left, err := p.leave()
		if err != nil {
			t.Fatal(err)
		}
		p.unlock()
		if d := cmp.Diff(want, left); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if _, err := os.Stat(p.temp); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
	}
}

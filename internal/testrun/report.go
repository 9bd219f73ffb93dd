//go:build unix

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// event is one of "go test -json"; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of what does not build
	Elapsed                       float64
}

// reporter prints what the events of one or more go commands mean. Its methods may be
// called concurrently.
type reporter struct {
	mu      sync.Mutex
	out     io.Writer
	began   time.Time
	spoke   time.Time
	running map[string]time.Time // packages
	tests   map[string]bool      // "package test", of those that run
	said    map[string]*strings.Builder
	cost    map[string]time.Duration // packages, and "package test"
	failed  []string                 // the same
	missed  []string                 // what was skipped for want of something, and why
}

func newReporter(out io.Writer) *reporter {
	now := time.Now()
	return &reporter{
		out: out, began: now, spoke: now, running: map[string]time.Time{}, tests: map[string]bool{},
		said: map[string]*strings.Builder{}, cost: map[string]time.Duration{},
	}
}

// print prints a line after the time since the beginning.
func (r *reporter) print(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(format, args...)
}

func (r *reporter) line(format string, args ...any) {
	r.spoke = time.Now()
	since := r.spoke.Sub(r.began).Round(time.Second)
	fmt.Fprintf(r.out, "%02d:%02d  %s\n", int(since.Minutes()), int(since.Seconds())%60, fmt.Sprintf(format, args...))
}

// read reports the events of one go command until its end.
func (r *reporter) read(events io.Reader) error {
	for d := json.NewDecoder(events); ; {
		var e event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read what go test says: %w", err)
		}
		r.event(e)
	}
}

func short(name string) string { return strings.TrimPrefix(name, module) }

func (r *reporter) event(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimSpace(short(e.Package) + " " + e.Test)
	switch e.Action {
	case "start":
		r.running[name] = time.Now()
		r.line("      %s begins", name)
	case "run", "cont":
		r.tests[name] = true
	case "pause":
		delete(r.tests, name)
	case "output":
		if r.said[name] == nil {
			r.said[name] = &strings.Builder{}
		}
		r.said[name].WriteString(e.Output)
	case "build-output":
		r.line("%s", strings.TrimRight(e.Output, "\n"))
	case "skip":
		if why, ok := missing(r.said[name]); ok {
			r.missed = append(r.missed, name+": "+why)
		}
		fallthrough
	case "pass", "fail":
		r.ended(name, e)
	}
}

// missing is why a test was skipped, if something that it needs is not there, by what it
// has said: testenv.Skip says so.
func missing(said *strings.Builder) (why string, ok bool) {
	if said == nil {
		return "", false
	}
	_, why, ok = strings.Cut(said.String(), ": "+testenv.Needs)
	why, _, _ = strings.Cut(why, "\n")
	return why, ok
}

// ended is told of the end of a test or of a package.
func (r *reporter) ended(name string, e event) {
	kept := e.Test == "" && r.said[name] != nil && strings.Contains(r.said[name].String(), "(cached)")
	took := time.Duration(e.Elapsed * float64(time.Second))
	r.cost[name] = took
	if said := r.said[name]; said != nil && e.Action == "fail" {
		r.line("FAIL  %s\n%s", name, strings.TrimRight(said.String(), "\n"))
	}
	delete(r.said, name)
	delete(r.tests, name)
	if e.Test == "" && e.Action == "fail" {
		r.unfinished(name)
	}
	// What fails for its parts only is not named beside them.
	part := func(f string) bool {
		return strings.HasPrefix(f, name+"/") || e.Test == "" && strings.HasPrefix(f, name+" ")
	}
	if e.Action == "fail" && !slices.ContainsFunc(r.failed, part) {
		r.failed = append(r.failed, name)
	}
	if e.Test != "" {
		return
	}
	_, began := r.running[name]
	delete(r.running, name)
	switch {
	case e.Action == "fail":
		r.line("FAIL  %s %s", name, took.Round(100*time.Millisecond))
	case kept:
		// It passed before, and is as it was then: what it cost then was not paid now.
		maps.DeleteFunc(r.cost, func(n string, _ time.Duration) bool { return n == name || strings.HasPrefix(n, name+" ") })
		r.line("ok    %s, as before", name)
	case !began || e.Action == "skip" || took == 0:
		delete(r.cost, name) // it has no tests
		r.line("ok    %s", name)
	default:
		r.line("ok    %s %s", name, took.Round(100*time.Millisecond))
	}
}

// unfinished prints what the tests of a package have said that have no end: one of
// them has ended the process, and go test lays that on one that was running.
func (r *reporter) unfinished(name string) {
	for _, test := range slices.Sorted(maps.Keys(r.said)) {
		if strings.HasPrefix(test, name+" ") {
			r.line("FAIL  %s did not end\n%s", test, strings.TrimRight(r.said[test].String(), "\n"))
			r.failed = append(r.failed, test+" did not end")
			delete(r.said, test)
			delete(r.tests, test)
		}
	}
}

// silence is how long nothing is said at most.
const silence = 30 * time.Second

// follow prints the lines that are added to a file, and what is at work when nothing
// else has been printed for a while, until it is stopped.
func (r *reporter) follow(path string) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		seen := 0
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			seen = r.lines(path, seen)
			r.atWork()
			select {
			case <-ended:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// lines prints what follows the first bytes of a file.
func (r *reporter) lines(path string, seen int) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return seen
	}
	whole := strings.LastIndexByte(string(text), '\n') + 1
	for line := range strings.Lines(string(text[min(seen, whole):whole])) {
		r.print("      %s", strings.TrimRight(line, "\n"))
	}
	return whole
}

func (r *reporter) atWork() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.spoke) < silence {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.running)) {
		var tests []string
		for test := range r.tests {
			if t, ok := strings.CutPrefix(test, name+" "); ok {
				tests = append(tests, t)
			}
		}
		slices.Sort(tests)
		r.line("      %s since %s: %s", name, time.Since(r.running[name]).Round(time.Second), strings.Join(tests, ", "))
	}
	if len(r.running) == 0 {
		r.line("      building")
	}
}

// costs lists what took longest.
func (r *reporter) costs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line("all tests have ended")
	var packages, tests []string
	for name, took := range r.cost {
		// The time of a test has that of its parts, unless they run beside each other.
		whole := name[:max(0, strings.LastIndexByte(name, '/'))]
		switch _, test, _ := strings.Cut(name, " "); {
		case took < time.Second || strings.Contains(test, "/") && took <= r.cost[whole]:
		case test == "":
			packages = append(packages, name)
		default:
			tests = append(tests, name)
		}
	}
	for i, names := range [][]string{packages, tests} {
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(r.cost[b], r.cost[a]), cmp.Compare(a, b)) })
		fmt.Fprintf(r.out, "\n%s, in seconds:\n", []string{"Packages", "Slowest tests"}[i])
		for _, name := range names[:min(len(names), 25)] {
			fmt.Fprintf(r.out, "%8.1f  %s\n", r.cost[name].Seconds(), name)
		}
	}
}

// skipped lists the tests that were skipped for want of something.
func (r *reporter) skipped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.missed) == 0 {
		return
	}
	fmt.Fprintln(r.out, "\nSkipped:")
	for _, line := range slices.Compact(slices.Sorted(slices.Values(r.missed))) {
		fmt.Fprintln(r.out, "  "+line)
	}
}

// verdict ends the report with why the run has failed, and says whether all is well:
// who sees no more than the end of a log has to know. err is of the run itself, and
// left what was found in the folder for temporary files.
func (r *reporter) verdict(err error, left []string) (ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && len(r.failed) == 0 && len(left) == 0 {
		fmt.Fprintln(r.out, "\nPASSED")
		return true
	}
	fmt.Fprintln(r.out, "\nFAILED:")
	for _, name := range slices.Sorted(slices.Values(r.failed)) {
		fmt.Fprintln(r.out, "  "+name)
	}
	if err != nil && len(r.failed) == 0 {
		fmt.Fprintln(r.out, "  "+err.Error())
	}
	for _, path := range left {
		fmt.Fprintln(r.out, "  left behind in the folder for temporary files:", path)
	}
	return false
}

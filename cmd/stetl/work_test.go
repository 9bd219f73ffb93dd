//go:build work

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/supertokensgen"
)

// counted are the packages whose executed statements count as work: all of ours,
// and those of the standard library that hide loops.
const counted = "github.com/stetl/stetl/...,slices,strings,bytes,sort,maps"

// TestTwiceTheLoginsTwiceTheWork has the program count each statement it
// executes: with one account of twice the logins there may be 2.5 times as many,
// beside those that an account of few logins takes. Time has no say in it.
func TestTwiceTheLoginsTwiceTheWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "stetl")
	build := exec.CommandContext(t.Context(), "go", "build", "-cover", "-covermode=atomic", "-coverpkg="+counted, "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with counters: %v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"inspect": {"inspect"},
		"export":  {"export", "--out", "OUT", "--include-secrets"},
		"plan":    {"run", "--dry-run", "--detail", "full"},
		"run":     {"run"},
		"explain": {"explain", supertokensgen.LinkedAccount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 4000
			few, once, twice := work(t, program, args, 8), work(t, program, args, n), work(t, program, args, 2*n)
			extra, more := once.sum()-few.sum(), twice.sum()-few.sum()
			t.Logf("%d statements for few logins, %d more for %d, %d more for %d", few.sum(), extra, n, more, 2*n)
			if extra <= 0 || 2*more > 5*extra {
				t.Errorf("twice the logins cost %.2f times the work; what grew most:\n%s", float64(more)/float64(extra), twice.growth(once))
			}
		})
	}
}

// statements counts how often each was executed.
type statements map[string]int

func (s statements) sum() (all int) {
	for _, n := range s {
		all += n
	}
	return all
}

// growth lists the places that account for most of the growth since once beyond
// its double.
func (s statements) growth(once statements) string {
	type place struct {
		name string
		more int
	}
	var all []place
	for name, n := range s {
		all = append(all, place{name, n - 2*once[name]})
	}
	slices.SortFunc(all, func(x, y place) int { return cmp.Or(y.more-x.more, strings.Compare(x.name, y.name)) })
	var out strings.Builder
	for _, p := range all[:min(10, len(all))] {
		fmt.Fprintf(&out, "%12d  %s\n", p.more, p.name)
	}
	return out.String()
}

// work runs the program on one account of so many logins.
func work(t *testing.T, program string, args []string, logins int) statements {
	t.Helper()
	dir := t.TempDir()
	dump, config, counters := filepath.Join(dir, "source.sql"), filepath.Join(dir, "stetl.yaml"), filepath.Join(dir, "counters")
	var source bytes.Buffer
	if err := supertokensgen.WriteLinked(&source, logins); err != nil {
		t.Fatal(err)
	}
	text := "source: {dump: " + dump + "}\ntarget: {plugin: keycloak, config: {mode: files, realm: test, out: " + filepath.Join(dir, "realm") + "}}\njournal: " + filepath.Join(dir, "journal") + "\n"
	for path, content := range map[string][]byte{dump: source.Bytes(), config: []byte(text)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(counters, 0o700); err != nil {
		t.Fatal(err)
	}
	args = append(slices.Clone(args), "--config", config)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "OUT", filepath.Join(dir, "accounts"))
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+counters)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("stetl %s: %v\n%s", args, err, out)
	}
	return read(t, counters)
}

func read(t *testing.T, counters string) statements {
	t.Helper()
	list := filepath.Join(counters, "text")
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "tool", "covdata", "textfmt", "-i="+counters, "-o="+list).CombinedOutput()
	if err != nil {
		t.Fatalf("read the counters: %v\n%s", err, out)
	}
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	all := statements{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // place, statements, how often
		if len(f) != 3 {
			continue // the first one
		}
		size, err1 := strconv.Atoi(f[1])
		times, err2 := strconv.Atoi(f[2])
		if err := cmp.Or(err1, err2); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[f[0]] += size * times
	}
	return all
}

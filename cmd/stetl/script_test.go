package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits runs a program and requires an exact exit code: exits 3 stetl run …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// losing copies a plain dump without the first row of a table: losing TABLE FROM TO
func losing(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: losing TABLE FROM TO")
	}
	content, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	before, rest, found := strings.Cut(string(content), "\nCOPY public."+args[0]+" (")
	head, rows, more := strings.Cut(rest, ";\n")
	_, kept, row := strings.Cut(rows, "\n")
	if !found || !more || !row {
		ts.Fatalf("no rows of %s in %s", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(before+"\nCOPY public."+args[0]+" ("+head+";\n"+kept), 0o600))
}

// cut copies the first bytes of a file: cut BYTES FROM TO
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut BYTES FROM TO")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	content, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if n < 0 {
		n += len(content)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), content[:n], 0o600))
}

// built builds a program of this repository, as people do and so without the race detector:
// built FOLDER TO
func built(root string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: built FOLDER TO")
		}
		folder := filepath.Join(root, args[0])
		sources, err := os.ReadDir(folder)
		ts.Check(err)
		for _, source := range sources {
			_, err := os.Stat(filepath.Join(folder, source.Name())) // go test repeats the test when one has changed
			ts.Check(err)
		}
		cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", ts.MkAbs(args[1]), ".")
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		ts.Logf("%s", out)
		ts.Check(err)
	}
}

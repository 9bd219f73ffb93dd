//go:build unix

// Command testrun runs "go test" for tools/test.sh, so that whoever waits sees what
// goes on: a line when a package begins and ends, which server is being waited for,
// and in the end what each package has cost, which tests were skipped for want of what,
// and in its last lines why it fails. A run fails when it leaves something in the folder
// for temporary files, too.
//
// Without arguments it runs every test. The race detector watches all packages but
// those that run the built program from outside, whose own code has no concurrency
// worth the price; both kinds run side by side.
package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// outside are the packages that run the built program.
var outside = []string{module + "internal/e2e"}

const module = "github.com/stetl/stetl/"

// longest are the packages that take longest, those first that take more. go test begins
// with packages in the order in which they are named, and processors are idle in the end
// where a long one has begun last.
var longest = []string{
	"plugins/keycloak", "core/sdk/conformance", "core/supertokens", "cmd/stetl", "plugins/auth0", "plugins/generic-scim", "core/bridge",
	"internal/crash", "examples/python", "core/engine", "core/supertokens/cutover",
}

// byLength sorts packages as longest has them, all others after them.
func byLength(packages []string) {
	place := func(p string) int {
		if i := slices.Index(longest, short(p)); i >= 0 {
			return i
		}
		return len(longest)
	}
	slices.SortStableFunc(packages, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
}

func main() {
	ok, err := run(os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
	}
	if err != nil || !ok {
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

// run runs the tests and says whether all is well.
func run(out io.Writer, args []string) (ok bool, err error) {
	commands := [][]string{args}
	if len(args) == 0 {
		if commands, err = everything(); err != nil {
			return false, err
		}
	}
	r := newReporter(out)
	p, err := newPlace(r)
	if err != nil {
		return false, err
	}
	// Ctrl-C reaches the tests as well; they end, and this one after them.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	stop := r.follow(p.waits)
	var wg sync.WaitGroup
	failed := make([]error, len(commands))
	for i, args := range commands {
		wg.Go(func() { failed[i] = goTest(r, p.env(), args) })
	}
	wg.Wait()
	left, err := p.leave()
	stop()
	r.costs()
	r.skipped()
	err = errors.Join(err, os.RemoveAll(p.notes))
	p.unlock()
	return r.verdict(errors.Join(append(failed, err)...), left), err
}

// computing are the packages that the race detector does not look into: they compute, with
// data of one caller each, and are not ours. The detector makes them up to twelve times slower.
// What is ours and uses them is watched as ever.
var computing = []string{"modernc.org/...", "golang.org/x/crypto/...", "compress/flate", "crypto/internal/..."}

// watching are the flags with which the race detector watches a package.
func watching() []string {
	flags := []string{"-race"}
	for _, pattern := range computing {
		flags = append(flags, "-gcflags="+pattern+"=-race=false")
	}
	return flags
}

// everything are the commands that run all tests.
func everything() ([][]string, error) {
	listed, err := exec.Command(goCommand(), "list", "./...").Output() //nolint:gosec,noctx // whoever runs the tests names and ends it
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	watched := slices.DeleteFunc(strings.Fields(string(listed)), func(p string) bool { return slices.Contains(outside, p) })
	byLength(watched)
	// Tests from outside wait more than they compute: for servers, and for the program.
	waiting := "-parallel=" + strconv.Itoa(runtime.NumCPU()+1)
	// Half of the processors for the others: with more at a time, what must be over within
	// two seconds by the contract of plugins is not.
	half := "-p=" + strconv.Itoa(max(1, runtime.NumCPU()/2))
	return [][]string{append([]string{waiting}, outside...), append(append([]string{half}, watching()...), watched...)}, nil
}

func goCommand() string { return cmp.Or(os.Getenv("GO"), "go") }

// goTest runs one go command.
func goTest(r *reporter, env, args []string) error {
	cmd := exec.Command(goCommand(), append([]string{"test", "-json", "-timeout", "45m"}, args...)...) //nolint:gosec,noctx // as above
	cmd.Env, cmd.Stderr = env, os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = r.read(events)
	return errors.Join(err, cmd.Wait())
}

// place is where a run keeps its files.
type place struct {
	temp  string // for temporary files of the tests
	notes string // the rest
	waits string // what is waited for
	going *os.File
	// unlock lets another run use the folders.
	unlock func()
}

// newPlace makes the folders of a run, which have the same names in every run of a
// checkout: go test does not repeat what has passed in the same environment. It waits
// while another run uses them.
func newPlace(r *reporter) (p place, err error) {
	checkout, err := os.Getwd()
	if err != nil {
		return p, err
	}
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(checkout)))[:8]
	r.print("      waiting for other runs in this checkout, if any")
	if p.unlock, err = testenv.Lock("run-" + id); err != nil {
		return p, err
	}
	p.temp = filepath.Join(os.TempDir(), "st"+id) // short: paths of sockets have an end
	p.notes = p.temp + "-run"
	p.waits = filepath.Join(p.notes, "waits")
	for _, dir := range []string{p.temp, p.notes} {
		// PostgreSQL runs as another user where this one is root.
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil { //nolint:gosec // see above
			return p, err
		}
	}
	going := filepath.Join(p.notes, "going")
	if err := errors.Join(os.WriteFile(p.waits, nil, 0o600), syscall.Mkfifo(going, 0o600)); err != nil {
		return p, err
	}
	p.going, err = os.OpenFile(going, os.O_RDWR, 0)
	return p, err
}

func (p place) env() []string {
	return append(os.Environ(), "GORACE="+testenv.Race(), "TMPDIR="+p.temp, "STETL_TEST_RUN="+filepath.Join(p.notes, "going"),
		"STETL_WAIT_LOG="+p.waits, testenv.Once+"="+time.Now().Format(time.RFC3339Nano))
}

// patience is how long servers may take to end.
const patience = 20 * time.Second

// leave ends the shared servers, and removes and returns what is left of the run.
func (p place) leave() (left []string, err error) {
	err = p.going.Close()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		servers, _ := filepath.Glob(filepath.Join(p.temp, "stetl-*")) // the pattern is well-formed
		if len(servers) == 0 {
			break
		}
	}
	entries, readErr := os.ReadDir(p.temp)
	for _, e := range entries {
		left = append(left, fmt.Sprintf("%s (%d KB)", e.Name(), size(filepath.Join(p.temp, e.Name()))/1024))
	}
	return left, errors.Join(err, readErr, os.RemoveAll(p.temp))
}

// size is that of all files below.
func size(path string) (n int64) {
	_ = filepath.Walk(path, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			n += info.Size()
		}
		return nil // what cannot be read counts nothing
	})
	return n
}

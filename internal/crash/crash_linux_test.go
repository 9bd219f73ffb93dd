package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/postgres"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/filetarget"
	pgserver "github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// The test binary is host and plugin as well.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "plugin-serve":
		sdk.Serve(filetarget.Plugin())
	case len(os.Args) == 4 && os.Args[1] == "host":
		at, err := strconv.Atoi(os.Args[3])
		if err == nil {
			err = host(os.Args[2], int64(at))
		}
		if err != nil {
			panic(err)
		}
	default:
		m.Run()
	}
}

// accounts of every test; half of them have changed in the second version.
const accounts = 50

type people bool

func (changed people) Accounts(_ context.Context, emit func([]canonical.User) error) error {
	for n := range accounts {
		email := fmt.Sprintf("p%02d@example.org", n)
		if bool(changed) && n%2 == 0 {
			email = "new-" + email
		}
		id := fmt.Sprintf("u%02d", n)
		u := canonical.User{InternalID: id, ID: id, Logins: []canonical.Login{{ID: id, VisibleID: id, Recipe: canonical.EmailPassword, Email: &email}}}
		if err := emit([]canonical.User{u}); err != nil {
			return err
		}
	}
	return nil
}

// mortal is a journal whose process is killed, or stopped until somebody lets it go on, before
// and after each of its records.
type mortal struct {
	*journal.Scope
	left   atomic.Int64
	signal syscall.Signal
}

func (m *mortal) moment() {
	if m.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), m.signal)
	if m.signal == syscall.SIGKILL {
		select {}
	}
}

func (m *mortal) Mark(run int64, e []journal.Entry) (int64, error) {
	m.moment()
	n, err := m.Scope.Mark(run, e)
	m.moment()
	return n, err
}

func (m *mortal) Record(batch int64, e []journal.Entry) error {
	m.moment()
	err := m.Scope.Record(batch, e)
	m.moment()
	return err
}

// fileOfAddress is where a place has the address of its journal, if that is not a folder.
const fileOfAddress = "journal.url"

// openJournal opens the journal of a place, of whichever kind it is.
func openJournal(ctx context.Context, dir string) (journal.Journal, error) {
	address, err := os.ReadFile(filepath.Join(dir, fileOfAddress))
	if errors.Is(err, fs.ErrNotExist) {
		return sqlite.Open(ctx, filepath.Join(dir, "journal"))
	}
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Options{
		URL: canonical.NewSecret(string(address)), Secret: canonical.NewSecret(strings.Repeat("c3RldGwg", 8)), Lease: lease,
	})
}

// lease of a journal in PostgreSQL: for so long the next run waits for a killed one.
const lease = time.Second

// host is one run in the folder dir, killed at the at-th moment, or stopped at the one of a
// negative number; 0 is never.
func host(dir string, at int64) (err error) {
	ctx := context.Background()
	j, err := openJournal(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	scope, err := j.Scope(ctx, "public", filepath.Base(dir))
	if err != nil {
		return err
	}
	if h, ok := j.(journal.Holder); ok {
		held, release := h.Hold(ctx)
		defer release()
		ctx = held
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return err
	}
	o := plugin.Options{Bundled: plugin.Bundled{"file": {"plugin-serve"}}, FingerprintKey: j.FingerprintKey(), Memory: scope.Plugin}
	place, err := plugin.Find("file", o)
	if err != nil {
		return err
	}
	launch := func(ctx context.Context) (engine.Target, error) {
		c, err := plugin.Launch(ctx, place, o)
		if err != nil {
			return nil, err
		}
		found, err := c.Configure(ctx, config)
		return c, errors.Join(err, found.Err())
	}
	first, err := launch(ctx)
	if err != nil {
		return err
	}
	dst := engine.NewRestarting(first, launch)
	defer func() {
		if c, ok := dst.Current().(*plugin.Client); ok {
			err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
		}
	}()
	m := &mortal{Scope: scope, signal: syscall.SIGKILL}
	m.left.Store(at)
	if at < 0 {
		m.signal = syscall.SIGSTOP
		m.left.Store(-at)
	}
	_, statErr := os.Stat(filepath.Join(dir, "changed"))
	result, err := engine.Run(ctx, people(statErr == nil), dst, engine.Options{Journal: m, Run: 1, Key: j.FingerprintKey(), ReadBack: 1})
	raw, encodeErr := json.Marshal(result)
	return errors.Join(err, encodeErr, os.WriteFile(filepath.Join(dir, "result.json"), raw, 0o600))
}

// place is the folder of one installation.
type place string

func newPlace(t *testing.T, c filetarget.Config) place {
	t.Helper()
	dir := t.TempDir()
	c.Dir = filepath.Join(dir, "target")
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return place(dir)
}

// change gives half of the accounts other addresses.
func (p place) change() error { return os.WriteFile(filepath.Join(string(p), "changed"), nil, 0o600) }

// run runs a host and waits until its plugins are gone as well. It says whether the
// host was killed.
func (p place) run(ctx context.Context, at int) (killed bool, err error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "host", string(p), strconv.Itoa(at))
	cmd.Env = append(os.Environ(), "TMPDIR="+string(p)) // a killed host leaves a socket
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && at > 0 {
		killed, err = true, nil
	}
	if err != nil {
		return killed, fmt.Errorf("%w\n%s", err, out)
	}
	return killed, p.orphans(ctx)
}

// orphans waits for the end of every plugin of this place.
func (p place) orphans(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(string(p), "target", "*.pid"))
	if err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, file := range files {
		pid := strings.TrimSuffix(filepath.Base(file), ".pid")
		for alive(pid) {
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("plugin process %s is left over", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// alive says whether a process runs; one that has ended and that nobody collects
// does not.
func alive(pid string) bool {
	status, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// accounts lists what is in the target, whatever ids it gave.
func (p place) accounts() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(string(p), "target", "accounts", "*.json"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		out = append(out, string(raw))
	}
	slices.Sort(out)
	return out, nil
}

func (p place) outcome() (engine.Result, error) {
	var r engine.Result
	raw, err := os.ReadFile(filepath.Join(string(p), "result.json"))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(raw, &r)
}

// undisturbed is what the target should hold in the end.
func undisturbed(t *testing.T, changed bool) []string {
	t.Helper()
	p := newPlace(t, filetarget.Config{})
	if changed {
		if err := p.change(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.run(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	want, err := p.accounts()
	if err != nil || len(want) != accounts {
		t.Fatalf("%d accounts, %v", len(want), err)
	}
	return want
}

// together runs tries a few at a time, as each is mostly waiting.
func together(t *testing.T, tries []func(context.Context) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(4)
	for _, try := range tries {
		group.Go(func() error { return try(ctx) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func same(p place, want []string) error {
	got, err := p.accounts()
	if err != nil {
		return err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the target is not as it should be (-want +got):\n%s", diff)
	}
	return nil
}

// inPostgres gives a place its journal in a database.
func (p place) inPostgres(t *testing.T, dsn string) place {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(p), fileOfAddress), []byte(dsn), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// A host that is killed before or after any of its journal records, and again while
// it brings changes, leaves neither a duplicate nor a gap nor a process.
func TestHostKilledAnywhere(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "kills a run at every moment")
	killedAnywhere(t, func(t *testing.T) place {
		t.Helper()
		return newPlace(t, filetarget.Config{})
	})
}

// The same is true when the journal is in PostgreSQL.
func TestHostKilledAnywhereWithPostgres(t *testing.T) {
	t.Parallel()
	dsn := pgserver.Start(t).CreateDatabase(t, pgserver.Database{})
	killedAnywhere(t, func(t *testing.T) place {
		t.Helper()
		return newPlace(t, filetarget.Config{}).inPostgres(t, dsn)
	})
}

func killedAnywhere(t *testing.T, newPlace func(*testing.T) place) {
	t.Helper()
	first, second := undisturbed(t, false), undisturbed(t, true)
	// Ten batches are marked and recorded, each with a moment before and after.
	const moments = 4 * accounts / 5
	var tries []func(context.Context) error
	for at := 1; at <= moments; at++ {
		p := newPlace(t)
		tries = append(tries, func(ctx context.Context) error {
			killed, err := p.run(ctx, at)
			if err == nil && !killed {
				err = errors.New("it was not killed")
			}
			if err == nil {
				_, err = p.run(ctx, 0)
			}
			if err == nil {
				err = same(p, first)
			}
			if err == nil && at%4 == 0 {
				if err = p.change(); err == nil {
					_, err = p.run(ctx, at/4)
				}
				if err == nil {
					_, err = p.run(ctx, 0)
				}
				if err == nil {
					err = same(p, second)
				}
			}
			if err != nil {
				return fmt.Errorf("killed at moment %d: %w", at, err)
			}
			return nil
		})
	}
	together(t, tries)
}

// A host that is held up for longer than its lease, at any of its journal records, stops when
// it goes on, and what it had sent is looked up by the host that has begun meanwhile: nobody is
// there twice, and nobody is missing. A message of another batch that was on its way to the
// plugin when the host was held up arrives late; the target refuses it, as most do.
func TestPausedHostAnywhere(t *testing.T) {
	t.Parallel()
	dsn := pgserver.Start(t).CreateDatabase(t, pgserver.Database{})
	want := undisturbed(t, false)
	var tries []func(context.Context) error
	for at := 1; at < 4*accounts/5; at += 3 {
		p := newPlace(t, filetarget.Config{Unique: true}).inPostgres(t, dsn)
		tries = append(tries, func(ctx context.Context) error {
			err := p.pausedAt(ctx, at)
			if err == nil {
				err = same(p, want)
			}
			if err != nil {
				return fmt.Errorf("paused at moment %d: %w", at, err)
			}
			return nil
		})
	}
	together(t, tries)
}

// pausedAt stops a host at a moment, lets another one do its work, and has the first go on.
func (p place) pausedAt(ctx context.Context, at int) error {
	paused := exec.CommandContext(ctx, os.Args[0], "host", string(p), strconv.Itoa(-at))
	paused.Env = append(os.Environ(), "TMPDIR="+string(p))
	var said bytes.Buffer
	paused.Stdout, paused.Stderr = &said, &said
	if err := paused.Start(); err != nil {
		return err
	}
	pid := strconv.Itoa(paused.Process.Pid)
	for !stopped(pid) {
		if !alive(pid) || ctx.Err() != nil {
			return fmt.Errorf("it was not stopped: %w\n%s", paused.Wait(), said.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	other := exec.CommandContext(ctx, os.Args[0], "host", string(p), "0")
	other.Env = append(os.Environ(), "TMPDIR="+string(p))
	if out, err := other.CombinedOutput(); err != nil {
		return fmt.Errorf("the other host: %w\n%s", err, out)
	}
	if err := paused.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := paused.Wait(); err == nil || !strings.Contains(said.String(), string(diag.JournalLease)) {
		return fmt.Errorf("the paused host ends with %w\n%s", err, said.String())
	}
	return p.orphans(ctx)
}

// stopped says whether a process waits for SIGCONT.
func stopped(pid string) bool {
	status, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), ") ")
	return strings.HasPrefix(rest, "T")
}

// A plugin that is killed before or after any account it writes is started again,
// within the same run.
func TestPluginKilledAnywhere(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "kills a plugin at every moment")
	want := undisturbed(t, false)
	var tries []func(context.Context) error
	for n := 1; n <= accounts; n += 3 {
		for _, when := range []string{"before", "after"} {
			p := newPlace(t, filetarget.Config{Kills: []string{fmt.Sprintf("%s:%d", when, n)}})
			tries = append(tries, func(ctx context.Context) error {
				_, err := p.run(ctx, 0)
				if err == nil {
					err = same(p, want)
				}
				if _, statErr := os.Stat(filepath.Join(string(p), "target", fmt.Sprintf("%s:%d.killed", when, n))); err == nil && statErr != nil {
					err = errors.New("it was not killed")
				}
				if err != nil {
					return fmt.Errorf("killed %s account %d: %w", when, n, err)
				}
				return nil
			})
		}
	}
	together(t, tries)
}

// What a target confirms and does not keep is found by the run that wrote it.
func TestSilentDrop(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "waits for accounts that do not come")
	p := newPlace(t, filetarget.Config{Loses: "p07@example.org"})
	if _, err := p.run(t.Context(), 0); err == nil || !strings.Contains(err.Error(), engine.ErrDiffers.Error()) {
		t.Errorf("the run ends with %v", err)
	}
	r, err := p.outcome()
	if err != nil {
		t.Fatal(err)
	}
	if codes := slices.Collect(maps.Keys(r.ReadBack.Differences)); r.ReadBack.Different() != 1 || len(codes) != 1 || codes[0] != "verify.missing" {
		t.Errorf("%+v", r.ReadBack)
	}
}

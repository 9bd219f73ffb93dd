package migration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/internal/supertokensgen"
)

// agreeable is a target that can hold everything and confirms it at once.
type agreeable struct{ requests int }

func (*agreeable) Capabilities() pluginapi.Capabilities {
	return pluginapi.Capabilities{
		Hashes:  []pluginapi.HashSupport{{Scheme: canonical.Bcrypt}, {Scheme: canonical.Argon2id}},
		Carries: pluginapi.Features(), MaxIDLength: 36, UniqueEmail: true, UniqueIdentities: true,
	}
}

func (*agreeable) Check(context.Context, pluginapi.Needs) (pluginapi.Checked, error) {
	return pluginapi.Checked{}, nil
}

func (*agreeable) Plan(context.Context, []pluginapi.User) ([]pluginapi.Change, error) {
	return nil, nil
}
func (*agreeable) Finish(context.Context) error { return nil }

func (a *agreeable) Load(_ context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	a.requests++
	out := make([]pluginapi.Outcome, len(users))
	for i := range users {
		out[i] = pluginapi.Outcome{SourceID: users[i].SourceID, Action: pluginapi.Created, TargetID: users[i].ID, State: []byte("as it was left, 32 bytes of it...")}
	}
	return out, nil
}

// engineBench is a generated dump and a journal in a folder.
type engineBench struct {
	*testing.B
	dump, dir string
	accounts  int
	busy      time.Duration // what the last reading took of all processors
}

// newEngineBench generates as many accounts as STETL_BENCH_ACCOUNTS says.
func newEngineBench(b *testing.B) *engineBench {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("make bench-engine runs it")
	}
	debug.SetGCPercent(50) // as the program does
	e := &engineBench{B: b, dump: filepath.Join(b.TempDir(), "generated.sql"), dir: b.TempDir(), accounts: n}
	f, err := os.Create(e.dump)
	if err != nil {
		b.Fatal(err)
	}
	if err := supertokensgen.Write(f, supertokensgen.Options{Generation: supertokensgen.G5, Accounts: n, Seed: 1}); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return e
}

// reading opens the source anew for use, and returns how long that and use have taken.
func (e *engineBench) reading(use func(src *supertokens.Source) error) time.Duration {
	e.Helper()
	debug.FreeOSMemory() // whatever came before
	start, began := time.Now(), processorTime(e.B)
	src, err := supertokens.Open(e.Context(), supertokens.Options{Dump: e.dump})
	if err != nil {
		e.Fatal(err)
	}
	if err := use(src); err != nil {
		e.Fatal(err)
	}
	took := time.Since(start)
	e.busy = processorTime(e.B) - began
	if err := src.Close(); err != nil {
		e.Fatal(err)
	}
	return took
}

// bare reads the source and does nothing about it.
func (e *engineBench) bare() time.Duration {
	return e.reading(func(src *supertokens.Source) error {
		return src.Read(e.Context(), func(supertokens.Batch) error { return nil })
	})
}

// run moves everybody, with the journal in the folder and the review of the source that
// comes with a run, and returns the most memory that was resident meanwhile, in MiB.
func (e *engineBench) run(dst engine.Target) (took time.Duration, summary pluginapi.Summary, peak float64) {
	e.Helper()
	// 5 has the kernel count the peak anew.
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		e.Fatal(err)
	}
	j, err := sqlite.Open(e.Context(), e.dir)
	if err != nil {
		e.Fatal(err)
	}
	scope, err := j.Scope(e.Context(), "public", "bench")
	if err != nil {
		e.Fatal(err)
	}
	var result *engine.Result
	took = e.reading(func(src *supertokens.Source) (err error) {
		review := supertokens.NewReview(src)
		defer func() { err = errors.Join(err, review.Close()) }()
		acc := &accounts{Source: &Source{cfg: &config.Config{}, src: src}, review: review}
		result, err = engine.Run(e.Context(), acc, dst, engine.Options{Journal: scope, Key: j.FingerprintKey(), Run: 1})
		_, findErr := review.Findings()
		return errors.Join(err, findErr)
	})
	if err := j.Close(); err != nil {
		e.Fatal(err)
	}
	return took, result.Summary, peakMiB(e.B)
}

// BenchmarkFirstRun loads everybody into a target that costs nothing.
func BenchmarkFirstRun(b *testing.B) {
	e := newEngineBench(b)
	var first, bare, firstBusy, bareBusy time.Duration
	most := 0.0
	for b.Loop() {
		e.dir = b.TempDir()
		turn := e.bare()
		turnBusy := e.busy
		took, summary, peak := e.run(&agreeable{})
		if summary.Created < e.accounts*9/10 {
			b.Fatalf("the first run: %+v", summary)
		}
		b.Logf("bare %.2f s, of processors %.2f s; first run %.2f s, of processors %.2f s", turn.Seconds(), turnBusy.Seconds(), took.Seconds(), e.busy.Seconds())
		first, firstBusy, bare, bareBusy, most = first+took, firstBusy+e.busy, bare+turn, bareBusy+turnBusy, max(most, peak)
	}
	done := float64(b.N * e.accounts)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(done/first.Seconds(), "accounts/s")
	b.ReportMetric(done/firstBusy.Seconds(), "accounts/cpu-s")
	b.ReportMetric(firstBusy.Seconds()/bareBusy.Seconds(), "x-bare-cpu")
	b.ReportMetric(most, "peak-MiB")
}

// BenchmarkSecondRun compares a run that has nothing to do, with the review of the
// source that comes with it, with a bare reading of the source. Both are read in
// turns, and the figures are those of all turns. STETL_BENCH_ACCOUNTS chooses how many
// accounts.
func BenchmarkSecondRun(b *testing.B) {
	e := newEngineBench(b)
	_, first, _ := e.run(&agreeable{})
	var bare, second, bareBusy, secondBusy time.Duration
	most := 0.0
	for b.Loop() {
		turn := e.bare()
		turnBusy := e.busy
		took, summary, peak := e.run(&agreeable{})
		if summary.Unchanged != first.Created || summary.Created > 0 {
			b.Fatalf("the second run does something: %+v after %+v", summary, first)
		}
		b.Logf("bare %.2f s, of processors %.2f s; second run %.2f s, of processors %.2f s", turn.Seconds(), turnBusy.Seconds(), took.Seconds(), e.busy.Seconds())
		bare, bareBusy, second, secondBusy, most = bare+turn, bareBusy+turnBusy, second+took, secondBusy+e.busy, max(most, peak)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bare.Seconds()/float64(b.N), "bare-s")
	b.ReportMetric(second.Seconds()/float64(b.N), "second-s")
	b.ReportMetric(second.Seconds()/bare.Seconds(), "x-bare")
	b.ReportMetric(secondBusy.Seconds()/bareBusy.Seconds(), "x-bare-cpu")
	b.ReportMetric(most, "peak-MiB")
}

// processorTime is what this process has used of all processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// peakMiB is the most memory that was resident since the count began.
func peakMiB(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	b.Fatal("the kernel does not say how much memory was resident")
	return 0
}

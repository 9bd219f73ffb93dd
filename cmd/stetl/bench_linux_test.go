package main

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
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/target"
	"github.com/stetl/stetl/internal/supertokensgen"
)

// agreeable is a target that can hold everything and confirms it at once.
type agreeable struct{ requests int }

func (*agreeable) Capabilities() target.Capabilities {
	return target.Capabilities{
		Hashes:  []target.HashSupport{{Scheme: canonical.Bcrypt}, {Scheme: canonical.Argon2id}},
		Carries: target.Features(), MaxIDLength: 36, UniqueEmail: true,
	}
}

func (*agreeable) Check(context.Context, target.Needs) (target.Checked, error) {
	return target.Checked{}, nil
}
func (*agreeable) Plan(context.Context, []target.User) ([]target.Change, error) { return nil, nil }
func (*agreeable) Finish(context.Context) error                                 { return nil }

func (a *agreeable) Load(_ context.Context, users []target.User) ([]target.Outcome, error) {
	a.requests++
	out := make([]target.Outcome, len(users))
	for i := range users {
		out[i] = target.Outcome{SourceID: users[i].SourceID, Action: target.Created, TargetID: users[i].ID, State: []byte("as it was left, 32 bytes of it...")}
	}
	return out, nil
}

// BenchmarkSecondRun compares a run that has nothing to do, with the review of the
// source that comes with it, with a bare reading of the source. Both are read in
// turns, and the figures are those of all turns. STETL_BENCH_ACCOUNTS chooses how many
// accounts.
func BenchmarkSecondRun(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("make bench-engine runs it")
	}
	spareMemory()
	dump := filepath.Join(b.TempDir(), "generated.sql")
	f, err := os.Create(dump)
	if err != nil {
		b.Fatal(err)
	}
	if err := supertokensgen.Write(f, supertokensgen.Options{Generation: supertokensgen.G5, Accounts: n, Seed: 1}); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	var busy time.Duration // what the last reading took of all processors
	reading := func(use func(src *supertokens.Source) error) time.Duration {
		b.Helper()
		debug.FreeOSMemory() // whatever came before
		start, began := time.Now(), processorTime(b)
		src, err := supertokens.Open(b.Context(), supertokens.Options{Dump: dump})
		if err != nil {
			b.Fatal(err)
		}
		if err := use(src); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		busy = processorTime(b) - began
		if err := src.Close(); err != nil {
			b.Fatal(err)
		}
		return took
	}
	dir := b.TempDir()
	run := func(dst engine.Target) (time.Duration, target.Summary) {
		b.Helper()
		j, err := journal.Open(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		scope, err := j.Scope(b.Context(), "public", "bench")
		if err != nil {
			b.Fatal(err)
		}
		var result *engine.Result
		took := reading(func(src *supertokens.Source) (err error) {
			review := supertokens.NewReview(src)
			defer func() { err = errors.Join(err, review.Close()) }()
			acc := &accounts{src: src}
			acc.review = review
			result, err = engine.Run(b.Context(), acc, dst, engine.Options{Journal: scope, Key: j.FingerprintKey(), Run: 1})
			_, findErr := review.Findings()
			return errors.Join(err, findErr)
		})
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		return took, result.Summary
	}
	loaded, first := run(&agreeable{})
	var bare, second, bareBusy, secondBusy time.Duration
	peak := 0.0
	for b.Loop() {
		turn := reading(func(src *supertokens.Source) error {
			return src.Read(b.Context(), func(supertokens.Batch) error { return nil })
		})
		turnBusy := busy
		// 5 has the kernel count the peak anew.
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
			b.Fatal(err)
		}
		dst := &agreeable{}
		took, summary := run(dst)
		if summary.Unchanged != first.Created || summary.Created > 0 {
			b.Fatalf("the second run does something: %+v after %+v", summary, first)
		}
		b.Logf("bare %.2f s, of processors %.2f s; second run %.2f s, of processors %.2f s", turn.Seconds(), turnBusy.Seconds(), took.Seconds(), busy.Seconds())
		bare, bareBusy, second, secondBusy = bare+turn, bareBusy+turnBusy, second+took, secondBusy+busy
		peak = max(peak, peakMiB(b))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(n)/loaded.Seconds(), "first-accounts/s")
	b.ReportMetric(bare.Seconds()/float64(b.N), "bare-s")
	b.ReportMetric(second.Seconds()/float64(b.N), "second-s")
	b.ReportMetric(second.Seconds()/bare.Seconds(), "x-bare")
	b.ReportMetric(secondBusy.Seconds()/bareBusy.Seconds(), "x-bare-cpu")
	b.ReportMetric(peak, "peak-MiB")
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

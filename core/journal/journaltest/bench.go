package journaltest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// loaded is what a run notes of an account.
func loaded(id string, state []byte) journal.Entry {
	return journal.Entry{
		SourceID: id, VisibleID: id, TargetID: id, Action: pluginapi.Created, Class: pluginapi.HashCarried, Digest: state[:16], State: state,
		Origin: journal.Made, Run: 1,
	}
}

// BenchmarkRecord prints outcomes per second, marked and recorded in batches of
// 200 from four goroutines, each durable when it returns.
func BenchmarkRecord(b *testing.B, s *journal.Scope) {
	b.Helper()
	state := make([]byte, 181)
	work := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range work {
				entries := make([]journal.Entry, 200)
				for i := range entries {
					entries[i] = loaded(fmt.Sprintf("%08x-0000-4000-8000-%012x", n, i), state)
				}
				sent, err := s.Mark(1, entries)
				if err := errors.Join(err, s.Record(sent, entries)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	n := 0
	for b.Loop() {
		work <- n
		n++
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(n*200)/b.Elapsed().Seconds(), "outcomes/s")
}

// BenchmarkKnown prints what reading an account costs a second run.
func BenchmarkKnown(b *testing.B, s *journal.Scope) {
	b.Helper()
	const accounts, portion = 300_000, 10_000
	state := make([]byte, 181)
	for from := 0; from < accounts; from += portion {
		all := make([]journal.Entry, portion)
		for i := range all {
			all[i] = loaded(fmt.Sprintf("%08x-0000-4000-8000-000000000000", from+i), state)
		}
		if err := s.Record(0, all); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for k, err := range s.Known(b.Context()) {
			if err != nil || !k.InTarget || len(k.Digest) != 16 {
				b.Fatal(k, err)
			}
			n++
		}
		if n != accounts {
			b.Fatalf("%d accounts, want %d", n, accounts)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*accounts), "ns/account")
}

//go:build unix

package scim

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/scim"
)

// setting is one way to load: fixed, or left to the plugin.
type setting struct {
	name   string
	change func(*Config)
	memory *memory // of runs before this one, nil without
	speeds []float64
}

func (s *setting) median() float64 {
	all := slices.Sorted(slices.Values(s.speeds))
	return all[len(all)/2]
}

// BenchmarkSCIM loads into SCIMMY, with and without latency: by fixed sizes and
// parallelism, by what the plugin chooses itself, and one request after another. What
// counts are the ratios at the end, all from the same machine at the same time: the
// best of the fixed settings run again in turns with the plugin's own choice, because
// the fastest of many single runs is a lucky one.
func BenchmarkSCIM(b *testing.B) {
	if os.Getenv("STETL_BENCH") == "" {
		b.Skip("set STETL_BENCH=1")
	}
	users, _ := strconv.Atoi(os.Getenv("STETL_BENCH_USERS"))
	users = cmp.Or(users, 6000)
	for _, delay := range []time.Duration{0, 40 * time.Millisecond, 200 * time.Millisecond} {
		b.Run(fmt.Sprintf("delay=%v", delay), func(b *testing.B) {
			for b.Loop() {
				var sweep []*setting
				for _, size := range []int{10, 25, 50, 100} {
					for _, parallel := range []int{1, 4, 16} {
						s := &setting{name: fmt.Sprintf("bulk of %d, %d at a time", size, parallel), change: func(c *Config) { c.BulkSize, c.Parallel = size, parallel }}
						s.run(b, delay, users)
						sweep = append(sweep, s)
					}
				}
				slices.SortFunc(sweep, func(x, y *setting) int { return cmp.Compare(y.median(), x.median()) })
				own := &setting{name: "by itself", change: func(*Config) {}}
				later := &setting{name: "by itself, in later runs", change: func(*Config) {}, memory: &memory{}}
				later.run(b, delay, users)
				later.speeds = nil
				for _, s := range sweep[:4] {
					s.speeds = nil
				}
				for range 5 {
					for _, s := range append(sweep[:4:4], own, later) {
						s.run(b, delay, users)
					}
				}
				best := slices.MaxFunc(sweep[:4], func(x, y *setting) int { return cmp.Compare(x.median(), y.median()) })
				single := &setting{name: "one POST after another", change: func(c *Config) { c.Bulk, c.Parallel = off, 1 }}
				single.run(b, delay, min(users, 200))
				b.Logf("medians: by itself %.0f users/s, in later runs %.0f, %s %.0f", own.median(), later.median(), best.name, best.median())
				b.ReportMetric(own.median(), "users/s")
				b.ReportMetric(own.median()/best.median(), "of-best-fixed")
				b.ReportMetric(later.median()/best.median(), "later-of-best-fixed")
				b.ReportMetric(own.median()/single.median(), "of-one-by-one")
			}
		})
	}
}

func (s *setting) run(b *testing.B, delay time.Duration, users int) {
	b.Helper()
	speed, size, requests := measureLoad(b, delay, users, s)
	s.speeds = append(s.speeds, speed)
	b.Logf("%s: %.0f users/s, at the end bulk of %d, %d at a time", s.name, speed, size, requests)
}

// measureLoad loads into an empty server, in batches as the host gives them, and
// returns users a second and where the pace ended.
func measureLoad(b *testing.B, delay time.Duration, n int, how *setting) (speed float64, size, requests int) {
	b.Helper()
	b.Run("run", func(b *testing.B) { // so that the server ends here
		s := scim.StartSCIMMY(b, scim.Options{Delay: delay})
		config := Config{URL: s.URL, Auth: Auth{Token: sdk.NewSecret(scim.Token)}}
		how.change(&config)
		env := sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/bench"}
		if how.memory != nil {
			env.Journal = how.memory
		}
		target, err := newLive(config.withDefaults(), env)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := target.open(b.Context()); err != nil {
			b.Fatal(err)
		}
		book := newBook(b)
		start := time.Now()
		var g errgroup.Group
		g.SetLimit(capabilities(config).Batch.InFlight)
		for part := range slices.Chunk(people(1, n), loadBatch) {
			g.Go(func() error { return target.Load(b.Context(), part, book) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		if got := book.Counts()[sdk.Created]; got != n {
			b.Fatalf("%d of %d created", got, n)
		}
		if stored, _ := s.Stored(b); len(stored) != n {
			b.Fatalf("%d stored of %d", len(stored), n)
		}
		speed = float64(n) / time.Since(start).Seconds()
		size, requests = target.server.pace.size, target.server.pace.requests
	})
	return speed, size, requests
}

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

// BenchmarkSCIM loads into SCIMMY, with and without latency: by fixed sizes and
// parallelism, by what the plugin chooses itself, and one request after another. What
// counts are the ratios at the end, all from the same machine at the same time.
func BenchmarkSCIM(b *testing.B) {
	if os.Getenv("STETL_BENCH") == "" {
		b.Skip("set STETL_BENCH=1")
	}
	users, _ := strconv.Atoi(os.Getenv("STETL_BENCH_USERS"))
	users = cmp.Or(users, 6000)
	for _, delay := range []time.Duration{0, 40 * time.Millisecond} {
		b.Run(fmt.Sprintf("delay=%v", delay), func(b *testing.B) {
			for b.Loop() {
				best, bestName := 0.0, ""
				for _, size := range []int{10, 25, 50, 100} {
					for _, parallel := range []int{1, 4, 16} {
						speed := measureLoad(b, delay, users, func(c *Config) { c.BulkSize, c.Parallel = size, parallel })
						b.Logf("bulk of %3d, %2d at a time: %5.0f users/s", size, parallel, speed)
						if speed > best {
							best, bestName = speed, fmt.Sprintf("bulk of %d, %d at a time", size, parallel)
						}
					}
				}
				single := measureLoad(b, delay, min(users, 200), func(c *Config) { c.Bulk, c.Parallel = off, 1 })
				b.Logf("one POST after another: %.0f users/s", single)
				var own []float64
				for range 3 {
					own = append(own, measureLoad(b, delay, users, func(*Config) {}))
				}
				slices.Sort(own)
				b.Logf("by itself: %.0f users/s (median of %.0f); best fixed: %.0f (%s)", own[1], own, best, bestName)
				b.ReportMetric(own[1], "users/s")
				b.ReportMetric(own[1]/best, "of-best-fixed")
				b.ReportMetric(own[1]/single, "of-one-by-one")
			}
		})
	}
}

// measureLoad loads into an empty server, in batches as the host gives them, and
// returns users a second.
func measureLoad(b *testing.B, delay time.Duration, n int, change func(*Config)) float64 {
	b.Helper()
	var speed float64
	b.Run("run", func(b *testing.B) { // so that the server ends here
		s := scim.StartSCIMMY(b, scim.Options{Delay: delay})
		config := Config{URL: s.URL, Auth: Auth{Token: sdk.NewSecret(scim.Token)}}
		change(&config)
		target, err := newLive(config.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/bench"})
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
			g.Go(func() error { return target.Load(b.Context(), part, outcomes{book}) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		if got := book.counts()[sdk.Created]; got != n {
			b.Fatalf("%d of %d created", got, n)
		}
		if stored, _ := s.Stored(b); len(stored) != n {
			b.Fatalf("%d stored of %d", len(stored), n)
		}
		speed = float64(n) / time.Since(start).Seconds()
		if testing.Verbose() && target.server != nil {
			p := target.server.pace
			b.Logf("at the end: bulk of %d, %d at a time", p.size, p.requests)
		}
	})
	return speed
}

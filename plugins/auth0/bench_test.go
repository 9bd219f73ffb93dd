package auth0

import (
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

// BenchmarkImport loads users into a tenant whose jobs take a time that grows with
// their users, as the host does: many batches at once. It compares with the best that
// two slots could do.
func BenchmarkImport(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("STETL_BENCH_ACCOUNTS is not set; make bench-auth0 sets it")
	}
	const perUser, poll = 3 * time.Millisecond, 100 * time.Millisecond
	for b.Loop() {
		server := simulator.Start(b, simulator.Options{JobTime: func(users int) time.Duration { return time.Duration(users) * perUser }})
		client := plugintest.ServeWith(b, Plugin(), map[string]any{
			"domain": "tenant.eu.auth0.test", "api_url": server.URL, "client_id": "stetl", "client_secret": "client-secret-of-the-tenant",
			"connection": "Username-Password-Authentication", "poll_interval": poll.String(), "deferred": b.TempDir() + "/deferred.jsonl",
		}, plugintest.Host{Memory: &memory{}})
		begun := time.Now()
		var group sync.WaitGroup
		slots := make(chan struct{}, batchInFlight)
		for part := range slices.Chunk(people(1, n), batchUsers) {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				outcomes, err := client.Load(b.Context(), part)
				if err != nil || slices.ContainsFunc(outcomes, func(o sdk.Outcome) bool { return o.Action != sdk.Created }) {
					b.Errorf("%v", err)
				}
			})
		}
		group.Wait()
		report(b, server, time.Since(begun), perUser, poll)
	}
}

func report(b *testing.B, server *simulator.Server, wall, perUser, poll time.Duration) {
	b.Helper()
	jobs := server.Jobs()
	var size int
	for _, j := range jobs[:len(jobs)-1] { // the last one has what is left
		size += j.Size
	}
	fill := float64(size) / float64(max(len(jobs)-1, 1)*budget)
	// A slot idles from the end of a job to the start of the next one: each start takes
	// the slot that became free first.
	var free []time.Time
	var idle []time.Duration
	for _, j := range jobs {
		free = append(free, j.Ends)
	}
	slices.SortFunc(free, time.Time.Compare)
	for i, j := range jobs[min(maxJobs, len(jobs)):] {
		idle = append(idle, j.Created.Sub(free[i]))
	}
	var longest, sum time.Duration
	for _, d := range idle {
		longest, sum = max(longest, d), sum+d
	}
	// The best is both slots taking the same jobs without a pause.
	var slots [maxJobs]time.Duration
	for _, j := range jobs {
		first := 0
		if slots[1] < slots[0] {
			first = 1
		}
		slots[first] += time.Duration(j.Users) * perUser
	}
	ideal := max(slots[0], slots[1])
	if fill < 0.98 || server.MostActive() > maxJobs {
		b.Errorf("filled to %.3f, %d jobs at once", fill, server.MostActive())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(jobs)), "jobs")
	b.ReportMetric(100*fill, "%fill")
	b.ReportMetric(float64(server.MostActive()), "at-once")
	b.ReportMetric(float64(longest)/float64(poll), "longest-idle/poll")
	b.ReportMetric(float64(sum)/float64(max(len(idle), 1))/float64(poll), "mean-idle/poll")
	b.ReportMetric(float64(wall)/float64(ideal), "wall/ideal")
}

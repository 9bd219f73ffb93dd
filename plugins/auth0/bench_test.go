package auth0

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
)

// BenchmarkImport loads users into tenants whose jobs take a time that grows with
// their users, as the host does: many batches at once. It compares with the best that
// two slots could do.
func BenchmarkImport(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("STETL_BENCH_ACCOUNTS is not set; make bench-auth0 sets it")
	}
	for _, c := range []struct{ poll, perUser time.Duration }{
		{100 * time.Millisecond, 3 * time.Millisecond},
		{250 * time.Millisecond, 3 * time.Millisecond},
		{250 * time.Millisecond, time.Millisecond},
		{time.Second, 6 * time.Millisecond},
	} {
		b.Run(fmt.Sprintf("poll=%s,job=%s", c.poll, 1250*c.perUser), func(b *testing.B) {
			for b.Loop() {
				server := simulator.Start(b, simulator.Options{JobTime: func(users int) time.Duration { return time.Duration(users) * c.perUser }})
				client := plugintest.ServeWith(b, Plugin(), map[string]any{
					"domain": "tenant.eu.auth0.test", "api_url": server.URL, "client_id": "stetl", "client_secret": "client-secret-of-the-tenant",
					"connection": "Username-Password-Authentication", "poll_interval": c.poll.String(), "deferred": b.TempDir() + "/deferred.jsonl",
				}, plugintest.Host{Memory: &memory{}})
				begun := time.Now()
				inBatches(people(1, n), batchUsers, func(part []sdk.User) {
					outcomes, err := client.Load(b.Context(), part)
					if err != nil || slices.ContainsFunc(outcomes, func(o sdk.Outcome) bool { return o.Action != sdk.Created }) {
						b.Errorf("%v", err)
					}
				})
				report(b, server, time.Since(begun), c.poll)
			}
		})
	}
}

// BenchmarkDelta changes the passwords of a tenth of the users, who all have a role, and
// compares all of them, as later runs do.
func BenchmarkDelta(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("STETL_BENCH_ACCOUNTS is not set; make bench-auth0 sets it")
	}
	for b.Loop() {
		server := simulator.Start(b, simulator.Options{JobTime: func(users int) time.Duration { return time.Duration(users) * time.Millisecond }})
		client := plugintest.ServeWith(b, Plugin(), map[string]any{
			"domain": "tenant.eu.auth0.test", "api_url": server.URL, "client_id": "stetl", "client_secret": "client-secret-of-the-tenant",
			"connection": "Username-Password-Authentication", "poll_interval": "100ms", "deferred": b.TempDir() + "/deferred.jsonl",
		}, plugintest.Host{Memory: &memory{}, FingerprintKey: []byte("key")})
		users := people(1, n)
		for i := range users {
			users[i].Roles = map[string][]string{"public": {"admin"}}
		}
		var mu sync.Mutex
		last := map[string]sdk.Outcome{}
		load := func(want sdk.Action) func(part []sdk.User) {
			return func(part []sdk.User) {
				outcomes, err := client.Load(b.Context(), part)
				mu.Lock()
				defer mu.Unlock()
				for _, o := range outcomes {
					last[o.SourceID] = o
					if o.Action != want || len(o.Losses) > 0 {
						b.Fatalf("%s is %s, lost %s", o.SourceID, o.Action, lossText(o))
					}
				}
				if err != nil {
					b.Error(err)
				}
			}
		}
		inBatches(users, batchUsers, load(sdk.Created))
		for i := range users {
			users[i] = again(users[i], last[users[i].SourceID])
		}
		changed := slices.Clone(users[:n/10])
		for i := range changed {
			changed[i].Password = light(1).Password
		}
		jobs, requests := server.Imports(), len(server.Requests())
		inBatches(changed, batchUsers, load(sdk.Updated))
		b.ReportMetric(float64(server.Imports()-jobs), "jobs")
		b.ReportMetric(float64(len(server.Requests())-requests)/float64(len(changed)), "requests/changed")
		for i := range changed {
			users[i] = again(changed[i], last[changed[i].SourceID])
		}
		requests = len(server.Requests())
		begun := time.Now()
		inBatches(users, batchUsers, func(part []sdk.User) {
			changes, err := client.Plan(b.Context(), part)
			if err != nil || slices.ContainsFunc(changes, func(c sdk.Change) bool { return c.Action != sdk.Unchanged }) {
				b.Errorf("after the change, %v", err)
			}
		})
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(len(server.Requests())-requests)/float64(n), "requests/compared")
		b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "compared/s")
	}
}

// inBatches calls load as the host does.
func inBatches(users []sdk.User, size int, load func([]sdk.User)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, batchInFlight)
	for part := range slices.Chunk(users, size) {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			load(part)
		})
	}
	group.Wait()
}

func report(b *testing.B, server *simulator.Server, wall, poll time.Duration) {
	b.Helper()
	jobs := server.Jobs()
	var size int
	for _, j := range jobs[:len(jobs)-1] { // the last one has what is left
		size += j.Size
	}
	fill := float64(size) / float64(max(len(jobs)-1, 1)*importjob.Budget)
	idle := idleTimes(jobs)
	var sum time.Duration
	for _, d := range idle {
		sum += d
	}
	if fill < 0.98 || server.MostActive() > maxJobs {
		b.Errorf("filled to %.3f, %d jobs at once", fill, server.MostActive())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(jobs)), "jobs")
	b.ReportMetric(100*fill, "%fill")
	b.ReportMetric(float64(server.MostActive()), "at-once")
	b.ReportMetric(float64(slices.Max(idle))/float64(poll), "longest-idle/poll")
	b.ReportMetric(float64(sum)/float64(len(idle))/float64(poll), "mean-idle/poll")
	b.ReportMetric(float64(wall)/float64(ideal(jobs)), "wall/ideal")
}

// idleTimes are those of the slots: from the end of a job in the tenant until the next
// upload is accepted, each of which takes the slot that became free first.
func idleTimes(jobs []simulator.Job) []time.Duration {
	var free []time.Time
	for _, j := range jobs {
		free = append(free, j.Ends)
	}
	slices.SortFunc(free, time.Time.Compare)
	idle := []time.Duration{0}
	for i, j := range jobs[min(maxJobs, len(jobs)):] {
		idle = append(idle, j.Created.Sub(free[i]))
	}
	return idle[min(1, len(idle)-1):]
}

// ideal is the best: both slots taking the same jobs without a pause.
func ideal(jobs []simulator.Job) time.Duration {
	var slots [maxJobs]time.Duration
	for _, j := range jobs {
		first := 0
		if slots[1] < slots[0] {
			first = 1
		}
		slots[first] += j.Ends.Sub(j.Created)
	}
	return max(slots[0], slots[1])
}

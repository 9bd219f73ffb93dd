package auth0

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

// TestSlotsDoNotIdle loads twenty jobs under a clock of its own. A slot waits for
// its next job for less than one poll interval or a hundredth of the job, whether jobs
// take the same time or not, and looks are rare until the end is near.
func TestSlotsDoNotIdle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		job    time.Duration
		spread int // percent by which jobs differ
	}{
		{1250 * time.Millisecond, 0}, {2 * time.Second, 0}, {30 * time.Second, 5}, {5 * time.Minute, 0}, {5 * time.Minute, 20},
	} {
		t.Run(fmt.Sprintf("%s, %d%%", c.job, c.spread), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const perJob, poll = 25, 250 * time.Millisecond
				const batchUsers = perJob / 2
				const usualPace, ageParts, jobParts = 4, 40, 100 // see the documentation
				n, pace := 0, max(poll, min(c.job/jobParts*3/2, usualPace*poll))
				server := simulator.New(simulator.Options{JobTime: func(users int) time.Duration {
					n++
					each := c.job / perJob
					return time.Duration(users) * (each + each*time.Duration(c.spread*(n*7%11-5))/500)
				}})
				target, err := newLiveOver(server, Config{
					Domain: "tenant.eu.auth0.test", ClientID: "stetl", ClientSecret: sdk.NewSecret("client-secret-of-the-tenant"),
					Connection: "Username-Password-Authentication", Deferred: filepath.Join(t.TempDir(), "deferred.jsonl"),
				}.withDefaults(), sdk.Env{Pulse: func(sdk.Pulse) {}, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				if err := target.open(t.Context()); err != nil {
					t.Fatal(err)
				}
				users := people(1, 20*perJob)
				r, _ := target.mapper.user(&users[len(users)-1])
				target.queue.SetRoom(perJob*(len(r.body)+1) + 1) // small jobs are as good
				begun, book := time.Now(), newBook(t)
				inBatches(users, batchUsers, func(part []sdk.User) {
					if err := target.Load(t.Context(), part, book); err != nil {
						t.Error(err)
					}
				})
				wall := time.Since(begun)
				if err := target.Close(t.Context()); err != nil {
					t.Error(err)
				}
				jobs := server.Jobs()
				if got := book.Counts()[sdk.Created]; got != len(users) || len(jobs) < 20 || server.MostActive() != maxJobs {
					t.Errorf("%d users were created in %d jobs, %d at once", got, len(jobs), server.MostActive())
				}
				var longest, sum time.Duration
				idle := idleTimes(jobs)
				for i, d := range idle {
					if i >= maxJobs { // before, nobody knows how long jobs take
						longest, sum = max(longest, d), sum+d
					}
				}
				if first := max(idle[0], idle[1]); first > max(poll, c.job/ageParts)*6/5 {
					t.Errorf("at first, a slot was idle for %s", first)
				}
				if c.spread > 5 { // an end outside of everything seen before is found later
					pace = max(pace, c.job/50)
				}
				if longest > pace {
					t.Errorf("a slot was idle for %s, looks are %s apart", longest, pace)
				}
				best := ideal(jobs)
				if most := best * 21 / 20; wall > most && c.spread <= 5 || wall > best*11/10 {
					t.Errorf("took %s, %s is possible", wall, best)
				}
				looks := 0
				for _, r := range server.Requests() {
					if strings.HasPrefix(r.Path, "/api/v2/jobs/job_") && !strings.HasSuffix(r.Path, "/errors") {
						looks++
					}
				}
				if most := int(2 * best / time.Second); c.job > 10*time.Second && looks > most {
					t.Errorf("%d looks; one a second would be %d", looks, most)
				}
				t.Logf("idle %s, at most %s; at first %s, %s; %d looks at %d jobs of %s; %.3f of the best", sum/time.Duration(len(idle)-maxJobs), longest, idle[0], idle[1], looks, len(jobs), c.job, float64(wall)/float64(best))
			})
		})
	}
}

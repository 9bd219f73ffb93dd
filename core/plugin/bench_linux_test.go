package plugin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// resident is the memory of a process in bytes.
func resident(t testing.TB, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(raw, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	kib, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// grown is users as a source has them.
func grown(n int) []pluginapi.User {
	all, yes := users(n), true
	for i := range all {
		u := &all[i]
		u.ID, u.Username = fmt.Sprintf("11111111-2222-4333-8444-%012d", i), fmt.Sprintf("person-%d@example.org", i)
		u.Email, u.EmailVerified, u.GivenName, u.FamilyName = u.Username, &yes, "Ada", "Example"
		u.Created = time.UnixMilli(1_700_000_000_000 + int64(i))
		u.Password, u.Class = canonical.ParsePasswordHash("$2a$11$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"), pluginapi.HashCarried
	}
	return all
}

// pour loads in through c, several batches at a time.
func pour(tb testing.TB, c *Client, in []pluginapi.User) {
	tb.Helper()
	var wg sync.WaitGroup
	for part := range slices.Chunk(in, 200*4) {
		wg.Go(func() {
			out, err := c.Load(context.Background(), part)
			if err != nil || len(out) != len(part) {
				tb.Errorf("%d outcomes, %v", len(out), err)
			}
		})
	}
	wg.Wait()
}

// The memory of a plugin does not depend on how many users it has seen.
func TestMemoryIsFlat(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "moves many users")
	c, _ := launch(t, "ok")
	in := grown(200 * 16)
	for range 5 { // whatever grows once has grown then
		pour(t, c, in)
	}
	before := resident(t, c.Info().PID)
	for range 60 {
		pour(t, c, in)
	}
	// Without a bound, an account of these takes 300 bytes and more: 57 MB in all.
	if after := resident(t, c.Info().PID); after-before > 24<<20 {
		t.Errorf("after %d users the process has grown from %d to %d KiB", 60*len(in), before>>10, after>>10)
	}
}

// BenchmarkLoad measures the boundary itself: the plugin does nothing. "small" is for
// comparison with measurements of other protocols, which have no accounts to carry.
func BenchmarkLoad(b *testing.B) {
	for name, in := range map[string][]pluginapi.User{"small": users(200 * 16), "account": grown(200 * 16)} {
		b.Run(name, func(b *testing.B) {
			o := Options{Bundled: Bundled{"good": {"plugin-serve", "good"}}}
			loc, err := Find("good", o)
			if err != nil {
				b.Fatal(err)
			}
			c, err := Launch(b.Context(), loc, o)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			if _, err := c.Configure(b.Context(), []byte(`{}`)); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				pour(b, c, in)
			}
			b.ReportMetric(float64(b.N*len(in))/b.Elapsed().Seconds(), "users/s")
			b.ReportMetric(float64(resident(b, c.Info().PID))/(1<<20), "plugin-MB")
		})
	}
}

package supertokens

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// flaky loses the connection once in every table, half-way.
type flaky struct {
	store
	mu   sync.Mutex
	lost map[string]bool
}

func (f *flaky) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	f.mu.Lock()
	lose := !f.lost[r.name]
	f.lost[r.name] = true
	f.mu.Unlock()
	rows := 0
	return f.store.scan(ctx, r, app, columns, func(v [][]byte) error {
		if rows++; lose && rows == 3 {
			return fmt.Errorf("reset by peer: %w", errConnectionLost)
		}
		return row(v)
	})
}

func TestLostConnectionLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	dump := fixture.Dump(t, "core-10.1.4")
	want, _, _, _ := export(t, Options{Dump: dump})
	s, err := Open(t.Context(), Options{Dump: dump, RangeSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	lossy := &flaky{store: s.store, lost: map[string]bool{}}
	if err := s.partitioner.close(); err != nil {
		t.Fatal(err)
	}
	err = s.retry(func() error {
		s.partitioner, err = newPartitioner(t.Context(), lossy, s.layout, s.app, 10, s.parallel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := readAll(t, s)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-undisturbed +disturbed):\n%s", diff)
	}
}

// A reading that was interrupted is no list of all accounts.
func TestInterruptedReadingIsAnError(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{Dump: fixture.Dump(t, "core-10.1.4"), RangeSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx, stop := context.WithCancelCause(t.Context())
	enough, emitted, total := errors.New("enough"), 0, 0
	err = s.Read(ctx, func(b Batch) error {
		emitted, total = b.Done, b.Total
		stop(enough)
		return nil
	})
	if !errors.Is(err, enough) || emitted == total {
		t.Errorf("%v after %d of %d ranges", err, emitted, total)
	}
	err = s.Read(ctx, func(Batch) error {
		t.Error("a range is emitted after the end")
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("a reading that ends before it begins: %v", err)
	}
}

// TestBackendsKilled ends the reading backends of a live database: the snapshot
// is still held, so reading goes on.
func TestBackendsKilled(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	s, err := Open(t.Context(), Options{URL: canonical.NewSecret(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	l := liveStore(t, s)
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context()))
	kill := func(pids ...uint32) {
		for _, pid := range pids {
			if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend($1, 5000)", pid); err != nil {
				t.Fatal(err)
			}
		}
	}
	var readers []uint32
	for range cap(l.idle) {
		conn := <-l.idle
		readers = append(readers, conn.PgConn().PID())
		l.idle <- conn
	}
	kill(readers...)
	got, _, _ := readAll(t, s)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-undisturbed +disturbed):\n%s", diff)
	}

	// With the snapshot gone as well, reading stops: never a mixture of states.
	gone, err := Open(t.Context(), Options{URL: canonical.NewSecret(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gone.Close() })
	l = liveStore(t, gone)
	pids := []uint32{l.control.PgConn().PID()}
	for range cap(l.idle) {
		conn := <-l.idle
		pids = append(pids, conn.PgConn().PID())
		l.idle <- conn
	}
	kill(pids...)
	if err := gone.Read(t.Context(), func(Batch) error { return nil }); err == nil || !strings.Contains(err.Error(), "would mix two states; start again") {
		t.Errorf("reading went on without its snapshot: %v", err)
	}
}

func liveStore(t *testing.T, s *Source) *live {
	t.Helper()
	c, ok := s.store.(*counted)
	if !ok {
		t.Fatal("rows are not counted")
	}
	l, ok := c.store.(*live)
	if !ok {
		t.Fatal("not a live source")
	}
	return l
}

// TestManyRoutes joins linked users and external ids hash by hash, as happens
// when they are too many for memory.
func TestManyRoutes(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		o := Options{Dump: fixture.Dump(t, name), RangeSize: 10, Audit: true}
		want, _, _, wantOrphans := export(t, o)
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		repartition(t, s, limits{redirects: 3, parts: 2}, s.partitioner.ranges.bounds)
		got, _, orphans := readAll(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-in memory +by hash):\n%s", name, diff)
		}
		byText := func(a, b Orphan) int { return strings.Compare(a.Table+a.ID, b.Table+b.ID) }
		slices.SortFunc(wantOrphans, byText)
		slices.SortFunc(orphans, byText)
		if diff := gocmp.Diff(wantOrphans, orphans); diff != "" {
			t.Errorf("%s orphans (-in memory +by hash):\n%s", name, diff)
		}
	}
}

// repartition has the rows of a source partitioned anew, within other limits or to other
// ranges.
func repartition(t *testing.T, s *Source, most limits, bounds []string) {
	t.Helper()
	if err := s.partitioner.close(); err != nil {
		t.Fatal(err)
	}
	s.partitioner = &partitioner{store: s.partitioner.store, layout: s.layout, app: s.app, parallel: s.parallel}
	if err := s.partitioner.begin(t.Context(), most, func(*idSample) []string { return bounds }); err != nil {
		t.Fatal(err)
	}
}

// TestRangesAreAlike: what the largest range takes of memory is what all take. A sample of
// ids alone makes some ranges half again as large as others.
func TestRangesAreAlike(t *testing.T) {
	t.Parallel()
	const ids, size = 400_000, 100 // far fewer are sampled than there are
	random := rand.New(rand.NewPCG(3, 4))
	for name, tt := range map[string]struct {
		id     func(i int) string
		atMost int
	}{
		"as cores make them": {func(int) string {
			return fmt.Sprintf("%08x-%04x-4000-8000-%012x", random.Uint32(), random.Uint32()&0xffff, random.Uint64()&0xffffffffffff)
		}, size * 5 / 4},
		"half of them alike": {func(i int) string {
			if i%2 == 0 {
				return fmt.Sprintf("%08x", random.Uint32())
			}
			return fmt.Sprintf("user-%09d", i)
		}, size * 5 / 2},
		"all alike": {func(i int) string { return fmt.Sprintf("user-%09d", i) }, size * 5 / 2},
	} {
		sample, all := newIDSample(), make([]string, ids)
		for i := range all {
			all[i] = tt.id(i)
			sample.add([]byte(all[i]))
		}
		bounds := sample.bounds(ids / size)
		if !slices.IsSorted(bounds) || len(bounds) < ids/size*9/10 {
			t.Errorf("%s: %d bounds", name, len(bounds))
		}
		split, counts := newRanges(bounds), make([]int, len(bounds)+1)
		for _, id := range all {
			counts[split.find([]byte(id))]++
		}
		if largest := slices.Max(counts); largest > tt.atMost {
			t.Errorf("%s: the largest range has %d accounts, wanted about %d", name, largest, size)
		}
	}
}

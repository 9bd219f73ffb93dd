package supertokensgen_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/internal/supertokensgen"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestMain makes property checks few: each is a whole reading. The flag on the
// command line still decides.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "4"); err != nil {
		panic(err)
	}
	m.Run()
}

func write(t *testing.T, o supertokensgen.Options) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "generated.sql")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := supertokensgen.Write(f, o); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// fataler is what a test and a rapid check have in common.
type fataler interface {
	Helper()
	Fatal(...any)
}

// read gives every account as JSON with secrets and warnings, and every orphan
// row, in order; and what an inventory makes of them.
func read(t *testing.T, f fataler, o supertokens.Options) (lines []string, counts supertokensgen.Counts, g supertokens.Generation) {
	t.Helper()
	s, err := supertokens.Open(t.Context(), o)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	inv, review := supertokens.NewInventory(s.Roles()), supertokens.NewReview(s)
	defer func() { _ = review.Close() }()
	orphans := map[string]int{}
	var orphanLines []string
	err = s.Read(t.Context(), func(b supertokens.Batch) error {
		inv.Add(b)
		for _, o := range b.Orphans {
			orphans[o.Table]++
			orphanLines = append(orphanLines, o.Table+" "+o.ID)
		}
		for i := range b.Users {
			line, err := b.Users[i].RevealJSON()
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%s %v", line, b.Users[i].Warnings))
		}
		return review.Add(b)
	})
	if err != nil {
		f.Fatal(err)
	}
	slices.Sort(orphanLines)
	findings := map[string]int{}
	all, err := review.Findings()
	if err != nil {
		f.Fatal(err)
	}
	for _, found := range all {
		findings[found.Code] = found.Count
	}
	byRecipe := map[string]int{}
	for r, n := range inv.ByRecipe {
		byRecipe[string(r)] = n
	}
	return append(lines, orphanLines...), supertokensgen.Counts{
		Accounts: inv.Accounts, LoginMethods: inv.LoginMethods, ByRecipe: byRecipe, ByProvider: inv.ByProvider,
		ByTenant: inv.ByTenant, ByHash: inv.ByHash, Verified: inv.Verified, Mapped: inv.Mapped, Primaries: inv.Primaries,
		WithMetadata: inv.WithMetadata, WithRoles: inv.WithRoles, WithTOTP: inv.WithTOTP, MetadataKeys: inv.MetadataKeys, Findings: findings, OrphanRows: orphans,
	}, s.Layout().Generation
}

var ignoreZeros = cmpopts.IgnoreMapEntries(func(_ string, n int) bool { return n == 0 })

// TestDumpHasWhatIsExpected compares two opinions: that of the generator, and
// that of the reader of the file.
func TestDumpHasWhatIsExpected(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "reads large sources")
	for _, g := range supertokensgen.Generations() {
		for _, accounts := range []int{0, 1, 12_000} {
			t.Run(fmt.Sprintf("%s, %d accounts", g, accounts), func(t *testing.T) {
				t.Parallel()
				o := supertokensgen.Options{Generation: g, Accounts: accounts, Seed: 1}
				want, err := supertokensgen.Expect(o)
				if err != nil {
					t.Fatal(err)
				}
				_, got, generation := read(t, t, supertokens.Options{Dump: write(t, o)})
				if generation.String() != string(g) {
					t.Errorf("generation %s, want %s", generation, g)
				}
				if diff := cmp.Diff(want, got, ignoreZeros); diff != "" {
					t.Errorf("counts (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestEverythingHappens guards the test above: a finding that never occurs
// would be compared with nothing.
func TestEverythingHappens(t *testing.T) {
	t.Parallel()
	want := []string{
		supertokens.WarnBulkImportPending, supertokens.WarnDanglingRole, supertokens.WarnDashboardUsers, supertokens.WarnDoubleEncoded,
		supertokens.WarnDuplicateEmail, supertokens.WarnFakeEmail, supertokens.WarnFirebaseHash, supertokens.WarnForcedMapping,
		supertokens.WarnGhostPrimary, supertokens.WarnMixedCaseEmail, supertokens.WarnNoTenant, supertokens.WarnOldTableStale,
		supertokens.WarnOrphanRow, supertokens.WarnPasswordlessUnverified, supertokens.WarnRowsUnderLinkedMethod,
		supertokens.WarnSeveralPasswords, supertokens.WarnStaleVerified, supertokens.WarnTOTPUnderInternalID,
		supertokens.WarnTOTPUnverified, supertokens.WarnTemporaryPassword, supertokens.WarnTenantsDiffer, supertokens.WarnTimeUnknown,
		supertokens.WarnUnknownHash, supertokens.WarnVerifiedCaseMismatch,
	}
	var got []string
	for _, g := range []supertokensgen.Generation{supertokensgen.G4, supertokensgen.G5} {
		c, err := supertokensgen.Expect(supertokensgen.Options{Generation: g, Accounts: 12_000, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for code, n := range c.Findings {
			if n > 0 && !slices.Contains(got, code) {
				got = append(got, code)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings that occur (-want +got):\n%s", diff)
	}
}

// TestLiveEqualsDump restores a generated file into a real server: any way to
// split the ids into ranges gives the same accounts, byte for byte.
func TestLiveEqualsDump(t *testing.T) {
	t.Parallel()
	for _, g := range supertokensgen.Generations() {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			const accounts = 3000
			path := write(t, supertokensgen.Options{Generation: g, Accounts: accounts, Seed: 2})
			dsn := postgres.Start(t).RestorePlain(t, path, postgres.Database{})
			want, wantCounts, _ := read(t, t, supertokens.Options{Dump: path})
			same := func(f interface {
				fataler
				Errorf(string, ...any)
			}, name string, o supertokens.Options,
			) {
				f.Helper()
				got, counts, _ := read(t, f, o)
				if diff := cmp.Diff(want, got); diff != "" {
					f.Errorf("%s (-dump in one range +this):\n%s", name, diff)
				}
				if diff := cmp.Diff(wantCounts, counts); diff != "" {
					f.Errorf("%s: counts (-dump in one range +this):\n%s", name, diff)
				}
			}
			same(t, "live, one range", supertokens.Options{URL: canonical.NewSecret(dsn)})
			rapid.Check(t, func(rt *rapid.T) {
				size := rapid.IntRange(accounts/50, accounts+500).Draw(rt, "range size")
				connections := rapid.IntRange(1, 3).Draw(rt, "connections")
				same(rt, fmt.Sprintf("live, %d a range", size), supertokens.Options{URL: canonical.NewSecret(dsn), RangeSize: size, Connections: connections})
				same(rt, fmt.Sprintf("dump, %d a range", size), supertokens.Options{Dump: path, RangeSize: size})
			})
		})
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	t.Parallel()
	o := supertokensgen.Options{Generation: supertokensgen.G4, Accounts: 500, Seed: 7}
	var first, second, other bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := supertokensgen.Write(w, o); err != nil {
			t.Fatal(err)
		}
	}
	o.Seed++
	if err := supertokensgen.Write(&other, o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("equal options gave different files")
	}
	if bytes.Equal(first.Bytes(), other.Bytes()) {
		t.Error("another seed gave the same file")
	}
}

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	err := supertokensgen.Write(&bytes.Buffer{}, supertokensgen.Options{Generation: "G9"})
	if err == nil || !strings.Contains(err.Error(), "G9") {
		t.Errorf("error of an unknown generation: %v", err)
	}
	err = supertokensgen.Write(fullDisk{}, supertokensgen.Options{Generation: supertokensgen.G4, Accounts: 10})
	if !errors.Is(err, errFull) {
		t.Errorf("error of a full disk: %v", err)
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func BenchmarkWrite(b *testing.B) {
	const accounts = 100_000
	for b.Loop() {
		if err := supertokensgen.Write(io.Discard, supertokensgen.Options{Generation: supertokensgen.G4, Accounts: accounts, Seed: 1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*accounts/b.Elapsed().Seconds(), "accounts/s")
}

func TestLinkedIsOneAccountOfAllLogins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "linked.sql")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(supertokensgen.WriteLinked(f, 40), f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := supertokens.Open(t.Context(), supertokens.Options{Dump: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var users []canonical.User
	err = s.Read(t.Context(), func(b supertokens.Batch) error {
		users = append(users, b.Users...)
		for _, o := range b.Orphans {
			t.Errorf("a row of %s belongs to nobody: %s", o.Table, o.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(users) != 1 || len(users[0].Logins) != 40 || users[0].InternalID != supertokensgen.LinkedAccount || len(users[0].Tenants()) != 41 {
		t.Errorf("%d accounts, the first of them %v", len(users), users)
	}
}

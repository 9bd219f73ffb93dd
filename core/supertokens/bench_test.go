//go:build linux

package supertokens

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/supertokensgen"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// The settings of [BenchmarkExtract], all from the environment.
const (
	// benchOn makes it run at all: it takes minutes and gigabytes of disk.
	benchOn = "STETL_BENCH"
	// benchSizes are the numbers of accounts, "10000,100000,1000000".
	benchSizes = "STETL_BENCH_SIZES"
	// benchKinds are what is read, "live,plain,custom,mysql,mysqldump". For plain and
	// mysqldump alone no server is filled, which takes longer than all else.
	benchKinds = "STETL_BENCH_KINDS"
	// benchProfiles is a folder for a CPU profile of each reading.
	benchProfiles = "STETL_BENCH_PROFILES"
	// benchJob is for the benchmark's own child processes.
	benchJob = "STETL_BENCH_JOB"
)

// benchRounds is how often everything is measured; the best time counts, and the
// highest peak, so that what else the machine does weighs less.
const benchRounds = 3

// BenchmarkExtract reads whole installations of core 7 to 11, as fast as it
// can and with nobody behind: the live database, and plain and custom dumps of
// it, and the same in MySQL. What PostgreSQL needs to hand out the same tables with
// COPY, one after another, is the yardstick, and SELECT by MariaDB's client. Each reading is a process of its own, so that its
// peak memory is its own. Run it with -benchtime 1x.
func BenchmarkExtract(b *testing.B) {
	if job := os.Getenv(benchJob); job != "" {
		runBenchJob(b, job)
		return
	}
	if os.Getenv(benchOn) != "1" {
		b.Skip("takes minutes and gigabytes of disk; set " + benchOn + "=1")
	}
	sizes := cmp.Or(os.Getenv(benchSizes), "10000,100000,1000000")
	kinds := strings.Split(cmp.Or(os.Getenv(benchKinds), "live,plain,custom,mysql,mysqldump"), ",")
	for text := range strings.SplitSeq(sizes, ",") {
		accounts, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			b.Fatalf("%s: %v", benchSizes, err)
		}
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) { benchExtract(b, accounts, kinds) })
	}
}

func benchExtract(b *testing.B, accounts int, kinds []string) {
	plain := filepath.Join(b.TempDir(), "generated.sql")
	f, err := os.Create(plain)
	if err != nil {
		b.Fatal(err)
	}
	err = supertokensgen.Write(f, supertokensgen.Options{Generation: supertokensgen.G4, Accounts: accounts, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	live, custom := slices.Contains(kinds, "live"), slices.Contains(kinds, "custom")
	var server *postgres.Server
	var dsn string
	var copied time.Duration
	if live || custom {
		server = postgres.Start(b)
		dsn, copied = fillServer(b, server, plain, accounts)
	}
	read := func(name string, job readJob, yardstick string, took time.Duration) {
		b.Run(name, func(b *testing.B) {
			var r readResult
			for round := range benchRounds {
				got := startBenchJob(b, fmt.Sprintf("%s-%d-%d", name, accounts, round), job)
				got.PeakKiB = max(got.PeakKiB, r.PeakKiB)
				if round == 0 || got.Open+got.Read < r.Open+r.Read {
					r = got
				} else {
					r.PeakKiB = got.PeakKiB
				}
			}
			if r.Accounts != accounts {
				b.Fatalf("read %d accounts, want %d", r.Accounts, accounts)
			}
			report(b, accounts, r.Open+r.Read)
			b.ReportMetric(r.Open.Seconds(), "open-s")
			b.ReportMetric(r.First.Seconds(), "first-s")
			b.ReportMetric(r.CPU.Seconds(), "client-cpu-s")
			b.ReportMetric(float64(r.PeakKiB)/1024, "peak-MiB")
			if took > 0 {
				b.ReportMetric((r.Open+r.Read).Seconds()/took.Seconds(), "x-"+yardstick)
			}
		})
	}
	if live {
		read("live", readJob{URL: dsn}, "copy", copied)
	}
	if slices.Contains(kinds, "plain") {
		read("plain", readJob{Dump: plain}, "copy", copied)
	}
	if packed := filepath.Join(b.TempDir(), "generated.dump"); custom && dumpCustom(b, server, dsn, packed) {
		read("custom", readJob{Dump: packed}, "copy", copied)
	}
	mysql, mysqldump := slices.Contains(kinds, "mysql"), slices.Contains(kinds, "mysqldump")
	if !mysql && !mysqldump {
		return
	}
	ofMySQL := filepath.Join(b.TempDir(), "generated.mysql.sql")
	writeMySQL(b, plain, ofMySQL)
	var selected time.Duration
	if mysql {
		var address string
		address, selected = fillMariaDB(b, ofMySQL, accounts)
		read("mysql", readJob{URL: address}, "select", selected)
	}
	if mysqldump {
		read("mysqldump", readJob{Dump: ofMySQL}, "select", selected)
	}
}

// fillServer restores a plain dump, and measures how long PostgreSQL takes to hand its
// tables out.
func fillServer(b *testing.B, server *postgres.Server, plain string, accounts int) (dsn string, copied time.Duration) {
	b.Helper()
	dsn = server.RestorePlain(b, plain, postgres.Database{})
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
	// A database in use has been vacuumed and is in the cache.
	if _, err := conn.Exec(b.Context(), "VACUUM (ANALYZE)"); err != nil {
		b.Fatal(err)
	}
	copyTables(b, conn, dsn)

	b.Run("copy", func(b *testing.B) {
		var size int64
		for range benchRounds {
			took, n := copyTables(b, conn, dsn)
			size = n
			if copied == 0 || took < copied {
				copied = took
			}
		}
		report(b, accounts, copied)
		b.ReportMetric(float64(size)/(1<<20), "MiB")
	})
	return dsn, copied
}

// BenchmarkExtractLinked reads one account of many logins. What a login costs
// should not depend on how many others there are.
func BenchmarkExtractLinked(b *testing.B) {
	if os.Getenv(benchOn) != "1" {
		b.Skip("goes with the other readings; set " + benchOn + "=1")
	}
	for _, logins := range []int{5_000, 10_000, 20_000} {
		path := filepath.Join(b.TempDir(), "linked.sql")
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(supertokensgen.WriteLinked(f, logins), f.Close()); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("logins=%d", logins), func(b *testing.B) {
			for b.Loop() {
				if n := readLinked(b, path); n != logins {
					b.Fatalf("read %d logins, want %d", n, logins)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*logins), "µs/login")
		})
	}
}

// readLinked reads and reviews the only account and counts its logins.
func readLinked(b *testing.B, path string) (logins int) {
	s, err := Open(b.Context(), Options{Dump: path})
	if err != nil {
		b.Fatal(err)
	}
	review := NewReview(s)
	err = s.Read(b.Context(), func(batch Batch) error {
		for i := range batch.Users {
			logins += len(batch.Users[i].Logins)
		}
		return review.Add(batch)
	})
	if err := errors.Join(err, review.Close(), s.Close()); err != nil {
		b.Fatal(err)
	}
	return logins
}

func report(b *testing.B, accounts int, took time.Duration) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took.Seconds(), "s")
	b.ReportMetric(float64(accounts)/took.Seconds(), "accounts/s")
}

// copyTables has PostgreSQL send every table that a reading reads.
func copyTables(b *testing.B, conn *pgx.Conn, dsn string) (took time.Duration, size int64) {
	b.Helper()
	s, err := Open(b.Context(), Options{URL: canonical.NewSecret(dsn)})
	if err != nil {
		b.Fatal(err)
	}
	specs, layout := s.readers, s.layout
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	var sent counter
	start := time.Now()
	for _, spec := range specs {
		rel := layout.tables[spec.name]
		sql := "COPY " + quoteIdent(rel.schema) + "." + quoteIdent(rel.name) + " TO STDOUT (FORMAT binary)"
		if _, err := conn.PgConn().CopyTo(b.Context(), &sent, sql); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start), int64(sent)
}

// counter counts the bytes it is given.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func dumpCustom(b *testing.B, server *postgres.Server, dsn, path string) bool {
	b.Helper()
	program, ok := server.Bin("pg_dump")
	if !ok {
		b.Run("custom", func(b *testing.B) {
			testenv.Skip(b, "pg_dump", "the server that was fetched comes without it")
		})
		return false
	}
	cmd := exec.CommandContext(b.Context(), program, "--format=custom", "--file", path, "--dbname", dsn)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("run pg_dump: %v\n%s", err, out)
	}
	return true
}

// readJob is what a child process is to read, and readResult what it says.
type readJob struct {
	URL, Dump string
	Result    string // path of a file
}

type readResult struct {
	Accounts int
	// First is when the first account came, counted from the start.
	Open, First, Read, CPU time.Duration
	PeakKiB                int64
}

func startBenchJob(b *testing.B, name string, job readJob) readResult {
	b.Helper()
	job.Result = filepath.Join(b.TempDir(), "result.json")
	described, err := json.Marshal(job)
	if err != nil {
		b.Fatal(err)
	}
	args := []string{"-test.run=^$", "-test.bench=^BenchmarkExtract$", "-test.benchtime=1x"}
	if dir := os.Getenv(benchProfiles); dir != "" {
		args = append(args, "-test.cpuprofile="+filepath.Join(dir, name+".cpu.pprof"))
	}
	cmd := exec.CommandContext(b.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), benchJob+"="+string(described))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		b.Fatalf("read in a child process: %v\n%s", err, out.Bytes())
	}
	raw, err := os.ReadFile(job.Result)
	if err != nil {
		b.Fatalf("%v\n%s", err, out.Bytes())
	}
	var r readResult
	if err := json.Unmarshal(raw, &r); err != nil {
		b.Fatal(err)
	}
	return r
}

// runBenchJob is the child process.
func runBenchJob(b *testing.B, described string) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // as the program does
	}
	var job readJob
	if err := json.Unmarshal([]byte(described), &job); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	s, err := Open(b.Context(), Options{URL: canonical.NewSecret(job.URL), Dump: job.Dump})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var r readResult
	r.Open = time.Since(start)
	err = s.Read(b.Context(), func(batch Batch) error {
		if r.First == 0 {
			r.First = time.Since(start)
		}
		r.Accounts += len(batch.Users)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	r.Read = time.Since(start) - r.Open
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	r.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	if r.PeakKiB, err = peakKiB(); err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(job.Result, raw, 0o600); err != nil {
		b.Fatal(err)
	}
}

// peakKiB is the most memory that this process ever had resident. The kernel's
// getrusage would count what the parent had when it forked.
func peakKiB() (int64, error) {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer func() { _ = status.Close() }()
	text, err := io.ReadAll(status)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}

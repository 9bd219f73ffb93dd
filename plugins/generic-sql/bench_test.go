//go:build unix

package sqltarget

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// counting is an [sdk.Outcomes] that keeps nothing.
type counting struct{ created atomic.Int64 }

// Report implements [sdk.Outcomes].
func (c *counting) Report(o sdk.Outcome) {
	if o.Action == sdk.Created {
		c.created.Add(1)
	}
}

// BenchmarkSQL loads people with a password into the tables of Better Auth: through the
// plugin, with COPY of the same rows prepared beforehand, and with one INSERT for each row.
func BenchmarkSQL(b *testing.B) {
	people, err := strconv.Atoi(os.Getenv("STETL_BENCH_ACCOUNTS"))
	if err != nil {
		b.Skip("set STETL_BENCH_ACCOUNTS to a number")
	}
	config := Config{Preset: "better-auth", Hashes: []string{"bcrypt"}, IDLength: 255, Schema: "public", Name: "default"}
	server := postgres.StartDurable(b) // as a server that people have: each commit waits for the disk
	measure := func(n int, load func(dsn string) error) float64 {
		dsn := server.CreateDatabase(b, postgres.Database{})
		postgres.Exec(b, dsn, tables(b, "better-auth"))
		start := time.Now()
		if err := load(dsn); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		if got := postgres.Value[int](b, dsn, `SELECT count(*) FROM "user" JOIN account ON "userId" = "user".id`); got != n {
			b.Fatalf("%d people are there, want %d", got, n)
		}
		return float64(n) / took.Seconds()
	}
	var copied string
	var peak uint64
	for range b.N {
		stetl := measure(people, func(dsn string) error {
			c := config
			c.URL = sdk.NewSecret(dsn)
			copied = dsn
			stop := watchHeap(&peak)
			defer stop()
			return throughPlugin(b, open(b, c, nil), people)
		})
		rows := prepared(b, copied)
		bare := measure(people, func(dsn string) error { return copyPrepared(b.Context(), dsn, rows) })
		few := min(people, 20_000)
		single := measure(few, func(dsn string) error { return oneByOne(b.Context(), dsn, copied, few) })
		b.ReportMetric(float64(peak)/1e6, "MB-heap")
		b.ReportMetric(stetl, "users/s")
		b.ReportMetric(bare, "COPY/s")
		b.ReportMetric(single, "INSERT/s")
		b.ReportMetric(stetl/bare, "xCOPY")
		b.ReportMetric(stetl/single, "xINSERT")
	}
}

// watchHeap notes the most that the heap has held.
func watchHeap(peak *uint64) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			*peak = max(*peak, m.HeapAlloc)
			select {
			case <-ended:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() { close(ended); <-done }
}

func throughPlugin(b *testing.B, target *live, people int) error {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(batch.InFlight)
	var c counting
	for from := 1; from <= people; from += batch.Users {
		g.Go(func() error {
			return target.Load(b.Context(), targettest.People(from, min(from+batch.Users-1, people), named("Ada", "Example")), &c)
		})
	}
	err := g.Wait()
	if n := int(c.created.Load()); err == nil && n != people {
		err = fmt.Errorf("%d were created", n)
	}
	return err
}

var benchTables = []string{`"user"`, "account"}

// prepared are the rows of a database, as COPY takes them.
func prepared(b *testing.B, dsn string) (out []*bytes.Buffer) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	for _, table := range benchTables {
		var rows bytes.Buffer
		if _, err := conn.PgConn().CopyTo(b.Context(), &rows, "COPY "+table+" TO STDOUT"); err != nil {
			b.Fatal(err)
		}
		out = append(out, &rows)
	}
	if err := conn.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	return out
}

func copyPrepared(ctx context.Context, dsn string, rows []*bytes.Buffer) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for i, table := range benchTables {
		_, failed := conn.PgConn().CopyFrom(ctx, rows[i], "COPY "+table+" FROM STDIN")
		err = errors.Join(err, failed)
	}
	return errors.Join(err, conn.Close(ctx))
}

// oneByOne is what scripts do: two statements for each person, each a transaction.
func oneByOne(ctx context.Context, dsn, from string, people int) error {
	source, err := pgx.Connect(ctx, from)
	if err != nil {
		return err
	}
	rows, err := source.Query(ctx, `SELECT u.id, u.name, email, "emailVerified", u."createdAt", a.id, password FROM "user" u JOIN account a ON "userId" = u.id LIMIT $1`, people)
	if err != nil {
		return err
	}
	type person struct {
		id, name, email, account, password string
		verified                           bool
		created                            time.Time
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (p person, err error) {
		return p, r.Scan(&p.id, &p.name, &p.email, &p.verified, &p.created, &p.account, &p.password)
	})
	conn, failed := pgx.Connect(ctx, dsn)
	if err = errors.Join(err, failed, source.Close(ctx)); err != nil {
		return err
	}
	for i := range all {
		p := &all[i]
		_, err := conn.Exec(ctx, `INSERT INTO "user" (id, name, email, "emailVerified", "createdAt") VALUES ($1, $2, $3, $4, $5)`, p.id, p.name, p.email, p.verified, p.created)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `INSERT INTO account (id, "accountId", "providerId", "userId", password, "updatedAt") VALUES ($1, $2, 'credential', $2, $3, now())`, p.account, p.id, p.password)
		if err != nil {
			return err
		}
	}
	return conn.Close(ctx)
}

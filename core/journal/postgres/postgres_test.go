//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/journaltest"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

var testKey = canonical.NewSecret("c3RldGwgam91cm5hbCB0ZXN0cyBvbmx5LCBub3QgYSBzZWNyZXQ=")

// somewhere is a database of its own, and how a journal in it is opened.
func somewhere(t testing.TB) (dsn string, o Options) {
	t.Helper()
	dsn = postgres.Start(t).CreateDatabase(t, postgres.Database{Collation: "icu:de"})
	return dsn, Options{URL: canonical.NewSecret(dsn), Secret: testKey}
}

// abandon leaves a journal as the death of its process would.
func abandon(j *Journal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.closed = true
	for _, s := range j.scopes {
		s.writer.end()
		s.writer.jobs.Close()
	}
	j.db.pool.Close()
}

// BenchmarkRecord prints outcomes per second, each durable when it is confirmed.
func BenchmarkRecord(b *testing.B) { journaltest.BenchmarkRecord(b, durable(b)) }

// BenchmarkKnown prints what reading an account costs a second run.
func BenchmarkKnown(b *testing.B) { journaltest.BenchmarkKnown(b, durable(b)) }

// durable is a scope of a server whose commits wait for the disk.
func durable(b *testing.B) *journal.Scope {
	b.Helper()
	dsn := postgres.StartDurable(b).CreateDatabase(b, postgres.Database{})
	_, s := start(b, Options{URL: canonical.NewSecret(dsn), Secret: testKey})
	return s
}

// expire ends every lease, as time does.
func expire(t testing.TB, dsn string) {
	t.Helper()
	postgres.Exec(t, dsn, `UPDATE stetl.lease SET until = clock_timestamp() - interval '1 second'`)
}

func start(t testing.TB, o Options) (*Journal, *journal.Scope) {
	t.Helper()
	j, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s, err := j.Scope(t.Context(), "public", "here")
	if err != nil {
		t.Fatal(err)
	}
	return j, s
}

// nameOf is the name of a database.
func nameOf(t testing.TB, dsn string) string {
	t.Helper()
	return postgres.Value[string](t, dsn, `SELECT current_database()`)
}

// as is an address with another role.
func as(t testing.TB, dsn, role string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "x")
	return u.String()
}

func code(err error) diag.Code {
	if e, ok := errors.AsType[*journal.Error](err); ok {
		return e.Code
	}
	return ""
}

// A journal in PostgreSQL is what a journal has to be.
func TestJournal(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journaltest.Place {
		t.Helper()
		dsn, o := somewhere(t)
		o.Lease = 3 * time.Second
		return journaltest.Place{
			Open: func(ctx context.Context, key []byte) (journal.Journal, error) {
				keyed := o
				keyed.Key = key
				j, err := Open(ctx, keyed)
				if err != nil {
					return nil, err
				}
				return j, nil
			},
			Read: func(ctx context.Context) (journal.Journal, error) {
				j, err := Read(ctx, o)
				if err != nil {
					return nil, err
				}
				return j, nil
			},
			Crash: func(j journal.Journal) error {
				mine, ok := j.(*Journal)
				if !ok {
					return errors.New("another journal")
				}
				abandon(mine)
				expire(t, dsn)
				return nil
			},
			Recorded: func() ([]byte, error) {
				var all []byte
				u, err := url.Parse(dsn)
				if err != nil {
					return nil, err
				}
				q := u.Query()
				q.Set("bytea_output", "escape") // else nobody could read what is not encrypted
				u.RawQuery = q.Encode()
				for _, table := range []string{"meta", "scope", "lease", "run", "sent", "account", "preimage", "saved", "payload", "reason"} {
					rows := postgres.Value[string](t, u.String(), `SELECT coalesce(string_agg(x::text, ''), '') FROM stetl.`+table+` AS x`)
					all = append(all, rows...)
				}
				return all, nil
			},
			Fail: func(journal.Journal) (func() error, error) {
				postgres.Exec(t, dsn, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$`)
				postgres.Exec(t, dsn, `CREATE TRIGGER full_disk BEFORE INSERT ON stetl.account FOR EACH STATEMENT EXECUTE FUNCTION full_disk()`)
				return func() error {
					postgres.Exec(t, dsn, `DROP TRIGGER full_disk ON stetl.account`)
					return nil
				}, nil
			},
		}
	})
}

// A run that was held up for longer than its lease writes nothing more once another has begun,
// and what it had sent is in doubt.
func TestPausedRunStops(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	paused, s := start(t, o)
	batch, err := s.Mark(1, []journal.Entry{{SourceID: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	held, cancel := paused.Hold(t.Context())
	defer cancel()
	expire(t, dsn)
	_, next := start(t, o)
	if e, ok, err := next.Get(t.Context(), "a"); err != nil || !ok || !e.InDoubt {
		t.Errorf("what the first had sent: %+v, %v, %v", e, ok, err)
	}
	if err := s.Record(batch, []journal.Entry{{SourceID: "a", Action: pluginapi.Created}}); code(err) != diag.JournalLease {
		t.Errorf("the first records: %v", err)
	}
	<-held.Done()
	if cause := context.Cause(held); code(cause) != diag.JournalLease || !strings.Contains(cause.Error(), "another run") {
		t.Errorf("the first is told: %v", cause)
	}
	if _, err := s.Mark(1, []journal.Entry{{SourceID: "b"}}); code(err) != diag.JournalLease {
		t.Errorf("the first goes on: %v", err)
	}
	if e, _, err := next.Get(t.Context(), "a"); err != nil || !e.InDoubt {
		t.Errorf("in the end: %+v, %v", e, err)
	}
	if err := next.Record(0, []journal.Entry{{SourceID: "a", Action: pluginapi.Created}}); err != nil {
		t.Errorf("the second: %v", err)
	}
}

// Nobody is passed over, or comes twice, where one page ends and the next begins.
func TestPages(t *testing.T) {
	t.Parallel()
	_, o := somewhere(t)
	_, s := start(t, o)
	const accounts = 2*page + 1
	all := make([]journal.Entry, accounts)
	for n := range all {
		all[n].SourceID = fmt.Sprintf("%05d", n)
	}
	all[0].SourceID, all[page-1].SourceID, all[page].SourceID = "", "04998\x00", "04998\x01"
	if err := s.Record(0, all); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mark(1, []journal.Entry{{SourceID: "99999"}}); err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	looked, err := r.Scope(t.Context(), "public", "here")
	if err != nil {
		t.Fatal(err)
	}
	for want, s := range map[int]*journal.Scope{accounts: s, accounts + 1: looked} {
		var got []string
		for k, err := range s.Known(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, k.SourceID)
		}
		if !slices.IsSorted(got) || len(slices.Compact(got)) != want {
			t.Errorf("%d accounts, want %d; sorted: %v", len(got), want, slices.IsSorted(got))
		}
	}
}

// A value that cannot be sent fails its own job, and no other one. It is in no error.
func TestFailureIsNotShared(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	j, s := start(t, o)
	w := j.scopes["public\nhere"].writer
	var work sync.WaitGroup
	for n := range 40 {
		work.Go(func() {
			if n%10 == 0 {
				err := w.write(marks{}, func(b *batch) { b.Queue(`SELECT $1`, []any{"ada@example.org"}) })
				if !errors.Is(err, errArgument) || strings.Contains(err.Error(), "ada") {
					t.Errorf("a bad value: %v", err)
				}
				err = w.write(marks{}, func(b *batch) { b.Queue(`SELECT 1 / $1::bigint`, int64(0)) })
				if code(err) != diag.JournalUnwritable {
					t.Errorf("a bad statement: %v", err)
				}
				return
			}
			if err := s.Record(0, []journal.Entry{{SourceID: fmt.Sprint(n)}}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if n := postgres.Value[int](t, dsn, `SELECT count(*) FROM stetl.account`); n != 36 {
		t.Errorf("%d accounts", n)
	}
}

// What is confirmed is on the disk, also where a role or a database has it otherwise; what waits
// for more than that stays so.
func TestCommitsWaitForTheDisk(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	for setting, want := range map[string]string{"off": "on", "remote_write": "remote_write"} {
		postgres.Exec(t, dsn, `ALTER DATABASE `+nameOf(t, dsn)+` SET synchronous_commit = `+setting)
		j, _ := start(t, o)
		w := j.scopes["public\nhere"].writer
		var b pgx.Batch
		b.Queue(`SELECT stetl.hold($1, $2, $3, $4)`, w.scope, w.token, w.confirmed, w.term)
		got := ""
		b.Queue(`SELECT current_setting('synchronous_commit')`).QueryRow(func(row pgx.Row) error { return row.Scan(&got) })
		if err := j.db.pool.SendBatch(t.Context(), &b).Close(); err != nil || got != want {
			t.Errorf("%s becomes %q, %v; want %q", setting, got, err, want)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A run that was killed keeps the next one waiting until its lease ends, which is told why.
func TestKilledRunIsTakenOver(t *testing.T) {
	t.Parallel()
	_, o := somewhere(t)
	o.Lease = time.Second
	j, s := start(t, o)
	if _, err := s.Mark(1, []journal.Entry{{SourceID: "a"}}); err != nil {
		t.Fatal(err)
	}
	abandon(j)
	waitsFor := ""
	o.Waiting = func(holder string) { waitsFor = holder }
	_, s = start(t, o)
	if e, ok, err := s.Get(t.Context(), "a"); err != nil || !ok || !e.InDoubt {
		t.Errorf("%+v, %v, %v", e, ok, err)
	}
	if !strings.Contains(waitsFor, fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("it waits for %q", waitsFor)
	}
}

// Who is held up finds out by itself, although the other run has written nothing yet.
func TestRenewingNoticesTheOther(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	o.Lease = 300 * time.Millisecond
	j, _ := start(t, o)
	held, cancel := j.Hold(t.Context())
	defer cancel()
	postgres.Exec(t, dsn, `UPDATE stetl.lease SET token = 'another', fence = fence + 1`)
	<-held.Done()
	if code(context.Cause(held)) != diag.JournalLease {
		t.Errorf("cause %v", context.Cause(held))
	}
}

// Without its database a run stops when its lease ends, as another may have begun elsewhere.
func TestCutOffRunStops(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	o.Lease = 500 * time.Millisecond
	j, s := start(t, o)
	held, cancel := j.Hold(t.Context())
	defer cancel()
	name := nameOf(t, dsn)
	postgres.Exec(t, postgres.Start(t).DSN("postgres"), `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`)
	postgres.Exec(t, postgres.Start(t).DSN("postgres"), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
	_, err := s.Mark(1, []journal.Entry{{SourceID: "a"}})
	<-held.Done()
	if err == nil || code(context.Cause(held)) != diag.JournalLease || !strings.Contains(context.Cause(held).Error(), "could not be reached") {
		t.Errorf("%v, cause %v", err, context.Cause(held))
	}
	abandon(j)
	postgres.Exec(t, postgres.Start(t).DSN("postgres"), `ALTER DATABASE `+name+` ALLOW_CONNECTIONS true`)
}

// A connection that is lost while recording is no trouble if the server is there again in
// time, and nothing is written twice.
func TestConnectionIsLostWhileRecording(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	j, s := start(t, o)
	for n := range 5 {
		postgres.Exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err := s.Record(0, []journal.Entry{{SourceID: fmt.Sprintf("u%02d", n)}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := postgres.Value[int](t, dsn, `SELECT count(*) FROM stetl.account`); n != 5 {
		t.Errorf("%d accounts", n)
	}
	if written := postgres.Value[int64](t, dsn, `SELECT written FROM stetl.lease`); written != j.scopes["public\nhere"].writer.confirmed {
		t.Errorf("the server has %d transactions, the run %d", written, j.scopes["public\nhere"].writer.confirmed)
	}
}

// Whether a transaction without an answer was committed is known, and it is not made again.
func TestAnswerIsLost(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	p, address := through(t, dsn)
	o.URL = canonical.NewSecret(address)
	_, s := start(t, o)
	text := "INSERT INTO stetl.sample"
	p.text.Store(&text)
	if err := s.Runs.AddSample(1, journal.Sample{At: time.Now(), Done: 7}); err != nil {
		t.Error(err)
	}
	if n := postgres.Value[int](t, dsn, `SELECT count(*) FROM stetl.sample`); n != 1 || p.swallow.Load() != 1 {
		t.Errorf("written %d times, with %d answers lost", n, p.swallow.Load())
	}
	if err := s.Record(0, []journal.Entry{{SourceID: "a"}}); err != nil {
		t.Errorf("then: %v", err)
	}
}

// A server that has lost what it had confirmed is not believed: what was sent since is in
// doubt for the next run.
func TestFailoverLosesTheLastSeconds(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	j, s := start(t, o)
	entry := func(id string) []journal.Entry {
		return []journal.Entry{{SourceID: id, VisibleID: "v" + id, Action: pluginapi.Created, Origin: journal.Made, Digest: []byte{1}, Run: 1}}
	}
	send := func(id string) {
		t.Helper()
		batch, err := s.Mark(1, entry(id))
		if err == nil {
			err = s.Record(batch, entry(id))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send("a")
	for _, table := range []string{"account", "sent", "lease"} { // what the standby has
		postgres.Exec(t, dsn, `CREATE TABLE standby_`+table+` AS SELECT * FROM stetl.`+table)
	}
	send("b")
	if _, err := s.Mark(1, entry("c")); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"account", "sent", "lease"} {
		postgres.Exec(t, dsn, `TRUNCATE stetl.`+table)
		postgres.Exec(t, dsn, `INSERT INTO stetl.`+table+` SELECT * FROM standby_`+table)
	}
	held, cancel := j.Hold(t.Context())
	defer cancel()
	err := s.Record(0, entry("d"))
	if code(err) != diag.JournalLost || !strings.Contains(err.Error(), "2 accounts of its last 3 transactions") {
		t.Fatalf("the next record: %v", err)
	}
	if _, err := s.Mark(1, entry("e")); code(err) != diag.JournalLost {
		t.Errorf("the next mark: %v", err)
	}
	<-held.Done()
	abandon(j)
	expire(t, dsn)
	_, s = start(t, o)
	got := map[string]bool{}
	for e, err := range s.Accounts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.SourceID+" "+e.VisibleID] = e.InDoubt
	}
	if len(got) != 3 || got["a va"] || !got["b vb"] || !got["c vc"] {
		t.Errorf("who is in doubt: %v", got)
	}
}

// What is remembered for such a day is bounded, and known to be.
func TestRecentAccountsAreBounded(t *testing.T) {
	t.Parallel()
	var r recent
	const size = 1000
	for n := range int64(3 * remembered / size) {
		m := marks{sources: make([]string, size), visible: make([]string, size), classes: make([]string, size)}
		for i := range m.sources {
			m.sources[i] = fmt.Sprintf("%d-%d", n, i)
		}
		r.add(n+1, m)
	}
	if r.count > remembered {
		t.Errorf("%d are remembered", r.count)
	}
	last := int64(3 * remembered / size)
	if m, complete := r.since(last - 10); !complete || len(m.sources) != 10*size {
		t.Errorf("%d of the last 10 transactions, %v", len(m.sources), complete)
	}
	if _, complete := r.since(1); complete {
		t.Error("what is forgotten passes for known")
	}
}

// The journal opens with the secret that it was made with and with no other, before anything
// of it is read.
func TestSecrets(t *testing.T) {
	t.Parallel()
	_, o := somewhere(t)
	for _, secret := range []string{"", "c2hvcnQ=", "not base64, not base64, not base64, not base64"} {
		bad := o
		bad.Secret = canonical.NewSecret(secret)
		if _, err := Open(t.Context(), bad); code(err) != diag.JournalKey || secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", secret, err)
		}
	}
	j, s := start(t, o)
	if err := s.Record(0, []journal.Entry{{SourceID: "a", Before: []byte("before")}, {SourceID: "b"}}); err != nil {
		t.Fatal(err)
	}
	other := o
	other.Secret = canonical.NewSecret(strings.Repeat("b3RoZXIg", 8))
	for name, open := range map[string]func(context.Context, Options) (*Journal, error){"open": Open, "read": Read} {
		if _, err := open(t.Context(), other); code(err) != diag.JournalKey || !strings.Contains(err.Error(), "another journal_key") {
			t.Errorf("%s with another secret: %v", name, err)
		}
	}
	urlSafe := o
	urlSafe.Secret = canonical.NewSecret(strings.TrimRight(testKey.Reveal(), "="))
	r, err := Read(t.Context(), urlSafe)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if string(r.FingerprintKey()) != string(j.FingerprintKey()) {
		t.Error("two machines have two keys")
	}
	// A pre-image belongs to its account.
	postgres.Exec(t, o.URL.Reveal(), `INSERT INTO stetl.preimage SELECT scope, 'b', encrypted FROM stetl.preimage`)
	if _, err := s.Before(t.Context(), "b"); err == nil {
		t.Error("the pre-image of another account is taken")
	}
}

// A run needs to write, all others only to read.
func TestRights(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	_, s := start(t, o)
	if err := s.Record(0, []journal.Entry{{SourceID: "a"}}); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"writes", "reads"} {
		name := fmt.Sprintf("journal_%s_%d_%s", role, os.Getpid(), nameOf(t, dsn))
		postgres.Exec(t, dsn, `CREATE ROLE `+name+` LOGIN PASSWORD 'x'`)
		t.Cleanup(func() {
			postgres.Exec(t, dsn, `DROP OWNED BY `+name)
			postgres.Exec(t, dsn, `DROP ROLE `+name)
		})
		for _, statement := range Grants(name, role == "writes") {
			postgres.Exec(t, dsn, statement)
		}
		theirs := o
		theirs.URL = canonical.NewSecret(as(t, dsn, name))
		r, err := Read(t.Context(), theirs)
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		defer func() { _ = r.Close() }()
		if owns, err := r.Owns(t.Context()); err != nil || owns != (role == "writes") {
			t.Errorf("%s: may write %v, %v", role, owns, err)
		}
		looked, err := r.Scope(t.Context(), "public", "here")
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		if e, ok, err := looked.Get(t.Context(), "a"); err != nil || !ok || e.SourceID != "a" {
			t.Errorf("%s: %v, %v", role, ok, err)
		}
		w, err := Open(t.Context(), theirs)
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		own, err := w.Scope(t.Context(), "public", "of "+role)
		if role == "reads" {
			if code(err) != diag.JournalRights {
				t.Errorf("who reads writes: %v", err)
			}
		} else if err == nil {
			run, runErr := own.Runs.Begin(journal.Run{})
			batch, markErr := own.Mark(run, []journal.Entry{{SourceID: "x"}})
			err = errors.Join(runErr, markErr, own.Record(batch, []journal.Entry{{SourceID: "x", Before: []byte("y")}}), own.Forget([]string{"x"}))
		}
		if role == "writes" && err != nil {
			t.Errorf("who writes: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A server that only reads says so with a code of its own.
func TestServerOnlyReads(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	j, s := start(t, o)
	if err := s.Record(0, []journal.Entry{{SourceID: "a"}}); err != nil {
		t.Fatal(err)
	}
	name := nameOf(t, dsn)
	postgres.Exec(t, dsn, `ALTER DATABASE `+name+` SET default_transaction_read_only = on`)
	postgres.Exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err := s.Record(0, []journal.Entry{{SourceID: "b"}}); code(err) != diag.JournalReadOnly {
		t.Errorf("error %v", err)
	}
	if e, ok, err := s.Get(t.Context(), "a"); err != nil || !ok || e.SourceID != "a" {
		t.Errorf("reading: %v, %v", ok, err)
	}
	abandon(j)
}

// Nothing of an address is in an error but server and database.
func TestErrorsAreWithoutPasswords(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	const secret = "hunter2hunter2"
	for _, address := range []string{
		strings.Replace(dsn, "@", secret+"@", 1), "postgres://ada:" + secret + "@127.0.0.1:1/journal", "host=127.0.0.1 port=1 user=ada password=" + secret,
		"postgres://ada:" + secret + "@[::1/journal", "postgres://ada:" + secret + "@127.0.0.1/journal?nonsense=" + secret,
	} {
		o.URL = canonical.NewSecret(address)
		_, err := Open(t.Context(), o)
		if err == nil || code(err) != diag.JournalUnreachable || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "ada:") || strings.Contains(Where(o.URL), secret) {
			t.Errorf("%v; %s", err, Where(o.URL))
		}
	}
}

func TestTextsKeepOrderAndContent(t *testing.T) {
	t.Parallel()
	all := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00a", "\x01", "\x01\x00", "\x01\x01", "\x01\x02", "\x01a", "\x02", "a", "a\x00", "a\x01", "a\x02", "ab"}
	for i, s := range all {
		if dec(enc(s)) != s || strings.Contains(enc(s), "\x00") {
			t.Errorf("%q becomes %q and %q", s, enc(s), dec(enc(s)))
		}
		if i > 0 && enc(all[i-1]) >= enc(s) {
			t.Errorf("%q and %q change places", all[i-1], s)
		}
	}
}

// The journal knows when it is in the wrong place.
func TestBesideSuperTokens(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	j, _ := start(t, o)
	for _, want := range []bool{false, true} {
		if got, err := j.BesideSuperTokens(t.Context()); err != nil || got != want {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
		postgres.Exec(t, dsn, `CREATE TABLE IF NOT EXISTS st_emailpassword_users (id text)`)
	}
}

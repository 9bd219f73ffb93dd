package supertokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/mysqldump"
)

// Options say where the users are. Exactly one of URL and Dump is set.
type Options struct {
	// URL is the address of a PostgreSQL, MySQL or MariaDB, with a role that may read.
	URL canonical.Secret
	// Dump is the path of what pg_dump has made, in any of its formats, or mysqldump.
	Dump string
	// Charset says that texts in MySQL are UTF-8 that came over a connection in another
	// character set, one of [Charsets]. Empty takes them as they are.
	Charset string
	// LockTables lets several connections to MySQL read the same state: tables are locked
	// against writing for the moment in which they begin. Without it there is one connection.
	LockTables bool
	// Schema and TablePrefix narrow the search for the installation; empty and
	// nil search everywhere.
	Schema string
	// schemaOfURL says that Schema is what URL names.
	schemaOfURL bool
	TablePrefix *string
	// Tables maps core table names to actual ones, for [RenamableTables].
	Tables map[string]string
	// App is the SuperTokens app to read, "public" when empty.
	App string
	// RangeSize is how many user ids are joined at once, which bounds memory. 0
	// has it follow from how many there are.
	RangeSize int
	// Audit also looks for sessions of nobody, which means reading the
	// largest table of most installations.
	Audit bool
	// AcceptIncomplete names the gaps, by code, in spite of which the source is read.
	AcceptIncomplete []GapCode
	// TakeLeft takes metadata and authenticators that lie under the internal id of an
	// account with an external one, where the core does not look.
	TakeLeft bool
	// MigrationMode is core 12's migration_mode where the operator knows it:
	// the core's configuration file has it, the database may not. Empty infers
	// it from the data.
	MigrationMode string
	// Progress, when set, is called now and then with how many rows have been
	// read, one call at a time.
	Progress func(rows int)
	// Connections is how many tables are read at once, and ranges joined. 0
	// takes the default.
	Connections int
}

// rangeSizeOf is how many of so many ids are joined at once where nobody says it. A range
// of 500 ordinary accounts is in the cache that a processor has for itself still when the
// next step comes to it. Of more ids it takes up to 2,000, which is near 2 MiB: beyond a few
// thousand ranges, what each of them gets of a spill is too little to be read by itself.
func rangeSizeOf(ids int) int { return max(500, min(ids/2_000, 2_000)) }

// defaultConnections fits the two cores on which it was measured; a database on
// another machine gains from more.
const defaultConnections = 2

// store is a place that holds rows: a live database or a dump, of PostgreSQL or of MySQL.
type store interface {
	catalog(ctx context.Context) (*catalog, error)
	rows
	// memberships sums up a table that has users by tenant.
	memberships(ctx context.Context, r *relation, app string) (memberships, error)
	// countBy counts the rows of a table by the values of one column.
	countBy(ctx context.Context, r *relation, column string) (map[string]int, error)
	close() error
}

// counted tells how many rows have come out of a store.
type counted struct {
	store
	report func(rows int)
	mu     sync.Mutex
	rows   int
}

// countStep is how many rows of a table pass between two reports.
const countStep = 1 << 14

func (c *counted) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	if c.report == nil {
		return c.store.scan(ctx, r, app, columns, row)
	}
	n := 0
	return c.store.scan(ctx, r, app, columns, func(v [][]byte) error {
		if n++; n%countStep == 0 {
			c.mu.Lock()
			c.rows += countStep
			c.report(c.rows)
			c.mu.Unlock()
		}
		return row(v)
	})
}

// appColumn is in every table since apps exist.
const appColumn = "app_id"

// Source is an opened installation. It reads one consistent state, and reads
// each table once: what [Source.Read] needs is kept in an encrypted temporary
// file, so that reading again does not ask the database again.
type Source struct {
	*opened
	*joiner
	*completeness
	apps    []App
	readers []*tableReader
	ledger  []LedgerEntry
	closed  sync.Once
}

// Open connects or opens the file, finds the installation and the app. The
// error says what was looked for and what was found; errors.Is tells
// [ErrNotSuperTokens], [ErrAmbiguous] and [ErrNoApp] apart from trouble with the
// connection or the file.
func Open(ctx context.Context, o Options) (*Source, error) {
	if o.MigrationMode != "" && !slices.Contains(migrationModes(), strings.ToUpper(o.MigrationMode)) {
		return nil, errMode(o.MigrationMode)
	}
	if o.Charset != "" && !slices.Contains(Charsets(), o.Charset) {
		return nil, &SettingError{[]string{settingCharset}, fmt.Errorf("source.charset is %q, and there is %s", o.Charset, strings.Join(Charsets(), ", "))}
	}
	st, err := openStore(ctx, o)
	if err != nil {
		return nil, err
	}
	return openIn(ctx, st, o)
}

// openStore connects or opens the file.
func openStore(ctx context.Context, o Options) (store, error) {
	switch {
	case (o.Dump == "") == o.URL.IsZero():
		return nil, errors.New("a source is either a database url or a dump file")
	case !o.URL.IsZero() && IsMySQL(o.URL):
		return openMySQL(ctx, o)
	case o.LockTables:
		return nil, &SettingError{[]string{settingLock}, errLock}
	case o.Dump != "" && mysqldump.Recognise(o.Dump):
		return openMySQLDump(ctx, o.Dump, o.Charset)
	case o.Charset != "":
		return nil, &SettingError{[]string{settingCharset}, errCharset}
	case o.Dump != "":
		return openDump(ctx, o.Dump)
	default:
		return openLive(ctx, o.URL, max(o.Connections, 0), slices.Contains(o.AcceptIncomplete, GapRowSecurity))
	}
}

// openIn is [Open] in a store, which it closes when it fails.
func openIn(ctx context.Context, st store, o Options) (*Source, error) {
	found := &opened{store: st, accepts: o.AcceptIncomplete}
	s := &Source{opened: found, joiner: &joiner{opened: found, rangeSize: max(o.RangeSize, 0), parallel: o.Connections}, completeness: &completeness{opened: found}}
	if s.parallel <= 0 {
		s.parallel = defaultConnections
	}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Source) open(ctx context.Context, o Options) error {
	c, err := s.store.catalog(ctx)
	if err != nil {
		return err
	}
	if o, c, err = o.narrow(c); err != nil {
		return err
	}
	var gaps []Gap
	s.catalog = c
	err = s.retry(func() error {
		s.layout, gaps, err = detect(ctx, c, s.store, o)
		return err
	})
	if err != nil {
		return err
	}
	s.app = o.App
	if s.app == "" {
		s.app = defaultName
	}
	if err := s.refuse(gaps); err != nil {
		return err
	}
	if s.layout.Generation.multiApp() && s.layout.tables[Spine] == nil {
		return &IncompleteError{Gaps: s.gaps} // nothing can be read without it
	}
	s.ledger = s.layout.ledger(c)
	s.examineColumns(s.ledger)
	err = s.retry(func() (err error) { s.apps, err = s.loadApps(ctx, false); return err })
	if err != nil {
		return err
	}
	s.assembler = newAssembler(s.layout, s.app)
	s.assembler.takeLeft = o.TakeLeft
	s.assembler.findStray = s.layout.Generation.recordsVerification() && !s.layout.atLeast(specOf(UserIDMapping).since)
	s.store = &counted{store: s.store, report: o.Progress}
	err = s.retry(func() error {
		s.partitioner, err = newPartitioner(ctx, s.store, s.layout, s.app, s.rangeSize, s.parallel)
		return err
	})
	if err != nil {
		return err
	}
	if s.partitioner.users == 0 && len(s.apps) == 1 { // an app that only the list of users knows may have them
		err = s.retry(func() (err error) { s.apps, err = s.loadApps(ctx, true); return err })
		if err != nil {
			return err
		}
	}
	if err := s.chooseTenants(ctx, o.MigrationMode); err != nil {
		return err
	}
	s.readers = s.layout.readers(func(t *tableSpec) bool {
		r := s.layout.tables[t.name]
		switch {
		case t.name == SessionInfo:
			return o.Audit && s.mayRead(SessionInfo, "whether there are sessions of nobody is unknown")
		case t.name == EmailPasswordUserToTenant && !s.assembler.newTenants:
			return false
		default:
			return t.role.matters() || r.readable && !r.empty
		}
	})
	if err := s.retry(func() error { return s.compareCopies(ctx, s.assembler.newTenants) }); err != nil {
		return err
	}
	err = s.retry(func() (err error) {
		if s.assembler.roles, err = s.loadRoles(ctx); err == nil {
			s.roles, err = s.loadPermissions(ctx, s.assembler.roles)
		}
		return err
	})
	if err != nil {
		return err
	}
	return (&examiner{s.opened, s.apps}).all(ctx)
}

// Findings returns what was seen about the installation as a whole, beside the
// warnings that each account carries.
func (s *Source) Findings() []Finding { return s.general.list() }

// Layout says what was found.
func (s *Source) Layout() *Layout { return s.layout }

// Where names the source without anything secret: the database and its host, or the
// path of the dump.
func (s *Source) Where() string { return s.catalog.where }

// App is the app that is read.
func (s *Source) App() string { return s.app }

// Apps lists every app of the installation, sorted.
func (s *Source) Apps() []App { return s.apps }

// Close releases the snapshot or the file.
func (s *Source) Close() error {
	err := s.closeStore()
	if s.partitioner != nil {
		err = errors.Join(err, s.partitioner.close())
	}
	return err
}

func (s *Source) closeStore() (err error) {
	s.closed.Do(func() { err = s.store.close() })
	return err
}

// Batch is the accounts of one id range, in order.
type Batch struct {
	Users []canonical.User
	// Orphans are rows that belong to nobody, met while reading this range.
	Orphans []Orphan
	// Done and Total count ranges, for progress.
	Done, Total int

	proof rowProof
}

// Orphan is a row of a table about users whose id is nobody's.
type Orphan struct{ Table, ID string }

// Read calls emit with every account of the app, range by range, in an order
// that depends on the data alone. Ranges are read in parallel and emitted one
// at a time; emit's error stops the reading and is returned. It may be called
// again and gives the same accounts. When all of them have been emitted and their
// rows prove that others are missing, the error is an [IncompleteError]: nothing may
// be done with the accounts then.
func (s *Source) Read(ctx context.Context, emit func(Batch) error) error {
	if err := s.partitioner.partition(ctx, s.readers); err != nil {
		return err
	}
	// Everything has been read. Holding the snapshot any longer would keep the
	// database from cleaning up for as long as loading takes.
	if err := s.closeStore(); err != nil {
		return err
	}
	p := &proofs{}
	err := s.eachRange(ctx, s.readers, func(rr *rangeRows, orphans []Orphan) Batch {
		return Batch{Users: s.assembler.assemble(rr), Orphans: orphans, proof: rr.whole}
	}, func(b Batch) error {
		if err := p.add(&b.proof); err != nil {
			return err
		}
		return emit(b)
	})
	switch {
	case err != nil:
		return errors.Join(err, p.shared.Close())
	case s.proven: // by an earlier reading of the same rows
		return p.shared.Close()
	default:
		return s.prove(p, s.assembler.newTenants)
	}
}

package supertokens

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// migrationModes lists the values of core 12's migration_mode, in the order in
// which an installation goes through them.
func migrationModes() []string {
	return []string{"LEGACY", "DUAL_WRITE_READ_OLD", "DUAL_WRITE_READ_NEW", "MIGRATED"}
}

func errMode(mode string) error {
	return &SettingError{[]string{settingMode}, fmt.Errorf("migration_mode is %q; the core has %s", mode, strings.Join(migrationModes(), ", "))}
}

// readsNew reports whether a core in this mode reads the new tables.
func readsNew(mode string) bool { return mode == "MIGRATED" || mode == "DUAL_WRITE_READ_NEW" }

// chooseTenants decides which of core 12's two places holds the tenant
// membership. The core knows it from its migration_mode, which usually is not
// in the database; what the core itself allows in each mode is.
func (s *Source) chooseTenants(ctx context.Context, told string) error {
	mode, from := strings.ToUpper(told), modeSetting
	if !s.layout.Generation.tenantsMigrate() {
		return s.refuse(modeOfAnother(s.layout, s.catalog, mode))
	}
	if mode == "" {
		from = modeTable(s.layout)
		err := s.retry(func() (err error) { mode, err = s.storedMode(ctx); return err })
		if err != nil {
			return err
		}
	}
	e, err := s.compareMembership(ctx)
	if err != nil {
		return err
	}
	if infos := s.layout.tables[RecipeUserAccountInfos]; infos != nil && infos.readable && !infos.empty && e.new == 0 && e.old > 0 {
		err := s.retry(func() (err error) {
			n, err := s.store.countRows(ctx, infos, s.app)
			e.copied = n > 0
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.refuse(e.contradictions(s.layout, s.catalog, mode, from)); err != nil {
		return err
	}
	s.assembler.newTenants = e.readsNew(s.layout, mode)
	if e.new > 0 && e.drift() {
		used := UserIndex
		if s.assembler.newTenants {
			used = RecipeUserTenants
		}
		because := "inferred"
		if mode != "" {
			because = "migration_mode " + mode
		}
		s.general.add(WarnTenantsDiffer, s.app, fmt.Sprintf(
			"memberships only in the old tables: %d, only in the new: %d, users not backfilled: %d; read from %s (%s)",
			e.onlyOld, e.onlyNew, e.undated, used, because))
	}
	return nil
}

// modeSetting is what an operator tells the mode by, in messages.
const modeSetting = "source.migration_mode"

// modeTable is where the database may have the mode, in messages.
func modeTable(l *Layout) string {
	return "migration_mode in table " + l.called(TenantConfigs)
}

// modeOfAnother finds a mode that is told and that only younger cores have.
func modeOfAnother(l *Layout, c *catalog, mode string) []Gap {
	if !readsNew(mode) {
		return nil
	}
	return []Gap{{Code: GapMode, Table: RecipeUserTenants, Detail: fmt.Sprintf(
		"%s is %s, and %s has no filled table %s, from which a core in this mode reads the tenants; leave the setting out, or dump the whole schema",
		modeSetting, mode, c.where, l.called(RecipeUserTenants))}}
}

// CheckMode fails when core 12's migration_mode, which is told or stored, contradicts
// the tables of a live database: tenants would be read from the wrong place. [Open] does
// so by itself. It has the database read the lists of users once.
func CheckMode(ctx context.Context, t *Tables, conn pgxQuerier) error {
	gaps, err := wrongMode(ctx, t, conn)
	if err != nil {
		return err
	}
	if open, _ := accept(gaps, t.accepts); len(open) > 0 {
		return &IncompleteError{Gaps: open}
	}
	return nil
}

func wrongMode(ctx context.Context, t *Tables, conn pgxQuerier) ([]Gap, error) {
	mode, from := t.mode, modeSetting
	if !t.layout.Generation.tenantsMigrate() {
		return modeOfAnother(t.layout, t.all, mode), nil
	}
	if configs := t.layout.tables[TenantConfigs]; mode == "" && configs != nil && configs.readable {
		from = modeTable(t.layout)
		var err error
		if mode, err = (&finder{gatherer: gatherer{t: t, from: PostgresRows(conn)}}).storedMode(ctx); err != nil {
			return nil, err
		}
	}
	if mode == "" || t.layout.tables[Spine] == nil {
		return nil, nil
	}
	e, err := countMembership(ctx, t, conn)
	if err != nil {
		return nil, err
	}
	return e.contradictions(t.layout, t.all, mode, from), nil
}

// countMembership has a database count what [Source.compareMembership] does.
func countMembership(ctx context.Context, t *Tables, conn pgxQuerier) (e membershipEvidence, err error) {
	of := func(r *relation, columns ...string) string {
		return "SELECT " + selectList(r, columns) + from(r) + " WHERE " + quoteIdent(appColumn) + " = $1"
	}
	place := func(name TableName, id string) string {
		if r := t.layout.tables[name]; r != nil {
			return of(r, id, "tenant_id")
		}
		return "SELECT NULL, NULL WHERE $1 = ''" // nothing
	}
	var logins []string
	for i := range schema {
		if r := t.layout.tables[schema[i].name]; r != nil && schema[i].role == roleRecipe {
			logins = append(logins, of(r, schema[i].key))
		}
	}
	if len(logins) == 0 {
		logins = []string{"SELECT NULL WHERE $1 = ''"}
	}
	// As text, ids have no blanks at the end. Only memberships of those count who are
	// listed or have a login.
	sql := `
WITH users AS (SELECT u.id::text AS id, u.joined = 0 AS undated FROM (` + of(t.layout.tables[Spine], "user_id", "time_joined") + `) u (id, joined)),
     logins AS (SELECT l.id::text AS id FROM (` + strings.Join(logins, " UNION ALL ") + `) l (id)),
     known AS (SELECT id FROM users UNION SELECT id FROM logins),
     late AS (SELECT u.id FROM users u WHERE u.undated AND EXISTS (SELECT 1 FROM logins l WHERE l.id = u.id)),
     old AS (SELECT u.id, o.tenant::text AS tenant FROM (` + place(UserIndex, "user_id") + `) o (id, tenant) JOIN known u ON u.id = o.id::text WHERE btrim(o.tenant::text) <> ''),
     new AS (SELECT u.id, n.tenant::text AS tenant FROM (` + place(RecipeUserTenants, specOf(RecipeUserTenants).key) + `) n (id, tenant) JOIN known u ON u.id = n.id::text WHERE btrim(n.tenant::text) <> '')
SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM new),
       (SELECT count(*) FROM (SELECT * FROM old EXCEPT SELECT * FROM new) d), (SELECT count(*) FROM (SELECT * FROM new EXCEPT SELECT * FROM old) d),
       (SELECT count(*) FROM logins), (SELECT count(*) FROM old o WHERE EXISTS (SELECT 1 FROM late l WHERE l.id = o.id)),
       (SELECT count(*) FROM late)`
	err = query(ctx, conn, func(v [][]byte) error {
		for i, to := range []*int{&e.old, &e.new, &e.onlyOld, &e.onlyNew, &e.logins, &e.undatedTenants, &e.undated} {
			n, err := integer("count", v[i])
			if err != nil {
				return err
			}
			*to = int(n)
		}
		return nil
	}, sql, pgx.QueryExecModeExec, t.app)
	if err != nil {
		return e, fmt.Errorf("compare the two places for tenants in %s: %w", t.all.where, err)
	}
	return e, nil
}

// readsNew chooses the place that holds the tenants.
func (e *membershipEvidence) readsNew(l *Layout, mode string) bool {
	switch {
	case l.tables[UserIndex] == nil:
		return true
	case mode != "":
		return readsNew(mode)
	default:
		// With every row dated, only MIGRATED lets the two places drift.
		return e.new > 0 && e.undated == 0 && e.drift()
	}
}

// drift reports whether the two places say different things.
func (e *membershipEvidence) drift() bool { return e.onlyOld+e.onlyNew > 0 }

// contradictions finds a mode, or a missing table, that cannot be true of what the
// tables hold.
func (e *membershipEvidence) contradictions(l *Layout, c *catalog, mode, from string) []Gap {
	figures := fmt.Sprintf("%d memberships in the old tables, %d in the new ones; %d only old, %d only new, %d users that no core 12 has dated",
		e.old, e.new, e.onlyOld, e.onlyNew, e.undated)
	var wrong bool
	if e.new == 0 && e.copied {
		return []Gap{{Code: GapRows, Table: RecipeUserTenants, Detail: fmt.Sprintf(
			"table %s of %s has no row, while table %s, which cores fill together with it, has some (%s); restore it, or dump the whole schema",
			l.called(RecipeUserTenants), c.where, l.called(RecipeUserAccountInfos), figures)}}
	}
	switch {
	case l.tables[UserIndex] == nil:
		if e.undated == 0 && (e.logins == 0 || e.new > 0) {
			return nil
		}
		return []Gap{{Code: GapTable, Table: UserIndex, Detail: l.missing(c, specOf(UserIndex),
			"only an installation that has been migrated whole does without it, and this one has not ("+figures+")")}}
	case readsNew(mode) && e.new == 0 && e.old > 0: // nobody could sign in
		wrong = true
	case mode == "MIGRATED": // the core takes this step only when every user is dated
		wrong = e.undated > 0
	case mode == "DUAL_WRITE_READ_NEW": // whatever is in the old place is in the new one as well
		wrong = e.onlyOld > e.undatedTenants
	case mode != "": // whatever is in the new place is in the old one as well
		wrong = e.onlyNew > 0
	}
	if !wrong {
		return nil
	}
	return []Gap{{Code: GapMode, Detail: fmt.Sprintf("%s says %s, and the tables of %s say otherwise: %s. Leave the setting out to have it inferred, or say what it is", from, mode, c.where, figures)}}
}

// membershipEvidence counts what the two places say.
type membershipEvidence struct {
	old, new, onlyOld, onlyNew, logins int
	// copied says that the other table which core 12 fills with memberships has rows.
	copied bool
	// undatedTenants counts the old memberships of users that are not dated.
	undatedTenants int
	// undated counts spine rows with a login that the backfill has not reached;
	// the core does not finish the migration while there is one.
	undated int
}

func (j *joiner) compareMembership(ctx context.Context) (membershipEvidence, error) {
	var e membershipEvidence
	readers := j.layout.readers(func(t *tableSpec) bool { return t.role.saysWhere() })
	var mu sync.Mutex // ranges are joined in parallel
	err := j.eachRange(ctx, readers, func(rr *rangeRows, _ []Orphan) Batch {
		mu.Lock()
		defer mu.Unlock()
		for _, u := range rr.users {
			e.count(u)
		}
		return Batch{}
	}, func(Batch) error { return nil })
	return e, err
}

func (e *membershipEvidence) count(u *userRows) {
	e.new += len(u.newTenants)
	e.old += len(u.oldTenants)
	e.logins += len(u.logins)
	if u.undated && len(u.logins) > 0 {
		e.undated++
		e.undatedTenants += len(u.oldTenants)
	}
	for _, t := range u.oldTenants {
		if !slices.Contains(u.newTenants, t) {
			e.onlyOld++
		}
	}
	slices.Sort(u.newTenants) // a third-party login has two rows per tenant
	u.newTenants = slices.Compact(u.newTenants)
	for _, t := range u.newTenants {
		if !slices.Contains(u.oldTenants, t) {
			e.onlyNew++
		}
	}
}

var modeColumns = []string{"tenant_id", "core_config"}

// modeReader takes the mode of the first tenant that has one, and of the default
// tenant before all others.
type modeReader struct{ mode string }

func (m *modeReader) add(v [][]byte) error {
	var config struct {
		Mode string `json:"migration_mode"`
	}
	_ = json.Unmarshal(v[1], &config) // [Source.examine] reports what is not JSON
	stored := strings.ToUpper(config.Mode)
	if slices.Contains(migrationModes(), stored) && (m.mode == "" || string(v[0]) == defaultName) {
		m.mode = stored
	}
	return nil
}

// readsNewTenants chooses the place that holds the tenants of the users that are
// joined, as a whole reading does. What takes a look at all users is asked only where
// the two places differ about these: otherwise either place gives the same answer.
func (f *finder) readsNewTenants(ctx context.Context) (bool, error) {
	t := f.t
	if !t.layout.Generation.tenantsMigrate() {
		return false, nil
	}
	var e membershipEvidence
	for _, u := range f.rr.users {
		e.count(u)
	}
	if !e.drift() || t.mode != "" || t.layout.tables[UserIndex] == nil {
		return e.readsNew(t.layout, t.mode), nil
	}
	if r := t.layout.tables[RecipeUserTenants]; e.new == 0 && r != nil { // perhaps of these users only
		q := t.query(r, []string{"tenant_id"})
		q.Limit = 1
		if err := f.from.Rows(ctx, q, func([][]byte) error { e.new++; return nil }); err != nil {
			return false, err
		}
	}
	if e.new == 0 { // no core has filled the new place yet
		return false, nil
	}
	mode, err := f.storedMode(ctx)
	if err != nil {
		return false, fmt.Errorf("the two places for tenants differ about a user, and which of them counts is not told (source.migration_mode): %w", err)
	}
	if mode == "" && e.undated == 0 {
		e.undated, err = t.backfill.undated(ctx, f)
	}
	return e.readsNew(t.layout, mode), err
}

func (f *finder) storedMode(ctx context.Context) (string, error) {
	r := f.t.layout.tables[TenantConfigs]
	if r == nil {
		return "", nil
	}
	var m modeReader
	err := f.from.Rows(ctx, f.t.query(r, modeColumns), m.add)
	return m.mode, err
}

// backfill remembers how far core 12's backfill has come. Finding out that it is over
// means reading the list of users once, and is true for good; until then, the answer
// is as old as undatedAge, and its first user without a date ends the reading.
type backfill struct {
	mu    sync.Mutex
	done  bool
	asked time.Time
	some  int
}

const (
	undatedAge = time.Minute
	// undatedSample is how many users without a date are looked at. They count when
	// they have a login; more than these without one are left of nobody.
	undatedSample = 1000
)

// undated is above zero while there are logins that the backfill has not reached.
func (b *backfill) undated(ctx context.Context, f *finder) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done || time.Since(b.asked) < undatedAge {
		return b.some, nil
	}
	some, err := f.undatedLogins(ctx)
	if err != nil {
		return 0, err
	}
	b.done, b.asked, b.some = some == 0, time.Now(), some
	return some, nil
}

func (f *finder) undatedLogins(ctx context.Context) (n int, err error) {
	for _, limit := range [...]int{undatedSample, 0} {
		var ids []string
		q := f.t.query(f.t.layout.tables[Spine], []string{"user_id"}, RowMatch{"time_joined", []string{"0"}})
		q.Limit = limit
		err := f.from.Rows(ctx, q, func(v [][]byte) error {
			ids = append(ids, trimPadding(v[0]))
			return nil
		})
		for some := range slices.Chunk(ids, undatedSample) {
			for i := range schema {
				r := f.t.layout.tables[schema[i].name]
				if err != nil || n > 0 || r == nil || schema[i].role != roleRecipe {
					continue
				}
				q := f.t.query(r, []string{schema[i].key}, RowMatch{schema[i].key, some})
				q.Limit = 1
				err = f.from.Rows(ctx, q, func([][]byte) error { n++; return nil })
			}
		}
		if err != nil || n > 0 || len(ids) < limit {
			return n, err
		}
	}
	return n, nil
}

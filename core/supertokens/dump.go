package supertokens

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/internal/pgdump"
)

// dump reads a pg_dump file. Rows there lie in no useful order, so the tables
// are dealt out to partitions by account first; after that a range is one
// partition, and memory is bounded by the range as it is with a live database.
type dump struct {
	archive *pgdump.Archive
	path    string
	tables  map[*relation]pgdump.Table

	mu     sync.Mutex
	bounds []string
	deal   *dealer
}

func openDump(ctx context.Context, path string) (*dump, error) {
	a, err := pgdump.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &dump{archive: a, path: path, tables: map[*relation]pgdump.Table{}}, nil
}

func (d *dump) close() error {
	var err error
	if d.deal != nil {
		err = d.deal.close()
	}
	return errors.Join(err, d.archive.Close())
}

func (d *dump) catalog(context.Context) (*catalog, error) {
	c := &catalog{where: "dump " + d.path}
	for _, t := range d.archive.Tables() {
		r := &relation{schema: t.Schema, name: t.Name, readable: true}
		for _, col := range t.Columns {
			r.columns = append(r.columns, column{name: col.Name, typ: col.Type})
		}
		c.tables = append(c.tables, r)
		d.tables[r] = t
	}
	return c, nil
}

func (d *dump) scan(ctx context.Context, r *relation, columns []string, row func([][]byte) error) error {
	t := d.tables[r]
	if !t.HasData {
		return fmt.Errorf("dump %s has no data for table %s: it was made with --schema-only or --exclude-table-data; dump the whole schema", d.path, r.qualified())
	}
	positions := make([]int, len(columns))
	names := r.names()
	for i, c := range columns {
		positions[i] = slices.Index(names, c)
	}
	rows, err := d.archive.Rows(ctx, t)
	if err != nil {
		return err
	}
	out := make([][]byte, len(columns))
	for rows.Next() {
		values := rows.Values()
		for i, p := range positions {
			out[i] = nil
			if p >= 0 {
				out[i] = values[p]
			}
		}
		if err := row(out); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (d *dump) countBy(ctx context.Context, r *relation, column string) (map[string]int, error) {
	out := map[string]int{}
	err := d.scan(ctx, r, []string{column}, func(v [][]byte) error {
		out[string(v[0])]++
		return nil
	})
	return out, err
}

// sampleSize is how many ids the bounds of ranges are chosen from.
const sampleSize = 1 << 16

// ranges chooses bounds from a sample of the ids, so that ranges are about even
// whatever the ids look like.
func (d *dump) ranges(ctx context.Context, l *Layout, app string, size int) ([]idRange, error) {
	var sample []string
	total := 0
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // balance, not secrecy
	take := func(v [][]byte) error {
		if v[1] != nil && string(v[1]) != app {
			return nil
		}
		total++
		if len(sample) < sampleSize {
			sample = append(sample, trimPadding(v[0]))
		} else if at := random.IntN(total); at < sampleSize {
			sample[at] = trimPadding(v[0])
		}
		return nil
	}
	sources := []table{tEmailPassword, tThirdParty, tPasswordless, tWebAuthn}
	if l.multiApp() {
		sources = []table{tSpine}
	}
	for _, t := range sources {
		if r := l.tables[t]; r != nil {
			if err := d.scan(ctx, r, []string{"user_id", "app_id"}, take); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(sample)
	sample = slices.Compact(sample)
	n := (total + size - 1) / size
	var bounds []string
	for i := 1; i < n; i++ {
		if b := sample[i*len(sample)/n]; len(bounds) == 0 || bounds[len(bounds)-1] < b {
			bounds = append(bounds, b)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deal == nil || !slices.Equal(d.bounds, bounds) {
		if d.deal != nil {
			if err := d.deal.close(); err != nil {
				return nil, err
			}
		}
		d.bounds, d.deal = bounds, newDealer(d, l, app, bounds)
	}
	out := make([]idRange, 0, len(bounds)+1)
	lo := ""
	for _, b := range bounds {
		out = append(out, idRange{lo: lo, hi: b})
		lo = b
	}
	return append(out, idRange{lo: lo}), nil
}

func (d *dump) read(ctx context.Context, _ string, r idRange, tables []*spec, rr *rangeRows, orphan orphanFunc) error {
	d.mu.Lock()
	err := d.deal.ensure(ctx, tables)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	wanted := map[uint8]*spec{}
	for _, s := range tables {
		wanted[tableNumber(s)] = s
	}
	return d.deal.ranges.each(d.deal.rangeOf(r.lo), func(rec record) error {
		s := wanted[rec.table]
		if s == nil {
			return nil
		}
		known, err := rr.add(s, rec.fields)
		if err != nil {
			return fmt.Errorf("read dump %s: %w", d.path, err)
		}
		if !known && s.keyIs == visibleID && !rec.mark {
			orphan(s.table, trimPadding(rec.fields[0]))
		}
		return nil
	})
}

// dealer deals rows to ranges by the account they belong to. For most rows
// that is the account of the id they carry; routes know the exceptions, linked
// users and external ids. When there are too many exceptions for memory, they
// and the rows are first split by a hash of the id, and joined hash by hash.
type dealer struct {
	dump   *dump
	layout *Layout
	app    string
	bounds []string
	ranges *spill
	dealt  map[table]bool

	seed   maphash.Seed
	routes *spill // by hash of the id: (id, account, "e" for external)
}

// routesInMemory is how many exceptions one hash partition may hold.
const routesInMemory = 100_000

func newDealer(d *dump, l *Layout, app string, bounds []string) *dealer {
	return &dealer{
		dump: d, layout: l, app: app, bounds: bounds, ranges: newSpill(len(bounds) + 1),
		dealt: map[table]bool{}, seed: maphash.MakeSeed(),
	}
}

func (d *dealer) close() error { return errors.Join(d.ranges.close(), d.routes.close()) }

// rangeOf is the number of the range that holds id.
func (d *dealer) rangeOf(id string) int {
	return sort.Search(len(d.bounds), func(i int) bool { return d.bounds[i] > id })
}

func (d *dealer) hash(id []byte) int {
	return int(maphash.Bytes(d.seed, id) % uint64(len(d.routes.parts))) //nolint:gosec // less than the number of partitions
}

// ensure deals the tables that have not been dealt yet.
func (d *dealer) ensure(ctx context.Context, tables []*spec) error {
	if d.routes == nil {
		if err := d.findRoutes(ctx); err != nil {
			return err
		}
	}
	var missing []*spec
	for _, s := range tables {
		if !d.dealt[s.table] {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := d.dealTables(ctx, missing); err != nil {
		return err
	}
	for _, s := range missing {
		d.dealt[s.table] = true
	}
	return nil
}

// scanApp scans a table for the rows of the app; row gets the columns asked for.
func (d *dealer) scanApp(ctx context.Context, t table, columns []string, row func([][]byte) error) error {
	return d.dump.scan(ctx, d.layout.tables[t], append([]string{"app_id"}, columns...), func(v [][]byte) error {
		if v[0] != nil && string(v[0]) != d.app {
			return nil
		}
		return row(v[1:])
	})
}

// route is one exception.
type route struct{ id, account []byte }

var external = []byte("e")

// findRoutes fills routes: linked users go to their primary user's account, and
// external ids to the account of the user they name.
func (d *dealer) findRoutes(ctx context.Context) error {
	links, mapped := d.layout.linked(), d.layout.tables[tMapping] != nil
	count := 0
	eachLink := func(fn func(route) error) error {
		if !links {
			return nil
		}
		return d.scanApp(ctx, tSpine, []string{"user_id", "primary_or_recipe_user_id"}, func(v [][]byte) error {
			if r := (route{trimKey(v[0]), trimKey(v[1])}); string(r.id) != string(r.account) {
				return fn(r)
			}
			return nil
		})
	}
	eachMapping := func(fn func(route) error) error { // account is still the internal id here
		if !mapped {
			return nil
		}
		return d.scanApp(ctx, tMapping, []string{"external_user_id", "supertokens_user_id"}, func(v [][]byte) error {
			return fn(route{trimKey(v[0]), trimKey(v[1])})
		})
	}
	counter := func(route) error { count++; return nil }
	if err := errors.Join(eachLink(counter), eachMapping(counter)); err != nil {
		return err
	}
	d.routes = newSpill(count/routesInMemory + 1)
	byInternal := newSpill(len(d.routes.parts))
	defer func() { _ = byInternal.close() }() // scratch
	err := eachLink(func(r route) error {
		return d.routes.append(d.hash(r.id), record{fields: [][]byte{r.id, r.account}})
	})
	if err != nil {
		return err
	}
	err = eachMapping(func(r route) error {
		return byInternal.append(d.hash(r.account), record{fields: [][]byte{r.id, r.account}})
	})
	if err != nil {
		return err
	}
	for part := range d.routes.parts {
		linked, _, err := d.loadRoutes(part)
		if err != nil {
			return err
		}
		err = byInternal.each(part, func(rec record) error {
			account := rec.fields[1]
			if a, ok := linked[string(account)]; ok {
				account = []byte(a)
			}
			return d.routes.append(d.hash(rec.fields[0]), record{fields: [][]byte{rec.fields[0], account, external}})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadRoutes gives one hash partition's exceptions: linked users, and external ids.
func (d *dealer) loadRoutes(part int) (linked, externals map[string]string, err error) {
	linked, externals = map[string]string{}, map[string]string{}
	err = d.routes.each(part, func(rec record) error {
		if len(rec.fields) == 3 {
			externals[string(rec.fields[0])] = string(rec.fields[1])
		} else {
			linked[string(rec.fields[0])] = string(rec.fields[1])
		}
		return nil
	})
	return linked, externals, err
}

// dealTables deals rows straight to ranges when the exceptions fit in memory,
// and by way of hash partitions when they do not. Either way the rows of each
// range stay in the order of tables.
func (d *dealer) dealTables(ctx context.Context, tables []*spec) error {
	if len(d.routes.parts) == 1 {
		linked, externals, err := d.loadRoutes(0)
		if err != nil {
			return err
		}
		for _, s := range tables {
			err := d.scanApp(ctx, s.table, append([]string{s.key}, s.columns...), func(v [][]byte) error {
				return d.toRange(s, v, linked, externals)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	for _, s := range tables {
		byHash := newSpill(len(d.routes.parts))
		err := d.scanApp(ctx, s.table, append([]string{s.key}, s.columns...), func(v [][]byte) error {
			return byHash.append(d.hash(trimKey(v[0])), record{fields: v})
		})
		for part := range byHash.parts {
			if err != nil {
				break
			}
			var linked, externals map[string]string
			if linked, externals, err = d.loadRoutes(part); err == nil {
				err = byHash.each(part, func(rec record) error { return d.toRange(s, rec.fields, linked, externals) })
			}
		}
		if err := errors.Join(err, byHash.close()); err != nil {
			return err
		}
	}
	return nil
}

// toRange appends a row to the range of its account. A row of a visible-id
// table can name a user by either id, and an id can be one user's external and
// another's internal one; then it goes to both. The mark tells the range of the
// id itself that somebody else claims the row, so that it is no orphan.
func (d *dealer) toRange(s *spec, v [][]byte, linked, externals map[string]string) error {
	id := strings.TrimRight(string(v[0]), " ")
	own := id
	if a, ok := linked[id]; ok {
		own = a
	}
	claimed, isExternal := "", false
	if s.keyIs == visibleID {
		claimed, isExternal = externals[id]
	}
	rec := record{table: tableNumber(s), fields: v}
	if isExternal {
		if d.rangeOf(claimed) == d.rangeOf(own) { // one row, found under both ids
			return d.ranges.append(d.rangeOf(own), rec)
		}
		if err := d.ranges.append(d.rangeOf(claimed), rec); err != nil {
			return err
		}
		rec.mark = true
	}
	return d.ranges.append(d.rangeOf(own), rec)
}

// tableNumber is a table's place in userTables.
func tableNumber(s *spec) uint8 {
	return uint8(slices.IndexFunc(userTables, func(o spec) bool { return o.table == s.table })) //nolint:gosec // a short list
}

package supertokens

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/stetl/stetl/core/internal/pgdump"
)

// dump reads a pg_dump file.
type dump struct {
	archive *pgdump.Archive
	path    string
	tables  map[*relation]pgdump.Table
}

func openDump(ctx context.Context, path string) (*dump, error) {
	a, err := pgdump.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &dump{archive: a, path: path, tables: map[*relation]pgdump.Table{}}, nil
}

func (d *dump) close() error { return d.archive.Close() }

func (d *dump) catalog(context.Context) (*catalog, error) {
	c := &catalog{where: "dump " + d.path, withoutIndexes: !d.archive.HasPostData(), hidesRows: d.archive.RowSecurity(), dumped: true, made: madeAt(d.path, d.archive.Info().Made)}
	for _, t := range d.archive.Tables() {
		r := &relation{
			schema: t.Schema, name: t.Name, readable: true, empty: !t.HasData, part: t.Parent != (pgdump.TableName{}),
			indexes: slices.Concat(t.Indexes, t.Constraints, t.ForeignKeys), mayHideRows: t.RowSecurity && d.archive.Info().Format != pgdump.Plain,
		}
		for _, col := range t.Columns {
			r.columns, r.types = append(r.columns, col.Name), append(r.types, shortType(col.Type))
		}
		c.tables = append(c.tables, r)
		d.tables[r] = t
	}
	for _, v := range pgdump.Views(d.archive) {
		c.views = append(c.views, view{v.Schema, v.Name, "view"})
	}
	return c, nil
}

// madeAt is when a dump was made: what it says itself, and no later than its file was
// written. Zero where neither is known.
func madeAt(path string, says time.Time) time.Time {
	stat, err := os.Stat(path)
	switch {
	case err != nil:
		return says
	case says.IsZero() || stat.ModTime().Before(says):
		return stat.ModTime()
	}
	return says
}

// Made says when a source that is a dump was made, and nothing of a database: that is read
// as it is now. The time is zero where nobody can tell.
func Made(s *Source) (at time.Time, dump bool) { return s.catalog.made, s.catalog.dumped }

// selection is what a reading wants of the rows of a file: those of an app, and of them some
// columns, in an order of its own.
type selection struct {
	positions []int // in the row; -1 for a column that the table does not have
	appAt     int   // -1 wants the rows of all apps
	app       string
	out       [][]byte
}

func selectionOf(r *relation, app string, columns []string) *selection {
	s := &selection{positions: make([]int, len(columns)), appAt: -1, app: app, out: make([][]byte, len(columns))}
	for i, c := range columns {
		s.positions[i] = slices.Index(r.columns, c)
	}
	if app != "" {
		s.appAt = slices.Index(r.columns, appColumn)
	}
	return s
}

// of returns the values that are wanted, valid until the next row; nil when the row is of
// another app.
func (s *selection) of(values [][]byte) [][]byte {
	if s.appAt >= 0 && string(values[s.appAt]) != s.app {
		return nil
	}
	for i, p := range s.positions {
		s.out[i] = nil
		if p >= 0 {
			s.out[i] = values[p]
		}
	}
	return s.out
}

func (d *dump) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	t := d.tables[r]
	if !t.HasData {
		return fmt.Errorf("dump %s has no data for table %s: it was made with --schema-only or --exclude-table-data; dump the whole schema", d.path, r.qualified())
	}
	rows, err := d.archive.Rows(ctx, t)
	if err != nil {
		return err
	}
	wanted := selectionOf(r, app, columns)
	for rows.Next() {
		out := wanted.of(rows.Values())
		if out == nil {
			continue
		}
		if err := row(out); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (d *dump) countBy(ctx context.Context, r *relation, column string) (map[string]int, error) {
	out := map[string]int{}
	err := d.scan(ctx, r, "", []string{column}, func(v [][]byte) error {
		out[string(v[0])]++
		return nil
	})
	return out, err
}

func (d *dump) hasRows(ctx context.Context, r *relation) (bool, error) {
	return d.archive.HasRows(ctx, d.tables[r])
}

func (d *dump) memberships(ctx context.Context, r *relation, app string) (memberships, error) {
	return sumMemberships(ctx, d, r, app)
}

func (d *dump) countRows(ctx context.Context, r *relation, app string) (n int, err error) {
	err = d.scan(ctx, r, app, nil, func([][]byte) error {
		n++
		return nil
	})
	return n, err
}

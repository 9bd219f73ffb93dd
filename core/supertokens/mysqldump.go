package supertokens

import (
	"context"
	"fmt"

	"github.com/stetl/stetl/core/internal/mysqldump"
)

// mysqlDump reads a file of mysqldump. A database is what is a schema elsewhere.
type mysqlDump struct {
	dump    *mysqldump.Dump
	path    string
	charset string
	tables  map[*relation]mysqldump.Table
}

func openMySQLDump(ctx context.Context, path, charset string) (*mysqlDump, error) {
	d, err := mysqldump.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &mysqlDump{dump: d, path: path, charset: charset, tables: map[*relation]mysqldump.Table{}}, nil
}

func (d *mysqlDump) close() error { return d.dump.Close() }

func (d *mysqlDump) catalog(context.Context) (*catalog, error) {
	c := &catalog{where: "MySQL dump " + d.path, withoutIndexes: true, filtered: d.dump.Info().Filtered, collates: true, dumped: true, made: madeAt(d.path, d.dump.Info().Made)}
	for _, t := range d.dump.Tables() {
		r := &relation{mysql: true, schema: t.Database, name: t.Name, readable: true, empty: !t.HasData, indexes: t.Indexes}
		for _, k := range t.ForeignKeys {
			r.indexes = append(r.indexes, k.Name, foreignKey(t.Name, k.Columns))
		}
		for _, col := range t.Columns {
			r.columns, r.types = append(r.columns, col.Name), append(r.types, mysqlType(col.Type))
			// The definition of a table has its keys, so one with types has them all.
			c.withoutIndexes = c.withoutIndexes && col.Type == ""
		}
		c.tables = append(c.tables, r)
		d.tables[r] = t
	}
	for _, v := range d.dump.Views() {
		c.views = append(c.views, view{v.Database, v.Name, "view"})
	}
	return c, nil
}

// foreignKey is the name that PostgreSQL gives a foreign key, after its last column. MySQL
// gives them numbers, which say nothing.
func foreignKey(table string, columns []string) string {
	if len(columns) == 0 {
		return table + "_fkey"
	}
	return table + "_" + columns[len(columns)-1] + "_fkey"
}

func (d *mysqlDump) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	t := d.tables[r]
	if !t.HasData {
		return fmt.Errorf("%s has no data for table %s: it was made with --no-data or --ignore-table-data; dump the whole database", d.path, r.qualified())
	}
	wanted, types := selectionOf(r, app, columns), make([]string, len(columns))
	for i, p := range wanted.positions {
		types[i] = r.typeOf(p)
	}
	convert := mysqlValues(types, d.charset)
	rows, err := d.dump.Rows(ctx, t)
	if err != nil {
		return err
	}
	for rows.Next() {
		out := wanted.of(rows.Values())
		if out == nil {
			continue
		}
		for i, value := range out {
			if value != nil && convert[i] != nil {
				out[i] = convert[i](value)
			}
		}
		if err := row(out); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (d *mysqlDump) countBy(ctx context.Context, r *relation, column string) (map[string]int, error) {
	out := map[string]int{}
	err := d.scan(ctx, r, "", []string{column}, func(v [][]byte) error {
		out[string(v[0])]++
		return nil
	})
	return out, err
}

func (d *mysqlDump) hasRows(_ context.Context, r *relation) (bool, error) {
	return d.tables[r].HasRows, nil
}

func (d *mysqlDump) memberships(ctx context.Context, r *relation, app string) (memberships, error) {
	return sumMemberships(ctx, d, r, app)
}

func (d *mysqlDump) countRows(ctx context.Context, r *relation, app string) (n int, err error) {
	err = d.scan(ctx, r, app, nil, func([][]byte) error {
		n++
		return nil
	})
	return n, err
}

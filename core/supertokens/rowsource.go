package supertokens

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// RowSource is a live database that is asked for the rows of single accounts.
// Whoever implements it knows no rule about an account.
type RowSource interface {
	// Rows calls row with every row that the query asks for, its columns in the
	// order of the query and as the database writes them, nil for NULL and for
	// columns that the table lacks. Values are valid during the call. An error of
	// row ends the reading and is returned.
	Rows(ctx context.Context, q RowQuery, row func([][]byte) error) error
}

// RowQuery asks one table for some of its rows.
type RowQuery struct {
	From    Table
	Columns []string
	// Where is what must be true of a row, all of it. Either, where it is not empty,
	// is of which one must be true as well.
	Where, Either []RowMatch
	// Limit is how many rows are enough, 0 for all of them.
	Limit int
}

// RowMatch says that a column holds one of the values: exactly, except that
// columns of a fixed width ignore blanks at the end, as the database does.
type RowMatch struct {
	Column string
	Values []string
}

// pgxQuerier is a connection, a pool or a transaction.
type pgxQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// PostgresRows asks a connection, a pool or a transaction of pgx. Each query is
// one round trip by the index of its columns, without prepared statements, which
// do not survive a pooler in transaction mode. Inside of a transaction that repeats
// its reads, an account is of one state.
func PostgresRows(q pgxQuerier) RowSource { return postgresRows{q} }

type postgresRows struct{ conn pgxQuerier }

const permissionDenied = "42501" // SQLSTATE

// Rows implements [RowSource].
func (p postgresRows) Rows(ctx context.Context, q RowQuery, row func([][]byte) error) error {
	sql, args := q.postgres()
	switch err := query(ctx, p.conn, row, sql, args...); {
	case err == nil:
		return nil
	case sqlState(err) == permissionDenied:
		return fmt.Errorf("no permission to read table %s; run: GRANT SELECT ON %s TO <role>: %w", q.From.r.qualified(), q.From.SQL(), err)
	default:
		return fmt.Errorf("read %s: %w", q.From.r.qualified(), err)
	}
}

// WithoutHashes is a source that does not read password hashes, for a role that may not.
// Every login with a password has one that stands for any.
func WithoutHashes(rows RowSource) RowSource { return noHashes{rows} }

type noHashes struct{ RowSource }

const columnHash = "password_hash"

// unread stands for a hash that was not read.
var unread = []byte("not read")

// Rows implements [RowSource].
func (n noHashes) Rows(ctx context.Context, q RowQuery, row func([][]byte) error) error {
	at := slices.Index(q.Columns, columnHash)
	if at < 0 {
		return n.RowSource.Rows(ctx, q, row)
	}
	q.Columns = slices.Clone(q.Columns)
	q.Columns[at] = "" // which no table has
	return n.RowSource.Rows(ctx, q, func(v [][]byte) error {
		v[at] = unread
		return row(v)
	})
}

// WithoutHash lists the columns of the table but that of password hashes, and tells
// whether it has that.
func (t Table) WithoutHash() (columns []string, has bool) {
	columns = slices.DeleteFunc(slices.Clone(t.r.columns), func(c string) bool { return c == columnHash })
	return columns, len(columns) < len(t.r.columns)
}

// postgres is the query as a statement with its arguments.
func (q *RowQuery) postgres() (sql string, args []any) {
	args = []any{pgx.QueryExecModeExec}
	condition := func(w RowMatch) string {
		number := len(args)
		if len(w.Values) == 1 {
			args = append(args, w.Values[0])
			return q.From.Equals(w.Column, number)
		}
		args = append(args, w.Values)
		return fmt.Sprintf("%s = ANY($%d::%s[])", quoteIdent(w.Column), number, comparedAs(q.From.typeOf(w.Column)))
	}
	var all, either []string
	for _, w := range q.Where {
		all = append(all, condition(w))
	}
	for _, w := range q.Either {
		either = append(either, condition(w))
	}
	if len(either) > 0 {
		all = append(all, "("+strings.Join(either, " OR ")+")")
	}
	sql = "SELECT " + selectList(q.From.r, q.Columns) + from(q.From.r)
	if len(all) > 0 {
		sql += " WHERE " + strings.Join(all, " AND ")
	}
	if q.Limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", q.Limit)
	}
	return sql, args
}

// comparedAs is the type of PostgreSQL in which values are compared with a column. With
// another one its index is of no use, and a column of a fixed width loses its blanks.
func comparedAs(typ string) string {
	switch kind := kindOf(typ); {
	case isPadded(typ):
		return "bpchar"
	case kind == "number":
		return "bigint"
	default:
		return "text"
	}
}

// typeOf is the type of a column, empty when there is no such column.
func (t Table) typeOf(column string) string { return t.r.typeOf(slices.Index(t.r.columns, column)) }

// Equals is the SQL condition that a column holds exactly the value of a
// parameter, by the index of the column. A column of a fixed width ignores blanks at
// the end.
func (t Table) Equals(column string, parameter int) string {
	if t.r.mysql {
		compared := fmt.Sprintf(" = $%d", parameter)
		if isPadded(t.typeOf(column)) {
			compared = fmt.Sprintf(" = TRIM(TRAILING ' ' FROM $%d)", parameter)
		}
		return t.mysqlEquals(column, compared)
	}
	return fmt.Sprintf("%s = $%d::%s", quoteIdent(column), parameter, comparedAs(t.typeOf(column)))
}

// AnyOf is the SQL condition that a column holds exactly one of the texts of a parameter,
// a []string. What fills a column of a fixed width up is none of its text.
func (t Table) AnyOf(column string, parameter int) string {
	if t.r.mysql {
		return t.mysqlEquals(column, fmt.Sprintf(" IN $%d", parameter))
	}
	return fmt.Sprintf("%s = ANY($%d)", quoteIdent(column), parameter)
}

// Exact is the SQL expression of a text that differs wherever texts differ.
func (t Table) Exact(expression string) string {
	if t.r.mysql {
		return mysqlExact(expression)
	}
	return expression + "::text"
}

package supertokens

import (
	"context"
	"fmt"
	"slices"

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
	// Where is what must be true of a row, all of it.
	Where []RowMatch
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
	sql := "SELECT " + selectList(q.From.r, q.Columns) + from(q.From.r)
	args := []any{pgx.QueryExecModeExec}
	for i, w := range q.Where {
		// The type of the column decides how values are compared. With another one
		// its index is of no use, and a column of a fixed width loses its blanks.
		sql += fmt.Sprintf(" %s %s = ANY($%d::%s[])", [...]string{"WHERE", "AND"}[min(i, 1)], quoteIdent(w.Column), i+1, comparedAs(q.From.typeOf(w.Column)))
		args = append(args, w.Values)
	}
	if q.Limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", q.Limit)
	}
	switch err := query(ctx, p.conn, row, sql, args...); {
	case err == nil:
		return nil
	case sqlState(err) == permissionDenied:
		return fmt.Errorf("no permission to read table %s; run: GRANT SELECT ON %s TO <role>: %w", q.From.r.qualified(), q.From.SQL(), err)
	default:
		return fmt.Errorf("read %s: %w", q.From.r.qualified(), err)
	}
}

// comparedAs is the type of PostgreSQL in which values are compared with a column.
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
	return fmt.Sprintf("%s = $%d::%s", quoteIdent(column), parameter, comparedAs(t.typeOf(column)))
}

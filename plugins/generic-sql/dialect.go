package sqltarget

import (
	"context"
	"errors"
)

// syntax is how a kind of database writes what all kinds can do.
type syntax interface {
	// quote writes a name, with what it is in before it.
	quote(names ...string) string
	// text writes a constant.
	text(s string) string
	// same is a condition that holds for two NULLs as well.
	same(a, b string) string
	// param is the n-th parameter of a statement, as a value of a column.
	param(n int, c *heldColumn) string
	// given are rows of a declaration, as the relation w: a number stetl_n for each, and its
	// columns c0, c1 and so on as texts. rows are its parameters.
	given(t *table) string
	rows(t *table, rows []pending) []any
	// among is a condition that an expression of a column's type is one of some texts.
	among(expr string, c *heldColumn, texts []string) (condition string, args []any)
	// updating and removing change and delete rows x of a table that go with those of another
	// relation.
	updating(table, from, on string, set []string) string
	removing(table, from, on string) string
}

// purpose says what a transaction is for.
type purpose int

const (
	reading purpose = iota // it can write nothing, and sees one state of everything
	writing
	asking // nothing is written, and MySQL is asked whether it could be
)

// tx is a transaction.
type tx interface {
	exec(ctx context.Context, query string, args ...any) error
	// each calls a function for every row of a query, with its columns as texts.
	each(ctx context.Context, query string, args []any, f func([]*string) error) error
	// insert writes rows in as few statements as it takes.
	insert(ctx context.Context, h *heldTable, t *table, rows []pending) error
	// name is what the database knows the transaction by, after its end too; empty where it
	// keeps no such record.
	name(ctx context.Context) (string, error)
	// ended says what became of an earlier one, by its name; empty where nobody knows.
	ended(ctx context.Context, name string) (string, error)
	// commit ends it. An error that wraps errLostAnswer says nothing about its end.
	commit(ctx context.Context) error
	// close undoes what was not committed.
	close(ctx context.Context)
}

// server is a database that is connected to at the first use.
type server interface {
	syntax
	begin(ctx context.Context, p purpose) (tx, error)
	// reader reads its catalogue.
	reader(t tx) catalogues
	// place tells it from others.
	place() string
	// secure says that its connection is encrypted and verified, or needs not be.
	secure() bool
	close() error
}

// catalogues reads what a database says of tables.
type catalogues interface {
	// table is nil where there is none.
	table(ctx context.Context, path []string) (*heldTable, error)
	// exists gives the identity of a table, empty where there is none.
	exists(ctx context.Context, path []string) (string, error)
	// references are the foreign keys that begin or end at the tables.
	references(ctx context.Context, e end, tables []string) ([]reference, error)
	// blind says that foreign keys that end at the tables may be hidden from the role.
	blind(ctx context.Context, tables []string) (bool, error)
}

// end is one of a foreign key.
type end int

const (
	fromEnd end = iota // where its columns are
	toEnd              // what they refer to
)

// refusal is the database's word against a row, and against nothing else.
type refusal struct {
	kind  refusalKind
	name  string // of the constraint
	table string
	text  string // its words, where they quote no value
}

type refusalKind int

const (
	refusedOther refusalKind = iota
	refusedTaken             // something else has the same value
	refusedLength
	refusedForm
)

var (
	// errLostAnswer marks an error of a COMMIT of which nobody knows whether it was done.
	errLostAnswer = errors.New("the answer to COMMIT was lost")
	// errClosed marks what fails because the connection is closed by now.
	errClosed = errors.New("the connection was lost")
)

// dataError finds a refusal in an error of either database.
func dataError(err error) (*refusal, bool) {
	if r, ok := postgresRefusal(err); ok {
		return r, true
	}
	return mysqlRefusal(err)
}

// lostConnection says that an error is of the connection or of the server, and of no
// statement.
func lostConnection(err error) bool {
	return !errors.Is(err, errUnknown) && (networkError(err) || postgresLost(err) || mysqlLost(err))
}

// again says that the database gave up on a transaction for a reason that passes, and has
// done nothing.
func again(err error) bool {
	return postgresPasses(err) || mysqlPasses(err) || lostConnection(err)
}

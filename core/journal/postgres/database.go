package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/pgurl"
	"github.com/stetl/stetl/core/journal"
)

// connections of one process: some to read, one for each scope that writes, one to renew.
const connections = 6

// database asks a PostgreSQL, in statements that are each a transaction.
type database struct {
	pool  *pgxpool.Pool
	where string // for messages: no user, and no password
}

// Where says which database an address is about: without who signs in.
func Where(url canonical.Secret) string {
	a, err := pgurl.Parse(url.Reveal())
	if err != nil {
		return "PostgreSQL"
	}
	config, err := a.PoolConfig()
	if err != nil {
		return "PostgreSQL"
	}
	c := config.ConnConfig
	return fmt.Sprintf("PostgreSQL %s/%s", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database)
}

func connect(ctx context.Context, url canonical.Secret) (*database, error) {
	a, err := pgurl.Parse(url.Reveal())
	if err != nil {
		return nil, &journal.Error{Code: diag.JournalUnreachable, Text: "the address of the journal cannot be used", Err: err}
	}
	config, err := a.PoolConfig()
	if err != nil {
		return nil, &journal.Error{Code: diag.JournalUnreachable, Text: "the address of the journal cannot be used", Err: err}
	}
	if !a.Sets("pool_max_conns") {
		config.MaxConns = connections
	}
	if !a.Sets("application_name") {
		config.ConnConfig.RuntimeParams["application_name"] = "stetl journal"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, &journal.Error{Code: diag.JournalUnreachable, Text: "the address of the journal cannot be used"}
	}
	return &database{pool: pool, where: Where(url)}, nil
}

func (d *database) exec(ctx context.Context, sql string, args ...any) error {
	_, err := d.pool.Exec(ctx, sql, args...)
	return d.explain(err)
}

// row reads the one row of a query.
func (d *database) row(ctx context.Context, into []any, sql string, args ...any) error {
	return d.explain(d.pool.QueryRow(ctx, sql, args...).Scan(into...))
}

// rows calls scan for each row.
func (d *database) rows(ctx context.Context, scan func(pgx.Rows) error, sql string, args ...any) error {
	rows, err := d.pool.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err != nil {
		return d.explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return d.explain(err)
		}
	}
	return d.explain(rows.Err())
}

// trouble is an error about this journal.
func (d *database) trouble(code diag.Code, text string, err error) error {
	return &journal.Error{Code: code, Text: fmt.Sprintf("the journal in %s %s", d.where, text), Err: err}
}

// explain puts an error of the driver into words, without values and without the address.
func (d *database) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*journal.Error)) || errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, errArgument):
		return err
	case !ok || passing(pg):
		return d.trouble(diag.JournalUnreachable, "cannot be reached", plain(err))
	case pg.Code == "25006":
		return d.trouble(diag.JournalReadOnly, "is on a server that only reads, such as a standby", plain(err))
	case pg.Code == "42501":
		return d.trouble(diag.JournalRights, "may not be used so by this role", plain(err))
	case strings.HasPrefix(pg.Code, "28"), strings.HasPrefix(pg.Code, "3D"):
		return d.trouble(diag.JournalUnreachable, "cannot be reached", plain(err))
	}
	return d.trouble(diag.JournalUnwritable, "has refused", plain(err))
}

// passing says that a server is on its way down or up, so that asking again helps.
func passing(e *pgconn.PgError) bool {
	return strings.HasPrefix(e.Code, "08") || slices.Contains([]string{"57P01", "57P02", "57P03", "53300"}, e.Code)
}

// plain is what a server or a network says: its message can name a table or a constraint, but
// its details have values and the driver's words have the user.
func plain(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s (SQLSTATE %s)", pg.Message, pg.Code)
	}
	text := err.Error()
	if c, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		text = c.Unwrap().Error()
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return errors.New(strings.Join(lines, "; "))
}

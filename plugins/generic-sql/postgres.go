package sqltarget

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresSyntax is that of PostgreSQL.
type postgresSyntax struct{}

func (postgresSyntax) quote(names ...string) string { return pgx.Identifier(names).Sanitize() }

func (postgresSyntax) text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (postgresSyntax) same(a, b string) string { return a + " IS NOT DISTINCT FROM " + b }

func (postgresSyntax) param(n int, c *heldColumn) string {
	return fmt.Sprintf("$%d::text::%s", n, c.typ)
}

func (postgresSyntax) given(t *table) string {
	names, unnest := []string{"stetl_n"}, []string{"$1::int[]"}
	for i := range t.columns {
		names, unnest = append(names, fmt.Sprintf("c%d", i)), append(unnest, fmt.Sprintf("$%d::text[]", i+2))
	}
	return "unnest(" + strings.Join(unnest, ", ") + ") AS w(" + strings.Join(names, ", ") + ")"
}

// rows are column by column, for unnest.
func (postgresSyntax) rows(t *table, rows []pending) []any {
	numbers := make([]int32, len(rows))
	for i := range rows {
		numbers[i] = int32(i)
	}
	out := []any{numbers}
	for i, c := range t.columns {
		list := make([]*string, len(rows))
		for n, r := range rows {
			list[n] = c.held.written(r.values[i])
		}
		out = append(out, list)
	}
	return out
}

func (postgresSyntax) among(expr string, c *heldColumn, texts []string) (string, []any) {
	return expr + " = ANY($1::text[]::" + c.typ + "[])", []any{texts}
}

func (postgresSyntax) updating(table, from, on string, set []string) string {
	return "UPDATE " + table + " AS x SET " + strings.Join(set, ", ") + " FROM " + from + " WHERE " + on
}

func (postgresSyntax) removing(table, from, on string) string {
	return "DELETE FROM " + table + " AS x USING " + from + " WHERE " + on
}

// postgresServer is a server of PostgreSQL.
type postgresServer struct {
	postgresSyntax
	config *pgxpool.Config

	opening sync.Mutex
	pool    *pgxpool.Pool
}

// errURL says nothing of the address, which holds a password.
var errURL = errors.New("the address of the database cannot be read; write it like postgres://user:password@host:5432/database?sslmode=verify-full or mysql://user:password@host:3306/database?ssl-mode=VERIFY_IDENTITY")

func newPostgres(c *Config) (*postgresServer, error) {
	config, err := pgxpool.ParseConfig(c.URL.Reveal())
	if err != nil {
		return nil, errURL
	}
	config.MaxConns = int32(c.connections()) //nolint:gosec // bounded in the configuration
	params := config.ConnConfig.RuntimeParams
	// What values look like must not depend on the role or the database.
	params["timezone"], params["datestyle"], params["intervalstyle"], params["bytea_output"] = "UTC", "ISO", "postgres", "hex"
	params["extra_float_digits"], params["standard_conforming_strings"], params["client_encoding"] = "1", "on", "UTF8"
	if params["application_name"] == "" {
		params["application_name"] = "stetl"
	}
	return &postgresServer{config: config}, nil
}

func (p *postgresServer) place() string {
	c := p.config.ConnConfig
	return fmt.Sprintf("%s:%d/%s", strings.ToLower(c.Host), c.Port, c.Database)
}

func (p *postgresServer) secure() bool {
	c := p.config.ConnConfig
	plain := slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })
	return loopback(c.Host) || strings.HasPrefix(c.Host, "/") || c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify && !plain
}

func (p *postgresServer) connected() (*pgxpool.Pool, error) {
	p.opening.Lock()
	defer p.opening.Unlock()
	if p.pool == nil {
		pool, err := pgxpool.NewWithConfig(context.Background(), p.config) // it does not connect yet
		if err != nil {
			return nil, err
		}
		p.pool = pool
	}
	return p.pool, nil
}

func (p *postgresServer) close() error {
	p.opening.Lock()
	defer p.opening.Unlock()
	if p.pool != nil {
		p.pool.Close()
	}
	return nil
}

func (p *postgresServer) begin(ctx context.Context, why purpose) (tx, error) {
	pool, err := p.connected() //nolint:contextcheck // the pool outlives the call
	if err != nil {
		return nil, err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	if why == writing {
		options = pgx.TxOptions{IsoLevel: pgx.ReadCommitted}
	}
	t := &postgresTx{conn: conn}
	if t.tx, err = conn.BeginTx(ctx, options); err == nil && why == writing {
		// What is checked at the end of a transaction is checked with each row, so that it costs its account only.
		err = t.exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE")
	}
	if err != nil {
		err = t.told(err)
		t.close(ctx)
		return nil, err
	}
	return t, nil
}

func (p *postgresServer) reader(t tx) catalogues { return &postgresCatalogue{p, t} }

// postgresTx is a transaction of it.
type postgresTx struct {
	conn *pgxpool.Conn
	tx   pgx.Tx
}

// told marks an error of a connection that is closed by now.
func (t *postgresTx) told(err error) error {
	if err != nil && t.conn.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", errClosed, err)
	}
	return err
}

func (t *postgresTx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.Exec(ctx, query, args...)
	return t.told(err)
}

func (t *postgresTx) each(ctx context.Context, query string, args []any, f func([]*string) error) error {
	rows, err := t.tx.Query(ctx, query, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return t.told(err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		texts, held := make([]*string, len(raw)), make([]string, len(raw))
		for i, v := range raw {
			if v != nil {
				held[i] = string(v)
				texts[i] = &held[i]
			}
		}
		if err := f(texts); err != nil {
			return err
		}
	}
	rows.Close()
	return t.told(rows.Err())
}

// insert copies rows into the table.
func (t *postgresTx) insert(ctx context.Context, h *heldTable, of *table, rows []pending) error {
	var b bytes.Buffer
	for _, r := range rows {
		for i, c := range of.columns {
			if i > 0 {
				b.WriteByte('\t')
			}
			copyText(&b, c.held.written(r.values[i]))
		}
		b.WriteByte('\n')
	}
	_, err := t.tx.Conn().PgConn().CopyFrom(ctx, &b, "COPY "+h.name+" ("+of.names(postgresSyntax{})+") FROM STDIN")
	return t.told(err)
}

// copyText writes a value in the text form of COPY.
func copyText(b *bytes.Buffer, v *string) {
	if v == nil {
		b.WriteString(`\N`)
		return
	}
	text := *v
	for i := strings.IndexAny(text, "\\\n\r\t"); i >= 0; i = strings.IndexAny(text, "\\\n\r\t") {
		b.WriteString(text[:i])
		switch text[i] {
		case '\\':
			b.WriteString(`\\`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		}
		text = text[i+1:]
	}
	b.WriteString(text)
}

func (t *postgresTx) name(ctx context.Context) (string, error) {
	var id string
	err := t.tx.QueryRow(ctx, "SELECT txid_current()::text").Scan(&id)
	return id, t.told(err)
}

func (t *postgresTx) ended(ctx context.Context, name string) (status string, err error) {
	query := `SELECT CASE WHEN $1::text::bigint <= txid_snapshot_xmax(txid_current_snapshot()) THEN txid_status($1::text::bigint) END`
	err = t.each(ctx, query, []any{name}, func(texts []*string) error {
		status = textOf(texts[0])
		return nil
	})
	return status, err
}

func (t *postgresTx) commit(ctx context.Context) error {
	err := t.tx.Commit(ctx)
	if err == nil {
		return nil
	}
	if _, answered := errors.AsType[*pgconn.PgError](err); !answered || t.conn.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", errLostAnswer, err)
	}
	return err
}

func (t *postgresTx) close(ctx context.Context) {
	if t.conn == nil {
		return
	}
	if t.tx != nil {
		_ = t.tx.Rollback(context.WithoutCancel(ctx)) // nothing after a commit
	}
	t.conn.Release()
	t.conn = nil
}

// postgresRefusal finds the database's word against a row: bad data (22), a broken
// constraint (23), a trigger's or a view's own refusal.
func postgresRefusal(err error) (*refusal, bool) {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || !slices.Contains([]string{"22", "23", "P0", "44", "54", "38", "0A"}, e.Code[:2]) {
		return nil, false
	}
	r := &refusal{name: e.ConstraintName, table: e.TableName, text: e.Message}
	switch e.Code {
	case "23505":
		r.kind = refusedTaken
	case "22001":
		r.kind = refusedLength
	case "22P02", "22P05", "22021", "22003", "22007", "22008":
		r.kind, r.text = refusedForm, e.Code // the message quotes it
	}
	return r, true
}

func postgresLost(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{"08", "57", "53", "28", "3D"}, e.Code[:2])
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting
}

func postgresPasses(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01" || e.Code == "55P03")
}

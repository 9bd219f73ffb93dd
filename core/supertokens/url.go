package supertokens

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/mysqlurl"
	"github.com/stetl/stetl/core/internal/pgurl"
)

// URLProblem is one thing that is wrong with the address of a database.
type URLProblem = pgurl.Problem

// CheckURL says what is wrong with the form of the address of a database, all of it
// at once: the error unwraps to a [URLProblem] for each thing. It does not connect,
// and it repeats nothing of the address but names of settings and of schemas.
func CheckURL(s canonical.Secret) error {
	if IsMySQL(s) {
		a, err := mysqlurl.Parse(s.Reveal())
		if err == nil {
			_, err = a.Config()
		}
		return err
	}
	_, err := parseURL(s)
	return err
}

// CheckSchema says whether a schema that was told is one of those that the address
// names. An address that cannot be read is no matter of it.
func CheckSchema(url canonical.Secret, schema string) error {
	if IsMySQL(url) {
		return checkDatabase(url, schema)
	}
	a, err := pgurl.Parse(url.Reveal())
	if err != nil || schema == "" || len(a.Schemas) == 0 {
		return nil //nolint:nilerr // CheckURL says it
	}
	if slices.ContainsFunc(a.Schemas, func(name string) bool { return named(name, schema) }) {
		return nil
	}
	return &SettingError{[]string{settingSchema}, fmt.Errorf("source.schema is %q, and %s in the address of the database says %s; keep one of them",
		schema, a.SchemaSetting, strings.Join(a.Schemas, ", "))}
}

// checkDatabase is [CheckSchema] for MySQL, where a schema is a database.
func checkDatabase(url canonical.Secret, schema string) error {
	a, err := mysqlurl.Parse(url.Reveal())
	if err != nil || schema == "" || a.Database == "" || a.Database == schema {
		return nil //nolint:nilerr // CheckURL says it
	}
	return &SettingError{[]string{settingSchema}, fmt.Errorf("source.schema is %q, and the address of the database names %q; keep one of them", schema, a.Database)}
}

// URLSchemas are the schemas that the address of a database names in currentSchema,
// schema, search_path or options. The installation is in one of them.
func URLSchemas(url canonical.Secret) []string {
	if a, err := pgurl.Parse(url.Reveal()); err == nil {
		return a.Schemas
	}
	return nil
}

// PoolConfig reads the address of a database for a pool of at most so many
// connections, unless the address says itself how many.
func PoolConfig(url canonical.Secret, connections int) (*pgxpool.Config, error) {
	a, err := pgurl.Parse(url.Reveal())
	if err != nil {
		return nil, err
	}
	config, err := a.PoolConfig()
	if err != nil {
		return nil, err
	}
	if !a.Sets("pool_max_conns") {
		config.MaxConns = int32(min(max(connections, 1), 1000))
	}
	return config, nil
}

func parseURL(url canonical.Secret) (*pgx.ConnConfig, error) {
	config, err := PoolConfig(url, 1)
	if err != nil {
		return nil, err
	}
	return config.ConnConfig, nil
}

// narrow limits a search to the schemas that the address of the database names. Its
// errors then say where the limit comes from.
func (o Options) narrow(c *catalog) (Options, *catalog, error) {
	if o.URL.IsZero() {
		return o, c, nil
	}
	if IsMySQL(o.URL) { // which lists no other database than the one that is named
		return o, c, CheckSchema(o.URL, o.Schema)
	}
	a, err := pgurl.Parse(o.URL.Reveal())
	if err != nil || len(a.Schemas) == 0 {
		return o, c, err
	}
	if err := CheckSchema(o.URL, o.Schema); err != nil || o.Schema != "" {
		return o, c, err
	}
	within := *c
	within.where = fmt.Sprintf("%s (its address says %s: %s)", c.where, a.SchemaSetting, strings.Join(a.Schemas, ", "))
	if len(a.Schemas) == 1 {
		o.Schema, o.schemaOfURL = a.Schemas[0], true
		return o, &within, nil
	}
	within.tables = nil
	for _, r := range c.tables {
		if slices.ContainsFunc(a.Schemas, func(told string) bool { return named(r.schema, told) }) {
			within.tables = append(within.tables, r)
		}
	}
	return o, &within, nil
}

// connectError words an attempt to connect for a person: pgx lists every
// address with and without TLS, a line for each.
type connectError struct {
	where string
	cause error
}

func (e *connectError) Unwrap() error { return e.cause }

func (e *connectError) Error() string {
	text := e.cause.Error()
	if c, ok := errors.AsType[*pgconn.ConnectError](e.cause); ok {
		text = c.Unwrap().Error()
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	// sslmode=prefer, the default, goes on without TLS.
	const noTLS = "tls error: server refused TLS connection"
	if rest := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasSuffix(l, noTLS) }); len(rest) > 0 {
		lines = rest
	}
	return fmt.Sprintf("connect to %s: %s; %s", e.where, strings.Join(lines, "; "), e.remedy())
}

func (e *connectError) remedy() string {
	switch state := sqlState(e.cause); {
	case strings.HasPrefix(state, "28"):
		return "check the user, the password, and that pg_hba.conf lets this role in from here"
	case state == "3D000":
		return "check the name of the database"
	case state == "42704":
		return "leave out of the url what PostgreSQL does not know"
	case state == "08P01": // PgBouncer, about a parameter that it does not track
		return "leave out of the url what the pooler in front of PostgreSQL does not take, or go around the pooler"
	case state == "53300":
		return "three connections are needed; free some, or raise the limit of the role or the server"
	case state != "":
		return "the server says why"
	case strings.Contains(e.cause.Error(), "tls"):
		return "check sslmode and sslrootcert"
	}
	return "check the host and the port, and that the server accepts connections from here"
}

const lockNotAvailable = "55P03"

// sqlState is the code of a server's error, empty for other ones.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// Package pgurl reads the address of a PostgreSQL database as people have it: a
// URI of libpq or of an ORM, a JDBC URL, keywords and values, a connection string
// of .NET, with the quotes or the command around it that were copied along.
//
// What cannot be read is refused with every problem at once. The text may have a
// password anywhere, also where nobody meant to put one, so nothing of it is ever
// repeated but names of settings, and schemas. Nothing here asks the network.
package pgurl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout bounds each connection attempt unless the address says otherwise.
const connectTimeout = 15 * time.Second

// Address is an address that has been understood.
type Address struct {
	// Schemas are where the address sends who names a table without its schema;
	// none when it does not say. Names are as in the catalog.
	Schemas []string
	// SchemaSetting is the setting that names Schemas, for messages.
	SchemaSetting string

	settings map[string]string // by keyword of libpq, or pgx
	tls13    bool
}

// Problem is one thing that keeps an address from being used, and what to do.
type Problem struct{ What, Cure string }

func (p Problem) Error() string { return p.What + "; " + p.Cure }

// Error is every problem of an address. It holds no part of a password.
type Error struct{ Problems []Problem }

// Unwrap gives each problem.
func (e *Error) Unwrap() []error {
	out := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		out[i] = p
	}
	return out
}

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the address of the database has %d problems", len(e.Problems))
	for i, p := range e.Problems {
		fmt.Fprintf(&b, " (%d) %s; %s.", i+1, p.What, p.Cure)
	}
	return strings.TrimSuffix(b.String(), ".")
}

// Parse reads an address. The error is an [*Error].
func Parse(text string) (*Address, error) {
	var p problems
	given, form := p.split(unwrap(text))
	j := judge{form: form, out: map[string]string{}, problems: &p}
	j.all(given)
	if len(p.list) > 0 {
		return nil, &Error{p.list}
	}
	return &Address{Schemas: j.schemas, SchemaSetting: j.schemaSetting, settings: j.out, tls13: j.tls.only13}, nil
}

// PoolConfig is the address for pgx. What the address leaves out comes from where
// libpq takes it: the environment, a service file, a password file. Statements are
// not prepared, because that does not survive a pooler in transaction mode.
func (a *Address) PoolConfig() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(a.conninfo())
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("the address of the database names a file that cannot be read: %w", file)
	}
	if err != nil { // the parser's own words could quote the password
		return nil, errors.New("the address of the database has a setting that cannot be used; check its certificates and keys, its service, and the variables of the environment that begin with PG")
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if a.tls13 {
		require13(config.ConnConfig)
	}
	return config, nil
}

// Sets tells whether the address has a setting, by its keyword.
func (a *Address) Sets(keyword string) bool { return a.settings[keyword] != "" }

func require13(c *pgx.ConnConfig) {
	if c.TLSConfig != nil {
		c.TLSConfig.MinVersion = tls.VersionTLS13
	}
	for _, f := range c.Fallbacks {
		if f.TLSConfig != nil {
			f.TLSConfig.MinVersion = tls.VersionTLS13
		}
	}
}

// conninfo writes the settings as keywords and values, where every character can
// be quoted.
func (a *Address) conninfo() string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(a.settings)) {
		if v := a.settings[k]; v != "" {
			b.WriteString(k + "='" + quote.Replace(v) + "' ")
		}
	}
	return b.String()
}

// problems collects what is wrong, each thing once.
type problems struct {
	list []Problem
	// uncertain is set where no @ says for sure what belongs to a password.
	uncertain bool
}

func (p *problems) add(what, cure string) {
	if next := (Problem{what, cure}); !slices.Contains(p.list, next) {
		p.list = append(p.list, next)
	}
}

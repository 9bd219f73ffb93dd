//go:build unix

package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Database says how to create a database. The zero value is UTF-8 with
// collation C.UTF-8.
type Database struct {
	// Collation is the name of a locale of the operating system, or "icu:" and
	// a language tag such as "icu:en-US".
	Collation string
}

var databases atomic.Int64

// CreateDatabase makes an empty database with a name of its own, drops it at
// the end of the test, and returns its connection URL.
func (s *Server) CreateDatabase(tb testing.TB, opts Database) (dsn string) {
	tb.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := s.exec(tb.Context(), opts.create(name)); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		// The context of the test has ended by now.
		if err := s.exec(context.WithoutCancel(tb.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return s.DSN(name)
}

func (d Database) create(name string) string {
	locale, icu := d.Collation, ""
	if tag, ok := strings.CutPrefix(d.Collation, "icu:"); ok {
		locale, icu = "", " LOCALE_PROVIDER icu ICU_LOCALE "+quote(tag)
	}
	if locale == "" {
		locale = "C.UTF-8"
	}
	return "CREATE DATABASE " + name + " TEMPLATE template0 ENCODING 'UTF8' LOCALE " + quote(locale) + icu
}

func quote(literal string) string { return "'" + strings.ReplaceAll(literal, "'", "''") + "'" }

func (s *Server) exec(ctx context.Context, sql string) error {
	return execute(ctx, s.DSN("postgres"), sql)
}

func execute(ctx context.Context, dsn, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	return errors.Join(err, conn.Close(ctx))
}

// Exec runs sql over a connection of its own, also when the test has ended and
// cleans up.
func Exec(tb testing.TB, dsn, sql string, args ...any) {
	tb.Helper()
	if err := execute(context.WithoutCancel(tb.Context()), dsn, sql, args...); err != nil {
		tb.Fatal(err)
	}
}

// Value is the one value that a query answers with.
func Value[T any](tb testing.TB, dsn, sql string, args ...any) (out T) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	err = conn.QueryRow(ctx, sql, args...).Scan(&out)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		tb.Fatal(err)
	}
	return out
}

// RestorePlain makes a database and loads a plain pg_dump file into it.
func (s *Server) RestorePlain(tb testing.TB, path string, opts Database) (dsn string) {
	tb.Helper()
	dsn = s.CreateDatabase(tb, opts)
	restore := restoreWithoutPsql
	if psql, ok := s.Bin("psql"); ok {
		restore = func(ctx context.Context, dsn, path string) error { return restoreWithPsql(ctx, psql, dsn, path) }
	}
	if err := restore(tb.Context(), dsn, path); err != nil {
		tb.Fatalf("restore %s: %v", path, err)
	}
	return dsn
}

func restoreWithPsql(ctx context.Context, psql, dsn, path string) error {
	cmd := exec.CommandContext(ctx, psql, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", path, "--dbname", dsn)
	cmd.Stdout = io.Discard
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run psql: %w\n%s", err, stderr.Bytes())
	}
	return nil
}

// restoreWithoutPsql reads what pg_dump writes, not everything psql reads: a
// COPY block starts on a line of its own, and lines that start with a backslash
// outside of one are for psql alone.
func restoreWithoutPsql(ctx context.Context, dsn, path string) error {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()

	var sql strings.Builder
	run := func() error {
		defer sql.Reset()
		_, err := conn.Exec(ctx, sql.String()).ReadAll()
		return err
	}
	lines := bufio.NewReader(f)
	for {
		line, readErr := lines.ReadString('\n')
		switch {
		case strings.HasPrefix(line, "COPY ") && strings.HasSuffix(line, " FROM stdin;\n"):
			if err := run(); err != nil {
				return err
			}
			if _, err := conn.CopyFrom(ctx, &copyBlock{lines: lines}, line); err != nil {
				return fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
			}
		case strings.HasPrefix(line, `\`): // \restrict, \unrestrict
		default:
			sql.WriteString(line)
		}
		if errors.Is(readErr, io.EOF) {
			return run()
		}
		if readErr != nil {
			return readErr
		}
	}
}

// copyBlock reads the data of a COPY statement, up to the line "\.".
type copyBlock struct {
	lines *bufio.Reader
	rest  []byte
	end   bool
}

func (c *copyBlock) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.end {
			return 0, io.EOF
		}
		line, err := c.lines.ReadBytes('\n')
		if err != nil {
			return 0, fmt.Errorf("COPY data without an end: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if string(line) == "\\.\n" {
			c.end = true
			return 0, io.EOF
		}
		c.rest = line
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

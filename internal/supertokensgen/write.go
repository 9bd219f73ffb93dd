package supertokensgen

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Options describe a database.
type Options struct {
	Generation Generation
	// Accounts is how many; linked logins come on top.
	Accounts int
	// Seed chooses one of many databases of the same make.
	Seed uint64
}

const header = `--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

`

const trailer = `
--
-- PostgreSQL database dump complete
--

`

// Write writes the database as a plain pg_dump file, which psql restores into
// an empty database. Equal options give equal bytes.
func Write(w io.Writer, o Options) error {
	s, err := loadSchema(o.Generation)
	if err != nil {
		return err
	}
	g := newGenerator(o)
	out := bufio.NewWriterSize(w, 1<<20)
	write := func(text string) { _, _ = out.WriteString(text) } // Flush has the error
	write(header)
	for _, t := range s.tables {
		write(t.create + "\n")
	}
	for _, t := range s.tables {
		if err := g.table(out, t); err != nil {
			return fmt.Errorf("write table %s: %w", t.name, err)
		}
	}
	write("\n" + s.keys + trailer)
	return out.Flush()
}

func (g *generator) table(out *bufio.Writer, t tableSchema) error {
	data, filled := tables[t.name]
	columns := t.columns
	r := row{out: out}
	if filled {
		columns = nil
		for _, c := range data.columns {
			has := slices.Contains(t.columns, c)
			r.has = append(r.has, has)
			if has {
				columns = append(columns, c)
			}
		}
	}
	_, _ = fmt.Fprintf(out, "--\n-- Data for Name: %s; Type: TABLE DATA; Schema: public; Owner: -\n--\n\nCOPY public.%s (%s) FROM stdin;\n",
		t.name, t.name, strings.Join(columns, ", "))
	if data.fixed != nil {
		data.fixed(g, &r)
	}
	if data.rows != nil {
		var a account
		for n := range uint64(g.Accounts) { //nolint:gosec // positive
			g.fill(&a, n)
			data.rows(g, &r, &a)
			if r.err != nil { // a full disk shows before the last table
				return r.err
			}
		}
	}
	_, err := out.WriteString("\\.\n\n")
	return err
}

// row writes the rows of one table. Its methods write one field each, in the
// order of the table's columns; fields of columns that the table lacks go
// nowhere.
type row struct {
	out *bufio.Writer
	err error
	has []bool
	// at is the next field, buf the row so far.
	at  int
	buf []byte
}

// next starts a field and reports whether the table has it.
func (r *row) next() bool {
	has := r.has[r.at]
	r.at++
	if has && len(r.buf) > 0 {
		r.buf = append(r.buf, '\t')
	} else if has {
		r.buf = append(r.buf, '\n') // a mark that end drops: an empty first field is a field
	}
	return has
}

func (r *row) end() {
	if _, err := r.out.Write(append(r.buf[1:], '\n')); err != nil {
		r.err = err
	}
	r.at, r.buf = 0, r.buf[:0]
}

func (r *row) text(s string) *row {
	if r.next() {
		r.buf = append(r.buf, s...)
	}
	return r
}

func (r *row) null() *row { return r.text(`\N`) }

func (r *row) num(n int64) *row {
	if r.next() {
		r.buf = strconv.AppendInt(r.buf, n, 10)
	}
	return r
}

func (r *row) flag(yes bool) *row {
	if yes {
		return r.text("t")
	}
	return r.text("f")
}

func (r *row) uuid(u uuid) *row {
	if r.next() {
		r.buf = appendUUID(r.buf, u)
	}
	return r
}

func (r *row) mail(l *login) *row {
	if l.mail.form == noMail {
		return r.null()
	}
	return r.prefixed("", l)
}

// prefixed writes the login's address with something before it.
func (r *row) prefixed(prefix string, l *login) *row {
	if r.next() {
		r.buf = appendMail(append(r.buf, prefix...), l)
	}
	return r
}

func (r *row) phone(l *login) *row {
	if !l.phone {
		return r.null()
	}
	if r.next() {
		r.buf = appendPhone(r.buf, l)
	}
	return r
}

func appendPhone(b []byte, l *login) []byte {
	return strconv.AppendUint(append(b, "+36"...), 1_000_000_000+l.number, 10)
}

func (r *row) hash(l *login) *row {
	if r.next() {
		r.buf = appendHash(r.buf, l)
	}
	return r
}

func (r *row) subject(l *login) *row {
	if r.next() {
		r.buf = appendSubject(r.buf, l)
	}
	return r
}

func (r *row) secret(d draw) *row {
	if r.next() {
		r.buf = appendSecret(r.buf, d)
	}
	return r
}

func (r *row) externalID(a *account) *row {
	if r.next() {
		r.buf = appendExternal(r.buf, a)
	}
	return r
}

// visible writes the id that applications see of login i; internal asks for
// the other one. Only an account's first login is ever mapped.
func (r *row) visible(a *account, i int, internal bool) *row {
	if i == 0 && a.external && !internal {
		return r.externalID(a)
	}
	return r.uuid(a.all[i].id)
}

func (r *row) metadata(a *account) *row {
	if r.next() {
		r.buf = appendMetadata(r.buf, a)
	}
	return r
}

// eachInfo writes core 12's rows about what identifies a login: the columns
// before and after the info come from the functions.
func (r *row) eachInfo(l *login, before, after func()) {
	provider := ""
	if l.recipe == thirdParty {
		provider = providers[l.provider]
	}
	if l.mail.form != noMail {
		before()
		r.text("email").mail(l).text(provider)
		if r.next() && l.recipe == thirdParty {
			r.buf = appendSubject(r.buf, l)
		}
		after()
	}
	if l.phone {
		before()
		r.text("phone").phone(l).text("").text("")
		after()
	}
	if l.recipe == thirdParty {
		before()
		r.text("tparty")
		if r.next() {
			r.buf = appendSubject(append(append(r.buf, provider...), "::"...), l)
		}
		r.text("").text("")
		after()
	}
}

package sqltarget

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
)

// files writes one script, which is one transaction. Nobody has asked the database: what
// it would have against a row ends the transaction, and nothing of it is done.
type files struct {
	sdk.DefinedRoles
	config Config
	model  *model
	now    time.Time

	mu      sync.Mutex
	folder  folder.Folder
	script  *folder.File
	users   int
	waiting [][]string // rows, by table
}

var _ interface {
	sdk.Target
	sdk.Capable
	sdk.RoleKeeper
	sdk.Checker
	sdk.SignInReporter
	sdk.Planner
	sdk.Finisher
	sdk.Closer
} = (*files)(nil)

const scriptName = "accounts.sql"

func newFiles(c Config, m *model) *files {
	for _, t := range m.tables {
		for _, col := range t.columns {
			col.held = &heldColumn{name: col.name, kind: scripts[c.Dialect].kind, digits: 6} // the database reads every form from a text
		}
	}
	return &files{
		config: c, model: m, now: time.Now(), waiting: make([][]string, len(m.tables)),
		folder: folder.Folder{Dir: c.Out, Users: regexp.MustCompile(`\.sql$`), Unwritable: codeOutUnwritable, ForeignFiles: codeOutForeignFiles},
	}
}

// Capabilities implements [sdk.Capable].
func (t *files) Capabilities() sdk.Capabilities { return capabilities(t.config, t.model) }

// Check implements [sdk.Checker].
func (t *files) Check(context.Context, sdk.Needs) sdk.Diagnostics { return t.folder.Check() }

// decide makes the rows of a user. There is nothing to compare them with.
func (t *files) decide(u *sdk.User) *account {
	a := build(t.model, u, t.now)
	if !a.rejected() {
		a.Outcome = sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: a.id, Losses: a.losses}
	}
	return a
}

// Plan implements [sdk.Planner].
func (t *files) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		out.Report(sdk.Change{Outcome: t.decide(&users[i]).Outcome})
	}
	return nil
}

// Load implements [sdk.Target]. Nothing counts before Finish.
func (t *files) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.folder.Start(); err != nil {
		return err
	}
	for i := range users {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		a := t.decide(&users[i])
		if !a.rejected() {
			t.users++
			for _, r := range a.wanted {
				t.waiting[r.table.at] = append(t.waiting[r.table.at], r.literals(scripts[t.config.Dialect].literal))
			}
		}
		out.Report(a.Outcome)
	}
	if err := t.flush(); err != nil { // so that memory holds one batch
		return t.folder.Failed(err)
	}
	return nil
}

// script is how one is written for a kind of database.
type script struct {
	syntax
	head    string
	literal func(string) string
	kind    kind // of values, before anybody has looked at the columns
}

const scriptSays = `-- Accounts for the tables of an application, as one transaction: all of it is done, or
-- nothing. It holds personal data and password hashes.
`

var scripts = map[string]script{
	dialectPostgres: {
		postgresSyntax{}, scriptSays + `--   psql --set ON_ERROR_STOP=1 --file accounts.sql "$APP_DATABASE_URL"
BEGIN;
SET LOCAL TIME ZONE 'UTC';
`, literal, kindText,
	},
	dialectMySQL: {
		mysqlSyntax{}, scriptSays + `--   mariadb --default-character-set=utf8mb4 app < accounts.sql
SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';
START TRANSACTION;
`, mysqlLiteral, kindLoose,
	},
}

const scriptEnd = "COMMIT;\n"

// flush writes the rows that wait: those of a table that others refer to come first.
func (t *files) flush() (err error) {
	if t.script == nil {
		if t.script, err = t.folder.Create(scriptName); err != nil {
			return err
		}
		if _, err := t.script.WriteString(scripts[t.config.Dialect].head); err != nil {
			return err
		}
	}
	for n, rows := range t.waiting {
		if len(rows) == 0 {
			continue
		}
		t.waiting[n] = nil
		table := t.model.tables[n]
		s := scripts[t.config.Dialect]
		if _, err := fmt.Fprintf(t.script, "INSERT INTO %s (%s) VALUES\n%s;\n", s.quote(pathOf(t.config.Schema, table.Name)...), table.names(s), strings.Join(rows, ",\n")); err != nil {
			return err
		}
	}
	return nil
}

func (r *row) literals(literal func(string) string) string {
	out := make([]string, len(r.values))
	for i, v := range r.values {
		out[i] = "NULL"
		if !v.null {
			out[i] = literal(v.text)
		}
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// literal is a text as a constant of SQL that no setting and no encoding reads in another
// way: an escape string of printable ASCII, in which the text can end nothing.
func literal(text string) string {
	var b strings.Builder
	b.WriteString("E'")
	for _, c := range text {
		switch {
		case c == '\'':
			b.WriteString("''")
		case c == '\\':
			b.WriteString(`\\`)
		case ' ' <= c && c <= '~':
			b.WriteRune(c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// mysqlLiteral is a text as a constant that no setting reads in another way: as it is where
// it has nothing that could be escaped or end it, and else its bytes.
func mysqlLiteral(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' || c == '\'' || c == '\\' }) {
		return mysqlSyntax{}.text(text)
	}
	return "'" + text + "'"
}

// Finish implements [sdk.Finisher]. A run that loaded nobody leaves the folder alone.
func (t *files) Finish(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.script != nil {
		if t.config.Permissions.declared() {
			if _, err := t.script.WriteString(t.config.Permissions.script(&t.config, allowing(&t.DefinedRoles))); err != nil {
				return t.folder.Failed(err)
			}
		}
		_, err := t.script.WriteString(scriptEnd)
		err = errors.Join(err, t.script.Close())
		t.script = nil
		if err != nil {
			return t.folder.Failed(err)
		}
	}
	return t.folder.Commit(t.users)
}

// Close implements [sdk.Closer]: what was not finished disappears.
func (t *files) Close(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.script != nil {
		err, t.script = t.script.Close(), nil
	}
	return errors.Join(err, t.folder.Discard())
}

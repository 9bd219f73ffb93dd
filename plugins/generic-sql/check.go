package sqltarget

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// Check implements [sdk.Checker].
func (t *live) Check(ctx context.Context, needs sdk.Needs) (l sdk.Diagnostics) {
	c, err := catalogueOf(ctx, t.server, t.config, t.model)
	if err != nil {
		if lostConnection(err) {
			return sdk.Diagnostics{unreachable(err)}
		}
		return sdk.Diagnostics{{Code: codeUnreachable, Path: "/url", Summary: "the catalogue cannot be read: " + plainError(err)}}
	}
	if d := (&whereabouts{t.config, t.server, t.env}).other(); d != nil {
		l.Add(*d)
	}
	if !t.server.secure() {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeUnencrypted, Path: "/url", Summary: "password hashes may cross the network in clear text, or go to a server that was not verified",
			Hint: "add sslmode=verify-full to the url, or ssl-mode=VERIFY_IDENTITY for MySQL",
		})
	}
	says := &declared{t.config, t.model}
	l = append(l, says.fits(c)...)
	if !needs.DryRun && !l.HasErrors() {
		l = append(l, says.rights(c)...)
	}
	found, err := checkPermissions(ctx, t, needs.DryRun)
	if err != nil {
		found.Add(sdk.Diagnostic{Code: codeUnreachable, Path: "/url", Summary: "the table of permissions cannot be read: " + plainError(err)})
	}
	l = append(l, found...)
	if c.blind && !needs.DryRun {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codePrivilege, Path: "/url", Summary: "tables that refer to users may be hidden from this role, so undo would remove no account",
			Hint: "GRANT SELECT on the whole database to the role",
		})
	}
	if t.model.passwords() && len(t.config.Hashes) == 0 && len(needs.Schemes)+needs.Resets > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeNoHashes, Path: "/hashes", Summary: "the configuration does not say which password hashes the application verifies, so everybody with a password needs a reset",
			Hint: "let the application verify them, as docs/generic-sql.md shows, then list them in hashes",
		})
	}
	return l
}

// declared is what the configuration says of the database.
type declared struct {
	config Config
	model  *model
}

// fits holds the declarations against the catalogue, and reports all that is wrong.
func (t *declared) fits(c *catalogue) (l sdk.Diagnostics) {
	seen := map[string]bool{}
	for _, table := range t.model.tables {
		h := c.of(table)
		if h == nil {
			if !seen[table.Name] {
				l.Add(sdk.Diagnostic{
					Code: codeTableMissing, Path: t.path(table), Summary: fmt.Sprintf("there is no table %s in the schema %s, or this role may not see it", table.Name, t.config.Schema),
					Hint: "create it with the application's own migrations, or correct the declaration",
				})
			}
			seen[table.Name] = true
			continue
		}
		if !h.transactional && !seen[table.Name] {
			l.Add(sdk.Diagnostic{
				Code: codeNotTransactional, Path: t.path(table), Summary: fmt.Sprintf("the table %s does not support transactions", table.Name),
				Hint: fmt.Sprintf("ALTER TABLE %s ENGINE = InnoDB", h.name),
			})
			seen[table.Name] = true
		}
		l = append(l, t.columnsFit(table, h)...)
	}
	if h := c.of(t.model.accounts()); h != nil {
		key := t.model.accounts().Key
		if !slices.ContainsFunc(h.unique, func(u *uniqueIndex) bool {
			return u.predicate == "" && slices.Equal(u.columns, key)
		}) {
			l.Add(sdk.Diagnostic{
				Code: codeKeyNotUnique, Path: t.path(t.model.accounts(), "key"), Summary: fmt.Sprintf("several rows of %s may have the same %s", h.plain, strings.Join(key, ", ")),
				Hint: "name the primary key, or create a unique index",
			})
		}
	}
	return l
}

// path is where the configuration declares something: a preset's own tables have no line
// there.
func (t *declared) path(table *table, steps ...string) string {
	if t.config.Preset != "" {
		return "/preset"
	}
	return sdk.Pointer(append([]string{"tables", strconv.Itoa(table.at)}, steps...)...)
}

// identityIndex is a unique index about identities alone, whosever they are; nil where there
// is none.
func identityIndex(t *table, h *heldTable) *uniqueIndex {
	if t.Per != perIdentity && t.Per != perLogin {
		return nil
	}
	for _, u := range h.unique {
		varies := false
		alone := u.predicate == "" && !slices.ContainsFunc(u.columns, func(name string) bool {
			i := slices.IndexFunc(t.columns, func(c *column) bool { return c.name == name })
			if i < 0 {
				return true
			}
			varies = varies || !t.columns[i].fixed
			return len(t.columns[i].source.uses) > 0 // of the account
		})
		if alone && varies {
			return u
		}
	}
	return nil
}

func (t *declared) columnsFit(table *table, h *heldTable) (l sdk.Diagnostics) {
	bad := func(code sdk.Code, name, summary, hint string) {
		l.Add(sdk.Diagnostic{Code: code, Path: t.path(table, "columns", name), Summary: fmt.Sprintf("%s.%s %s", table.Name, name, summary), Hint: hint})
	}
	for _, col := range table.columns {
		held := h.column(col.name)
		switch {
		case held == nil:
			bad(codeColumnMissing, col.name, "is not there", closest(h, col.name))
			continue
		case held.always:
			bad(codeColumnGenerated, col.name, "is generated by the database", "remove it from the declaration")
		case col.fixed:
			v, err := col.source.eval(&item{})
			if err == nil {
				var made value
				if made, err = held.canonical(v); err == nil {
					err = held.allows(made)
				}
			}
			if err != nil {
				bad(codeColumnType, col.name, fmt.Sprintf("is of the type %s, which does not take the constant: %v", held.typ, err), "")
			}
		}
		if slices.Contains(col.source.uses, "email") && !slices.Contains(t.config.Unique, "email") {
			for _, u := range h.unique {
				if len(u.exprs) == 1 && u.predicate == "" && u.names(col) {
					bad(codeUniqueUndeclared, col.name, "must be unique ("+u.name+")", "add unique: [email], so that the policies decide which account keeps it")
				}
			}
		}
		if u := identityIndex(table, h); u != nil && u.columns[0] == col.name && !slices.Contains(t.config.Unique, string(sdk.IdentifierIdentity)) {
			bad(codeUniqueUndeclared, col.name, "may hold every identity once only ("+u.name+")", "add identity to unique, so that the policies decide who keeps it")
		}
		if held.ignoresCase && col.source.isField("email") && slices.Contains(t.config.Unique, "email") && !slices.Contains(t.config.FoldsCase, "email") {
			bad(codeUniqueUndeclared, col.name, "is compared by the database without regard to case", "add folds_case: [email], so that the policies decide which account keeps an address")
		}
		if col == table.account && table == t.model.accounts() && held.length > 0 && held.length < t.config.IDLength {
			l.Add(sdk.Diagnostic{
				Severity: sdk.Warning, Code: codeColumnType, Path: "/id_length", Summary: fmt.Sprintf("%s.%s allows %d characters, but id_length is %d", table.Name, col.name, held.length, t.config.IDLength),
				Hint: fmt.Sprintf("set id_length: %d, so that the policy for long ids decides", held.length),
			})
		}
	}
	for _, held := range h.columns {
		if !held.optional() && table.index(held.name) < 0 {
			bad(codeColumnRequired, held.name, "must have a value, and gets none", "declare it, or give it a default in the database")
		}
	}
	return l
}

func closest(h *heldTable, name string) string {
	for _, c := range h.columns {
		if strings.EqualFold(strings.ReplaceAll(c.name, "_", ""), strings.ReplaceAll(name, "_", "")) {
			return fmt.Sprintf("did you mean %q?", c.name)
		}
	}
	return ""
}

// rights are those that a load needs and the role lacks.
func (t *declared) rights(c *catalogue) (l sdk.Diagnostics) {
	for _, p := range c.physical(t.model) {
		var lacks []string
		for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
			if !p.held.rights[right] && slices.ContainsFunc(p.columns, func(col *heldColumn) bool { return col != nil && !col.rights[right] }) {
				lacks = append(lacks, right)
			}
		}
		if !p.held.rights["DELETE"] {
			lacks = append(lacks, "DELETE")
		}
		if len(lacks) > 0 {
			l.Add(sdk.Diagnostic{
				Code: codePrivilege, Path: "/url", Summary: fmt.Sprintf("the role lacks %s on %s", strings.Join(lacks, ", "), p.held.plain),
				Hint: fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO the role", p.held.name),
			})
		}
	}
	return l
}

const placeKey = "database"

// whereabouts tell one database from another.
type whereabouts struct {
	config Config
	server server
	env    sdk.Env
}

// other says that the journal is of another database: what it remembers is of no use
// here, and would leave people out.
func (t *whereabouts) other() *sdk.Diagnostic {
	was, known := t.env.Journal.Get(placeKey)
	if !known || string(was) == t.env.Fingerprints.Of(t.server.place()) {
		return nil
	}
	return &sdk.Diagnostic{
		Code: codeOtherDatabase, Path: "/url", Summary: fmt.Sprintf("the data of the name %q in the journal belongs to another database than that of the url", t.config.Name),
		Hint: "set another name in target.config.name; if it is the same database with a new address, do that, too, and load again: nothing is written twice",
	}
}

// keep notes which database it is.
func (t *whereabouts) keep(ctx context.Context) error {
	if d := t.other(); d != nil {
		return sdk.Diagnostics{*d}.Err()
	}
	if _, known := t.env.Journal.Get(placeKey); known {
		return nil
	}
	return t.env.Journal.Put(ctx, placeKey, []byte(t.env.Fingerprints.Of(t.server.place())))
}

package sqltarget

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// Permissions declares the table of what roles allow: a row for each permission of a role.
type Permissions struct {
	Table      string `json:"table" jsonschema:"table, or schema.table"`
	Role       string `json:"role" jsonschema:"column that gets the name of the role"`
	Permission string `json:"permission" jsonschema:"column that gets the permission"`
}

// declared says that there is a table.
func (p *Permissions) declared() bool { return p.Table != "" }

// incomplete says that a name is missing.
func (p *Permissions) incomplete() bool {
	return *p != (Permissions{}) && (p.Table == "" || p.Role == "" || p.Permission == "")
}

// allowing are the roles that allow something, by name.
func allowing(d *sdk.DefinedRoles) (all []sdk.Role) {
	allowed := d.Allowed()
	for _, name := range sortedKeys(allowed) {
		if len(allowed[name]) > 0 {
			all = append(all, sdk.Role{Name: name, Permissions: allowed[name]})
		}
	}
	return all
}

// adding is a statement that gives a role its rows, unless it has any: a role that was there
// before keeps what it has. values are the name of the role, its permissions, and the name
// again, as they stand in the statement.
func (p *Permissions) adding(s syntax, table string, values []string) string {
	var rows []string
	for _, permission := range values[1 : len(values)-1] {
		rows = append(rows, permission+" AS stetl_p")
	}
	return fmt.Sprintf("INSERT INTO %s (%s, %s)\nSELECT %s, x.stetl_p FROM (SELECT %s) x\nWHERE NOT EXISTS (SELECT 1 FROM %s y WHERE y.%s = %s)",
		table, s.quote(p.Role), s.quote(p.Permission), values[0], strings.Join(rows, " UNION ALL SELECT "), table, s.quote(p.Role), values[len(values)-1])
}

// script is the statements for a file.
func (p *Permissions) script(c *Config, roles []sdk.Role) string {
	var b strings.Builder
	how := scripts[c.Dialect]
	for _, r := range roles {
		name := how.literal(r.Name)
		values := []string{name}
		for _, permission := range r.Permissions {
			values = append(values, how.literal(permission))
		}
		b.WriteString(p.adding(how, how.quote(pathOf(c.Schema, p.Table)...), append(values, name)) + ";\n")
	}
	return b.String()
}

// keeper looks at the declared table, and writes it, in one transaction.
type keeper struct {
	*live
	tx    tx
	table *heldTable
	// columns are those of the role and of the permission.
	columns [2]*heldColumn
}

// openKeeper opens the table; its problems are those of the declaration.
func openKeeper(ctx context.Context, t *live, tx tx) (*keeper, sdk.Diagnostics, error) {
	p, k := &t.config.Permissions, &keeper{live: t, tx: tx}
	var err error
	if k.table, err = t.server.reader(tx).table(ctx, pathOf(t.config.Schema, p.Table)); err != nil {
		return nil, nil, err
	}
	if k.table == nil {
		return nil, sdk.Diagnostics{{
			Code: codeTableMissing, Path: "/permissions/table", Summary: fmt.Sprintf("there is no table %s in the schema %s, or this role may not see it", p.Table, t.config.Schema),
			Hint: "create it with the application's own migrations, or correct the declaration",
		}}, nil
	}
	var l sdk.Diagnostics
	for i, name := range []string{p.Role, p.Permission} {
		if k.columns[i] = k.table.column(name); k.columns[i] == nil {
			l.Add(sdk.Diagnostic{
				Code: codeColumnMissing, Path: "/permissions/" + []string{"role", "permission"}[i], Summary: fmt.Sprintf("%s.%s is not there", p.Table, name), Hint: closest(k.table, name),
			})
		}
	}
	return k, l, nil
}

// lacks are the rights that writing needs and the role does not have.
func (k *keeper) lacks() (l sdk.Diagnostics) {
	for _, right := range []string{"SELECT", "INSERT"} {
		if !k.table.rights[right] {
			l.Add(sdk.Diagnostic{
				Code: codePrivilege, Path: "/url", Summary: fmt.Sprintf("the role lacks %s on %s", right, k.config.Permissions.Table), Hint: fmt.Sprintf("GRANT SELECT, INSERT ON %s TO the role", k.table.name),
			})
		}
	}
	return l
}

// has are the permissions that a role has in the table.
func (k *keeper) has(ctx context.Context, role string) (out []string, err error) {
	p, s := &k.config.Permissions, k.server
	query := fmt.Sprintf("SELECT x.%s FROM %s x WHERE x.%s = %s", s.quote(p.Permission), k.table.name, s.quote(p.Role), s.param(1, k.columns[0]))
	err = k.tx.each(ctx, query, []any{role}, func(row []*string) error {
		if row[0] != nil {
			out = append(out, *row[0])
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// add gives a role its rows, unless it has any.
func (k *keeper) add(ctx context.Context, r sdk.Role) error {
	if has, err := k.has(ctx, r.Name); err != nil || len(has) > 0 {
		return err
	}
	p, s := &k.config.Permissions, k.server
	for some := range slices.Chunk(r.Permissions, rowsAtOnce) {
		var rows []string
		var args []any
		for _, permission := range some {
			rows = append(rows, fmt.Sprintf("(%s, %s)", s.param(len(args)+1, k.columns[0]), s.param(len(args)+2, k.columns[1])))
			args = append(args, r.Name, permission)
		}
		query := fmt.Sprintf("INSERT INTO %s (%s, %s) VALUES %s", k.table.name, s.quote(p.Role), s.quote(p.Permission), strings.Join(rows, ", "))
		if err := k.tx.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// rowsAtOnce keeps a statement far below the 65,535 parameters that it may have.
const rowsAtOnce = 1000

// finishing ends a run into a database.
type finishing struct{ of *live }

// Finish implements [sdk.Finisher]: roles that have no row in the declared table get theirs.
// Accounts are complete whatever comes of it, so that a failure only is logged; the next run
// tries again.
func (f finishing) Finish(ctx context.Context) error {
	if err := addPermissions(ctx, f.of); err != nil {
		f.of.env.Log.WarnContext(ctx, "what roles allow at the source could not be written; no account is affected", "code", codeRolePermissions, "error", plainError(err))
	}
	return nil
}

func addPermissions(ctx context.Context, t *live) error {
	roles := allowing(&t.DefinedRoles)
	if !t.config.Permissions.declared() || len(roles) == 0 {
		return nil
	}
	err := addAtOnce(ctx, t, roles)
	if err == nil || len(roles) == 1 {
		return err
	}
	// One that the table does not take costs the others nothing.
	failed := 0
	for _, r := range roles {
		if alone := addAtOnce(ctx, t, []sdk.Role{r}); alone != nil {
			failed, err = failed+1, fmt.Errorf("role %s: %w", r.Name, alone)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d roles: %w", failed, len(roles), err)
}

// addAtOnce gives all of the roles their rows, or none.
func addAtOnce(ctx context.Context, t *live, roles []sdk.Role) error {
	tx, err := t.server.begin(ctx, writing)
	if err != nil {
		return err
	}
	defer tx.close(ctx)
	k, problems, err := openKeeper(ctx, t, tx)
	if err == nil {
		err = problems.Err()
	}
	for _, r := range roles {
		if err == nil {
			err = k.add(ctx, r)
		}
	}
	if err != nil {
		return err
	}
	return tx.commit(ctx)
}

// checkPermissions holds the declaration against the database, and names roles that are in
// the table with other permissions.
func checkPermissions(ctx context.Context, t *live, dry bool) (sdk.Diagnostics, error) {
	if !t.config.Permissions.declared() {
		return nil, nil
	}
	tx, err := t.server.begin(ctx, asking)
	if err != nil {
		return nil, err
	}
	defer tx.close(ctx)
	k, l, err := openKeeper(ctx, t, tx)
	if err != nil || len(l) > 0 {
		return l, err
	}
	if !dry {
		l = k.lacks()
	}
	for _, r := range allowing(&t.DefinedRoles) {
		if !k.table.rights["SELECT"] {
			break
		}
		has, err := k.has(ctx, r.Name)
		if err != nil {
			return l, err
		}
		if len(has) > 0 && !slices.Equal(has, slices.Sorted(slices.Values(r.Permissions))) {
			l.Add(sdk.Diagnostic{
				Severity: sdk.Warning, Code: codeRolePermissions, Path: "/permissions/table",
				Summary: fmt.Sprintf("the role %s is in %s already and keeps its %d permissions there; in the source it has %d, and not all are the same", r.Name, k.config.Permissions.Table, len(has), len(r.Permissions)),
				Hint:    "change them by hand, or delete its rows to get those of the source",
			})
		}
	}
	return l, nil
}

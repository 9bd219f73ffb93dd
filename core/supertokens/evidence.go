package supertokens

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// GapCode says in what way a source is not whole. An operator can accept a gap by
// its code; then what is there is read.
type GapCode string

// The ways.
const (
	GapTable       GapCode = "source.table_missing"
	GapColumn      GapCode = "source.column_missing"
	GapRows        GapCode = "source.rows_missing"
	GapRowSecurity GapCode = "source.row_security"
	GapEmptyApp    GapCode = "source.app_empty"
	GapUpgrade     GapCode = "source.upgrade_unfinished"
	GapMode        GapCode = "source.migration_mode"
)

// GapCodes lists them.
func GapCodes() []GapCode {
	return []GapCode{GapTable, GapColumn, GapRows, GapRowSecurity, GapEmptyApp, GapUpgrade, GapMode}
}

// Gap is something that is missing from a source, with what proves that it is.
type Gap struct {
	Code GapCode `json:"code"`
	// Table is the core's name of the table concerned, empty when it is no one table.
	Table TableName `json:"table,omitempty"`
	// Detail is a sentence: what is missing, what proves it, what to do.
	Detail string `json:"detail"`
	// Proof is the part of the sentence that several gaps may have in common.
	Proof string `json:"proof,omitempty"`
	// Count is how many rows are known to be missing, 0 when nobody can tell.
	Count int `json:"count,omitempty"`
}

// IncompleteError refuses a source of which something is missing. Reading on would
// lose accounts, or parts of them, without a word.
type IncompleteError struct{ Gaps []Gap }

func (e *IncompleteError) Error() string {
	var out []string
	for _, text := range e.ByCode() {
		out = append(out, text)
	}
	return "the source is not complete: " + strings.Join(out, "; ")
}

// ByCode gives the gaps of each code as one text.
func (e *IncompleteError) ByCode() iter.Seq2[GapCode, string] {
	return func(yield func(GapCode, string) bool) {
		for _, code := range GapCodes() {
			if text := e.text(code); text != "" && !yield(code, text) {
				return
			}
		}
	}
}

func (e *IncompleteError) text(code GapCode) string {
	var out []string
	for _, g := range e.Gaps {
		if g.Code != code {
			continue
		}
		switch same := e.alike(g); {
		case len(same) == 1:
			out = append(out, g.Detail)
		case len(same) > 1:
			out = append(out, fmt.Sprintf("tables %s are missing, and %s; restore them, dump the whole schema, or name those that were renamed in source.tables", strings.Join(same, ", "), g.Proof))
		}
	}
	return strings.Join(out, "; ")
}

// Readable reports whether anything can be read when the gaps are accepted: without the
// list of users of core 6.0 and newer nobody can say who there is.
func (e *IncompleteError) Readable() bool {
	return !slices.ContainsFunc(e.Gaps, func(g Gap) bool { return g.Code == GapTable && g.Table == Spine })
}

// alike lists the tables of the gaps with the same proof, so that they are one
// sentence; none after the first of them.
func (e *IncompleteError) alike(g Gap) []string {
	if g.Code != GapTable || g.Proof == "" {
		return []string{string(g.Table)}
	}
	var tables []string
	for _, other := range e.Gaps {
		if other.Code == g.Code && other.Proof == g.Proof {
			tables = append(tables, string(other.Table))
		}
	}
	if len(tables) > 1 && tables[0] != string(g.Table) {
		return nil
	}
	return tables
}

// evidence is what is known about the age of an installation.
type evidence struct {
	from rows
	c    *catalog
	l    *Layout
	// ceiling is the release that the installation is older than, judged by what
	// each newer core needs. A newer core that was started once on it has failed and
	// may have left tables of its own, which are empty.
	ceiling release
	// because says for the release that is proven what proves it.
	because string
	gaps    []Gap
}

// detect finds the one installation that the options describe, proves which cores
// have used it, and says what is missing of what these cores make.
func detect(ctx context.Context, c *catalog, from rows, o Options) (*Layout, []Gap, error) {
	l, err := find(ctx, c, from, o)
	if err != nil {
		return nil, nil, err
	}
	e, err := judge(ctx, c, from, l)
	if err != nil {
		return nil, nil, err
	}
	if !l.Generation.hasUsers() {
		return nil, nil, fmt.Errorf("%w with users in %s: it holds sessions only, as those of SuperTokens core 1 or 2 do, and no table %s; there are no users to move",
			ErrNotSuperTokens, c.where, l.called(EmailPasswordUsers))
	}
	e.missingTables()
	e.missingColumns()
	e.hiddenRows()
	for _, look := range []func(context.Context) error{e.unknownOwners, e.unmoved} {
		if err := look(ctx); err != nil {
			return nil, nil, err
		}
	}
	if err := e.unreadable(); err != nil {
		return nil, nil, err
	}
	return l, e.gaps, nil
}

// judge proves the age of an installation.
func judge(ctx context.Context, c *catalog, from rows, l *Layout) (*evidence, error) {
	e := &evidence{from: from, c: c, l: l, ceiling: ceiling(l)}
	if prepared, err := onlyPrepared(ctx, from, l); err != nil {
		return nil, err
	} else if prepared {
		e.ceiling = core(12, 0)
	}
	e.proves(core(1, 0), "there are tables of the core")
	for _, common := range []bool{false, true} {
		if common && !l.atLeast(core(3, 5)) {
			break // beside tables of the first cores, these are an application's own
		}
		for i := range schema {
			t := &schema[i]
			r := l.tables[t.name]
			if r == nil || t.common != common || common && !t.fitsExactly(r) {
				continue
			}
			if err := e.table(ctx, t, r); err != nil {
				return nil, err
			}
		}
	}
	e.others()
	l.Generation = generationOf(l.proven)
	e.forget()
	return e, nil
}

// ceiling judges by columns that a core cannot work without and that it does not add
// to tables that are there.
func ceiling(l *Layout) release {
	users, list := l.tables[EmailPasswordUsers], l.tables[Spine]
	switch {
	case users != nil && !users.has(appColumn):
		return core(6, 0)
	case list != nil && !list.has("primary_or_recipe_user_id"):
		return core(7, 0)
	case list != nil && !list.has("time_joined"):
		return core(12, 0)
	default:
		return core(1000, 0)
	}
}

// onlyPrepared reports whether the list of users has the columns of core 12 and no
// core 12 has filled them: then the statements of its upgrade have been run, and it
// has not made its tables yet.
func onlyPrepared(ctx context.Context, from rows, l *Layout) (bool, error) {
	list := l.tables[Spine]
	if list == nil || !list.readable || list.empty || !list.has("time_joined") || l.tables[RecipeUserTenants] != nil || l.tables[RecipeUserAccountInfos] != nil {
		return false, nil
	}
	dated := false
	err := from.scan(ctx, list, "", []string{"time_joined"}, func(v [][]byte) error {
		dated = dated || string(v[0]) != "0"
		return nil
	})
	return !dated, err
}

// proves notes that the installation is of this release or a younger one.
func (e *evidence) proves(r release, because string) {
	if r > e.l.proven {
		e.l.proven, e.because = r, because
	}
}

// table takes what one table proves by being there, by its columns, their types and
// its indexes.
func (e *evidence) table(ctx context.Context, t *tableSpec, r *relation) error {
	if e.tooYoung(t, r) {
		if !t.role.matters() || t.role == roleApp {
			return nil
		}
		filled, err := e.filled(ctx, r)
		if err != nil || !filled {
			return err // left behind by a newer core that could not start
		}
		e.gaps = append(e.gaps, Gap{Code: GapUpgrade, Table: t.name, Detail: fmt.Sprintf(
			"table %s of %s has rows and is one of core %s, while other tables are as cores before %s make them: an upgrade was stopped halfway; finish it, or restore the state before it",
			r.qualified(), e.c.where, t.since, e.ceiling)})
		return nil
	}
	e.proves(t.since, "table "+r.name)
	for i, name := range r.columns {
		c := t.column(name)
		if c == nil {
			continue
		}
		if t.firstOf(c) < e.ceiling {
			e.proves(t.firstOf(c), fmt.Sprintf("column %s of table %s", name, r.name))
		}
		if w := c.widthSince(r.typeOf(i)); w != 0 {
			e.proves(w, fmt.Sprintf("the type of column %s in table %s", name, r.name))
		}
	}
	for _, x := range t.indexes {
		if r.hasIndex(x.name) {
			e.proves(x.since, fmt.Sprintf("index %s of table %s", x.name, r.name))
		}
	}
	return nil
}

// tooYoung reports whether a table is of a core that this installation is too old for.
func (e *evidence) tooYoung(t *tableSpec, r *relation) bool {
	if t.since >= e.ceiling {
		return true
	}
	apps := t.column(appColumn)
	return e.ceiling <= core(6, 0) && apps != nil && r.has(appColumn)
}

// filled reports whether a table has rows. A dump that leaves the data of a table out
// does not tell, and what may not be read does not either.
func (e *evidence) filled(ctx context.Context, r *relation) (bool, error) {
	if r.empty || !r.readable {
		return false, nil
	}
	return e.from.hasRows(ctx, r)
}

// others takes what is proven by something that is not there any more.
func (e *evidence) others() {
	users := e.l.tables[EmailPasswordUsers]
	if users != nil && e.l.atLeast(core(3, 1)) && !users.has("is_email_verified") {
		e.proves(core(3, 3), fmt.Sprintf("table %s has no column is_email_verified, which cores 3.1 and 3.2 give it, beside %s", users.name, e.because))
	}
}

// foreignKeyToRoles is a constraint that core 8.0 took away.
const foreignKeyToRoles = "user_roles_role_fkey"

// keepsTOTPByVisibleID reports whether the core looks authenticators up by the id that
// applications see, as it does since 8.0. That release made no table and no column; it
// took a foreign key away, which says something where others are.
func keepsTOTPByVisibleID(l *Layout) bool {
	if devices := l.tables[TOTPDevices]; !l.Generation.links() || devices != nil && devices.has("created_at") {
		return l.Generation.links()
	}
	// A core younger than 9.0 has written the devices, although tables of such a one may
	// be there: it may have been started once and failed.
	assigned := l.tables[UserRoles]
	if assigned == nil || !assigned.hasIndex("_fkey") {
		return l.atLeast(core(8, 0))
	}
	return !assigned.hasIndex(foreignKeyToRoles)
}

// unknownOwners finds a dump in which nothing tells whose ids authenticators lie under:
// only a foreign key tells core 7 from core 8, and it is not in it.
func (e *evidence) unknownOwners(ctx context.Context) error {
	devices, mapping := e.l.tables[TOTPDevices], e.l.tables[UserIDMapping]
	if !e.c.withoutIndexes || !e.l.Generation.links() || e.l.atLeast(core(8, 0)) || devices == nil || mapping == nil || devices.has("created_at") {
		return nil
	}
	for _, r := range []*relation{devices, mapping} {
		if filled, err := e.filled(ctx, r); err != nil || !filled {
			return err
		}
	}
	e.gaps = append(e.gaps, Gap{Code: GapTable, Table: TOTPDevices, Detail: fmt.Sprintf(
		"%s has no constraints, so core 7 and core 8 cannot be distinguished: they store the authenticators of users with external ids in table %s under different ids; dump the whole schema", e.c.where, devices.name)})
	return nil
}

// forget leaves out tables that no core of this age has: applications' own ones, and
// what a newer core has left.
func (e *evidence) forget() {
	for i := range schema {
		t := &schema[i]
		r := e.l.tables[t.name]
		if r != nil && (e.tooYoung(t, r) || t.since > e.l.proven) {
			delete(e.l.tables, t.name)
		}
	}
}

// missingTables compares what is there with what cores of the proven age make.
func (e *evidence) missingTables() {
	for i := range schema {
		t := &schema[i]
		if e.l.tables[t.name] != nil || !t.role.matters() || t.droppable && e.l.Generation.tenantsMigrate() {
			continue
		}
		proof := fmt.Sprintf("%s proves core %s or newer", e.because, e.l.proven)
		switch {
		case hasView(e, t):
			e.gaps = append(e.gaps, e.missing(t, ""))
		case e.made(t):
			g := e.missing(t, fmt.Sprintf("%s, and every core since %s makes that table", proof, t.since))
			g.Proof = fmt.Sprintf("in %s %s", e.c.where, proof)
			if e.c.showsGranted {
				g.Proof += " (" + hiddenTables + ")"
			}
			e.gaps = append(e.gaps, g)
		}
	}
	if tables := e.undecided(core(5, 0)); len(e.gaps) == 0 && len(tables) > 0 {
		e.proveUndecided(tables)
	}
}

// hasView reports whether a view stands in place of a table that there should be. Of a
// younger one than is proven, the view itself says that there was one, unless
// applications use the name as well.
func hasView(e *evidence, t *tableSpec) bool {
	expected := e.made(t) || !t.common && (t.until == 0 || t.until > e.l.proven)
	return expected && e.c.viewOf(e.l.Schema, e.l.called(t.name)) != nil
}

// proveUndecided looks at tables that say nothing about accounts, where others may be missing
// without a trace: they must all be there.
func (e *evidence) proveUndecided(tables []string) {
	for i := range schema {
		if t := &schema[i]; e.l.tables[t.name] == nil && e.made(t) {
			e.gaps = append(e.gaps, e.missing(t, fmt.Sprintf(
				"every core since %s makes that table, so a part of the tables is missing, and it is unknown whether %s are missing, too", t.since, strings.Join(tables, ", "))))
			return
		}
	}
	untold := e.untold()
	if e.l.atLeast(untold) {
		return
	}
	if tables = e.undecided(max(untold, core(3, 3))); len(tables) > 0 { // see [evidence.others] for core 3.3
		e.gaps = append(e.gaps, Gap{Code: GapTable, Detail: fmt.Sprintf(
			"%s has no definitions, indexes or constraints, so it is unknown whether tables %s are missing from it; dump the whole schema", e.c.where, strings.Join(tables, ", "))})
	}
}

// untold is the youngest core that a dump could prove by what its kind leaves out:
// indexes and constraints, and in one of data only the types of columns.
func (e *evidence) untold() (r release) {
	if !e.c.withoutIndexes {
		return 0
	}
	users := e.l.tables[EmailPasswordUsers]
	types := users != nil && users.typeOf(0) != ""
	for i := range schema {
		for _, x := range schema[i].indexes {
			r = max(r, x.since)
		}
		for _, c := range schema[i].columns {
			for _, w := range c.widths {
				if !types {
					r = max(r, w.since)
				}
			}
		}
	}
	return r
}

// made reports whether cores of the proven age make a table.
func (e *evidence) made(t *tableSpec) bool {
	return t.since <= e.l.proven && (t.until == 0 || t.until > e.l.proven)
}

// undecided lists the tables with something about accounts that only cores younger
// than the proven age make, up to a release. That they are missing is right only if
// nothing is. From core 6.0 on nothing is undecided: there the list of users names the
// kind of every login.
func (e *evidence) undecided(last release) []string {
	if e.l.Generation.multiApp() {
		return nil
	}
	var out []string
	for i := range schema {
		if t := &schema[i]; t.role.matters() && t.since > e.l.proven && t.since <= last {
			out = append(out, string(t.name))
		}
	}
	return out
}

// missing is the gap that a table leaves.
func (e *evidence) missing(t *tableSpec, because string) Gap {
	return Gap{Code: GapTable, Table: t.name, Detail: e.l.missing(e.c, t, because)}
}

// hiddenTables is what MySQL does with tables that a role has no right to.
const hiddenTables = "the server hides tables from a role that has no right to them: check GRANT SELECT ON DATABASE.* TO <role>"

func (l *Layout) missing(c *catalog, t *tableSpec, because string) string {
	what := fmt.Sprintf("table %q is missing from schema %q in %s", l.called(t.name), l.Schema, c.where)
	if r := c.find(l.Schema, l.called(t.name)); r != nil {
		what = fmt.Sprintf("table %s in %s is different from what cores make: %s", r.qualified(), c.where, t.misfit(r))
	}
	hint := "restore it, or dump the whole schema"
	if v := c.viewOf(l.Schema, l.called(t.name)); v != nil {
		what = "in " + c.where + " " + v.why()
		hint = "give that name to the table itself, or read the schema that has it"
		if t.renamable {
			hint = fmt.Sprintf("name the table behind it in source.tables.%s", t.name)
		}
	} else if t.renamable {
		hint = fmt.Sprintf("if it was renamed, set source.tables.%s", t.name)
	}
	if because != "" {
		what += ": " + because
	}
	if c.showsGranted {
		hint += "; " + hiddenTables
	}
	return what + "; " + hint
}

// missingColumns finds tables without a column that every core of this age has given
// them: reading it as NULL would change accounts without a word.
func (e *evidence) missingColumns() {
	for i := range schema {
		t := &schema[i]
		r := e.l.tables[t.name]
		if r == nil || !t.role.matters() {
			continue
		}
		for j := range t.columns {
			c := &t.columns[j]
			if c.optional || t.firstOf(c) > e.l.proven || c.until != 0 && c.until <= e.l.proven || r.has(c.name) {
				continue
			}
			e.gaps = append(e.gaps, Gap{Code: GapColumn, Table: t.name, Detail: fmt.Sprintf(
				"table %s in %s has no column %q, which every core since %s gives it (%s proves core %s or newer); accounts would be read wrongly without it",
				r.qualified(), e.c.where, c.name, t.firstOf(c), e.because, e.l.proven)})
		}
	}
}

// unmoved finds an upgrade to core 3.3 that has not taken along which addresses are
// verified: the column that said so is full, and the table that says so since is empty.
func (e *evidence) unmoved(ctx context.Context) error {
	users, verified := e.l.tables[EmailPasswordUsers], e.l.tables[VerifiedEmails]
	if users == nil || verified == nil || !users.has("is_email_verified") || users.empty || !users.readable {
		return nil
	}
	if filled, err := e.filled(ctx, verified); err != nil || filled || verified.empty || !verified.readable {
		return err
	}
	n := 0
	err := e.from.scan(ctx, users, "", []string{"is_email_verified"}, func(v [][]byte) error {
		n += count01(isTrue(v[0]))
		return nil
	})
	if n > 0 {
		e.gaps = append(e.gaps, Gap{Code: GapUpgrade, Table: VerifiedEmails, Count: n, Detail: fmt.Sprintf(
			"table %s of %s has no row, while column is_email_verified of table %s says of %d users that their address is verified, as cores 3.1 and 3.2 do: the upgrade to core 3.3 has not moved them, and nobody would be verified; insert their ids and addresses, or restore the state before it",
			verified.qualified(), e.c.where, users.name, n)})
	}
	return err
}

// hiddenRows finds tables of which the source itself says that rows may be hidden.
func (e *evidence) hiddenRows() {
	if e.c.filtered {
		e.gaps = append(e.gaps, Gap{Code: GapRows, Detail: fmt.Sprintf(
			"%s was made with mysqldump --where, so rows are missing from it; make it without that option", e.c.where)})
	}
	if e.c.hidesRows {
		e.gaps = append(e.gaps, Gap{Code: GapRowSecurity, Detail: fmt.Sprintf(
			"%s was made with pg_dump --enable-row-security, so rows that a policy hides are missing from it; make it without that option, as a role that sees every row (the owner of the tables, or one with BYPASSRLS)", e.c.where)})
	}
	for i := range schema {
		t := &schema[i]
		r := e.l.tables[t.name]
		if r == nil || len(r.policies) == 0 {
			continue
		}
		if !t.role.matters() && t.name != TenantConfigs {
			r.readable = false // what cannot be read whole and is not needed is left alone
			continue
		}
		e.gaps = append(e.gaps, Gap{Code: GapRowSecurity, Table: t.name, Detail: fmt.Sprintf(
			"row-level security hides rows of table %s in %s from this role (policies: %s); read as the owner of the table, or run: ALTER ROLE <role> BYPASSRLS",
			r.qualified(), e.c.where, strings.Join(r.policies, ", "))})
	}
}

// unreadable is the error for tables that this role may not read.
func (e *evidence) unreadable() error {
	for i := range schema {
		t := &schema[i]
		r := e.l.tables[t.name]
		if r == nil || r.readable || !t.role.matters() && t.name != TenantConfigs {
			continue
		}
		if e.c.showsGranted {
			return fmt.Errorf("no permission to read table %s in %s; run: GRANT SELECT ON %s.* TO <role>", r.qualified(), e.c.where, quoteMySQL(e.l.Schema))
		}
		return fmt.Errorf("no permission to read table %s in %s; run: GRANT USAGE ON SCHEMA %s TO <role>; GRANT SELECT ON ALL TABLES IN SCHEMA %s TO <role>",
			r.qualified(), e.c.where, quoteIdent(e.l.Schema), quoteIdent(e.l.Schema))
	}
	return nil
}

// expected counts the tables that cores of the proven age make, and those of them
// that are there.
func (l *Layout) expected() (made, there int) {
	for i := range schema {
		t := &schema[i]
		if t.since > l.proven || t.until != 0 && t.until <= l.proven || t.droppable && l.tables[t.name] == nil && l.Generation.tenantsMigrate() {
			continue
		}
		made++
		if l.tables[t.name] != nil {
			there++
		}
	}
	return made, there
}

// accept takes out the gaps that an operator accepts.
func accept(gaps []Gap, codes []GapCode) (open, accepted []Gap) {
	for _, g := range gaps {
		if slices.Contains(codes, g.Code) {
			accepted = append(accepted, g)
		} else {
			open = append(open, g)
		}
	}
	return open, accepted
}

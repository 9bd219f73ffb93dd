package supertokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/canonical"
)

// ErrNoUser means that no account, and no login of one, has the id.
var ErrNoUser = errors.New("there is no such user")

// ErrSharedID is the [ErrNoUser] of an id that is the external id of one account
// and the internal id of another: nobody can tell whose it is.
var ErrSharedID = fmt.Errorf("the id belongs to two accounts: %w", ErrNoUser)

// ID names an account by an id of it or of any of its logins.
type ID struct {
	text             string
	internal, padded bool
}

// InternalID is an id that SuperTokens made. Blanks at the end are none of it: the
// columns that hold such ids have a fixed width.
func InternalID(id string) ID { return ID{text: string(trimKey([]byte(id))), internal: true} }

// VisibleID is an id that applications see: an external one, exactly as it is
// stored, or where none is mapped the internal one.
func VisibleID(id string) ID { return ID{text: id} }

// VisibleID is an id that applications see as a column of the table holds it. In
// databases upgraded from core 3.4 some of these columns have a fixed width. Then the
// id is what is stored if that is an external id, and otherwise that without the
// blanks.
func (t Table) VisibleID(column, stored string) ID {
	return ID{text: stored, padded: isPadded(t.typeOf(column))}
}

// Who says which account a login is of.
type Who struct {
	// ID is the visible id of the account: the external one where SuperTokens maps
	// one.
	ID string
	// InternalID is SuperTokens' own id of the account.
	InternalID string
	// LoginID is SuperTokens' own id of the login method.
	LoginID string
}

// FoundLogin is a login with the account it is of.
type FoundLogin struct {
	Who
	Login canonical.Login
}

// Account reads one account, as [Source.Read] gives it: with the same tables, the
// same rules and the same warnings. [ErrNoUser] and [ErrSharedID] say that there is
// none to give, an [IncompleteError] that tables are missing. Of core 12, where no
// migration mode is told or stored, [WarnOldTableStale] is left out when the two
// places of the account's tenants agree: only all accounts together tell then which
// place counts.
func (t *Tables) Account(ctx context.Context, rows RowSource, id ID) (canonical.User, error) {
	f, login, err := t.find(ctx, rows, id, saysAnything)
	if err != nil {
		return canonical.User{}, err
	}
	account := f.rr.users[login].account
	if err := f.loadMembers(ctx, account); err != nil {
		return canonical.User{}, err
	}
	if err := f.loadEverything(ctx, idsOf(f.rr)); err != nil {
		return canonical.User{}, err
	}
	return f.account(account), nil
}

// Who says which account an id is of. It takes two queries for most accounts, and at
// most four; of generations without a list of users at most five.
func (t *Tables) Who(ctx context.Context, rows RowSource, id ID) (Who, error) {
	f, login, err := t.find(ctx, rows, id, saysWho)
	if err != nil {
		return Who{}, err
	}
	return f.who(ctx, login)
}

// VisibleIDOf is the id by which applications know one login, by its internal id.
func (t *Tables) VisibleIDOf(ctx context.Context, rows RowSource, login string) (string, error) {
	f, id, err := t.find(ctx, rows, InternalID(login), saysWho)
	if err != nil {
		return "", err
	}
	if err := f.loadAll(ctx, []string{id}, func(s *tableSpec) bool { return s.role == roleMapping }); err != nil {
		return "", err
	}
	return f.rr.users[id].visibleID(), nil
}

// IDs lists every id that an account goes by: the visible id and the internal id
// first, then those of its logins.
func (t *Tables) IDs(ctx context.Context, rows RowSource, id ID) ([]string, error) {
	f, login, err := t.find(ctx, rows, id, saysWho)
	if err != nil {
		return nil, err
	}
	account := f.rr.users[login].account
	if err := f.loadMembers(ctx, account); err != nil {
		return nil, err
	}
	if err := f.loadAll(ctx, idsOf(f.rr), func(s *tableSpec) bool { return s.role == roleMapping }); err != nil {
		return nil, err
	}
	members := f.members(account)
	u := f.account(account)
	out := []string{u.ID, u.InternalID}
	for _, m := range members {
		out = append(out, m.id)
		if m.external != nil {
			out = append(out, *m.external)
		}
	}
	slices.Sort(out[2:])
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(id string) bool {
		known := seen[id]
		seen[id] = true
		return known
	}), nil
}

// PasswordLogins lists the logins with a password of an account, in the order in
// which the account has them.
func (t *Tables) PasswordLogins(ctx context.Context, rows RowSource, id ID) ([]FoundLogin, error) {
	f, login, err := t.find(ctx, rows, id, saysPassword)
	if err != nil {
		return nil, err
	}
	if err := f.loadMembers(ctx, f.rr.users[login].account); err != nil {
		return nil, err
	}
	return f.logins(ctx, idsOf(f.rr))
}

// PasswordLogin reads the login with a password that has this internal id.
func (t *Tables) PasswordLogin(ctx context.Context, rows RowSource, id string) (FoundLogin, error) {
	f, login, err := t.find(ctx, rows, InternalID(id), saysPassword)
	if err != nil {
		return FoundLogin{}, err
	}
	found, err := f.logins(ctx, []string{login})
	switch {
	case err != nil:
		return FoundLogin{}, err
	case len(found) == 0:
		return FoundLogin{}, ErrNoUser
	}
	return found[0], nil
}

// PasswordLoginsAt lists the logins with a password that have this address in this
// tenant, which should be one. Where an address is looked up says nothing about whose
// it is: tables that copy it may be behind.
func (t *Tables) PasswordLoginsAt(ctx context.Context, rows RowSource, tenant, email string) ([]FoundLogin, error) {
	if !storable(tenant) || !storable(email) {
		return nil, nil
	}
	f, err := t.finder(rows, saysPassword)
	if err != nil {
		return nil, err
	}
	ids, err := f.atAddress(ctx, tenant, email)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	if err := f.loadUsers(ctx, ids); err != nil {
		return nil, err
	}
	found, err := f.logins(ctx, ids)
	return slices.DeleteFunc(found, func(l FoundLogin) bool {
		return l.Login.Email == nil || *l.Login.Email != email || !slices.Contains(l.Login.Tenants, tenant)
	}), err
}

// AccountSQL is how a statement that counts users in the database names the account
// of a login: what to join, and the column with the internal id of the account as a
// text. login is an alias of the table of logins that is given.
func (t *Tables) AccountSQL(of Table, login string) (join, account string) {
	r := t.layout.tables[Spine]
	if r == nil || !t.layout.Generation.links() {
		return "", of.Exact(login + ".user_id") // which takes the blanks off
	}
	join = " JOIN " + Table{r}.SQL() + " s ON s.app_id = " + login + ".app_id AND s.user_id = " + login + ".user_id"
	if r.mysql { // by its index, and then exactly
		join += " AND " + mysqlExact("s.app_id") + " = " + mysqlExact(login+".app_id") + " AND " + mysqlExact("s.user_id") + " = " + mysqlExact(login+".user_id")
	}
	return join, Table{r}.Exact("s.primary_or_recipe_user_id")
}

// saysAnything is for all tables that accounts are made of.
func saysAnything(t *tableSpec) bool { return t.role.matters() }

// saysWho is for the tables that say which account an id is of.
func saysWho(t *tableSpec) bool {
	return t.role == roleSpine || t.role == roleRecipe || t.role == roleMapping
}

// saysPassword is for the tables about logins with a password.
func saysPassword(t *tableSpec) bool {
	switch t.role {
	case roleSpine, roleIndex, roleMembership, roleMapping:
		return true
	case roleRecipe:
		return t.loginOf == canonical.EmailPassword
	default:
		return t.name == VerifiedEmails
	}
}

// finder answers one question: it makes accounts of the rows of the users concerned as a
// whole reading does.
type finder struct {
	gatherer
	assembler assembler
}

func (t *Tables) finder(rows RowSource, want func(*tableSpec) bool) (*finder, error) {
	if err := t.whole(want); err != nil {
		return nil, err
	}
	g := gatherer{t: t, from: rows, rr: newRangeRows(t.layout, 0), loaded: map[TableName]map[string]bool{}, mapped: map[string][][]byte{}}
	return &finder{gatherer: g, assembler: t.assembler}, nil
}

// find finds the login that an id is of. want says what will be read of it.
func (t *Tables) find(ctx context.Context, rows RowSource, id ID, want func(*tableSpec) bool) (f *finder, login string, err error) {
	if id.text == "" || !storable(id.text) {
		return nil, "", ErrNoUser
	}
	f, err = t.finder(rows, want)
	if err != nil {
		return nil, "", err
	}
	login, err = f.resolve(ctx, id)
	return f, login, err
}

// storable reports whether a database takes the text at all.
func storable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }

// resolve finds the internal id of the login.
func (f *finder) resolve(ctx context.Context, id ID) (string, error) {
	own := id.text
	if !id.internal {
		own = string(unpadded([]byte(own), id.padded))
	}
	if strings.HasSuffix(own, " ") { // no internal id does
		own = ""
	}
	mapped, err := f.internalOf(ctx, id, own)
	if err != nil {
		return "", err
	}
	ids := slices.DeleteFunc([]string{mapped, own}, func(id string) bool { return id == "" })
	if err := f.loadUsers(ctx, ids); err != nil {
		return "", err
	}
	switch byMapping, itself := f.rr.users[mapped], f.rr.users[own]; {
	case byMapping == nil && itself == nil:
		return "", ErrNoUser
	case byMapping == nil:
		return own, nil
	case itself != nil && itself.account != byMapping.account:
		return "", fmt.Errorf("%w (one is %s, the other %s)", ErrSharedID, byMapping.account, itself.account)
	default:
		return mapped, nil
	}
}

// internalOf is the internal id of the login that is mapped to a visible id, empty
// when there is none. own is the id if it is an internal one: what that is mapped to is
// asked by the way.
func (f *finder) internalOf(ctx context.Context, id ID, own string) (string, error) {
	r := f.t.reader(UserIDMapping)
	if id.internal || r == nil {
		return "", nil
	}
	texts := []string{id.text}
	if id.padded {
		texts = append(texts, string(trimKey([]byte(id.text))))
	}
	q := f.t.query(r.rel, r.columns)
	q.Either = []RowMatch{{"external_user_id", texts}}
	for _, text := range texts {
		f.mapped[text] = nil
	}
	if own != "" {
		q.Either = append(q.Either, RowMatch{r.key, []string{own}})
		f.mark(r, own)
	}
	if err := f.from.Rows(ctx, q, f.keepMapping); err != nil {
		return "", err
	}
	for _, text := range texts { // as it is stored first
		if v := f.mapped[text]; v != nil {
			return trimPadding(v[0]), nil
		}
	}
	return "", nil
}

// who says of which account a login is.
func (f *finder) who(ctx context.Context, login string) (Who, error) {
	account := f.rr.users[login].account
	if err := f.loadUsers(ctx, []string{account}); err != nil {
		return Who{}, err
	}
	if err := f.loadAll(ctx, []string{account}, func(s *tableSpec) bool { return s.role == roleMapping }); err != nil {
		return Who{}, err
	}
	u := f.account(account)
	return Who{ID: u.ID, InternalID: u.InternalID, LoginID: login}, nil
}

// logins reads logins with a password, of users that are loaded.
func (f *finder) logins(ctx context.Context, ids []string) ([]FoundLogin, error) {
	var accounts []string
	for _, id := range ids {
		if u := f.rr.users[id]; u != nil {
			accounts = append(accounts, u.account)
		}
	}
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	if err := f.loadUsers(ctx, accounts); err != nil {
		return nil, err
	}
	all := slices.Concat(ids, accounts)
	err := f.loadAll(ctx, all, func(s *tableSpec) bool { return saysPassword(s) && s.role != roleSpine && s.role != roleLogin })
	if err == nil {
		err = f.loadAll(ctx, ids, func(s *tableSpec) bool { return s.name == VerifiedEmails })
	}
	if err == nil {
		f.assembler.newTenants, err = f.readsNewTenants(ctx)
	}
	if err != nil {
		return nil, err
	}
	var out []FoundLogin
	for _, account := range accounts {
		u := f.account(account)
		for i := range u.Logins {
			if l := &u.Logins[i]; l.Recipe == canonical.EmailPassword && slices.Contains(ids, l.ID) {
				out = append(out, FoundLogin{Who: Who{ID: u.ID, InternalID: u.InternalID, LoginID: l.ID}, Login: *l})
			}
		}
	}
	return out, nil
}

// atAddress lists the logins that any table says have an address in a tenant. From
// core 6 on, and again from 12 on, a table has an index for it.
func (f *finder) atAddress(ctx context.Context, tenant, email string) ([]string, error) {
	l := f.t.layout
	var ids []string
	add := func(v [][]byte) error {
		ids = append(ids, trimPadding(v[0]))
		return nil
	}
	places := []struct {
		table TableName
		key   string
		where []RowMatch
	}{
		{EmailPasswordUserToTenant, "user_id", []RowMatch{{"tenant_id", []string{tenant}}, {"email", []string{email}}}},
		{RecipeUserTenants, "recipe_user_id", []RowMatch{
			{"tenant_id", []string{tenant}},
			{"recipe_id", []string{string(canonical.EmailPassword)}},
			{"account_info_type", []string{"email"}},
			{"account_info_value", []string{email}},
		}},
		{EmailPasswordUsers, "user_id", []RowMatch{{"email", []string{email}}}},
	}
	asked := 0
	for _, p := range places {
		r := l.tables[p.table]
		if r == nil || p.table == EmailPasswordUsers && asked > 0 {
			continue
		}
		asked++
		if err := f.from.Rows(ctx, f.t.query(r, []string{p.key}, p.where...), add); err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// loadEverything loads all that there is about users.
func (f *finder) loadEverything(ctx context.Context, ids []string) (err error) {
	mapping := f.t.reader(UserIDMapping)
	for _, r := range f.t.readers {
		switch {
		case !saysAnything(r.tableSpec):
			continue
		case r == mapping:
			err = f.loadTaken(ctx, r, ids)
		}
		if err == nil {
			err = f.load(ctx, r, ids)
		}
		if err != nil {
			return err
		}
	}
	if f.assembler.newTenants, err = f.readsNewTenants(ctx); err != nil {
		return err
	}
	if f.assembler.newTenants { // which can be behind, and is reported then
		if err := f.load(ctx, f.t.reader(EmailPasswordUserToTenant), ids); err != nil {
			return err
		}
	}
	return f.loadRoles(ctx)
}

// loadRoles looks up which of the assigned roles are defined.
func (f *finder) loadRoles(ctx context.Context) error {
	r := f.t.layout.tables[Roles]
	if r == nil {
		return nil
	}
	f.assembler.roles = map[string]bool{}
	var names []string
	for _, u := range f.rr.users {
		for _, p := range [...]*idRows{&u.underInternal, &u.underExternal} {
			for _, assigned := range p.roles {
				names = append(names, assigned.role)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return f.from.Rows(ctx, f.t.query(r, []string{"role"}, RowMatch{"role", slices.Compact(names)}), func(v [][]byte) error {
		f.assembler.roles[string(v[0])] = true
		return nil
	})
}

// query asks for rows of the app.
func (t *Tables) query(r *relation, columns []string, where ...RowMatch) RowQuery {
	if r.has(appColumn) {
		where = append([]RowMatch{{appColumn, []string{t.app}}}, where...)
	}
	return RowQuery{From: Table{r}, Columns: columns, Where: where}
}

// members are the users that form an account.
func (f *finder) members(account string) []*userRows {
	return slices.DeleteFunc(f.rr.sorted(), func(u *userRows) bool { return u.account != account })
}

// account makes the account of the rows that were loaded.
func (f *finder) account(id string) (out canonical.User) {
	f.assembler.account(&out, f.rr, f.members(id))
	return out
}

package supertokens

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/internal/duplicates"
)

// Completeness says how much of an installation was found, and what is known to be
// missing. It is whole after one reading only: what rows prove is not known before.
type Completeness struct {
	// Whole is false when something is missing, accepted or not.
	Whole bool `json:"whole"`
	// Core is the oldest release that the installation can be of.
	Core string `json:"core_at_least"`
	// TablesExpected counts the tables that this release makes, TablesFound those of
	// them that are there. A table that says nothing about accounts may be missing.
	TablesExpected int `json:"tables_expected"`
	TablesFound    int `json:"tables_found"`
	// LoginMethods counts those that the list of users names (all there are, in
	// generations without one), LoginMethodsFound those of them with their row.
	LoginMethods      int `json:"login_methods"`
	LoginMethodsFound int `json:"login_methods_found"`
	Accounts          int `json:"accounts"`
	AccountsWithLogin int `json:"accounts_with_login"`
	// Missing is what is known to be missing, accepted or not.
	Missing []Gap `json:"missing"`
}

// completeness finds out how much of an installation there is.
type completeness struct {
	*opened
	complete Completeness
	proven   bool
	// notIndexed are the rows that are missing from the index of users.
	notIndexed lostRows
}

// rowProof is what the rows of one range prove.
type rowProof struct {
	logins, found, accounts, withLogin int
	// members counts the logins that are in a tenant.
	members int
	lost    map[TableName]*lostRows
	// stray and unverified are addresses: verified for an id that is nobody's, and of
	// logins that are not verified. Both are kept only where the table that maps ids
	// may be missing.
	stray, unverified []string
}

// lostRows are rows that must be somewhere, of one table.
type lostRows struct {
	count    int
	examples []string
}

func (w *rowProof) lose(t TableName, id string) {
	if w.lost == nil {
		w.lost = map[TableName]*lostRows{}
	}
	if w.lost[t] == nil {
		w.lost[t] = &lostRows{}
	}
	w.lost[t].add(id)
}

func (r *lostRows) add(id string) {
	r.count++
	if len(r.examples) < maxExamples {
		r.examples = append(r.examples, id)
	}
}

// ids names some of the users concerned.
func (r *lostRows) ids() string {
	out := strings.Join(r.examples, ", ")
	if more := r.count - len(r.examples); more > 0 {
		out += fmt.Sprintf(" and %d more", more)
	}
	return out
}

// tableOfLogin is the table with the logins of one kind.
func tableOfLogin(as string) TableName {
	for i := range schema {
		if schema[i].loginOf != "" && string(schema[i].loginOf) == as {
			return schema[i].name
		}
	}
	return TableName(as)
}

// complete notes what the rows of one account prove to be missing.
func (a *assembler) complete(rr *rangeRows, members []*userRows, own *userRows) {
	w := &rr.whole
	logins := 0
	for _, m := range members {
		logins += len(m.logins)
	}
	w.accounts++
	w.withLogin += count01(logins > 0)
	for _, m := range members {
		switch {
		case len(m.logins) > 0:
			w.logins++
			w.found++
			w.members += count01(a.isMember(m))
			if a.layout.Generation.multiApp() && !m.listed {
				w.lose(Spine, m.id)
			}
		case m == own && m.linked && !a.isMember(m):
			// The login that gave the account its id was deleted. The others live on, or were
			// unlinked since, which leaves this row behind.
		default:
			w.logins++
			w.lose(tableOfLogin(string(m.recipe)), m.id)
		}
	}
	if own == nil && a.layout.Generation.multiApp() {
		w.lose(Spine, members[0].account)
	}
	if a.findStray {
		for _, m := range members {
			w.unverified = append(w.unverified, unverified(m)...)
		}
	}
}

func unverified(m *userRows) (out []string) {
	for i := range m.logins {
		if l := &m.logins[i]; l.Email != nil && l.Verified != nil && !*l.Verified {
			out = append(out, *l.Email)
		}
	}
	return out
}

// isMember reports whether a login is in any tenant, in the place that counts.
func (a *assembler) isMember(m *userRows) bool {
	if a.newTenants {
		return len(m.newTenants) > 0
	}
	return len(m.oldTenants) > 0
}

// nobodys notes what a row of nobody proves to be missing.
func (a *assembler) nobodys(rr *rangeRows, t *tableReader, id string, v [][]byte) {
	if a.findStray && t.name == VerifiedEmails {
		var of idRows
		if t.toID(&of, v) == nil {
			rr.whole.stray = append(rr.whole.stray, of.verified...)
		}
	}
	multi := a.layout.Generation.multiApp()
	if !t.child && (t.role != roleIndex || !multi) {
		return
	}
	parent := EmailPasswordUsers
	switch {
	case multi && (t.name != ResetTokens || a.layout.Generation.links()):
		parent = Spine
	case t.role == roleMapping:
		parent = UserIndex
	}
	rr.whole.lose(parent, id)
}

// proofs adds up what ranges prove. It is used by one goroutine.
type proofs struct {
	total  rowProof
	shared duplicates.Finder
	placed int
}

// A rank of the addresses that the finder holds.
const (
	rankUnverified = iota
	rankStray
)

func (p *proofs) add(w *rowProof) error {
	p.total.logins += w.logins
	p.total.found += w.found
	p.total.members += w.members
	p.total.accounts += w.accounts
	p.total.withLogin += w.withLogin
	for t, rows := range w.lost {
		for _, id := range rows.examples {
			p.total.lose(t, id)
		}
		p.total.lost[t].count += rows.count - len(rows.examples)
	}
	for rank, emails := range map[int64][]string{rankUnverified: w.unverified, rankStray: w.stray} {
		for _, email := range emails {
			p.placed++
			if err := p.shared.Add(duplicates.Account{Place: p.placed, ID: email, Rank: rank}, 1, email); err != nil {
				return err
			}
		}
	}
	return nil
}

// strays counts the addresses that are verified for nobody and are those of logins
// that are not verified.
func (p *proofs) strays() (n int, err error) {
	groups, err := p.shared.Groups()
	for _, g := range groups {
		ranks := map[int64]bool{}
		for _, a := range g.Accounts {
			ranks[a.Rank] = true
		}
		n += count01(len(ranks) > 1)
	}
	return n, errors.Join(err, p.shared.Close())
}

// Completeness says how much of the installation was found. It is known after the
// first whole reading, with [Source.Read]; ok is false before.
func (s *Source) Completeness() (c Completeness, ok bool) {
	c = s.complete
	c.Missing = append([]Gap{}, s.gaps...)
	c.Whole = len(s.gaps) == 0
	return c, s.proven
}

// copiesOfIndex are the tables that have a row for each row of the index, by a
// foreign key, and may be read.
func (l *Layout) copiesOfIndex() []*relation {
	var out []*relation
	for i := range schema {
		t := &schema[i]
		if r := l.tables[t.name]; t.droppable && t.role != roleIndex && r != nil && r.readable && !r.empty {
			out = append(out, r)
		}
	}
	return out
}

// memberships is a set of rows (tenant, user) by their number and the sum of their
// hashes: two sets that agree in both are the same.
type memberships struct {
	rows int
	sum  uint64
}

// sumsBelow is what sums are taken modulo of.
const sumsBelow = 1<<63 - 1

func (m *memberships) add(o memberships) {
	m.rows += o.rows
	m.sum = (m.sum + o.sum) % sumsBelow
}

// membershipColumns are what a row of the index and one of its copies have in common.
var membershipColumns = []string{"tenant_id", "user_id"}

var membershipSeed = maphash.MakeSeed()

func membershipHash(v [][]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(membershipSeed)
	_, _ = h.Write(v[0]) // never fails
	_ = h.WriteByte(0)
	_, _ = h.Write(trimKey(v[1]))
	return h.Sum64() % sumsBelow
}

// sumMemberships adds up rows that a source has to give one by one.
func sumMemberships(ctx context.Context, from rows, r *relation, app string) (m memberships, err error) {
	err = from.scan(ctx, r, app, membershipColumns, func(v [][]byte) error {
		m.add(memberships{1, membershipHash(v)})
		return nil
	})
	return m, err
}

// prove turns what a whole reading has shown into gaps.
func (c *completeness) prove(p *proofs, newTenants bool) error {
	var gaps []Gap
	l := c.layout
	for _, t := range slices.Sorted(maps.Keys(p.total.lost)) {
		gaps = append(gaps, c.lostGap(t, p.total.lost[t]))
	}
	strays, err := p.strays()
	if err != nil {
		return err
	}
	if strays > 0 {
		gaps = append(gaps, Gap{Code: GapTable, Table: UserIDMapping, Count: strays, Detail: l.missing(c.catalog, specOf(UserIDMapping), fmt.Sprintf(
			"%d verified address(es) are stored for ids that belong to no user, and users with these addresses count as not verified: the users have external ids", strays))})
	}
	if c.notIndexed.count > 0 {
		gaps = append(gaps, Gap{Code: GapRows, Table: UserIndex, Count: c.notIndexed.count, Detail: fmt.Sprintf(
			"%d row(s) are missing from table %s of %s: the tables of users by tenant have a row that belongs to each, and users would lose a tenant without them (%s)",
			c.notIndexed.count, l.called(UserIndex), c.catalog.where, c.notIndexed.ids())})
	}
	if c.notIndexed.count == 0 && p.total.members == 0 && p.total.found > 1 && l.Generation.multiApp() {
		table := UserIndex
		if newTenants {
			table = RecipeUserTenants
		}
		gaps = append(gaps, Gap{Code: GapRows, Table: table, Count: p.total.found, Detail: fmt.Sprintf(
			"table %s of %s has no row for any of the %d logins of app %s, so no user would be in a tenant; restore it, or dump the whole schema",
			l.called(table), c.catalog.where, p.total.found, c.app)})
	}
	made, there := l.expected()
	c.complete = Completeness{
		Core: l.proven.String(), TablesExpected: made, TablesFound: there,
		LoginMethods: p.total.logins, LoginMethodsFound: p.total.found, Accounts: p.total.accounts, AccountsWithLogin: p.total.withLogin,
	}
	c.proven = true
	return c.refuse(gaps)
}

// lostGap words rows that are missing from a table.
func (c *completeness) lostGap(t TableName, rows *lostRows) Gap {
	g := Gap{Code: GapRows, Table: t, Count: rows.count}
	ids := rows.ids()
	known := specOf(t)
	switch {
	case known == nil:
		g.Detail = fmt.Sprintf("%d user(s) sign in by a method that this version of stetl does not know (recipe %q): %s; a newer version may know it", rows.count, t, ids)
	case c.layout.tables[t] == nil && known.loginOf != "":
		g.Code = GapTable
		g.Detail = c.layout.missing(c.catalog, known, fmt.Sprintf("the list of users names %d that belong in it (%s)", rows.count, ids))
	case known.loginOf != "":
		g.Detail = fmt.Sprintf("%d row(s) are missing from table %s of %s: the list of users names them, and other rows belong to them (%s)", rows.count, c.layout.called(t), c.catalog.where, ids)
	default:
		g.Detail = fmt.Sprintf("%d row(s) are missing from table %s of %s: other tables have rows of these users (%s)", rows.count, c.layout.called(t), c.catalog.where, ids)
	}
	return g
}

// compareCopies looks for rows that the index of users must have, because a row of a
// table by tenant belongs to each: a dump is not held to its foreign keys by anybody.
func (c *completeness) compareCopies(ctx context.Context, newTenants bool) error {
	c.notIndexed = lostRows{}
	r, copies := c.layout.tables[UserIndex], c.layout.copiesOfIndex()
	if !c.layout.Generation.multiApp() || newTenants || r == nil || r.empty || !r.readable {
		return nil
	}
	index, err := c.store.memberships(ctx, r, c.app)
	if err != nil {
		return err
	}
	var sum memberships
	for _, copied := range copies {
		m, err := c.store.memberships(ctx, copied, c.app)
		if err != nil {
			return err
		}
		sum.add(m)
	}
	if index == sum {
		return nil
	}
	// Something differs, which is rare: now it is worth to look at each row.
	there := map[uint64]struct{}{}
	err = c.store.scan(ctx, r, c.app, membershipColumns, func(v [][]byte) error {
		there[membershipHash(v)] = struct{}{}
		return nil
	})
	if err != nil {
		return err
	}
	for _, copied := range copies {
		err := c.store.scan(ctx, copied, c.app, membershipColumns, func(v [][]byte) error {
			if _, ok := there[membershipHash(v)]; !ok {
				c.notIndexed.add(trimPadding(v[1]))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

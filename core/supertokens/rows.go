package supertokens

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stetl/stetl/core/canonical"
)

// rangeRows holds everything the source has about the accounts of one range,
// joined by user id. It is filled in the order of [schema]; [assembler.assemble]
// turns it into accounts, which keep nothing of it, so that it can be emptied and
// filled again.
type rangeRows struct {
	layout *Layout
	users  map[string]*userRows
	// byExternal finds users by the id that applications see.
	byExternal map[string]*userRows
	// taken holds the external ids of other users that look like internal ones,
	// with the internal id of the user that is mapped to it.
	taken map[string]string
	// whole is what the rows prove to be there and to be missing.
	whole rowProof

	userRows  arena[userRows]
	entries   []entry // scratch space of sorted
	order     []*userRows
	loginSlab slab[canonical.Login]
}

// arena hands out values that are given up all at once.
type arena[T any] struct {
	blocks [][]T
	used   int
}

// arenaBlock is small, because the bridge joins one or two users at a time.
const arenaBlock = 4

// one returns a value that is zero.
func (a *arena[T]) one() *T {
	number := a.used / arenaBlock
	if number == len(a.blocks) {
		a.blocks = append(a.blocks, make([]T, arenaBlock))
	}
	a.used++
	return &a.blocks[number][(a.used-1)%arenaBlock]
}

func (a *arena[T]) reset() {
	for _, block := range a.blocks[:(a.used+arenaBlock-1)/arenaBlock] {
		clear(block)
	}
	a.used = 0
}

// slab hands out values that were allocated many at a time.
type slab[T any] struct{ free []T }

// slabSize is small, because whoever keeps one value keeps the others around it.
const slabSize = 32

// one returns a slice that holds one value and has no room for another.
func (s *slab[T]) one() []T {
	if len(s.free) == 0 {
		s.free = make([]T, slabSize)
	}
	out := s.free[:1:1]
	s.free = s.free[1:]
	return out
}

// userRows is what is stored about one recipe user, which is one login, or
// about a former primary user that has none.
type userRows struct {
	id, account string
	linked      bool
	// otherAccount is the account that the index names where it contradicts the spine.
	otherAccount string
	// listed says that the table of all users has a row of it. undated says that core
	// 12's backfill has not reached that row.
	listed, undated bool
	// placeholder says that a text was stored that stands for none, and nothing what
	// else is missing from rows.
	placeholder bool
	nothing     nothing
	// recipe is the kind of login that a list of users says it is.
	recipe canonical.Recipe
	logins []canonical.Login
	// oldTenants and newTenants are the two places where core 12 may keep the
	// membership; before that only the old one exists.
	oldTenants, newTenants []string
	// oldEmails are the copies that core 12 stops writing.
	oldEmails []string
	external  *string
	info      *string
	// What lies under each of the ids, in tables that may be looked up by either.
	underInternal, underExternal idRows
	passkeys                     []canonical.Passkey
}

// contact is an address or a phone number, nil where the stored text stands for none.
func (u *userRows) contact(stored []byte) *string {
	out := text(stored)
	if out != nil && isPlaceholder(*out) {
		u.placeholder = true
		return nil
	}
	return out
}

// visibleID is the id that applications see.
func (u *userRows) visibleID() string {
	if u.external != nil {
		return *u.external
	}
	return u.id
}

// isPlaceholder recognises what scripts that copy databases leave where there was
// no value: SuperTokens' own one from MySQL writes the word NULL.
func isPlaceholder(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "", "null", `\n`, "(null)", "<null>", "nil", "none", "undefined":
		return true
	}
	return false
}

// recipeOf is the kind of login that a list of users names.
func recipeOf(stored []byte) canonical.Recipe {
	for _, r := range [...]canonical.Recipe{canonical.EmailPassword, canonical.ThirdParty, canonical.Passwordless, canonical.WebAuthn} {
		if string(r) == string(stored) {
			return r // the constant, which takes no memory
		}
	}
	return canonical.Recipe(stored)
}

// idRows are the rows under one id.
type idRows struct {
	verified   []string
	metadata   []byte
	roles      []assignedRole
	totp       []canonical.TOTPDevice
	lastActive time.Time
	nothing    nothing
}

// nothing says of what rows have NULL or an empty text, where every core stores
// something and looks for it: such a row is one that the core does not find.
type nothing uint8

const (
	noTenant nothing = 1 << iota
	noRole
	noHash
	noIdentity
	noSecret
)

func (n nothing) String() string {
	var out []string
	for i, what := range [...]string{"a tenant", "a role", "a password hash", "a provider and its id of the user", "the secret of an authenticator"} {
		if n&(1<<i) != 0 {
			out = append(out, what)
		}
	}
	return strings.Join(out, ", ")
}

// isNothing recognises NULL and what looks like it. Words are left alone: a role or a
// tenant may be called none.
func isNothing(stored []byte) bool { return len(bytes.TrimSpace(stored)) == 0 }

type assignedRole struct{ tenant, role string }

func newRangeRows(l *Layout, size int) *rangeRows {
	return &rangeRows{layout: l, users: make(map[string]*userRows, size), byExternal: map[string]*userRows{}, taken: map[string]string{}}
}

// reset empties rr and keeps its memory.
func (rr *rangeRows) reset() {
	clear(rr.users)
	clear(rr.byExternal)
	clear(rr.taken)
	rr.whole = rowProof{}
	rr.userRows.reset()
}

// internalUser returns the user that a row of an internal-id table belongs to,
// creating it for tables that can define one, and nil when the id is nobody's.
func (rr *rangeRows) internalUser(key []byte, defines bool) *userRows {
	if u := rr.users[string(key)]; u != nil {
		return u
	}
	if !defines {
		return nil
	}
	id := string(key)
	u := rr.userRows.one()
	u.id, u.account = id, id
	rr.users[id] = u
	return u
}

// add stores one row: v is the key followed by the other columns of the reader, nil
// for NULL and for columns that this database does not have. claimed says that the
// row is, as far as is known, about a user of another range. It reports whether the
// row belongs to a user of this one.
func (rr *rangeRows) add(r *tableReader, v [][]byte, claimed bool) (bool, error) {
	if r.eitherID {
		return rr.addByID(r, v, claimed)
	}
	key := trimKey(v[0])
	if r.role == roleMapping && claimed {
		if external := string(v[1]); rr.users[external] != nil {
			rr.taken[external] = string(key)
		}
		return true, nil
	}
	u := rr.internalUser(key, r.defines(rr.layout))
	if u == nil {
		return false, nil
	}
	var err error
	if r.toID != nil {
		err = r.toID(&u.underInternal, v)
	} else {
		err = r.toUser(rr, u, v)
	}
	if err != nil {
		return true, fmt.Errorf("user %s in %s: %w", key, r.name, err)
	}
	return true, nil
}

// defines reports whether a row of the table makes a user: those of logins do, and
// those that list all users.
func (r *tableReader) defines(l *Layout) bool {
	return r.role == roleSpine || r.role == roleRecipe || r.role == roleIndex && !l.Generation.multiApp()
}

// addByID finds the user by either id, in the order of [redirects.claim]. An id that
// is one user's external and another's internal one: the row is the first user's,
// as the core sees it, unless the other one shows the same id.
func (rr *rangeRows) addByID(r *tableReader, v [][]byte, claimed bool) (bool, error) {
	key := v[0]
	trimmed := unpadded(key, r.pads)
	external := rr.byExternal[string(key)]
	if external == nil && !claimed && r.pads {
		external = rr.byExternal[string(trimmed)]
	}
	internal := rr.users[string(trimmed)]
	if internal != nil && internal.external != nil && internal != external && (claimed || external != nil) {
		internal = nil
	}
	var places [2]*idRows
	if internal != nil {
		places[0] = &internal.underInternal
	}
	if external != nil {
		places[1] = &external.underExternal
	}
	for _, p := range places {
		if p == nil {
			continue
		}
		if err := r.toID(p, v); err != nil {
			return true, fmt.Errorf("user %s in %s: %w", trimmed, r.name, err)
		}
	}
	return places[0] != nil || places[1] != nil, nil
}

// isFakeEmail recognises the addresses that SDKs make up for providers that
// give none, and for passwords added as a second factor.
func isFakeEmail(email string) bool {
	email = strings.ToLower(email)
	return strings.HasSuffix(email, "@stfakeemail.supertokens.com") || strings.HasSuffix(email, ".fakeemail.com") || strings.HasSuffix(email, "@fakeemail.com")
}

// trimPadding removes what character(n) adds: values of such columns come with
// trailing blanks, and 36-character columns have held shorter ids.
func trimPadding(b []byte) string { return string(trimKey(b)) }

// paddedWidth is the width of the columns with internal ids.
const paddedWidth = 36

// unpadded is an internal id without the blanks that a column of a fixed width adds:
// the one that it is in, or the one that it was once read from. External ids may
// really end in blanks, so those are left that no such column can have added.
func unpadded(id []byte, pads bool) []byte {
	if !pads && utf8.RuneCount(id) != paddedWidth {
		return id
	}
	return trimKey(id)
}

// tenant binds the column with a tenant. Before there are tenants, all is in the one that
// later cores make. It reports false where the column is there and has none.
func (b *binding) tenant() func(v [][]byte) (name string, ok bool) {
	at, there := b.at("tenant_id"), b.has("tenant_id")
	return func(v [][]byte) (string, bool) {
		switch {
		case there && isNothing(v[at]):
			return "", false
		case v[at] == nil, string(v[at]) == defaultName:
			return defaultName, true // the constant, which takes no memory
		}
		return string(v[at]), true
	}
}

// defaultName is what the core calls the app and the tenant that every
// installation has.
const defaultName = "public"

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

func isTrue(b []byte) bool { return len(b) > 0 && b[0] == 't' }

func integer(name string, b []byte) (int64, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("column %s holds %q, which is not a number", name, b)
	}
	return n, nil
}

// millis reads a BIGINT of milliseconds; NULL and absent columns are the zero time.
func millis(name string, b []byte) (time.Time, error) {
	if b == nil {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // a column of MySQL without a sign holds more: n is the most there is
		n, err = integer(name, b)
		return time.UnixMilli(n).UTC(), err
	}
	return time.UnixMilli(n).UTC(), nil
}

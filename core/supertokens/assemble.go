package supertokens

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/mysqldump"
)

// assembler turns joined rows into accounts. It holds what is true for the
// whole app.
type assembler struct {
	layout *Layout
	app    string
	// roles are the defined role names, nil when the database has no such table.
	roles map[string]bool
	// newTenants says that tenant membership is read from core 12's tables.
	newTenants bool
	// takeLeft says that metadata and authenticators under an internal id are taken
	// for accounts whose external id has none.
	takeLeft bool
	// findStray says that the table that maps ids is not there and may be missing.
	findStray bool
	// attached are the tables that add to an account.
	attached []*tableSpec
}

func newAssembler(l *Layout, app string) assembler {
	a := assembler{layout: l, app: app}
	for i := range schema {
		if t := &schema[i]; t.attach != nil && l.tables[t.name] != nil {
			a.attached = append(a.attached, t)
		}
	}
	return a
}

// assemble returns the accounts of one range, ordered by internal id.
func (a *assembler) assemble(rr *rangeRows) []canonical.User {
	all := rr.sorted()
	accounts := make([]canonical.User, 0, len(all))
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].account == all[0].account {
			n++
		}
		if members := all[:n]; len(members[0].logins) > 0 || a.layout.Generation.multiApp() {
			accounts = append(accounts, canonical.User{})
			a.account(&accounts[len(accounts)-1], rr, members)
		} else { // the index names it, and no table has it
			rr.whole.logins++
			rr.whole.lose(tableOfLogin(string(members[0].recipe)), members[0].id)
		}
		all = all[n:]
	}
	return accounts
}

// entry is a user with the first bytes of its account's id: nearly always these
// decide in which order two are, and need no look at the rest.
type entry struct {
	head uint64
	user *userRows
}

// sorted returns the users of a range by account, and in it by id. The slice is valid
// until the next call.
func (rr *rangeRows) sorted() []*userRows {
	entries := rr.entries[:0]
	for _, u := range rr.users {
		entries = append(entries, entry{headOf([]byte(u.account)), u})
	}
	slices.SortFunc(entries, func(x, y entry) int {
		switch {
		case x.head < y.head:
			return -1
		case x.head > y.head:
			return 1
		}
		return cmp.Or(strings.Compare(x.user.account, y.user.account), strings.Compare(x.user.id, y.user.id))
	})
	rr.entries, rr.order = entries, rr.order[:0]
	for _, e := range entries {
		rr.order = append(rr.order, e.user)
	}
	return rr.order
}

// account assembles in out, which is empty, the logins of one account, ordered by id.
func (a *assembler) account(out *canonical.User, rr *rangeRows, members []*userRows) {
	id := members[0].account
	out.App, out.InternalID, out.ID = a.app, id, id
	var own *userRows
	for _, m := range members {
		if m.id == id {
			own = m
		}
		out.Primary = out.Primary || m.linked
		for i := range m.logins {
			a.login(out, m, &m.logins[i])
		}
		if out.Logins == nil {
			out.Logins = m.logins
		} else {
			out.Logins = append(out.Logins, m.logins...)
		}
	}
	if len(out.Logins) > 1 {
		slices.SortFunc(out.Logins, func(x, y canonical.Login) int {
			return cmp.Or(x.TimeJoined.Compare(y.TimeJoined), strings.Compare(x.ID, y.ID), strings.Compare(string(x.Recipe), string(y.Recipe)))
		})
	}
	for i := range out.Logins {
		if t := out.Logins[i].TimeJoined; canonical.Known(t) && (out.TimeJoined.IsZero() || t.Before(out.TimeJoined)) {
			out.TimeJoined = t
		}
	}
	if own != nil {
		a.ownRows(out, own)
	}
	for _, m := range members {
		a.staleVerified(out, m)
		if m != own && (a.ofAccount(&m.underInternal) || a.ofAccount(&m.underExternal)) {
			warn(out, WarnRowsUnderLinkedMethod, "login %s has metadata, roles, TOTP or a last-active time of its own, which are not part of the account", m.id)
		}
		if a.newTenants && m.staleCopy() {
			warn(out, WarnOldTableStale, "login %s has another address in the table that core 12 no longer writes", m.id)
		}
		if m.otherAccount != "" && !a.layout.Generation.tenantsMigrate() { // core 12 may no longer write the index
			warn(out, WarnLinkingDiffers, "the table of all users says that login %s belongs to account %s, the index of users says %s; the first was taken. The core itself uses sometimes the one and sometimes the other", m.id, id, m.otherAccount)
		}
		if m.placeholder {
			warn(out, WarnPlaceholder, "login %s has an empty text, or a text such as NULL or blanks, in place of an address, a phone number, an external id or a note; it counts as absent. SuperTokens' own script from MySQL to PostgreSQL leaves such texts", m.id)
		}
		if missing := m.nothing | m.underInternal.nothing | m.underExternal.nothing; missing != 0 {
			warn(out, WarnNothingStored, "rows of login %s have NULL or an empty text where every core stores %s; they were left out, because the core does not find them either", m.id, missing)
		}
		if other, ok := rr.taken[m.id]; ok && other != m.id {
			a.sharedID(out, m, other)
		}
	}
	a.accountWarnings(out)
	a.complete(rr, members, own)
}

// sharedID reports that the internal id of m is the external id of another user,
// a state that core 7 to 10 themselves stumble over.
func (a *assembler) sharedID(out *canonical.User, m *userRows, other string) {
	if m.external != nil {
		warn(out, WarnSharedID, "the internal id of login %s is the external id of user %s; data under this id was taken as that of the user with the external id", m.id, other)
		return
	}
	warn(out, WarnSharedID, "users %s and %s have the same visible id; it is not known whose metadata, roles and TOTP are stored under it, so they were taken for both", m.id, other)
}

// login completes one login with what other tables say about it.
func (a *assembler) login(account *canonical.User, m *userRows, l *canonical.Login) {
	l.VisibleID = m.visibleID()
	l.Tenants = a.tenants(m)
	if l.Recipe == canonical.WebAuthn {
		l.Passkeys = m.passkeys
		slices.SortFunc(l.Passkeys, func(x, y canonical.Passkey) int { return strings.Compare(x.ID, y.ID) })
	}
	a.verify(account, m, l)
}

func (a *assembler) tenants(m *userRows) []string {
	t := m.oldTenants
	switch {
	case a.newTenants:
		t = m.newTenants
	case !a.layout.Generation.multiApp(): // one tenant, and an index that may be incomplete
		return []string{defaultName}
	}
	slices.Sort(t)
	return slices.Compact(t)
}

// verify follows the core: a login's e-mail is verified if and only if a row
// with exactly this address lies under the login's visible id. What the core
// overlooks is reported, not repaired.
func (a *assembler) verify(account *canonical.User, m *userRows, l *canonical.Login) {
	switch {
	case l.Email == nil && l.Phone != nil: // a phone number was proven when it was first used
		l.Verified = ptr(true)
		return
	case l.Email == nil, !a.layout.Generation.recordsVerification():
		return
	}
	visible, left := &m.underInternal, (*idRows)(nil)
	if m.external != nil {
		visible, left = &m.underExternal, &m.underInternal
	}
	l.Verified = ptr(slices.Contains(visible.verified, *l.Email))
	if *l.Verified {
		return
	}
	if slices.ContainsFunc(visible.verified, func(e string) bool { return strings.EqualFold(e, *l.Email) }) {
		warn(account, WarnVerifiedCaseMismatch, "login %s: the verified address differs from the current one in letter case only; the core counts it as not verified", l.ID)
	}
	if left != nil && slices.Contains(left.verified, *l.Email) {
		warn(account, WarnForcedMapping, "login %s: the verification is stored under the internal id, because of a forced id mapping; the core counts it as not verified", l.ID)
	}
	if l.Recipe == canonical.Passwordless {
		warn(account, WarnPasswordlessUnverified, "login %s: the person has proven the address by signing in, but it is not stored as verified", l.ID)
	}
}

// ownRows attaches what lies under the account's own ids, each table under the id
// where the core looks. What lies under the other one is invisible to the core: it is
// reported, and taken only where the operator wants it and it gives no power.
func (a *assembler) ownRows(out *canonical.User, own *userRows) {
	if own.external != nil {
		out.ID, out.ExternalIDInfo = *own.external, own.info
		if isDoubleEncoded(out.ID) {
			warn(out, WarnDoubleEncoded, "the external id is UTF-8 that was stored as Latin-1")
		}
	}
	for _, t := range a.attached {
		at := &own.underInternal
		if own.external != nil && t.owner(a.layout) == byVisibleID {
			at = &own.underExternal
			if n := t.leftover(&own.underInternal); n > 0 {
				a.left(out, t, n)
				if a.takeLeft && t.takeable && t.leftover(at) == 0 {
					at = &own.underInternal
				}
			}
		}
		t.attach(a, out, at)
	}
}

// left reports rows of an account under its internal id, where the core does not look
// since the account has an external one.
func (a *assembler) left(out *canonical.User, t *tableSpec, n int) {
	code, because := WarnForcedMapping, "left there by a forced id mapping"
	if t.name == TOTPDevices {
		code, because = WarnTOTPUnderInternalID, "left there by an upgrade to core 8.0, or by a forced id mapping"
	}
	what := "they were not taken"
	switch {
	case !t.takeable:
		what = "they were not taken, because the core may have removed these rights since"
	case a.takeLeft:
		what = "they were taken if there is nothing under the external id (source.left_under_internal_id)"
	}
	warn(out, code, "%d row(s) of %s are stored under the internal id, %s; the core does not see them, and %s", n, t.name, because, what)
}

func attachMetadata(a *assembler, out *canonical.User, p *idRows) { a.metadata(out, p.metadata) }

func attachRoles(a *assembler, out *canonical.User, p *idRows) {
	for _, r := range p.roles {
		if out.Roles == nil {
			out.Roles = map[string][]string{}
		}
		out.Roles[r.tenant] = append(out.Roles[r.tenant], r.role)
		if isDoubleEncoded(r.role) {
			warn(out, WarnDoubleEncoded, "role %q in tenant %s is UTF-8 that was stored as Latin-1", r.role, r.tenant)
		}
		if a.roles != nil && !a.roles[r.role] {
			warn(out, WarnDanglingRole, "role %q in tenant %s is assigned but not defined", r.role, r.tenant)
		}
	}
	for t := range out.Roles {
		slices.Sort(out.Roles[t])
		out.Roles[t] = slices.Compact(out.Roles[t])
	}
}

func attachTOTP(_ *assembler, out *canonical.User, p *idRows) {
	out.TOTPDevices = p.totp
	slices.SortStableFunc(out.TOTPDevices, func(x, y canonical.TOTPDevice) int {
		return cmp.Or(x.Created.Compare(y.Created), strings.Compare(x.Name, y.Name))
	})
}

// metadata keeps the stored text byte for byte when it is JSON.
func (a *assembler) metadata(out *canonical.User, stored []byte) {
	if stored == nil {
		return
	}
	if !json.Valid(stored) {
		if json.Valid(bytes.ReplaceAll(stored, []byte(`\\`), []byte(`\`))) {
			warn(out, WarnMetadataEscaped, "metadata is JSON only if each double backslash is read as a single one (%d bytes); it was carried as a text", len(stored))
		} else {
			warn(out, WarnMetadataInvalid, "metadata is not JSON (%d bytes) and was carried as a text", len(stored))
		}
		stored, _ = json.Marshal(string(stored)) // a string always encodes
	} else if first := bytes.TrimLeft(stored, " \t\r\n"); first[0] != '{' {
		warn(out, WarnMetadataInvalid, "metadata is JSON, but not an object (%d bytes), so it has no keys; it was carried as stored", len(stored))
	}
	if hasLoneSurrogate(stored) {
		warn(out, WarnLoneSurrogate, "metadata has half of a character (an escape from \\ud800 to \\udfff without its other half), which many programs refuse or replace; it was carried as stored")
	}
	out.Metadata = stored
	if key := doubleEncoded(stored); key != "" {
		warn(out, WarnDoubleEncoded, "metadata key %q holds UTF-8 that was stored as Latin-1", key)
	}
	if bytes.Contains(stored, []byte("isUsingTemporaryPassword")) {
		var m struct {
			Temporary any `json:"isUsingTemporaryPassword"`
		}
		if json.Unmarshal(stored, &m) == nil && m.Temporary != nil && m.Temporary != false {
			warn(out, WarnTemporaryPassword, "metadata marks the password as temporary")
		}
	}
}

// hasLoneSurrogate reports whether JSON has an escape that is half of a character. It is
// valid JSON, and no text.
func hasLoneSurrogate(stored []byte) bool {
	for rest := stored; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 >= len(rest) {
			return false
		}
		unit, ok := surrogate(rest[i:])
		switch {
		case !ok:
			rest = rest[i+2:]
		case unit >= 0xdc00:
			return true
		default:
			if next, ok := surrogate(rest[i+6:]); !ok || next < 0xdc00 {
				return true
			}
			rest = rest[i+12:]
		}
	}
}

// surrogate decodes an escape at the beginning of b, if it is that of a surrogate.
func surrogate(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil && utf16.IsSurrogate(rune(n))
}

// doubleEncoded returns the first top-level metadata key that is, or holds at
// any depth, UTF-8 read as Latin-1: the core decodes a body without a charset
// that way.
func doubleEncoded(stored []byte) string {
	if !mayBeDoubleEncoded(stored) {
		return ""
	}
	var m map[string]any
	if json.Unmarshal(stored, &m) != nil {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if isDoubleEncoded(key) || holdsDoubleEncoded(m[key]) {
			return key
		}
	}
	return ""
}

// mayBeDoubleEncoded looks for a character that is the first byte of one in
// UTF-8, U+00C2 to U+00F4, spelled out or escaped.
func mayBeDoubleEncoded(stored []byte) bool {
	for rest := stored; ; {
		i := bytes.IndexByte(rest, 0xc3)
		if i < 0 || i+1 == len(rest) {
			break
		}
		if c := rest[i+1]; 0x82 <= c && c <= 0xb4 {
			return true
		}
		rest = rest[i+1:]
	}
	return bytes.Contains(stored, []byte(`\u00`))
}

func holdsDoubleEncoded(v any) bool {
	switch v := v.(type) {
	case string:
		return isDoubleEncoded(v)
	case []any:
		return slices.ContainsFunc(v, holdsDoubleEncoded)
	case map[string]any:
		for key, value := range v {
			if isDoubleEncoded(key) || holdsDoubleEncoded(value) {
				return true
			}
		}
	}
	return false
}

// isDoubleEncoded recognises UTF-8 of which each byte was taken for a character, of ISO 8859-1
// or of what MySQL calls latin1.
func isDoubleEncoded(s string) bool {
	at := 0
	for at < len(s) && s[at] < utf8.RuneSelf {
		at++
	}
	if at == len(s) {
		return false
	}
	raw := make([]byte, 0, len(s))
	for _, r := range s[at:] {
		c, ok := mysqldump.ToLatin1(r)
		switch {
		case r <= 0xff:
			raw = append(raw, byte(r)) //nolint:gosec // at most 0xff
		case ok:
			raw = append(raw, c)
		default:
			return false
		}
	}
	return utf8.Valid(raw)
}

func (a *assembler) accountWarnings(out *canonical.User) {
	ownLogin, passwords, tenants := false, 0, false
	for i := range out.Logins {
		l := &out.Logins[i]
		ownLogin = ownLogin || l.ID == out.InternalID
		tenants = tenants || len(l.Tenants) > 0
		if !l.Password.IsZero() {
			passwords++
		}
		a.loginWarnings(out, l)
	}
	switch {
	case len(out.Logins) == 0:
		warn(out, WarnNoLogin, "the account has no login method")
	case !ownLogin:
		out.GhostPrimary = true
		warn(out, WarnGhostPrimary, "the login that gave the account its id was deleted")
	}
	if !tenants && len(out.Logins) > 0 {
		warn(out, WarnNoTenant, "the account is in no tenant, so SuperTokens' own listing omits it")
	}
	if passwords > 1 {
		warn(out, WarnSeveralPasswords, "%d password hashes on one account; a target with one password takes one", passwords)
	}
	var unverified int
	for _, d := range out.TOTPDevices {
		if !d.Verified {
			unverified++
		}
	}
	if unverified > 0 {
		warn(out, WarnTOTPUnverified, "%d TOTP device(s) whose enrolment was never finished", unverified)
	}
}

func (a *assembler) loginWarnings(out *canonical.User, l *canonical.Login) {
	if l.FakeEmail {
		warn(out, WarnFakeEmail, "login %s has an address that SuperTokens made up", l.ID)
	}
	if l.Email != nil && isDoubleEncoded(*l.Email) || l.Identity != nil && isDoubleEncoded(l.Identity.Subject) {
		warn(out, WarnDoubleEncoded, "login %s has an address or an id of a provider that is UTF-8 stored as Latin-1", l.ID)
	}
	if l.Email != nil && !l.FakeEmail && hasUpper(*l.Email) {
		warn(out, WarnMixedCaseEmail, "login %s has an address in mixed case, from before core 3.2", l.ID)
	}
	if l.Email != nil && strings.TrimSpace(*l.Email) != *l.Email {
		warn(out, WarnBlankEmail, "login %s has an address with blanks around it; the core looks for addresses without them", l.ID)
	}
	if l.Recipe == canonical.WebAuthn && len(l.Passkeys) == 0 {
		warn(out, WarnNoPasskey, "login %s is by passkey, but has no passkey", l.ID)
	}
	switch l.Password.Scheme {
	case canonical.FirebaseScrypt:
		warn(out, WarnFirebaseHash, "login %s has a Firebase hash, which needs the signer key", l.ID)
	case canonical.UnknownScheme:
		warn(out, WarnUnknownHash, "login %s has a password hash in no known format (%s)", l.ID, l.Password.Shape())
	case canonical.Bcrypt, canonical.Argon2id, canonical.Argon2i, canonical.Argon2d:
	}
	switch t := l.TimeJoined; {
	case !canonical.Known(t):
		warn(out, WarnTimeUnknown, "login %s has no joining time", l.ID)
	case t.Before(earliest) || t.After(latest):
		warn(out, WarnTimeImplausible, "login %s has a joining time in %d, probably because seconds or microseconds were stored instead of milliseconds; it was carried as stored", l.ID, t.Year())
	}
	if l.Phone != nil && !isE164(*l.Phone) {
		warn(out, WarnPhoneNotNormal, "login %s has a phone number that is not in the international form, from before core 7.0.12", l.ID)
	}
}

// Joining times outside of these are a mistake of unit: SuperTokens did not exist
// before, and only years to come lie behind.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func hasUpper(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z':
			return true
		case c >= utf8.RuneSelf:
			return strings.IndexFunc(s[i:], unicode.IsUpper) >= 0
		}
	}
	return false
}

// isE164 reports whether a phone number is as core 7.0.12 and later store it.
func isE164(phone string) bool {
	digits, ok := strings.CutPrefix(phone, "+")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// staleVerified reports verified addresses that are no longer, or were never,
// the address of the login they are stored for.
func (a *assembler) staleVerified(out *canonical.User, m *userRows) {
	for _, email := range slices.Concat(m.underInternal.verified, m.underExternal.verified) {
		current := slices.ContainsFunc(m.logins, func(l canonical.Login) bool {
			return l.Email != nil && strings.EqualFold(*l.Email, email)
		})
		if !current {
			warn(out, WarnStaleVerified, "a verified address of login %s is not its current one", m.id)
		}
	}
}

// ofAccount reports whether there is something that only an account has.
func (a *assembler) ofAccount(p *idRows) bool {
	return slices.ContainsFunc(a.attached, func(t *tableSpec) bool { return t.leftover(p) > 0 })
}

// staleCopy reports whether the old copy of the address differs from the login's.
func (m *userRows) staleCopy() bool {
	return slices.ContainsFunc(m.oldEmails, func(email string) bool {
		return !slices.ContainsFunc(m.logins, func(l canonical.Login) bool { return l.Email != nil && *l.Email == email })
	})
}

func warn(u *canonical.User, code, format string, args ...any) {
	u.Warnings = append(u.Warnings, canonical.Warning{Code: code, Detail: fmt.Sprintf(format, args...)})
}

func ptr[T any](v T) *T { return &v }

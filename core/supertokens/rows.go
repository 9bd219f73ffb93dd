package supertokens

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// rangeRows holds everything the source has about the accounts of one range,
// joined by user id. A store fills it in the order spine, recipe tables,
// mapping, the rest; [assemble] turns it into accounts.
type rangeRows struct {
	layout *Layout
	users  map[string]*userRows
	// byExternal finds users by the id that applications see.
	byExternal map[string]*userRows
	// taken holds the external ids of other users that look like internal ones,
	// with the internal id of the user that is mapped to it.
	taken map[string]string

	userSlab  slab[userRows]
	loginSlab slab[canonical.Login]
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
	// undated says that core 12's backfill has not reached the spine row.
	undated bool
	logins  []canonical.Login
	// oldTenants and newTenants are the two places where core 12 may keep the
	// membership; before that only the old one exists.
	oldTenants, newTenants []string
	// oldEmails are the copies that core 12 stops writing.
	oldEmails []string
	external  *string
	info      *string
	// Rows of tables that store the visible id, by the id they lie under.
	underInternal, underExternal visibleRows
	passkeys                     []canonical.Passkey
}

// visibleRows are the rows under one id of the tables of kind visibleID.
type visibleRows struct {
	verified   []string
	metadata   []byte
	roles      []assignedRole
	totp       []canonical.TOTPDevice
	lastActive time.Time
}

type assignedRole struct{ tenant, role string }

func newRangeRows(l *Layout, size int) *rangeRows {
	return &rangeRows{layout: l, users: make(map[string]*userRows, size), byExternal: map[string]*userRows{}, taken: map[string]string{}}
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
	u := &rr.userSlab.one()[0]
	u.id, u.account = id, id
	rr.users[id] = u
	return u
}

// add stores one row: v is the key followed by the columns of s, nil for NULL
// and for columns that this database does not have. claimed says that the row
// is, as far as is known, about a user of another range. It reports whether the
// row belongs to a user of this one.
func (rr *rangeRows) add(s *spec, v [][]byte, claimed bool) (bool, error) {
	if s.keyIs == visibleID {
		return rr.addVisible(s, v[0], v[1:], claimed)
	}
	key := trimKey(v[0])
	if s.table == tMapping && claimed {
		if external := trimPadding(v[1]); rr.users[external] != nil {
			rr.taken[external] = string(key)
		}
		return true, nil
	}
	defines := s.table == tSpine || s.table == tEmailPassword || s.table == tThirdParty || s.table == tPasswordless || s.table == tWebAuthn
	u := rr.internalUser(key, defines)
	if u == nil {
		return false, nil
	}
	v = v[1:]
	switch s.table {
	case tSpine:
		u.undated = string(v[2]) == "0"
		if v[0] != nil {
			if primary := trimKey(v[0]); string(primary) != u.id {
				u.account = string(primary)
			}
			u.linked = isTrue(v[1])
		}
	case tUserIndex:
		u.oldTenants = append(u.oldTenants, tenantOf(v[0]))
	case tRecipeUserTenants:
		u.newTenants = append(u.newTenants, tenantOf(v[0]))
	case tOldEmails:
		u.oldEmails = append(u.oldEmails, string(v[0]))
	case tMapping:
		external := string(v[0])
		u.external, u.info = &external, text(v[1])
		rr.byExternal[external] = u
	case tWebAuthnCreds:
		p, err := passkey(v)
		if err != nil {
			return true, fmt.Errorf("user %s in %s: %w", key, s.table, err)
		}
		u.passkeys = append(u.passkeys, p)
	default:
		added := rr.loginSlab.one()
		if err := login(&added[0], s.table, u.id, v); err != nil {
			return true, fmt.Errorf("user %s in %s: %w", key, s.table, err)
		}
		if u.logins == nil {
			u.logins = added
		} else {
			u.logins = append(u.logins, added...)
		}
	}
	return true, nil
}

// addVisible finds the user by either id, in the order of [routes.claim]. An id
// that is one user's external and another's internal one: the row is the first
// user's, as the core sees it, unless the other one shows the same id.
func (rr *rangeRows) addVisible(s *spec, key []byte, v [][]byte, claimed bool) (bool, error) {
	trimmed := trimKey(key)
	external := rr.byExternal[string(key)]
	if external == nil && !claimed && len(trimmed) < len(key) {
		external = rr.byExternal[string(trimmed)]
	}
	internal := rr.users[string(trimmed)]
	if internal != nil && internal.external != nil && internal != external && (claimed || external != nil) {
		internal = nil
	}
	var places [2]*visibleRows
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
		if err := p.add(s.table, v); err != nil {
			return true, fmt.Errorf("user %s in %s: %w", trimmed, s.table, err)
		}
	}
	return places[0] != nil || places[1] != nil, nil
}

func (p *visibleRows) add(t table, v [][]byte) error {
	switch t {
	case tVerified:
		p.verified = append(p.verified, string(v[0]))
	case tMetadata:
		p.metadata = slices.Clone(v[0])
	case tUserRoles:
		p.roles = append(p.roles, assignedRole{tenantOf(v[0]), string(v[1])})
	case tTOTPUsers, tSessions: // only whose they are matters
	case tTOTPDevices:
		d, err := totpDevice(v)
		if err != nil {
			return err
		}
		p.totp = append(p.totp, d)
	case tLastActive:
		t, err := millis("last_active_time", v[0])
		if err != nil {
			return err
		}
		p.lastActive = t
	default:
		return fmt.Errorf("table %s is not read by visible id", t)
	}
	return nil
}

// login fills l with a row of a recipe table.
func login(l *canonical.Login, t table, id string, v [][]byte) error {
	l.ID = id
	var joined []byte
	switch t {
	case tEmailPassword:
		l.Recipe, l.Email, joined = canonical.EmailPassword, text(v[0]), v[2]
		l.Password = canonical.ParsePasswordHash(trimPadding(v[1]))
		if v[3] != nil {
			l.Verified = ptr(isTrue(v[3]))
		}
	case tThirdParty:
		l.Recipe, l.Email, joined = canonical.ThirdParty, text(v[2]), v[3]
		l.Identity = &canonical.Identity{Provider: string(v[0]), Subject: string(v[1])}
	case tPasswordless:
		l.Recipe, l.Email, l.Phone, joined = canonical.Passwordless, text(v[0]), text(v[1]), v[2]
	case tWebAuthn:
		l.Recipe, l.Email, joined = canonical.WebAuthn, text(v[0]), v[2]
	default:
		return fmt.Errorf("table %s holds no logins", t)
	}
	var err error
	l.TimeJoined, err = millis("time_joined", joined)
	l.FakeEmail = l.Email != nil && isFakeEmail(*l.Email)
	return err
}

// isFakeEmail recognises the addresses that SDKs make up for providers that
// give none, and for passwords added as a second factor.
func isFakeEmail(email string) bool {
	email = strings.ToLower(email)
	return strings.HasSuffix(email, "@stfakeemail.supertokens.com") || strings.HasSuffix(email, ".fakeemail.com") || strings.HasSuffix(email, "@fakeemail.com")
}

func totpDevice(v [][]byte) (canonical.TOTPDevice, error) {
	period, err := integer("period", v[2])
	if err != nil {
		return canonical.TOTPDevice{}, err
	}
	skew, err := integer("skew", v[3])
	if err != nil {
		return canonical.TOTPDevice{}, err
	}
	created, err := millis("created_at", v[5])
	return canonical.TOTPDevice{
		Name: string(v[0]), Secret: canonical.NewSecret(string(v[1])),
		Period: time.Duration(period) * time.Second, Skew: int(skew), Verified: isTrue(v[4]), Created: created,
	}, err
}

func passkey(v [][]byte) (canonical.Passkey, error) {
	counter, err := integer("counter", v[2])
	if err != nil {
		return canonical.Passkey{}, err
	}
	hexKey, ok := strings.CutPrefix(string(v[3]), `\x`)
	key, errHex := hex.DecodeString(hexKey)
	if !ok || errHex != nil {
		return canonical.Passkey{}, fmt.Errorf("column public_key is not bytea in hex form")
	}
	created, err := millis("created_at", v[5])
	return canonical.Passkey{
		ID: string(v[0]), RelyingParty: string(v[1]), Counter: counter, PublicKey: key,
		Transports: slices.Clone(v[4]), Created: created,
	}, err
}

// trimPadding removes what character(n) adds: values of such columns come with
// trailing blanks, and 36-character columns have held shorter ids.
func trimPadding(b []byte) string { return string(trimKey(b)) }

// tenantOf maps the absent tenant of generations without tenants to the name
// that the later ones give it.
func tenantOf(b []byte) string {
	if b == nil || string(b) == defaultName {
		return defaultName
	}
	return string(b)
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
	n, err := integer(name, b)
	return time.UnixMilli(n).UTC(), err
}

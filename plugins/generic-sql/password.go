package sqltarget

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/sdk"
)

var _ sdk.PasswordSetter = (*live)(nil)

const (
	bcryptCost  = 12
	bcryptBytes = 72 // of a password; bcrypt does not look at more

	// The second recommended option of RFC 9106, section 4.
	argon2Passes, argon2KiB, argon2Lanes = 3, 64 << 10, 4
	argon2Salt, argon2Key                = 16, 32
)

// newHash hashes a password that a person has chosen, with a scheme that the application
// verifies.
func newHash(schemes []string, password string) (sdk.PasswordHash, error) {
	short := len(password) <= bcryptBytes
	switch {
	case short && slices.Contains(schemes, string(sdk.Bcrypt)):
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcryptCost)
		return sdk.ParsePasswordHash(string(hash)), err
	case slices.Contains(schemes, string(sdk.Argon2id)):
		salt := make([]byte, argon2Salt)
		_, _ = rand.Read(salt) // never fails
		key := argon2.IDKey([]byte(password), salt, argon2Passes, argon2KiB, argon2Lanes, argon2Key)
		text := base64.RawStdEncoding.EncodeToString
		return sdk.ParsePasswordHash(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argon2KiB, argon2Passes, argon2Lanes, text(salt), text(key))), nil
	}
	return sdk.PasswordHash{}, &sdk.Failure{
		Code: sdk.CodePasswordRefused, Detail: fmt.Sprintf("the password has %d bytes, and bcrypt looks at %d", len(password), bcryptBytes), Hint: "choose a shorter password",
	}
}

// hashes and what is told of them, in declarations of columns.
var ofPassword = regexp.MustCompile(`\b(password_hash|password\.(hash|scheme)|login\.hash)\b`)

// settable says that a new password has a place: a scheme that the application verifies,
// and columns that need nothing else of an account.
func settable(c *Config, m *model) bool {
	if !slices.Contains(c.Hashes, string(sdk.Bcrypt)) && !slices.Contains(c.Hashes, string(sdk.Argon2id)) {
		return false
	}
	for _, t := range m.tables {
		for _, col := range t.columns {
			if col.password && !col.source.needsOnly("id", "password_hash", "now") {
				return false
			}
		}
	}
	return m.passwords()
}

// needsOnly says that these are all fields of the account that a value is made of.
func (s *source) needsOnly(fields ...string) bool {
	return !slices.ContainsFunc(s.uses, func(f string) bool { return !slices.Contains(fields, f) })
}

// SetPassword implements [sdk.PasswordSetter]: a hash of the new password takes the place
// of the old one, in one transaction. Who had none gets the row for it.
func (t *live) SetPassword(ctx context.Context, c sdk.PasswordChange) error {
	if c.TargetID == "" {
		return &sdk.Failure{
			Code: sdk.CodeNoSuchAccount, Detail: "a database is asked by id, and no run has loaded this account", Hint: "run stetl run first; bridge.match_email does nothing here",
		}
	}
	p, err := t.open(ctx)
	if err != nil {
		return err
	}
	hash, err := newHash(t.config.Hashes, c.Password.Reveal())
	if err != nil {
		return err
	}
	tx, err := t.server.begin(ctx, writing)
	if err != nil {
		return explain(err)
	}
	defer tx.close(ctx)
	s := &setter{writer: &writer{&session{place: p, tx: tx}}, id: c.TargetID, hash: hash}
	if err := s.set(ctx); err != nil {
		return explain(err)
	}
	if c.EndSessions {
		s.endSessions(ctx, t.env.Log)
	}
	// Done twice it is the same, so whoever does not hear of the end may try again.
	return explain(tx.commit(ctx))
}

// setter gives one account a password, in one transaction.
type setter struct {
	*writer
	id   string
	hash sdk.PasswordHash
}

func (s *setter) set(ctx context.Context) error {
	held, err := s.read(ctx, []string{s.id}, true)
	if err != nil {
		return err
	}
	rows := held[s.id]
	if !slices.ContainsFunc(rows, func(r *row) bool { return r.table == s.model.accounts() }) {
		return &sdk.Failure{Code: sdk.CodeNoSuchAccount, Detail: "there is no account with this id in the database"}
	}
	refused, err := s.behind(ctx, func() error {
		changed := 0
		for _, r := range rows {
			n, err := s.change(ctx, r)
			if err != nil {
				return err
			}
			changed += n
		}
		if changed == 0 {
			return s.add(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if refused != nil {
		return &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: refused.text}
	}
	return s.holds(ctx)
}

// change writes the new hash into a row that has one, and says how many that were.
func (s *setter) change(ctx context.Context, r *row) (int, error) {
	if !slices.ContainsFunc(r.table.columns, func(c *column) bool { return c.personal }) {
		return 0, nil
	}
	if r.table.Per == perLogin && !r.hasHash() {
		return 0, nil // another kind of login
	}
	next := &row{table: r.table, key: r.key, values: slices.Clone(r.values)}
	if err := s.fill(next, func(c *column) bool { return c.password }); err != nil {
		return 0, err
	}
	return 1, s.assign(ctx, r.table, []pending{{row: next}}, func(c *column) bool { return c.password })
}

// add makes the row of a password for an account that had none.
func (s *setter) add(ctx context.Context) error {
	noPlace := &sdk.Failure{
		Code: sdk.CodeTargetRefused, Detail: "the account has no row that could hold a password, and none can be made of what is known here",
		Hint: "let the person choose a password in the application",
	}
	made := false
	for _, t := range s.model.tables {
		if t.Per != perPassword || !slices.ContainsFunc(t.columns, func(c *column) bool { return c.personal }) {
			continue
		}
		if t.when != nil || slices.ContainsFunc(t.columns, func(c *column) bool { return !c.source.needsOnly("id", "password_hash", "now", "created") }) {
			return noPlace
		}
		r := &row{table: t, values: make([]value, len(t.columns))}
		if err := s.fill(r, func(*column) bool { return true }); err != nil {
			return err
		}
		if err := s.insert(ctx, t, []pending{{row: r}}); err != nil {
			return err
		}
		made = true
	}
	if !made {
		return noPlace
	}
	return nil
}

// fill computes columns of a row from the new hash.
func (s *setter) fill(r *row, columns func(*column) bool) error {
	u := &sdk.User{ID: s.id, Password: s.hash}
	now := time.Now()
	part := item{user: u, now: now}
	for _, p := range items(u, r.table.Per, now) {
		part = p
	}
	for i, c := range r.table.columns {
		if !columns(c) {
			continue
		}
		v, err := c.source.eval(&part)
		if err == nil {
			r.values[i], err = c.held.canonical(v)
		}
		if err == nil {
			err = c.held.allows(r.values[i])
		}
		if err != nil {
			return &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: fmt.Sprintf("%s.%s: %v", r.table.Name, c.name, err)}
		}
	}
	return nil
}

func (r *row) hasHash() bool {
	for i, c := range r.table.columns {
		if c.personal && !r.values[i].null {
			return true
		}
	}
	return false
}

// holds reads back what was written: a trigger may have another mind.
func (s *setter) holds(ctx context.Context) error {
	held, err := s.read(ctx, []string{s.id}, false)
	if err != nil {
		return err
	}
	for _, r := range held[s.id] {
		if !r.hasHash() {
			continue
		}
		want := &row{table: r.table, key: r.key, values: slices.Clone(r.values)}
		if err := s.fill(want, func(c *column) bool { return c.personal }); err != nil {
			return err
		}
		for i, c := range r.table.columns {
			if c.personal && !want.values[i].is(r.values[i]) {
				return &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: fmt.Sprintf("the database does not keep the new hash in %s.%s", r.table.Name, c.name), Hint: "look for a trigger"}
			}
		}
	}
	return nil
}

// endSessions deletes the rows of sessions. The password is set: that sessions go on is no
// reason to say that it is not.
func (s *setter) endSessions(ctx context.Context, log *slog.Logger) {
	refused, err := s.behind(ctx, func() error { return s.without(ctx, s.id, s.catalogue.sessions) })
	if refused != nil {
		err = errors.New(refused.text)
	}
	if err != nil {
		log.WarnContext(ctx, "a new password is set, and the sessions of the account go on", slog.String("account", s.id), slog.String("error", plainError(err)))
	}
}

// without deletes the rows of some tables that refer to an account.
func (s *writer) without(ctx context.Context, id string, tables map[string]bool) error {
	for i := range s.catalogue.referrers {
		f := &s.catalogue.referrers[i]
		if !tables[f.from] {
			continue
		}
		for _, p := range s.places {
			if p.held.id != f.to {
				continue
			}
			on := append(f.joined(s.server, "x"), s.server.same("p."+s.server.quote(p.account.name), s.server.param(1, p.account)))
			if err := s.tx.exec(ctx, s.server.removing(f.fromName, p.held.name+" AS p", strings.Join(on, " AND ")), p.account.written(value{text: id})); err != nil {
				return err
			}
		}
	}
	return nil
}

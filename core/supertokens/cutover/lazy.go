package cutover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Candidate is a user who can sign in to the source with a password.
type Candidate struct {
	User     session.User
	Email    string
	Verified bool
	Hash     canonical.PasswordHash
}

// Passwords are those of the source, for targets that cannot verify their hashes.
type Passwords struct {
	*database
	signer canonical.Secret
}

// Candidate finds the password login of an address in a tenant or, when name is
// no address, of the account with that visible id. [session.ErrNoUser] means
// that there is none.
func (p *Passwords) Candidate(ctx context.Context, tenant, name string) (Candidate, error) {
	tables, rows := p.sessions.Tables(), p.sessions.Rows()
	var found []supertokens.FoundLogin
	var err error
	if strings.Contains(name, "@") {
		found, err = tables.PasswordLoginsAt(ctx, rows, tenant, strings.ToLower(strings.TrimSpace(name)))
	} else {
		found, err = tables.PasswordLogins(ctx, rows, supertokens.VisibleID(name))
	}
	switch {
	case err != nil:
		return Candidate{}, err
	case len(found) == 0:
		return Candidate{}, session.ErrNoUser
	}
	// The login that gave the account its id comes before others.
	at := max(0, slices.IndexFunc(found, func(l supertokens.FoundLogin) bool { return l.LoginID == l.InternalID }))
	return candidate(found[at]), nil
}

func candidate(found supertokens.FoundLogin) Candidate {
	l := found.Login
	c := Candidate{User: found.Who, Hash: l.Password, Verified: l.Verified != nil && *l.Verified}
	if l.Email != nil {
		c.Email = *l.Email
	}
	return c
}

// dummies are what the password of nobody is compared with, made as cores make
// them by default.
var dummies = map[canonical.Scheme]string{
	canonical.Bcrypt:         "$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm",
	canonical.Argon2id:       "$argon2id$v=19$m=87795,t=1,p=2$c3RldGwgaGFzIG5vYm9keQ$c3RldGwgaGFzIG5vYm9keSBzdGV0bCBoYXMgbm9ib2Q",
	canonical.Argon2i:        "$argon2i$v=19$m=87795,t=1,p=2$c3RldGwgaGFzIG5vYm9keQ$c3RldGwgaGFzIG5vYm9keSBzdGV0bCBoYXMgbm9ib2Q",
	canonical.FirebaseScrypt: "$f_scrypt$c3RldGwgaGFzIG5vYm9keQ==$c3RldGwgc2FsdA==$m=14$r=8$s=Bw==",
}

// Check tells whether the password belongs to the candidate. When there
// is none (a zero candidate), it takes as long as for a hash of the scheme, so
// that the time of an answer does not tell whether there is such a user.
func (p *Passwords) Check(c Candidate, password canonical.Secret, scheme canonical.Scheme) (bool, error) {
	if c.Hash.IsZero() {
		_, err := VerifyPassword(canonical.ParsePasswordHash(dummies[scheme]), password, p.signer)
		return false, err
	}
	return VerifyPassword(c.Hash, password, p.signer)
}

// Arrived notes that a user has come over by way of a password check.
func (p *Passwords) Arrived(ctx context.Context, u session.User) error {
	err := p.db.Put(ctx, p.own.table("arrival"), []string{"app_id", "user_id", "at_ms"}, p.app, u.InternalID, p.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("note an arrival: %w", err)
	}
	return nil
}

// Waiting counts the users with one of these kinds of hashes who have not come
// over yet, and those who have.
func (p *Passwords) Waiting(ctx context.Context, schemes []canonical.Scheme) (waiting, arrived int, err error) {
	from, err := p.sessions.Tables().Need(tablePassword)
	if err != nil {
		return 0, 0, err
	}
	args := []any{p.app}
	var schemeIs []string
	for _, s := range schemes {
		for _, pattern := range hashPatterns[s] {
			args = append(args, pattern)
			schemeIs = append(schemeIs, fmt.Sprintf("u.password_hash LIKE $%d", len(args)))
		}
	}
	if len(schemeIs) == 0 {
		return 0, 0, nil
	}
	app := ""
	if from.Has("app_id") {
		app = " AND u.app_id = $1 AND " + from.Exact("u.app_id") + " = $1"
	}
	join, account := p.sessions.Tables().AccountSQL(from, "u")
	counts, err := supertokens.Counts(ctx, p.db, 2, "SELECT count(*) - count(a.user_id), count(a.user_id) FROM (SELECT DISTINCT "+account+" AS id FROM "+from.SQL()+" u"+join+
		" WHERE ("+strings.Join(schemeIs, " OR ")+")"+app+") w LEFT JOIN "+p.own.table("arrival")+" a ON a.app_id = $1 AND a.user_id = w.id", args...)
	if err != nil {
		return 0, 0, fmt.Errorf("count who is still to come: %w", err)
	}
	return counts[0], counts[1], nil
}

// hashPatterns recognise a scheme in SQL.
var hashPatterns = map[canonical.Scheme][]string{
	canonical.Bcrypt:         {"$2_$%"},
	canonical.Argon2id:       {"$argon2id$%"},
	canonical.Argon2i:        {"$argon2i$%"},
	canonical.Argon2d:        {"$argon2d$%"},
	canonical.FirebaseScrypt: {"$f\\_scrypt$%"},
}

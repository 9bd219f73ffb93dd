package cutover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

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
	_, err := p.pool.Exec(ctx, "INSERT INTO "+p.own("arrival")+" (app_id, user_id, at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		p.app, u.InternalID, p.now().UnixMilli())
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
	var patterns []string
	for _, s := range schemes {
		patterns = append(patterns, hashPatterns[s]...)
	}
	app, args := "", []any{patterns, p.app}
	if from.Has("app_id") {
		app = " AND u.app_id = $2"
	}
	join, account := p.sessions.Tables().AccountSQL("u")
	err = p.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE a.user_id IS NULL), count(a.user_id) FROM
(SELECT DISTINCT `+account+` AS id FROM `+from.SQL()+" u"+join+" WHERE u.password_hash LIKE ANY($1)"+app+`) w
LEFT JOIN `+p.own("arrival")+" a ON a.app_id = $2 AND a.user_id = w.id", args...).Scan(&waiting, &arrived)
	if err != nil {
		return 0, 0, fmt.Errorf("count who is still to come: %w", err)
	}
	return waiting, arrived, nil
}

// hashPatterns recognise a scheme in SQL.
var hashPatterns = map[canonical.Scheme][]string{
	canonical.Bcrypt:         {"$2_$%"},
	canonical.Argon2id:       {"$argon2id$%"},
	canonical.Argon2i:        {"$argon2i$%"},
	canonical.Argon2d:        {"$argon2d$%"},
	canonical.FirebaseScrypt: {"$f\\_scrypt$%"},
}

// Grants are the statements that make a role of that name able to run the
// bridge, with the tables as this installation has them, and the tables of the
// bridge itself. Password hashes are for the check of passwords alone.
func Grants(tables *supertokens.Tables, schema, role string, hashes bool) []string {
	if schema == "" {
		schema = defaultSchema
	}
	to := " TO " + pgx.Identifier{role}.Sanitize()
	own := pgx.Identifier{schema}.Sanitize()
	out := append(tableStatements(schema),
		"GRANT USAGE ON SCHEMA "+own+to,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+own+to,
		"GRANT USAGE ON SCHEMA "+pgx.Identifier{tables.Layout().Schema}.Sanitize()+to,
	)
	for _, g := range grants {
		for _, name := range g.tables {
			from, ok := tables.Table(name)
			if !ok {
				continue
			}
			if columns, has := from.WithoutHash(); has && !hashes {
				for i, c := range columns {
					columns[i] = pgx.Identifier{c}.Sanitize()
				}
				out = append(out, "REVOKE SELECT ON "+from.SQL()+" FROM "+pgx.Identifier{role}.Sanitize(), "GRANT SELECT ("+strings.Join(columns, ", ")+") ON "+from.SQL()+to)
				continue
			}
			out = append(out, "GRANT "+g.rights+" ON "+from.SQL()+to)
		}
	}
	// Core 12 may keep the tenants of users in either of two places, and a setting of
	// its says in which.
	_, moving := tables.Table(supertokens.RecipeUserTenants)
	if from, ok := tables.Table(supertokens.TenantConfigs); ok && moving {
		out = append(out, "GRANT SELECT ON "+from.SQL()+to)
	}
	if users, ok := verifiedColumn(tables); ok {
		out = append(out, "GRANT UPDATE ("+columnVerify+") ON "+users.SQL()+to)
	}
	return out
}

// grants is all that the bridge does to the tables of SuperTokens.
var grants = []struct {
	rights string
	tables []supertokens.TableName
}{
	{"SELECT", []supertokens.TableName{
		supertokens.KeyValue, supertokens.SessionSigningKeys, supertokens.JWTSigningKeys, supertokens.UserIDMapping, supertokens.Spine, supertokens.UserIndex,
		supertokens.EmailPasswordUsers, supertokens.ThirdPartyUsers, supertokens.PasswordlessUsers, supertokens.WebAuthnUsers, supertokens.EmailPasswordUserToTenant, supertokens.RecipeUserTenants,
	}},
	{"SELECT, DELETE", []supertokens.TableName{supertokens.SessionInfo, tableReset, tableVerify, tableVerify31}},
	{"SELECT, INSERT", []supertokens.TableName{tableVerified}},
}

package cutover

import (
	"context"
	"errors"
	"fmt"
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

// Candidate finds the password login of an address in a tenant or, when name is
// no address, of the account with that visible id. [session.ErrNoUser] means
// that there is none.
func (d *DB) Candidate(ctx context.Context, tenant, name string) (Candidate, error) {
	var ids []string
	var err error
	if !storable(name) {
		return Candidate{}, session.ErrNoUser
	}
	if strings.Contains(name, "@") {
		ids, err = d.byAddress(ctx, tenant, strings.ToLower(strings.TrimSpace(name)))
	} else {
		var u session.User
		if u, err = d.sessions.UserByVisibleID(ctx, name); err == nil {
			ids, err = d.sessions.LoginIDs(ctx, u)
		}
	}
	if err != nil {
		return Candidate{}, err
	}
	for _, id := range ids {
		c, err := d.password(ctx, id)
		if !errors.Is(err, session.ErrNoUser) {
			return c, err
		}
	}
	return Candidate{}, session.ErrNoUser
}

// byAddress lists login methods with the address. From core 6 on, and again from
// 12 on, the address of a tenant has a table of its own, with the index for it.
func (d *DB) byAddress(ctx context.Context, tenant, address string) ([]string, error) {
	tables := d.sessions.Tables()
	users, err := tables.Need(tablePassword)
	if err != nil {
		return nil, err
	}
	var queries []string
	if from, ok := tables.Table(supertokens.EmailPasswordUserToTenant); ok && users.Has("app_id") && from.Readable() {
		queries = append(queries, "SELECT user_id::text FROM "+from.SQL()+" WHERE app_id = $1 AND tenant_id = $2 AND email = $3")
	}
	if from, ok := tables.Table(supertokens.RecipeUserTenants); ok && from.Readable() && from.Has("account_info_type", "account_info_value") {
		queries = append(queries, "SELECT recipe_user_id::text FROM "+from.SQL()+
			" WHERE app_id = $1 AND tenant_id = $2 AND recipe_id = 'emailpassword' AND account_info_type = 'email' AND account_info_value = $3")
	}
	args := []any{d.app, tenant, address}
	if len(queries) == 0 {
		queries, args = []string{"SELECT user_id::text FROM " + users.SQL() + " WHERE email = $1"}, []any{address}
	}
	rows, err := d.pool.Query(ctx, strings.Join(queries, " UNION "), args...)
	if err != nil {
		return nil, fmt.Errorf("look up an address: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look up an address: %w", err)
	}
	return ids, nil
}

// password reads the password of one login method.
func (d *DB) password(ctx context.Context, id string) (Candidate, error) {
	id = strings.TrimRight(id, " ")
	from, err := d.sessions.Tables().Need(tablePassword)
	if err != nil {
		return Candidate{}, err
	}
	sql, args := "SELECT email, password_hash FROM "+from.SQL()+" WHERE user_id = $1::bpchar", []any{id}
	if from.Has("app_id") {
		sql, args = sql+" AND app_id = $2", append(args, d.app)
	}
	var c Candidate
	var hash string
	switch err := d.pool.QueryRow(ctx, sql, args...).Scan(&c.Email, &hash); {
	case errors.Is(err, pgx.ErrNoRows):
		return Candidate{}, session.ErrNoUser
	case err != nil:
		return Candidate{}, fmt.Errorf("read a password hash: %w", err)
	}
	c.Hash = canonical.ParsePasswordHash(hash)
	if c.User, err = d.sessions.UserByInternalID(ctx, id); err != nil {
		return Candidate{}, err
	}
	c.Verified, err = d.verified(ctx, c)
	return c, err
}

func (d *DB) verified(ctx context.Context, c Candidate) (bool, error) {
	if users, ok := verifiedColumn(d.sessions.Tables()); ok {
		var verified bool
		err := d.pool.QueryRow(ctx, "SELECT "+columnVerify+" FROM "+users.SQL()+" WHERE user_id = $1::bpchar", c.User.LoginID).Scan(&verified)
		if err != nil {
			return false, fmt.Errorf("look up a verified address: %w", err)
		}
		return verified, nil
	}
	from, ok := d.sessions.Tables().Table(tableVerified)
	if !ok || !from.Readable() {
		return false, nil
	}
	ids := []string{c.User.ID, c.User.LoginID, c.User.InternalID}
	sql, args := "SELECT 1 FROM "+from.SQL()+" WHERE user_id = ANY($1) AND email = $2", []any{ids, c.Email}
	if from.Has("app_id") {
		sql, args = sql+" AND app_id = $3", append(args, d.app)
	}
	var one int
	switch err := d.pool.QueryRow(ctx, sql+" LIMIT 1", args...).Scan(&one); {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look up a verified address: %w", err)
	}
	return true, nil
}

// dummies are what the password of nobody is compared with, made as cores make
// them by default.
var dummies = map[canonical.Scheme]string{
	canonical.Bcrypt:         "$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm",
	canonical.Argon2id:       "$argon2id$v=19$m=87795,t=1,p=2$c3RldGwgaGFzIG5vYm9keQ$c3RldGwgaGFzIG5vYm9keSBzdGV0bCBoYXMgbm9ib2Q",
	canonical.Argon2i:        "$argon2i$v=19$m=87795,t=1,p=2$c3RldGwgaGFzIG5vYm9keQ$c3RldGwgaGFzIG5vYm9keSBzdGV0bCBoYXMgbm9ib2Q",
	canonical.FirebaseScrypt: "$f_scrypt$c3RldGwgaGFzIG5vYm9keQ==$c3RldGwgc2FsdA==$m=14$r=8$s=Bw==",
}

// CheckPassword tells whether the password belongs to the candidate. When there
// is none (a zero candidate), it takes as long as for a hash of the scheme, so
// that the time of an answer does not tell whether there is such a user.
func (d *DB) CheckPassword(c Candidate, password canonical.Secret, scheme canonical.Scheme) (bool, error) {
	if c.Hash.IsZero() {
		_, err := VerifyPassword(canonical.ParsePasswordHash(dummies[scheme]), password, d.signer)
		return false, err
	}
	return VerifyPassword(c.Hash, password, d.signer)
}

// Arrived notes that a user has come over by way of a password check.
func (d *DB) Arrived(ctx context.Context, u session.User) error {
	_, err := d.pool.Exec(ctx, "INSERT INTO "+d.own("arrival")+" (app_id, user_id, at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		d.app, u.InternalID, d.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("note an arrival: %w", err)
	}
	return nil
}

// Waiting counts the users with one of these kinds of hashes who have not come
// over yet, and those who have.
func (d *DB) Waiting(ctx context.Context, schemes []canonical.Scheme) (waiting, arrived int, err error) {
	from, err := d.sessions.Tables().Need(tablePassword)
	if err != nil {
		return 0, 0, err
	}
	var patterns []string
	for _, s := range schemes {
		patterns = append(patterns, hashPatterns[s]...)
	}
	account, join, app, args := "u.user_id::text", "", "", []any{patterns, d.app}
	if from.Has("app_id") {
		app = " AND u.app_id = $2"
		if spine, ok := d.sessions.Tables().Table(supertokens.Spine); ok && spine.Has("primary_or_recipe_user_id") {
			join = " JOIN " + spine.SQL() + " s ON s.app_id = u.app_id AND s.user_id = u.user_id"
			account = "s.primary_or_recipe_user_id::text"
		}
	}
	err = d.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE a.user_id IS NULL), count(a.user_id) FROM
(SELECT DISTINCT `+account+` AS id FROM `+from.SQL()+" u"+join+" WHERE u.password_hash LIKE ANY($1)"+app+`) w
LEFT JOIN `+d.own("arrival")+" a ON a.app_id = $2 AND a.user_id = w.id", args...).Scan(&waiting, &arrived)
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
// bridge itself.
func Grants(tables *supertokens.Tables, schema, role string) []string {
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
			if from, ok := tables.Table(name); ok {
				out = append(out, "GRANT "+g.rights+" ON "+from.SQL()+to)
			}
		}
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
		supertokens.KeyValue, supertokens.SessionSigningKeys, supertokens.JWTSigningKeys, supertokens.UserIDMapping, supertokens.Spine,
		supertokens.EmailPasswordUsers, supertokens.ThirdPartyUsers, supertokens.PasswordlessUsers, supertokens.WebAuthnUsers, supertokens.EmailPasswordUserToTenant, supertokens.RecipeUserTenants,
	}},
	{"SELECT, DELETE", []supertokens.TableName{supertokens.SessionInfo, tableReset, tableVerify, tableVerify31}},
	{"SELECT, INSERT", []supertokens.TableName{tableVerified}},
}

package cutover

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/supertokens"
)

// ownPostgres is the schema of the bridge's own tables in PostgreSQL.
type ownPostgres string

func (o ownPostgres) schema() string { return string(o) }

func (o ownPostgres) table(name string) string { return pgx.Identifier{string(o), name}.Sanitize() }

func (o ownPostgres) missing(ctx context.Context, in supertokens.Statements) (missing bool, err error) {
	for _, table := range ownTables {
		err := in.Query(ctx, func(v [][]byte) error {
			missing = missing || v[0] == nil
			return nil
		}, "SELECT to_regclass($1)", o.table(table))
		if err != nil {
			return false, err
		}
	}
	return missing, nil
}

func (o ownPostgres) create(ctx context.Context, in *supertokens.Database) error {
	return in.Once(ctx, 0, func(tx supertokens.Statements) error {
		// IF NOT EXISTS does not keep two instances from creating at once.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", "stetl bridge "+string(o)); err != nil {
			return err
		}
		for _, statement := range o.statements() {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o ownPostgres) statements() []string {
	return []string{
		"CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{string(o)}.Sanitize(),
		// A code that a crash of the database loses costs another try: the session is
		// there until it is redeemed. So it need not wait for the disk.
		"CREATE UNLOGGED TABLE IF NOT EXISTS " + o.table("code") + ` (
	code_hash bytea PRIMARY KEY, app_id text NOT NULL, request text NOT NULL, expires_ms bigint NOT NULL,
	session_handle text NOT NULL, tenant_id text NOT NULL, user_id text NOT NULL)`,
		"CREATE UNLOGGED TABLE IF NOT EXISTS " + o.table("ticket") + ` (
	ticket_hash bytea PRIMARY KEY, app_id text NOT NULL, client_id text NOT NULL, challenge text NOT NULL, expires_ms bigint NOT NULL,
	session_handle text NOT NULL, tenant_id text NOT NULL, created_ms bigint NOT NULL, user_id text NOT NULL)`,
		"CREATE TABLE IF NOT EXISTS " + o.table("secret") + " (app_id text NOT NULL, name text NOT NULL, value text NOT NULL, PRIMARY KEY (app_id, name))",
		"CREATE TABLE IF NOT EXISTS " + o.table("failure") + ` (
	surface text NOT NULL, subject bytea NOT NULL, failures integer NOT NULL, until_ms bigint NOT NULL,
	PRIMARY KEY (surface, subject))`,
		"CREATE TABLE IF NOT EXISTS " + o.table("arrival") + " (app_id text NOT NULL, user_id text NOT NULL, at_ms bigint NOT NULL, PRIMARY KEY (app_id, user_id))",
	}
}

func (o ownPostgres) fail(ctx context.Context, in *supertokens.Database, f failure) (int, error) {
	counts, err := supertokens.Counts(ctx, in, 1, "INSERT INTO "+o.table("failure")+` AS f (surface, subject, failures, until_ms) VALUES ($1, $2, 1, $3 + CASE WHEN $5::int <= 1 THEN $6::bigint ELSE 0 END)
ON CONFLICT (surface, subject) DO UPDATE SET failures = CASE WHEN f.until_ms < $4 THEN 1 ELSE f.failures + 1 END,
	until_ms = CASE WHEN f.until_ms < $4 THEN EXCLUDED.until_ms WHEN f.failures + 1 >= $5::int THEN $3 + $6 * least(f.failures + 2 - $5::int, $7::int) ELSE $3 END
RETURNING failures`, f.surface, f.subject, f.now, f.forgotten, f.limit, f.lock, f.longest)
	return counts[0], err
}

func (o ownPostgres) grants(tables *supertokens.Tables, role string, hashes bool) []string {
	to := " TO " + pgx.Identifier{role}.Sanitize()
	own := pgx.Identifier{string(o)}.Sanitize()
	out := []string{
		"GRANT USAGE ON SCHEMA " + own + to,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + own + to,
		"GRANT USAGE ON SCHEMA " + pgx.Identifier{tables.Layout().Schema}.Sanitize() + to,
	}
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

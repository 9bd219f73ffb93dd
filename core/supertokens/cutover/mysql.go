package cutover

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/stetl/stetl/core/supertokens"
)

// ownMySQL is the database of the bridge's own tables in MySQL or MariaDB, on the server
// of SuperTokens' tables: a transaction has both. Texts are bytes there, which no collation
// takes for others.
type ownMySQL string

func (o ownMySQL) schema() string { return string(o) }

func (o ownMySQL) table(name string) string { return quote(string(o)) + "." + quote(name) }

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func (o ownMySQL) missing(ctx context.Context, in supertokens.Statements) (bool, error) {
	there, err := supertokens.Counts(ctx, in, 1, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = $1 AND TABLE_NAME IN $2", string(o), ownTables)
	return there[0] < len(ownTables), err
}

// create needs no lock: each statement is all or nothing, and makes what is not there.
func (o ownMySQL) create(ctx context.Context, in *supertokens.Database) error {
	statements := o.statements()
	there, err := supertokens.Counts(ctx, in, 1, "SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = $1", string(o))
	if err != nil {
		return err
	}
	if there[0] > 0 { // IF NOT EXISTS takes the right to create it all the same
		statements = statements[1:]
	}
	for _, statement := range statements {
		if _, err := in.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (o ownMySQL) statements() []string {
	const ofApp = "app_id varbinary(256) NOT NULL"
	out := []string{"CREATE DATABASE IF NOT EXISTS " + quote(string(o))}
	for _, t := range [...]struct{ name, columns string }{
		{"code", "code_hash binary(32) PRIMARY KEY, " + ofApp + `, request mediumblob NOT NULL, expires_ms bigint NOT NULL,
	session_handle varbinary(1020) NOT NULL, tenant_id varbinary(256) NOT NULL, user_id varbinary(512) NOT NULL, KEY (expires_ms)`},
		{"ticket", "ticket_hash binary(32) PRIMARY KEY, " + ofApp + `, client_id varbinary(1020) NOT NULL, challenge varbinary(512) NOT NULL, expires_ms bigint NOT NULL,
	session_handle varbinary(1020) NOT NULL, tenant_id varbinary(256) NOT NULL, created_ms bigint NOT NULL, user_id varbinary(512) NOT NULL, KEY (expires_ms)`},
		{"secret", ofApp + ", name varbinary(64) NOT NULL, value blob NOT NULL, PRIMARY KEY (app_id, name)"},
		{"failure", "surface varbinary(320) NOT NULL, subject binary(32) NOT NULL, failures integer NOT NULL, until_ms bigint NOT NULL, PRIMARY KEY (surface, subject)"},
		{"arrival", ofApp + ", user_id varbinary(256) NOT NULL, at_ms bigint NOT NULL, PRIMARY KEY (app_id, user_id)"},
	} {
		out = append(out, "CREATE TABLE IF NOT EXISTS "+o.table(t.name)+" ("+t.columns+") ENGINE=InnoDB")
	}
	return out
}

// fail sets the columns one after the other, as MySQL does: what failures was is known for
// the last time when it is set, and until_ms has its old value until the end.
func (o ownMySQL) fail(ctx context.Context, in *supertokens.Database, f failure) (failures int, err error) {
	err = in.Once(ctx, 0, func(tx supertokens.Statements) error {
		_, err := tx.Exec(ctx, "INSERT INTO "+o.table("failure")+` (surface, subject, failures, until_ms) VALUES ($1, $2, 1, $3 + CASE WHEN $5 <= 1 THEN $6 ELSE 0 END)
ON DUPLICATE KEY UPDATE failures = CASE WHEN until_ms < $4 THEN 1 ELSE failures + 1 END,
	until_ms = CASE WHEN until_ms < $4 THEN VALUES(until_ms) WHEN failures >= $5 THEN $3 + $6 * LEAST(failures + 1 - $5, $7) ELSE $3 END`,
			f.surface, f.subject, f.now, f.forgotten, f.limit, f.lock, f.longest)
		if err != nil {
			return err
		}
		counts, err := supertokens.Counts(ctx, tx, 1, "SELECT failures FROM "+o.table("failure")+" WHERE surface = $1 AND subject = $2", f.surface, f.subject)
		failures = counts[0]
		return err
	})
	return failures, err
}

// account writes a role as MySQL has it, NAME or NAME@HOST.
func account(role string) string {
	name, host := role, "%"
	if at := strings.LastIndexByte(role, '@'); at >= 0 {
		name, host = role[:at], role[at+1:]
	}
	return quote(name) + "@" + quote(host)
}

// grants names each table: in a right for a whole database, _ stands for any character of
// its name. The server hides tables and columns from who has no right to them, and what is
// hidden looks like missing; REFERENCES is the right that shows it and lets nobody read.
func (o ownMySQL) grants(tables *supertokens.Tables, role string, hashes bool) (out []string) {
	to := " TO " + account(role)
	for _, name := range ownTables {
		out = append(out, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+o.table(name)+to)
	}
	rights := map[supertokens.TableName]string{}
	for _, g := range grants {
		for _, name := range g.tables {
			rights[name] = g.rights
		}
	}
	for _, name := range supertokens.FoundTables(tables) {
		from, _ := tables.Table(name)
		right := cmp.Or(rights[name], "REFERENCES")
		if columns, has := from.WithoutHash(); has && !hashes {
			for i, c := range columns {
				columns[i] = quote(c)
			}
			right = fmt.Sprintf("SELECT (%s), REFERENCES (%s)", strings.Join(columns, ", "), quote("password_hash"))
		}
		out = append(out, "GRANT "+right+" ON "+from.SQL()+to)
	}
	if users, ok := verifiedColumn(tables); ok {
		out = append(out, "GRANT UPDATE ("+quote(columnVerify)+") ON "+users.SQL()+to)
	}
	return out
}

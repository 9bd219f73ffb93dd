package cutover

import (
	"cmp"
	"context"

	"github.com/stetl/stetl/core/supertokens"
)

// defaultSchema is where the bridge keeps its own tables, in the database of SuperTokens.
// MySQL has no schemas in a database, so there it is a database of its own, which has the
// name of the other one in its name.
const defaultSchema = "stetl_bridge"

// own are the bridge's own tables, as one kind of database has them.
type own interface {
	// schema is where they are, and table the quoted name of one of them.
	schema() string
	table(name string) string
	// missing tells whether any of them is to be made, and create makes them.
	missing(ctx context.Context, in supertokens.Statements) (bool, error)
	create(ctx context.Context, in *supertokens.Database) error
	// fail counts a failed attempt, and says how many there have been.
	fail(ctx context.Context, in *supertokens.Database, f failure) (int, error)
	// statements make the tables, and grants give a role rights.
	statements() []string
	grants(tables *supertokens.Tables, role string, hashes bool) []string
}

// failure is a failed attempt, with what counting it takes. Times are in milliseconds.
type failure struct {
	surface              string
	subject              []byte
	now, forgotten, lock int64
	limit, longest       int
}

// ownTables are their names.
var ownTables = []string{"code", "ticket", "secret", "failure", "arrival"}

// ownIn are the tables in the database of an installation.
func ownIn(tables *supertokens.Tables, schema string) own {
	if tables.IsMySQL() {
		return ownMySQL(cmp.Or(schema, defaultSchema+"_"+tables.Layout().Schema))
	}
	return ownPostgres(cmp.Or(schema, defaultSchema))
}

// Grants are the statements that make a role of that name able to run the
// bridge, with the tables as this installation has them, and the tables of the
// bridge itself. Password hashes are for the check of passwords alone.
func Grants(tables *supertokens.Tables, schema, role string, hashes bool) []string {
	o := ownIn(tables, schema)
	return append(o.statements(), o.grants(tables, role, hashes)...)
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

package sqltarget

import "github.com/stetl/stetl/core/sdk"

// Codes of this plugin's own; those that all plugins share are in the SDK.
const (
	codeUnreachable      sdk.Code = "sql.unreachable"
	codeUnencrypted      sdk.Code = "sql.unencrypted"
	codeOtherDatabase    sdk.Code = "sql.other_database"
	codeTableMissing     sdk.Code = "sql.table_missing"
	codeColumnMissing    sdk.Code = "sql.column_missing"
	codeColumnGenerated  sdk.Code = "sql.column_generated"
	codeColumnRequired   sdk.Code = "sql.column_required"
	codeColumnType       sdk.Code = "sql.column_type"
	codeKeyNotUnique     sdk.Code = "sql.key_not_unique"
	codeUniqueUndeclared sdk.Code = "sql.unique_undeclared"
	codePrivilege        sdk.Code = "sql.privilege_missing"
	codeNoHashes         sdk.Code = "sql.no_hashes"
	codeReferenced       sdk.Code = "sql.referenced"
	codeConstraint       sdk.Code = "sql.constraint"
	codeOutUnwritable    sdk.Code = "sql.out_unwritable"
	codeOutForeignFiles  sdk.Code = "sql.out_foreign_files"
	codeDisabled         sdk.Code = "sql.disabled"
	codeNotTransactional sdk.Code = "sql.not_transactional"
	codeRolePermissions  sdk.Code = "sql.role_permissions"
)

// ownCodes says what they mean.
var ownCodes = []sdk.CodeInfo{
	{Code: codeUnreachable, Meaning: "the database cannot be reached", Remedy: "check the url, the network and the certificate"},
	{Code: codeUnencrypted, Meaning: "password hashes would cross the network in clear text, or go to a server that was not verified", Remedy: "add sslmode=verify-full to the url, and sslrootcert if you have your own certificate authority", Permanent: true},
	{Code: codeOtherDatabase, Meaning: "the journal belongs to another database than that of the url", Remedy: "set another name in target.config.name, or correct the url", Permanent: true},
	{Code: codeTableMissing, Meaning: "a declared table does not exist in the database, or the role cannot see it", Remedy: "create it with the application's own migrations, or correct its name and schema", Permanent: true},
	{Code: codeColumnMissing, Meaning: "a declared column does not exist in the table", Remedy: "correct its name; upper and lower case matter", Permanent: true},
	{Code: codeColumnGenerated, Meaning: "the database generates the value of a declared column itself", Remedy: "remove the column from the configuration", Permanent: true},
	{Code: codeColumnRequired, Meaning: "a column that must have a value gets none", Remedy: "declare it, or give it a default in the database", Permanent: true},
	{Code: codeColumnType, Meaning: "a column cannot hold the value that it would get", Remedy: "correct the expression or the constant", Permanent: true},
	{Code: codeKeyNotUnique, Meaning: "several rows may have the key by which accounts are found again", Remedy: "name the primary key, or create a unique index", Permanent: true},
	{Code: codeUniqueUndeclared, Meaning: "addresses or identities are unique in the database, or addresses are compared without regard to case, but the configuration does not say so; then no policy would decide which account keeps one", Remedy: "add it to target.config.unique, or to folds_case", Permanent: true},
	{Code: codePrivilege, Meaning: "the role lacks a right that a load needs", Remedy: "grant it; docs/generic-sql.md has the statements", Permanent: true},
	{Code: codeNoHashes, Meaning: "the configuration does not say which password hashes the application can verify, so everybody with a password needs a reset", Remedy: "let the application verify them, then list them in target.config.hashes", Permanent: true},
	{Code: codeReferenced, Meaning: "rows of other tables refer to the account, so undo does not delete it", Remedy: "if it is not wanted, delete it by hand with everything that belongs to it", Permanent: true},
	{Code: codeConstraint, Meaning: "a rule of the database does not allow a value of the account", Remedy: "correct the account in SuperTokens, or the mapping, or the declaration of the column", Permanent: true},
	{Code: codeOutUnwritable, Meaning: "the output folder cannot be written", Remedy: "name a folder that can be created or written, on a disk with free space"},
	{Code: codeOutForeignFiles, Meaning: "the output folder has scripts that stetl did not write", Remedy: "move them away or choose another folder"},
	{Code: codeDisabled, Meaning: "the account is disabled, but the tables have no column for that, so people could sign in to it", Remedy: "declare a column with the field enabled, or leave out such accounts", Permanent: true},
	{Code: codeRolePermissions, Meaning: "a role has other permissions in the declared table than in the source, or could not get them", Remedy: "change them by hand, or delete its rows and run again"},
	{Code: codeNotTransactional, Meaning: "a table does not support transactions, so half of an account could be left in it", Remedy: "change its engine to InnoDB", Permanent: true},
}

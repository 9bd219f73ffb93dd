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
)

// ownCodes says what they mean.
var ownCodes = []sdk.CodeInfo{
	{Code: codeUnreachable, Meaning: "the database cannot be reached", Remedy: "check the url, the network and the certificate"},
	{Code: codeUnencrypted, Meaning: "password hashes would cross the network in clear text, or to a server that nobody has verified", Remedy: "add sslmode=verify-full to the url, with sslrootcert where the authority is one of your own", Permanent: true},
	{Code: codeOtherDatabase, Meaning: "the journal belongs to another database than the one that the url names", Remedy: "give this database a name of its own in target.config.name, or correct the url", Permanent: true},
	{Code: codeTableMissing, Meaning: "a declared table is not in the database, or the role cannot see it", Remedy: "create it with the application's own migrations, or correct its name and schema", Permanent: true},
	{Code: codeColumnMissing, Meaning: "a declared column is not in the table", Remedy: "correct its name; it is compared letter by letter", Permanent: true},
	{Code: codeColumnGenerated, Meaning: "the database makes the value of a declared column itself", Remedy: "take the column out of the configuration", Permanent: true},
	{Code: codeColumnRequired, Meaning: "a column that must have a value gets none", Remedy: "declare it, or give it a default in the database", Permanent: true},
	{Code: codeColumnType, Meaning: "a column cannot hold what it would get", Remedy: "correct the expression or the constant", Permanent: true},
	{Code: codeKeyNotUnique, Meaning: "several rows may have the key by which accounts are found again", Remedy: "name the primary key, or create a unique index", Permanent: true},
	{Code: codeUniqueUndeclared, Meaning: "the database wants every address or identity to occur once, or compares addresses without case, and the configuration does not say so, so that no policy would decide who keeps one", Remedy: "add it to target.config.unique, or to folds_case", Permanent: true},
	{Code: codePrivilege, Meaning: "the role lacks a right that a load needs", Remedy: "grant it; docs/generic-sql.md has the statements", Permanent: true},
	{Code: codeNoHashes, Meaning: "nothing says which password hashes the application can verify, so that everybody with a password needs a reset", Remedy: "have the application verify them, then list them in target.config.hashes", Permanent: true},
	{Code: codeReferenced, Meaning: "rows of other tables refer to the account, so that an undo leaves it", Remedy: "delete it by hand with all that belongs to it, if it should go", Permanent: true},
	{Code: codeConstraint, Meaning: "a rule of the database does not allow a value of the account", Remedy: "correct the account in SuperTokens, or the mapping, or the declaration of the column", Permanent: true},
	{Code: codeOutUnwritable, Meaning: "the output folder cannot be written", Remedy: "name a folder that may be created or written, on a disk with room"},
	{Code: codeOutForeignFiles, Meaning: "the output folder holds scripts that stetl did not write", Remedy: "move them away or choose another folder"},
	{Code: codeDisabled, Meaning: "the account is disabled, and the tables have no place for that: it could be signed in to", Remedy: "declare a column with the field enabled, or leave such accounts out", Permanent: true},
	{Code: codeNotTransactional, Meaning: "what is written into a table cannot be taken back, so that half of an account could be left there", Remedy: "change its engine to InnoDB", Permanent: true},
}

package supertokens

import "github.com/stetl/stetl/core/diag"

// Findings explains every code that a [Finding] can have.
func Findings() diag.Words { return findingWords }

// findingWords is also the table in docs/supertokens.md.
var findingWords = diag.Words{
	{Code: WarnAppElsewhere, Meaning: "another app's configuration sends its users to another database", Remedy: "read that database as a source of its own"},
	{Code: WarnBulkImportPending, Meaning: "rows of a bulk import that are not users yet", Remedy: "let the core finish the import first"},
	{Code: WarnDanglingRole, Meaning: "a role is assigned and not defined", Remedy: "define it in the target, or map it away"},
	{Code: WarnDashboardUsers, Meaning: "administrators of the dashboard; they are not end users", Remedy: "nothing; they are not moved"},
	{Code: WarnDoubleEncoded, Meaning: "text in metadata is UTF-8 that was stored as Latin-1", Remedy: "repair it in the application; it is carried as stored"},
	{Code: WarnDuplicateEmail, Meaning: "several accounts with one address, folded", Remedy: "choose a collision policy for a target that wants it unique"},
	{Code: WarnDuplicatePhone, Meaning: "several accounts with one phone number, whatever its spelling", Remedy: "choose a collision policy for a target that wants it unique"},
	{Code: WarnDuplicateThirdParty, Meaning: "several accounts with one social identity, in different tenants", Remedy: "choose a collision policy for a target that wants it unique"},
	{Code: WarnFakeEmail, Meaning: "an address that SuperTokens made up", Remedy: "nothing; the account is identified by its provider"},
	{Code: WarnFirebaseHash, Meaning: "a hash that needs the Firebase signer key", Remedy: "set firebase_signer_key, or expect resets"},
	{Code: WarnForcedMapping, Meaning: "metadata, roles or a verification under the internal id of a mapped user, which the core does not see", Remedy: "they are left out; left_under_internal_id: take takes metadata"},
	{Code: WarnGhostPrimary, Meaning: "the login that gave the account its id was deleted", Remedy: "nothing; the id stays"},
	{Code: WarnIncomplete, Meaning: "something is missing, and --accept-incomplete let it pass", Remedy: "see the detail"},
	{Code: WarnLoneSurrogate, Meaning: "metadata has half of a character", Remedy: "repair it in the application; it is carried as stored"},
	{Code: WarnMetadataEscaped, Meaning: "metadata that is JSON only when each doubled backslash is one, as SuperTokens' script from MySQL leaves it", Remedy: "repair the table; it is carried as a text"},
	{Code: WarnMetadataInvalid, Meaning: "metadata that is not JSON", Remedy: "it is carried as a text"},
	{Code: WarnMixedCaseEmail, Meaning: "an address from before core 3.2 with capital letters", Remedy: "nothing; targets fold it"},
	{Code: WarnNoLogin, Meaning: "an account nobody can sign in to", Remedy: "nothing, or delete it first"},
	{Code: WarnNoTenant, Meaning: "an account in no tenant, which SuperTokens' own listing omits", Remedy: "decide whether it is wanted"},
	{Code: WarnNothingStored, Meaning: "NULL or an empty text where every core stores a tenant, a role, a password hash, the id of a social user or the secret of an authenticator", Remedy: "what lacks it is left out, as the core does not find it; repair the rows, or expect a reset"},
	{Code: WarnOldTableStale, Meaning: "another address in a table that core 12 no longer writes", Remedy: "nothing; the current one is taken"},
	{Code: WarnOrphanRow, Meaning: "rows about an id that is nobody's", Remedy: "nothing; they are not moved"},
	{Code: WarnOtherApps, Meaning: "apps of the installation that are not read", Remedy: "one configuration for each"},
	{Code: WarnPasswordlessUnverified, Meaning: "the address was proven by signing in, but no verification is stored", Remedy: "decide by policy"},
	{Code: WarnPhoneNotNormal, Meaning: "a phone number from before core 7.0.12 that is not in the international form", Remedy: "correct it, or let the target refuse it"},
	{Code: WarnPlaceholder, Meaning: "the word NULL, blanks, nothing at all and the like where an address, a phone number or an external id would be", Remedy: "nothing; it is taken for none"},
	{Code: WarnRowSecurity, Meaning: "a table of a dump has row-level security, and this kind of dump does not tell whether policies were heeded", Remedy: "make sure that the dump was made without --enable-row-security, or by the owner"},
	{Code: WarnRowsUnderLinkedMethod, Meaning: "metadata, roles or TOTP of a login that was linked to another account", Remedy: "they are not part of the account; check"},
	{Code: WarnSecretsInConfig, Meaning: "client secrets of social providers in clear text", Remedy: "they are not exported; set them up in the target"},
	{Code: WarnSeveralPasswords, Meaning: "an account with more than one password", Remedy: "a target with one takes that of the primary login"},
	{Code: WarnStaleVerified, Meaning: "a verified address that is no longer the current one", Remedy: "nothing; it verifies nothing"},
	{Code: WarnTableNotRead, Meaning: "a table without anything of an account could not be looked at", Remedy: "grant it, if what it says matters"},
	{Code: WarnTemporaryPassword, Meaning: "metadata marks the password as a throw-away one", Remedy: "expect a reset"},
	{Code: WarnTenantConfig, Meaning: "the configuration of a tenant is not JSON", Remedy: "check whether its users are elsewhere"},
	{Code: WarnTenantElsewhere, Meaning: "a tenant's users are in another database", Remedy: "read that database as a source of its own"},
	{Code: WarnTenantsDiffer, Meaning: "core 12's two places for tenants disagree", Remedy: "check the choice; migration_mode overrides it"},
	{Code: WarnTimeImplausible, Meaning: "a joining time before 2000 or after 2100, as when another unit is stored", Remedy: "it is carried as stored"},
	{Code: WarnTimeUnknown, Meaning: "a joining time of 0", Remedy: "nothing; it is left out"},
	{Code: WarnTOTPUnderInternalID, Meaning: "TOTP devices from before core 8.0, or under a forced mapping, that the core no longer sees", Remedy: "they are left out, except with left_under_internal_id: take"},
	{Code: WarnTOTPUnverified, Meaning: "an enrolment that was never finished", Remedy: "it does not become a factor"},
	{Code: WarnUnknownColumn, Meaning: "a column that this program does not know", Remedy: "report it, or ignore what you added yourself"},
	{Code: WarnUnknownHash, Meaning: "a password hash in no format a core knows", Remedy: "expect a reset"},
	{Code: WarnVerifiedCaseMismatch, Meaning: "the verified address differs in case only", Remedy: "the core says not verified; decide"},
	{Code: WarnSharedID, Meaning: "one user's external id is another user's internal id", Remedy: "separate them before moving: a target cannot hold both under it"},
}

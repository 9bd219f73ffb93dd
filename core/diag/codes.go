package diag

import (
	"cmp"
	"slices"
)

// Code is a stable, dotted reason: area.reason. Scripts and reject files rely on
// it, so a code is never renamed or given another meaning.
type Code string

// Info explains a code.
type Info struct {
	Code    Code   `json:"code"`
	Meaning string `json:"meaning"` // one line
	Remedy  string `json:"remedy"`  // one line
}

// Codes of the configuration.
const (
	ConfigUnreadable          Code = "config.unreadable"
	ConfigEncoding            Code = "config.encoding"
	ConfigTooLarge            Code = "config.too_large"
	ConfigSyntax              Code = "config.syntax"
	ConfigUnsupportedYAML     Code = "config.unsupported_yaml"
	ConfigMultipleDocuments   Code = "config.multiple_documents"
	ConfigDuplicateField      Code = "config.duplicate_field"
	ConfigUnknownField        Code = "config.unknown_field"
	ConfigMissingField        Code = "config.missing_field"
	ConfigWrongType           Code = "config.wrong_type"
	ConfigInvalidValue        Code = "config.invalid_value"
	ConfigConflict            Code = "config.conflict"
	ConfigUnknownTable        Code = "config.unknown_table"
	ConfigSecretLiteral       Code = "config.secret_literal" //nolint:gosec // a code, not a credential
	ConfigBadReference        Code = "config.bad_reference"
	ConfigUnresolvedReference Code = "config.unresolved_reference"
	ConfigEmptyReference      Code = "config.empty_reference"
	ConfigPluginSchema        Code = "config.plugin_schema"
)

// Codes of the source.
const (
	SourceUnreachable    Code = "source.unreachable"
	SourceDumpUnusable   Code = "source.dump_unusable"
	SourceNotSuperTokens Code = "source.not_supertokens"
	SourceAmbiguous      Code = "source.ambiguous"
	SourceNoApp          Code = "source.no_app"
	// What is missing of a source; an operator may accept each by its code.
	SourceTableMissing      Code = "source.table_missing"
	SourceColumnMissing     Code = "source.column_missing"
	SourceRowsMissing       Code = "source.rows_missing"
	SourceRowSecurity       Code = "source.row_security"
	SourceAppEmpty          Code = "source.app_empty"
	SourceUpgradeUnfinished Code = "source.upgrade_unfinished"
	SourceMigrationMode     Code = "source.migration_mode"
)

// Codes of the plugin boundary: core/plugin, core/sdk and what is between them.
const (
	PluginNotFound          Code = "plugin.not_found"
	PluginBadName           Code = "plugin.bad_name"
	PluginNotExecutable     Code = "plugin.not_executable"
	PluginWrongArchitecture Code = "plugin.wrong_architecture"
	PluginCannotStart       Code = "plugin.cannot_start"
	PluginBadHandshake      Code = "plugin.bad_handshake"
	PluginWrongProtocol     Code = "plugin.wrong_protocol"
	PluginDiedAtStart       Code = "plugin.died_at_start"
	PluginStartTimeout      Code = "plugin.start_timeout"
	PluginChecksum          Code = "plugin.checksum"
	PluginNoHealth          Code = "plugin.no_health"
	PluginStdoutNoise       Code = "plugin.stdout_noise"
	PluginStuck             Code = "plugin.stuck"
	PluginBrokeProtocol     Code = "plugin.broke_protocol"
	PluginConfigureFailed   Code = "plugin.configure_failed"
	PluginFinishFailed      Code = "plugin.finish_failed"
	PluginCloseFailed       Code = "plugin.close_failed"
	PluginCrash             Code = "plugin.crash"
	PluginPanic             Code = "plugin.panic"
	PluginNoAnswer          Code = "plugin.no_answer"
	PluginNotSent           Code = "plugin.not_sent"
	PluginCallFailed        Code = "plugin.call_failed"
)

// Codes of core/mapping, and of the engine where accounts want the same.
const (
	MapDuplicateID       Code = "map.duplicate_id"
	MapDuplicateUsername Code = "map.duplicate_username"
	MapDuplicateEmail    Code = "map.duplicate_email"
	MapUnknownField      Code = "map.unknown_field"
	MapBadExpression     Code = "map.bad_expression"
	MapBadTemplate       Code = "map.bad_template"
	MapFiltered          Code = "map.filtered"
	MapFailed            Code = "map.failed"
	MapNoEntry           Code = "map.no_entry"
	MapHashUnsupported   Code = "map.hash_unsupported"
	MapLinked            Code = "map.linked"
)

// Codes of a load, for every target that has the same reason.
const (
	LoadNotCommitted  Code = "load.not_committed"
	LoadIDTooLong     Code = "load.id_too_long"
	LoadIDInvalid     Code = "load.id_invalid"
	LoadExistsDiffers Code = "load.exists_differs"
	LoadMoved         Code = "load.moved"
	LoadDrift         Code = "load.drift"
	LoadTargetRefused Code = "load.target_refused"
	LoadUnknownAnswer Code = "load.unknown_answer"
	LoadUndecided     Code = "load.undecided"
	LoadUserTooLarge  Code = "load.user_too_large"
	LoadInvalidUser   Code = "load.invalid_user"
	LoadDuplicateUser Code = "load.duplicate_user"
)

// Codes of what a target is asked about one account.
const (
	TargetNoSuchAccount    Code = "target.no_such_account"
	TargetPasswordRefused  Code = "target.password_refused"
	TargetLoginUnavailable Code = "target.login_unavailable"
)

// Codes of what surrounds a load.
const (
	RunMails            Code = "run.mails"
	RunNotSelected      Code = "run.not_selected"
	RunUnknownAccount   Code = "run.unknown_account"
	RunAmbiguousAccount Code = "run.ambiguous_account"
	RunUnknownTenant    Code = "run.unknown_tenant"
	RunBadUsersFile     Code = "run.bad_users_file"
	RunNeedsEveryone    Code = "run.needs_everyone"
	PlanNotPlanned      Code = "plan.not_planned"
	PlanSourceMoved     Code = "plan.source_moved"
	VerifyMissing       Code = "verify.missing"
	VerifyDiffers       Code = "verify.differs"
	VerifyDropped       Code = "verify.dropped"
	VerifyMisplaced     Code = "verify.misplaced"
	UndoInDoubt         Code = "undo.in_doubt"
	UndoNoPreImage      Code = "undo.no_pre_image"
	JournalUnwritable   Code = "journal.unwritable"
)

// table is the one registry, by area. A code has a name above where the core uses it;
// those of a plugin have theirs in the plugin. After adding one, run
// go test ./core/diag -update.
var table = []Info{
	{ConfigUnreadable, "the configuration file cannot be read", "check the path and the permissions"},
	{ConfigEncoding, "the configuration file is not plain UTF-8 text", "save it as UTF-8 with ordinary line ends"},
	{ConfigTooLarge, "the configuration is larger, deeper or more aliased than any real one", "shorten it; check for an alias that contains itself"},
	{ConfigSyntax, "the file is not valid YAML", "look at the named line and the one before it"},
	{ConfigUnsupportedYAML, "a YAML feature that has no JSON meaning, such as a custom tag", "write a plain string, number, boolean, list or mapping"},
	{ConfigMultipleDocuments, "the file holds more than one YAML document", "keep one document per file"},
	{ConfigDuplicateField, "a field is given twice in one mapping", "keep one of the two"},
	{ConfigUnknownField, "a field that does not exist here", "correct the spelling or remove it"},
	{ConfigMissingField, "a required field is absent or empty", "add it"},
	{ConfigWrongType, "a value of the wrong type", "write the type the message asks for; quote text that looks like a number"},
	{ConfigInvalidValue, "a value of the right type that is not allowed", "use one of the allowed values"},
	{ConfigConflict, "two settings exclude each other", "keep one of them"},
	{ConfigUnknownTable, "source.tables names a table that cannot be renamed", "use one of the names the message lists"},
	{ConfigSecretLiteral, "a secret stands in the file as clear text", "put it into the environment or a file and refer to it with ${env:NAME} or ${file:PATH}"},
	{ConfigBadReference, "a ${…} reference that cannot be understood", "write ${env:NAME}, ${file:PATH}, or $${ for a literal ${"},
	{ConfigUnresolvedReference, "a referenced environment variable or file does not exist or cannot be used", "set the variable or create the file"},
	{ConfigEmptyReference, "a referenced environment variable or file is empty", "check that it holds what was meant"},
	{ConfigPluginSchema, "the configuration schema a plugin declares cannot be used", "report it to the author of the plugin"},

	{SourceUnreachable, "the database cannot be reached or refuses to be read", "check host, port, user and password; the role needs SELECT on SuperTokens' tables"},
	{SourceDumpUnusable, "the dump cannot be read", "the message says what is wrong with the file; make the dump again if it is cut"},
	{SourceNotSuperTokens, "the source holds no SuperTokens installation with users", "check that it is the right database; set source.schema or source.table_prefix if they are unusual"},
	{SourceAmbiguous, "the source holds more than one SuperTokens installation", "set source.schema and source.table_prefix to choose one"},
	{SourceNoApp, "the installation has no app of that name", "use one of the names the message lists"},
	{SourceTableMissing, "a table is missing that every core of this age makes", "dump the whole schema, or say in source.tables how the table is called"},
	{SourceColumnMissing, "a table lacks a column that every core of this age gives it", "finish the upgrade of the core, or dump the whole table"},
	{SourceRowsMissing, "rows are missing that other tables prove", "dump the whole database at one moment; a dump of a part, or a filtered copy, is no source"},
	{SourceRowSecurity, "row-level security hides rows from this role, or from the dump", "read or dump as the owner of the tables or as a role with BYPASSRLS"},
	{SourceAppEmpty, "the app that is read has nobody, and another app has users", "choose the app with source.app; stetl inspect --list names them"},
	{SourceUpgradeUnfinished, "tables of two generations have rows, as when an upgrade was stopped halfway", "finish the upgrade, or restore the state before it"},
	{SourceMigrationMode, "core 12's migration_mode contradicts what the tables hold", "leave the setting out, or say the mode that the core runs in"},

	{PluginNotFound, "no such plugin where it was looked for", "check the name; a plugin of your own is an executable stetl-plugin-NAME beside stetl"},
	{PluginBadName, "a plugin name has characters that no plugin has", "use lower-case letters, digits and single dashes"},
	{PluginNotExecutable, "the plugin's file cannot be executed", "set its permissions, or name the executable itself"},
	{PluginWrongArchitecture, "the plugin is not a program for this machine", "install the build for this system and processor"},
	{PluginCannotStart, "the operating system cannot start the plugin", "solve what the message names: an interpreter, a loader, a folder"},
	{PluginBadHandshake, "the program wrote something else where a plugin says hello", "have it write to stderr, or check that it is a plugin"},
	{PluginWrongProtocol, "plugin and stetl speak different versions of the protocol", "install versions that belong together"},
	{PluginDiedAtStart, "the plugin ended before it was ready", "solve what its last words complain about"},
	{PluginStartTimeout, "the plugin was not ready in time", "check that it is a plugin and that the machine is not overloaded"},
	{PluginChecksum, "the plugin's executable is not the one that stetl.lock accepts", "install the one that was locked, or accept this one with stetl plugin lock"},
	{PluginNoHealth, "the plugin has no health service, or it does not say that it is serving", "serve grpc.health.v1.Health with the service \"plugin\""},
	{PluginStdoutNoise, "the plugin writes to stdout after the handshake", "have it write to stderr"},
	{PluginStuck, "the plugin's process does not end when it is asked to", "end the process in plugin.GRPCController/Shutdown"},
	{PluginBrokeProtocol, "the plugin did what the protocol does not allow", "report it to the author of the plugin"},
	{PluginConfigureFailed, "the plugin does not accept its configuration", "correct what the message names"},
	{PluginFinishFailed, "the plugin failed in its last step, so nothing of the run counts as loaded", "remove the cause and run again"},
	{PluginCloseFailed, "the plugin could not release what it held", "look at what the message names; the users are not affected"},
	{PluginCrash, "the plugin's process ended while the user was with it", "run again: the user is looked up first"},
	{PluginPanic, "the plugin's code failed while the user was with it", "run again: the user is looked up first; send the stack in the log to the author of the plugin"},
	{PluginNoAnswer, "the plugin gave no outcome for the user, or nobody waited for it", "run again: the user is looked up first"},
	{PluginNotSent, "the run ended before the user was sent", "run again"},
	{PluginCallFailed, "the plugin could not do what was asked of it for one user; the detail says why", "solve what the message names and try again"},

	{MapDuplicateID, "two accounts show the same id to applications", "correct the id mapping in SuperTokens"},
	{MapDuplicateUsername, "two accounts would get the same user name", "link or merge the accounts in SuperTokens, or change one of them"},
	{MapDuplicateEmail, "two accounts have the same e-mail address and the target allows one", "link or merge the accounts in SuperTokens, or change one of them"},
	{MapUnknownField, "a mapping rule names a field that does not exist", "use one of the names the message lists"},
	{MapBadExpression, "a CEL expression of the mapping cannot be compiled", "correct it at the named place"},
	{MapBadTemplate, "a template of the mapping cannot be understood", "write fields in braces, {{ and }} for braces themselves"},
	{MapFiltered, "mapping.filter leaves the account out", "change the filter if the account should be moved"},
	{MapFailed, "a mapping rule cannot be applied to the account", "make the rule cover such accounts; stetl map test tries it"},
	{MapNoEntry, "a lookup table of the mapping lacks the account's value", "add it to the table or give the rule a default"},
	{MapHashUnsupported, "the target cannot verify the password hash, and policies.password does not allow a reset", "set policies.password to reset, or have the person choose a new password first"},
	{MapLinked, "the account was made one with another that has the same verified e-mail address", "nothing: policies.collision says so"},

	{LoadNotCommitted, "the target failed in its last step, so nothing of the run counts as loaded", "remove the cause and run again"},
	{LoadIDTooLong, "the id is longer than the target can hold", "map the user to a shorter external id in SuperTokens, or remove the mapping"},
	{LoadIDInvalid, "the id is absent or has characters that the target cannot take", "map the user to a plain external id in SuperTokens, or remove the mapping"},
	{"load.id_conflict", "the id belongs to another account of the target", "rename or delete that account, or map the user to another id"},
	{"load.username_missing", "the user has no name to sign in with", "let the mapping derive one from the e-mail address, the phone number or the id"},
	{"load.username_conflict", "the username belongs to another account", "merge the accounts or rename one of them"},
	{"load.email_conflict", "the e-mail address belongs to another account", "merge the accounts or change one of the addresses"},
	{"load.identity_conflict", "the third-party identity belongs to another user of the run", "merge the accounts in SuperTokens"},
	{LoadExistsDiffers, "the account is in the target and differs in the named fields", "change or delete it there; an existing account is not overwritten"},
	{LoadMoved, "the account has changed in the target since it was last looked at", "plan again and look at what has changed"},
	{LoadDrift, "somebody has changed the account in the target since the last run", "say with policies.drift what should happen to such accounts"},
	{"load.field_too_long", "a field is longer than the target can hold", "shorten it in SuperTokens or leave it out in the mapping"},
	{"load.hash_unsupported", "the target cannot verify this password hash", "load the user without a password and have it reset"},
	{"load.totp_invalid", "an authenticator has an unusable secret or period", "remove that device in SuperTokens"},
	{LoadTargetRefused, "the target refused the user; the detail has its own words", "correct what it names, or look into the target's log"},
	{LoadUnknownAnswer, "the user was sent and the answer was lost", "run again: the user is looked up first"},
	{"load.other_tenant", "the run loads one tenant, and the user belongs to others", "run with another configuration for each tenant"},
	{"load.email_missing", "the user has no e-mail address and the target wants one", "give it an address, or use the target's option for such users"},
	{"load.email_invalid", "the target does not take the e-mail address", "correct it in SuperTokens"},
	{LoadUndecided, "the plugin gave up on the rest of a batch; the detail says why", "run again: the user is looked up first"},
	{LoadUserTooLarge, "the user is larger than a plugin takes (16 MiB)", "leave metadata out in the mapping"},
	{LoadInvalidUser, "the user holds text that is not UTF-8, or a value that no plugin knows", "correct it in SuperTokens, or use stetl and plugin of the same age"},
	{LoadDuplicateUser, "another user of the same batch has this source id", "report it: this is a defect of stetl"},

	{TargetNoSuchAccount, "the target has no such account", "load the users first"},
	{TargetPasswordRefused, "the target does not take this password", "choose one that its policy allows"},
	{TargetLoginUnavailable, "the target cannot be asked whether a password is right", "do what the message says, or accept that nothing is proven"},

	{RunMails, "the target mails people on its own because of the run", "change the settings of the target if they should not be mailed; limits.mails stops a run that would mail more than expected"},
	{RunNotSelected, "the run was restricted to other accounts", "run without the restriction"},
	{RunUnknownAccount, "an id that was given is of no account", "correct it or leave it out"},
	{RunAmbiguousAccount, "an id that was given is of more than one account", "name the account by another of its ids"},
	{RunUnknownTenant, "the app has no such tenant", "choose one of those that the message lists"},
	{RunBadUsersFile, "the file of --users-from cannot be read as ids", "write one id a line, as UTF-8"},
	{RunNeedsEveryone, "the target is written as a whole, and a part of the accounts would replace everybody", "run without the restriction, or leave accounts out with mapping.filter and write to a folder of its own"},

	{PlanNotPlanned, "the account came after the plan was made", "plan again, or run without the plan"},
	{PlanSourceMoved, "the account has changed in the source since the plan was made", "plan again"},

	{VerifyMissing, "the account should be in the target and is not", "run again with --full, or find out who deleted it"},
	{VerifyDiffers, "the account is not as it should be; the fields say where", "find out who changed it, or run again with --full"},
	{VerifyMisplaced, "the account is in the target, but in another place than the run put it: another id, tenant or organisation", "look at what moved it, then run again with --full"},
	{VerifyDropped, "the target does not hold a value that it was given", "look at the target's rules for that field; stetl check names those it knows"},

	{UndoInDoubt, "the last run was interrupted with this account on its way", "run again first, so that it is looked up"},
	{UndoNoPreImage, "the account was changed and the target gave no pre-image", "restore it by hand"},

	{JournalUnwritable, "what was done could not be written to the journal", "make room on its disk and run again: the account is looked up first"},

	{"keycloak.unreachable", "the server cannot be reached or is no Keycloak", "check the url, the network and the certificate"},
	{"keycloak.login_refused", "the server refuses the client", "check client_id, client_secret and auth_realm, and that service accounts are switched on"},
	{"keycloak.realm_missing", "the server has no such realm", "create it or correct the name"},
	{"keycloak.role_missing", "the client may not do what a load needs", "give its service account manage-realm, manage-users and view-users of realm-management"},
	{"keycloak.too_old", "the server is older than 23 and would give every user a new id", "upgrade the server"},
	{"keycloak.ids_not_kept", "the server created a user under another id", "use Keycloak 23 or later, delete the users with wrong ids and run again"},
	{"keycloak.bcrypt_provider_missing", "the server has no password hashing provider called bcrypt", "install the jar that stetl plugin assets keycloak writes"},
	{"keycloak.argon2_missing", "the server has no password hashing provider called argon2", "upgrade the server to 25 or later"},
	{"keycloak.policy_algorithm_missing", "the realm's password policy names a hashing algorithm that the server lacks", "install that provider or choose another algorithm"},
	{"keycloak.password_expiry", "the realm's password policy expires passwords", "lift the policy until the users have moved"},
	{"keycloak.profile_required", "the realm's user profile requires fields that users may lack", "make them optional, or disable the required action Verify Profile"},
	{"keycloak.attributes_hidden", "the realm hides attributes that its user profile does not declare", "let administrators write unmanaged attributes"},
	{"keycloak.identity_provider_missing", "the realm lacks an identity provider that users are linked to", "add it to the realm, or name its alias in identity_providers"},
	{"keycloak.plain_http", "hashes and the client secret would cross the network in clear text", "use the https address of the server"},
	{"keycloak.master_realm", "users are to be loaded into the realm of the server's administrators", "create a realm of its own for them"},
	{"keycloak.check_incomplete", "a part of the preflight could not be read", "give the service account realm-admin, or look yourself"},
	{"keycloak.out_unwritable", "the output folder cannot be written", "name a folder that may be created or written, on a disk with room"},
	{"keycloak.out_foreign_files", "the output folder holds users that stetl did not write", "move them away or choose another folder"},
	{"keycloak.realm_file_kept", "the output folder holds a realm file that stetl did not write", "remove it to get one that fits"},
	{"keycloak.heap_small", "the server's heap is small for sign-ins with argon2 hashes of SuperTokens", "raise JAVA_OPTS_KC_HEAP, or lower the option cpu-cores of the provider argon2"},
	{"keycloak.permanent_lockout", "the realm locks accounts for good after wrong passwords", "lock temporarily until the users have moved"},
	{"keycloak.email_login_off", "the realm does not let people sign in with their e-mail address", "switch on Login with email in the realm's settings"},
	{"keycloak.duplicate_emails", "the realm lets several accounts have the same e-mail address", "switch off Duplicate emails in the realm's settings, unless that is meant"},
	{"keycloak.organizations_off", "the realm has organizations switched off", "run check --fix, or switch them on in the realm's settings"},
	{"keycloak.federation_unreachable", "the server cannot sign in to an LDAP server that the realm takes users from", "repair the user federation, or disable it if its users are not to count"},
	{"keycloak.not_fixed", "a remedy of check --fix could not be applied", "do what check names by hand"},

	{"auth0.unreachable", "the tenant cannot be reached or is no Auth0", "check domain, network and certificate"},
	{"auth0.login_refused", "the tenant refuses the application", "check client_id, client_secret and audience, and that the application is authorised for the Management API"},
	{"auth0.scope_missing", "the application lacks scopes of the Management API", "grant the named scopes to the machine-to-machine application"},
	{"auth0.connection_missing", "the tenant has no such connection", "create it or correct the name"},
	{"auth0.connection_unusable", "no import job can write into the connection", "do what the message says"},
	{"auth0.connection_identifiers", "the connection does not take the identifiers that users would have", "change the attributes of the connection, or the options of the plugin"},
	{"auth0.memberships_kept", "roles or tenants stay in app_metadata because the application may not assign them", "grant the named scopes, or set roles or tenants to metadata"},
	{"auth0.estimate", "how long the run takes", "plan for it"},
	{"auth0.mfa_disabled", "authenticators move, but the tenant does not ask for one-time codes", "switch the factor on before people sign in"},
	{"auth0.ghost_user", "Auth0 says that the user exists and does not show it", "delete it by connection and e-mail address, then run again"},
	{"auth0.password_kept", "the password has changed in SuperTokens, and Auth0 does not take a new hash for this account", "the user signs in with the former password or resets it"},
	{"auth0.incomplete", "the account is there, and roles, organizations or authenticator are not complete", "run again: the rest is added"},
	{"auth0.social_deferred", "the user signs in through another provider; Auth0 creates it at the first sign-in", "use the side file to restore what belongs to the user"},
	{"auth0.passwordless_deferred", "the user has no password, and jobs create users with passwords only", "set passwordless: create, or let the user appear at the first sign-in"},
	{"auth0.hash_deferred", "Auth0 cannot verify the user's hash, and loading it without would shut out a later import", "migrate such users at their first sign-in, or set unsupported_hash: reset"},
	{"auth0.deferred_unwritable", "the side file of deferred accounts cannot be written", "name a writable path in deferred"},
	{"auth0.out_unwritable", "the output folder cannot be written", "name a folder that may be created or written, on a disk with room"},
	{"auth0.out_foreign_files", "the output folder holds users that stetl did not write", "move them away or choose another folder"},

	{"scim.unreachable", "the server cannot be reached", "check the url, the network and the certificate"},
	{"scim.untrusted", "the server's certificate is not trusted", "name the authority that issued it in tls.ca_file, or correct the url"},
	{"scim.client_refused", "the server refuses the connection without a client certificate that it accepts", "set tls.cert_file and tls.key_file to a valid certificate of an authority that the server trusts"},
	{"scim.login_refused", "the server refuses the credentials", "check auth; the account must be allowed to manage users"},
	{"scim.not_scim", "the address does not answer as SCIM 2.0 does", "check the url, with the version in its path where the provider has one"},
	{"scim.extension_undeclared", "the server does not declare stetl's extension, so what only fits there stays behind", "register docs/scim-extension.schema.json with the provider, or accept the loss"},
	{"scim.extension_required", "the server demands a schema extension in every user", "fill it with attributes and constants"},
	{"scim.attribute_undeclared", "the server does not declare an attribute that would be sent", "accept the loss, or have the provider extend its schema"},
	{"scim.attribute_required", "the server demands an attribute that users lack", "fill it with attributes, constants or name_fallback"},
	{"scim.lookup_impossible", "accounts can neither be searched for nor listed, so that nobody could tell who is there", "ask the provider which filter works and set lookup"},
	{"scim.groups_missing", "the server has no groups, so roles stay behind", "set roles to roles, entitlements or none"},
	{"scim.password_undeclared", "hashes are to be sent and the server declares no attribute password", "remove password from the configuration"},
	{"scim.passwords_as_hashes", "hashes will be sent as the configuration states", "sign in with a migrated test account first"},
	{"scim.provider_note", "what is known of this provider", "read it"},
	{"scim.out_unwritable", "the output folder cannot be written", "name a folder that may be created or written, on a disk with room"},
	{"scim.out_foreign_files", "the output folder holds users that stetl did not write", "move them away or choose another folder"},
}

// Codes returns every registered code, sorted by name.
func Codes() []Info {
	return slices.SortedFunc(slices.Values(table), func(a, b Info) int { return cmp.Compare(a.Code, b.Code) })
}

// Lookup explains one code. Codes of third-party plugins are not registered.
func Lookup(c Code) (Info, bool) {
	i := slices.IndexFunc(table, func(in Info) bool { return in.Code == c })
	if i < 0 {
		return Info{}, false
	}
	return table[i], true
}

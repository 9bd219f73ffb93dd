package diag

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Code is a stable, dotted reason: area.reason. Scripts and reject files rely on
// it, so a code is never renamed or given another meaning.
type Code string

// codeForm is what scripts can rely on: words with dots between them.
var codeForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63}){1,7}$`)

// WellFormed reports whether c looks like a code.
func (c Code) WellFormed() bool { return codeForm.MatchString(string(c)) }

// area is the first word.
func (c Code) area() string {
	area, _, _ := strings.Cut(string(c), ".")
	return area
}

// Info explains a code.
type Info struct {
	Code    Code   `json:"code"`
	Meaning string `json:"meaning"` // what has happened, one line
	Remedy  string `json:"remedy"`  // what to do about it, one line
	// Path is the part of an account that the code is about, as a JSON pointer; empty
	// when it is about the whole account, or about none.
	Path string `json:"path,omitempty"`
	// Permanent says that running again changes nothing as long as accounts, settings
	// and target stay as they are.
	Permanent bool `json:"permanent"`
}

// CheckOwn says what is wrong with a code that a plugin declares as its own.
func (i Info) CheckOwn() error {
	switch {
	case !i.Code.WellFormed():
		return fmt.Errorf("%q is not a code: write lower-case words with a dot between them", i.Code)
	case slices.ContainsFunc(table, func(own Info) bool { return own.Code.area() == i.Code.area() }):
		return fmt.Errorf("code %s: %q begins codes that all plugins share; begin with a word of the plugin's own", i.Code, i.Code.area())
	}
	for _, text := range []string{i.Meaning, i.Remedy} {
		if text == "" || strings.ContainsAny(text, "\n\r") {
			return fmt.Errorf("code %s: meaning and remedy are one line each", i.Code)
		}
	}
	return nil
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

// Codes of the bridge.
const (
	BridgeNoJournal Code = "bridge.no_journal"
	BridgeUnable    Code = "bridge.target_unable"
	BridgeRights    Code = "bridge.rights_missing"
	BridgeExposed   Code = "bridge.exposed"
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
	PluginUnpinnable        Code = "plugin.unpinnable"
	PluginNoHealth          Code = "plugin.no_health"
	PluginStdoutNoise       Code = "plugin.stdout_noise"
	PluginStuck             Code = "plugin.stuck"
	PluginBrokeProtocol     Code = "plugin.broke_protocol"
	PluginConfigureFailed   Code = "plugin.configure_failed"
	PluginFinishFailed      Code = "plugin.finish_failed"
	PluginCloseFailed       Code = "plugin.close_failed"
	PluginTidyFailed        Code = "plugin.tidy_failed"
	PluginCrash             Code = "plugin.crash"
	PluginPanic             Code = "plugin.panic"
	PluginSilent            Code = "plugin.silent"
	PluginNoAnswer          Code = "plugin.no_answer"
	PluginNotSent           Code = "plugin.not_sent"
	PluginCallFailed        Code = "plugin.call_failed"
)

// Codes of core/mapping, and of the engine where accounts want the same.
const (
	MapDuplicateID       Code = "map.duplicate_id"
	MapDuplicateUsername Code = "map.duplicate_username"
	MapDuplicateEmail    Code = "map.duplicate_email"
	MapDuplicateIdentity Code = "map.duplicate_identity"
	MapUnknownField      Code = "map.unknown_field"
	MapBadExpression     Code = "map.bad_expression"
	MapBadTemplate       Code = "map.bad_template"
	MapFiltered          Code = "map.filtered"
	MapFailed            Code = "map.failed"
	MapNoEntry           Code = "map.no_entry"
	MapHashUnsupported   Code = "map.hash_unsupported"
	MapLinked            Code = "map.linked"
	MapNoTenant          Code = "map.no_tenant"
	MapSeveralTenants    Code = "map.several_tenants"
)

// Codes of several targets.
const (
	TargetsNoTarget   Code = "targets.no_target"
	TargetsSamePlace  Code = "targets.same_place"
	TargetsBadTenant  Code = "targets.bad_tenant"
	TargetsSeveral    Code = "targets.several"
	TargetsNotPlanned Code = "targets.not_planned"
)

// Codes of a load, for every target that has the same reason.
const (
	LoadNotCommitted     Code = "load.not_committed"
	LoadIDTooLong        Code = "load.id_too_long"
	LoadIDInvalid        Code = "load.id_invalid"
	LoadIDConflict       Code = "load.id_conflict"
	LoadUsernameMissing  Code = "load.username_missing"
	LoadUsernameConflict Code = "load.username_conflict"
	LoadEmailConflict    Code = "load.email_conflict"
	LoadIdentityConflict Code = "load.identity_conflict"
	LoadExistsDiffers    Code = "load.exists_differs"
	LoadThereBefore      Code = "load.there_before"
	LoadMoved            Code = "load.moved"
	LoadDrift            Code = "load.drift"
	LoadFieldTooLong     Code = "load.field_too_long"
	LoadHashUnsupported  Code = "load.hash_unsupported"
	LoadTOTPInvalid      Code = "load.totp_invalid"
	LoadTargetRefused    Code = "load.target_refused"
	LoadUnknownAnswer    Code = "load.unknown_answer"
	LoadOtherTenant      Code = "load.other_tenant"
	LoadEmailMissing     Code = "load.email_missing"
	LoadEmailInvalid     Code = "load.email_invalid"
	LoadUndecided        Code = "load.undecided"
	LoadUserTooLarge     Code = "load.user_too_large"
	LoadInvalidUser      Code = "load.invalid_user"
	LoadDuplicateUser    Code = "load.duplicate_user"
	LoadUnread           Code = "load.unread"
	LoadPartKept         Code = "load.part_kept"
	LoadPartFailed       Code = "load.part_failed"
	LoadPartRefused      Code = "load.part_refused"
	LoadNoPlace          Code = "load.no_place"
)

// Codes of what a target is asked about one account.
const (
	TargetNoSuchAccount    Code = "target.no_such_account"
	TargetPasswordRefused  Code = "target.password_refused"
	TargetLoginUnavailable Code = "target.login_unavailable"
)

// Codes of what surrounds a load.
const (
	RunMails    Code = "run.mails"
	RunStranded Code = "run.stranded"
	// RunDriftNeedsFull: drift in accounts that have not changed at the source is not seen.
	RunDriftNeedsFull   Code = "run.drift_needs_full"
	RunNotSelected      Code = "run.not_selected"
	RunUnknownAccount   Code = "run.unknown_account"
	RunAmbiguousAccount Code = "run.ambiguous_account"
	RunUnknownTenant    Code = "run.unknown_tenant"
	RunBadUsersFile     Code = "run.bad_users_file"
	RunNeedsEveryone    Code = "run.needs_everyone"
	// What becomes of accounts whose people have gone from the source.
	GoneDisabled        Code = "gone.disabled"
	GoneRegisteredAgain Code = "gone.registered_again"
	GoneLinked          Code = "gone.linked"
	GoneNotMade         Code = "gone.not_made"
	GoneOtherReading    Code = "gone.other_reading"
	GonePart            Code = "gone.part"
	GoneIncomplete      Code = "gone.incomplete"
	GoneOlderDump       Code = "gone.older_dump"
	GoneUnable          Code = "gone.unable"
	PlanNotPlanned      Code = "plan.not_planned"
	PlanSourceMoved     Code = "plan.source_moved"
	VerifyMissing       Code = "verify.missing"
	VerifyNotLoaded     Code = "verify.not_loaded"
	VerifyGone          Code = "verify.gone"
	VerifyDiffers       Code = "verify.differs"
	VerifyDropped       Code = "verify.dropped"
	VerifyMisplaced     Code = "verify.misplaced"
	UndoInDoubt         Code = "undo.in_doubt"
	UndoNoPreImage      Code = "undo.no_pre_image"
	UndoSignedIn        Code = "undo.signed_in"
	UndoPartLost        Code = "undo.part_lost"
	JournalUnwritable   Code = "journal.unwritable"
	JournalKey          Code = "journal.key"
	JournalIncomplete   Code = "journal.incomplete"
	JournalLease        Code = "journal.lease"
	JournalLost         Code = "journal.lost"
	JournalReadOnly     Code = "journal.read_only"
	JournalRights       Code = "journal.rights"
	JournalUnreachable  Code = "journal.unreachable"
	JournalVersion      Code = "journal.version"
	JournalBesideSource Code = "journal.beside_source"
	JournalExposed      Code = "journal.exposed"
)

// Whether running again helps.
const (
	stays  = true
	passes = false
)

// table has the codes of the core, and those that all plugins share, by area. A
// plugin declares its own. After adding one, run
// go test ./core/diag ./internal/architecture -update.
var table = []Info{
	{ConfigUnreadable, "the configuration file cannot be read", "check the path and the permissions", "", stays},
	{ConfigEncoding, "the configuration file is not plain UTF-8 text", "save it as UTF-8 with ordinary line ends", "", stays},
	{ConfigTooLarge, "the configuration is too large, too deeply nested, or has too many aliases", "shorten it; check for an alias that contains itself", "", stays},
	{ConfigSyntax, "the file is not valid YAML", "look at the named line and the one before it", "", stays},
	{ConfigUnsupportedYAML, "a YAML feature that has no JSON meaning, such as a custom tag", "write a plain string, number, boolean, list or mapping", "", stays},
	{ConfigMultipleDocuments, "the file holds more than one YAML document", "keep one document per file", "", stays},
	{ConfigDuplicateField, "a field is given twice in one mapping", "keep one of the two", "", stays},
	{ConfigUnknownField, "a field does not exist at this place", "correct the spelling or remove it", "", stays},
	{ConfigMissingField, "a required field is absent or empty", "add it", "", stays},
	{ConfigWrongType, "a value has the wrong type", "write the type the message asks for; quote text that looks like a number", "", stays},
	{ConfigInvalidValue, "a value has the right type, but is not allowed", "use one of the allowed values", "", stays},
	{ConfigConflict, "two settings exclude each other", "keep one of them", "", stays},
	{ConfigUnknownTable, "source.tables names a table that cannot be renamed", "use one of the names the message lists", "", stays},
	{ConfigSecretLiteral, "the file has a secret in clear text", "put it into the environment or a file and refer to it with ${env:NAME} or ${file:PATH}", "", stays},
	{ConfigBadReference, "a ${…} reference that cannot be understood", "write ${env:NAME}, ${file:PATH}, or $${ for a literal ${", "", stays},
	{ConfigUnresolvedReference, "a referenced environment variable or file does not exist or cannot be used", "set the variable or create the file", "", passes},
	{ConfigEmptyReference, "a referenced environment variable or file is empty", "check that it has the value that you meant", "", passes},
	{ConfigPluginSchema, "the configuration schema a plugin declares cannot be used", "report it to the author of the plugin", "", stays},

	{SourceUnreachable, "the database cannot be reached or refuses to be read", "check host, port, user and password; the role needs SELECT on SuperTokens' tables", "", passes},
	{SourceDumpUnusable, "the dump cannot be read", "the message says what is wrong with the file; make the dump again if it is cut", "", stays},
	{SourceNotSuperTokens, "the source has no SuperTokens installation with users", "check that it is the right database; set source.schema or source.table_prefix if they are unusual", "", stays},
	{SourceAmbiguous, "the source has more than one SuperTokens installation", "set source.schema and source.table_prefix to choose one", "", stays},
	{SourceNoApp, "the installation has no app of that name", "use one of the names the message lists", "", stays},
	{SourceTableMissing, "a table is missing that every core of this age makes", "dump the whole schema, or say in source.tables how the table is called", "", stays},
	{SourceColumnMissing, "a table lacks a column that every core of this age gives it", "finish the upgrade of the core, or dump the whole table", "", stays},
	{SourceRowsMissing, "rows are missing that other tables refer to", "dump the whole database at one moment; a partial dump or a filtered copy cannot be a source", "", stays},
	{SourceRowSecurity, "row-level security hides rows from this role, or from the dump", "read or dump as the owner of the tables or as a role with BYPASSRLS", "", stays},
	{SourceAppEmpty, "the app that is read has no users, and another app has", "choose the app with source.app; stetl inspect --list names them", "", stays},
	{SourceUpgradeUnfinished, "tables of two generations have rows, for example because an upgrade was stopped halfway", "finish the upgrade, or restore the state before it", "", stays},
	{SourceMigrationMode, "core 12's migration_mode contradicts what the tables hold", "leave the setting out, or set the mode that the core runs in", "", stays},

	{BridgeNoJournal, "the bridge finds no journal of a run, so it would know no account", "start stetl run first; every instance of the bridge needs its journal folder", "", stays},
	{BridgeUnable, "the section bridge asks for something that the target cannot do", "remove that part of the section", "", stays},
	{BridgeRights, "the database role of the bridge lacks a right", "have the owner of the database run what stetl bridge --print-sql ROLE prints", "", stays},
	{BridgeExposed, "a secret of the bridge could be guessed, or its metrics are open to the network", "make a longer secret; listen on a loopback address", "", stays},

	{PluginNotFound, "there is no such plugin in the folder that was searched", "check the name; a plugin of your own is an executable stetl-plugin-NAME beside stetl", "", stays},
	{PluginBadName, "the name of a plugin has characters that are not allowed", "use lower-case letters, digits and single dashes", "", stays},
	{PluginNotExecutable, "the plugin's file cannot be executed", "set its permissions, or name the executable itself", "", stays},
	{PluginWrongArchitecture, "the plugin is not a program for this machine", "install the build for this system and processor", "", stays},
	{PluginCannotStart, "the operating system cannot start the plugin", "correct what the message names: an interpreter, a loader, a folder", "", passes},
	{PluginBadHandshake, "the program wrote something else where a plugin says hello", "have it write to stderr, or check that it is a plugin", "", stays},
	{PluginWrongProtocol, "plugin and stetl use different versions of the protocol", "install versions that match", "", stays},
	{PluginDiedAtStart, "the plugin ended before it was ready", "correct what its last output names", "", passes},
	{PluginStartTimeout, "the plugin was not ready in time", "check that it is a plugin and that the machine is not overloaded", "", passes},
	{PluginChecksum, "the plugin's executable is not the one that stetl.lock accepts", "install the one that was locked, or accept this one with stetl plugin lock", "", stays},
	{PluginUnpinnable, "a checksum of this file does not cover what the plugin runs", "put everything that it needs into a folder stetl-plugin-NAME, with a launcher of the same name in it", "", stays},
	{PluginNoHealth, "the plugin has no health service, or the service does not report SERVING", "serve grpc.health.v1.Health with the service \"plugin\"", "", stays},
	{PluginStdoutNoise, "the plugin writes to stdout after the handshake", "have it write to stderr", "", passes},
	{PluginStuck, "the plugin's process does not end when it is asked to", "end the process in plugin.GRPCController/Shutdown", "", passes},
	{PluginBrokeProtocol, "the plugin did what the protocol does not allow", "report it to the author of the plugin", "", stays},
	{PluginConfigureFailed, "the plugin does not accept its configuration", "correct what the message names", "", stays},
	{PluginFinishFailed, "the plugin failed in its last step, so nothing of the run counts as loaded", "remove the cause and run again", "", passes},
	{PluginTidyFailed, "the plugin could not remove roles, groups or the like that runs have created", "run undo again: it goes on; the users are not affected", "", passes},
	{PluginCloseFailed, "the plugin could not close its connections or files", "see what the message names; the users are not affected", "", passes},
	{PluginCrash, "the plugin's process ended while it was handling the user", "run again: the user is looked up first", "", passes},
	{PluginPanic, "the plugin's code failed while it was handling the user", "run again: the user is looked up first; send the stack in the log to the author of the plugin", "", passes},
	{PluginSilent, "the plugin sent nothing for too long, and was ended while it was handling the user", "find out what the target or the plugin waits for, or raise limits.silence; run again: the user is looked up first", "", passes},
	{PluginNoAnswer, "the plugin reported no outcome for the user, or not in time", "run again: the user is looked up first", "", passes},
	{PluginNotSent, "the run ended before the user was sent", "run again", "", passes},
	{PluginCallFailed, "the plugin could not do what was asked of it for one user; the detail says why", "correct what the message names and try again", "", passes},

	{MapDuplicateID, "two accounts have the same id for applications", "correct the id mapping in SuperTokens", "/id", stays},
	{MapDuplicateUsername, "two accounts would get the same user name", "link or merge the accounts in SuperTokens, or change one of them", "/username", stays},
	{MapDuplicateEmail, "two accounts have the same e-mail address and the target allows one", "link or merge the accounts in SuperTokens, or change one of them", "/email", stays},
	{MapDuplicateIdentity, "two accounts have the same social identity and the target allows one", "link or merge the accounts in SuperTokens, or remove the sign-in from one of them", "/identities", stays},
	{MapUnknownField, "a mapping rule names a field that does not exist", "use one of the names the message lists", "", stays},
	{MapBadExpression, "a CEL expression of the mapping cannot be compiled", "correct it at the named place", "", stays},
	{MapBadTemplate, "a template of the mapping cannot be understood", "write fields in braces; for a brace itself write {{ or }}", "", stays},
	{MapFiltered, "mapping.filter leaves the account out", "change the filter if the account should be moved", "", passes},
	{MapFailed, "a mapping rule cannot be applied to the account", "make the rule cover such accounts; stetl map test tries it", "", stays},
	{MapNoEntry, "a lookup table of the mapping lacks the account's value", "add it to the table or give the rule a default", "", stays},
	{MapHashUnsupported, "the target cannot verify the password hash, and policies.password does not allow a reset", "set policies.password to reset, or have the person choose a new password first", "/password", stays},
	{MapLinked, "the account was merged with another one that has the same verified e-mail address", "nothing: policies.collision is set to link", "", passes},
	{MapNoTenant, "the account is in no tenant, so no target gets it", "add it to a tenant in SuperTokens, or accept the code in policies.skip", "/tenants", stays},
	{MapSeveralTenants, "the account is in tenants of several targets, and policies.several_tenants keeps it out of this one", "set policies.several_tenants to each, or remove the account from the other tenants", "/tenants", stays},

	{TargetsNoTarget, "a tenant that has accounts has no target", "give it a target, or leave it out: exclude, or leave_out in a list", "", stays},
	{TargetsSamePlace, "two targets are the same place", "have each target write to a place of its own, for example with {tenant} in the name of the realm", "", stays},
	{TargetsBadTenant, "the id of a tenant cannot be part of a name", "leave the tenant out, or use a list of targets", "", stays},
	{TargetsSeveral, "accounts are in tenants of several targets, and get an account in each of them", "nothing, if that is what you want; otherwise set policies.several_tenants to first or reject", "", stays},
	{TargetsNotPlanned, "the saved plan and the configuration do not have the same targets", "plan again", "", stays},

	{LoadNotCommitted, "the target failed in its last step, so nothing of the run counts as loaded", "remove the cause and run again", "", passes},
	{LoadIDTooLong, "the id is longer than the target can hold", "map the user to a shorter external id in SuperTokens, or remove the mapping", "/id", stays},
	{LoadIDInvalid, "the id is absent or has characters that the target cannot take", "map the user to a plain external id in SuperTokens, or remove the mapping", "/id", stays},
	{LoadIDConflict, "the id belongs to another account of the target", "rename or delete that account, or map the user to another id", "/id", stays},
	{LoadUsernameMissing, "the user has no name to sign in with", "let the mapping derive one from the e-mail address, the phone number or the id", "/username", stays},
	{LoadUsernameConflict, "the username belongs to another account", "merge the accounts or rename one of them", "/username", stays},
	{LoadEmailConflict, "the e-mail address belongs to another account", "merge the accounts or change one of the addresses", "/email", stays},
	{LoadIdentityConflict, "the third-party identity belongs to another user of the run, or to the account of one", "merge the accounts in SuperTokens", "/identities", stays},
	{LoadThereBefore, "the account is as it should be, but it was there before the first run: no run has made it, so an undo leaves it", "nothing, or policies.existing: adopt to have runs keep it up to date", "", stays},
	{LoadExistsDiffers, "the account is in the target and differs in the named fields", "change or delete it there; an existing account is not overwritten", "", stays},
	{LoadMoved, "the account has changed in the target since it was last looked at", "plan again and look at what has changed", "", passes},
	{LoadDrift, "somebody has changed the account in the target since the last run", "set policies.drift to say what should happen to such accounts", "", stays},
	{LoadFieldTooLong, "a field is longer than the target can hold", "shorten it in SuperTokens or leave it out in the mapping", "", stays},
	{LoadHashUnsupported, "the target cannot verify this password hash", "load the user without a password, and reset the password", "/password", stays},
	{LoadTOTPInvalid, "an authenticator has an unusable secret or period", "remove that device in SuperTokens", "/totp", stays},
	{LoadTargetRefused, "the target refused the user; the detail has its own words", "correct what it names, or look into the target's log", "", passes},
	{LoadUnknownAnswer, "the user was sent and the answer was lost", "run again: the user is looked up first", "", passes},
	{LoadOtherTenant, "the run loads one tenant, and the user belongs to others", "run with another configuration for each tenant", "", stays},
	{LoadEmailMissing, "the user has no e-mail address and the target wants one", "give it an address, or use the target's option for such users", "/email", stays},
	{LoadEmailInvalid, "the target does not take the e-mail address", "correct it in SuperTokens", "/email", stays},
	{LoadUndecided, "the plugin gave up on the rest of a batch; the detail says why", "run again: the user is looked up first", "", passes},
	{LoadUserTooLarge, "the user is larger than a plugin takes (16 MiB)", "leave metadata out in the mapping", "", stays},
	{LoadInvalidUser, "the user holds text that is not UTF-8, or a value that no plugin knows", "correct it in SuperTokens, or use matching versions of stetl and the plugin", "", stays},
	{LoadUnread, "the account was there before, the target does not show this part of it, and no run is known to have sent it: it is unknown whether it is the same as in the source", "policies.existing: adopt sends it again", "", passes},
	{LoadPartKept, "the source has changed this part since the load, but the person has set another value in the target, which stays", "tell the person, or reset it in the target", "", stays},
	{LoadPartFailed, "this part of the account could not be written; the detail says why", "run again: the part is tried again", "", passes},
	{LoadPartRefused, "the target does not take this part of the account; the detail has its own words", "correct what it names, in the source or in the target", "", stays},
	{LoadNoPlace, "this target has no place for this part of an account", "accept the loss, or extend the target; stetl check says what is missing", "", stays},
	{LoadDuplicateUser, "another user of the same batch has this source id", "report it: this is a defect of stetl", "", stays},

	{TargetNoSuchAccount, "the target has no such account", "load the users first", "", passes},
	{TargetPasswordRefused, "the target does not take this password", "choose one that its policy allows", "/password", stays},
	{TargetLoginUnavailable, "it is not possible to test at the target whether a password is right", "do what the message says, or accept that passwords are not proven", "", passes},

	{RunStranded, "people will have no way to sign in at the target", "switch on a way that the target has, such as a new password by mail, or give them another; limits.stranded stops a run that would leave more people without a way than expected", "", passes},
	{RunDriftNeedsFull, "policies.drift is overwrite, but accounts that have not changed in the source were not compared", "run with --full to compare all accounts", "", passes},
	{RunMails, "the target mails people on its own because of the run", "change the settings of the target if they should not be mailed; limits.mails stops a run that would mail more than expected", "", passes},
	{RunNotSelected, "the run was restricted to other accounts", "run without the restriction", "", passes},
	{RunUnknownAccount, "a given id belongs to no account", "correct it or leave it out", "", stays},
	{RunAmbiguousAccount, "a given id belongs to more than one account", "name the account by another of its ids", "", stays},
	{RunUnknownTenant, "the app has no such tenant", "choose one of those that the message lists", "", stays},
	{RunBadUsersFile, "the file of --users-from cannot be read as a list of ids", "write one id per line, as UTF-8", "", stays},
	{RunNeedsEveryone, "the target is written as a whole, so a part of the accounts would replace all accounts", "run without the restriction, or leave accounts out with mapping.filter and write to a folder of its own", "", stays},

	{GoneDisabled, "a run has switched the account off, because its person is no longer in the source", "stetl undo --gone switches it on again; a later run deletes it if policies.gone is delete", "", passes},
	{GoneRegisteredAgain, "the person is no longer in the source, but another account there has the same address: the person has probably registered again. This account has given up the address, is switched off, and stays", "move its data to the new account, then delete it by hand; stetl undo --gone restores it in the place of the new one", "", stays},
	{GoneLinked, "the account no longer exists in the source: it is now a login of another account", "merge the two accounts in the target, or delete this one by hand, so that people who sign in with it get the other account", "", stays},
	{GoneNotMade, "the person is no longer in the source, but no run has made the account in the target", "delete it by hand if it is not wanted", "", stays},
	{GoneOtherReading, "the person is not in the source, but the run that loaded the account has read another app, prefix, schema or filter", "delete it by hand if it is not wanted, or run with those settings", "", stays},
	{GonePart, "a run about a part of the accounts does not switch off or delete accounts of people who have gone", "run without the restriction", "", passes},
	{GoneIncomplete, "it is not proven that the source is complete, so it is unknown who has gone", "read a complete source, without --accept-incomplete", "", passes},
	{GoneOlderDump, "the dump is older than the last run, so it is unknown who has gone", "make a new dump; a plain file of pg_dump has the date of the file", "", passes},
	{GoneUnable, "policies.gone needs a target that can switch accounts off, and this one cannot", "leave policies.gone out, or configure in target.config what switches an account off", "", stays},

	{PlanNotPlanned, "the account came after the plan was made", "plan again, or run without the plan", "", passes},
	{PlanSourceMoved, "the account has changed in the source since the plan was made", "plan again", "", passes},

	{VerifyNotLoaded, "the account is in the source, and no run has loaded it", "run again; stetl rejects says what to do about rejected accounts; policies.skip and mapping.filter leave accounts out on purpose", "", passes},
	{VerifyGone, "a run has loaded the account, and it is no longer in the source", "delete it in the target if it is not wanted there", "", passes},
	{VerifyMissing, "the account should be in the target and is not", "run again with --full, or find out who deleted it", "", passes},
	{VerifyDiffers, "the account is not as it should be; the fields say where", "find out who changed it, or run again with --full", "", passes},
	{VerifyMisplaced, "the account is in the target, but in another place than the run put it: another id, tenant or organisation", "find out what has moved it, then run again with --full", "", passes},
	{VerifyDropped, "the target does not have a value that it was given", "look at the target's rules for that field; stetl check names the rules that it knows", "", passes},

	{UndoInDoubt, "the last run was interrupted while this account was being sent", "run again first, so that the account is looked up", "", passes},
	{UndoSignedIn, "the person has signed in since the account was loaded", "leave it, or run undo --signed-in", "", stays},
	{UndoPartLost, "the account is as it was before, but for a part that the target has never shown, such as a password", "tell the person to reset the password, or to set up the authenticator again", "", stays},
	{UndoNoPreImage, "a run has changed the account, and what it was before is not known", "restore it by hand", "", stays},

	{JournalUnwritable, "the result could not be written to the journal", "make room on its disk and run again: the account is looked up first", "", passes},
	{JournalKey, "the secret of the journal in PostgreSQL is missing, too short, or not the one that the journal was made with", "make one with openssl rand -base64 32, keep it as you keep passwords, and give it as journal_key: ${env:NAME} or in the variable STETL_JOURNAL_KEY, the same on every machine", "", stays},
	{JournalIncomplete, "the journal is a copy that was broken off", "remove it (the folder, or with DROP SCHEMA stetl CASCADE) and copy again", "", stays},
	{JournalLease, "the run has lost its hold on the journal: it was paused or cut off for so long that another run may have begun", "run again: what was on its way is looked up first", "", passes},
	{JournalLost, "the database of the journal has lost what it had confirmed, as after a failover to a standby that was behind, or a restore", "have a standby confirm commits (synchronous_standby_names), and run again: what was sent last is looked up first", "", passes},
	{JournalReadOnly, "the server of the journal only reads", "give the address of the primary server; with several hosts add target_session_attrs=read-write", "", passes},
	{JournalRights, "the role may not use the journal in this way", "give it the rights of the page about a journal in PostgreSQL", "", stays},
	{JournalUnreachable, "the database of the journal cannot be reached", "check the address, the network and the role, and run again", "", passes},
	{JournalVersion, "the database has no journal yet, or that of another version of this program", "use the same version of stetl on every machine; a run makes the journal or brings it up to date", "", stays},
	{JournalBesideSource, "the journal is in the database of SuperTokens itself, which a run then writes", "give the journal a database of its own, so that the role that reads SuperTokens can be one that only reads", "", stays},
	{JournalExposed, "the role of the bridge can write the journal, and whoever writes the journal chooses whose account the bridge opens", "give the bridge a role that only reads the journal", "", stays},
}

// Codes returns every code of the core, sorted by name.
func Codes() []Info { return sorted(table) }

func sorted(list []Info) []Info {
	return slices.SortedFunc(slices.Values(list), func(a, b Info) int { return cmp.Compare(a.Code, b.Code) })
}

// Lookup explains a code of the core; see [Words] for those of plugins.
func Lookup(c Code) (Info, bool) { return Words(nil).Lookup(c) }

// Words explain codes: those given, which plugins have declared, beside those of the
// core, which nobody can give another meaning.
type Words []Info

// Lookup explains c.
func (w Words) Lookup(c Code) (Info, bool) {
	for _, list := range [][]Info{table, w} {
		if i := slices.IndexFunc(list, func(in Info) bool { return in.Code == c }); i >= 0 {
			return list[i], true
		}
	}
	return Info{}, false
}

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

// Codes of core/config.
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
)

// PluginNotFound is for a plugin that cannot be started because it is not there.
const PluginNotFound Code = "plugin.not_found"

// Codes of core/engine: what can become of a user before and beside the target.
const (
	MapDuplicateID       Code = "map.duplicate_id"
	MapDuplicateUsername Code = "map.duplicate_username"
	MapDuplicateEmail    Code = "map.duplicate_email"
	LoadNotCommitted     Code = "load.not_committed"
)

// table is the one registry. Add a code to the block of the package that raises
// it, then run go test ./core/diag -update.
var table = []Info{
	// core/config
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
	// the source
	{SourceUnreachable, "the database cannot be reached or refuses to be read", "check host, port, user and password; the role needs SELECT on SuperTokens' tables"},
	{SourceDumpUnusable, "the dump cannot be read", "the message says what is wrong with the file; make the dump again if it is cut"},
	{SourceNotSuperTokens, "the source holds no SuperTokens installation with users", "check that it is the right database; set source.schema or source.table_prefix if they are unusual"},
	{SourceAmbiguous, "the source holds more than one SuperTokens installation", "set source.schema and source.table_prefix to choose one"},
	{SourceNoApp, "the installation has no app of that name", "use one of the names the message lists"},
	// core/plugin
	{PluginNotFound, "no such plugin where it was looked for", "check the name; a plugin of your own is an executable stetl-plugin-NAME beside stetl"},
	// core/engine
	{MapDuplicateID, "two accounts show the same id to applications", "correct the id mapping in SuperTokens"},
	{MapDuplicateUsername, "two accounts would get the same user name", "link or merge the accounts in SuperTokens, or change one of them"},
	{MapDuplicateEmail, "two accounts have the same e-mail address and the target allows one", "link or merge the accounts in SuperTokens, or change one of them"},
	{LoadNotCommitted, "the target failed in its last step, so nothing of the run counts as loaded", "remove the cause and run again"},
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

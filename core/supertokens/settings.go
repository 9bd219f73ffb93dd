package supertokens

import (
	"fmt"
	"slices"
	"strings"
)

// SettingHint says which setting of source does what a setting of SuperTokens does,
// under the name that it has in the core's configuration file, in its environment or
// in an SDK; empty for a name of nobody's.
func SettingHint(name string) string {
	folded := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if file, ok := strings.CutSuffix(folded, "_file"); ok && SettingHint(file) != "" {
		return SettingHint(file) + "; a reference reads a file: ${file:PATH}"
	}
	if hint := coreSettings[folded]; hint != "" {
		return hint
	}
	if setting, ok := strings.CutPrefix(folded, "postgresql_"); ok {
		return databaseHint(setting, "postgres", "POSTGRESQL_CONNECTION_URI")
	}
	if setting, ok := strings.CutPrefix(folded, "mysql_"); ok {
		return databaseHint(setting, "mysql", "MYSQL_CONNECTION_URI")
	}
	if strings.HasPrefix(folded, "mongodb_") {
		return "only PostgreSQL, MySQL and MariaDB can be read; see docs/supertokens.md"
	}
	return ""
}

const (
	partOfURL = "it is part of source.url here: %s://USER:PASSWORD@HOST:PORT/DATABASE, as a reference such as ${env:NAME}"
	notOfCore = "the core is not asked; source.url is the address of its database"
	leaveOut  = "leave it out; nothing here depends on it"
)

// coreSettings are those without the name of a database.
var coreSettings = map[string]string{ //nolint:gosec // names of settings, and no credentials
	"app_id":                               "it is source.app here",
	"appid":                                "it is source.app here",
	"supertokens_app_id":                   "it is source.app here",
	"tenant_id":                            "leave it out; all tenants of source.app are read",
	"tenantid":                             "leave it out; all tenants of source.app are read",
	"connection_uri":                       notOfCore,
	"connectionuri":                        notOfCore,
	"supertokens_connection_uri":           notOfCore,
	"api_key":                              notOfCore,
	"apikey":                               notOfCore,
	"api_keys":                             notOfCore,
	"supertokens_api_key":                  notOfCore,
	"database_url":                         "it is source.url here",
	"database_uri":                         "it is source.url here",
	"connection_string":                    "it is source.url here",
	"firebase_password_hashing_signer_key": "it is source.firebase_signer_key here, as a reference such as ${file:signer.key}",
}

// databaseHint is about a setting of the core's plugin for a database.
func databaseHint(setting, scheme, variable string) string {
	switch setting {
	case "connection_uri":
		return "it is source.url here, as a reference such as ${env:" + variable + "}"
	case "host", "port", "user", "password", "database_name", "connection_scheme":
		return fmt.Sprintf(partOfURL, scheme)
	case "connection_attributes":
		return "they stand behind the ? of source.url here"
	case "table_schema":
		return "it is source.schema here"
	case "table_names_prefix":
		return "it is source.table_prefix here, without the _ that follows it"
	case "connection_pool_size", "minimum_idle_connections", "idle_connection_timeout":
		return leaveOut
	}
	if renamed, ok := strings.CutSuffix(setting, "_table_name"); ok {
		if slices.Contains(RenamableTables(), renamed) {
			return "it is source.tables here: {" + renamed + ": NAME}"
		}
		return leaveOut
	}
	return "no setting of source does that; see docs/supertokens.md"
}

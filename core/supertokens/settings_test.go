package supertokens

import (
	"strings"
	"testing"
)

// TestSettingHint has the names of the core's configuration, in the file and in the
// environment.
func TestSettingHint(t *testing.T) {
	t.Parallel()
	says := map[string]string{
		"postgresql_connection_uri":                                    "source.url",
		"postgresql_host":                                              "source.url",
		"postgresql_port":                                              "source.url",
		"postgresql_user":                                              "source.url",
		"postgresql_password":                                          "source.url",
		"postgresql_password_file":                                     "${file:PATH}",
		"postgresql_database_name":                                     "source.url",
		"postgresql_connection_scheme":                                 "source.url",
		"postgresql_connection_attributes":                             "behind the ? of source.url",
		"postgresql_table_schema":                                      "source.schema",
		"postgresql_table_names_prefix":                                "source.table_prefix",
		"postgresql_connection_pool_size":                              "leave it out",
		"postgresql_minimum_idle_connections":                          "leave it out",
		"postgresql_idle_connection_timeout":                           "leave it out",
		"postgresql_past_tokens_table_name":                            "leave it out",
		"postgresql_emailpassword_email_verificaion_tokens_table_name": "leave it out",
		"postgresql_something_new":                                     "docs/supertokens.md",
		"mysql_connection_uri":                                         "${env:MYSQL_CONNECTION_URI}",
		"mysql_host":                                                   "mysql://USER:PASSWORD@HOST:PORT/DATABASE",
		"mysql_table_names_prefix":                                     "source.table_prefix",
		"mysql_emailpassword_users_table_name":                         "{emailpassword_users: NAME}",
		"mongodb_connection_uri":                                       "only PostgreSQL, MySQL",
		"supertokens_app_id":                                           "source.app",
		"app_id":                                                       "source.app",
		"appId":                                                        "source.app",
		"tenant_id":                                                    "all tenants",
		"connection_uri":                                               "source.url is the address of its database",
		"connectionURI":                                                "source.url is the address of its database",
		"api_keys":                                                     "the core is not asked",
		"apiKey":                                                       "the core is not asked",
		"database_url":                                                 "source.url",
		"firebase_password_hashing_signer_key":                         "source.firebase_signer_key",
	}
	for _, table := range RenamableTables() {
		says["postgresql_"+table+"_table_name"] = "source.tables here: {" + table + ": NAME}"
	}
	for name, want := range says {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "_", "-")} {
			if hint := SettingHint(spelling); !strings.Contains(hint, want) {
				t.Errorf("%s: %q, want %q in it", spelling, hint, want)
			}
		}
	}
	for _, own := range []string{"url", "shema", "tables", "nonsense", "file", "_file"} {
		if hint := SettingHint(own); hint != "" {
			t.Errorf("%s: %q", own, hint)
		}
	}
}

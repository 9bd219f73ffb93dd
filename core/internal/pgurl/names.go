package pgurl

import (
	"maps"
	"slices"
	"strings"
)

// fold makes one of the spellings that libraries have for a setting: currentSchema,
// current_schema, Current Schema.
func fold(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))
}

// known tells whether the name of a setting means something in an address. Only
// such names are sure to be no part of a password.
func known(name string) bool {
	_, ok := rules[fold(name)]
	return ok
}

func isSecret(name string) bool {
	return slices.Contains([]string{"password", "pwd", "psw", "pass", "sslpassword"}, fold(name))
}

// rule is what becomes of a setting. It may report problems.
type rule func(*judge, setting)

// rules are by folded name.
var rules = allRules()

func allRules() map[string]rule {
	rules := map[string]rule{}
	for keyword, spellings := range kept {
		for spelling := range strings.FieldsSeq(keyword + " " + spellings) {
			rules[fold(spelling)] = func(j *judge, s setting) { j.keep(keyword, s) }
		}
	}
	for spelling := range strings.FieldsSeq(dropped) {
		rules[fold(spelling)] = func(*judge, setting) {}
	}
	for spelling, cure := range refused {
		rules[fold(spelling)] = func(j *judge, s setting) { j.add("the setting "+s.name+" is not supported", cure) }
	}
	for spelling, values := range onlyHarmless {
		rules[fold(spelling)] = func(j *judge, s setting) { j.harmless(s, values) }
	}
	for spelling := range strings.FieldsSeq(schemaSettings) {
		rules[fold(spelling)] = func(j *judge, s setting) { j.schema(s.name, searchPath(s.value)) }
	}
	maps.Copy(rules, special)
	return rules
}

// kept is what pgx or PostgreSQL understands, by its keyword, with the other
// spellings of it.
var kept = map[string]string{ //nolint:gosec // names of settings, and no credentials
	"host":             "server data-source address addr network-address pghost",
	"port":             "pgport",
	"dbname":           "database db initial-catalog pgdbname",
	"user":             "username user-id uid",
	"password":         "pwd psw pass",
	"passfile":         "",
	"service":          "",
	"servicefile":      "",
	"application_name": "",
	"connect_timeout":  "timeout",

	"sslcert":              "ssl-certificate",
	"sslkey":               "",
	"sslpassword":          "",
	"sslrootcert":          "root-certificate",
	"sslcertmode":          "",
	"sslsni":               "",
	"sslnegotiation":       "",
	"channel_binding":      "",
	"require_auth":         "",
	"target_session_attrs": "target-session-attributes",
	"min_protocol_version": "",
	"max_protocol_version": "",
	"krbsrvname":           "kerberos-server-name kerberos-service-name",
	"krbspn":               "",

	"role":                                "",
	"timezone":                            "",
	"statement_timeout":                   "",
	"lock_timeout":                        "",
	"idle_in_transaction_session_timeout": "",
	"idle_session_timeout":                "",
	"default_transaction_read_only":       "",
	"work_mem":                            "",

	"pool_max_conns":                "",
	"pool_min_conns":                "",
	"pool_min_idle_conns":           "",
	"pool_max_conn_lifetime":        "",
	"pool_max_conn_lifetime_jitter": "",
	"pool_max_conn_idle_time":       "",
	"pool_health_check_period":      "",
	"pool_ping_timeout":             "",
}

// schemaSettings name schemas.
const schemaSettings = "currentSchema search_path schema_search_path"

// dropped is what tunes the pool, the statements or the log of a client and cannot
// change which rows there are or who may see the connection.
const dropped = `
	connection_limit pool_timeout pgbouncer socket_timeout statement_cache_size single_use_connections workaround supa
	pool pool_size pool_mode max min max_connections min_connections idle_timeout max_lifetime acquire_timeout connectionTimeoutMillis
	idleTimeoutMillis checkout_timeout reaping_frequency idle_connection_timeout max_overflow pool_recycle pool_pre_ping
	prepare prepared_statements statement_limit fetch_types debug logging synchronize advisory_locks min_messages reconnect adapter
	serverVersion charset encoding client_encoding characterEncoding useUnicode conn_max_age conn_health_checks
	prepared_statement_cache_size prepared_statement_name_func statement_cache_capacity description_cache_capacity
	default_query_exec_mode max_cached_statement_lifetime max_cacheable_statement_size command_timeout query_timeout
	binary_parameters disable_prepared_binary_result fallback_application_name load_balance_hosts
	keepalives keepalives_idle keepalives_interval keepalives_count keepalives_retries tcp_user_timeout sslcompression
	datestyle intervalstyle extra_float_digits bytea_output client_min_messages gsslib

	prepareThreshold preparedStatementCacheQueries preparedStatementCacheSizeMiB reWriteBatchedInserts tcpKeepAlive tcpNoDelay
	loggerLevel loggerFile loginTimeout  cancelSignalTimeout sslResponseTimeout sendBufferSize receiveBufferSize
	maxSendBufferSize defaultRowFetchSize binaryTransfer binaryTransferEnable binaryTransferDisable stringtype
	databaseMetadataCacheFields databaseMetadataCacheFieldsMiB readOnly readOnlyMode autosave cleanupSavepoints preferQueryMode
	assumeMinServerVersion disableColumnSanitiser logUnclosedConnections logServerErrorDetail hostRecheckSeconds
	unknownLength compatible protocolVersion allowEncodingChanges maxResultBuffer escapeSyntaxCallMode hideUnprivilegedObjects
	includeThreadNameIn quoteReturningIdentifiers adaptiveFetch adaptiveFetchMinimum adaptiveFetchMaximum groupStartupParameters
	jaasApplicationName jaasLogin useSpnego xmlFactoryFactory

	pooling minimum-pool-size maximum-pool-size min-pool-size max-pool-size connection-idle-lifetime connection-pruning-interval
	connection-lifetime internal-command-timeout cancellation-timeout keepalive tcp-keepalive-time tcp-keepalive-interval
	socket-receive-buffer-size socket-send-buffer-size max-auto-prepare auto-prepare-min-usages use-perf-counters enlist
	no-reset-on-close multiplexing write-coalescing-buffer-threshold-bytes write-coalescing-delay-us read-buffer-size
	write-buffer-size load-table-composites server-compatibility-mode array-nullability-mode include-error-detail
	include-error-details include-realm persist-security-info log-parameters convert-infinity-datetime include-failed-batched-command`

// refused is what cannot be honoured, with the nearest that can.
var refused = map[string]string{
	"sslcrl":                        "leave it out: lists of revoked certificates are not read",
	"sslcrldir":                     "leave it out: lists of revoked certificates are not read",
	"sslidentity":                   "turn the PKCS#12 file into PEM files and name them with sslcert and sslkey",
	"ssl_max_protocol_version":      "leave it out, or name the oldest version with ssl_min_protocol_version",
	"sslfactoryarg":                 "name the certificate of the authority with sslrootcert",
	"sslhostnameverifier":           "write sslmode=verify-full, or sslmode=verify-ca where the name of the host is not to be checked",
	"sslpasswordcallback":           "write sslpassword",
	"sslinline":                     "write the certificates to files and name them with sslcert, sslkey and sslrootcert",
	"sslkeylogfile":                 "leave it out",
	"requirepeer":                   "leave it out: who runs the server of a socket is not checked",
	"replication":                   "leave it out: an ordinary connection is needed",
	"socketFactory":                 "for Cloud SQL write host=/cloudsql/PROJECT:REGION:INSTANCE or the address of its proxy, else host and port",
	"socketFactoryArg":              "leave it out",
	"cloudSqlInstance":              "write host=/cloudsql/PROJECT:REGION:INSTANCE, or the address of the proxy",
	"enableIamAuth":                 "write a password, or the address of a proxy that signs in",
	"ipTypes":                       "leave it out",
	"authenticationPluginClassName": "write user and password",
	"localSocketAddress":            "leave it out",
	"scram_client_key":              "write password",
	"scram_server_key":              "write password",
	"oauth_issuer":                  "write user and password",
	"oauth_client_id":               "write user and password",
	"oauth_client_secret":           "write user and password",
	"oauth_scope":                   "write user and password",
}

// onlyHarmless is what is dropped with one of these values, and refused else.
var onlyHarmless = map[string][]string{
	"gssencmode":                   {"disable", "prefer", "allow"},
	"gss-encryption-mode":          {"disable", "prefer"},
	"gssdelegation":                {"0"},
	"gssUseDefaultCreds":           {"false"},
	"check-certificate-revocation": {"false"},
	"integrated-security":          {"false"},
}

var trues = []string{"true", "1", "yes", "on", "t"}

// special is what needs more than a table.
var special = map[string]rule{
	"sslmode":                func(j *judge, s setting) { j.sslmode(s) },
	"ssl":                    func(j *judge, s setting) { j.ssl(s) },
	"requiressl":             func(j *judge, s setting) { j.requireSSL(s) },
	"sslfactory":             func(j *judge, s setting) { j.sslFactory(s) },
	"sslaccept":              func(j *judge, s setting) { j.sslAccept(s) },
	"trustservercertificate": func(*judge, setting) {}, // sslmode=require trusts any
	"sslminprotocolversion":  func(j *judge, s setting) { j.minTLS(s) },
	"targetservertype":       func(j *judge, s setting) { j.targetServerType(s) },
	"hostaddr":               func(j *judge, s setting) { j.hostaddr = s.value },
	"schema":                 func(j *judge, s setting) { j.schema(s.name, oneSchema(s.value)) },
	"options":                func(j *judge, s setting) { j.options(s.value) },
}

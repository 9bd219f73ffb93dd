package supertokens

import "slices"

// table names a SuperTokens table by the name the core gives it before prefix
// and renaming.
type table string

// The tables that are read. Everything else is either derived from these,
// replay protection, or configuration of the core.
const (
	tApps               table = "apps"
	tTenants            table = "tenants"
	tTenantConfigs      table = "tenant_configs"
	tProviderClients    table = "tenant_thirdparty_provider_clients"
	tSpine              table = "app_id_to_user_id"
	tUserIndex          table = "all_auth_recipe_users"
	tRecipeUserTenants  table = "recipe_user_tenants"
	tEmailPassword      table = "emailpassword_users"
	tThirdParty         table = "thirdparty_users"
	tPasswordless       table = "passwordless_users"
	tWebAuthn           table = "webauthn_users"
	tWebAuthnCreds      table = "webauthn_credentials" //nolint:gosec // a table
	tOldEmails          table = "emailpassword_user_to_tenant"
	tVerified           table = "emailverification_verified_emails"
	tMapping            table = "userid_mapping"
	tMetadata           table = "user_metadata"
	tRoles              table = "roles"
	tUserRoles          table = "user_roles"
	tTOTPUsers          table = "totp_users"
	tTOTPDevices        table = "totp_user_devices"
	tLastActive         table = "user_last_active"
	tSessions           table = "session_info"
	tBulkImport         table = "bulk_import_users"
	tDashboardUsers     table = "dashboard_users"
	tKeyValue           table = "key_value"
	tResetTokens        table = "emailpassword_pswd_reset_tokens"
	tVerificationTokens table = "emailverification_tokens" //nolint:gosec // a table
)

// RenamableTables lists the tables that the core lets an operator rename one
// by one (postgresql_<name>_table_name). A renamed table keeps the schema and
// loses the prefix.
func RenamableTables() []string {
	return []string{
		string(tKeyValue), string(tSessions), string(tEmailPassword), string(tResetTokens),
		string(tVerificationTokens), string(tVerified), string(tThirdParty),
	}
}

// signature tells a table by its columns: all of has, and, where may is not
// empty, none but those and may. A table of an application that happens to have
// a user_id and an email must not pass for one of the core.
type signature struct {
	has, may []string
	also     func(*relation) bool
}

func (s signature) fits(r *relation) bool {
	if !r.has(s.has...) || s.also != nil && !s.also(r) {
		return false
	}
	return len(s.may) == 0 || !slices.ContainsFunc(r.columns, func(c string) bool {
		return !slices.Contains(s.has, c) && !slices.Contains(s.may, c)
	})
}

// signatures identify a renamable table under a name nobody told us.
var signatures = map[table]signature{
	tKeyValue:      {has: []string{"name", "value", "created_at_time"}},
	tSessions:      {has: []string{"session_handle", "user_id", "refresh_token_hash_2", "expires_at"}},
	tEmailPassword: {has: []string{"user_id", "email", "password_hash", "time_joined"}},
	tResetTokens: {
		has: []string{"user_id", "token", "token_expiry"}, may: []string{"app_id", "email"},
		also: func(r *relation) bool { return r.has("app_id") || !r.has("email") },
	},
	tVerificationTokens: {
		has: []string{"user_id", "email", "token", "token_expiry"}, may: []string{"app_id", "tenant_id"},
		also: func(r *relation) bool { return r.has("app_id") == r.has("tenant_id") },
	},
	tVerified:   {has: []string{"user_id", "email"}, may: []string{"app_id"}},
	tThirdParty: {has: []string{"third_party_id", "third_party_user_id", "user_id", "email", "time_joined"}, may: []string{"app_id"}},
}

// idKind says whose id a table stores (it differs from table to table, and
// between cores).
type idKind int

const (
	// internalID is the core's own UUID.
	internalID idKind = iota
	// visibleID is the external id where one is mapped, else the internal one;
	// tables of this kind are looked up under both.
	visibleID
)

// spec says how one table is read. Columns absent from the database at hand
// read as NULL: generations differ in data, not in code.
type spec struct {
	table table
	// key is the column with the user id.
	key   string
	keyIs idKind
	// columns beside the key, in the order the decoder expects.
	columns []string
}

// userTables are the tables that are read by ranges of user ids.
var userTables = []spec{
	{tSpine, "user_id", internalID, []string{"primary_or_recipe_user_id", "is_linked_or_is_a_primary_user", "time_joined"}},
	{tEmailPassword, "user_id", internalID, []string{"email", "password_hash", "time_joined", "is_email_verified"}},
	{tThirdParty, "user_id", internalID, []string{"third_party_id", "third_party_user_id", "email", "time_joined"}},
	{tPasswordless, "user_id", internalID, []string{"email", "phone_number", "time_joined"}},
	{tWebAuthn, "user_id", internalID, []string{"email", "rp_id", "time_joined"}},
	{tWebAuthnCreds, "user_id", internalID, []string{"id", "rp_id", "counter", "public_key", "transports", "created_at"}},
	{tUserIndex, "user_id", internalID, []string{"tenant_id"}},
	{tRecipeUserTenants, "recipe_user_id", internalID, []string{"tenant_id"}},
	{tMapping, "supertokens_user_id", internalID, []string{"external_user_id", "external_user_id_info"}},
	{tVerified, "user_id", visibleID, []string{"email"}},
	{tMetadata, "user_id", visibleID, []string{"user_metadata"}},
	{tUserRoles, "user_id", visibleID, []string{"tenant_id", "role"}},
	{tTOTPUsers, "user_id", visibleID, nil},
	{tTOTPDevices, "user_id", visibleID, []string{"device_name", "secret_key", "period", "skew", "verified", "created_at"}},
	{tLastActive, "user_id", visibleID, []string{"last_active_time"}},
	// The last two hold nothing of an account; they are read to report what
	// lies there. Sessions are many, so only an audit looks.
	{tOldEmails, "user_id", internalID, []string{"email"}},
	{tSessions, "user_id", visibleID, nil},
}

// membershipTables decide which of core 12's two places holds the tenants.
var membershipTables = []table{tSpine, tEmailPassword, tThirdParty, tPasswordless, tWebAuthn, tUserIndex, tRecipeUserTenants}

// unreadTables exist in some generation and hold nothing about a user that a
// target could take: copies of what other tables say, replay protection,
// short-lived codes, and the core's own configuration.
var unreadTables = []table{
	"thirdparty_user_to_tenant", "passwordless_user_to_tenant", "webauthn_user_to_tenant",
	"emailpassword_email_verification_tokens", "passwordless_devices", "passwordless_codes", "role_permissions",
	"session_access_token_signing_keys", "jwt_signing_keys", "dashboard_user_sessions", "totp_used_codes",
	"tenant_thirdparty_providers", "tenant_first_factors", "tenant_required_secondary_factors",
	"oauth_clients", "oauth_sessions", "oauth_m2m_tokens", "oauth_m2m_token_stats", "oauth_logout_challenges",
	"webauthn_generated_options", "webauthn_account_recovery_tokens", "saml_clients", "saml_relay_state", "saml_claims",
	"recipe_user_account_infos", "primary_user_tenants", "activity_log", "past_tokens",
}

// specs returns how to read the tables that this installation has and that
// want asks for, in the order that joining needs.
func (l *Layout) specs(want func(table) bool) []*spec {
	var out []*spec
	for i := range userTables {
		if s := &userTables[i]; l.tables[s.table] != nil && want(s.table) {
			out = append(out, s)
		}
	}
	return out
}

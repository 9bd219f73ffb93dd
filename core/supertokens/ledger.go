package supertokens

import (
	"fmt"
	"slices"
	"strings"
)

// Fate is what becomes of a column of the source.
type Fate string

// The fates. Every column of every known table has one.
const (
	Carried     Fate = "carried"     // part of the account, as it is stored
	Transformed Fate = "transformed" // part of the account in another form
	Defaulted   Fate = "defaulted"   // this generation lacks it, the account says so
	Dropped     Fate = "dropped"     // no part of the account, for the reason given
	Unknown     Fate = "unknown"     // not known to this program, and not read
)

// LedgerEntry says what becomes of one column.
type LedgerEntry struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	Fate   Fate   `json:"fate"`
	Reason string `json:"reason,omitempty"`
}

// fates lists every column of every core from 3.0 to 12.1. An empty list of
// columns means: whatever else the table has.
var fates = []struct {
	table   table
	fate    Fate
	reason  string
	columns string
}{
	{tEmailPassword, Carried, "", "app_id user_id email time_joined"},
	{tEmailPassword, Transformed, "parsed; the stored text is kept beside", "password_hash"},
	{tEmailPassword, Transformed, "verified", "is_email_verified"},
	{tThirdParty, Carried, "", "app_id user_id third_party_id third_party_user_id email time_joined"},
	{tPasswordless, Carried, "", "app_id user_id email phone_number time_joined"},
	{tWebAuthn, Carried, "", "app_id user_id email rp_id time_joined"},
	{tWebAuthnCreds, Carried, "", "app_id id rp_id user_id counter public_key transports created_at"},
	{tWebAuthnCreds, Dropped, "when a passkey was last used", "updated_at"},
	{tSpine, Carried, "", "app_id user_id primary_or_recipe_user_id"},
	{tSpine, Transformed, "isPrimary", "is_linked_or_is_a_primary_user"},
	{tSpine, Dropped, "the recipe tables say it", "recipe_id"},
	{tSpine, Dropped, "a copy that may not be filled; the recipe tables have the time", "time_joined primary_or_recipe_user_time_joined"},
	{tUserIndex, Carried, "", "app_id tenant_id user_id"},
	{tUserIndex, Dropped, "a copy of the spine and the recipe tables", ""},
	{tRecipeUserTenants, Carried, "", "app_id tenant_id recipe_user_id"},
	{tRecipeUserTenants, Dropped, "a copy of the recipe tables", ""},
	{tVerified, Transformed, "verified", "app_id user_id email"},
	{tMapping, Carried, "", "app_id supertokens_user_id external_user_id external_user_id_info"},
	{tMetadata, Carried, "", "app_id user_id user_metadata"},
	{tUserRoles, Carried, "", "app_id tenant_id user_id role"},
	{tTOTPDevices, Carried, "", "app_id user_id device_name secret_key period skew verified created_at"},
	{tLastActive, Carried, "", "app_id user_id last_active_time"},
	{tApps, Carried, "", "app_id"},
	{tApps, Dropped, "when the app was made", "created_at_time"},
	{tTenants, Carried, "", "app_id tenant_id"},
	{tTenants, Dropped, "when the tenant was made", "created_at_time"},
	{tRoles, Carried, "", "app_id role"},
	{"role_permissions", Dropped, "permissions belong to roles, which a target defines itself", ""},
	{tTOTPUsers, Dropped, "the devices say who has one", ""},
	{tOldEmails, Dropped, "a copy of the recipe tables", ""},
	{"thirdparty_user_to_tenant", Dropped, "a copy of the recipe tables", ""},
	{"passwordless_user_to_tenant", Dropped, "a copy of the recipe tables", ""},
	{"webauthn_user_to_tenant", Dropped, "a copy of the recipe tables", ""},
	{"recipe_user_account_infos", Dropped, "a copy of the recipe tables", ""},
	{"primary_user_tenants", Dropped, "a copy of the recipe tables", ""},
	{tSessions, Dropped, "sessions do not move with accounts", ""},
	{"past_tokens", Dropped, "sessions do not move with accounts", ""},
	{tResetTokens, Dropped, "a one-time token", ""},
	{tVerificationTokens, Dropped, "a one-time token", ""},
	{"emailpassword_email_verification_tokens", Dropped, "a one-time token", ""},
	{"webauthn_account_recovery_tokens", Dropped, "a one-time token", ""},
	{"webauthn_generated_options", Dropped, "a one-time challenge", ""},
	{"passwordless_devices", Dropped, "a one-time code", ""},
	{"passwordless_codes", Dropped, "a one-time code", ""},
	{"totp_used_codes", Dropped, "protection against replays", ""},
	{tKeyValue, Dropped, "keys and bookkeeping of the core", ""},
	{"session_access_token_signing_keys", Dropped, "signing keys of the core", ""},
	{"jwt_signing_keys", Dropped, "signing keys of the core", ""},
	{tDashboardUsers, Dropped, "administrators of the dashboard are not end users", ""},
	{"dashboard_user_sessions", Dropped, "administrators of the dashboard are not end users", ""},
	{tBulkImport, Dropped, "staged users are not users yet", ""},
	{tTenantConfigs, Dropped, "configuration of the core", ""},
	{tProviderClients, Dropped, "configuration of the core; holds client secrets", ""},
	{"tenant_thirdparty_providers", Dropped, "configuration of the core", ""},
	{"tenant_first_factors", Dropped, "configuration of the core", ""},
	{"tenant_required_secondary_factors", Dropped, "configuration of the core", ""},
	{"oauth_clients", Dropped, "clients of the core's OAuth server are not users", ""},
	{"oauth_sessions", Dropped, "sessions do not move with accounts", ""},
	{"oauth_m2m_tokens", Dropped, "tokens of machines", ""},
	{"oauth_m2m_token_stats", Dropped, "tokens of machines", ""},
	{"oauth_logout_challenges", Dropped, "a one-time challenge", ""},
	{"saml_clients", Dropped, "configuration of the core; holds client secrets", ""},
	{"saml_relay_state", Dropped, "a one-time challenge", ""},
	{"saml_claims", Dropped, "a one-time challenge", ""},
	{"activity_log", Dropped, "audit log of the core", ""},
}

// defaults are what an account says where a generation has no column for it.
var defaults = []struct {
	table  table
	column string
	reason string
}{
	{tVerified, "email", "verified is unknown: core 3.0 did not record it"},
	{tTOTPDevices, "created_at", "when a device was enrolled is unknown before core 9.0"},
	{tLastActive, "last_active_time", "when an account was last active is unknown before core 4.5"},
}

// ledger says for every column of the installation what becomes of it, in the
// order of the tables' names.
func (l *Layout) ledger(c *catalog) []LedgerEntry {
	var out []LedgerEntry
	for _, r := range c.tables {
		t, ours := l.tableOf(r)
		if !ours {
			continue
		}
		for _, column := range r.columns {
			e := LedgerEntry{Table: r.name, Column: column, Fate: Unknown}
			for _, f := range fates {
				if f.table == t && (f.columns == "" && e.Fate == Unknown || slices.Contains(strings.Fields(f.columns), column)) {
					e.Fate, e.Reason = f.fate, f.reason
				}
			}
			out = append(out, e)
		}
	}
	for _, d := range defaults {
		if r := l.tables[d.table]; r == nil || !r.has(d.column) {
			if d.table == tVerified && l.Generation == G1b {
				continue
			}
			out = append(out, LedgerEntry{Table: l.name(d.table), Column: d.column, Fate: Defaulted, Reason: d.reason})
		}
	}
	return out
}

// tableOf names the core's table that r is. Beside an application's own tables
// nothing tells an unknown one of the core apart, unless there is a prefix.
func (l *Layout) tableOf(r *relation) (table, bool) {
	if r.schema != l.Schema {
		return "", false
	}
	for t, known := range l.tables {
		if known == r {
			return t, true
		}
	}
	name := r.name
	if l.TablePrefix != "" {
		var ours bool
		if name, ours = strings.CutPrefix(name, l.TablePrefix+"_"); !ours {
			return "", false
		}
	}
	if slices.Contains(unreadTables, table(name)) {
		return table(name), true
	}
	if strings.HasPrefix(name, "activity_log_") { // monthly partitions
		return "activity_log", true
	}
	return table(name), l.TablePrefix != ""
}

// surveyColumns reports columns that this program does not know: a newer core,
// or somebody's own addition.
func (s *Source) surveyColumns(c *catalog) {
	s.ledger = s.layout.ledger(c)
	for _, e := range s.ledger {
		if e.Fate == Unknown {
			s.general.add(WarnUnknownColumn, e.Table+"."+e.Column, fmt.Sprintf("column %s.%s is not known and not read", e.Table, e.Column))
		}
	}
}

// Ledger says for every column of the installation what becomes of it.
func (s *Source) Ledger() []LedgerEntry { return s.ledger }

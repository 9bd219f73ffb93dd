package supertokens

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// The tables that code names. The list has all of them.
const (
	Apps                      TableName = "apps"
	Tenants                   TableName = "tenants"
	TenantConfigs             TableName = "tenant_configs"
	ProviderClients           TableName = "tenant_thirdparty_provider_clients"
	Spine                     TableName = "app_id_to_user_id"
	UserIndex                 TableName = "all_auth_recipe_users"
	RecipeUserTenants         TableName = "recipe_user_tenants"
	RecipeUserAccountInfos    TableName = "recipe_user_account_infos"
	EmailPasswordUsers        TableName = "emailpassword_users"
	EmailPasswordUserToTenant TableName = "emailpassword_user_to_tenant"
	ThirdPartyUsers           TableName = "thirdparty_users"
	PasswordlessUsers         TableName = "passwordless_users"
	WebAuthnUsers             TableName = "webauthn_users"
	VerifiedEmails            TableName = "emailverification_verified_emails"
	UserIDMapping             TableName = "userid_mapping"
	UserMetadata              TableName = "user_metadata"
	Roles                     TableName = "roles"
	RolePermissions           TableName = "role_permissions"
	UserRoles                 TableName = "user_roles"
	TOTPUsers                 TableName = "totp_users"
	TOTPDevices               TableName = "totp_user_devices"
	LastActive                TableName = "user_last_active"
	SessionInfo               TableName = "session_info"
	BulkImportUsers           TableName = "bulk_import_users"
	DashboardUsers            TableName = "dashboard_users"
	KeyValue                  TableName = "key_value"
	SessionSigningKeys        TableName = "session_access_token_signing_keys"
	JWTSigningKeys            TableName = "jwt_signing_keys"
	ResetTokens               TableName = "emailpassword_pswd_reset_tokens"
	VerificationTokens        TableName = "emailverification_tokens"                //nolint:gosec // a table
	VerificationTokensOf31    TableName = "emailpassword_email_verification_tokens" //nolint:gosec // a table
)

// The columns that more than one table has in the same way.
const (
	appID    = "app_id varchar(64)"
	tenantID = "tenant_id varchar(64)"
	userID36 = "user_id char(36)"
	userID   = "user_id varchar(128)"
)

const (
	copyOfRecipes   = "a copy of the recipe tables"
	ofConfiguration = "configuration of the core"
	oneTimeToken    = "a one-time token"
	oneTimeCode     = "a one-time code"
	challenge       = "a one-time challenge"
	noMove          = "sessions do not move with accounts"
	notEndUsers     = "administrators of the dashboard are not end users"
	signingKeys     = "signing keys of the core"
	machineTokens   = "tokens of machines"
)

// schema is every table of every core from 3.0 to 12.1, and what was learnt about
// it: from databases that released cores have made (3.0 to 10.1), from their
// sources and change logs since. Tables that are read stand in the order in which
// joining needs them.
var schema = []tableSpec{
	{
		name: Spine, role: roleSpine, since: core(6, 0), key: "user_id",
		columns: slices.Concat(
			carried(appID, userID36),
			dropped("the recipe tables say it; read to prove that they are whole", "recipe_id varchar(128)"),
			since(core(7, 0), carried("primary_or_recipe_user_id char(36)")),
			since(core(7, 0), transformed("isPrimary", "is_linked_or_is_a_primary_user boolean")),
			since(core(12, 0), dropped("a copy that may not be filled; the recipe tables have the time", "time_joined bigint", "primary_or_recipe_user_time_joined bigint")),
		),
		readUser: readSpine,
	},
	{
		name: EmailPasswordUsers, role: roleRecipe, since: core(3, 0), renamable: true, key: "user_id", loginOf: canonical.EmailPassword,
		columns: slices.Concat(
			since(core(6, 0), carried(appID)),
			carried(userID36, "email varchar(256)", "time_joined bigint"),
			widened(core(4, 0), "varchar(256)", transformed("parsed; the stored text is kept beside", "password_hash varchar(128)")),
			until(core(3, 3), since(core(3, 1), transformed("verified", "is_email_verified boolean"))),
		),
		indexes:  []indexSpec{{"emailpassword_user_pagination_index", core(3, 1)}},
		readUser: readEmailPassword,
	},
	{
		name: ThirdPartyUsers, role: roleRecipe, since: core(3, 3), renamable: true, key: "user_id", loginOf: canonical.ThirdParty,
		columns: slices.Concat(
			since(core(6, 0), carried(appID)),
			carried(userID36, "third_party_id varchar(28)", "email varchar(256)", "time_joined bigint"),
			widened(core(4, 0), "varchar(256)", carried("third_party_user_id varchar(128)")),
		),
		readUser: readThirdParty,
	},
	{
		name: PasswordlessUsers, role: roleRecipe, since: core(3, 8), key: "user_id", loginOf: canonical.Passwordless,
		columns: slices.Concat(
			since(core(6, 0), carried(appID)),
			carried(userID36, "email varchar(256)", "phone_number varchar(256)", "time_joined bigint"),
		),
		readUser: readPasswordless,
	},
	{
		name: WebAuthnUsers, role: roleRecipe, since: core(10, 1), key: "user_id", loginOf: canonical.WebAuthn,
		columns:  carried(appID, userID36, "email varchar(256)", "rp_id varchar(256)", "time_joined bigint"),
		readUser: readWebAuthn,
	},
	{
		name: "webauthn_credentials", role: roleLogin, since: core(10, 1), key: "user_id",
		columns: slices.Concat(
			carried(appID, userID36, "id varchar(256)", "rp_id varchar(256)", "counter bigint", "public_key bytea", "transports text", "created_at bigint"),
			dropped("when a passkey was last used", "updated_at bigint"),
		),
		readUser: readPasskey,
	},
	{
		name: UserIndex, role: roleIndex, since: core(3, 5), droppable: true, key: "user_id",
		columns: slices.Concat(
			since(core(6, 0), carried(appID, tenantID)),
			carried(userID36),
			dropped("the recipe tables say it; read to prove that they are whole", "recipe_id varchar(128)"),
			dropped("a copy of the spine and the recipe tables", "time_joined bigint"),
			since(core(7, 0), dropped("a copy of the spine; read to compare them", "primary_or_recipe_user_id char(36)")),
			since(core(7, 0), dropped("a copy of the spine and the recipe tables",
				"is_linked_or_is_a_primary_user boolean", "primary_or_recipe_user_time_joined bigint")),
		),
		readUser: readIndex,
	},
	{
		name: RecipeUserTenants, role: roleMembership, since: core(12, 0), key: "recipe_user_id",
		columns: slices.Concat(
			carried(appID, tenantID, "recipe_user_id char(36)"),
			dropped(copyOfRecipes, "recipe_id varchar(128)", "account_info_type varchar(8)", "account_info_value text",
				"third_party_id varchar(28)", "third_party_user_id varchar(256)"),
		),
		readUser: readRecipeUserTenant,
	},
	{
		name: UserIDMapping, role: roleMapping, since: core(3, 15), key: "supertokens_user_id",
		columns: slices.Concat(
			since(core(6, 0), carried(appID)),
			carried("supertokens_user_id char(36)", "external_user_id varchar(128)", "external_user_id_info text"),
		),
		readUser: readMapping,
		child:    true,
	},
	{
		name: VerifiedEmails, role: roleLogin, since: core(3, 3), renamable: true, vague: true, key: "user_id", owner: visible,
		columns: slices.Concat(
			since(core(6, 0), transformed("verified", appID)),
			widened(core(3, 6), "varchar(128)", widened(core(3, 5), "varchar(255)", transformed("verified", userID36))),
			transformed("verified", "email varchar(256)"),
		),
		readID: readVerified,
	},
	{
		name: UserMetadata, role: roleAccount, since: core(3, 11), common: true, key: "user_id", owner: visible,
		columns:  slices.Concat(since(core(6, 0), carried(appID)), carried(userID, "user_metadata text")),
		readID:   readMetadata,
		attach:   attachMetadata,
		leftover: func(p *idRows) int { return count01(p.metadata != nil) },
		takeable: true,
	},
	{
		name: UserRoles, role: roleAccount, since: core(3, 13), common: true, key: "user_id", owner: visible,
		columns:  slices.Concat(since(core(6, 0), carried(appID, tenantID)), carried(userID, "role varchar(255)")),
		readID:   readRole,
		attach:   attachRoles,
		leftover: func(p *idRows) int { return len(p.roles) },
	},
	{
		name: TOTPUsers, role: roleInstallation, since: core(4, 5), key: "user_id", owner: totpOwner,
		columns: slices.Concat(since(core(6, 0), dropped("the devices say who has one", appID)), dropped("the devices say who has one", userID)),
		readID:  readNothing,
	},
	{
		name: TOTPDevices, role: roleAccount, since: core(4, 5), key: "user_id", owner: totpOwner,
		columns: slices.Concat(
			since(core(6, 0), carried(appID)),
			carried(userID, "device_name varchar(256)", "secret_key varchar(256)", "period integer", "skew integer", "verified boolean"),
			optional(since(core(9, 0), carried("created_at bigint"))),
		),
		readID:   readTOTPDevice,
		attach:   attachTOTP,
		leftover: func(p *idRows) int { return len(p.totp) },
		takeable: true,
	},
	{
		name: LastActive, role: roleAccount, since: core(4, 5), key: "user_id", owner: internal,
		columns:  slices.Concat(since(core(6, 0), carried(appID)), carried(userID, "last_active_time bigint")),
		readID:   readLastActive,
		attach:   func(_ *assembler, out *canonical.User, p *idRows) { out.LastActive = p.lastActive },
		leftover: func(p *idRows) int { return count01(!p.lastActive.IsZero()) },
	},
	// What follows holds nothing of an account; it is read to report what lies there,
	// or to prove that a user is missing.
	{
		name: EmailPasswordUserToTenant, role: roleInstallation, since: core(6, 0), droppable: true, key: "user_id",
		columns:  dropped(copyOfRecipes, appID, tenantID, userID36, "email varchar(256)"),
		readUser: readOldEmail,
	},
	{
		name: ResetTokens, role: roleInstallation, since: core(3, 0), renamable: true, key: "user_id",
		columns: slices.Concat(
			since(core(6, 0), dropped(oneTimeToken, appID)),
			dropped(oneTimeToken, userID36, "token varchar(128)", "token_expiry bigint"),
			optional(since(core(7, 0), dropped(oneTimeToken, "email varchar(256)"))),
		),
		readUser: func(*binding) func(*rangeRows, *userRows, [][]byte) error {
			return func(*rangeRows, *userRows, [][]byte) error { return nil }
		},
		child: true,
	},
	{
		name: SessionInfo, role: roleInstallation, since: core(1, 0), renamable: true, key: "user_id", owner: visible,
		columns: slices.Concat(
			since(core(6, 0), dropped(noMove, appID, tenantID)),
			dropped(noMove, "session_handle varchar(255)", userID, "refresh_token_hash_2 varchar(128)", "session_data text",
				"expires_at bigint", "created_at_time bigint", "jwt_user_payload text"),
			optional(since(core(5, 0), dropped(noMove, "use_static_key boolean"))),
			optional(since(core(12, 1), dropped(noMove, "prev_refresh_token_hash_2 varchar(128)", "refresh_token_rotated_at bigint"))),
		),
		readID: readNothing,
	},

	{name: Apps, role: roleApp, since: core(6, 0), common: true, columns: slices.Concat(
		carried(appID), dropped("when the app was made", "created_at_time bigint"))},
	{name: Tenants, role: roleApp, since: core(6, 0), common: true, columns: slices.Concat(
		carried(appID, tenantID), dropped("when the tenant was made", "created_at_time bigint"))},
	{name: Roles, role: roleApp, since: core(3, 13), common: true, columns: slices.Concat(
		since(core(6, 0), carried(appID)), carried("role varchar(255)"))},
	{name: RolePermissions, role: roleApp, since: core(3, 13), common: true, columns: slices.Concat(
		since(core(6, 0), carried(appID)), carried("role varchar(255)", "permission varchar(255)"))},

	{name: "thirdparty_user_to_tenant", since: core(6, 0), droppable: true, columns: dropped(copyOfRecipes,
		appID, tenantID, userID36, "third_party_id varchar(28)", "third_party_user_id varchar(256)")},
	{name: "passwordless_user_to_tenant", since: core(6, 0), droppable: true, columns: dropped(copyOfRecipes,
		appID, tenantID, userID36, "email varchar(256)", "phone_number varchar(256)")},
	{name: "webauthn_user_to_tenant", since: core(10, 1), droppable: true, columns: dropped(copyOfRecipes,
		appID, tenantID, userID36, "email varchar(256)")},
	{name: RecipeUserAccountInfos, since: core(12, 0), columns: dropped(copyOfRecipes,
		appID, "recipe_user_id char(36)", "recipe_id varchar(128)", "account_info_type varchar(8)", "account_info_value text",
		"third_party_id varchar(28)", "third_party_user_id varchar(256)", "primary_user_id char(36)")},
	{name: "primary_user_tenants", since: core(12, 0), columns: dropped(copyOfRecipes,
		appID, tenantID, "account_info_type varchar(8)", "account_info_value text", "primary_user_id char(36)")},

	{name: VerificationTokens, since: core(3, 3), renamable: true, columns: slices.Concat(
		since(core(6, 0), dropped(oneTimeToken, appID, tenantID)),
		widened(core(3, 6), "varchar(128)", widened(core(3, 5), "varchar(255)", dropped(oneTimeToken, userID36))),
		dropped(oneTimeToken, "email varchar(256)", "token varchar(128)", "token_expiry bigint"))},
	{name: VerificationTokensOf31, since: core(3, 1), until: core(3, 3), columns: dropped(oneTimeToken,
		userID36, "token varchar(128)", "token_expiry bigint", "email varchar(256)")},
	{name: "webauthn_account_recovery_tokens", since: core(10, 1), columns: dropped(oneTimeToken,
		appID, tenantID, userID36, "email varchar(256)", "token varchar(256)", "expires_at bigint")},
	{name: "webauthn_generated_options", since: core(10, 1), columns: dropped(challenge,
		appID, tenantID, "id char(36)", "challenge varchar(256)", "email varchar(256)", "rp_id varchar(256)", "rp_name varchar(256)",
		"origin varchar(256)", "expires_at bigint", "created_at bigint", "user_presence_required boolean", "user_verification varchar(12)")},
	{name: "passwordless_devices", since: core(3, 8), columns: slices.Concat(
		since(core(6, 0), dropped(oneTimeCode, appID, tenantID)),
		dropped(oneTimeCode, "device_id_hash char(44)", "email varchar(256)", "phone_number varchar(256)", "link_code_salt char(44)", "failed_attempts integer"))},
	{name: "passwordless_codes", since: core(3, 8), columns: slices.Concat(
		since(core(6, 0), dropped(oneTimeCode, appID, tenantID)),
		dropped(oneTimeCode, "code_id char(36)", "device_id_hash char(44)", "link_code_hash char(44)", "created_at bigint"))},
	{name: "totp_used_codes", since: core(4, 5), columns: slices.Concat(
		since(core(6, 0), dropped(replays, appID, tenantID)),
		dropped(replays, userID, "code varchar(8)", "is_valid boolean", "expiry_time_ms bigint", "created_time_ms bigint"))},

	{name: KeyValue, since: core(1, 0), renamable: true, columns: slices.Concat(
		since(core(6, 0), dropped(bookkeeping, appID, tenantID)),
		dropped(bookkeeping, "name varchar(128)", "value text", "created_at_time bigint"))},
	{name: SessionSigningKeys, since: core(3, 6), columns: slices.Concat(
		since(core(6, 0), dropped(signingKeys, appID)), dropped(signingKeys, "created_at_time bigint", "value text"))},
	{name: JWTSigningKeys, since: core(3, 6), columns: slices.Concat(
		since(core(6, 0), dropped(signingKeys, appID)),
		dropped(signingKeys, "key_id varchar(255)", "key_string text", "algorithm varchar(10)", "created_at bigint"))},

	{name: DashboardUsers, role: roleInstallation, since: core(4, 4), columns: slices.Concat(
		since(core(6, 0), dropped(notEndUsers, appID)),
		dropped(notEndUsers, userID36, "email varchar(256)", "password_hash varchar(256)", "time_joined bigint"))},
	{name: "dashboard_user_sessions", since: core(4, 4), columns: slices.Concat(
		since(core(6, 0), dropped(notEndUsers, appID)),
		dropped(notEndUsers, "session_id char(36)", userID36, "time_created bigint", "expiry bigint"))},
	{name: BulkImportUsers, role: roleInstallation, since: core(10, 0), columns: slices.Concat(
		dropped(staged, "id char(36)", appID, "raw_data text", "status varchar(128)", "created_at bigint", "updated_at bigint"),
		optional(dropped(staged, "primary_user_id varchar(36)", "error_msg text")))},

	{name: TenantConfigs, role: roleInstallation, since: core(6, 0), columns: slices.Concat(
		dropped(ofConfiguration, "connection_uri_domain varchar(256)", appID, tenantID, "core_config text",
			"email_password_enabled boolean", "passwordless_enabled boolean", "third_party_enabled boolean"),
		optional(since(core(9, 1), dropped(ofConfiguration, "is_first_factors_null boolean"))))},
	{name: ProviderClients, role: roleInstallation, since: core(6, 0), columns: dropped("configuration of the core; holds client secrets",
		"connection_uri_domain varchar(256)", appID, tenantID, "third_party_id varchar(28)", "client_type varchar(64)", "client_id varchar(256)",
		"client_secret text", "scope varchar(128)[]", "force_pkce boolean", "additional_config text")},
	{name: "tenant_thirdparty_providers", since: core(6, 0), columns: dropped(ofConfiguration,
		"connection_uri_domain varchar(256)", appID, tenantID, "third_party_id varchar(28)", "name varchar(64)",
		"authorization_endpoint text", "authorization_endpoint_query_params text", "token_endpoint text", "token_endpoint_body_params text",
		"user_info_endpoint text", "user_info_endpoint_query_params text", "user_info_endpoint_headers text", "jwks_uri text",
		"oidc_discovery_endpoint text", "require_email boolean",
		"user_info_map_from_id_token_payload_user_id varchar(64)", "user_info_map_from_id_token_payload_email varchar(64)",
		"user_info_map_from_id_token_payload_email_verified varchar(64)", "user_info_map_from_user_info_endpoint_user_id varchar(64)",
		"user_info_map_from_user_info_endpoint_email varchar(64)", "user_info_map_from_user_info_endpoint_email_verified varchar(64)")},
	{name: "tenant_first_factors", since: core(9, 0), columns: dropped(ofConfiguration,
		"connection_uri_domain varchar(256)", appID, tenantID, "factor_id varchar(128)")},
	{name: "tenant_required_secondary_factors", since: core(9, 0), columns: dropped(ofConfiguration,
		"connection_uri_domain varchar(256)", appID, tenantID, "factor_id varchar(128)")},

	{name: "oauth_clients", since: core(9, 3), columns: slices.Concat(
		dropped(oauthClients, appID, "client_id varchar(255)", "is_client_credentials_only boolean"),
		optional(dropped(oauthClients, "client_secret text", "enable_refresh_token_rotation boolean")))},
	{name: "oauth_sessions", since: core(9, 3), columns: dropped(noMove,
		"gid varchar(255)", appID, "client_id varchar(255)", "session_handle varchar(128)", "external_refresh_token varchar(255)",
		"internal_refresh_token varchar(255)", "jti text", "exp bigint")},
	{name: "oauth_m2m_tokens", since: core(9, 3), columns: dropped(machineTokens, appID, "client_id varchar(255)", "iat bigint", "exp bigint")},
	{name: "oauth_m2m_token_stats", since: core(12, 1), reason: machineTokens},
	{name: "oauth_logout_challenges", since: core(9, 3), columns: dropped(challenge,
		appID, "challenge varchar(128)", "client_id varchar(255)", "post_logout_redirect_uri varchar(1024)", "session_handle varchar(128)",
		"state varchar(128)", "time_created bigint")},

	{name: "saml_clients", since: core(11, 3), columns: slices.Concat(
		dropped("configuration of the core; holds client secrets", appID, tenantID, "client_id varchar(256)"),
		optional(dropped("configuration of the core; holds client secrets", "client_secret text", "sso_login_url text", "redirect_uris text",
			"default_redirect_uri text", "idp_entity_id varchar(256)", "idp_signing_certificate text", "allow_idp_initiated_login boolean",
			"enable_request_signing boolean", "created_at bigint", "updated_at bigint")))},
	{name: "saml_relay_state", since: core(11, 3), reason: challenge},
	{name: "saml_claims", since: core(11, 3), reason: challenge},
	{name: "activity_log", since: core(12, 0), partitioned: true, reason: "audit log of the core"},
	{name: "past_tokens", since: core(1, 0), until: core(2, 4), reason: noMove},
}

const (
	replays      = "protection against replays"
	bookkeeping  = "keys and bookkeeping of the core"
	staged       = "staged users are not users yet"
	oauthClients = "clients of the core's OAuth server are not users"
)

// visible and internal are owners that are the same in all cores.
func visible(*Layout) owner  { return byVisibleID }
func internal(*Layout) owner { return byInternalID }

// totpOwner: cores 4.5 to 7.x keep authenticators under the internal id, later ones
// under the id that they are given, which is the visible one.
func totpOwner(l *Layout) owner {
	if keepsTOTPByVisibleID(l) {
		return byVisibleID
	}
	return byInternalID
}

// RenamableTables lists the tables that the core lets an operator rename one
// by one (postgresql_<name>_table_name). A renamed table keeps the schema and
// loses the prefix.
func RenamableTables() []string {
	var out []string
	for i := range schema {
		if schema[i].renamable {
			out = append(out, string(schema[i].name))
		}
	}
	return out
}

// specOf finds a table by its name.
func specOf(name TableName) *tableSpec {
	for i := range schema {
		if schema[i].name == name {
			return &schema[i]
		}
	}
	return nil
}

func readSpine(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	recipeAt, primary, linked, joined := b.at("recipe_id"), b.at("primary_or_recipe_user_id"), b.at("is_linked_or_is_a_primary_user"), b.at("time_joined")
	return func(_ *rangeRows, u *userRows, v [][]byte) error {
		u.listed, u.recipe = true, recipeOf(v[recipeAt])
		u.undated = string(v[joined]) == "0"
		if v[primary] == nil { // before account linking
			return nil
		}
		if id := trimKey(v[primary]); string(id) != u.id {
			u.account = string(id)
		}
		u.linked = isTrue(v[linked])
		return nil
	}
}

func readIndex(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	tenant, recipeAt, primary := b.tenant(), b.at("recipe_id"), b.at("primary_or_recipe_user_id")
	return func(_ *rangeRows, u *userRows, v [][]byte) error {
		if id := trimKey(v[primary]); len(id) > 0 && string(id) != u.account {
			u.otherAccount = string(id)
		}
		if name, ok := tenant(v); ok {
			u.oldTenants = append(u.oldTenants, name)
		} else {
			u.nothing |= noTenant
		}
		if u.recipe == "" {
			u.recipe = recipeOf(v[recipeAt])
		}
		return nil
	}
}

func readRecipeUserTenant(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	tenant := b.tenant()
	return func(_ *rangeRows, u *userRows, v [][]byte) error {
		if name, ok := tenant(v); ok {
			u.newTenants = append(u.newTenants, name)
		} else {
			u.nothing |= noTenant
		}
		return nil
	}
}

func readOldEmail(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	email := b.at("email")
	return func(_ *rangeRows, u *userRows, v [][]byte) error {
		u.oldEmails = append(u.oldEmails, string(v[email]))
		return nil
	}
}

func readMapping(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	externalAt, info := b.at("external_user_id"), b.at("external_user_id_info")
	return func(rr *rangeRows, u *userRows, v [][]byte) error {
		external := string(v[externalAt])
		if external == "" { // no core allows that: the user shows no other id
			u.placeholder = true
			return nil
		}
		u.external, u.info = &external, text(v[info])
		if u.info != nil && isPlaceholder(*u.info) {
			u.placeholder = u.placeholder || *u.info != ""
			u.info = nil
		}
		rr.byExternal[external] = u
		return nil
	}
}

// readLogin is what the recipe tables have in common.
func readLogin(b *binding, as canonical.Recipe, fill func(*userRows, *canonical.Login, [][]byte)) func(*rangeRows, *userRows, [][]byte) error {
	joined := b.at("time_joined")
	return func(rr *rangeRows, u *userRows, v [][]byte) error {
		added := rr.loginSlab.one()
		l := &added[0]
		l.ID, l.Recipe = u.id, as
		fill(u, l, v)
		u.placeholder = u.placeholder || l.Email == nil && l.Phone == nil // cores allow neither
		l.FakeEmail = l.Email != nil && isFakeEmail(*l.Email)
		var err error
		l.TimeJoined, err = millis("time_joined", v[joined])
		if u.logins == nil {
			u.logins = added
		} else {
			u.logins = append(u.logins, added...)
		}
		return err
	}
}

func readEmailPassword(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	email, hash, verified := b.at("email"), b.at("password_hash"), b.at("is_email_verified")
	return readLogin(b, canonical.EmailPassword, func(u *userRows, l *canonical.Login, v [][]byte) {
		l.Email = u.contact(v[email])
		if isNothing(v[hash]) {
			u.nothing |= noHash
		}
		l.Password = canonical.ParsePasswordHash(trimPadding(v[hash]))
		if v[verified] != nil {
			l.Verified = ptr(isTrue(v[verified]))
		}
	})
}

func readThirdParty(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	provider, subject, email := b.at("third_party_id"), b.at("third_party_user_id"), b.at("email")
	return readLogin(b, canonical.ThirdParty, func(u *userRows, l *canonical.Login, v [][]byte) {
		l.Email = u.contact(v[email])
		if isNothing(v[provider]) || isNothing(v[subject]) {
			u.nothing |= noIdentity
			return
		}
		l.Identity = &canonical.Identity{Provider: string(v[provider]), Subject: string(v[subject])}
	})
}

func readPasswordless(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	email, phone := b.at("email"), b.at("phone_number")
	return readLogin(b, canonical.Passwordless, func(u *userRows, l *canonical.Login, v [][]byte) {
		l.Email, l.Phone = u.contact(v[email]), u.contact(v[phone])
	})
}

func readWebAuthn(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	email := b.at("email")
	b.at("rp_id")
	return readLogin(b, canonical.WebAuthn, func(u *userRows, l *canonical.Login, v [][]byte) { l.Email = u.contact(v[email]) })
}

func readPasskey(b *binding) func(*rangeRows, *userRows, [][]byte) error {
	id, party, counter, key := b.at("id"), b.at("rp_id"), b.at("counter"), b.at("public_key")
	transports, created := b.at("transports"), b.at("created_at")
	return func(_ *rangeRows, u *userRows, v [][]byte) error {
		n, err := integer("counter", v[counter])
		if err != nil {
			return err
		}
		hexKey, ok := strings.CutPrefix(string(v[key]), `\x`)
		public, errHex := hex.DecodeString(hexKey)
		if !ok || errHex != nil {
			return fmt.Errorf("column public_key is not bytea in hex form")
		}
		at, err := millis("created_at", v[created])
		u.passkeys = append(u.passkeys, canonical.Passkey{
			ID: string(v[id]), RelyingParty: string(v[party]), Counter: n, PublicKey: public,
			Transports: slices.Clone(v[transports]), Created: at,
		})
		return err
	}
}

// readNothing is for tables of which only matters whose rows they are.
func readNothing(*binding) func(*idRows, [][]byte) error {
	return func(*idRows, [][]byte) error { return nil }
}

func readVerified(b *binding) func(*idRows, [][]byte) error {
	email := b.at("email")
	return func(p *idRows, v [][]byte) error {
		p.verified = append(p.verified, string(v[email]))
		return nil
	}
}

func readMetadata(b *binding) func(*idRows, [][]byte) error {
	metadata := b.at(string(UserMetadata)) // the column is called like its table
	return func(p *idRows, v [][]byte) error {
		p.metadata = slices.Clone(v[metadata])
		return nil
	}
}

func readRole(b *binding) func(*idRows, [][]byte) error {
	tenant, name := b.tenant(), b.at("role")
	return func(p *idRows, v [][]byte) error {
		in, ok := tenant(v)
		switch {
		case isNothing(v[name]):
			p.nothing |= noRole
		case !ok:
			p.nothing |= noTenant
		default:
			p.roles = append(p.roles, assignedRole{in, string(v[name])})
		}
		return nil
	}
}

func readTOTPDevice(b *binding) func(*idRows, [][]byte) error {
	name, secret, period, skew := b.at("device_name"), b.at("secret_key"), b.at("period"), b.at("skew")
	verified, created := b.at("verified"), b.at("created_at")
	return func(p *idRows, v [][]byte) error {
		if isNothing(v[secret]) {
			p.nothing |= noSecret
			return nil
		}
		seconds, err := integer("period", v[period])
		if err != nil {
			return err
		}
		steps, err := integer("skew", v[skew])
		if err != nil {
			return err
		}
		at, err := millis("created_at", v[created])
		p.totp = append(p.totp, canonical.TOTPDevice{
			Name: string(v[name]), Secret: canonical.NewSecret(string(v[secret])),
			Period: time.Duration(seconds) * time.Second, Skew: int(steps), Verified: isTrue(v[verified]), Created: at,
		})
		return err
	}
}

func readLastActive(b *binding) func(*idRows, [][]byte) error {
	at := b.at("last_active_time")
	return func(p *idRows, v [][]byte) (err error) {
		p.lastActive, err = millis("last_active_time", v[at])
		return err
	}
}

func count01(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

CREATE TABLE public.all_auth_recipe_users (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    primary_or_recipe_user_id character(36) NOT NULL,
    is_linked_or_is_a_primary_user boolean DEFAULT false NOT NULL,
    recipe_id character varying(128) NOT NULL,
    time_joined bigint NOT NULL,
    primary_or_recipe_user_time_joined bigint NOT NULL
);
CREATE TABLE public.app_id_to_user_id (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    recipe_id character varying(128) NOT NULL,
    primary_or_recipe_user_id character(36) NOT NULL,
    is_linked_or_is_a_primary_user boolean DEFAULT false NOT NULL
);
CREATE TABLE public.apps (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    created_at_time bigint
);
CREATE TABLE public.dashboard_user_sessions (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    session_id character(36) NOT NULL,
    user_id character(36) NOT NULL,
    time_created bigint NOT NULL,
    expiry bigint NOT NULL
);
CREATE TABLE public.dashboard_users (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    password_hash character varying(256) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.emailpassword_pswd_reset_tokens (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    token character varying(128) NOT NULL,
    email character varying(256),
    token_expiry bigint NOT NULL
);
CREATE TABLE public.emailpassword_user_to_tenant (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL
);
CREATE TABLE public.emailpassword_users (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    password_hash character varying(256) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.emailverification_tokens (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    email character varying(256) NOT NULL,
    token character varying(128) NOT NULL,
    token_expiry bigint NOT NULL
);
CREATE TABLE public.emailverification_verified_emails (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    email character varying(256) NOT NULL
);
CREATE TABLE public.jwt_signing_keys (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    key_id character varying(255) NOT NULL,
    key_string text NOT NULL,
    algorithm character varying(10) NOT NULL,
    created_at bigint
);
CREATE TABLE public.key_value (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    name character varying(128) NOT NULL,
    value text,
    created_at_time bigint
);
CREATE TABLE public.oauth_clients (
    app_id character varying(64) NOT NULL,
    client_id character varying(255) NOT NULL,
    client_secret text,
    enable_refresh_token_rotation boolean NOT NULL,
    is_client_credentials_only boolean NOT NULL
);
CREATE TABLE public.oauth_logout_challenges (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    challenge character varying(128) NOT NULL,
    client_id character varying(255) NOT NULL,
    post_logout_redirect_uri character varying(1024),
    session_handle character varying(128),
    state character varying(128),
    time_created bigint NOT NULL
);
CREATE TABLE public.oauth_m2m_tokens (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    client_id character varying(255) NOT NULL,
    iat bigint NOT NULL,
    exp bigint NOT NULL
);
CREATE TABLE public.oauth_sessions (
    gid character varying(255) NOT NULL,
    app_id character varying(64) DEFAULT 'public'::character varying,
    client_id character varying(255) NOT NULL,
    session_handle character varying(128),
    external_refresh_token character varying(255),
    internal_refresh_token character varying(255),
    jti text NOT NULL,
    exp bigint NOT NULL
);
CREATE TABLE public.passwordless_codes (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    code_id character(36) NOT NULL,
    device_id_hash character(44) NOT NULL,
    link_code_hash character(44) NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.passwordless_devices (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    device_id_hash character(44) NOT NULL,
    email character varying(256),
    phone_number character varying(256),
    link_code_salt character(44) NOT NULL,
    failed_attempts integer NOT NULL
);
CREATE TABLE public.passwordless_user_to_tenant (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256),
    phone_number character varying(256)
);
CREATE TABLE public.passwordless_users (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256),
    phone_number character varying(256),
    time_joined bigint NOT NULL
);
CREATE TABLE public.role_permissions (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    role character varying(255) NOT NULL,
    permission character varying(255) NOT NULL
);
CREATE TABLE public.roles (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    role character varying(255) NOT NULL
);
CREATE TABLE public.session_access_token_signing_keys (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    created_at_time bigint NOT NULL,
    value text
);
CREATE TABLE public.session_info (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    session_handle character varying(255) NOT NULL,
    user_id character varying(128) NOT NULL,
    refresh_token_hash_2 character varying(128) NOT NULL,
    session_data text,
    expires_at bigint NOT NULL,
    created_at_time bigint NOT NULL,
    jwt_user_payload text,
    use_static_key boolean NOT NULL
);
CREATE TABLE public.tenant_configs (
    connection_uri_domain character varying(256) DEFAULT ''::character varying NOT NULL,
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    core_config text,
    email_password_enabled boolean,
    passwordless_enabled boolean,
    third_party_enabled boolean,
    is_first_factors_null boolean
);
CREATE TABLE public.tenant_first_factors (
    connection_uri_domain character varying(256) DEFAULT ''::character varying NOT NULL,
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    factor_id character varying(128) NOT NULL
);
CREATE TABLE public.tenant_required_secondary_factors (
    connection_uri_domain character varying(256) DEFAULT ''::character varying NOT NULL,
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    factor_id character varying(128) NOT NULL
);
CREATE TABLE public.tenant_thirdparty_provider_clients (
    connection_uri_domain character varying(256) DEFAULT ''::character varying NOT NULL,
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    third_party_id character varying(28) NOT NULL,
    client_type character varying(64) DEFAULT ''::character varying NOT NULL,
    client_id character varying(256) NOT NULL,
    client_secret text,
    scope character varying(128)[],
    force_pkce boolean,
    additional_config text
);
CREATE TABLE public.tenant_thirdparty_providers (
    connection_uri_domain character varying(256) DEFAULT ''::character varying NOT NULL,
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    third_party_id character varying(28) NOT NULL,
    name character varying(64),
    authorization_endpoint text,
    authorization_endpoint_query_params text,
    token_endpoint text,
    token_endpoint_body_params text,
    user_info_endpoint text,
    user_info_endpoint_query_params text,
    user_info_endpoint_headers text,
    jwks_uri text,
    oidc_discovery_endpoint text,
    require_email boolean,
    user_info_map_from_id_token_payload_user_id character varying(64),
    user_info_map_from_id_token_payload_email character varying(64),
    user_info_map_from_id_token_payload_email_verified character varying(64),
    user_info_map_from_user_info_endpoint_user_id character varying(64),
    user_info_map_from_user_info_endpoint_email character varying(64),
    user_info_map_from_user_info_endpoint_email_verified character varying(64)
);
CREATE TABLE public.tenants (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    created_at_time bigint
);
CREATE TABLE public.thirdparty_user_to_tenant (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character(36) NOT NULL,
    third_party_id character varying(28) NOT NULL,
    third_party_user_id character varying(256) NOT NULL
);
CREATE TABLE public.thirdparty_users (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    third_party_id character varying(28) NOT NULL,
    third_party_user_id character varying(256) NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.totp_used_codes (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    code character varying(8) NOT NULL,
    is_valid boolean NOT NULL,
    expiry_time_ms bigint NOT NULL,
    created_time_ms bigint NOT NULL
);
CREATE TABLE public.totp_user_devices (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    device_name character varying(256) NOT NULL,
    secret_key character varying(256) NOT NULL,
    period integer NOT NULL,
    skew integer NOT NULL,
    verified boolean NOT NULL,
    created_at bigint
);
CREATE TABLE public.totp_users (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL
);
CREATE TABLE public.user_last_active (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    last_active_time bigint
);
CREATE TABLE public.user_metadata (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    user_metadata text NOT NULL
);
CREATE TABLE public.user_roles (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    tenant_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    user_id character varying(128) NOT NULL,
    role character varying(255) NOT NULL
);
CREATE TABLE public.userid_mapping (
    app_id character varying(64) DEFAULT 'public'::character varying NOT NULL,
    supertokens_user_id character(36) NOT NULL,
    external_user_id character varying(128) NOT NULL,
    external_user_id_info text
);
ALTER TABLE ONLY public.all_auth_recipe_users ADD CONSTRAINT all_auth_recipe_users_pkey PRIMARY KEY (app_id, tenant_id, user_id);
ALTER TABLE ONLY public.app_id_to_user_id ADD CONSTRAINT app_id_to_user_id_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.apps ADD CONSTRAINT apps_pkey PRIMARY KEY (app_id);
ALTER TABLE ONLY public.dashboard_user_sessions ADD CONSTRAINT dashboard_user_sessions_pkey PRIMARY KEY (app_id, session_id);
ALTER TABLE ONLY public.dashboard_users ADD CONSTRAINT dashboard_users_email_key UNIQUE (app_id, email);
ALTER TABLE ONLY public.dashboard_users ADD CONSTRAINT dashboard_users_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.emailpassword_pswd_reset_tokens ADD CONSTRAINT emailpassword_pswd_reset_tokens_pkey PRIMARY KEY (app_id, user_id, token);
ALTER TABLE ONLY public.emailpassword_pswd_reset_tokens ADD CONSTRAINT emailpassword_pswd_reset_tokens_token_key UNIQUE (token);
ALTER TABLE ONLY public.emailpassword_user_to_tenant ADD CONSTRAINT emailpassword_user_to_tenant_email_key UNIQUE (app_id, tenant_id, email);
ALTER TABLE ONLY public.emailpassword_user_to_tenant ADD CONSTRAINT emailpassword_user_to_tenant_pkey PRIMARY KEY (app_id, tenant_id, user_id);
ALTER TABLE ONLY public.emailpassword_users ADD CONSTRAINT emailpassword_users_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.emailverification_tokens ADD CONSTRAINT emailverification_tokens_pkey PRIMARY KEY (app_id, tenant_id, user_id, email, token);
ALTER TABLE ONLY public.emailverification_tokens ADD CONSTRAINT emailverification_tokens_token_key UNIQUE (token);
ALTER TABLE ONLY public.emailverification_verified_emails ADD CONSTRAINT emailverification_verified_emails_pkey PRIMARY KEY (app_id, user_id, email);
ALTER TABLE ONLY public.jwt_signing_keys ADD CONSTRAINT jwt_signing_keys_pkey PRIMARY KEY (app_id, key_id);
ALTER TABLE ONLY public.key_value ADD CONSTRAINT key_value_pkey PRIMARY KEY (app_id, tenant_id, name);
ALTER TABLE ONLY public.oauth_clients ADD CONSTRAINT oauth_clients_pkey PRIMARY KEY (app_id, client_id);
ALTER TABLE ONLY public.oauth_logout_challenges ADD CONSTRAINT oauth_logout_challenges_pkey PRIMARY KEY (app_id, challenge);
ALTER TABLE ONLY public.oauth_m2m_tokens ADD CONSTRAINT oauth_m2m_tokens_pkey PRIMARY KEY (app_id, client_id, iat);
ALTER TABLE ONLY public.oauth_sessions ADD CONSTRAINT oauth_sessions_external_refresh_token_key UNIQUE (external_refresh_token);
ALTER TABLE ONLY public.oauth_sessions ADD CONSTRAINT oauth_sessions_internal_refresh_token_key UNIQUE (internal_refresh_token);
ALTER TABLE ONLY public.oauth_sessions ADD CONSTRAINT oauth_sessions_pkey PRIMARY KEY (gid);
ALTER TABLE ONLY public.passwordless_codes ADD CONSTRAINT passwordless_codes_link_code_hash_key UNIQUE (app_id, tenant_id, link_code_hash);
ALTER TABLE ONLY public.passwordless_codes ADD CONSTRAINT passwordless_codes_pkey PRIMARY KEY (app_id, tenant_id, code_id);
ALTER TABLE ONLY public.passwordless_devices ADD CONSTRAINT passwordless_devices_pkey PRIMARY KEY (app_id, tenant_id, device_id_hash);
ALTER TABLE ONLY public.passwordless_user_to_tenant ADD CONSTRAINT passwordless_user_to_tenant_email_key UNIQUE (app_id, tenant_id, email);
ALTER TABLE ONLY public.passwordless_user_to_tenant ADD CONSTRAINT passwordless_user_to_tenant_phone_number_key UNIQUE (app_id, tenant_id, phone_number);
ALTER TABLE ONLY public.passwordless_user_to_tenant ADD CONSTRAINT passwordless_user_to_tenant_pkey PRIMARY KEY (app_id, tenant_id, user_id);
ALTER TABLE ONLY public.passwordless_users ADD CONSTRAINT passwordless_users_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.role_permissions ADD CONSTRAINT role_permissions_pkey PRIMARY KEY (app_id, role, permission);
ALTER TABLE ONLY public.roles ADD CONSTRAINT roles_pkey PRIMARY KEY (app_id, role);
ALTER TABLE ONLY public.session_access_token_signing_keys ADD CONSTRAINT session_access_token_signing_keys_pkey PRIMARY KEY (app_id, created_at_time);
ALTER TABLE ONLY public.session_info ADD CONSTRAINT session_info_pkey PRIMARY KEY (app_id, tenant_id, session_handle);
ALTER TABLE ONLY public.tenant_configs ADD CONSTRAINT tenant_configs_pkey PRIMARY KEY (connection_uri_domain, app_id, tenant_id);
ALTER TABLE ONLY public.tenant_first_factors ADD CONSTRAINT tenant_first_factors_pkey PRIMARY KEY (connection_uri_domain, app_id, tenant_id, factor_id);
ALTER TABLE ONLY public.tenant_required_secondary_factors ADD CONSTRAINT tenant_required_secondary_factors_pkey PRIMARY KEY (connection_uri_domain, app_id, tenant_id, factor_id);
ALTER TABLE ONLY public.tenant_thirdparty_provider_clients ADD CONSTRAINT tenant_thirdparty_provider_clients_pkey PRIMARY KEY (connection_uri_domain, app_id, tenant_id, third_party_id, client_type);
ALTER TABLE ONLY public.tenant_thirdparty_providers ADD CONSTRAINT tenant_thirdparty_providers_pkey PRIMARY KEY (connection_uri_domain, app_id, tenant_id, third_party_id);
ALTER TABLE ONLY public.tenants ADD CONSTRAINT tenants_pkey PRIMARY KEY (app_id, tenant_id);
ALTER TABLE ONLY public.thirdparty_user_to_tenant ADD CONSTRAINT thirdparty_user_to_tenant_pkey PRIMARY KEY (app_id, tenant_id, user_id);
ALTER TABLE ONLY public.thirdparty_user_to_tenant ADD CONSTRAINT thirdparty_user_to_tenant_third_party_user_id_key UNIQUE (app_id, tenant_id, third_party_id, third_party_user_id);
ALTER TABLE ONLY public.thirdparty_users ADD CONSTRAINT thirdparty_users_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.totp_used_codes ADD CONSTRAINT totp_used_codes_pkey PRIMARY KEY (app_id, tenant_id, user_id, created_time_ms);
ALTER TABLE ONLY public.totp_user_devices ADD CONSTRAINT totp_user_devices_pkey PRIMARY KEY (app_id, user_id, device_name);
ALTER TABLE ONLY public.totp_users ADD CONSTRAINT totp_users_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.user_last_active ADD CONSTRAINT user_last_active_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.user_metadata ADD CONSTRAINT user_metadata_pkey PRIMARY KEY (app_id, user_id);
ALTER TABLE ONLY public.user_roles ADD CONSTRAINT user_roles_pkey PRIMARY KEY (app_id, tenant_id, user_id, role);
ALTER TABLE ONLY public.userid_mapping ADD CONSTRAINT userid_mapping_external_user_id_key UNIQUE (app_id, external_user_id);
ALTER TABLE ONLY public.userid_mapping ADD CONSTRAINT userid_mapping_pkey PRIMARY KEY (app_id, supertokens_user_id, external_user_id);
ALTER TABLE ONLY public.userid_mapping ADD CONSTRAINT userid_mapping_supertokens_user_id_key UNIQUE (app_id, supertokens_user_id);
CREATE INDEX access_token_signing_keys_app_id_index ON public.session_access_token_signing_keys USING btree (app_id);
CREATE INDEX all_auth_recipe_tenant_id_index ON public.all_auth_recipe_users USING btree (app_id, tenant_id);
CREATE INDEX all_auth_recipe_user_id_index ON public.all_auth_recipe_users USING btree (app_id, user_id);
CREATE INDEX all_auth_recipe_users_pagination_index1 ON public.all_auth_recipe_users USING btree (app_id, tenant_id, primary_or_recipe_user_time_joined DESC, primary_or_recipe_user_id DESC);
CREATE INDEX all_auth_recipe_users_pagination_index2 ON public.all_auth_recipe_users USING btree (app_id, tenant_id, primary_or_recipe_user_time_joined, primary_or_recipe_user_id DESC);
CREATE INDEX all_auth_recipe_users_pagination_index3 ON public.all_auth_recipe_users USING btree (recipe_id, app_id, tenant_id, primary_or_recipe_user_time_joined DESC, primary_or_recipe_user_id DESC);
CREATE INDEX all_auth_recipe_users_pagination_index4 ON public.all_auth_recipe_users USING btree (recipe_id, app_id, tenant_id, primary_or_recipe_user_time_joined, primary_or_recipe_user_id DESC);
CREATE INDEX all_auth_recipe_users_primary_user_id_index ON public.all_auth_recipe_users USING btree (primary_or_recipe_user_id, app_id);
CREATE INDEX all_auth_recipe_users_recipe_id_index ON public.all_auth_recipe_users USING btree (app_id, recipe_id, tenant_id);
CREATE INDEX app_id_to_user_id_app_id_index ON public.app_id_to_user_id USING btree (app_id);
CREATE INDEX app_id_to_user_id_primary_user_id_index ON public.app_id_to_user_id USING btree (primary_or_recipe_user_id, app_id);
CREATE INDEX dashboard_user_sessions_expiry_index ON public.dashboard_user_sessions USING btree (expiry);
CREATE INDEX dashboard_user_sessions_user_id_index ON public.dashboard_user_sessions USING btree (app_id, user_id);
CREATE INDEX dashboard_users_app_id_index ON public.dashboard_users USING btree (app_id);
CREATE INDEX emailpassword_password_reset_token_expiry_index ON public.emailpassword_pswd_reset_tokens USING btree (token_expiry);
CREATE INDEX emailpassword_pswd_reset_tokens_user_id_index ON public.emailpassword_pswd_reset_tokens USING btree (app_id, user_id);
CREATE INDEX emailverification_tokens_index ON public.emailverification_tokens USING btree (token_expiry);
CREATE INDEX emailverification_tokens_tenant_id_index ON public.emailverification_tokens USING btree (app_id, tenant_id);
CREATE INDEX emailverification_verified_emails_app_id_index ON public.emailverification_verified_emails USING btree (app_id);
CREATE INDEX jwt_signing_keys_app_id_index ON public.jwt_signing_keys USING btree (app_id);
CREATE INDEX key_value_tenant_id_index ON public.key_value USING btree (app_id, tenant_id);
CREATE INDEX oauth_logout_challenges_time_created_index ON public.oauth_logout_challenges USING btree (time_created DESC);
CREATE INDEX oauth_m2m_token_exp_index ON public.oauth_m2m_tokens USING btree (exp DESC);
CREATE INDEX oauth_m2m_token_iat_index ON public.oauth_m2m_tokens USING btree (iat DESC, app_id DESC);
CREATE INDEX oauth_session_exp_index ON public.oauth_sessions USING btree (exp DESC);
CREATE INDEX oauth_session_external_refresh_token_index ON public.oauth_sessions USING btree (app_id, external_refresh_token DESC);
CREATE INDEX passwordless_codes_created_at_index ON public.passwordless_codes USING btree (app_id, tenant_id, created_at);
CREATE INDEX passwordless_codes_device_id_hash_index ON public.passwordless_codes USING btree (app_id, tenant_id, device_id_hash);
CREATE INDEX passwordless_devices_email_index ON public.passwordless_devices USING btree (app_id, tenant_id, email);
CREATE INDEX passwordless_devices_phone_number_index ON public.passwordless_devices USING btree (app_id, tenant_id, phone_number);
CREATE INDEX passwordless_devices_tenant_id_index ON public.passwordless_devices USING btree (app_id, tenant_id);
CREATE INDEX role_permissions_permission_index ON public.role_permissions USING btree (app_id, permission);
CREATE INDEX role_permissions_role_index ON public.role_permissions USING btree (app_id, role);
CREATE INDEX roles_app_id_index ON public.roles USING btree (app_id);
CREATE INDEX session_expiry_index ON public.session_info USING btree (expires_at);
CREATE INDEX session_info_tenant_id_index ON public.session_info USING btree (app_id, tenant_id);
CREATE INDEX tenant_default_required_factor_ids_tenant_id_index ON public.tenant_required_secondary_factors USING btree (connection_uri_domain, app_id, tenant_id);
CREATE INDEX tenant_first_factors_tenant_id_index ON public.tenant_first_factors USING btree (connection_uri_domain, app_id, tenant_id);
CREATE INDEX tenant_thirdparty_provider_clients_third_party_id_index ON public.tenant_thirdparty_provider_clients USING btree (connection_uri_domain, app_id, tenant_id, third_party_id);
CREATE INDEX tenant_thirdparty_providers_tenant_id_index ON public.tenant_thirdparty_providers USING btree (connection_uri_domain, app_id, tenant_id);
CREATE INDEX tenants_app_id_index ON public.tenants USING btree (app_id);
CREATE INDEX thirdparty_users_email_index ON public.thirdparty_users USING btree (app_id, email);
CREATE INDEX thirdparty_users_thirdparty_user_id_index ON public.thirdparty_users USING btree (app_id, third_party_id, third_party_user_id);
CREATE INDEX totp_used_codes_expiry_time_ms_index ON public.totp_used_codes USING btree (app_id, tenant_id, expiry_time_ms);
CREATE INDEX totp_used_codes_tenant_id_index ON public.totp_used_codes USING btree (app_id, tenant_id);
CREATE INDEX totp_used_codes_user_id_index ON public.totp_used_codes USING btree (app_id, user_id);
CREATE INDEX totp_user_devices_user_id_index ON public.totp_user_devices USING btree (app_id, user_id);
CREATE INDEX totp_users_app_id_index ON public.totp_users USING btree (app_id);
CREATE INDEX user_last_active_app_id_index ON public.user_last_active USING btree (app_id);
CREATE INDEX user_last_active_last_active_time_index ON public.user_last_active USING btree (last_active_time DESC, app_id DESC);
CREATE INDEX user_metadata_app_id_index ON public.user_metadata USING btree (app_id);
CREATE INDEX user_roles_app_id_role_index ON public.user_roles USING btree (app_id, role);
CREATE INDEX user_roles_role_index ON public.user_roles USING btree (app_id, tenant_id, role);
CREATE INDEX user_roles_tenant_id_index ON public.user_roles USING btree (app_id, tenant_id);
CREATE INDEX userid_mapping_supertokens_user_id_index ON public.userid_mapping USING btree (app_id, supertokens_user_id);

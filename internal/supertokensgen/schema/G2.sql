CREATE TABLE public.all_auth_recipe_users (
    user_id character(36) NOT NULL,
    recipe_id character varying(128) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.dashboard_user_sessions (
    session_id character(36) NOT NULL,
    user_id character(36) NOT NULL,
    time_created bigint NOT NULL,
    expiry bigint NOT NULL
);
CREATE TABLE public.dashboard_users (
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    password_hash character varying(256) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.emailpassword_pswd_reset_tokens (
    user_id character(36) NOT NULL,
    token character varying(128) NOT NULL,
    token_expiry bigint NOT NULL
);
CREATE TABLE public.emailpassword_users (
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    password_hash character varying(256) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.emailverification_tokens (
    user_id character varying(128) NOT NULL,
    email character varying(256) NOT NULL,
    token character varying(128) NOT NULL,
    token_expiry bigint NOT NULL
);
CREATE TABLE public.emailverification_verified_emails (
    user_id character varying(128) NOT NULL,
    email character varying(256) NOT NULL
);
CREATE TABLE public.jwt_signing_keys (
    key_id character varying(255) NOT NULL,
    key_string text NOT NULL,
    algorithm character varying(10) NOT NULL,
    created_at bigint
);
CREATE TABLE public.key_value (
    name character varying(128) NOT NULL,
    value text,
    created_at_time bigint
);
CREATE TABLE public.passwordless_codes (
    code_id character(36) NOT NULL,
    device_id_hash character(44) NOT NULL,
    link_code_hash character(44) NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.passwordless_devices (
    device_id_hash character(44) NOT NULL,
    email character varying(256),
    phone_number character varying(256),
    link_code_salt character(44) NOT NULL,
    failed_attempts integer NOT NULL
);
CREATE TABLE public.passwordless_users (
    user_id character(36) NOT NULL,
    email character varying(256),
    phone_number character varying(256),
    time_joined bigint NOT NULL
);
CREATE TABLE public.role_permissions (
    role character varying(255) NOT NULL,
    permission character varying(255) NOT NULL
);
CREATE TABLE public.roles (
    role character varying(255) NOT NULL
);
CREATE TABLE public.session_access_token_signing_keys (
    created_at_time bigint NOT NULL,
    value text
);
CREATE TABLE public.session_info (
    session_handle character varying(255) NOT NULL,
    user_id character varying(128) NOT NULL,
    refresh_token_hash_2 character varying(128) NOT NULL,
    session_data text,
    expires_at bigint NOT NULL,
    created_at_time bigint NOT NULL,
    jwt_user_payload text,
    use_static_key boolean NOT NULL
);
CREATE TABLE public.thirdparty_users (
    third_party_id character varying(28) NOT NULL,
    third_party_user_id character varying(256) NOT NULL,
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    time_joined bigint NOT NULL
);
CREATE TABLE public.totp_used_codes (
    user_id character varying(128) NOT NULL,
    code character varying(8) NOT NULL,
    is_valid boolean NOT NULL,
    expiry_time_ms bigint NOT NULL,
    created_time_ms bigint NOT NULL
);
CREATE TABLE public.totp_user_devices (
    user_id character varying(128) NOT NULL,
    device_name character varying(256) NOT NULL,
    secret_key character varying(256) NOT NULL,
    period integer NOT NULL,
    skew integer NOT NULL,
    verified boolean NOT NULL
);
CREATE TABLE public.totp_users (
    user_id character varying(128) NOT NULL
);
CREATE TABLE public.user_last_active (
    user_id character varying(128) NOT NULL,
    last_active_time bigint
);
CREATE TABLE public.user_metadata (
    user_id character varying(128) NOT NULL,
    user_metadata text NOT NULL
);
CREATE TABLE public.user_roles (
    user_id character varying(128) NOT NULL,
    role character varying(255) NOT NULL
);
CREATE TABLE public.userid_mapping (
    supertokens_user_id character(36) NOT NULL,
    external_user_id character varying(128) NOT NULL,
    external_user_id_info text
);
ALTER TABLE ONLY public.all_auth_recipe_users ADD CONSTRAINT all_auth_recipe_users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.dashboard_user_sessions ADD CONSTRAINT dashboard_user_sessions_pkey PRIMARY KEY (session_id);
ALTER TABLE ONLY public.dashboard_users ADD CONSTRAINT dashboard_users_email_key UNIQUE (email);
ALTER TABLE ONLY public.dashboard_users ADD CONSTRAINT dashboard_users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.emailpassword_pswd_reset_tokens ADD CONSTRAINT emailpassword_pswd_reset_tokens_pkey PRIMARY KEY (user_id, token);
ALTER TABLE ONLY public.emailpassword_pswd_reset_tokens ADD CONSTRAINT emailpassword_pswd_reset_tokens_token_key UNIQUE (token);
ALTER TABLE ONLY public.emailpassword_users ADD CONSTRAINT emailpassword_users_email_key UNIQUE (email);
ALTER TABLE ONLY public.emailpassword_users ADD CONSTRAINT emailpassword_users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.emailverification_tokens ADD CONSTRAINT emailverification_tokens_pkey PRIMARY KEY (user_id, email, token);
ALTER TABLE ONLY public.emailverification_tokens ADD CONSTRAINT emailverification_tokens_token_key UNIQUE (token);
ALTER TABLE ONLY public.emailverification_verified_emails ADD CONSTRAINT emailverification_verified_emails_pkey PRIMARY KEY (user_id, email);
ALTER TABLE ONLY public.jwt_signing_keys ADD CONSTRAINT jwt_signing_keys_pkey PRIMARY KEY (key_id);
ALTER TABLE ONLY public.key_value ADD CONSTRAINT key_value_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.passwordless_codes ADD CONSTRAINT passwordless_codes_link_code_hash_key UNIQUE (link_code_hash);
ALTER TABLE ONLY public.passwordless_codes ADD CONSTRAINT passwordless_codes_pkey PRIMARY KEY (code_id);
ALTER TABLE ONLY public.passwordless_devices ADD CONSTRAINT passwordless_devices_pkey PRIMARY KEY (device_id_hash);
ALTER TABLE ONLY public.passwordless_users ADD CONSTRAINT passwordless_users_email_key UNIQUE (email);
ALTER TABLE ONLY public.passwordless_users ADD CONSTRAINT passwordless_users_phone_number_key UNIQUE (phone_number);
ALTER TABLE ONLY public.passwordless_users ADD CONSTRAINT passwordless_users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.role_permissions ADD CONSTRAINT role_permissions_pkey PRIMARY KEY (role, permission);
ALTER TABLE ONLY public.roles ADD CONSTRAINT roles_pkey PRIMARY KEY (role);
ALTER TABLE ONLY public.session_access_token_signing_keys ADD CONSTRAINT session_access_token_signing_keys_pkey PRIMARY KEY (created_at_time);
ALTER TABLE ONLY public.session_info ADD CONSTRAINT session_info_pkey PRIMARY KEY (session_handle);
ALTER TABLE ONLY public.thirdparty_users ADD CONSTRAINT thirdparty_users_pkey PRIMARY KEY (third_party_id, third_party_user_id);
ALTER TABLE ONLY public.thirdparty_users ADD CONSTRAINT thirdparty_users_user_id_key UNIQUE (user_id);
ALTER TABLE ONLY public.totp_used_codes ADD CONSTRAINT totp_used_codes_pkey PRIMARY KEY (user_id, created_time_ms);
ALTER TABLE ONLY public.totp_user_devices ADD CONSTRAINT totp_user_devices_pkey PRIMARY KEY (user_id, device_name);
ALTER TABLE ONLY public.totp_users ADD CONSTRAINT totp_users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.user_last_active ADD CONSTRAINT user_last_active_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.user_metadata ADD CONSTRAINT user_metadata_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.user_roles ADD CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role);
ALTER TABLE ONLY public.userid_mapping ADD CONSTRAINT userid_mapping_external_user_id_key UNIQUE (external_user_id);
ALTER TABLE ONLY public.userid_mapping ADD CONSTRAINT userid_mapping_pkey PRIMARY KEY (supertokens_user_id, external_user_id);
ALTER TABLE ONLY public.userid_mapping ADD CONSTRAINT userid_mapping_supertokens_user_id_key UNIQUE (supertokens_user_id);
CREATE INDEX all_auth_recipe_users_pagination_index ON public.all_auth_recipe_users USING btree (time_joined DESC, user_id DESC);
CREATE INDEX dashboard_user_sessions_expiry_index ON public.dashboard_user_sessions USING btree (expiry);
CREATE INDEX emailpassword_password_reset_token_expiry_index ON public.emailpassword_pswd_reset_tokens USING btree (token_expiry);
CREATE INDEX emailverification_tokens_index ON public.emailverification_tokens USING btree (token_expiry);
CREATE INDEX passwordless_codes_created_at_index ON public.passwordless_codes USING btree (created_at);
CREATE INDEX passwordless_codes_device_id_hash_index ON public.passwordless_codes USING btree (device_id_hash);
CREATE INDEX passwordless_devices_email_index ON public.passwordless_devices USING btree (email);
CREATE INDEX passwordless_devices_phone_number_index ON public.passwordless_devices USING btree (phone_number);
CREATE INDEX role_permissions_permission_index ON public.role_permissions USING btree (permission);
CREATE INDEX totp_used_codes_expiry_time_ms_index ON public.totp_used_codes USING btree (expiry_time_ms);
CREATE INDEX user_roles_role_index ON public.user_roles USING btree (role);

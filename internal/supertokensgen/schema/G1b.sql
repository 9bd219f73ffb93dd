CREATE TABLE public.emailpassword_email_verification_tokens (
    user_id character(36) NOT NULL,
    token character varying(128) NOT NULL,
    token_expiry bigint NOT NULL,
    email character varying(256) NOT NULL
);
CREATE TABLE public.emailpassword_pswd_reset_tokens (
    user_id character(36) NOT NULL,
    token character varying(128) NOT NULL,
    token_expiry bigint NOT NULL
);
CREATE TABLE public.emailpassword_users (
    user_id character(36) NOT NULL,
    email character varying(256) NOT NULL,
    password_hash character varying(128) NOT NULL,
    time_joined bigint NOT NULL,
    is_email_verified boolean NOT NULL
);
CREATE TABLE public.key_value (
    name character varying(128) NOT NULL,
    value text,
    created_at_time bigint
);
CREATE TABLE public.session_info (
    session_handle character varying(255) NOT NULL,
    user_id character varying(128) NOT NULL,
    refresh_token_hash_2 character varying(128) NOT NULL,
    session_data text,
    expires_at bigint NOT NULL,
    created_at_time bigint NOT NULL,
    jwt_user_payload text
);
ALTER TABLE ONLY public.emailpassword_email_verification_tokens ADD CONSTRAINT emailpassword_email_verification_tokens_pkey PRIMARY KEY (user_id, token);
ALTER TABLE ONLY public.emailpassword_email_verification_tokens ADD CONSTRAINT emailpassword_email_verification_tokens_token_key UNIQUE (token);
ALTER TABLE ONLY public.emailpassword_pswd_reset_tokens ADD CONSTRAINT emailpassword_pswd_reset_tokens_pkey PRIMARY KEY (user_id, token);
ALTER TABLE ONLY public.emailpassword_pswd_reset_tokens ADD CONSTRAINT emailpassword_pswd_reset_tokens_token_key UNIQUE (token);
ALTER TABLE ONLY public.emailpassword_users ADD CONSTRAINT emailpassword_users_email_key UNIQUE (email);
ALTER TABLE ONLY public.emailpassword_users ADD CONSTRAINT emailpassword_users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.key_value ADD CONSTRAINT key_value_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.session_info ADD CONSTRAINT session_info_pkey PRIMARY KEY (session_handle);
CREATE INDEX emailpassword_email_verification_token_expiry_index ON public.emailpassword_email_verification_tokens USING btree (token_expiry);
CREATE INDEX emailpassword_password_reset_token_expiry_index ON public.emailpassword_pswd_reset_tokens USING btree (token_expiry);
CREATE INDEX emailpassword_user_pagination_index ON public.emailpassword_users USING btree (time_joined DESC, user_id DESC);

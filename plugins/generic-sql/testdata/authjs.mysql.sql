-- The tables of Auth.js as on PostgreSQL, on MySQL or MariaDB.
CREATE TABLE verification_token (identifier varchar(255) NOT NULL, expires datetime(3) NOT NULL, token varchar(255) NOT NULL, PRIMARY KEY (identifier, token));
CREATE TABLE users (id varchar(255) PRIMARY KEY, name varchar(255), email varchar(255) UNIQUE, emailVerified datetime(3), image varchar(2000), password varchar(255));
CREATE TABLE accounts (
  userId varchar(255) NOT NULL, type varchar(255) NOT NULL, provider varchar(255) NOT NULL, providerAccountId varchar(255) NOT NULL,
  refresh_token text, access_token text, expires_at bigint, id_token text, scope varchar(255), session_state varchar(255), token_type varchar(255),
  PRIMARY KEY (provider, providerAccountId), FOREIGN KEY (userId) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE sessions (userId varchar(255) NOT NULL, expires datetime(3) NOT NULL, sessionToken varchar(255) PRIMARY KEY, FOREIGN KEY (userId) REFERENCES users (id) ON DELETE CASCADE);

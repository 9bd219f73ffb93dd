-- The tables of Auth.js' adapters for PostgreSQL, with ids that are texts as in those for
-- Drizzle and Prisma, and a password column of the application's own.
CREATE TABLE verification_token (identifier TEXT NOT NULL, expires TIMESTAMPTZ NOT NULL, token TEXT NOT NULL, PRIMARY KEY (identifier, token));
CREATE TABLE users (id TEXT PRIMARY KEY, name VARCHAR(255), email VARCHAR(255) UNIQUE, "emailVerified" TIMESTAMPTZ, image TEXT, password TEXT);
CREATE TABLE accounts (
  "userId" TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, type VARCHAR(255) NOT NULL, provider VARCHAR(255) NOT NULL, "providerAccountId" VARCHAR(255) NOT NULL,
  refresh_token TEXT, access_token TEXT, expires_at BIGINT, id_token TEXT, scope TEXT, session_state TEXT, token_type TEXT,
  PRIMARY KEY (provider, "providerAccountId")
);
CREATE TABLE sessions ("userId" TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, expires TIMESTAMPTZ NOT NULL, "sessionToken" VARCHAR(255) PRIMARY KEY);

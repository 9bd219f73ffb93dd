// Package betterauth runs a real Better Auth server in Node.js on a database of PostgreSQL or MariaDB,
// with the hook for old password hashes. Its modules come by npm, once, into the cache of
// tests.
package betterauth

// Package betterauth runs a real Better Auth server in Node.js on a PostgreSQL database,
// with the hook for old password hashes. Its modules come by npm, once, into the cache of
// tests.
package betterauth

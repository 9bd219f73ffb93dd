// Package kratos runs a real Ory Kratos on a PostgreSQL database. It is built from its Go
// module, once, into the cache of tests.
package kratos

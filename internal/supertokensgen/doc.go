// Package supertokensgen makes SuperTokens databases of any size, for tests and
// benchmarks: [Write] writes one as a plain pg_dump file, [Expect] says what a
// reader must find in it.
//
// Everything follows from the seed. An account is a function of its number, so
// each table is one pass over the numbers and memory does not grow with size.
// The tables, keys and indexes are those that the real plugins create, without
// foreign keys; rows lie in the order of joining, which says nothing about the
// order of ids. Password hashes have the right form and are random.
//
// It imports nothing of the project, so that what it expects is a second
// opinion.
package supertokensgen

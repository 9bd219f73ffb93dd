// Package supertokens is everything this project knows about SuperTokens: how
// its databases are laid out in every generation since core 1, which of two
// ids a table stores, what makes an e-mail verified, and how rows become
// accounts. No other package names one of its tables.
//
// [Open] looks at a live PostgreSQL or MySQL, or a file of pg_dump or mysqldump, finds the
// installation, and proves which cores have used it (there is no version row):
// by its tables, their columns, types and indexes. What a core of that age makes
// must be there, and rows must not contradict each other, else the source is
// refused with an [IncompleteError]. [Source.Read] streams canonical users;
// [Tables.Account] reads one. All sources feed the same assembly, so they give
// identical users in identical order.
//
// A table is described once, in the list in schema.go, and a generation once, in
// the list in generation.go.
package supertokens

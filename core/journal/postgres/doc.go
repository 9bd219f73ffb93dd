// Package postgres is the journal in a PostgreSQL, for several machines: in the schema stetl
// of a database, which nobody else should be able to write.
//
// Each scope is held by one run at a time, through a row with a lease. Every transaction
// that writes locks that row and looks whether it is still this run's, so that a run which
// was paused for longer than its lease writes nothing more. The same row counts the
// transactions: a server that has fewer of them than it has confirmed has lost some, as a
// failover can, and is not believed.
//
// No session is needed: a statement, or a group of them that is sent at once, is a
// transaction, so that a pooler in transaction mode may stand between. Reading takes one page
// after another, in the order of bytes.
//
// Pre-images and reasons are encrypted, and accounts compared, with keys that are derived
// from a secret which is not in the database.
package postgres

// Package sqltarget is the target plugin generic-sql, for applications that keep their
// users in tables of a database of their own.
//
// A configuration declares tables: for what of an account a table has a row, and what
// each column gets. A preset declares those of a known library. Everything else is read
// from the catalogue of the database: types, lengths, unique indexes, checks and foreign
// keys. All of it is held against the configuration before the first write, and against
// every account when it is planned, so that what the database would refuse is said
// beforehand.
//
// A batch is one transaction. A row that the database refuses costs its account only:
// the batch goes back to a savepoint and is tried in halves. An account is found again by
// its id, and by nothing else. When the answer to a COMMIT is lost, the database is asked
// what became of that transaction.
package sqltarget

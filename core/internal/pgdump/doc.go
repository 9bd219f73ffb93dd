// Package pgdump reads the files that pg_dump writes, without PostgreSQL.
//
// [Open] recognises the plain format (SQL with COPY or INSERT) and archives in custom,
// directory and tar format (versions 1.12 to 1.16, that is PostgreSQL 9.0 to
// 18), packed as a whole or not. It proves them complete: a dump that was cut off anywhere is
// an error, never a shorter list of rows; where only decompressing can show it, [Rows] ends
// with that error. [Archive.Rows] streams one
// table. Memory is bounded by the largest row and by the catalogue, not by the
// size of the dump.
//
// The package knows tables, columns and rows as the dump states them. What
// they mean is left to the caller.
package pgdump

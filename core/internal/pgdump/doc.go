// Package pgdump reads the files that pg_dump writes, without PostgreSQL.
//
// [Open] recognises the plain format (SQL with COPY) and the custom format
// (-Fc, archive versions 1.12 to 1.16, that is PostgreSQL 9.0 to 18), walks the
// whole file once and proves it complete: a dump that was cut off anywhere is
// an error, never a shorter list of rows. [Archive.Rows] then streams one
// table. Memory is bounded by the largest row and by the catalogue, not by the
// size of the dump.
//
// The package knows tables, columns and rows as the dump states them. What
// they mean is left to the caller.
package pgdump

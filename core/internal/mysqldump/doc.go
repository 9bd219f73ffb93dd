// Package mysqldump reads the files that mysqldump and mariadb-dump write, without
// MySQL.
//
// [Open] reads a dump once from end to end, packed as a whole or not, and notes where
// the rows of each table are. It proves the dump complete: one that was cut off
// anywhere is an error, never a shorter list of rows. [Dump.Rows] streams one table.
// Memory is bounded by the largest row and by the number of tables, not by the size of
// the dump.
//
// The package knows databases, tables, columns and rows as the dump states them. What
// they mean is left to the caller.
package mysqldump

package pgdump

import (
	"errors"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// ErrNoData is what [Archive.Rows] returns, wrapped, for a table of which the
// dump holds the definition but no data.
var ErrNoData = errors.New("the dump holds no data for this table")

// ErrMySQL is wrapped by the error of [Open] for a dump of MySQL or MariaDB, which is of
// another kind.
var ErrMySQL = errors.New("a dump of MySQL or MariaDB")

// SyntaxError says that a file cannot be used as a dump, where and why.
type SyntaxError = dumpfile.SyntaxError

// Remedies that more than one check gives.
const (
	hintCut     = "the file seems to be cut off: copy it again and compare sizes, or run pg_dump again"
	hintDamaged = "the file is damaged or was changed after pg_dump wrote it: copy it again in binary mode, or run pg_dump again"
	hintPlain   = "run pg_dump again with --format=custom or --format=plain, or convert the file without a database: pg_restore --file=dump.sql ARCHIVE"
	hintCopy    = "run pg_dump again without --inserts, or without --data-only"
	hintUTF8    = "run pg_dump again with --encoding=UTF8"
	hintOneDB   = "dump the one database that is needed: pg_dump --file=dump.sql DATABASE"
)

package mysqldump

import (
	"errors"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// ErrNoData is what [Dump.Rows] returns, wrapped, for a table of which the dump holds
// the definition but no data.
var ErrNoData = errors.New("the dump holds no data for this table")

// SyntaxError says that a file cannot be used as a dump, where and why.
type SyntaxError = dumpfile.SyntaxError

// Remedies that more than one check gives.
const (
	hintCut     = "the file seems to be cut off: copy it again and compare sizes, or run mysqldump again"
	hintDamaged = "the file is damaged or was changed after mysqldump wrote it: copy it again in binary mode, or run mysqldump again"
	hintRows    = "make the dump with mysqldump, which writes rows as INSERT statements with values"
	hintUTF8    = "run mysqldump again with --default-character-set=utf8mb4"
)

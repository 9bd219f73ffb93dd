package supertokens

import (
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/internal/mysqldump"
)

// mysqlType is a type of MySQL in the spelling of this package. Its plugin of the core
// stores what that of PostgreSQL does, in the nearest type: booleans are numbers, keys
// are BLOBs, lists are texts in JSON.
func mysqlType(typ string) string {
	name, width, hasWidth := strings.Cut(strings.TrimSuffix(typ, " unsigned"), "(")
	switch name {
	case "char", "varchar":
		if hasWidth {
			return name + "(" + width
		}
		return name
	case "tinytext", "text", "mediumtext", "longtext", "json", "enum", "set":
		return "text"
	case "tinyint", "bool", "boolean", "bit":
		return "boolean"
	case "int", "integer", "mediumint":
		return "integer"
	case "tinyblob", "blob", "mediumblob", "longblob", "binary", "varbinary":
		return "bytea"
	default:
		return name
	}
}

// mysqlValues turns what MySQL stores into what PostgreSQL would show, one function for
// each column, nil for those that are the same.
func mysqlValues(types []string, charset string) []func([]byte) []byte {
	out := make([]func([]byte) []byte, len(types))
	for i, typ := range types {
		switch kindOf(typ) {
		case "boolean":
			out[i] = truthOf
		case "bytea":
			out[i] = func(v []byte) []byte { return hex.AppendEncode([]byte(`\x`), v) }
		case "text":
			if charset == charsetLatin1 {
				out[i] = fromLatin1
			}
		}
	}
	return out
}

// truthOf is a boolean: anything but zero is true, as the server sees it. A column of
// bits has bytes and no digits.
func truthOf(v []byte) []byte {
	if strings.Trim(string(v), "0\x00") == "" {
		return no
	}
	return yes
}

var yes, no = []byte{'t'}, []byte{'f'}

// charsetLatin1 says that texts are UTF-8 that an application has sent over a connection
// in latin1, so that the server has taken each byte for a character.
const charsetLatin1 = "latin1"

// What settings of MySQL say of other sources.
var (
	errCharset = errors.New("source.charset is for dumps and databases of MySQL and MariaDB")
	errLock    = errors.New("source.lock_tables is for live databases of MySQL and MariaDB")
)

// Charsets lists what [Options.Charset] can be.
func Charsets() []string { return []string{charsetLatin1} }

// fromLatin1 undoes what such a connection has done. A text that cannot come from there is
// left as it is.
func fromLatin1(v []byte) []byte {
	raw := make([]byte, 0, len(v))
	for _, r := range string(v) {
		c, ok := mysqldump.ToLatin1(r)
		if !ok {
			return v
		}
		raw = append(raw, c)
	}
	if !utf8.Valid(raw) {
		return v
	}
	return raw
}

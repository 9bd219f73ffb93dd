package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/diag"
)

// longestID is far beyond what SuperTokens stores as an id, in bytes: a longer line is
// of a file that holds something else.
const longestID = 4096

var (
	utf8Mark   = []byte{0xEF, 0xBB, 0xBF}
	utf16Marks = [][]byte{{0xFF, 0xFE}, {0xFE, 0xFF}}
)

// ReadIDs reads ids, one a line, from a file of this name. Blank lines and those that
// begin with # are passed over. Blanks around an id belong to it where an account has
// such an id, and else not; in quotation marks, as a JSON string, an id is taken as it
// stands. Errors are diagnostics with their line.
func ReadIDs(r io.Reader, name string) ([]Named, error) {
	var ids []Named
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, longestID), longestID+2) // with the end of the line
	bad := func(n int, format string, args ...any) error {
		return diag.List{{
			Code: diag.RunBadUsersFile, Summary: fmt.Sprintf(format, args...), Pos: diag.Pos{File: name, Line: n},
			Hint: "write one id per line, as UTF-8; lines that begin with # are comments",
		}}.Err()
	}
	n := 0
	for lines.Scan() {
		n++
		line := lines.Bytes()
		if n == 1 {
			if bytes.HasPrefix(line, utf16Marks[0]) || bytes.HasPrefix(line, utf16Marks[1]) {
				return nil, bad(n, "the file is UTF-16, and UTF-8 is needed")
			}
			line = bytes.TrimPrefix(line, utf8Mark)
		}
		if !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
			return nil, bad(n, "the line is not text in UTF-8")
		}
		id, err := parseID(string(line))
		switch {
		case err != nil:
			return nil, bad(n, "%v", err)
		case id.ID == "": // nobody is named here
		default:
			id.Place = diag.Pos{File: name, Line: n}.String()
			ids = append(ids, id)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, bad(n+1, "the line is longer than an id can be")
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(ids) == 0:
		return nil, bad(0, "the file names nobody")
	}
	return ids, nil
}

// parseID takes one line; an empty id when it names nobody.
func parseID(line string) (Named, error) {
	text := strings.TrimSpace(line)
	switch {
	case text == "" || text[0] == '#':
		return Named{}, nil
	case text[0] != '"':
		return Named{ID: line}, nil
	}
	var id string
	if err := json.Unmarshal([]byte(text), &id); err != nil {
		return Named{}, errors.New("the line begins with a quotation mark, but is not a JSON string")
	}
	if id == "" {
		return Named{}, errors.New("an id is not empty")
	}
	return Named{ID: id, Exact: true}, nil
}

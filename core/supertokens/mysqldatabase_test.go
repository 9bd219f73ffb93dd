package supertokens

import (
	"fmt"
	"testing"
)

func TestPositional(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"a = $1 AND b = $2 AND c = $1":   "a = ? AND b = ? AND c = ? [x y x]",
		"a IN $3":                        "a IN (NULL, ?, ?) [p q]",
		"a IN $4":                        "a IN (NULL) []",
		"`$1` = '$2' AND \"$1\" = $1":    "`$1` = '$2' AND \"$1\" = ? [x]",
		"a LIKE '$2_$%' AND $9 = $ $0$2": "a LIKE '$2_$%' AND $9 = $ $0? [y]",
	} {
		sql, args := positional(from, []any{"x", "y", []string{"p", "q"}, []string{}})
		if got := fmt.Sprintf("%s %v", sql, args); got != want {
			t.Errorf("%s\n got %s\nwant %s", from, got, want)
		}
	}
}

package diag

import "strings"

var (
	escaper   = strings.NewReplacer("~", "~0", "/", "~1")
	unescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

// Pointer writes the steps into a document as a JSON pointer (RFC 6901), for the
// Path of a [Diagnostic].
func Pointer(steps ...string) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString("/" + escaper.Replace(s))
	}
	return b.String()
}

// Steps reads a JSON pointer.
func Steps(pointer string) []string {
	if pointer == "" {
		return nil
	}
	steps := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := range steps {
		steps[i] = unescaper.Replace(steps[i])
	}
	return steps
}

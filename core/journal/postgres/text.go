package postgres

import "strings"

// PostgreSQL's texts cannot hold the character NUL, which an id can have. It is written as
// two others, in a way that keeps the order of bytes.
var (
	toText   = strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02")
	fromText = strings.NewReplacer("\x01\x01", "\x00", "\x01\x02", "\x01")
)

func enc(s string) string {
	if strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, 1) < 0 {
		return s
	}
	return toText.Replace(s)
}

func dec(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return fromText.Replace(s)
}

func encAll(all []string) []string {
	out := make([]string, len(all))
	for i := range all {
		out[i] = enc(all[i])
	}
	return out
}

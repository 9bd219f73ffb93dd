package pgurl

import (
	"regexp"
	"strings"
)

const quoteValue = "write a value with blanks or quotes in quotes"

// splitKeywords reads keywords and values by the rules of libpq: a backslash takes
// the next character as it is, single quotes keep blanks.
func (p *problems) splitKeywords(text string) []setting {
	var given []setting
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest, ok := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		if !ok || strings.ContainsAny(name, " \t\r\n") || name == "" {
			p.add("a keyword and its = do not follow each other", quoteValue+", as in password='two words', and \\' for a quote inside")
			return given
		}
		value, after, ok := keywordValue(strings.TrimLeft(rest, " \t\r\n"))
		if !ok {
			p.add("a quote of a value is not closed", "write \\' for a quote inside")
			return given
		}
		text = after
		given = append(given, setting{name: name, value: value, broken: !p.filledIn(called(name), value)})
	}
	return given
}

// keywordValue reads one value of libpq's form.
func keywordValue(text string) (value, rest string, ok bool) {
	ends := " \t\r\n\v\f"
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text, ends = text[1:], "'"
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(ends, text[i]) >= 0 {
			return b.String(), text[i+1:], true
		}
		if text[i] == '\\' {
			if i++; i == len(text) {
				break
			}
		}
		b.WriteByte(text[i])
	}
	return b.String(), "", !quoted
}

// dotnetPair is one setting of .NET: a quote is doubled inside a quoted value.
var dotnetPair = regexp.MustCompile(`^\s*([^=;]*?)\s*=\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^;]*?))\s*(?:;|$)`)

func (p *problems) splitDotnet(text string) []setting {
	var given []setting
	for strings.Trim(text, "; \t\r\n") != "" {
		m := dotnetPair.FindStringSubmatch(text)
		if m == nil {
			p.add("a setting has no =", quoteValue+", also one with a ;, as in Password=\"a;b\"")
			return given
		}
		text = text[len(m[0]):]
		value := strings.ReplaceAll(m[2], `""`, `"`) + strings.ReplaceAll(m[3], "''", "'") + m[4]
		given = append(given, setting{name: m[1], value: value, broken: !p.filledIn(called(m[1]), value)})
	}
	return given
}

package pgurl

import (
	"slices"
	"strings"
)

// schemaNames are the schemas that one setting names.
type schemaNames struct {
	setting string
	names   []string
}

func (j *judge) schema(setting string, names []string) {
	j.named = append(j.named, schemaNames{setting, names})
}

// resolveSchemas makes one list of what the settings say, who must agree.
func (j *judge) resolveSchemas() {
	for _, one := range j.named {
		var found []string
		for _, name := range one.names {
			if name == "$user" {
				name = j.out["user"]
			}
			if name != "" && !slices.Contains(found, name) && !strings.HasPrefix(name, "pg_") {
				found = append(found, name)
			}
		}
		switch {
		case len(found) == 0:
		case j.schemas != nil && !slices.Equal(j.schemas, found):
			j.add("the settings "+j.schemaSetting+" and "+one.setting+" name different schemas", "keep one of them")
		default:
			j.schemas, j.schemaSetting = found, one.setting
		}
	}
}

// oneSchema is a setting of libraries that quote the name.
func oneSchema(text string) []string {
	if strings.ContainsAny(text, `,"`) {
		return searchPath(text)
	}
	return []string{text}
}

// searchPath splits a list of names the way PostgreSQL does: what is not quoted is
// folded.
func searchPath(text string) []string {
	var names []string
	var b strings.Builder
	quoted, wasQuoted := false, false
	end := func() {
		name := b.String()
		if !wasQuoted {
			name = strings.ToLower(strings.TrimSpace(name))
		}
		names = append(names, name)
		b.Reset()
		wasQuoted = false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' && quoted && i+1 < len(text) && text[i+1] == '"':
			b.WriteByte(c)
			i++
		case c == '"':
			if !wasQuoted && strings.TrimSpace(b.String()) == "" {
				b.Reset() // blanks before the name
			}
			quoted, wasQuoted = !quoted, true
		case c == ',' && !quoted:
			end()
		case c == ' ' && !quoted && wasQuoted:
		case c == '+' && !quoted: // a blank, as browsers and most libraries write it
			if !wasQuoted {
				b.WriteByte(' ')
			}
		default:
			b.WriteByte(c)
		}
	}
	end()
	return names
}

// options reads the command line of the server for its search_path, and passes on
// the rest of it: all tables are named with their schemas, and poolers refuse what
// they do not know.
func (j *judge) options(text string) {
	if !strings.Contains(text, " ") {
		text = strings.ReplaceAll(text, "+", " ")
	}
	words := commandLine(text)
	var rest []string
	for i := 0; i < len(words); i++ {
		raw, word := words[i], words[i]
		switch {
		case word == "-c" && i+1 < len(words):
			i++
			word, raw = words[i], "-c "+escapeWord(words[i])
		case strings.HasPrefix(word, "-c"):
			word, raw = word[2:], "-c "+escapeWord(word[2:])
		case strings.HasPrefix(word, "--"):
			word, raw = word[2:], escapeWord(word)
		default:
			word, raw = "", escapeWord(raw)
		}
		name, value, _ := strings.Cut(word, "=")
		if fold(name) == "searchpath" {
			j.schema("search_path in options", searchPath(value))
			continue
		}
		rest = append(rest, raw)
	}
	j.out["options"] = strings.Join(rest, " ")
}

// commandLine splits at blanks; a backslash takes the next character as it is.
func commandLine(text string) []string {
	var words []string
	var b strings.Builder
	in := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && i+1 < len(text) {
			i++
			c = text[i]
		} else if strings.IndexByte(" \t\r\n", c) >= 0 {
			if in {
				words = append(words, b.String())
				b.Reset()
			}
			in = false
			continue
		}
		in = true
		b.WriteByte(c)
	}
	if in {
		words = append(words, b.String())
	}
	return words
}

func escapeWord(word string) string {
	return strings.NewReplacer(`\`, `\\`, " ", `\ `, "\t", "\\\t").Replace(word)
}

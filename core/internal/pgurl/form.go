package pgurl

import (
	"regexp"
	"slices"
	"strings"
)

// form is a way to write an address.
type form int

const (
	uri form = iota
	jdbc
	keywords
	dotnet
)

// setting is one setting as it is written.
type setting struct {
	name, value string
	flag        bool // there is no value
	broken      bool // the value has been reported
}

const expected = "expected postgres://user:password@host:5432/database"

var (
	assignment = regexp.MustCompile(`^(?:(?:export|set)\s+)?([A-Za-z_][A-Za-z0-9_]*)(?:\s*=\s*|:\s+)`)
	command    = regexp.MustCompile(`^psql\s+(?:-d\s*|--dbname[=\s]\s*)?`)
)

// unwrap takes off what was copied along with the address: quotes, the name of
// the variable before it, psql.
func unwrap(text string) string {
	for range 6 { // each is there once, and an end is sure
		before := text
		text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
		if inner, ok := unquote(text); ok {
			text = inner
			continue
		}
		if at := command.FindStringIndex(text); at != nil {
			text = text[at[1]:]
			continue
		}
		m := assignment.FindStringSubmatch(text)
		if m != nil && !known(m[1]) && !isScheme(m[1]) && beginsAddress(text[len(m[0]):]) {
			text = text[len(m[0]):]
		}
		if text == before {
			break
		}
	}
	return text
}

// Unwrap is a text without what was copied along with an address.
func Unwrap(text string) string { return unwrap(text) }

// unquote takes off a pair of quotes and the semicolon of a program behind it.
func unquote(text string) (string, bool) {
	if text == "" || !strings.ContainsAny(text[:1], `"'`+"`") {
		return text, false
	}
	inner, ok := strings.CutSuffix(strings.TrimRight(text[1:], ";, \t"), text[:1])
	return inner, ok && !strings.Contains(inner, text[:1])
}

func beginsAddress(text string) bool {
	text = strings.TrimLeft(text, "\"'` ")
	if m := scheme.FindStringSubmatch(text); m != nil && (m[1] != "" || m[3] != "") {
		return true
	}
	name, _, ok := strings.Cut(text, "=")
	return ok && known(name)
}

var scheme = regexp.MustCompile(`^(?i)(jdbc:|r2dbc:)?([a-z][a-z0-9.-]*(?:\+[a-z0-9_]+)?):(//)?`)

func isScheme(name string) bool {
	name, _, _ = strings.Cut(strings.ToLower(name), "+")
	return slices.Contains([]string{"jdbc", "r2dbc"}, name) || slices.Contains(postgresSchemes, name) || slices.Contains(mysqlSchemes, name)
}

// postgresSchemes are what libraries begin the address of a PostgreSQL with.
var postgresSchemes = []string{
	"postgres", "postgresql", "postgis", "psql", "pgsql", "pdo-pgsql", "pg", "pgx", "pgx5", "ecto", "cockroachdb", "cockroach",
}

var mysqlSchemes = []string{"mysql", "mysql2", "mysqli", "mysqlx", "pdo-mysql", "mariadb"}

// split finds the form and takes the address apart.
func (p *problems) split(text string) ([]setting, form) {
	if text == "" {
		p.add("the address of the database is empty", expected)
		return nil, uri
	}
	if strings.ContainsRune(text, 0) {
		p.add("the address of the database has a NUL character", expected)
		return nil, uri
	}
	m := scheme.FindStringSubmatch(text)
	if m == nil || m[1] == "" && m[3] == "" {
		return p.splitSettings(text)
	}
	driver, _, _ := strings.Cut(strings.ToLower(m[2]), "+")
	switch {
	case slices.Contains(postgresSchemes, driver):
	case slices.Contains(mysqlSchemes, driver):
		p.add("this is the address of a MySQL or MariaDB database in a form that is not known",
			"write mysql://user:password@host:3306/database; see docs/supertokens.md")
		return nil, uri
	case driver == "http" || driver == "https":
		p.add("this is a web address, such as the connectionURI of the core", "the database of the core is wanted: its postgresql_connection_uri, "+expected)
		return nil, uri
	case driver == "prisma":
		p.add("this is the address of a proxy of Prisma, which is no database", "take the database's own address, "+expected)
		return nil, uri
	default:
		p.add("this is not the address of a PostgreSQL database", expected)
		return nil, uri
	}
	rest := text[len(m[0]):]
	if m[1] == "" {
		return p.splitURI(rest, uri), uri
	}
	if m[3] == "" { // jdbc:postgresql:database, which means this machine
		rest = "/" + strings.TrimPrefix(rest, "/")
	}
	return p.splitURI(rest, jdbc), jdbc
}

// dotnetSeparator is a semicolon before the name of another setting.
var dotnetSeparator = regexp.MustCompile(`;\s*([A-Za-z][A-Za-z ]*?)\s*=`)

// keywordSeparator is a blank before the name of a second setting.
var keywordSeparator = regexp.MustCompile(`^[^;=]*=[^;]*\s([A-Za-z_]+)\s*=`)

func isDotnet(text string) bool {
	if m := keywordSeparator.FindStringSubmatch(text); m != nil && known(m[1]) {
		return false // the ; is in a value
	}
	return slices.ContainsFunc(dotnetSeparator.FindAllStringSubmatch(text, -1), func(m []string) bool { return known(m[1]) })
}

// splitSettings reads an address without a scheme.
func (p *problems) splitSettings(text string) ([]setting, form) {
	if isDotnet(text) {
		return p.splitDotnet(text), dotnet
	}
	if name, _, ok := strings.Cut(text, "="); !ok || strings.ContainsAny(name, ":/@") {
		what := "this is no address of a database"
		if strings.HasPrefix(text, "-") {
			what = "these are options of a command, and no address"
		}
		p.add(what, expected)
		return nil, keywords
	}
	return p.splitKeywords(text), keywords
}

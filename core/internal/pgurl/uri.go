package pgurl

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// splitURI reads what follows the scheme. Everything up to the last @ is taken for
// user and password: a password with an unescaped character must not end as a
// host, a database or a setting.
func (p *problems) splitURI(rest string, f form) []setting {
	var given []setting
	add := func(name, value string) {
		if value != "" {
			given = append(given, setting{name: name, value: value})
		}
	}
	if at := credentialsEnd(rest, f); at >= 0 {
		user, password := p.credentials(rest[:at])
		add("user", user)
		add("password", password)
		p.uncertain = strings.HasSuffix(rest[:at], ":") || strings.Contains(rest[:at], "?")
		rest = rest[at+1:]
	} else {
		p.uncertain = f == uri
	}
	if f == uri && strings.Contains(rest, "#") {
		p.add("the address has an unescaped #", "write # as %23")
		rest, _, _ = strings.Cut(rest, "#")
	}
	before, query, _ := strings.Cut(rest, "?")
	hosts, database, _ := strings.Cut(before, "/")
	host, port := p.hosts(hosts)
	add("host", host)
	if strings.Trim(port, ",") != "" {
		add("port", port)
	}
	if strings.Contains(database, "/") {
		p.add("the name of the database has a /", "write it as %2F, or leave out what does not belong to the name")
	}
	name, ok := p.decode(database, "the name of the database")
	if ok && p.filledIn("the name of the database", database) {
		add("dbname", name)
	}
	settings := p.query(query, f)
	if slices.ContainsFunc(given, isPassword) && slices.ContainsFunc(settings, isPassword) {
		p.add("there are two passwords", "keep one; inside it write ? as %3F and & as %26")
	}
	return append(given, settings...)
}

func isPassword(s setting) bool { return isSecret(s.name) && fold(s.name) != "sslpassword" }

// credentialsEnd is where user and password end: at the last @ that is not in the
// value of a setting. JDBC has them among the settings.
func credentialsEnd(rest string, f form) int {
	before, query, _ := strings.Cut(rest, "?")
	at := strings.LastIndex(before, "@")
	if f == jdbc {
		return at
	}
	offset := len(before) + 1
	for pair := range strings.SplitSeq(query, "&") {
		if i := strings.LastIndex(pair, "@"); i >= 0 && !mayHold(pair) {
			at = offset + i
		}
		offset += len(pair) + 1
	}
	return at
}

// mayHold tells whether a setting can have the @ that stands in it, as in
// user=me@server. With a path behind it, it looks like the end of a password.
func mayHold(pair string) bool {
	name, value, _ := strings.Cut(pair, "=")
	_, after, ok := strings.Cut(value, "@")
	return known(name) && ok && !strings.ContainsAny(after, "/?")
}

// credentials reads user and password.
func (p *problems) credentials(text string) (user, password string) {
	var wrong []string
	for _, c := range []string{"@", "/", "?", "#", "%", " "} {
		if strings.Contains(text, c) && (c != "%" || badEscape.MatchString(text)) {
			wrong = append(wrong, c)
		}
	}
	if strings.ContainsAny(text, "\t\r\n") {
		p.add("the user or the password has a line break or a tab", "write the address in one line")
		return "", ""
	}
	if len(wrong) > 0 {
		p.escape("the user or the password has characters that must be written differently in an address", wrong)
		return "", ""
	}
	rawUser, rawPassword, _ := strings.Cut(text, ":")
	p.filledIn("the user", rawUser)
	p.filledIn("the password", rawPassword)
	user, _ = p.decode(rawUser, "the user")
	password, _ = p.decode(rawPassword, "the password")
	return user, password
}

func (p *problems) escape(what string, chars []string) {
	var cure []string
	for _, c := range chars {
		shown := c
		if c == " " {
			shown = "a blank"
		}
		cure = append(cure, fmt.Sprintf("%s as %%%02X", shown, c[0]))
	}
	p.add(what, "write "+strings.Join(cure, ", "))
}

var (
	badEscape = regexp.MustCompile(`%(?:$|[^0-9A-Fa-f]|[0-9A-Fa-f](?:$|[^0-9A-Fa-f]))`)
	escaped   = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	// placeholder is a whole value that somebody was to fill in; a reference to a
	// variable may be a part.
	placeholder = regexp.MustCompile(`^(?:\$[A-Za-z_][A-Za-z0-9_]*|<.*>|\[[^:]*\]|%[A-Za-z_][A-Za-z0-9_]*%|[*•]{3,})$|\$\{.*\}|\$\(.*\)|\{\{.*\}\}`)
)

// filledIn reports a value that is a placeholder still.
func (p *problems) filledIn(what, raw string) bool {
	if !placeholder.MatchString(raw) {
		return true
	}
	p.add(what+" is still a placeholder or a variable",
		"put the real value there; if it is the real one, write the address as a URI, with its signs as codes: %24 for $, %3C for <, %5B for [")
	return false
}

// decode resolves %XX.
func (p *problems) decode(raw, what string) (string, bool) {
	switch {
	case badEscape.MatchString(raw):
		p.escape(what+" has a % that begins no code", []string{"%"})
		return "", false
	case strings.Contains(raw, "%00"):
		p.add(what+" has a NUL character", "leave it out")
		return "", false
	case strings.ContainsAny(raw, " \t\r\n"):
		p.escape(what+" has a blank or a line break", []string{" "})
		return "", false
	}
	return escaped.ReplaceAllStringFunc(raw, func(code string) string { return string([]byte{unhex(code[1])<<4 | unhex(code[2])}) }), true
}

// called names a setting whose name is no part of a password.
func called(name string) string {
	if known(name) {
		return "the setting " + name
	}
	return "a setting"
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// hosts reads a list of hosts with ports into two lists.
func (p *problems) hosts(text string) (hosts, ports string) {
	if text == "" {
		return "", ""
	}
	var h, t []string
	for one := range strings.SplitSeq(text, ",") {
		host, port := p.hostPort(one)
		h, t = append(h, host), append(t, port)
	}
	return strings.Join(h, ","), strings.Join(t, ",")
}

var bracketed = regexp.MustCompile(`^\[([^\]]*)\](?::(.*))?$`)

// hostPort reads one host. What it is made of is checked later, where hosts of all
// forms are.
func (p *problems) hostPort(one string) (host, port string) {
	if m := bracketed.FindStringSubmatch(one); m != nil {
		host, port = m[1], m[2]
	} else {
		host, port, _ = strings.Cut(one, ":")
		if strings.Contains(port, ":") {
			p.add("a host has several :", "write an IPv6 address in brackets, as in [::1]:5432; in a user or a password write : as %3A")
			return "", ""
		}
	}
	if !p.filledIn("a host or a port", host) || !p.filledIn("a host or a port", port) {
		return "", ""
	}
	host, _ = p.decode(host, "a host")
	return host, port
}

// query reads the settings behind the question mark.
func (p *problems) query(text string, f form) []setting {
	var given []setting
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, ok := strings.Cut(pair, "=")
		if f == jdbc {
			rawValue = strings.ReplaceAll(rawValue, "+", "%20")
		}
		name, okName := p.decode(rawName, "the name of a setting")
		value, okValue := p.decode(rawValue, called(name))
		if okName {
			filled := p.filledIn(called(name), rawValue)
			given = append(given, setting{name: name, value: value, flag: !ok, broken: !okValue || !filled})
		}
	}
	return given
}

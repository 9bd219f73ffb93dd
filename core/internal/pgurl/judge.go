package pgurl

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
)

// judge turns settings, as people write them, into what pgx takes.
type judge struct {
	*problems

	form form
	out  map[string]string
	tls  tlsWish

	hostaddr      string
	named         []schemaNames
	schemas       []string
	schemaSetting string
}

// all judges the settings in their order; the last of a name counts.
func (j *judge) all(given []setting) {
	afterPassword, seen := false, map[string]bool{}
	for _, s := range given {
		rule, ok := rules[fold(s.name)]
		if ok {
			if !s.broken {
				rule(j, s)
			}
			// One that is there already may be a piece of a password, too.
			afterPassword = isSecret(s.name) || afterPassword && seen[fold(s.name)]
			seen[fold(s.name)] = true
			continue
		}
		if serverSetting.MatchString(s.name) && !afterPassword {
			j.out[s.name] = s.value
			continue
		}
		j.unknown(s, afterPassword)
	}
	j.address()
	j.resolveSchemas()
	if j.tls.contradicts() {
		j.add("sslmode and ssl ask for different things", "keep one of them, such as sslmode=require")
	}
	if mode := j.tls.resolve(j.form); mode != "" {
		j.out["sslmode"] = mode
	}
	if j.out["sslcert"] != "" && j.out["sslkey"] == "" {
		j.add("sslcert is there without sslkey", "sslcert is the client's own certificate; name that of the authority with sslrootcert")
	}
}

// serverSetting is a parameter that an extension or a policy has invented.
var serverSetting = regexp.MustCompile(`^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$`)

var settingName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*(?: [A-Za-z]+)*$`)

// maxName is longer than any name of a setting.
const maxName = 40

// unknown refuses a setting by its name. What follows a password may be its end.
func (j *judge) unknown(s setting, afterPassword bool) {
	unsure := afterPassword || j.uncertain && j.out["password"] == "" || s.flag && j.form == uri
	if unsure || len(s.name) > maxName || !settingName.MatchString(s.name) {
		cure := "if it belongs to a value, write & as %26 and = as %3D there"
		if j.form == keywords || j.form == dotnet {
			cure = "if it belongs to a value, " + quoteValue
		}
		j.add("there is a setting that is not known, and its name is not shown because it may be the end of a password", cure)
		return
	}
	cure := "leave it out, or write a parameter of the server as options=-c%20NAME%3DVALUE"
	if meant := diag.Suggest(s.name, spellings()); meant != "" {
		cure = "did you mean " + meant + "?"
	}
	j.add("the setting "+s.name+" is not known", cure)
}

func spellings() []string {
	out := []string{"sslmode", "options", "schema"}
	for keyword := range kept {
		out = append(out, keyword)
	}
	out = append(out, strings.Fields(schemaSettings)...)
	slices.Sort(out)
	return out
}

// enumerated has the values of the settings that take a few only.
var enumerated = map[string][]string{
	"channel_binding":      {"disable", "prefer", "require"},
	"target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
	"sslnegotiation":       {"postgres", "direct"},
	"sslcertmode":          {"disable", "allow", "require"},
	"sslsni":               {"0", "1"},
	"min_protocol_version": {"3.0", "3.2", "latest"},
	"max_protocol_version": {"3.0", "3.2", "latest"},
}

// keep passes a setting on.
func (j *judge) keep(keyword string, s setting) {
	if s.flag {
		j.add("the setting "+s.name+" has no value", "write "+s.name+"=VALUE, or leave it out")
		return
	}
	if allowed, ok := enumerated[keyword]; ok {
		value, ok := j.oneOf(s, allowed)
		if !ok {
			return
		}
		s.value = value
	}
	if must, ok := numeric(keyword, s.value); !ok {
		j.add("the setting "+s.name+" has a value that makes no sense", must)
		return
	}
	j.out[keyword] = s.value
}

// oneOf finds the value among those allowed, whatever its spelling.
func (j *judge) oneOf(s setting, allowed []string) (string, bool) {
	for _, a := range allowed {
		if fold(a) == fold(s.value) {
			return a, true
		}
	}
	j.add("the setting "+s.name+" has a value that is not supported", "write one of "+strings.Join(allowed, ", "))
	return "", false
}

// numeric checks the settings that count something.
func numeric(keyword, value string) (must string, ok bool) {
	switch {
	case value == "":
	case keyword == "connect_timeout":
		n, err := strconv.Atoi(value)
		return "it is a number of seconds", err == nil && n >= 0
	case strings.HasPrefix(keyword, "pool_") && strings.HasSuffix(keyword, "_conns"):
		n, err := strconv.ParseInt(value, 10, 32)
		return "it is a number of connections", err == nil && n >= 0 && (n > 0 || keyword != "pool_max_conns")
	case strings.HasPrefix(keyword, "pool_"):
		_, err := time.ParseDuration(value)
		return "it is a duration such as 30s or 5m", err == nil
	}
	return "", true
}

// harmless drops a setting that has one of the values.
func (j *judge) harmless(s setting, values []string) {
	for _, v := range values {
		if fold(v) == fold(s.value) {
			return
		}
	}
	j.add("the setting "+s.name+" asks for what is not supported", "leave it out, or write "+s.name+"="+values[0])
}

var (
	hostName   = regexp.MustCompile(`^[\pL\pN_](?:[\pL\pN._-]*)$`)
	windowsDir = regexp.MustCompile(`^[A-Z]:\\`)
)

// address checks hosts and ports, wherever they were written.
func (j *judge) address() {
	if j.hostaddr != "" {
		if j.out["host"] != "" {
			j.add("there are host and hostaddr", "leave out hostaddr")
		}
		j.out["host"] = j.hostaddr
	}
	hosts := strings.Split(j.out["host"], ",")
	ports := strings.Split(j.out["port"], ",")
	for i, h := range hosts {
		h = strings.TrimSpace(h)
		if j.form == dotnet && strings.Count(h, ":") == 1 && !strings.HasPrefix(h, "/") { // Host=a:5433,b
			var port string
			h, port, _ = strings.Cut(h, ":")
			ports = append(ports, make([]string, max(0, len(hosts)-len(ports)))...)
			ports[i] = port
		}
		hosts[i] = j.host(h)
	}
	for _, p := range ports {
		if n, err := strconv.ParseUint(p, 10, 16); p != "" && (err != nil || n == 0) {
			j.add("a port is no number from 1 to 65535", expected+"; in a user or a password write : as %3A, / as %2F, ? as %3F, # as %23")
		}
	}
	if len(ports) > 1 && len(ports) != len(hosts) {
		j.add("there are not as many ports as hosts", "write one port for all hosts, or one for each")
	}
	j.out["host"], j.out["port"] = strings.Join(hosts, ","), strings.Join(ports, ",")
}

// host checks that a text can be a host, so that no piece of something else is
// ever looked up in DNS.
func (j *judge) host(h string) string {
	if m := bracketed.FindStringSubmatch(h); m != nil && m[2] == "" {
		h = m[1]
	}
	_, err := netip.ParseAddr(h)
	switch {
	case h == "", strings.HasPrefix(h, "/"), windowsDir.MatchString(h), err == nil, hostName.MatchString(h):
		return h
	case strings.Contains(h, ":"):
		j.add("a host has a :", "write the port in a setting of its own, port, and an IPv6 address in brackets")
	default:
		j.add("a host has characters that no name of a host has", expected+"; in a user or a password write @ as %40, / as %2F, ? as %3F, # as %23, : as %3A")
	}
	return ""
}

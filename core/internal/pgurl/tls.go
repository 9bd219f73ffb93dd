package pgurl

import (
	"slices"
	"strings"
)

// tlsWish collects what an address says about encryption.
type tlsWish struct {
	mode       string // sslmode
	byFlag     string // what ssl=true comes to
	unverified bool   // a factory that trusts everybody
	strict     bool   // Prisma's sslaccept=strict
	only13     bool
}

// contradicts tells whether one setting asks for encryption and another does not.
func (t tlsWish) contradicts() bool {
	return t.byFlag != "" && t.byFlag != "disable" && slices.Contains([]string{"disable", "allow", "prefer"}, t.mode)
}

// resolve is the sslmode of all of it.
func (t tlsWish) resolve(f form) string {
	mode := t.mode
	if mode == "" {
		mode = t.byFlag
		if t.unverified && mode == "verify-full" {
			mode = "require"
		}
	}
	if t.strict && mode != "disable" {
		return "verify-full"
	}
	if mode == "" && t.unverified && f == jdbc {
		return "require"
	}
	return mode
}

// sslmode takes libpq's modes and those of others that mean the same.
func (j *judge) sslmode(s setting) {
	allowed := []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
	if fold(s.value) == "noverify" { // of node-postgres: encrypted, and nothing checked
		s.value = "require"
	}
	if mode, ok := j.oneOf(s, allowed); ok {
		j.tls.mode = mode
	}
}

// ssl reads the flag. JDBC checks the certificate then; in a URI it is libpq's
// synonym of sslmode=require.
func (j *judge) ssl(s setting) {
	value := strings.ToLower(s.value)
	switch {
	case s.flag && j.form == jdbc, slices.Contains(trues, value):
		j.tls.byFlag = "require"
		if j.form == jdbc {
			j.tls.byFlag = "verify-full"
		}
	case slices.Contains([]string{"false", "0", "no", "off", "f"}, value):
		if j.form != jdbc { // where it is the default, which tries to encrypt
			j.tls.byFlag = "disable"
		}
	case s.flag, strings.ContainsAny(value, "{[") || value == "":
		j.add("the setting "+s.name+" has a value that is not supported", "write sslmode=require, or sslmode=verify-full to check the certificate of the server")
	default: // the modes, as in asyncpg and postgres.js
		j.sslmode(s)
	}
}

func (j *judge) requireSSL(s setting) {
	if slices.Contains(trues, strings.ToLower(s.value)) {
		j.tls.byFlag = "require"
	}
}

// sslFactory knows the classes of the PostgreSQL driver for Java.
func (j *judge) sslFactory(s setting) {
	switch {
	case strings.HasSuffix(s.value, ".NonValidatingFactory"):
		j.tls.unverified = true
	case strings.HasSuffix(s.value, ".LibPQFactory"), strings.HasSuffix(s.value, ".DefaultJavaSSLFactory"):
	default:
		j.add("the setting "+s.name+" names a class of Java", "write sslmode=verify-full with sslrootcert, or sslmode=require where the certificate is not to be checked")
	}
}

func (j *judge) sslAccept(s setting) {
	value, ok := j.oneOf(s, []string{"strict", "accept_invalid_certs"})
	j.tls.strict = ok && value == "strict"
}

// minTLS: nothing older than TLS 1.2 is ever spoken.
func (j *judge) minTLS(s setting) {
	switch strings.ToLower(s.value) {
	case "tlsv1.3":
		j.tls.only13 = true
	case "", "tlsv1", "tlsv1.1", "tlsv1.2":
	default:
		j.add("the setting "+s.name+" has a value that is not supported", "write one of TLSv1.2, TLSv1.3")
	}
}

// targetServerType is JDBC's name for target_session_attrs.
func (j *judge) targetServerType(s setting) {
	attrs := map[string]string{
		"any": "any", "primary": "primary", "master": "primary", "secondary": "standby", "slave": "standby",
		"prefersecondary": "prefer-standby", "preferslave": "prefer-standby",
	}
	attr, ok := attrs[fold(s.value)]
	if !ok {
		j.add("the setting "+s.name+" has a value that is not supported", "write one of any, primary, secondary, preferSecondary")
		return
	}
	j.out["target_session_attrs"] = attr
}

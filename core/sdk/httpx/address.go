package httpx

import (
	"net"
	"net/url"
)

// AddressProblem says what is wrong with the address of a target in a configuration, to be
// read after the name of its field; empty when nothing is. It never repeats the address: a
// password may stand in it. With inClear, plain http may go to other machines.
func AddressProblem(text string, inClear bool) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "cannot be parsed"
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with https://"
	case u.Hostname() == "":
		return "names no host"
	case u.Scheme == "http" && !inClear && !Loopback(u.Hostname()):
		return "must begin with https://, because secrets and hashes would cross the network in clear text"
	case u.User != nil:
		return "has a user name: use the separate settings for credentials"
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "has a query or a fragment"
	}
	return ""
}

// Loopback reports whether a host is this machine.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

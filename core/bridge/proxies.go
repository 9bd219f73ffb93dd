package bridge

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// proxies are the networks whose word about where a request comes from counts.
type proxies []netip.Prefix

func newProxies(networks []string) (out proxies) {
	for _, text := range networks {
		if p, err := netip.ParsePrefix(text); err == nil { // the configuration has been checked
			out = append(out, p)
		}
	}
	return out
}

// unheard reports whether a proxy that is not trusted says where a request comes from.
func (p proxies) unheard(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") == "" {
		return false
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && !p.trusted(addr)
}

// client is the [network] that counts. Behind trusted proxies it is the last address of
// X-Forwarded-For that is not one of them.
func (p proxies) client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusted(addr); i-- {
		next, ok := hop(hops[i])
		if !ok {
			break
		}
		addr = next
	}
	return network(addr)
}

// hop reads an entry of X-Forwarded-For; some proxies add the port.
func hop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr, true
	}
	both, err := netip.ParseAddrPort(text)
	return both.Addr(), err == nil
}

func (p proxies) trusted(addr netip.Addr) bool {
	for _, network := range p {
		if network.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

package bridge

import (
	"net/http/httptest"
	"testing"
)

// TestClientAddress: who could choose the address that counts could guess without
// end, or lock others out.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := newProxies([]string{"10.0.0.0/8", "fd00::/8"})
	for _, c := range []struct {
		remote  string
		headers []string
		want    string
	}{
		{"192.0.2.1:1234", []string{"6.6.6.6"}, "192.0.2.1"}, // no proxy of ours
		{"10.0.0.1:1234", nil, "10.0.0.1"},
		{"10.0.0.1:1234", []string{"6.6.6.6, 192.0.2.1"}, "192.0.2.1"}, // the first entry is the visitor's own
		{"10.0.0.1:1234", []string{"6.6.6.6", "192.0.2.1"}, "192.0.2.1"},
		{"10.0.0.1:1234", []string{"192.0.2.1, 10.9.9.9"}, "192.0.2.1"},
		{"10.0.0.1:1234", []string{"192.0.2.1:5678"}, "192.0.2.1"},
		{"10.0.0.1:1234", []string{"[2001:db8:1:2:3::4]:5678"}, "2001:db8:1:2::/64"},
		{"10.0.0.1:1234", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"10.0.0.1:1234", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"[::ffff:10.0.0.1]:1234", []string{"192.0.2.1"}, "192.0.2.1"},
		{"10.0.0.1:1234", []string{"6.6.6.6, nonsense"}, "10.0.0.1"},
		{"[fe80::1%eth0]:1234", []string{"6.6.6.6"}, "fe80::/64"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, h := range c.headers {
			r.Header.Add("X-Forwarded-For", h)
		}
		if got := trusted.client(r); got != c.want {
			t.Errorf("%s with %q is %s, want %s", c.remote, c.headers, got, c.want)
		}
	}
}

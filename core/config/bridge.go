package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/policy"
)

// Bridge says how the cut-over is served. Set is false where the file has no such
// section. Defaults are filled in.
type Bridge struct {
	Set bool `json:"-"`
	// Listen is the address that people and the target reach; AdminListen has
	// metrics and health.
	Listen      string `json:"listen,omitempty"`
	AdminListen string `json:"admin_listen,omitempty"`
	// Issuer is the public URL of the bridge, and its name as OpenID provider.
	Issuer         string           `json:"issuer,omitempty"`
	PlainHTTP      bool             `json:"plain_http,omitempty"`
	TLS            BridgeTLS        `json:"tls,omitzero"`
	TrustedProxies []string         `json:"trusted_proxies,omitempty"`
	Database       canonical.Secret `json:"database,omitzero"` // of a role of its own; else the source's
	Schema         string           `json:"schema,omitempty"`
	SigningKey     canonical.Secret `json:"signing_key,omitzero"` // PEM; else made and kept in Schema
	// SigningAlgorithm is of the key that is made: RS256 or ES256.
	SigningAlgorithm string         `json:"signing_algorithm,omitempty"`
	Tenant           string         `json:"tenant,omitempty"`
	Clients          []BridgeClient `json:"clients,omitempty"`
	Cookies          BridgeCookies  `json:"cookies,omitzero"`
	RequiredClaims   []string       `json:"required_claims,omitempty"` // that must not be false in a session
	// ClaimsNamed says that the file names RequiredClaims: a session must have them.
	ClaimsNamed bool           `json:"-"`
	Exchange    BridgeExchange `json:"exchange,omitzero"`
	Reset       BridgeLink     `json:"reset,omitzero"`
	VerifyEmail BridgeLink     `json:"verify_email,omitzero"`
	Pages       BridgePages    `json:"pages,omitzero"`
	Lazy        BridgeLazy     `json:"lazy,omitzero"`
	Limits      BridgeLimits   `json:"limits,omitzero"`
	Drain       Duration       `json:"drain,omitzero"`
	// MatchEmail lets links act on accounts that no run has loaded, found by
	// address.
	MatchEmail bool `json:"match_email,omitempty"`
}

// BridgeTLS names files in PEM.
type BridgeTLS struct {
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
}

// BridgeClient is a relying party, usually the target as broker.
type BridgeClient struct {
	ID           string           `json:"id"`
	Secret       canonical.Secret `json:"secret,omitzero"`
	RedirectURIs []string         `json:"redirect_uris"`
	// PostLogoutRedirectURIs are where people may go on to after a logout, beside what is
	// below the redirect addresses.
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`
	// TicketPage is the application's, where tickets are got for sessions in its storage.
	TicketPage string `json:"ticket_page,omitempty"`
}

// BridgeCookies are names of cookies that hold tokens, tried in order.
type BridgeCookies struct {
	Access  []string `json:"access,omitempty"`
	Refresh []string `json:"refresh,omitempty"`
}

// BridgeExchange is the hand-over of tokens for applications. It is off without
// an audience.
type BridgeExchange struct {
	// Audience of assertions: what the target wants to be called.
	Audience string   `json:"audience,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Origins  []string `json:"origins,omitempty"` // of browsers that may call
}

// BridgeLink is one kind of mailed links. It is off without a path.
type BridgeLink struct {
	Path    string `json:"path,omitempty"`
	APIPath string `json:"api_path,omitempty"`
	// Parameter has the token.
	Parameter string `json:"parameter,omitempty"`
	// Mode is "password" or "target", for resets.
	Mode string `json:"mode,omitempty"`
	// Continue is where people go afterwards.
	Continue string `json:"continue,omitempty"`
	// Origins are those of pages that may call the API; those of the exchange when empty.
	Origins []string `json:"origins,omitempty"`
	// EndSessions ends all sessions of who has set a new password; true by default.
	EndSessions *bool `json:"end_sessions,omitempty"`
}

// EndsSessions reports whether a new password ends the sessions of its account.
func (l BridgeLink) EndsSessions() bool { return l.EndSessions == nil || *l.EndSessions }

// BridgePages say how the pages look that people see.
type BridgePages struct {
	// Languages are those that are offered; the first is for who asks for none of them.
	Languages []string `json:"languages,omitempty"`
	// Templates is a folder with page.html and words in files such as de.json.
	Templates string `json:"templates,omitempty"`
}

// BridgeLazy is the check of passwords that the target cannot verify. It is off
// without a token.
type BridgeLazy struct {
	Token   canonical.Secret `json:"token,omitzero"`
	Schemes []string         `json:"schemes,omitempty"`
}

// BridgeLimits bound guessing.
type BridgeLimits struct {
	PerMinute int      `json:"per_minute,omitempty"`
	Failures  int      `json:"failures,omitempty"`
	Lockout   Duration `json:"lockout,omitzero"`
}

// Duration is written as in 90s, 15m or 1h.
type Duration = policy.Duration

// bridgeSection is the name of the section.
const bridgeSection = "bridge"

// withDefaults fills in what the file leaves out.
func (b Bridge) withDefaults() Bridge {
	text := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	text(&b.Listen, "127.0.0.1:8480")
	text(&b.AdminListen, "127.0.0.1:8481")
	text(&b.Tenant, "public")
	text(&b.SigningAlgorithm, "RS256")
	b.Issuer = strings.TrimRight(b.Issuer, "/")
	if len(b.Cookies.Access) == 0 {
		b.Cookies.Access = []string{"sAccessToken", "st-access-token"}
	}
	if len(b.Cookies.Refresh) == 0 {
		b.Cookies.Refresh = []string{"sRefreshToken", "st-refresh-token"}
	}
	b.ClaimsNamed = b.RequiredClaims != nil
	if b.RequiredClaims == nil {
		b.RequiredClaims = []string{"st-mfa"}
	}
	text(&b.Reset.Parameter, "token")
	text(&b.Reset.Mode, "password")
	text(&b.VerifyEmail.Parameter, "token")
	for _, link := range []*BridgeLink{&b.Reset, &b.VerifyEmail} {
		if len(link.Origins) == 0 {
			link.Origins = b.Exchange.Origins
		}
	}
	if len(b.Lazy.Schemes) == 0 {
		b.Lazy.Schemes = []string{string(canonical.FirebaseScrypt)}
	}
	number := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	number(&b.Limits.PerMinute, 60)
	number(&b.Limits.Failures, 10)
	if b.Limits.Lockout.Duration == 0 {
		b.Limits.Lockout.Duration = 15 * time.Minute
	}
	if b.Drain.Duration == 0 {
		b.Drain.Duration = 20 * time.Second
	}
	return b
}

// checkBridge finds what the schema cannot say.
func (f *file) checkBridge() {
	section := f.root.get(bridgeSection)
	if section == nil || section.kind != object {
		return
	}
	bad := func(n *node, summary, hint string) {
		f.add(diag.Diagnostic{Code: diag.ConfigInvalidValue, Summary: summary, Path: diag.Pointer(n.path...), Hint: hint}, n.anchor())
	}
	plain := section.get("plain_http")
	allowed := plain != nil && plain.val == true
	if issuer := section.get("issuer"); !issuer.absent() {
		if problem := checkPublicURL(issuer.str(), allowed); problem != "" {
			bad(issuer, "issuer "+problem, "the public URL of the bridge, as in https://auth.example.com/auth/session/refresh/bridge")
		}
	}
	certificate := section.get("tls", "certificate")
	if listen := section.get("listen"); !listen.absent() && certificate.absent() && !allowed {
		host, _, err := net.SplitHostPort(listen.str())
		if err == nil && !isLoopback(host) {
			bad(listen, "listen is open to the network without TLS", "set tls.certificate and tls.key, or plain_http: true behind a proxy that ends TLS")
		}
	}
	if proxies := section.get("trusted_proxies"); proxies != nil {
		for _, n := range proxies.items {
			if _, err := netip.ParsePrefix(n.str()); err != nil {
				bad(n, fmt.Sprintf("%q is not a network", n.str()), "as in 10.0.0.0/8")
			}
		}
	}
	if lazy := section.get("lazy"); lazy != nil && f.root.get("source", "firebase_signer_key").absent() && checksFirebase(lazy.get("schemes")) {
		bad(lazy, "hashes from Firebase cannot be checked without their key", "set source.firebase_signer_key, or leave firebase_scrypt out of lazy.schemes")
	}
	if clients := section.get("clients"); clients != nil {
		for _, c := range clients.items {
			if page := c.get("ticket_page"); !page.absent() {
				if problem := checkPublicURL(page.str(), allowed); problem != "" {
					bad(page, "ticket_page "+problem, "as in https://app.example.com/bridge")
				}
			}
		}
	}
	for _, path := range [][]string{{"exchange", "origins"}, {"reset", "origins"}, {"verify_email", "origins"}} {
		list := section.get(path...)
		if list == nil {
			continue
		}
		for _, n := range list.items {
			if u, err := url.Parse(n.str()); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != n.str() || strings.Contains(u.Host, "*") {
				bad(n, fmt.Sprintf("%q is not an origin", n.str()), "write origins one by one, such as https://app.example.com: their pages may send secrets and read the answer")
			}
		}
	}
	if mode, api := section.get("reset", "mode"), section.get("reset", "api_path"); !mode.absent() && mode.str() == "target" && !api.absent() {
		bad(api, "with mode target the target asks for the new password, so reset.api_path would accept one that is never set", "leave api_path out, or use mode: password")
	}
	seen := map[string]bool{}
	for _, name := range []string{"reset", "verify_email"} {
		for _, field := range []string{"path", "api_path"} {
			n := section.get(name, field)
			if n.absent() {
				continue
			}
			if seen[n.str()] {
				bad(n, fmt.Sprintf("path %q is taken twice", n.str()), "give each kind of link its own path")
			}
			seen[n.str()] = true
		}
	}
}

// checksFirebase reads lazy.schemes.
func checksFirebase(schemes *node) bool {
	if schemes.absent() || len(schemes.items) == 0 {
		return true // the default
	}
	for _, n := range schemes.items {
		if n.str() == string(canonical.FirebaseScrypt) {
			return true
		}
	}
	return false
}

// checkPublicURL never repeats the URL.
func checkPublicURL(text string, plainAllowed bool) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return "is not a URL with a host"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "has a user name, a query or a fragment"
	case u.Scheme == "http" && !plainAllowed && !isLoopback(u.Hostname()):
		return "must begin with https://"
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with https://"
	}
	return ""
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBridgeDefaults(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, `
source: {url: "postgres://db/x", firebase_signer_key: "${env:CLIENT_SECRET}"}
target: {plugin: p}
bridge:
  issuer: https://auth.example.com/bridge/
  tls: {certificate: c.pem, key: k.pem}
  listen: 0.0.0.0:443
  clients: [{id: kc, secret: "${env:CLIENT_SECRET}", redirect_uris: ["https://sso/endpoint"]}]
  lazy: {token: "${env:CLIENT_SECRET}"}
  limits: {failures: 3}
`)
	b := cfg.Bridge
	if !b.Set || b.Issuer != "https://auth.example.com/bridge" || b.Tenant != "public" || b.Limits.Failures != 3 || b.Limits.PerMinute != 60 ||
		b.Limits.Lockout.Duration != 15*time.Minute || b.Clients[0].Secret.Reveal() != canary || b.Lazy.Token.Reveal() != canary ||
		!slices.Equal(b.RequiredClaims, []string{"st-mfa"}) || b.Cookies.Access[0] != "sAccessToken" || b.Reset.Parameter != "token" || b.TLS.Certificate == "c.pem" && b.TLS.Key == "" {
		t.Errorf("bridge %+v", b)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if strings.Contains(fmt.Sprintf(verb, b), canary) {
			t.Errorf("%s prints a secret", verb)
		}
	}
	if without := mustLoad(t, "source: {dump: a}\ntarget: {plugin: p}"); without.Bridge.Set {
		t.Error("a bridge that nobody asked for")
	}
}

//go:build unix

package bridge_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/stetl/stetl/core/supertokens/cutover"
)

// With another algorithm everything that is signed and published goes by it: tokens for the
// broker, assertions, and the discovery document.
func TestES256(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	w.algorithm = cutover.ES256
	w.url, w.bridge = w.instance(nil)
	if a := w.do(http.MethodGet, w.url+"/.well-known/openid-configuration", "", nil); !strings.Contains(a.body, `"id_token_signing_alg_values_supported":["ES256"]`) {
		t.Errorf("discovery: %s", a.body)
	}
	if a := w.do(http.MethodGet, w.url+"/keys", "", nil); !strings.Contains(a.body, `"alg":"ES256"`) || strings.Contains(a.body, `"d"`) {
		t.Errorf("keys: %s", a.body)
	}
	s := w.session(alive)
	code := w.login(w.url, "sAccessToken="+url.QueryEscape(s.Access), nil).Get("code")
	a := w.redeem(code, clientSecret)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	_, token, _ := strings.Cut(a.body, `"id_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	keys := w.do(http.MethodGet, w.url+"/keys", "", nil)
	if err := json.Unmarshal([]byte(keys.body), &set); err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(set.Keys[0].Key, &claims); err != nil || claims.Subject != s.UserID {
		t.Errorf("claims %+v, %v", claims, err)
	}
}

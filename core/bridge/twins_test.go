//go:build unix

package bridge_test

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/mint"
)

// TestTwinsSignInAsThemselves hands over the sessions of two accounts whose external
// ids differ by a blank at the end, from the cookie to the redeemed code.
func TestTwinsSignInAsThemselves(t *testing.T) {
	t.Parallel()
	w := build(t, "core-10.1.4", nil)
	w.exec(`INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id)
		SELECT 'public', user_id, CASE row_number() OVER (ORDER BY user_id) WHEN 1 THEN 'acct-7' ELSE 'acct-7 ' END FROM emailpassword_users
		WHERE app_id = 'public' AND user_id NOT IN (SELECT supertokens_user_id FROM userid_mapping) ORDER BY user_id LIMIT 2`)
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(w.dsn)}, session.Config{Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	m := mint.New(t, store)
	for _, id := range []string{"acct-7", "acct-7 "} {
		q := w.login(w.url, "sAccessToken="+url.QueryEscape(m.Session(t, id, id)), nil)
		var tokens struct {
			IDToken string `json:"id_token"`
		}
		if got := w.redeem(q.Get("code"), clientSecret); json.Unmarshal([]byte(got.body), &tokens) != nil || tokens.IDToken == "" {
			t.Errorf("%q: status %d: %s", id, got.status, got.body)
			continue
		}
		if claims := w.verified(tokens.IDToken); claims["sub"] != id {
			t.Errorf("the session of %q signs in as %q", id, claims["sub"])
		}
	}
}

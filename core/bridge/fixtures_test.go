//go:build unix

package bridge_test

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
)

// TestEverySessionOfEveryFixture hands over what there is, and nothing else: by its
// access token, or by its refresh token where that is all there is left.
func TestEverySessionOfEveryFixture(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.AllNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := build(t, name, nil)
			visible := map[string]string{} // of accounts, by that of their logins
			for _, a := range w.truth.Accounts {
				for _, l := range a.LoginMethods {
					if a.AppID == "public" {
						visible[l.VisibleID] = a.VisibleID
					}
				}
			}
			handed := 0
			for i, s := range w.truth.Sessions {
				if s.AppID != "public" {
					continue
				}
				cookie := "sAccessToken=" + url.QueryEscape(s.Access)
				if i%2 == 1 {
					cookie = "sRefreshToken=" + url.QueryEscape(s.Refresh)
				}
				q := w.login(w.url, cookie, nil)
				gone := s.Revoked || s.Expired || s.Orphan
				switch {
				case gone && q.Get("error") != "login_required":
					t.Errorf("session %s, which is none any more: %v", s.Handle, q)
				case gone, s.Refreshed != nil:
				case q.Get("code") == "":
					t.Errorf("session %s: %v", s.Handle, q)
				default:
					handed++
					var tokens struct {
						IDToken string `json:"id_token"`
					}
					if got := w.redeem(q.Get("code"), clientSecret); json.Unmarshal([]byte(got.body), &tokens) != nil || tokens.IDToken == "" {
						t.Errorf("session %s: %d %s", s.Handle, got.status, got.body)
						continue
					}
					if claims := w.verified(tokens.IDToken); claims["sub"] != visible[s.UserID] {
						t.Errorf("session %s of %s signs in %v", s.Handle, visible[s.UserID], claims["sub"])
					}
					if again := w.login(w.url, cookie, nil); again.Get("error") != "login_required" {
						t.Errorf("session %s again: %v", s.Handle, again)
					}
				}
			}
			if handed == 0 {
				t.Error("no session was handed over")
			}
		})
	}
}

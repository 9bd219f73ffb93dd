package auth0

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

func refusedWith(t *testing.T, what string, err error, code sdk.Code) {
	t.Helper()
	if f, ok := errors.AsType[*sdk.Failure](err); !ok || f.Code != code || f.Detail == "" {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// TestSetPassword: after it, only the new password opens the account, whether it was
// named by id or by address.
func TestSetPassword(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	id := b.load(light(1))["source-1"].TargetID
	b.server.Put(simulator.User{ID: "auth0|elsewhere", Email: "else@example.com", Connection: "another"})
	for n, change := range []sdk.PasswordChange{{TargetID: id}, {Email: "User1@Example.com"}, {TargetID: "auth0|gone", Email: "user1@example.com"}} {
		password := "a-fresh-password-" + string(rune('a'+n))
		change.Password = sdk.NewSecret(password)
		if err := b.client.SetPassword(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if !b.server.VerifyPassword(id, password) || b.server.VerifyPassword(id, "testpass") {
			t.Errorf("%+v: the new password does not work, or the old one does", change)
		}
	}
	err := b.client.SetPassword(t.Context(), sdk.PasswordChange{TargetID: id, Password: sdk.NewSecret("short")})
	refusedWith(t, "weak", err, sdk.CodePasswordRefused)
	if strings.Contains(err.Error(), "short") {
		t.Errorf("the error shows the password: %v", err)
	}
	for _, change := range []sdk.PasswordChange{{TargetID: "auth0|nobody"}, {Email: "nobody@example.com"}, {Email: "else@example.com"}} {
		change.Password = sdk.NewSecret("a-fresh-password")
		refusedWith(t, "nobody", b.client.SetPassword(t.Context(), change), sdk.CodeNoSuchAccount)
	}
}

// TestStartReset: the browser gets a ticket of the tenant that knows where to go on.
func TestStartReset(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{}, nil)
	id := b.load(light(1))["source-1"].TargetID
	where, err := b.client.StartReset(t.Context(), sdk.Reset{TargetID: id, RedirectURI: "https://app.example.com/login"})
	if err != nil {
		t.Fatal(err)
	}
	ticket, ok := b.server.Tickets()[where]
	if !ok || ticket.UserID != id || ticket.ResultURL != "https://app.example.com/login" {
		t.Errorf("%s: %+v", where, ticket)
	}
	_, err = b.client.StartReset(t.Context(), sdk.Reset{Email: "nobody@example.com"})
	refusedWith(t, "nobody", err, sdk.CodeNoSuchAccount)
	poor := start(t, simulator.Options{Scopes: loadScopes}, nil)
	id = poor.load(light(1))["source-1"].TargetID
	if _, err := poor.client.StartReset(t.Context(), sdk.Reset{TargetID: id}); err == nil || !strings.Contains(err.Error(), "create:user_tickets") {
		t.Errorf("without the scope: %v", err)
	}
}

// TestExchange: an assertion becomes tokens of the user whom the tenant's Action names.
func TestExchange(t *testing.T) {
	t.Parallel()
	var id string
	b := start(t, simulator.Options{ExchangeType: "urn:supertokens:session", Exchange: func(token string) (string, string) {
		if token == "signed" {
			return id, ""
		}
		return "", "the signature is wrong"
	}}, nil)
	id = b.load(light(1))["source-1"].TargetID
	for client, want := range map[string]string{"": "stetl", "stetl": "stetl", simulator.PublicClient: simulator.PublicClient} {
		tokens, err := b.client.Exchange(t.Context(), sdk.Assertion{JWT: sdk.NewSecret("signed"), ClientID: client, Scope: "openid"})
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			AccessToken string `json:"access_token"`
			IDToken     string `json:"id_token"`
			Scope       string `json:"scope"`
		}
		var claims struct {
			Subject  string `json:"sub"`
			Audience string `json:"aud"`
		}
		if err := json.Unmarshal([]byte(tokens.JSON.Reveal()), &answer); err != nil {
			t.Fatal(err)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(strings.Split(answer.IDToken, ".")[1])
		if err := json.Unmarshal(raw, &claims); err != nil || claims.Subject != id || claims.Audience != want || answer.Scope != "openid" || answer.AccessToken == "" {
			t.Errorf("%q: %+v, %+v, %v", client, answer, claims, err)
		}
	}
	_, err := b.client.Exchange(t.Context(), sdk.Assertion{JWT: sdk.NewSecret("forged")})
	refusedWith(t, "forged", err, sdk.CodeTargetRefused)
	b = start(t, simulator.Options{ExchangeType: "urn:supertokens:session", Exchange: func(string) (string, string) { return id, "" }}, map[string]any{"exchange_token_type": "urn:another"})
	_, err = b.client.Exchange(t.Context(), sdk.Assertion{JWT: sdk.NewSecret("signed")})
	refusedWith(t, "no profile", err, sdk.CodeTargetRefused)
}

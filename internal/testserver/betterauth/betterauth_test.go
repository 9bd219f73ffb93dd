//go:build unix

package betterauth_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stetl/stetl/internal/testserver/betterauth"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestSignIn: the server knows who it has signed up itself.
func TestSignIn(t *testing.T) {
	t.Parallel()
	dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	s := betterauth.Start(t, betterauth.Options{DSN: dsn, Verify: "../../../plugins/generic-sql/verify/index.js"})
	body, err := json.Marshal(map[string]string{"email": "ada@example.com", "password": "correct horse", "name": "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/auth/sign-up/email", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
	for password, right := range map[string]bool{"correct horse": true, "wrong horse": false} {
		if id, err := s.SignIn(t.Context(), "ada@example.com", password); err != nil || (id != "") != right {
			t.Errorf("%s: %q, %v", password, id, err)
		}
	}
}

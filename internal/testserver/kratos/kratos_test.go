//go:build unix

package kratos_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stetl/stetl/internal/testserver/kratos"
)

// TestSignIn: the server knows who was made at its API for administrators.
func TestSignIn(t *testing.T) {
	t.Parallel()
	s := kratos.Start(t)
	if s.Stored(t) != "" {
		t.Error("somebody is there from the beginning")
	}
	body, err := json.Marshal(map[string]any{
		"schema_id": "default", "traits": map[string]any{"email": "ada@example.com"},
		"credentials": map[string]any{"password": map[string]any{"config": map[string]any{"password": "correct horse 1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Admin+"/admin/identities", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
	for password, right := range map[string]bool{"correct horse 1": true, "wrong horse 1": false} {
		id, err := s.SignIn(t.Context(), "ada@example.com", password)
		if err != nil || (id != "") != right {
			t.Errorf("%s: %q, %v", password, id, err)
		}
		if !right {
			continue
		}
		if i, err := s.Identity(t.Context(), id); err != nil || i["state"] != "active" {
			t.Errorf("the identity: %v, %v", i["state"], err)
		}
	}
}

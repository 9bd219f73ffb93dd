package keycloak

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// A server that answers for more users than it was sent is not believed.
func TestAnswersForOthers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/token") {
			_, _ = io.WriteString(w, `{"access_token": "x", "expires_in": 300}`)
			return
		}
		_, _ = io.WriteString(w, `[{"status": 201}, {"status": 201}]`)
	}))
	t.Cleanup(server.Close)
	a, err := newAPI(Config{URL: server.URL, Realm: "people", ClientID: "stetl"}.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	results, err := a.loadUsers(t.Context(), []json.RawMessage{[]byte(`{}`)})
	if len(results) > 0 || err == nil || !strings.Contains(err.Error(), "for 2 users of 1") {
		t.Errorf("%v, %v", results, err)
	}
}

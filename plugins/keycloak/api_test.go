package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
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
	results, err := provided{a}.loadUsers(t.Context(), []json.RawMessage{[]byte(`{}`)})
	if len(results) > 0 || err == nil || !strings.Contains(err.Error(), "for 2 users of 1") {
		t.Errorf("%v, %v", results, err)
	}
}

type sentKey struct{}

// forgetful loses the first answer to every request with users, and has them compared
// with those that are meant.
type forgetful struct {
	t    *testing.T
	mu   sync.Mutex
	lost map[string]bool
}

func (f *forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = r.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	answer := func(text string) *http.Response {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
	}
	if strings.HasSuffix(r.URL.Path, "/token") {
		return answer(`{"access_token": "x", "expires_in": 300}`), nil
	}
	want, _ := r.Context().Value(sentKey{}).(string)
	if string(body) != want {
		f.t.Errorf("sent %s, want %s", body, want)
	}
	f.mu.Lock()
	first := !f.lost[want]
	f.lost[want] = true
	f.mu.Unlock()
	if first {
		return nil, errors.New("reset by peer")
	}
	return answer(`[{"status": 201}]`), nil
}

// A request that is sent again has the users of the first time, whatever others send
// meanwhile.
func TestUsersOfRepeatedRequests(t *testing.T) {
	t.Parallel()
	c := Config{URL: "http://server.test", Realm: "people", ClientID: "stetl"}.withDefaults()
	a := newAPIOver(&forgetful{t: t, lost: map[string]bool{}}, c, sdk.Env{Log: slog.New(slog.DiscardHandler)}, httpx.Options{FirstWait: time.Millisecond})
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			user := fmt.Sprintf(`{"id":"%d","username":"%s"}`, i, strings.Repeat("x", i))
			ctx := context.WithValue(t.Context(), sentKey{}, "["+user+"]")
			if results, err := (provided{a}).loadUsers(ctx, []json.RawMessage{[]byte(user)}); err != nil || len(results) != 1 {
				t.Errorf("%v, %v", results, err)
			}
		})
	}
	group.Wait()
}

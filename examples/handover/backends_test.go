//go:build unix

package handover_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// backEnd starts the example of a language and returns its address.
func backEnd(t *testing.T, language string, env ...string) string {
	t.Helper()
	testenv.Slow(t, "starts programs")
	var cmd *exec.Cmd
	switch language {
	case "go":
		program := filepath.Join(t.TempDir(), "server")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./go/server").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		cmd = exec.Command(program)
	case "node":
		cmd = exec.Command("node", "node/server.mjs")
	case "python":
		cmd = exec.Command("python3", "-B", "python/server.py")
	}
	if cmd.Err != nil {
		testenv.Skip(t, cmd.Path, cmd.Err.Error())
	}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	cmd.Env = append(os.Environ(), append(env, "LISTEN="+address, "CLIENT_ID=app", "BROWSER_FILES=browser")...)
	proc.Serve(t, "kit", cmd, "listening", time.Minute)
	return "http://" + address
}

// fakeBridge answers in order what a test has it answer, and keeps the tokens it was asked
// with.
type fakeBridge struct {
	mu      sync.Mutex
	answers []func(http.ResponseWriter)
	tokens  []string
}

func (b *fakeBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	b.tokens = append(b.tokens, token)
	if r.Method != http.MethodPost || r.URL.Path != "/bridge/handover" || len(b.answers) == 0 {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	next := b.answers[0]
	b.answers = b.answers[1:]
	next(w)
}

// expect sets what is answered next; asked returns the tokens since then.
func (b *fakeBridge) expect(answers ...func(http.ResponseWriter)) (asked func() []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers, b.tokens = answers, nil
	return func() []string {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Clone(b.tokens)
	}
}

func says(status int, retryAfter, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// The three back ends do the same about every answer of the bridge.
func TestBackEnds(t *testing.T) {
	t.Parallel()
	const tokens = `{"access_token":"new","token_type":"Bearer","expires_in":60}`
	good, busy := says(http.StatusOK, "", tokens), says(http.StatusServiceUnavailable, "0", "busy")
	hangUp := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	for _, language := range []string{"go", "node", "python"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			bridge := &fakeBridge{}
			at := httptest.NewServer(bridge)
			t.Cleanup(at.Close)
			app := backEnd(t, language, "ISSUER="+at.URL+"/bridge", "TARGET=http://127.0.0.1:1")
			for _, c := range []struct {
				name    string
				header  string
				value   string
				answers []func(http.ResponseWriter)
				status  int
				reason  string
				asked   []string
			}{
				{"a bearer token", "Authorization", "Bearer old", []func(http.ResponseWriter){good}, 200, "", []string{"old"}},
				{"a cookie", "Cookie", `odd={"a":1}; sAccessToken=o%2Fld; sRefreshToken=no`, []func(http.ResponseWriter){good}, 200, "", []string{"o/ld"}},
				{"a refresh token alone", "Cookie", "sRefreshToken=r.V2", []func(http.ResponseWriter){good}, 200, "", []string{"r.V2"}},
				{"nothing", "X-Other", "x", nil, 401, "no_session", nil},
				{"no session", "Authorization", "Bearer old", []func(http.ResponseWriter){says(401, "", "{}")}, 401, "no_session", []string{"old"}},
				{"not loaded", "Authorization", "Bearer old", []func(http.ResponseWriter){says(403, "", "{}")}, 403, "not_loaded", []string{"old"}},
				{"busy for a moment", "Authorization", "Bearer old", []func(http.ResponseWriter){busy, busy, good}, 200, "", []string{"old", "old", "old"}},
				{"too fast for a moment", "Authorization", "Bearer old", []func(http.ResponseWriter){says(429, "0", ""), good}, 200, "", []string{"old", "old"}},
				{"busy", "Authorization", "Bearer old", []func(http.ResponseWriter){busy, busy, busy, good}, 503, "later", []string{"old", "old", "old"}},
				{"locked out", "Authorization", "Bearer old", []func(http.ResponseWriter){says(429, "900", ""), good}, 503, "later", []string{"old"}},
				{"the target is down", "Authorization", "Bearer old", []func(http.ResponseWriter){says(502, "", "{}"), good}, 503, "later", []string{"old"}},
				{"no answer", "Authorization", "Bearer old", []func(http.ResponseWriter){hangUp, good}, 503, "later", []string{"old"}},
				{"half an answer", "Authorization", "Bearer old", []func(http.ResponseWriter){says(200, "", `{"access_`), good}, 503, "later", []string{"old"}},
			} {
				asked := bridge.expect(c.answers...)
				got, cookies := post(t, app+"/switch", c.header, c.value)
				if got.status != c.status || got.Reason != c.reason || c.status == http.StatusOK && got.AccessToken != "new" {
					t.Errorf("%s: %+v", c.name, got)
				}
				if now := asked(); !slices.Equal(now, c.asked) {
					t.Errorf("%s: the bridge was asked with %q, want %q", c.name, now, c.asked)
				}
				ended := strings.Join(cookies, " ")
				if c.status == http.StatusOK != strings.Contains(ended, "sAccessToken=; Path=/; Max-Age=0") ||
					c.status == http.StatusOK != strings.Contains(ended, "sRefreshToken=; Path=/auth/session/refresh; Max-Age=0") {
					t.Errorf("%s: cookies %q", c.name, cookies)
				}
			}
		})
	}
}

type switched struct {
	AccessToken string `json:"access_token"`
	Reason      string `json:"reason"`
	status      int
}

func post(t *testing.T, url, header, value string) (got switched, cookies []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	got.status = resp.StatusCode
	return got, resp.Header.Values("Set-Cookie")
}

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	m, err := newMetrics("keycloak")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.serve(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.outcome(pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: "someone", Action: pluginapi.Created}})
	}
	m.outcome(pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: "someone-else", Action: pluginapi.Rejected, Code: diag.LoadIDInvalid, Detail: "ada@example.org"}})
	m.progress(engine.Progress{Phase: engine.Loading, Done: 4, Total: 10})
	m.outcome(pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: "third", Action: pluginapi.Unchanged}})
	m.countUnreported(pluginapi.Summary{Unchanged: 5})
	m.countUnreported(pluginapi.Summary{Unchanged: 5})
	m.pulse(pluginapi.Pulse{Limit: 8, Wait: 1500 * time.Millisecond})
	m.silence(plugin.Silence{For: 75 * time.Second})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.server.Addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	for _, want := range []string{
		`stetl_accounts_total{outcome="created",plugin="keycloak"} 3`, `stetl_accounts_total{outcome="in_doubt",plugin="keycloak"} 0`,
		`stetl_accounts_total{outcome="unchanged",plugin="keycloak"} 5`,
		`stetl_accounts_not_loaded_total{code="load.id_invalid",plugin="keycloak"} 1`, `stetl_phase_accounts{phase="load",plugin="keycloak"} 10`,
		`stetl_phase_accounts_done{phase="load",plugin="keycloak"} 4`, `stetl_target_request_limit{plugin="keycloak"} 8`, `stetl_target_wait_seconds_total{plugin="keycloak"} 1.5`,
		`stetl_plugin_silence_seconds{plugin="keycloak"} 75`,
	} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	for _, personal := range []string{"someone", "ada@"} {
		if strings.Contains(string(body), personal) {
			t.Errorf("the metrics name %q", personal)
		}
	}
	m.stop(t.Context())
	if again, err := http.DefaultClient.Do(request); err == nil {
		_ = again.Body.Close()
		t.Error("it still answers")
	}
	if err := m.serve(t.Context(), "nowhere:x"); exitCode(err) != exitUsage {
		t.Errorf("a wrong address: %v", err)
	}
}

// TestRunIsSentToACollector: spans of the command and its phases, and the counts; nothing
// about anybody.
func TestRunIsSentToACollector(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "runs the program")
	var mu sync.Mutex
	sent := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		sent[r.URL.Path] += string(body)
	}))
	defer collector.Close()
	dir := t.TempDir()
	dump, err := filepath.Abs(filepath.Join(projectRoot, "testdata", "supertokens", "core-10.1.4.sql"))
	if err != nil {
		t.Fatal(err)
	}
	settings := "source: {dump: " + dump + "}\ntarget: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}\n"
	if err := os.WriteFile(filepath.Join(dir, "run.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runStetl(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL}, "run", "--config", filepath.Join(dir, "run.yaml"), "--quiet")
	if r.code != exitRejects {
		t.Fatalf("%+v", r)
	}
	mu.Lock()
	defer mu.Unlock()
	for path, words := range map[string][]string{
		"/v1/traces": {"stetl run", "survey", "load", "process.exit.code"}, "/v1/metrics": {"stetl.accounts", "created", "map.duplicate_username", "keycloak"},
	} {
		for _, word := range words {
			if !strings.Contains(sent[path], word) {
				t.Errorf("%s: %q was not sent", path, word)
			}
		}
		for _, personal := range []string{"67f9dbfb-530e-4677-99cd-1d80c41fb50c", "acme.example", dump} {
			if strings.Contains(sent[path], personal) {
				t.Errorf("%s: %q was sent", path, personal)
			}
		}
	}
}

//go:build unix

package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
)

func liveConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stetl.yaml")
	writeFile(t, path, "source: {url: \"${env:DATABASE}\"}\ntarget: {plugin: keycloak}\n")
	return path
}

func TestSessionsAreCountedAndRevoked(t *testing.T) {
	t.Parallel()
	const name = "core-9.3.0"
	config, env := liveConfig(t), []string{"DATABASE=" + fixture.Restore(t, name)}
	type counts struct {
		Live     int            `json:"live"`
		ByTenant map[string]int `json:"by_tenant"`
		Reset    struct {
			Live, Expired int
		} `json:"reset_tokens"`
		Expired int `json:"expired"`
	}
	stats := func() (c counts) {
		t.Helper()
		r := runStetl(t, env, "sessions", "stats", "--config", config, "--json")
		if err := json.Unmarshal([]byte(r.stdout), &c); err != nil || r.code != 0 {
			t.Fatalf("exit %d, %v: %s", r.code, err, r.stderr)
		}
		return c
	}
	before := stats()
	tr := fixture.Read(t, name)
	var user, tenant string
	total, ofUser, ofTenant := 0, 0, 0
	for _, s := range tr.Sessions {
		if s.AppID != "public" || s.Revoked {
			continue
		}
		total++
		if user == "" && !s.Expired && s.TenantID == "public" {
			user = s.UserID
		}
		if s.TenantID != "public" {
			tenant = s.TenantID
		}
	}
	for _, s := range tr.Sessions {
		if s.AppID == "public" && !s.Revoked && s.UserID == user {
			ofUser++
		}
		if s.AppID == "public" && !s.Revoked && s.TenantID == tenant {
			ofTenant++
		}
	}
	if before.Live+before.Expired != total || before.Reset.Live+before.Reset.Expired == 0 {
		t.Errorf("counted %+v, the truth has %d sessions", before, total)
	}
	if r := runStetl(t, env, "sessions", "revoke", "--config", config, "--all"); r.code != exitUsage || !strings.Contains(r.stderr, "sessions of") {
		t.Errorf("without an answer: exit %d, %s", r.code, r.stderr)
	}
	for _, args := range [][]string{{}, {"--all", "--user", "x"}} {
		if r := runStetl(t, env, append([]string{"sessions", "revoke", "--config", config, "--yes"}, args...)...); r.code != exitUsage {
			t.Errorf("%v: exit %d", args, r.code)
		}
	}
	if after := stats(); after.Live != before.Live {
		t.Fatalf("sessions are gone without an answer: %+v", after)
	}
	left := total
	for _, c := range []struct {
		args []string
		gone int
	}{
		{[]string{"--user", user}, ofUser}, {[]string{"--tenant", tenant}, ofTenant}, {[]string{"--all"}, total - ofUser - ofTenant},
	} {
		r := runStetl(t, env, append([]string{"sessions", "revoke", "--config", config, "--yes", "--json"}, c.args...)...)
		var out struct{ Revoked int }
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.Revoked != c.gone {
			t.Errorf("%v: revoked %d, want %d: %s", c.args, out.Revoked, c.gone, r.stderr)
		}
		left -= c.gone
		if after := stats(); after.Live+after.Expired != left {
			t.Errorf("%v: %d sessions are left, want %d", c.args, after.Live+after.Expired, left)
		}
	}
}

func TestKeysExport(t *testing.T) {
	t.Parallel()
	config, env := liveConfig(t), []string{"DATABASE=" + fixture.Restore(t, "core-5.0.0")}
	public := runStetl(t, env, "keys", "export", "--config", config)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(public.stdout), &set); err != nil || len(set.Keys) < 2 {
		t.Fatalf("%v: %s%s", err, public.stdout, public.stderr)
	}
	for _, k := range set.Keys {
		if k["n"] == "" || k["kid"] == "" || k["d"] != "" {
			t.Errorf("key %s is not a public one", k["kid"])
		}
	}
	if r := runStetl(t, env, "keys", "export", "--config", config, "--format", "pem"); strings.Count(r.stdout, "BEGIN PUBLIC KEY") < 2 || strings.Contains(r.stdout, "PRIVATE") {
		t.Errorf("PEM: %s%s", r.stdout, r.stderr)
	}
	if r := runStetl(t, env, "keys", "export", "--config", config, "--private"); r.code != exitUsage || strings.Contains(r.stdout, `"d"`) {
		t.Errorf("private keys without a file: exit %d", r.code)
	}
	out := filepath.Join(t.TempDir(), "keys.json")
	r := runStetl(t, env, "keys", "export", "--config", config, "--private", "--out", out)
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o600 || r.stdout != "" {
		t.Errorf("private keys: %v, %v: %s", info, err, r.stderr)
	}
	if raw, err := os.ReadFile(out); err != nil || !strings.Contains(string(raw), `"d":`) {
		t.Errorf("no private keys in the file: %v", err)
	}
}

//go:build unix

// Package bridge_test has the programs that the recipes are for look at them.
package bridge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// program finds what a recipe is for: on the machine, or in a package of Debian.
func program(t *testing.T, name, inPackage string) string {
	t.Helper()
	testenv.Slow(t, "needs "+name)
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if inPackage == "" {
		testenv.Skip(t, name, "it is not installed")
	}
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Skip(t, name, "it is not installed, and neither is "+tool+" to fetch it with")
		}
	}
	dir, err := testenv.Cached("debian-"+name, func(dir string) error {
		defer testenv.Wait(t, "apt-get to fetch "+name)()
		fetch := exec.Command("apt-get", "download", name)
		fetch.Dir = dir
		if out, err := fetch.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("apt-get left %d packages: %w", len(found), err)
		}
		if out, err := exec.Command("dpkg-deb", "-x", found[0], dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return os.Remove(found[0])
	})
	if err != nil {
		testenv.Skip(t, name, err.Error())
	}
	return filepath.Join(dir, inPackage)
}

// recipe is a file of this folder with other words in the place of some.
func recipe(t *testing.T, name string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("%s does not say %q", name, replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(string(text))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate writes one for the loopback address, and its key.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"api.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

// behind is what stands behind a proxy: it says what has come.
func behind(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s for %q, %d bytes of cookies", r.URL.Path, r.Header.Values("X-Forwarded-For"), len(r.Header.Get("Cookie")))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// visit asks a proxy as somebody who would like to be somebody else, with large cookies.
func visit(t *testing.T, address, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "api.example.com"
	req.Header.Set("X-Forwarded-For", "203.0.113.7")
	req.Header.Set("Cookie", "sAccessToken="+strings.Repeat("a", 12_000))
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "api.example.com"}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

// paths are those of the bridge, and one that is none.
var paths = map[string]bool{
	"/auth/session/refresh/bridge/authorize?code=SECRET-IN-QUERY": true, "/auth/session/refresh/bridge/.well-known/openid-configuration": true, "/.well-known/jwks.json": true,
	"/auth/reset-password?token=SECRET-IN-QUERY": true, "/auth/verify-email?token=SECRET-IN-QUERY": true, "/auth/user/password/reset": true, "/auth/acme/user/email/verify": true,
	"/auth/session/refresh": false, "/auth/a/b/user/password/reset": false,
}

func checkPaths(t *testing.T, address string) {
	t.Helper()
	for path, ours := range paths {
		bare, _, _ := strings.Cut(path, "?")
		want := fmt.Sprintf(`200 %s for ["127.0.0.1"], 12013 bytes of cookies`, bare)
		if got := visit(t, address, path); (got == want) != ours {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestNginx(t *testing.T) {
	t.Parallel()
	nginx := program(t, "nginx", "usr/sbin/nginx")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	certificate(t, certFile, keyFile)
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	site := recipe(t, "nginx.conf", "listen 443 ssl", "listen "+address+" ssl", "/etc/ssl/api.example.com.pem", certFile, "/etc/ssl/api.example.com.key", keyFile,
		"/var/log/nginx", dir, "server 127.0.0.1:8480", "server "+behind(t))
	var temporary strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	config := filepath.Join(dir, "nginx.conf")
	write(t, config, fmt.Sprintf("daemon off; error_log stderr; pid %s/pid; events {}\nhttp { access_log off;\n%s%s}\n", dir, temporary.String(), site))
	if out, err := exec.CommandContext(t.Context(), nginx, "-t", "-c", config).CombinedOutput(); err != nil || strings.Contains(string(out), "[warn]") {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	begin(t, exec.Command(nginx, "-c", config), "https://"+address)
	checkPaths(t, "https://"+address)
	log, err := os.ReadFile(filepath.Join(dir, "stetl.log"))
	if err != nil || !strings.Contains(string(log), "GET /auth/reset-password 200") || strings.Contains(string(log), "SECRET-IN-QUERY") {
		t.Errorf("log: %s, %v", log, err)
	}
}

// begin starts a proxy and waits until it answers.
func begin(t *testing.T, cmd *exec.Cmd, address string) {
	t.Helper()
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	dir, err := proc.TempDir("proxy")
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(cmd, "TERM", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "api.example.com"}}).DialContext(ctx, "tcp", strings.TrimPrefix(address, "https://"))
		cancel()
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-p.Done():
			t.Fatalf("%s has ended: %v", cmd.Path, p.Err())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestCaddy(t *testing.T) {
	t.Parallel()
	caddy := program(t, "caddy", "usr/bin/caddy")
	dir := t.TempDir()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	certificate(t, certFile, keyFile)
	// The name gets a certificate of this test, and another port.
	site := recipe(t, "Caddyfile", "api.example.com {", fmt.Sprintf("https://api.example.com:%d {\n\ttls %s %s", port, certFile, keyFile), "127.0.0.1:8480", behind(t), "\t\t\thealth_uri /readyz\n", "")
	config := filepath.Join(dir, "Caddyfile")
	write(t, config, "{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system "+dir+"\n}\n"+site)
	if out, err := exec.CommandContext(t.Context(), caddy, "validate", "--adapter", "caddyfile", "--config", config).CombinedOutput(); err != nil {
		t.Fatalf("caddy validate: %v\n%s", err, out)
	}
	address := fmt.Sprintf("https://127.0.0.1:%d", port)
	begin(t, exec.Command(caddy, "run", "--adapter", "caddyfile", "--config", config), address)
	checkPaths(t, address)
}

func TestSystemd(t *testing.T) {
	t.Parallel()
	analyze := program(t, "systemd-analyze", "")
	unit := filepath.Join(t.TempDir(), "stetl-bridge.service")
	write(t, unit, recipe(t, "stetl-bridge.service", "/usr/local/bin/stetl", "/bin/true"))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
	if err != nil || strings.Contains(string(out), filepath.Base(unit)) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

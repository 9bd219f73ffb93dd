//go:build unix

package betterauth

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

//go:embed server.mjs package.json
var source embed.FS

const (
	installTimeout = 10 * time.Minute
	startTimeout   = time.Minute
	// Secret is the application's.
	Secret = "2f1c5b0d9e8a47c6b3d4e5f60718293a"
)

// Options say how the server is set up.
type Options struct {
	// DSN is its database, which gets the server's tables.
	DSN string
	// Verify is the file of the hook for old hashes.
	Verify string
	// SignerKey is that of Firebase, in base64.
	SignerKey string
	// Bridge is the issuer of a bridge at which people with an old session sign in, for the
	// client better-auth with its secret. It has to be there when the server starts.
	Bridge, BridgeSecret string
	// Port is where the server listens, by default one that is free.
	Port int
}

// Server is a running server.
type Server struct {
	// URL is its address, without the path of its API.
	URL string
	// Origin is the same one as browsers have it.
	Origin string
}

// Node is the program, and a folder whose modules the tests of this repository need.
func Node(tb testing.TB) (node, modules string) {
	tb.Helper()
	testenv.Slow(tb, "needs Node.js")
	node, err := exec.LookPath("node")
	if err != nil {
		testenv.Skip(tb, "Node.js", err.Error())
	}
	wanted, err := source.ReadFile("package.json")
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := testenv.Cached("better-auth-1.7.6-3", func(dir string) error {
		defer testenv.Wait(tb, "npm to fetch Better Auth")()
		if err := os.WriteFile(filepath.Join(dir, "package.json"), wanted, 0o600); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(tb.Context(), installTimeout)
		defer cancel()
		// The versions that its packages want of each other exclude some that its own dependencies bring.
		cmd := exec.CommandContext(ctx, "npm", append([]string{"install", "--legacy-peer-deps"}, testenv.NPM()...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm install: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(tb, "Better Auth", err.Error())
	}
	return node, filepath.Join(dir, "node_modules")
}

// Folder makes a folder with files, by their names there, that finds the modules.
func Folder(tb testing.TB, modules string, files map[string]string) string {
	tb.Helper()
	dir, err := filepath.EvalSymlinks(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Start starts a server, whose migrations make its tables.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	node, modules := Node(tb)
	verify, err := os.ReadFile(o.Verify)
	if err != nil {
		tb.Fatal(err)
	}
	script, err := source.ReadFile("server.mjs")
	if err != nil {
		tb.Fatal(err)
	}
	dir := Folder(tb, modules, map[string]string{"server.mjs": string(script), "verify.js": string(verify), "package.json": `{"type": "module"}`})
	free := o.Port
	if free == 0 {
		if free, err = proc.FreePort(); err != nil {
			tb.Fatal(err)
		}
	}
	port := strconv.Itoa(free)
	cmd := exec.Command(node, "server.mjs") //nolint:noctx // ended by its guard
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PORT="+port, "DSN="+o.DSN, "SECRET="+Secret, "SIGNER_KEY="+o.SignerKey, "RP_ID=localhost", "NO_COLOR=1", "BRIDGE="+o.Bridge, "BRIDGE_SECRET="+o.BridgeSecret)
	defer testenv.Wait(tb, "Better Auth")()
	proc.Serve(tb, "stetl-better-auth", cmd, "ready at ", startTimeout)
	return &Server{URL: "http://127.0.0.1:" + port, Origin: "http://localhost:" + port}
}

// Organizations are the ids of those of which somebody is a member, as the server shows them
// to who is signed in.
func (s *Server) Organizations(ctx context.Context, email, password string) (ids []string, err error) {
	res, err := s.post(ctx, email, password)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/auth/organization/list", http.NoBody)
	if err != nil {
		return nil, err
	}
	for _, c := range res.Cookies() {
		req.AddCookie(c)
	}
	if res, err = http.DefaultClient.Do(req); err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var all []struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("the list of organizations (%d): %w", res.StatusCode, err)
	}
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return ids, nil
}

// post asks for a sign-in.
func (s *Server) post(ctx context.Context, email, password string) (*http.Response, error) {
	body, err := json.Marshal(map[string]string{"email": email, "password": password})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/api/auth/sign-in/email", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(req)
}

// SignIn tries a password and returns the id of who is signed in, empty where it was
// refused.
func (s *Server) SignIn(ctx context.Context, email, password string) (id string, err error) {
	res, err := s.post(ctx, email, password)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized && strings.Contains(string(text), "INVALID_EMAIL_OR_PASSWORD"):
		return "", nil
	case res.StatusCode != http.StatusOK:
		return "", fmt.Errorf("sign-in answers %d: %s", res.StatusCode, text)
	}
	var in struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		TwoFactorRedirect bool `json:"twoFactorRedirect"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return "", err
	}
	return in.User.ID, nil
}

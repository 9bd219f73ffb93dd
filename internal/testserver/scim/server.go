//go:build unix

package scim

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
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

//go:embed scimmy.mjs package.json requirements.txt
var source embed.FS

// Token is what the servers want as a bearer.
const Token = "token-of-the-scim-test"

const (
	installTimeout = 10 * time.Minute
	startTimeout   = time.Minute
)

// Server is a running server.
type Server struct {
	// URL is its base address.
	URL string
	// stored is where SCIMMY shows its memory.
	stored string
}

// Options say which server to run.
type Options struct {
	// Delay is added before every answer (SCIMMY).
	Delay time.Duration
	// Extension is the name of stetl's extension, if it is to be declared (SCIMMY).
	Extension string
	// Schema is the definition of an extension of users to declare (scim2-server).
	Schema []byte
}

// StartSCIMMY starts a server of scimmy-routers.
func StartSCIMMY(tb testing.TB, o Options) *Server {
	tb.Helper()
	testenv.Slow(tb, "needs SCIMMY")
	node, err := exec.LookPath("node")
	if err != nil {
		testenv.Skip(tb, "SCIMMY", err.Error())
	}
	dir, err := testenv.Cached("scimmy-1.3.5-1.3.2", func(dir string) error {
		defer testenv.Wait(tb, "npm to fetch SCIMMY")()
		return install(tb.Context(), dir, []string{"package.json"}, "npm", append([]string{"install"}, testenv.NPM()...)...)
	})
	if err != nil {
		testenv.Skip(tb, "SCIMMY", err.Error())
	}
	script, err := source.ReadFile("scimmy.mjs")
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(node, "--input-type=module", "--eval", string(script)) //nolint:noctx // ended by its guard
	cmd.Dir = dir                                                              // where its modules are
	cmd.Env = append(os.Environ(), "TOKEN="+Token, "EXTENSION="+o.Extension, "DELAY="+strconv.FormatInt(o.Delay.Milliseconds(), 10))
	defer testenv.Wait(tb, "SCIMMY")()
	line := proc.Serve(tb, "stetl-scim", cmd, "port ", startTimeout)
	base := "http://127.0.0.1:" + strings.TrimPrefix(line, "port ")
	return &Server{URL: base + "/scim/v2", stored: base + "/stored"}
}

// StartSCIM2 starts scim2-server.
func StartSCIM2(tb testing.TB, o Options) *Server {
	tb.Helper()
	testenv.Slow(tb, "needs scim2-server")
	dir, err := testenv.Cached("scim2-server-0.8.3", func(dir string) error {
		defer testenv.Wait(tb, "pip to fetch scim2-server")()
		if err := install(tb.Context(), dir, []string{"requirements.txt"}, "python3", "-m", "venv", "env"); err != nil {
			return err
		}
		return install(tb.Context(), dir, nil, filepath.Join(dir, "env", "bin", "pip"), "install", "--quiet", "--retries", "8", "-r", "requirements.txt")
	})
	if err != nil {
		testenv.Skip(tb, "scim2-server", err.Error())
	}
	var args []string
	if o.Schema != nil {
		args = declare(tb, StartSCIM2(tb, Options{}), o.Schema)
	}
	port, err := proc.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	args = append(args, "--port", strconv.Itoa(port), "--bearer-token", Token)
	cmd := exec.Command(filepath.Join(dir, "env", "bin", "scim2-server"), args...) //nolint:noctx // ended by its guard
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	defer testenv.Wait(tb, "scim2-server")()
	line := proc.Serve(tb, "stetl-scim", cmd, "Serving SCIM on ", startTimeout)
	return &Server{URL: strings.TrimPrefix(line, "Serving SCIM on ")}
}

// install fills a cache folder by one command.
func install(ctx context.Context, dir string, files []string, name string, args ...string) error {
	for _, f := range files {
		b, err := source.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o600); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, out)
	}
	return nil
}

// declare writes the schemas of a plain server and one more to files, and returns
// the arguments that name them.
func declare(tb testing.TB, plain *Server, schema []byte) []string {
	tb.Helper()
	var added map[string]any
	if err := json.Unmarshal(schema, &added); err != nil {
		tb.Fatal(err)
	}
	schemas := append(plain.list(tb, "/Schemas"), added)
	types := plain.list(tb, "/ResourceTypes")
	for _, t := range types {
		if t["id"] == "User" {
			list, _ := t["schemaExtensions"].([]any)
			t["schemaExtensions"] = append(list, map[string]any{"schema": added["id"], "required": false})
		}
	}
	dir := tb.TempDir()
	var args []string
	for name, v := range map[string]any{"schema": schemas, "resource-type": types} {
		b, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			tb.Fatal(err)
		}
		args = append(args, "--"+name, path)
	}
	return args
}

// Stored is what the server holds, by a way that the plugin does not use: SCIMMY's
// own memory, or else whole pages of the lists.
func (s *Server) Stored(tb testing.TB) (users, groups []map[string]any) {
	tb.Helper()
	if s.stored == "" {
		return s.list(tb, "/Users?count=1000"), s.list(tb, "/Groups?count=1000")
	}
	var all struct{ Users, Groups []map[string]any }
	s.get(tb, s.stored, &all)
	return all.Users, all.Groups
}

func (s *Server) list(tb testing.TB, path string) []map[string]any {
	tb.Helper()
	var page struct {
		TotalResults int
		Resources    []map[string]any
	}
	s.get(tb, s.URL+path, &page)
	if page.TotalResults != len(page.Resources) {
		tb.Fatalf("%s shows %d of %d", path, len(page.Resources), page.TotalResults)
	}
	return page.Resources
}

func (s *Server) get(tb testing.TB, url string, into any) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		tb.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || json.Unmarshal(b, into) != nil {
		tb.Fatalf("GET %s answers %d: %.300s", url, res.StatusCode, b)
	}
}

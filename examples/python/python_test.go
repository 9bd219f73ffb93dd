// Package python_test runs the target plugin in this folder the way an operator
// would: installed beside stetl, started by it, loaded twice.
package python_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	_ "github.com/stetl/stetl/core/pluginpb" // the protocol as it is
	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const name = "ndjson-py"

// installed runs install.sh, once for each state of the sources, and returns the
// folder that then holds the plugin.
func installed(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, pattern := range []string{"*.py", "*.sh", "*.toml", "stetl_plugin/*.py", "stetl_plugin/protocol.binpb"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("sources %s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(sum, "%s %d\n%s", file, len(content), content)
		}
	}
	if _, err := exec.LookPath("python3"); err != nil {
		testenv.Skip(t, "Python 3", err.Error())
	}
	dir, err := testenv.Cached("python-plugin-"+hex.EncodeToString(sum.Sum(nil)[:8]), func(dir string) error {
		defer testenv.Wait(t, "pip to fetch what the example needs")()
		out, err := exec.Command("./install.sh", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "the Python packages", err.Error())
	}
	return dir
}

// launch starts the plugin and configures it to write to path.
func launch(t *testing.T, dir, path string) *plugin.Client {
	t.Helper()
	options := plugin.Options{Dir: dir}
	location, err := plugin.Find(name, options)
	if err != nil {
		t.Fatal(err)
	}
	c, err := plugin.Launch(t.Context(), location, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	list, err := c.Configure(t.Context(), fmt.Appendf(nil, `{"path": %q}`, path))
	if err != nil || list.HasErrors() {
		t.Fatalf("configure: %v, %v", err, list)
	}
	return c
}

func TestLoadsTwice(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Python")
	dir, path := installed(t), filepath.Join(t.TempDir(), "users.ndjson")
	const hash = "$2a$11$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
	users := []pluginapi.User{
		{SourceID: "s1", ID: "u1", Username: "a@x", Email: "a@x", Enabled: true, Class: pluginapi.HashCarried, Password: canonical.ParsePasswordHash(hash)},
		{SourceID: "s2", ID: "u2", Username: "ünïcode", Class: pluginapi.NoPassword},
		{SourceID: "s3", Username: "nobody", Class: pluginapi.NoPassword},
		// Beyond the 4 MiB that gRPC takes by default.
		{SourceID: "s4", ID: "u4", Username: "big", Class: pluginapi.NoPassword, Metadata: json.RawMessage(`"` + strings.Repeat("m", 8<<20) + `"`)},
	}
	first := launch(t, dir, path)
	if !first.Capabilities().Accepts(users[0].Password) {
		t.Error("bcrypt is not accepted")
	}
	planned, err := first.Plan(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the plan wrote the file")
	}
	outcomes, err := first.Load(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []pluginapi.Action{pluginapi.Created, pluginapi.Created, pluginapi.Rejected, pluginapi.Created} {
		if outcomes[i].Action != want || planned[i].Action != want {
			t.Errorf("user %s: planned %s, then %s %s, want %s", users[i].SourceID, planned[i].Action, outcomes[i].Action, outcomes[i].Detail, want)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(written), "\n"); n != 3 || !strings.Contains(string(written), hash) {
		t.Errorf("the file has %d lines:\n%.500s", n, written)
	}

	users[1].Username = "changed"
	second, err := launch(t, dir, path).Load(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []pluginapi.Action{pluginapi.Unchanged, pluginapi.Skipped, pluginapi.Rejected, pluginapi.Unchanged} {
		if second[i].Action != want {
			t.Errorf("user %s again: %s %s, want %s", users[i].SourceID, second[i].Action, second[i].Detail, want)
		}
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(written) {
		t.Errorf("the second load changed the file: %v", err)
	}
}

// What a plugin is, is the same in every language.
func TestConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Python")
	options := plugin.Options{Dir: installed(t)}
	location, err := plugin.Find(name, options)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users.ndjson")
	conformance.Test(t, conformance.Suite{
		Start: conformance.Executable(location, options, map[string]any{"path": path}),
		Inspect: func(context.Context) (string, error) {
			content, err := os.ReadFile(path)
			return string(content), err
		},
	})
}

// bcryptVersion is that of the package that the plugin of TestUndoAndLogin checks passwords with.
const bcryptVersion = "4.3.0"

// everything makes the plugin of testdata/everything.py, which finds the packages of the
// installed example where they are.
func everything(t *testing.T) plugin.Options {
	t.Helper()
	example := filepath.Join(installed(t), "stetl-plugin-"+name)
	launcher, err := os.ReadFile(filepath.Join(example, "stetl-plugin-"+name))
	if err != nil {
		t.Fatal(err)
	}
	shebang, _, _ := strings.Cut(string(launcher), "\n")
	bcrypt, err := testenv.Cached("python-bcrypt-"+bcryptVersion, func(dir string) error {
		out, err := exec.Command("python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--target", dir, "bcrypt=="+bcryptVersion).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "bcrypt for Python", err.Error())
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := fmt.Sprintf("%s\nimport sys\nsys.dont_write_bytecode = True\nsys.path[:0] = [%q, %q, %q]\nimport everything\neverything.stetl.serve(everything.Everything())\n",
		shebang, filepath.Join(example, "lib"), bcrypt, filepath.Join(here, "testdata"))
	if err := os.WriteFile(filepath.Join(dir, "stetl-plugin-everything-py"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return plugin.Options{Dir: dir}
}

// What a file that is only appended to cannot do, the package can: change accounts, undo
// that, and sign in.
func TestUndoAndLogin(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Python")
	options := everything(t)
	location, err := plugin.Find("everything-py", options)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	report, err := conformance.Run(t.Context(), conformance.Suite{
		Start: conformance.Executable(location, options, map[string]any{"dir": dir}), Inspect: targettest.Files(dir), Allows: targettest.RoleFiles(dir),
	})
	if err != nil {
		t.Fatal(err)
	}
	targettest.WantTried(t, report, "check", "plan", "update", "undo", "undo-stops", "login", "changed-password", "exchange", "abilities", "rest", "role-permissions")
}

// The package brings the protocol as it is.
func TestProtocolIsCurrent(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("stetl_plugin/protocol.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range set.GetFile() {
		if file.GetPackage() != "stetl.plugin.v1" {
			continue
		}
		found++
		current, err := protoregistry.GlobalFiles.FindFileByPath(file.GetName())
		if err != nil || !proto.Equal(protodesc.ToFileDescriptorProto(current), file) {
			t.Errorf("%s is another one (%v): run make generate", file.GetName(), err)
		}
	}
	if found != 5 {
		t.Errorf("%d files", found)
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Python")
	options := plugin.Options{Dir: installed(t)}
	location, err := plugin.Find(name, options)
	if err != nil {
		t.Fatal(err)
	}
	c, err := plugin.Launch(t.Context(), location, options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	list, err := c.Configure(t.Context(), fmt.Appendf(nil, `{"path": %q}`, t.TempDir()))
	if err != nil || !list.HasErrors() || list[0].Path != "/path" {
		t.Errorf("a folder instead of a file: %v, %v", list, err)
	}
	if _, err := c.Load(t.Context(), []pluginapi.User{{SourceID: "s1", Class: pluginapi.NoPassword}}); err == nil {
		t.Error("load before a successful configure gave no error")
	}
}

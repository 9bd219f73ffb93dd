// Package node_test runs the target plugin in this folder the way an operator would:
// installed as a folder beside stetl, and started by it.
package node_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const name = "ndjson-js"

// installed runs install.sh, once for each state of the sources, and returns the
// folder that then holds the plugin.
func installed(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, pattern := range []string{"*.js", "*.sh", "stetl-plugin/*.js*", "stetl-plugin/proto/stetl/plugin/v1/*.proto"} {
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
	if _, err := exec.LookPath("npm"); err != nil {
		testenv.Skip(t, "npm", err.Error())
	}
	dir, err := testenv.Cached("node-plugin-"+hex.EncodeToString(sum.Sum(nil)[:8]), func(dir string) error {
		defer testenv.Wait(t, "npm to fetch what the example needs")()
		out, err := exec.Command("./install.sh", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "the Node packages", err.Error())
	}
	return dir
}

// What a plugin is, is the same in every language.
func TestConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Node")
	options := plugin.Options{Dir: installed(t)}
	location, err := plugin.Find(name, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Pinnable(location); err != nil {
		t.Errorf("it cannot be pinned: %v", err)
	}
	path := filepath.Join(t.TempDir(), "users.ndjson")
	conformance.Test(t, conformance.Suite{
		Start: conformance.Executable(location, options, map[string]any{"path": path}),
		Inspect: func(context.Context) (string, error) {
			content, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return string(content), err
		},
	})
}

// bcryptVersion is that of the package that the plugin of TestUndoAndLogin checks passwords with.
const bcryptVersion = "3.0.2"

// everything makes the plugin of testdata/everything.js, with the packages of the installed
// example.
func everything(t *testing.T) plugin.Options {
	t.Helper()
	example := filepath.Join(installed(t), "stetl-plugin-"+name)
	launcher, err := os.ReadFile(filepath.Join(example, "stetl-plugin-"+name))
	if err != nil {
		t.Fatal(err)
	}
	shebang, _, _ := strings.Cut(string(launcher), "\n")
	bcrypt, err := testenv.Cached("node-bcryptjs-"+bcryptVersion, func(dir string) error {
		args := append([]string{"install", "--silent", "--no-package-lock", "--prefix", dir, "bcryptjs@" + bcryptVersion}, testenv.NPM()...)
		out, err := exec.Command("npm", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "bcryptjs", err.Error())
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "stetl-plugin-everything-js")
	source, err := os.ReadFile("testdata/everything.js")
	err = errors.Join(err, os.MkdirAll(filepath.Join(folder, "node_modules"), 0o700))
	for module, at := range map[string]string{"stetl-plugin": example, "bcryptjs": bcrypt} {
		err = errors.Join(err, os.Symlink(filepath.Join(at, "node_modules", module), filepath.Join(folder, "node_modules", module)))
	}
	text := shebang + "\nrequire(\"stetl-plugin\").serve(require(\"./everything.js\"));\n"
	err = errors.Join(err, os.WriteFile(filepath.Join(folder, "everything.js"), source, 0o600),
		os.WriteFile(filepath.Join(folder, "stetl-plugin-everything-js"), []byte(text), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	return plugin.Options{Dir: dir}
}

// What a file that is only appended to cannot do, the package can: change accounts, undo
// that, and sign in.
func TestUndoAndLogin(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Node")
	options := everything(t)
	location, err := plugin.Find("everything-js", options)
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
	const ours, theirs = "stetl-plugin/proto", "../../core/pluginpb/proto"
	files, err := filepath.Glob(theirs + "/stetl/plugin/v1/*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(theirs, file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(ours, rel)); err != nil || string(got) != string(want) {
			t.Errorf("%s is another one (%v): run make generate", rel, err)
		}
	}
}

//go:build unix

package plugin

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// A plugin that waits under a debugger serves one host after the other.
func TestAttach(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	debugged := exec.CommandContext(t.Context(), self, "--debug")
	debugged.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := debugged.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := debugged.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	value, ok := strings.CutPrefix(strings.TrimSpace(line), "export "+ReattachVariable+"='")
	if !ok {
		t.Fatalf("it prints %q", line)
	}
	loc, o, l := options(t, "good")
	o.Reattach = strings.TrimSuffix(value, "'")
	for range 2 {
		c, err := Launch(t.Context(), loc, o)
		if err != nil {
			t.Fatal(err)
		}
		if c.Info().PID != debugged.Process.Pid || c.Kill() == nil || c.Forced() {
			t.Errorf("the client believes that the process is its own: %+v", c.Info())
		}
		list, err := c.Configure(t.Context(), []byte(`{}`))
		if err != nil || list.HasErrors() {
			t.Fatalf("configure: %v, %v", list, err)
		}
		if out, err := c.Load(t.Context(), users(3)); err != nil || out[2].Action != pluginapi.Created {
			t.Errorf("load: %v, %v", out, err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(l.String(), "nothing is verified or encrypted") {
		t.Errorf("nobody is warned:\n%s", l)
	}
	other := loc
	other.Name = "other"
	if c, err := attach(t.Context(), other, o); c != nil || err != nil {
		t.Errorf("another plugin: %v, %v", c, err)
	}
	if err := debugged.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := debugged.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	_, err = Launch(t.Context(), loc, o)
	wantError(t, err, &Error{Code: diag.PluginCannotStart, Cause: "does not answer"})
	o.Reattach = "nonsense"
	_, err = Launch(t.Context(), loc, o)
	wantError(t, err, &Error{Code: diag.PluginCannotStart, Cause: "is not what a plugin with --debug prints"})
}

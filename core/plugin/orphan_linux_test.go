package plugin

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A host that is killed leaves no process behind: the kernel sees to it, and
// where it does not, the plugin itself.
func TestHostKilledPluginGone(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"kernel": "", "parent watch": "ORPHANABLE=1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			host := exec.CommandContext(t.Context(), self, "host-until-killed")
			// A killed host cannot remove the folder of its plugin's socket, and makes it
			// elsewhere where the path gets too long.
			temp, err := os.MkdirTemp("", "own-") //nolint:usetesting // see above
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temp) })
			host.Env = append(os.Environ(), env, "TMPDIR="+temp)
			if _, err := host.StdinPipe(); err != nil { // keeps the host waiting
				t.Fatal(err)
			}
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatalf("the host said %q: %v", line, err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			// A descriptor of the process, taken while it certainly lives, tells
			// its end also where nobody collects orphans.
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(fd) }()
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			const patience = 60_000 // milliseconds; it takes one or three seconds
			for {
				n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, patience)
				if err == unix.EINTR {
					continue
				}
				if err != nil || n == 0 {
					t.Fatalf("plugin process %d outlives its host (%v)", pid, err)
				}
				return
			}
		})
	}
}

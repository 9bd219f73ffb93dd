//go:build unix

package e2e_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// spent is the processor time of this process, and of the children that have ended.
func spent(tb testing.TB) (own, children time.Duration) {
	tb.Helper()
	of := func(who int) time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			tb.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return of(syscall.RUSAGE_SELF), of(syscall.RUSAGE_CHILDREN)
}

// spentBy is the processor time of another process.
func spentBy(tb testing.TB, pid string) time.Duration {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		tb.Fatal(err)
	}
	// After the name, which may have anything in it, times are the 12th and 13th field.
	fields := strings.Fields(string(raw[strings.LastIndex(string(raw), ")")+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// serverParts are parts of a server, by the packages of its classes.
var serverParts = []struct{ prefix, name string }{
	{"org.h2.", "the database (H2)"},
	{"io.github.stetl.", "the provider's endpoints"},
	{"org.hibernate.", "Hibernate"},
	{"org.infinispan.", "Infinispan"},
	{"org.keycloak.", "Keycloak"},
	{"com.fasterxml.", "JSON"},
	{"io.agroal.", "connections and transactions"},
	{"com.arjuna.", "connections and transactions"},
	{"io.quarkus.", "the web server"},
	{"io.vertx.", "the web server"},
	{"io.netty.", "the web server"},
	{"org.jboss.resteasy.", "the web server"},
}

// shares reads a recording of the Java machine: of its samples, how many were in which part
// of the server, by the innermost frame that belongs to one.
func shares(tb testing.TB, recording string) (map[string]int, int) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "jfr", "print", "--events", "jdk.ExecutionSample,jdk.NativeMethodSample", "--stack-depth", "64", recording)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	found, all, part := map[string]int{}, 0, ""
	end := func() {
		if part != "" {
			found[part]++
		}
		part = ""
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "jdk."):
			end()
			all++
			part = "Java itself"
		case part != "" && (strings.Contains(line, "epollWait") || strings.Contains(line, "EPoll.wait(")):
			all, part = all-1, "" // it waits, and does nothing
		case part == "Java itself":
			for _, p := range serverParts {
				if strings.HasPrefix(line, p.prefix) {
					part = p.name
					break
				}
			}
		}
	}
	end()
	if err := cmd.Wait(); err != nil {
		tb.Fatal(err)
	}
	return found, all
}

// BenchmarkKeycloakProfile says where the time of a load and of an undo goes, on both sides.
func BenchmarkKeycloakProfile(b *testing.B) {
	if _, err := exec.LookPath("jfr"); err != nil {
		b.Skip("needs jfr of a JDK")
	}
	_, people := openArena(b)
	for b.Loop() {
		b.ReportMetric(0, "ns/op")
		for _, what := range []string{"load", "verify", "undo"} {
			profile(b, what, people)
		}
	}
}

// machine finds the Java machine that was started with an argument.
func machine(tb testing.TB, argument string) string {
	tb.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		tb.Fatal(err)
	}
	for _, path := range all {
		line, err := os.ReadFile(path) // others end meanwhile
		if args := strings.Split(string(line), "\x00"); err == nil && strings.HasSuffix(args[0], "java") && slices.Contains(args, argument) {
			return filepath.Base(filepath.Dir(path))
		}
	}
	tb.Skip("the Java machine is not to be found: this needs Linux")
	return ""
}

// profile records one step in a server of its own, which has seen all of it before.
func profile(b *testing.B, what string, people int) {
	b.Helper()
	opts := benchServer
	mark := "-Dstetl.bench=" + rand.Text()
	opts.JVM = append(slices.Clone(opts.JVM), "-XX:+UnlockDiagnosticVMOptions", "-XX:+DebugNonSafepoints", mark)
	kc := keycloak.Start(b, opts)
	newLife(b, kc, "warm", 800, min(people, 2000), false).live(10)
	l := newLife(b, kc, "profiled", 801, people, false)
	steps := map[string]func(){"load": l.load, "verify": l.verify, "undo": l.undo}
	for _, before := range []string{"load", "verify"} {
		if before == what {
			break
		}
		steps[before]()
	}
	pid := machine(b, mark)
	recording := filepath.Join(b.TempDir(), what+".jfr")
	jcmd := func(args ...string) {
		out, err := exec.CommandContext(b.Context(), "jcmd", append([]string{pid}, args...)...).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	jcmd("JFR.start", "name=bench", "settings=profile")
	own, children := spent(b)
	server := spentBy(b, pid)
	steps[what]()
	server = spentBy(b, pid) - server
	ownAfter, childrenAfter := spent(b)
	jcmd("JFR.dump", "name=bench", "filename="+recording)
	jcmd("JFR.stop", "name=bench")
	took := l.steps[len(l.steps)-1].took
	each := func(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()/int64(people)) }
	fmt.Fprintf(os.Stderr, "%s: %.0f accounts/s; processor time for each: server %s, stetl %s, plugin %s\n",
		what, float64(people)/took.Seconds(), each(server), each(ownAfter-own), each(childrenAfter-children))
	found, all := shares(b, recording)
	for _, name := range slices.SortedFunc(maps.Keys(found), func(x, y string) int { return found[y] - found[x] }) {
		fmt.Fprintf(os.Stderr, "  server, %-30s %5.1f %%\n", name, 100*float64(found[name])/float64(max(all, 1)))
	}
}

package plugin

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// process is one run of a plugin's executable. It implements go-plugin's runner
// in place of the library's own, which hands the host's stdin over, parses
// stderr with a parser that panics, stops draining stdout at the first long
// line, and keeps the exit code to itself.
type process struct {
	cmd    *exec.Cmd
	stdout handshake
	stderr logWriter
	// started and exited are closed when the process has; killed says that it
	// was this package that ended it.
	started, exited chan struct{}
	killed          atomic.Bool
	// startErr is why there is no process, valid when Start has returned.
	startErr error
}

// pipeDelay is how long output may keep coming after the end of the process
// itself, from children that it left behind.
const pipeDelay = time.Second

func newProcess(cmd *exec.Cmd) *process {
	p := &process{cmd: cmd, started: make(chan struct{}), exited: make(chan struct{})}
	p.stdout.line, p.stdout.feed = io.Pipe()
	cmd.Stdin = nil // the null device
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.WaitDelay = pipeDelay
	// Output is read after the start only, when there is a process.
	pid := func() int { return cmd.Process.Pid }
	p.stderr.pid, p.stdout.rest.pid = pid, pid
	return p
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	failed := make(chan error)
	go func() { //nolint:contextcheck // the process outlives its start
		// The kernel ties the death signal to the thread that forked, and the
		// thread lives as long as this goroutine holds it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		failed <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // the state says it all
		p.stderr.end()
		p.stdout.rest.end()
		close(p.exited)
		// After exited, so that whoever sees the end of stdout knows why.
		_ = p.stdout.feed.Close()
	}()
	p.startErr = <-failed
	if p.startErr == nil {
		close(p.started)
	}
	return p.startErr
}

// Wait implements runner.AttachedRunner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error { return p.kill() }

// kill ends the whole process group.
func (p *process) kill() error {
	select {
	case <-p.started:
	default:
		return nil
	}
	select {
	case <-p.exited:
		return nil
	default:
	}
	p.killed.Store(true)
	return killGroup(p.cmd.Process)
}

// endedByItself reports whether the process ended before anybody killed it.
func (p *process) endedByItself() bool {
	select {
	case <-p.exited:
	default:
		return false
	}
	return !p.killed.Load()
}

// ID implements runner.AttachedRunner.
func (p *process) ID() string {
	select {
	case <-p.started:
		return strconv.Itoa(p.cmd.Process.Pid)
	default:
		return ""
	}
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.stdout.line }

// Stderr implements runner.Runner. It is empty: the host reads the real one.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// Diagnose implements runner.Runner. This package has better words.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// handshake passes the first line of stdout to go-plugin, remembers it, and
// sends all that follows to the log.
type handshake struct {
	line *io.PipeReader
	feed *io.PipeWriter
	rest logWriter

	mu    sync.Mutex
	first []byte
	full  bool
}

// maxHandshake is far above any handshake: a certificate is about 1 KiB.
const maxHandshake = 16 << 10

// Write never fails.
func (h *handshake) Write(p []byte) (int, error) {
	n := len(p)
	h.mu.Lock()
	if h.full {
		h.mu.Unlock()
		return h.rest.Write(p)
	}
	part, rest, complete := bytes.Cut(p, []byte("\n"))
	h.first = append(h.first, part...)
	h.full = complete || len(h.first) > maxHandshake
	full, line := h.full, append(bytes.Clone(h.first), '\n')
	h.mu.Unlock()
	if full {
		_, _ = h.feed.Write(line)
		_, _ = h.rest.Write(rest)
	}
	return n, nil
}

// firstLine is what came so far, and whether it is a whole line.
func (h *handshake) firstLine() (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.first), h.full
}

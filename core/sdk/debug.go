package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"google.golang.org/grpc"

	"github.com/stetl/stetl/core/internal/wire"
)

// debugFlag, as the only argument, has a plugin wait for hosts instead of being
// started by one, so that a debugger can start it.
const debugFlag = "--debug"

// serveDebug serves p until a signal comes. It prints what tells a host where it is.
func serveDebug[C any](p Plugin[C]) error {
	dir, err := os.MkdirTemp("", "stetl-debug")
	if err != nil {
		return fmt.Errorf("make a folder for the socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	address := wire.Reattach{Name: p.Name, PID: os.Getpid(), Socket: filepath.Join(dir, "plugin")}
	lis, err := new(net.ListenConfig).Listen(context.Background(), "unix", address.Socket)
	if err != nil {
		return fmt.Errorf("listen for hosts: %w", err)
	}
	text, err := json.Marshal(address)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "export %s='%s'\n", wire.ReattachKey, text)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		_ = lis.Close()
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for {
		conn, err := lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen for hosts: %w", err)
		}
		log.Info("a host has come")
		// Each host gets a conversation of its own.
		srv := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage))
		if err := Register(srv, p, log); err != nil {
			return err
		}
		go func() { _ = srv.Serve(newOneConn(conn)) }()
	}
}

// oneConn is a listener for a single connection.
type oneConn struct {
	addr net.Addr
	conn chan net.Conn
	stop func()
	done chan struct{}
}

func newOneConn(conn net.Conn) *oneConn {
	l := &oneConn{addr: conn.LocalAddr(), conn: make(chan net.Conn, 1), done: make(chan struct{})}
	l.stop = sync.OnceFunc(func() { close(l.done) })
	l.conn <- conn
	return l
}

// Accept implements [net.Listener].
func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conn:
		return conn, nil
	case <-l.done:
		return nil, io.EOF
	}
}

// Close implements [net.Listener].
func (l *oneConn) Close() error {
	l.stop()
	return nil
}

// Addr implements [net.Listener].
func (l *oneConn) Addr() net.Addr { return l.addr }

//go:build unix

package postgres

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
)

// proxy stands before a server, and once swallows the answer to what has a text in it: the
// server has done it, and nobody hears of it.
type proxy struct {
	server  string
	text    atomic.Pointer[string]
	swallow atomic.Int32 // how many answers were swallowed
}

// through starts a proxy before a database, and returns the address through it.
func through(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &proxy{server: u.Host}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	u.Host = listener.Addr().String()
	return p, u.String()
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	var cut atomic.Bool
	go func() {
		defer func() { _ = server.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if text := p.text.Load(); text != nil && bytes.Contains(buf[:n], []byte(*text)) {
				p.text.Store(nil)
				cut.Store(true)
			}
			if _, writeErr := server.Write(buf[:n]); err != nil || writeErr != nil {
				return
			}
		}
	}()
	defer func() { _ = client.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 && cut.Load() {
			p.swallow.Add(1)
			return
		}
		if _, writeErr := client.Write(buf[:n]); err != nil || writeErr != nil {
			if !errors.Is(err, io.EOF) {
				_ = server.Close()
			}
			return
		}
	}
}

package bridge

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newPair makes a certificate with a serial number.
func newPair(t *testing.T, serial int64) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// TestCertificateIsRenewed replaces the files under a server, one after the other
// as tools do, and looks at what visitors get meanwhile.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var said bytes.Buffer
	c := &certificate{certFile: filepath.Join(dir, "c.pem"), keyFile: filepath.Join(dir, "k.pem"), log: slog.New(slog.NewTextHandler(&said, nil))}
	version := time.Now().Add(-time.Hour)
	write := func(path string, text []byte) {
		t.Helper()
		version = version.Add(time.Second)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, version, version); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.load(); err == nil {
		t.Error("files that are not there were loaded")
	}
	firstCert, firstKey := newPair(t, 1)
	write(c.certFile, firstCert)
	write(c.keyFile, firstKey)
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	later := func() { c.looked = c.looked.Add(-lookAge) }
	serves := func(want int64) {
		t.Helper()
		ours, theirs := net.Pipe()
		server := tls.Server(ours, c.config())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Handshake()
			_, _ = io.Copy(io.Discard, server)
		}()
		client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true})
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := client.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != want {
			t.Errorf("certificate %d is served, want %d", got, want)
		}
		_ = client.Close()
		_ = ours.Close()
		<-done
	}
	serves(1)
	secondCert, secondKey := newPair(t, 2)
	write(c.certFile, secondCert)
	serves(1) // nobody has looked yet
	later()
	serves(1) // half of a pair
	if !strings.Contains(said.String(), "the new certificate cannot be used") {
		t.Errorf("nothing was said about half a pair: %s", said.String())
	}
	write(c.keyFile, secondKey)
	later()
	serves(2)
	if err := os.Remove(c.keyFile); err != nil {
		t.Fatal(err)
	}
	later()
	serves(2)
}

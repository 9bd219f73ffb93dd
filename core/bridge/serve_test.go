//go:build unix

package bridge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/pluginapi"
)

// selfSigned writes a certificate for the loopback address.
func selfSigned(t *testing.T, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return certFile, keyFile, pool
}

// slowTarget answers when it is let go.
type slowTarget struct {
	fakeTarget
	asked, letGo chan struct{}
}

func (s *slowTarget) Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error) {
	close(s.asked)
	<-s.letGo
	return s.fakeTarget.Exchange(ctx, a)
}

// TestServesTLSAndDrains stops a server in the middle of a hand-over.
func TestServesTLSAndDrains(t *testing.T) {
	t.Parallel()
	slow := &slowTarget{fakeTarget: fakeTarget{passwords: map[string]string{}}, asked: make(chan struct{}), letGo: make(chan struct{})}
	certFile, keyFile, pool := selfSigned(t, t.TempDir())
	w := build(t, "core-9.3.0", nil)
	s := w.session(alive)
	w.serves = slow
	_, server := w.instance(func(c *config.Bridge) { c.TLS = config.BridgeTLS{Certificate: certFile, Key: keyFile} })
	var listeners []net.Listener
	for range 2 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	public, admin := "https://"+listeners[0].Addr().String(), "http://"+listeners[1].Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listeners[0], listeners[1]) }()
	w.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	for _, address := range []string{public + "/readyz", admin + "/readyz"} {
		if a := w.do(http.MethodGet, address, "", nil); a.status != http.StatusOK {
			t.Errorf("%s: %d", address, a.status)
		}
	}
	answers := make(chan answer, 1)
	path := w.url[len(w.origin()):] + "/handover"
	go func() {
		answers <- w.do(http.MethodPost, public+path, "", map[string]string{"Authorization": "Bearer " + s.Access})
	}()
	<-slow.asked
	stop()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(slow.letGo)
	if a := <-answers; a.status != http.StatusOK {
		t.Errorf("the running hand-over: %d %s", a.status, a.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

package scim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string // its own certificate, a file
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	})
	a.pem = a.file("CERTIFICATE", a.cert.Raw)
	return a
}

// sign makes a certificate; the first one is the authority's own.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-48*time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) file(kind string, der []byte) string {
	f, err := os.CreateTemp(a.t.TempDir(), "*.pem")
	if err != nil {
		a.t.Fatal(err)
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		a.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		a.t.Fatal(err)
	}
	return f.Name()
}

// client is a client certificate and its key, as files.
func (a *authority) client(until time.Time) (cert, key string) {
	c, k := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "stetl"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: until,
	})
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.file("CERTIFICATE", c.Raw), a.file("PRIVATE KEY", der)
}

// TestClientCertificates shakes hands with a server that demands a client
// certificate of its authority.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	cert, key := ours.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: time.Now().Add(time.Hour),
	})
	clients := x509.NewCertPool()
	clients.AddCert(ours.cert)
	f := newFake(t, profile{})
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of refused handshakes
	s.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
	}
	s.StartTLS()
	t.Cleanup(s.Close)

	good, goodKey := ours.client(time.Now().Add(time.Hour))
	wrong, wrongKey := others.client(time.Now().Add(time.Hour))
	expired, expiredKey := ours.client(time.Now().Add(-24 * time.Hour))
	for name, test := range map[string]struct {
		tls  httpx.TLS
		code sdk.Code // empty: accepted
		says string
	}{
		"accepted":                  {tls: httpx.TLS{CAFile: ours.pem, CertFile: good, KeyFile: goodKey}},
		"none":                      {tls: httpx.TLS{CAFile: ours.pem}, code: codeClientRefused, says: "certificate"},
		"of another authority":      {tls: httpx.TLS{CAFile: ours.pem, CertFile: wrong, KeyFile: wrongKey}, code: codeClientRefused, says: "certificate"},
		"expired":                   {tls: httpx.TLS{CAFile: ours.pem, CertFile: expired, KeyFile: expiredKey}, code: sdk.CodeInvalidValue, says: "expired on"},
		"key of another one":        {tls: httpx.TLS{CAFile: ours.pem, CertFile: good, KeyFile: wrongKey}, code: sdk.CodeInvalidValue, says: "private key does not match"},
		"server of no authority":    {tls: httpx.TLS{CertFile: good, KeyFile: goodKey}, code: codeUntrusted, says: "unknown authority"},
		"server of another one":     {tls: httpx.TLS{CAFile: others.pem, CertFile: good, KeyFile: goodKey}, code: codeUntrusted, says: "unknown authority"},
		"authority file without it": {tls: httpx.TLS{CAFile: goodKey}, code: sdk.CodeInvalidValue, says: "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := f.settings()
			config.URL, config.TLS = s.URL+"/scim/v2", test.tls
			var said bytes.Buffer
			log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			target, err := newLive(config.withDefaults(), sdk.Env{Log: log, UserAgent: "stetl/test"})
			if test.code == sdk.CodeInvalidValue {
				if err == nil || !strings.Contains(err.Error(), string(test.code)) || !strings.Contains(err.Error(), test.says) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			list := target.Check(t.Context(), sdk.Needs{})
			if strings.Contains(said.String(), "tried again") {
				t.Errorf("what no repetition can change is repeated:\n%s", &said)
			}
			switch {
			case test.code == "":
				if list.HasErrors() {
					t.Errorf("%+v", list)
				}
			case len(list) != 1 || list[0].Code != test.code || !strings.Contains(list[0].Detail, test.says) || list[0].Hint == "":
				t.Errorf("%+v", list)
			}
		})
	}
}

// A certificate that nobody vouches for is refused, and the operator reads how to
// vouch for it.
func TestSelfSigned(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	config := f.settings()
	config.URL = s.URL + "/scim/v2"
	target, err := newLive(config.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test"})
	if err != nil {
		t.Fatal(err)
	}
	list := target.Check(context.Background(), sdk.Needs{})
	if len(list) != 1 || list[0].Code != codeUntrusted || !strings.Contains(list[0].Hint, "tls.ca_file") || f.requests > 0 {
		t.Errorf("%d requests, %+v", f.requests, list)
	}
	loadErr := target.Load(context.Background(), people(1, 1), newBook(t))
	if loadErr == nil || !strings.Contains(loadErr.Error(), "not trusted") || f.requests > 0 {
		t.Errorf("a load: %v", loadErr)
	}
}

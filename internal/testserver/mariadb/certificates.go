//go:build unix

package mariadb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is the file of the authority that has signed the server's certificate.
const authority = "authority.pem"

// certify makes an authority, and certificates of the server, for 127.0.0.1 alone, and of a
// client.
func certify(dir string) error {
	parent := template("authority")
	parent.IsCA, parent.BasicConstraintsValid, parent.KeyUsage = true, true, x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	err = certificate(dir, authority, "", parent, parent, key, key)
	for _, name := range []string{"server", "client"} {
		own, keyErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if keyErr != nil {
			return fmt.Errorf("make a certificate: %w", keyErr)
		}
		t := template(name)
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if name == "server" {
			t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		err = errors.Join(err, certificate(dir, name+".pem", name+".key", t, parent, own, key))
	}
	return err
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "stetl tests " + name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// certificate writes a certificate and, if it is asked for, its key.
func certificate(dir, file, keyFile string, t, parent *x509.Certificate, own, signer *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &own.PublicKey, signer)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	err = os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	if keyFile == "" || err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// Certificates are files for clients: that of the authority that has signed the server's
// certificate, which is for 127.0.0.1, and a certificate of a client's own with its key.
func (s *Server) Certificates() (ca, certificate, key string) {
	return s.path(authority), s.path("client.pem"), s.path("client.key")
}

package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stetl/stetl/core/diag"
)

// TLS is the block of a target's configuration that says whom to trust and how to show
// who is asking: PEM files.
type TLS struct {
	CAFile   string `json:"ca_file,omitempty" jsonschema:"authorities to trust instead of the system's"`
	CertFile string `json:"cert_file,omitempty" jsonschema:"client certificate"`
	KeyFile  string `json:"key_file,omitempty" jsonschema:"key of the client certificate"`
}

// Load reads the files. What is wrong is a [diag.List] whose paths begin with at, the
// place of the block, as /tls.
func (c TLS) Load(at string) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	problem := func(key string, err error) error {
		return diag.List{{Code: diag.ConfigInvalidValue, Path: at + "/" + key, Summary: "the certificate cannot be used", Detail: err.Error(), Hint: "name a readable PEM file"}}.Err()
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, problem("ca_file", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, problem("ca_file", errors.New("no certificate is in the file"))
		}
	}
	switch {
	case c.CertFile == "" && c.KeyFile == "":
		return out, nil
	case c.CertFile == "":
		return nil, problem("cert_file", errors.New("key_file is given without it"))
	case c.KeyFile == "":
		return nil, problem("key_file", errors.New("cert_file is given without it"))
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, problem("cert_file", err)
	}
	if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		return nil, problem("cert_file", fmt.Errorf("it has expired on %s", leaf.NotAfter.Format(time.DateOnly)))
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

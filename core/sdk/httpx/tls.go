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
	CAFile   string `json:"ca_file,omitempty" jsonschema:"certificate authorities to trust instead of those of the system"`
	CertFile string `json:"cert_file,omitempty" jsonschema:"client certificate"`
	KeyFile  string `json:"key_file,omitempty" jsonschema:"key of the client certificate"`
}

// Validate says what is wrong without a look at the files. Paths begin with at, the
// place of the block, as /tls.
func (c TLS) Validate(at string) diag.List {
	if (c.CertFile == "") == (c.KeyFile == "") {
		return nil
	}
	return diag.List{{Code: diag.ConfigMissingField, Path: at, Summary: "a client certificate needs cert_file and key_file", Hint: "set both or none"}}
}

// Load reads the files. What is wrong is a [diag.List], as in [TLS.Validate].
func (c TLS) Load(at string) (*tls.Config, error) {
	if err := c.Validate(at).Err(); err != nil {
		return nil, err
	}
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
			return nil, problem("ca_file", errors.New("there is no certificate in the file"))
		}
	}
	if c.CertFile == "" {
		return out, nil
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

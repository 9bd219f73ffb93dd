package mysqlurl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// level is how a connection is secured.
type level int

const (
	preferred  level = iota // encrypted if the server can, and nothing checked
	disabled                // not encrypted
	required                // encrypted, and nothing checked
	verified                // and the certificate is of an authority that is trusted
	identified              // and it is of this host
)

// security collects what an address says about encryption.
type security struct {
	level         level
	said          bool
	require       bool // of MySQL's older JDBC settings
	verify        string
	ca, cert, key string
	wrong         string // a setting with a value that is not known
}

// levels are the words of drivers for it, folded.
var levels = map[string]level{
	"disabled": disabled, "disable": disabled, "false": disabled, "0": disabled, "no": disabled,
	"preferred": preferred, "prefer": preferred, "acceptinvalidcerts": required,
	"required": required, "require": required, "skipverify": required, "trust": required, "noverify": required,
	"true": identified, "1": identified, "yes": identified, "strict": identified,
	"verifyca": verified, "verifyidentity": identified, "verifyfull": identified,
}

// take takes a setting, and reports whether it is about encryption.
func (s *security) take(name, value string) bool {
	word := fold(value)
	switch name {
	case "tls", "ssl", "sslmode", "sslaccept":
		l, ok := levels[word]
		if !ok {
			s.wrong = name
			return true
		}
		s.level, s.said = max(s.level, l), true
		if l == disabled {
			s.level = disabled
		}
	case "usessl", "requiressl":
		l, ok := levels[word]
		if !ok {
			s.wrong = name
		}
		s.said = true
		switch {
		case l == disabled && name == "usessl":
			s.level = disabled
		case ok && l != disabled:
			s.level, s.require = max(s.level, required), true
		}
	case "verifyservercertificate", "trustservercertificate":
		s.verify = word
		if name == "trustservercertificate" {
			s.verify = map[string]string{"true": "false", "false": "true"}[word]
		}
	case "sslca", "sslrootcert", "serversslcert", "tlsca":
		s.ca = value
	case "sslcert", "tlscert":
		s.cert = value
	case "sslkey", "tlskey":
		s.key = value
	default:
		return false
	}
	return true
}

// resolve decides what all of it comes to.
func (s *security) resolve(p *problems) {
	if s.wrong != "" {
		p.add("the setting "+s.wrong+" has a value that is not known", "take one of disabled, preferred, required, verify-ca, verify-identity")
	}
	if s.verify == "true" && s.level != disabled {
		s.level = max(s.level, verified)
	}
	if s.ca != "" && (!s.said || s.level == preferred) {
		s.level = verified // an authority is named so that it is asked
	}
	if s.ca != "" && s.level == disabled {
		p.add("an authority for certificates is named, and encryption is switched off", "keep one of them")
	}
	if (s.cert == "") != (s.key == "") {
		p.add("the client's own certificate and its key belong together", "name both with ssl-cert and ssl-key, or neither")
	}
}

// apply configures the driver.
func (s *security) apply(c *mysql.Config) error {
	if c.Net == "unix" {
		return nil
	}
	if s.level == preferred {
		c.TLSConfig = "preferred"
	}
	if s.level <= disabled {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		host = c.Addr
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(strings.TrimPrefix(s.ca, "file:"))
		if err != nil {
			return fmt.Errorf("the address of the database names a file that cannot be read: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("the address of the database names %s for certificates, and there is none in it", s.ca)
		}
	}
	if s.cert != "" {
		own, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return fmt.Errorf("the address of the database names a certificate that cannot be used: %w", err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	if s.level < identified {
		config.InsecureSkipVerify = true // as the address asks; what it wants checked is checked below
	}
	if s.level == verified {
		config.VerifyConnection = trusted(config.RootCAs)
	}
	c.TLS = config
	return nil
}

// trusted checks a certificate, whatever host it is of.
func trusted(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server shows no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range slices.Clone(state.PeerCertificates)[1:] {
			between.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}

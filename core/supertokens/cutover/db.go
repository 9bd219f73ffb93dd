package cutover

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// DB is the source database with the tables of the bridge. Its methods, and those of its
// parts, may be called concurrently, and by several processes.
type DB struct {
	*database
	Logins    *Logins
	Links     *Links
	Passwords *Passwords
	Failures  *Failures
}

// database is what all parts have.
type database struct {
	sessions *session.Store
	db       *supertokens.Database
	own      own
	app      string
	wait     time.Duration
	// algorithm is that of the signing key.
	algorithm Algorithm
}

// Options are settings of a [DB].
type Options struct {
	// Schema is the schema of the bridge's own tables, [defaultSchema] when empty.
	Schema string
	// FirebaseSignerKey is that of hashes imported from Firebase, base64.
	FirebaseSignerKey canonical.Secret
	// Wait is how long an attempt waits for another one at the same session or
	// link before it fails with [ErrBusy]; a few seconds when zero.
	Wait time.Duration
	// Algorithm is that of the signing key; RS256 when empty.
	Algorithm Algorithm
}

// ErrBusy is for a session or a link that another attempt is at.
var ErrBusy = errors.New("another attempt with the same session or link is under way")

// defaultWait is shorter than targets are asked, and they for less long than
// [supertokens.Abandoned].
const defaultWait = 3 * time.Second

// Open finds or creates the tables of the bridge. They are created only when one
// is missing, which takes the right to create a schema. A database that lacks tables of
// accounts, or contradicts the migration mode, is refused.
func Open(ctx context.Context, sessions *session.Store, o Options) (*DB, error) {
	if err := sessions.Tables().CheckAccounts(); err != nil {
		return nil, fmt.Errorf("accounts would be taken for others: %w", err)
	}
	db := sessions.Database()
	if err := db.Check(ctx, sessions.Tables()); err != nil {
		return nil, err
	}
	d := &database{
		sessions: sessions, db: db, own: ownIn(sessions.Tables(), o.Schema), app: sessions.Tables().App(),
		wait: cmp.Or(o.Wait, defaultWait), algorithm: o.Algorithm,
	}
	if err := d.create(ctx); err != nil {
		return nil, err
	}
	return &DB{d, &Logins{database: d}, &Links{d}, &Passwords{d, o.FirebaseSignerKey}, &Failures{database: d}}, nil
}

// create makes the tables of the bridge when one is missing.
func (d *database) create(ctx context.Context) error {
	missing, err := d.own.missing(ctx, d.db)
	if err != nil {
		return fmt.Errorf("look for the tables of the bridge: %w", err)
	}
	if !missing {
		return nil
	}
	if err := d.own.create(ctx, d.db); err != nil {
		return fmt.Errorf("create the tables of the bridge in schema %q (stetl bridge --print-sql ROLE prints them for somebody who may): %w", d.own.schema(), err)
	}
	return nil
}

// once runs do in a transaction for which others, who want the same rows, wait.
func (d *database) once(ctx context.Context, do func(supertokens.Statements) error) error {
	err := d.db.Once(ctx, d.wait, do)
	if errors.Is(err, supertokens.ErrLocked) {
		return ErrBusy
	}
	return err
}

// row runs a statement that gives one row at most, and tells whether it gave one. The
// columns are texts.
func (d *database) row(ctx context.Context, into []*string, sql string, args ...any) (found bool, err error) {
	err = d.db.Query(ctx, texts(into, &found), sql, args...)
	return found, err
}

// texts keeps the columns of a row.
func texts(into []*string, found *bool) func([][]byte) error {
	return func(v [][]byte) error {
		*found = true
		for i := range into {
			*into[i] = string(v[i])
		}
		return nil
	}
}

// Sessions is the store underneath.
func (d *DB) Sessions() *session.Store { return d.sessions }

// Ping asks whether the database is there.
func (d *DB) Ping(ctx context.Context) error { return d.db.Ping(ctx) }

func (d *database) now() time.Time { return d.sessions.Now() }

// Algorithm is how the bridge signs.
type Algorithm string

// The algorithms, as JSON Web Algorithms calls them. ES256 takes a tenth of the time.
const (
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
)

// SigningKey returns the key that all instances sign with, for the algorithm of the options.
// The first one to ask makes it.
func (d *DB) SigningKey(ctx context.Context) (crypto.Signer, error) {
	name := "signing_key"
	if d.algorithm == ES256 {
		name = "signing_key_es256"
	}
	read := func() (text string, found bool, err error) {
		found, err = d.row(ctx, []*string{&text}, "SELECT value FROM "+d.own.table("secret")+" WHERE app_id = $1 AND name = $2", d.app, name)
		return text, found, err
	}
	text, found, err := read()
	if err == nil && !found {
		made, makeErr := newKey(d.algorithm)
		if makeErr != nil {
			return nil, fmt.Errorf("make a signing key: %w", makeErr)
		}
		der, makeErr := x509.MarshalPKCS8PrivateKey(made)
		if makeErr != nil {
			return nil, fmt.Errorf("make a signing key: %w", makeErr)
		}
		block := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		if err := d.db.Put(ctx, d.own.table("secret"), []string{"app_id", "name", "value"}, d.app, name, block); err != nil {
			return nil, fmt.Errorf("store the signing key: %w", err)
		}
		text, _, err = read()
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	return ParseSigningKey(canonical.NewSecret(text))
}

func newKey(a Algorithm) (crypto.Signer, error) {
	if a == ES256 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}

// ParseSigningKey reads a key in PEM: an RSA key for RS256, or one of the curve P-256 for
// ES256.
func ParseSigningKey(text canonical.Secret) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return nil, errors.New("the signing key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, errors.New("the signing key is neither PKCS #8 nor PKCS #1 nor SEC 1")
		}
	}
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() >= 2048 {
			return key, nil
		}
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, errors.New("the signing key is neither RSA of at least 2048 bits nor of the curve P-256")
}

// AlgorithmOf is the algorithm of a signing key.
func AlgorithmOf(key crypto.Signer) Algorithm {
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		return ES256
	}
	return RS256
}

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

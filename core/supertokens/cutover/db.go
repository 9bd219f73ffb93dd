package cutover

import (
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// defaultSchema is where the bridge keeps its own tables.
const defaultSchema = "stetl_bridge"

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
	pool     *pgxpool.Pool
	schema   string
	app      string
	begin    pgx.TxOptions
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

const (
	defaultWait = 3 * time.Second
	// abandoned is after how long the server gives up a transaction whose
	// instance does not say anything any more, so that a machine that vanishes
	// does not keep a session locked. Targets are asked for less long.
	abandoned = 60 * time.Second

	lockNotAvailable = "55P03" // SQLSTATE
	deadlockDetected = "40P01"
)

// Open finds or creates the tables of the bridge. They are created only when one
// is missing, which takes the right to create a schema. A database that lacks tables of
// accounts, or contradicts the migration mode, is refused.
func Open(ctx context.Context, sessions *session.Store, o Options) (*DB, error) {
	d := &database{sessions: sessions, pool: sessions.Pool(), schema: o.Schema, app: sessions.Tables().App(), algorithm: o.Algorithm}
	if d.schema == "" {
		d.schema = defaultSchema
	}
	if err := sessions.Tables().CheckAccounts(); err != nil {
		return nil, fmt.Errorf("accounts would be taken for others: %w", err)
	}
	if err := supertokens.CheckMode(ctx, sessions.Tables(), d.pool); err != nil {
		return nil, err
	}
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	// With a higher level of isolation, which a database may have by default, the
	// second of two attempts would get an error and not the answer that it is late.
	d.begin.BeginQuery = fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d",
		o.Wait.Milliseconds(), abandoned.Milliseconds())
	if err := d.create(ctx); err != nil {
		return nil, err
	}
	return &DB{d, &Logins{database: d}, &Links{d}, &Passwords{d, o.FirebaseSignerKey}, &Failures{database: d}}, nil
}

// create makes the tables of the bridge when one is missing.
func (d *database) create(ctx context.Context) error {
	missing := 0
	for _, table := range ownTables {
		var there bool
		if err := d.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", d.own(table)).Scan(&there); err != nil {
			return fmt.Errorf("look for the tables of the bridge: %w", err)
		}
		if !there {
			missing++
		}
	}
	if missing == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		// IF NOT EXISTS does not keep two instances from creating at once.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", "stetl bridge "+d.schema); err != nil {
			return err
		}
		for _, statement := range d.statements() {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("create the tables of the bridge in schema %q (stetl bridge --print-sql ROLE prints them for somebody who may): %w", d.schema, err)
	}
	return nil
}

// once runs do in a transaction for which others, who want the same rows, wait.
func (d *database) once(ctx context.Context, do func(pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, d.pool, d.begin, do)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == lockNotAvailable || e.Code == deadlockDetected) {
		return ErrBusy
	}
	return err
}

// Sessions is the store underneath.
func (d *DB) Sessions() *session.Store { return d.sessions }

// Ping asks whether the database is there.
func (d *DB) Ping(ctx context.Context) error { return d.pool.Ping(ctx) }

func (d *database) now() time.Time { return d.sessions.Now() }

var ownTables = []string{"code", "ticket", "secret", "failure", "arrival"}

func (d *database) own(table string) string { return pgx.Identifier{d.schema, table}.Sanitize() }

func (d *database) statements() []string { return tableStatements(d.schema) }

func tableStatements(schema string) []string {
	own := func(table string) string { return pgx.Identifier{schema, table}.Sanitize() }
	return []string{
		"CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{schema}.Sanitize(),
		// A code that a crash of the database loses costs another try: the session is
		// there until it is redeemed. So it need not wait for the disk.
		"CREATE UNLOGGED TABLE IF NOT EXISTS " + own("code") + ` (
	code_hash bytea PRIMARY KEY, app_id text NOT NULL, request text NOT NULL, expires_ms bigint NOT NULL,
	session_handle text NOT NULL, tenant_id text NOT NULL, user_id text NOT NULL)`,
		"CREATE UNLOGGED TABLE IF NOT EXISTS " + own("ticket") + ` (
	ticket_hash bytea PRIMARY KEY, app_id text NOT NULL, client_id text NOT NULL, challenge text NOT NULL, expires_ms bigint NOT NULL,
	session_handle text NOT NULL, tenant_id text NOT NULL, created_ms bigint NOT NULL, user_id text NOT NULL)`,
		"CREATE TABLE IF NOT EXISTS " + own("secret") + " (app_id text NOT NULL, name text NOT NULL, value text NOT NULL, PRIMARY KEY (app_id, name))",
		"CREATE TABLE IF NOT EXISTS " + own("failure") + ` (
	surface text NOT NULL, subject bytea NOT NULL, failures integer NOT NULL, until_ms bigint NOT NULL,
	PRIMARY KEY (surface, subject))`,
		"CREATE TABLE IF NOT EXISTS " + own("arrival") + " (app_id text NOT NULL, user_id text NOT NULL, at_ms bigint NOT NULL, PRIMARY KEY (app_id, user_id))",
	}
}

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
	read := func() (text string, err error) {
		err = d.pool.QueryRow(ctx, "SELECT value FROM "+d.own("secret")+" WHERE app_id = $1 AND name = $2", d.app, name).Scan(&text)
		return text, err
	}
	text, err := read()
	if errors.Is(err, pgx.ErrNoRows) {
		made, makeErr := newKey(d.algorithm)
		if makeErr != nil {
			return nil, fmt.Errorf("make a signing key: %w", makeErr)
		}
		der, makeErr := x509.MarshalPKCS8PrivateKey(made)
		if makeErr != nil {
			return nil, fmt.Errorf("make a signing key: %w", makeErr)
		}
		block := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		if _, err := d.pool.Exec(ctx, "INSERT INTO "+d.own("secret")+" (app_id, name, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", d.app, name, block); err != nil {
			return nil, fmt.Errorf("store the signing key: %w", err)
		}
		text, err = read()
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

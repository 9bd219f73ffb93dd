package session

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
)

// The tables that hold keys.
const (
	tableKeyValue  = supertokens.KeyValue
	tableRotating  = supertokens.SessionSigningKeys
	tableStatic    = supertokens.JWTSigningKeys
	nameAccessKey  = "access_token_signing_key"
	nameRefreshKey = "refresh_token_key"
	publicTenant   = "public"
)

// KeyKind says where a key comes from.
type KeyKind string

// The kinds of keys.
const (
	// KeyValue is the one key of cores before 3.6.
	KeyValue KeyKind = KeyKind(supertokens.KeyValue)
	// Dynamic keys are replaced every week or so.
	Dynamic KeyKind = "dynamic"
	// Static keys sign JWTs and, from core 5.0 on, sessions that ask for it.
	Static KeyKind = "static"
)

// Key is one key that SuperTokens signs with or signed with.
type Key struct {
	// ID is the kid in the header of tokens. Tokens of [KeyValue] keys have none;
	// its ID is the RFC 7638 thumbprint.
	ID   string
	Kind KeyKind
	// Created is zero where the database does not say.
	Created time.Time
	Public  *rsa.PublicKey

	private canonical.Secret // base64 of PKCS #8; parsed only for an export
}

// Format names the key; fmt cannot be trusted with the rest, as it reaches into
// fields whose own Format it may not call.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%s key %s", string(k.Kind), k.ID) }

// Private returns the private half. It is for an export that the operator asked
// for; verifying needs none.
func (k Key) Private() (*rsa.PrivateKey, error) {
	der, err := base64.StdEncoding.DecodeString(k.private.Reveal())
	if err != nil {
		return nil, fmt.Errorf("private key %s is not base64", k.ID)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("private key %s is not PKCS #8", k.ID)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(k.Public) {
		return nil, fmt.Errorf("private key %s does not belong to its public key", k.ID)
	}
	return private, nil
}

// Keys are all signing keys of one app, newest first.
type Keys struct {
	All []Key

	refresh canonical.Secret // refresh_token_key; absent where the database has none
}

// Format tells how many there are.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d signing keys", len(k.All)) }

// ReadKeys reads the keys of the app from a live database or a dump.
func ReadKeys(ctx context.Context, tables *supertokens.Tables) (*Keys, error) {
	var b keyBuilder
	for _, t := range keyQueries {
		from, ok := tables.Table(t.table)
		if !ok {
			continue
		}
		if _, err := tables.Need(t.table); err != nil {
			return nil, err
		}
		err := tables.Scan(ctx, from, t.columns, func(v [][]byte) error {
			text := make([]string, len(v))
			for i := range v {
				text[i] = string(v[i])
			}
			return b.add(t.table, text)
		})
		if err != nil {
			return nil, err
		}
	}
	return b.keys(), nil
}

// keyQueries are the tables that may hold keys, and what of them.
var keyQueries = []struct {
	table   supertokens.TableName
	columns []string
}{
	{tableKeyValue, []string{"name", "value", "created_at_time", "tenant_id"}},
	{tableRotating, []string{"created_at_time", "value"}},
	{tableStatic, []string{"key_id", "key_string", "algorithm", "created_at"}},
}

// keyBuilder turns rows into keys. The same key may stand in two tables: core
// upgrades copy it.
type keyBuilder struct{ out Keys }

func (b *keyBuilder) add(table supertokens.TableName, v []string) error {
	v = append(slices.Clone(v), "", "", "", "")[:4] // tables differ in how much they say
	switch table {
	case tableKeyValue:
		switch name, value := v[0], v[1]; {
		case v[3] != "" && v[3] != publicTenant: // key material of an app is with its first tenant
			return nil
		case name == nameRefreshKey:
			b.out.refresh = canonical.NewSecret(value)
			return nil
		case name == nameAccessKey:
			return b.pair(Key{Kind: KeyValue, Created: millis(v[2])}, value)
		default:
			return nil
		}
	case tableRotating:
		return b.pair(Key{Kind: Dynamic, ID: "d-" + v[0], Created: millis(v[0])}, v[1])
	default:
		if v[2] != "RS256" {
			return fmt.Errorf("key %s of %s is for %q; only RS256 is known", v[0], table, v[2])
		}
		return b.pair(Key{Kind: Static, ID: v[0], Created: millis(v[3])}, v[1])
	}
}

// pair parses "public;private". Newer cores write a pipe in place of the
// semicolon.
func (b *keyBuilder) pair(k Key, value string) error {
	at := strings.IndexAny(value, "|;")
	if at < 0 {
		return fmt.Errorf("signing key %s %q is not a pair of keys", k.Kind, k.ID)
	}
	public, err := parsePublic(value[:at])
	if err != nil {
		return fmt.Errorf("signing key %s %q: %w", k.Kind, k.ID, err)
	}
	k.Public, k.private = public, canonical.NewSecret(value[at+1:])
	if k.ID == "" {
		if k.ID, err = thumbprint(public); err != nil {
			return err
		}
	}
	b.out.All = append(b.out.All, k)
	return nil
}

func (b *keyBuilder) keys() *Keys {
	slices.SortStableFunc(b.out.All, func(x, y Key) int { return y.Created.Compare(x.Created) })
	return &b.out
}

func parsePublic(text string) (*rsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the public half is not base64")
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("the public half is not an X.509 public key")
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the public half is not RSA")
	}
	return public, nil
}

func thumbprint(public *rsa.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("thumbprint of a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

func millis(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// byID finds the keys that a kid may mean.
func (k *Keys) byID(id string) []Key {
	var out []Key
	for _, key := range k.All {
		if key.ID == id {
			out = append(out, key)
		}
	}
	return out
}

// JWKS returns the public keys as a JSON Web Key Set. A key that is in several
// tables is listed once per id.
func (k *Keys) JWKS() ([]byte, error) {
	return k.jwks(func(key Key) (any, error) { return key.Public, nil })
}

// PrivateJWKS is [Keys.JWKS] with the private halves. Whoever has it can make
// sessions.
func (k *Keys) PrivateJWKS() ([]byte, error) {
	return k.jwks(func(key Key) (any, error) { return key.Private() })
}

func (k *Keys) jwks(half func(Key) (any, error)) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	seen := map[string]bool{}
	for _, key := range k.All {
		if seen[key.ID] {
			continue
		}
		seen[key.ID] = true
		material, err := half(key)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: material, KeyID: key.ID, Algorithm: string(jose.RS256), Use: "sig"})
	}
	return json.MarshalIndent(set, "", "  ")
}

// PEM returns the public keys, each under a line that says which one it is.
func (k *Keys) PEM() ([]byte, error) {
	return k.pem("PUBLIC KEY", func(key Key) ([]byte, error) { return x509.MarshalPKIXPublicKey(key.Public) })
}

// PrivatePEM is [Keys.PEM] with the private keys.
func (k *Keys) PrivatePEM() ([]byte, error) {
	return k.pem("PRIVATE KEY", func(key Key) ([]byte, error) {
		private, err := key.Private()
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(private)
	})
}

func (k *Keys) pem(block string, half func(Key) ([]byte, error)) ([]byte, error) {
	var out []byte
	for _, key := range k.All {
		der, err := half(key)
		if err != nil {
			return nil, err
		}
		out = fmt.Appendf(out, "# %s key, kid %s\n", key.Kind, key.ID)
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der})...)
	}
	return out, nil
}

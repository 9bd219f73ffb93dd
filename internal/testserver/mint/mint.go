// Package mint makes sessions in a restored database as a core makes them: a row,
// and an access token that is signed with a key of that database.
package mint

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Minter makes sessions of one app.
type Minter struct {
	store *session.Store
	key   session.Key
	sign  *rsa.PrivateKey
	made  int
}

// New takes a key of the database. An app that has never signed anything gets those
// of the others.
func New(tb testing.TB, store *session.Store) *Minter {
	tb.Helper()
	if in, ok := store.Tables().Table(supertokens.SessionSigningKeys); ok && in.Has("app_id") {
		_, err := store.Database().Exec(tb.Context(), "INSERT INTO "+in.SQL()+" (app_id, created_at_time, value) SELECT DISTINCT $1, created_at_time, value FROM "+in.SQL()+
			" WHERE NOT EXISTS (SELECT 1 FROM "+in.SQL()+" WHERE app_id = $1)", store.Tables().App())
		if err != nil {
			tb.Fatal(err)
		}
	}
	keys, err := store.Keys(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	m := &Minter{store: store}
	if len(keys.All) == 0 {
		tb.Fatal("the database has no keys")
	}
	m.key = keys.All[0]
	if m.sign, err = m.key.Private(); err != nil {
		tb.Fatal(err)
	}
	return m
}

// Session makes a session of the login with this visible id, of the account with
// that one, and returns its access token: of version 5 where the database has named
// keys, of version 2 before.
func (m *Minter) Session(tb testing.TB, login, account string) (access string) {
	tb.Helper()
	m.made++
	handle, now := fmt.Sprintf("minted-%d", m.made), m.store.Now()
	hash := digest(handle)
	m.insert(tb, map[string]any{
		"session_handle": handle, "user_id": login, "refresh_token_hash_2": digest(hash), "session_data": "{}", "jwt_user_payload": "{}",
		"expires_at": now.Add(time.Hour).UnixMilli(), "created_at_time": now.UnixMilli(), "use_static_key": false,
		"app_id": m.store.Tables().App(), "tenant_id": "public",
	})
	if m.key.Kind == session.KeyValue {
		return m.old(tb, map[string]any{
			"sessionHandle": handle, "userId": login, "refreshTokenHash1": hash, "expiryTime": now.Add(time.Hour).UnixMilli(), "timeCreated": now.UnixMilli(),
		})
	}
	return m.token(tb, map[string]any{
		"sub": account, "rsub": login, "tId": "public", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "sessionHandle": handle, "refreshTokenHash1": hash,
	})
}

// Hostile makes an access token of version 5 that a core would not make, with a NUL in
// one of its claims.
func (m *Minter) Hostile(tb testing.TB, claim string) string {
	tb.Helper()
	now := m.store.Now()
	claims := map[string]any{
		"sub": "u", "rsub": "u", "tId": "public", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "sessionHandle": "h", "refreshTokenHash1": "aa",
	}
	claims[claim] = "a\x00b"
	return m.token(tb, claims)
}

// token signs the claims of a token of version 5.
func (m *Minter) token(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: m.sign, KeyID: m.key.ID}},
		(&jose.SignerOptions{}).WithHeader("version", "5").WithType("JWT"))
	if err != nil {
		tb.Fatal(err)
	}
	access, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		tb.Fatal(err)
	}
	return access
}

// insert fills those columns that this generation of the table has.
func (m *Minter) insert(tb testing.TB, row map[string]any) {
	tb.Helper()
	into, err := m.store.Tables().Need(supertokens.SessionInfo)
	if err != nil {
		tb.Fatal(err)
	}
	var columns, places []string
	var args []any
	for column, value := range row {
		if into.Has(column) {
			args = append(args, value)
			columns, places = append(columns, column), append(places, fmt.Sprintf("$%d", len(args)))
		}
	}
	sql := "INSERT INTO " + into.SQL() + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
	if _, err := m.store.Database().Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatal(err)
	}
}

// old signs a token of version 2.
func (m *Minter) old(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	signed := base64.StdEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","version":"2"}`)) + "." + base64.StdEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, m.sign, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + base64.StdEncoding.EncodeToString(signature)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

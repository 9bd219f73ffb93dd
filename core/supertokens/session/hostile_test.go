package session

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
)

// pairOf makes a key as a row of the database has it.
func pairOf(private *rsa.PrivateKey) (string, error) {
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(public) + "|" + base64.StdEncoding.EncodeToString(secret), nil
}

// made are two keys: one of the app, one of a stranger.
var made = sync.OnceValue(func() (out struct {
	own, other *rsa.PrivateKey
	keys       *Keys
},
) {
	var err error
	if out.own, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if out.other, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	pair, err := pairOf(out.own)
	if err != nil {
		panic(err)
	}
	var b keyBuilder
	for table, row := range map[supertokens.TableName][]string{
		tableRotating: {"1700000000000", pair},
		tableStatic:   {"s-static", pair, "RS256", ""},
		tableKeyValue: {nameRefreshKey, "1000:aa:bb", "", ""},
	} {
		if err := b.add(table, row); err != nil {
			panic(err)
		}
	}
	out.keys = b.keys()
	return out
})

func jsonText(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func sign(header, payload []byte, enc *base64.Encoding, key *rsa.PrivateKey) string {
	signed := enc.EncodeToString(header) + "." + enc.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + enc.EncodeToString(sig)
}

func v5Claims() map[string]any {
	return map[string]any{
		"sub": "u", "rsub": "u", "tId": "public", "iat": 1_800_000_000, "exp": 1_900_000_000,
		"sessionHandle": "h", "refreshTokenHash1": "aa", "parentRefreshTokenHash1": nil, "antiCsrfToken": nil,
	}
}

func v5Header() map[string]any {
	return map[string]any{"alg": "RS256", "typ": "JWT", "version": "5", "kid": "d-1700000000000"}
}

func with(m map[string]any, key string, value any) map[string]any {
	m = maps.Clone(m)
	if value == nil {
		delete(m, key)
	} else {
		m[key] = value
	}
	return m
}

func TestGoodTokensOfOurMaking(t *testing.T) {
	t.Parallel()
	m := made()
	for version, header := range map[int]map[string]any{
		3: with(v5Header(), "version", "3"), 4: with(v5Header(), "version", "4"), 5: v5Header(),
	} {
		c, err := m.keys.parseAccess(sign(jsonText(header), jsonText(v5Claims()), base64.RawURLEncoding, m.own))
		if err != nil || c.version != version || c.handle != "h" || c.expires != time.Unix(1_900_000_000, 0) {
			t.Errorf("version %d: %+v, %v", version, c, err)
		}
	}
	old := jsonText(map[string]any{"sessionHandle": "h", "userId": "u", "refreshTokenHash1": "aa", "expiryTime": 5000, "timeCreated": 1})
	for _, version := range []string{"1", "2"} {
		header, err := base64.StdEncoding.DecodeString(oldHeader(version))
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.keys.parseAccess(sign(header, old, base64.StdEncoding, m.own))
		if err != nil || fmt.Sprint(c.version) != version || c.expires != time.UnixMilli(5000) || c.tenant != "public" {
			t.Errorf("version %s: %+v, %v", version, c, err)
		}
	}
	// The header of version 2 is fixed, byte by byte.
	if got := oldHeader("2"); got != "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsInZlcnNpb24iOiIyIn0=" {
		t.Errorf("header %s", got)
	}
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	m := made()
	url := base64.RawURLEncoding
	good := sign(jsonText(v5Header()), jsonText(v5Claims()), url, m.own)
	parts := strings.Split(good, ".")

	publicDER, err := x509.MarshalPKIXPublicKey(&m.own.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(key []byte, kid string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key},
			(&jose.SignerOptions{}).WithHeader("version", "5").WithHeader("kid", kid))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(jsonText(v5Claims()))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	embedded := with(v5Header(), "jwk", jose.JSONWebKey{Key: &m.other.PublicKey, KeyID: "d-1700000000000"})
	none := url.EncodeToString(jsonText(with(v5Header(), "alg", "none")))
	oldRaw := jsonText(map[string]any{"sessionHandle": "h", "userId": "u", "refreshTokenHash1": "aa", "expiryTime": 5000, "timeCreated": 1})
	oldGood := sign([]byte(`{"alg":"RS256","typ":"JWT","version":"2"}`), oldRaw, base64.StdEncoding, m.own)

	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"empty":                         {"", ErrMalformed},
		"two parts":                     {parts[0] + "." + parts[1], ErrMalformed},
		"four parts":                    {good + ".x", ErrMalformed},
		"alg none, no signature":        {none + "." + parts[1] + ".", ErrMalformed},
		"alg none, old signature":       {none + "." + parts[1] + "." + parts[2], ErrMalformed},
		"HS256 with the public key":     {hs256(publicDER, "d-1700000000000"), ErrMalformed},
		"HS256 with the public key PEM": {hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), "d-1700000000000"), ErrMalformed},
		"RS512 in the header":           {sign(jsonText(with(v5Header(), "alg", "RS512")), jsonText(v5Claims()), url, m.own), ErrMalformed},
		"key in the header":             {sign(jsonText(embedded), jsonText(v5Claims()), url, m.other), ErrSignature},
		"key of somebody else":          {sign(jsonText(v5Header()), jsonText(v5Claims()), url, m.other), ErrSignature},
		"unknown kid":                   {sign(jsonText(with(v5Header(), "kid", "d-1")), jsonText(v5Claims()), url, m.own), ErrSignature},
		"no kid":                        {sign(jsonText(with(v5Header(), "kid", nil)), jsonText(v5Claims()), url, m.own), ErrSignature},
		"unknown version":               {sign(jsonText(with(v5Header(), "version", "9")), jsonText(v5Claims()), url, m.own), ErrMalformed},
		"version as a number":           {sign(jsonText(with(v5Header(), "version", 5)), jsonText(v5Claims()), url, m.own), ErrMalformed},
		"JWT of the JWT recipe":         {sign(jsonText(with(v5Header(), "version", nil)), jsonText(v5Claims()), url, m.own), ErrMalformed},
		"critical extension":            {sign(jsonText(with(v5Header(), "crit", []string{"b64"})), jsonText(v5Claims()), url, m.own), ErrSignature},
		"no session":                    {sign(jsonText(v5Header()), jsonText(with(v5Claims(), "sessionHandle", nil)), url, m.own), ErrMalformed},
		"no expiry":                     {sign(jsonText(v5Header()), jsonText(with(v5Claims(), "exp", nil)), url, m.own), ErrMalformed},
		"version 4 without tenant":      {sign(jsonText(with(v5Header(), "version", "4")), jsonText(with(v5Claims(), "tId", nil)), url, m.own), ErrMalformed},
		"version 5 without rsub":        {sign(jsonText(v5Header()), jsonText(with(v5Claims(), "rsub", nil)), url, m.own), ErrMalformed},
		"payload of another token":      {parts[0] + "." + url.EncodeToString(jsonText(with(v5Claims(), "sub", "admin"))) + "." + parts[2], ErrSignature},
		"old, key of somebody else":     {sign([]byte(`{"alg":"RS256","typ":"JWT","version":"2"}`), oldRaw, base64.StdEncoding, m.other), ErrSignature},
		"old, other header":             {sign([]byte(`{"typ":"JWT","alg":"RS256","version":"2"}`), oldRaw, base64.StdEncoding, m.own), ErrMalformed},
		"old, two payloads":             {sign([]byte(`{"alg":"RS256","typ":"JWT","version":"2"}`), append(oldRaw, oldRaw...), base64.StdEncoding, m.own), ErrMalformed},
		"old, line break in signature":  {oldGood[:len(oldGood)-4] + "\n" + oldGood[len(oldGood)-4:], ErrMalformed},
		"huge":                          {strings.Repeat("a", maxToken) + "." + good, ErrMalformed},
	} {
		if _, err := m.keys.parseAccess(c.token); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := m.keys.parseAccess(good); err != nil {
		t.Fatalf("the token that all are made from: %v", err)
	}
	if _, err := m.keys.parseAccess(oldGood); err != nil {
		t.Fatalf("the old token that all are made from: %v", err)
	}
}

// TestEveryFlippedBitIsSeen changes each character of a token in turn.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	t.Parallel()
	m := made()
	good := sign(jsonText(v5Header()), jsonText(v5Claims()), base64.RawURLEncoding, m.own)
	for i := range len(good) {
		if good[i] == '.' {
			continue
		}
		changed := []byte(good)
		changed[i] = 'A'
		if good[i] == 'A' {
			changed[i] = 'g' // differs in the top bit, which even a last character uses
		}
		if _, err := m.keys.parseAccess(string(changed)); err == nil {
			t.Errorf("character %d may be changed", i)
		}
	}
}

func TestErrorsRepeatNoToken(t *testing.T) {
	t.Parallel()
	m := made()
	for _, token := range []string{
		"canary-1.canary-2.canary-3", "canary.V2", "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5.canary.V2",
		sign(jsonText(v5Header()), jsonText(map[string]any{"sub": "canary"}), base64.RawURLEncoding, m.own),
	} {
		_, err := m.keys.parseAccess(token)
		_, err2 := m.keys.parseRefresh(token)
		for _, err := range []error{err, err2} {
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v", err)
			}
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	m := made()
	private := strings.SplitN(m.keys.All[0].private.Reveal(), "=", 2)[0]
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if printed := fmt.Sprintf(format, *m.keys); strings.Contains(printed, private) {
			t.Errorf("%s prints a private key", format)
		}
	}
	public, err := m.keys.PEM()
	if err != nil || strings.Contains(string(public), "PRIVATE") || !strings.Contains(string(public), "BEGIN PUBLIC KEY") {
		t.Errorf("public PEM: %s, %v", public, err)
	}
	secret, err := m.keys.PrivatePEM()
	if err != nil || strings.Count(string(secret), "BEGIN PRIVATE KEY") != 2 {
		t.Errorf("private PEM has %d keys, %v", strings.Count(string(secret), "BEGIN PRIVATE KEY"), err)
	}
	if set, err := m.keys.PrivateJWKS(); err != nil || !strings.Contains(string(set), `"d":`) {
		t.Errorf("private JWKS: %v", err)
	}
}

func TestMalformedKeyRows(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		table supertokens.TableName
		pair  string
	}{
		{tableRotating, "no separator"},
		{tableRotating, "!;x"},
		{tableRotating, "aGVsbG8=;x"},
		{tableStatic, "aGVsbG8=|x"},
	} {
		var b keyBuilder
		v := []string{"1700000000000", row.pair}
		if row.table == tableStatic {
			v = append(v, "RS256", "")
		}
		if err := b.add(row.table, v); err == nil || strings.Contains(err.Error(), row.pair) {
			t.Errorf("%v: %v", row, err)
		}
	}
	var b keyBuilder
	if err := b.add(tableStatic, []string{"k", "a|b", "ES256", ""}); err == nil {
		t.Error("an algorithm that is not known was taken")
	}
}

func FuzzAccessToken(f *testing.F) {
	m := made()
	f.Add(sign(jsonText(v5Header()), jsonText(v5Claims()), base64.RawURLEncoding, m.own))
	f.Add(oldHeader("2") + ".e30=.e30=")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := m.keys.parseAccess(token)
		if err == nil && (c.handle == "" || c.userID == "" || c.usedKeyID == "" || c.tenant == "") {
			t.Errorf("accepted without saying whose: %+v", c)
		}
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
			t.Errorf("unnamed reason: %v", err)
		}
	})
}

func FuzzRefreshToken(f *testing.F) {
	keys := &Keys{refresh: canonical.NewSecret("1000:aa:bb")}
	f.Add("YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=.nonce.V2")
	f.Add("..V2")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := keys.parseRefresh(token); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
			t.Errorf("answer %v", err)
		}
	})
}

func FuzzKeyRow(f *testing.F) {
	f.Add("a;b")
	f.Add("a|b")
	f.Fuzz(func(t *testing.T, value string) {
		var b keyBuilder
		if err := b.add(tableRotating, []string{"1", value}); err == nil && b.out.All[0].Public == nil {
			t.Error("a key without a public half")
		}
	})
}

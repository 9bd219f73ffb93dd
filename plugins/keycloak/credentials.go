package keycloak

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
)

// passwordLabel marks a password that came from here. The server drops the label
// when the user chooses a new one.
const passwordLabel = "supertokens"

type credential struct {
	ID             string     `json:"id,omitempty"`
	Type           string     `json:"type"`
	UserLabel      string     `json:"userLabel,omitempty"`
	CreatedDate    int64      `json:"createdDate"`
	CredentialData string     `json:"credentialData"`
	SecretData     secretJSON `json:"secretData"`
}

// secretJSON is JSON text that holds a hash or a key. It is written by
// encoding/json and printed by nothing.
type secretJSON string

const redacted = "‹secret›"

// Format implements [fmt.Formatter].
func (secretJSON) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer].
func (secretJSON) LogValue() slog.Value { return slog.StringValue(redacted) }

const (
	typePassword = "password"
	typeOTP      = "otp"

	credentialIDSize = 36
)

// credentialSpace makes credential ids deterministic, so that the same
// credential sent twice is recognised by the server.
var credentialSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/stetl/stetl/keycloak/credential"))

// credentialID is the id of a credential. Its second half follows from the account and
// the first half, so that it tells by itself that a load has made it.
func credentialID(userID, kind, name string) string {
	return sealed(userID, uuid.NewSHA1(credentialSpace, []byte(userID+"\x00"+kind+"\x00"+name)))
}

// runsMark tells the passwords that runs of one journal load from those of others: it is
// part of their ids. The time at which an account was made is the source's, and tells
// nothing.
func runsMark(f sdk.Fingerprints) string { return f.Of("password of this journal") }

// ownCredential reports whether a load has made the credential of an account.
func ownCredential(userID, id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && sealed(userID, parsed) == id
}

func sealed(userID string, id uuid.UUID) string {
	id[6] = id[6]&0x0f | 0x80 // version 8: of our own making
	seal := uuid.NewSHA1(credentialSpace, append([]byte(userID+"\x00"), id[:8]...))
	copy(id[8:], seal[8:])
	return id.String()
}

type passwordData struct {
	HashIterations       uint32              `json:"hashIterations"`
	Algorithm            string              `json:"algorithm"`
	AdditionalParameters map[string][]string `json:"additionalParameters"`
}

type passwordSecret struct {
	Value                string              `json:"value"`
	Salt                 string              `json:"salt"`
	AdditionalParameters map[string][]string `json:"additionalParameters"`
}

type otpData struct {
	SubType        string `json:"subType"`
	Digits         int    `json:"digits"`
	Counter        int    `json:"counter"`
	Period         int64  `json:"period"`
	Algorithm      string `json:"algorithm"`
	SecretEncoding string `json:"secretEncoding"`
}

type otpSecret struct {
	Value string `json:"value"`
}

func credentials(u *sdk.User, r *representation, mark string) *sdk.Outcome {
	if !u.Password.IsZero() {
		data, secret, ok := passwordCredential(u.Password)
		if !ok {
			return reject(u, sdk.CodeHashUnsupported, "Keycloak cannot verify "+u.Password.Shape(), "load the user without a password, and reset the password")
		}
		created := u.Created
		if u.Canary() {
			created = time.Now() // a policy that expires passwords must not spoil the proof
		}
		r.Credentials = append(r.Credentials, credential{
			ID: credentialID(u.ID, typePassword, mark), Type: typePassword, UserLabel: passwordLabel,
			CreatedDate: millis(created), CredentialData: text(data), SecretData: secretJSON(text(secret)),
		})
	}
	labels := map[string]bool{}
	for i, d := range u.TOTP {
		secret := strings.ToUpper(strings.TrimRight(strings.ReplaceAll(d.Secret.Reveal(), " ", ""), "="))
		key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
		if err != nil || len(key) == 0 || d.Period < time.Second || d.Period%time.Second != 0 {
			return reject(u, sdk.CodeTOTPInvalid, fmt.Sprintf("authenticator %d has a secret that is not base32 or a period that is not whole seconds", i+1),
				"remove that device in SuperTokens; without it the user could not sign in")
		}
		label := uniqueLabel(d.Name, labels)
		if label != d.Name {
			r.notes = append(r.notes, fmt.Sprintf("authenticator %d is called %q, because Keycloak needs different names of at most %d characters", i+1, label, maxField))
		}
		created := d.Created
		if !known(created) {
			created = u.Created
		}
		r.Credentials = append(r.Credentials, credential{
			ID: credentialID(u.ID, typeOTP, d.Name), Type: typeOTP, UserLabel: label, CreatedDate: millis(created),
			CredentialData: text(otpData{
				SubType: "totp", Digits: 6, Period: int64(d.Period / time.Second), Algorithm: "HmacSHA1", SecretEncoding: "BASE32",
			}),
			SecretData: secretJSON(text(otpSecret{Value: secret})),
		})
	}
	return nil
}

func passwordCredential(h sdk.PasswordHash) (data passwordData, secret passwordSecret, ok bool) {
	data.AdditionalParameters, secret.AdditionalParameters = map[string][]string{}, map[string][]string{}
	switch h.Scheme {
	case sdk.Bcrypt:
		data.Algorithm, data.HashIterations = "bcrypt", uint32(h.Cost) //nolint:gosec // at most 31
		secret.Value = h.Encode()                                      // the provider reads salt and cost out of this text
		return data, secret, true
	case sdk.Argon2id, sdk.Argon2i, sdk.Argon2d:
		number := func(n uint32) []string { return []string{strconv.FormatUint(uint64(n), 10)} }
		version := "1.3"
		if h.Argon2.Version == 0x10 {
			version = "1.0"
		}
		data.Algorithm, data.HashIterations = "argon2", h.Argon2.Iterations
		data.AdditionalParameters["type"] = []string{strings.TrimPrefix(string(h.Scheme), "argon2")}
		data.AdditionalParameters["version"] = []string{version}
		data.AdditionalParameters["memory"] = number(h.Argon2.MemoryKiB)
		data.AdditionalParameters["parallelism"] = number(h.Argon2.Parallelism)
		data.AdditionalParameters["hashLength"] = []string{strconv.Itoa(len(h.Digest()))}
		// The server compares base64 texts, so the padding that PHC leaves out is needed.
		secret.Value = base64.StdEncoding.EncodeToString(h.Digest())
		secret.Salt = base64.StdEncoding.EncodeToString(h.Salt())
		return data, secret, true
	case sdk.FirebaseScrypt, sdk.UnknownScheme:
	}
	return data, secret, false
}

// uniqueLabel returns name, shortened and numbered where needed: since 26.3 the
// server refuses two labels of one kind that differ in case or outer blanks only.
// A blank name gives no label, which may repeat.
func uniqueLabel(name string, taken map[string]bool) string {
	if strings.TrimSpace(name) == "" {
		return ""
	}
	label := cut(name, maxField)
	for n := 2; taken[foldLabel(label)]; n++ {
		suffix := fmt.Sprintf(" %d", n)
		label = cut(strings.TrimSpace(name), maxField-len(suffix)) + suffix
	}
	taken[foldLabel(label)] = true
	return label
}

// foldLabel compares as Java's equalsIgnoreCase does, character by character.
func foldLabel(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, strings.TrimSpace(s))
}

func cut(s string, units int) string {
	n := 0
	for i, c := range s {
		if n += utf16.RuneLen(c); n > units {
			return s[:i]
		}
	}
	return s
}

// text renders one of the structs above, which cannot fail.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

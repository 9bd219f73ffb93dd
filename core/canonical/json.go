package canonical

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"
)

// The wire structs fix the names and the order of the export format, which
// scripts rely on, independently of how the Go fields are called.
type userJSON struct {
	App            string              `json:"appId"`
	InternalID     string              `json:"internalId"`
	ID             string              `json:"visibleId"`
	ExternalIDInfo *string             `json:"externalIdInfo"`
	Primary        bool                `json:"isPrimary"`
	GhostPrimary   bool                `json:"ghostPrimary"`
	TimeJoined     *int64              `json:"timeJoinedMs"`
	Logins         []loginJSON         `json:"loginMethods"`
	Metadata       json.RawMessage     `json:"metadata"`
	Roles          map[string][]string `json:"roles"`
	TOTPDevices    []totpJSON          `json:"totpDevices"`
	LastActive     *int64              `json:"lastActiveMs"`
}

type loginJSON struct {
	Recipe         Recipe        `json:"recipe"`
	ID             string        `json:"recipeUserId"`
	VisibleID      string        `json:"visibleRecipeUserId"`
	Email          *string       `json:"email"`
	Verified       *bool         `json:"verified"`
	Phone          *string       `json:"phone"`
	Identity       *identityJSON `json:"thirdParty"`
	TimeJoined     *int64        `json:"timeJoinedMs"`
	Tenants        []string      `json:"tenants"`
	PasswordHash   *string       `json:"passwordHash,omitempty"`
	PasswordFormat *Scheme       `json:"passwordFormat"`
	WebAuthn       *webauthnJSON `json:"webauthn,omitempty"`
}

type identityJSON struct {
	Provider string `json:"id"`
	Subject  string `json:"userId"`
}

type webauthnJSON struct {
	RelyingParty string        `json:"rpId"`
	Credentials  []passkeyJSON `json:"credentials"`
}

type passkeyJSON struct {
	ID         string          `json:"credentialId"`
	Counter    int64           `json:"counter"`
	Transports json.RawMessage `json:"transports"`
	PublicKey  string          `json:"publicKeyBlobHex"`
}

type totpJSON struct {
	Name     string  `json:"name"`
	Secret   *string `json:"secret,omitempty"`
	Period   int64   `json:"period"`
	Skew     int     `json:"skew"`
	Verified bool    `json:"verified"`
	Created  *int64  `json:"createdMs"`
}

// MarshalJSON writes the export shape without password hashes and TOTP
// secrets; their keys are left out.
func (u User) MarshalJSON() ([]byte, error) { return u.encode(false) }

// RevealJSON writes the export shape with password hashes and TOTP secrets in
// the clear. The result belongs in a file that only its owner can read.
func (u *User) RevealJSON() ([]byte, error) { return u.encode(true) }

func (u *User) encode(reveal bool) ([]byte, error) {
	out := userJSON{
		App: u.App, InternalID: u.InternalID, ID: u.ID, ExternalIDInfo: u.ExternalIDInfo,
		Primary: u.Primary, GhostPrimary: u.GhostPrimary,
		TimeJoined: millis(u.TimeJoined), LastActive: millis(u.LastActive),
		Metadata: u.Metadata, Roles: u.Roles,
		Logins: make([]loginJSON, len(u.Logins)), TOTPDevices: make([]totpJSON, len(u.TOTPDevices)),
	}
	if out.Roles == nil {
		out.Roles = map[string][]string{}
	}
	for i := range u.Logins {
		out.Logins[i] = encodeLogin(&u.Logins[i], reveal)
	}
	for i, d := range u.TOTPDevices {
		out.TOTPDevices[i] = totpJSON{
			Name: d.Name, Period: int64(d.Period / time.Second), Skew: d.Skew, Verified: d.Verified, Created: millis(d.Created),
		}
		if reveal {
			secret := d.Secret.Reveal()
			out.TOTPDevices[i].Secret = &secret
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // ids and metadata stay readable and byte-stable
	if err := enc.Encode(out); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func encodeLogin(l *Login, reveal bool) loginJSON {
	out := loginJSON{
		Recipe: l.Recipe, ID: l.ID, VisibleID: l.VisibleID, Email: l.Email, Verified: l.Verified, Phone: l.Phone,
		TimeJoined: millis(l.TimeJoined), Tenants: l.Tenants,
	}
	if out.Tenants == nil {
		out.Tenants = []string{}
	}
	if l.Identity != nil {
		out.Identity = &identityJSON{Provider: l.Identity.Provider, Subject: l.Identity.Subject}
	}
	if !l.Password.IsZero() {
		out.PasswordFormat = &l.Password.Scheme
		if reveal {
			stored := l.Password.Encode()
			out.PasswordHash = &stored
		}
	}
	for _, p := range l.Passkeys {
		if out.WebAuthn == nil {
			out.WebAuthn = &webauthnJSON{RelyingParty: p.RelyingParty}
		}
		out.WebAuthn.Credentials = append(out.WebAuthn.Credentials, passkeyJSON{
			ID: p.ID, Counter: p.Counter, Transports: p.Transports, PublicKey: hex.EncodeToString(p.PublicKey),
		})
	}
	return out
}

func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

// MarshalJSON implements [json.Marshaler], in the export format.
func (r Role) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		App         string   `json:"appId"`
		Name        string   `json:"role"`
		Permissions []string `json:"permissions"`
	}{r.App, r.Name, append([]string{}, r.Permissions...)})
}

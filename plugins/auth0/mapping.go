package auth0

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
)

// Limits of the import schema, in characters.
const (
	maxID       = 255
	maxEmail    = 254
	maxLocal    = 64
	maxName     = 150
	maxUsername = 128
	softProfile = 10 << 10 // bytes
)

// importUser is one user of an import file. The schema is closed: a property that
// it does not know would cost the user or the file.
type importUser struct {
	UserID             string                     `json:"user_id"`
	Email              string                     `json:"email,omitempty"`
	EmailVerified      bool                       `json:"email_verified"` // always: an upsert without it takes the verification away
	Username           string                     `json:"username,omitempty"`
	PhoneNumber        string                     `json:"phone_number,omitempty"`
	PhoneVerified      *bool                      `json:"phone_verified,omitempty"`
	GivenName          string                     `json:"given_name,omitempty"`
	FamilyName         string                     `json:"family_name,omitempty"`
	Name               string                     `json:"name,omitempty"`
	Blocked            bool                       `json:"blocked,omitempty"`
	PasswordHash       string                     `json:"password_hash,omitempty"`
	CustomPasswordHash *customHash                `json:"custom_password_hash,omitempty"`
	AppMetadata        map[string]json.RawMessage `json:"app_metadata,omitempty"`
	UserMetadata       json.RawMessage            `json:"user_metadata,omitempty"`
	MFAFactors         []mfaFactor                `json:"mfa_factors,omitempty"`
}

type mfaFactor struct {
	TOTP totpFactor `json:"totp"`
}

type totpFactor struct {
	Secret string `json:"secret"`
}

// metadataKey is the one key of app_metadata that is ours.
const metadataKey = "supertokens"

// origin is app_metadata.supertokens.
type origin struct {
	ID            string              `json:"id"`
	Joined        string              `json:"joined,omitempty"`
	Phone         string              `json:"phone,omitempty"`
	PhoneVerified *bool               `json:"phone_verified,omitempty"`
	OtherEmails   []otherEmail        `json:"other_emails,omitempty"`
	Identities    []identity          `json:"identities,omitempty"`
	Tenants       []string            `json:"tenants,omitempty"`
	Roles         map[string][]string `json:"roles,omitempty"`
	Metadata      json.RawMessage     `json:"metadata,omitempty"`
	// UserMetadata are the keys that a load has set there.
	UserMetadata []string `json:"user_metadata,omitempty"`
	// MetadataJSON is metadata with keys that Auth0 does not take, as text.
	MetadataJSON string `json:"metadata_json,omitempty"`
}

type otherEmail struct {
	Email    string `json:"email"`
	Verified bool   `json:"verified"`
}

type identity struct {
	Provider string `json:"provider"`
	UserID   string `json:"user_id"`
}

// record is a user on its way.
type record struct {
	importUser
	source   string
	visible  string // the id that the account's mark will have
	body     []byte // the user as it stands in an import file
	password password
	// belongs is what has to be assigned afterwards.
	belongs membership.Set
	// connection is that of the account. A passwordless user is created alone.
	connection string
	alone      bool
	notes      []string
	losses     []sdk.PartLoss
}

// lose names a part of the user that Auth0 does not take.
func (r *record) lose(feature sdk.Feature, attribute, detail string) {
	r.losses = append(r.losses, sdk.PartLoss{Feature: feature, Code: sdk.CodePartRefused, Attribute: attribute, Detail: detail})
}

// targetID is the id under which Auth0 will know the user.
func (r *record) targetID() string {
	if r.alone {
		return r.connection + "|" + r.UserID
	}
	return targetID(r.UserID)
}

// IDPrefix is what Auth0 puts in front of the ids of every database connection.
const IDPrefix = importjob.IDPrefix

func targetID(id string) string { return IDPrefix + id }

// mapper turns desired users into records. It does no I/O.
type mapper struct {
	config Config
	// assignRoles, organizations and seats (roles inside of organizations) say what this
	// tenant and application allow.
	assignRoles, organizations, seats bool
	// powers are what roles allow that are in the tenant.
	powers map[string]membership.Power
}

// user maps u, or says why Auth0 does not get it.
func (m mapper) user(u *sdk.User) (*record, *sdk.Outcome) {
	r := &record{source: u.SourceID, visible: u.ID, connection: m.config.Connection, importUser: importUser{
		// An application that came from Auth0 has stored ids with the prefix.
		UserID:        strings.TrimPrefix(u.ID, IDPrefix),
		EmailVerified: u.EmailVerified != nil && *u.EmailVerified,
		GivenName:     strings.TrimSpace(u.GivenName), FamilyName: strings.TrimSpace(u.FamilyName),
		Blocked: !u.Enabled,
	}}
	if out := checkID(u, r.UserID); out != nil {
		return nil, out
	}
	if u.Class == sdk.NoPassword {
		if out := m.passwordless(u, r); out != nil {
			return nil, out
		}
	} else if out := m.credentials(u, r); out != nil {
		return nil, out
	}
	for _, part := range []func(*sdk.User, *record) *sdk.Outcome{m.totp, m.identifiers} {
		if out := part(u, r); out != nil {
			return nil, out
		}
	}
	r.Name = strings.TrimSpace(r.GivenName + " " + r.FamilyName)
	if out := checkLengths(u, r); out != nil {
		return nil, out
	}
	m.memberships(u, r)
	if out := m.metadata(u, r); out != nil {
		return nil, out
	}
	body, err := json.Marshal(&r.importUser)
	if err != nil {
		return nil, reject(u, sdk.CodeTargetRefused, "the user cannot be encoded: "+err.Error(), "check its metadata in SuperTokens")
	}
	r.body = body
	switch {
	case len(body) > importjob.Budget-2:
		return nil, reject(u, sdk.CodeUserTooLarge, fmt.Sprintf("the user has %d bytes; an import job can have %d", len(body), importjob.Budget), "shorten the metadata in SuperTokens")
	case len(body) > softProfile:
		r.notes = append(r.notes, fmt.Sprintf("the profile has %d bytes; Auth0 recommends less than %d, and may refuse changes of such a user", len(body), softProfile))
	}
	return r, nil
}

func reject(u *sdk.User, code sdk.Code, detail, hint string) *sdk.Outcome {
	return &sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: code, Detail: detail, Hint: hint}
}

func deferred(u *sdk.User, code sdk.Code, detail, hint string) *sdk.Outcome {
	return &sdk.Outcome{SourceID: u.SourceID, Action: sdk.Skipped, Code: code, Detail: detail, Hint: hint}
}

func checkID(u *sdk.User, id string) *sdk.Outcome {
	const hint = "give the user another id in SuperTokens (createUserIdMapping), or remove that id mapping, so that the internal id is used"
	switch {
	case utf8.RuneCountInString(id) > maxID-len(IDPrefix):
		return reject(u, sdk.CodeIDTooLong, fmt.Sprintf("the id has %d characters; Auth0 allows %d", utf8.RuneCountInString(id), maxID-len(IDPrefix)), hint)
	case id == "":
		return reject(u, sdk.CodeIDInvalid, "the user has no id", hint)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return reject(u, sdk.CodeIDInvalid, "the id has white space or a control character, which Auth0 does not accept", hint)
	}
	return nil
}

// passwordless sends a user without password to the connection that can take it,
// or defers it: an import would give it a random password.
func (m mapper) passwordless(u *sdk.User, r *record) *sdk.Outcome {
	switch {
	case len(u.Identities) > 0:
		return deferred(u, codeSocialDeferred, "the user signs in through "+providers(u)+", and Auth0 creates such users only at their first sign-in",
			"switch the provider on in Auth0; the file of deferred accounts has the provider ids, to restore the user's data")
	case m.config.Passwordless != choiceCreate:
		return deferred(u, codePasswordlessDeferred, "the user has no password, and an import job creates only users with passwords",
			"set passwordless: create, or let Auth0 create the user at the first sign-in with a code")
	case u.Email != "":
		r.connection, r.alone = connectionEmail, true
	case u.Phone != "":
		r.connection, r.alone = connectionSMS, true
	default:
		return deferred(u, codePasswordlessDeferred, "the user has neither password nor e-mail address nor phone number", "its way to sign in does not exist in Auth0")
	}
	return nil
}

// The names of Auth0's passwordless connections are fixed.
const (
	connectionEmail = "email"
	connectionSMS   = "sms"
)

func providers(u *sdk.User) string {
	var names []string
	for _, id := range u.Identities {
		names = append(names, id.Provider)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

func (m mapper) credentials(u *sdk.User, r *record) *sdk.Outcome {
	why := "Auth0 cannot verify the password hash"
	if u.Class == sdk.HashCarried {
		if r.password, why = translate(u.Password); why == "" {
			r.PasswordHash, r.CustomPasswordHash = r.password.native, r.password.custom
			if r.password.note != "" {
				r.notes = append(r.notes, r.password.note)
			}
			return nil
		}
	}
	if m.config.UnsupportedHash == choiceDefer {
		return deferred(u, codeHashDeferred, why+"; if the user were loaded without it, no later import could add the password",
			"set up a custom database that asks SuperTokens at the first sign-in, or set unsupported_hash: reset to load the user without a password")
	}
	r.notes = append(r.notes, why+": the user has to reset the password")
	return nil
}

var base32Pattern = regexp.MustCompile(`^[A-Z2-7]{16,}$`)

// totp carries the first authenticator that Auth0 can: it has one for a user, with
// steps of 30 s.
func (m mapper) totp(u *sdk.User, r *record) *sdk.Outcome {
	left := 0
	for _, d := range u.TOTP {
		secret := strings.ToUpper(strings.TrimRight(strings.ReplaceAll(d.Secret.Reveal(), " ", ""), "="))
		switch {
		case d.Period != 30*time.Second || len(r.MFAFactors) > 0:
			left++
		case !base32Pattern.MatchString(secret):
			return reject(u, sdk.CodeTOTPInvalid, "the secret of an authenticator is not base32", "remove the device in SuperTokens")
		default:
			r.MFAFactors = []mfaFactor{{totpFactor{secret}}}
		}
	}
	if left > 0 {
		r.lose(sdk.CarriesTOTP, "", fmt.Sprintf("%d authenticator(s) are not carried: Auth0 accepts one for each user, with a period of 30 s", left))
	}
	return nil
}

// emailPattern is what every validator of addresses agrees on.
var emailPattern = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~` + "`" + `-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~` + "`" + `-]+)*@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$`)

var (
	phonePattern    = regexp.MustCompile(`^\+[0-9]{1,15}$`)
	usernamePattern = regexp.MustCompile("^[a-z0-9@^$.!`\\-#+'~_]{1,128}$")
)

// identifiers sets what people sign in with.
func (m mapper) identifiers(u *sdk.User, r *record) *sdk.Outcome {
	email := strings.ToLower(strings.TrimSpace(u.Email))
	local, _, _ := strings.Cut(email, "@")
	problem := ""
	switch {
	case email == "":
		problem = "the user has no e-mail address"
	case len(email) > maxEmail || len(local) > maxLocal:
		problem = fmt.Sprintf("the e-mail address is longer than Auth0 allows (%d, and %d before the @)", maxEmail, maxLocal)
	case !emailPattern.MatchString(email):
		problem = "Auth0 does not accept the e-mail address"
	default:
		r.Email = email
	}
	if phonePattern.MatchString(u.Phone) && (m.config.PhoneNumbers == choiceAttribute || r.alone && r.connection == connectionSMS) {
		verified := u.PhoneVerified != nil && *u.PhoneVerified
		r.PhoneNumber, r.PhoneVerified = u.Phone, &verified
	}
	if problem == "" {
		return nil
	}
	r.EmailVerified = false
	if r.alone && r.connection == connectionSMS && r.PhoneNumber != "" {
		return nil
	}
	code, hint := sdk.CodeEmailInvalid, "correct it in SuperTokens"
	if email == "" {
		code, hint = sdk.CodeEmailMissing, "give the user an address in SuperTokens, or set without_email: import if the connection allows it"
	}
	if m.config.WithoutEmail != choiceImport {
		return reject(u, code, problem, hint)
	}
	name := strings.ToLower(u.Username)
	switch {
	case phonePattern.MatchString(u.Phone):
		verified := u.PhoneVerified != nil && *u.PhoneVerified
		r.PhoneNumber, r.PhoneVerified = u.Phone, &verified
	case name != "" && usernamePattern.MatchString(name) && !strings.Contains(name, "@"):
		r.Username = name
	default:
		return reject(u, code, problem+", and no phone number or user name that could be used instead", hint)
	}
	return nil
}

func checkLengths(u *sdk.User, r *record) *sdk.Outcome {
	for _, f := range [][2]string{{"the given name", r.GivenName}, {"the family name", r.FamilyName}} {
		if n := utf8.RuneCountInString(f[1]); n > maxName {
			return reject(u, sdk.CodeFieldTooLong, fmt.Sprintf("%s has %d characters; Auth0 allows %d", f[0], n, maxName), "shorten it in SuperTokens or leave it out in the mapping")
		}
	}
	if utf8.RuneCountInString(r.Name) > maxName {
		r.Name = "" // made of the two above, which are there
	}
	return nil
}

// publicTenant is where every SuperTokens installation begins.
const publicTenant = "public"

var organizationPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,49}$`)

// harmless leaves out roles that would make somebody an administrator of the tenant by
// nothing but their name, and notes each as lost.
func (m mapper) harmless(roles []string, r *record) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(name string) bool {
		if !m.powers[name].Administers || slices.Contains(m.config.AcceptRoles, name) {
			return false
		}
		r.losses = append(r.losses, sdk.PartLoss{
			Feature: sdk.CarriesRoles, Code: codePower, Attribute: name, Detail: "the role of that name in the tenant may use the Management API",
		})
		return true
	})
}

func (m mapper) memberships(u *sdk.User, r *record) {
	if m.assignRoles {
		r.belongs.Roles = m.harmless(u.Roles[publicTenant], r)
	}
	if !m.organizations {
		return
	}
	r.belongs.Organizations = map[string][]string{}
	for _, tenant := range u.Tenants {
		switch {
		case tenant == publicTenant:
		case organizationPattern.MatchString(tenant):
			var roles []string
			if m.seats {
				roles = m.harmless(u.Roles[tenant], r)
			}
			r.belongs.Organizations[tenant] = roles
		default:
			r.notes = append(r.notes, fmt.Sprintf("tenant %q cannot be the name of an organization and is kept in app_metadata only", tenant))
		}
	}
}

// metadata keeps what Auth0 has no field for.
func (m mapper) metadata(u *sdk.User, r *record) *sdk.Outcome {
	o := origin{ID: u.ID, Phone: u.Phone, Roles: u.Roles}
	if u.Phone != "" {
		o.PhoneVerified = u.PhoneVerified
	}
	if !u.Created.IsZero() && u.Created.UnixMilli() > 0 {
		o.Joined = u.Created.UTC().Format(time.RFC3339Nano)
	}
	for _, a := range u.OtherEmails {
		o.OtherEmails = append(o.OtherEmails, otherEmail{a.Email, a.Verified != nil && *a.Verified})
	}
	for _, id := range u.Identities {
		o.Identities = append(o.Identities, identity{id.Provider, id.Subject})
	}
	if len(u.Tenants) != 1 || u.Tenants[0] != publicTenant {
		o.Tenants = u.Tenants
	}
	o.Roles = withoutDots(o.Roles, r)
	if len(u.Metadata) > 0 {
		if out := m.place(u, r, &o); out != nil {
			return out
		}
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return reject(u, sdk.CodeTargetRefused, "the metadata is not JSON: "+err.Error(), "correct it in SuperTokens")
	}
	r.AppMetadata = map[string]json.RawMessage{metadataKey: raw}
	return nil
}

// withoutDots keeps tenant ids that Auth0 does not take as keys out of them.
func withoutDots(roles map[string][]string, r *record) map[string][]string {
	for _, tenant := range slices.Sorted(maps.Keys(roles)) {
		if strings.ContainsAny(tenant, ".$") {
			r.lose(sdk.CarriesRoles, tenant, "Auth0 does not allow keys with . or $, so the roles of this tenant are not stored")
			roles = maps.Clone(roles)
			delete(roles, tenant)
		}
	}
	return roles
}

func (m mapper) place(u *sdk.User, r *record, o *origin) *sdk.Outcome {
	var v any
	if err := json.Unmarshal(u.Metadata, &v); err != nil {
		return reject(u, sdk.CodeTargetRefused, "the metadata is not JSON: "+err.Error(), "correct it in SuperTokens")
	}
	if rounds(u.Metadata) {
		r.lose(sdk.CarriesMetadata, "", "Auth0 keeps about 16 digits of a number: longer numbers are rounded")
	}
	object, isObject := v.(map[string]any)
	switch {
	case v == nil || (isObject && len(object) == 0):
	case badKeys(v):
		o.MetadataJSON = string(u.Metadata)
		r.notes = append(r.notes, "metadata has keys with . or $, which Auth0 does not allow: it is stored as text in app_metadata."+metadataKey+".metadata_json")
	case m.config.Metadata == inUserMetadata && isObject:
		r.UserMetadata, o.UserMetadata = u.Metadata, slices.Sorted(maps.Keys(object))
	default:
		o.Metadata = u.Metadata
	}
	return nil
}

// rounds reports whether JSON has whole numbers that floating ones, which is what Auth0 keeps,
// cannot hold.
func rounds(raw json.RawMessage) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		n, ok := token.(json.Number)
		if !ok {
			continue
		}
		whole, err := n.Int64()
		if f := float64(whole); err == nil && (f >= math.MaxInt64 || int64(f) != whole) {
			return true
		}
	}
}

func badKeys(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if strings.ContainsAny(key, ".$") || badKeys(value) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, badKeys)
	}
	return false
}

func joinNotes(notes []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return n == "" }), "; ")
}

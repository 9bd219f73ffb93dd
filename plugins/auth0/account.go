package auth0

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// account is a user as the tenant shows it, as far as a load sets it.
type account struct {
	UserID        string                     `json:"user_id"`
	Email         string                     `json:"email"`
	EmailVerified bool                       `json:"email_verified"`
	Username      string                     `json:"username"`
	PhoneNumber   string                     `json:"phone_number"`
	PhoneVerified bool                       `json:"phone_verified"`
	GivenName     string                     `json:"given_name"`
	FamilyName    string                     `json:"family_name"`
	Name          string                     `json:"name"`
	Blocked       bool                       `json:"blocked"`
	LoginsCount   int                        `json:"logins_count"`
	AppMetadata   map[string]json.RawMessage `json:"app_metadata"`
	UserMetadata  map[string]json.RawMessage `json:"user_metadata"`
	Identities    []struct {
		Connection string `json:"connection"`
	} `json:"identities"`

	// roles and organizations are read with calls of their own, where they are asked for.
	roles         []string
	organizations map[string][]string
	believed      bool // they could not be read
}

// in reports whether the account is of a connection, as far as the tenant shows it.
func (a *account) in(connection string) bool {
	return len(a.Identities) == 0 || a.Identities[0].Connection == connection
}

// origin is what a load left in the account; its id is empty where none did.
func (a *account) origin() (o origin) {
	_ = json.Unmarshal(a.AppMetadata[metadataKey], &o) // anything else is not ours
	return o
}

// The names of fields in plans.
const (
	fieldEmail         = "email"
	fieldVerified      = "email_verified"
	fieldUsername      = "username"
	fieldPhone         = "phone_number"
	fieldPhoneVerified = "phone_verified"
	fieldGiven         = "given_name"
	fieldFamily        = "family_name"
	fieldName          = "name"
	fieldBlocked       = "blocked"
	fieldOrigin        = "app_metadata." + metadataKey
	prefixUserMetadata = "user_metadata."
	fieldRoles         = "roles"
	fieldOrganizations = "organizations"
	fieldPassword      = "password"
)

// fields is everything of an account that a load may have set. It is a function of
// the account alone, so that an undo can compare as well.
func (a *account) fields() map[string]string {
	f := map[string]string{
		fieldEmail: a.Email, fieldVerified: strconv.FormatBool(a.EmailVerified), fieldUsername: a.Username, fieldPhone: a.PhoneNumber,
		fieldGiven: a.GivenName, fieldFamily: a.FamilyName, fieldName: a.Name, fieldBlocked: strconv.FormatBool(a.Blocked),
		fieldOrigin: normal(a.AppMetadata[metadataKey]), fieldRoles: strings.Join(a.roles, ", "), fieldOrganizations: memberText(a.organizations),
	}
	if a.PhoneNumber != "" {
		f[fieldPhoneVerified] = strconv.FormatBool(a.PhoneVerified)
	}
	if a.Name == a.Email || a.Name == a.PhoneNumber {
		delete(f, fieldName) // Auth0's own choice where there is no name
	}
	for key, value := range a.UserMetadata {
		f[prefixUserMetadata+key] = normal(value)
	}
	return f
}

// fields is what an account will have.
func (r *record) fields() map[string]string {
	a := account{
		Email: r.Email, EmailVerified: r.EmailVerified, Username: r.Username, PhoneNumber: r.PhoneNumber, GivenName: r.GivenName,
		FamilyName: r.FamilyName, Name: r.Name, Blocked: r.Blocked, AppMetadata: r.AppMetadata, roles: slices.Sorted(slices.Values(r.roles)),
		organizations: r.organizations,
	}
	a.PhoneVerified = r.PhoneVerified != nil && *r.PhoneVerified
	if len(r.UserMetadata) > 0 {
		_ = json.Unmarshal(r.UserMetadata, &a.UserMetadata) // an object, see place
	}
	return a.fields()
}

// compared restricts what an account has to what a load would write.
func compared(held, want map[string]string) map[string]string {
	f := maps.Clone(held)
	for name := range held {
		_, asked := want[name]
		optional := name == fieldUsername || name == fieldPhone || name == fieldPhoneVerified || name == fieldName || name == fieldEmail
		if (optional && want[name] == "") || (strings.HasPrefix(name, prefixUserMetadata) && !asked) {
			f[name] = want[name]
		}
	}
	return f
}

func memberText(organizations map[string][]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(organizations)) {
		if roles := slices.Sorted(slices.Values(organizations[name])); len(roles) > 0 {
			name += " (" + strings.Join(roles, ", ") + ")"
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// normal writes JSON so that equal values are equal text.
func normal(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	var v any // numbers as doubles, which is what Auth0 makes of them
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(out)
}

// A state is a fingerprint of the password that was last sent, which cannot be read
// back, and one of everything that can.
const secretSize = 9

func (t *live) state(secret []byte, fields map[string]string) []byte {
	return append(slices.Clone(secret), t.env.Fingerprints.State(fields)...)
}

func (t *live) secret(r *record) []byte { return []byte(t.env.Fingerprints.Of(r.password.secret())) }

// sent splits a state: the password last sent, zeros when unknown, and the rest.
func sent(state []byte) (secret, rest []byte) {
	if len(state) < secretSize {
		return make([]byte, secretSize), nil
	}
	return state[:secretSize], state[secretSize:]
}

// verdict is what is to become of one user. Created means: send it.
type verdict struct {
	outcome sdk.Outcome
	fields  []sdk.FieldChange
	record  *record // nil when mapping rejected the user
	held    *account
	rehash  bool // the source has another password than was last sent
	resume  bool // the account is of an interrupted load, and what is missing has to be added
}

// judge decides what becomes of r, given the accounts in its way.
func (t *live) judge(u *sdk.User, r *record, h holders) verdict {
	v := verdict{record: r, held: h.id, outcome: sdk.Outcome{SourceID: r.source}}
	no := func(code sdk.Code, detail string) verdict {
		v.outcome.Action, v.outcome.Code, v.outcome.Detail = sdk.Rejected, code, detail
		v.outcome.Hint = "merge the two accounts in SuperTokens, or change the one in the tenant, and run again"
		return v
	}
	switch {
	case h.id != nil && !h.id.in(t.connectionOf(r)):
		return no(sdk.CodeIDConflict, "the id belongs to a user of connection "+h.id.Identities[0].Connection)
	case h.id == nil && h.email != nil && t.connectionOf(r) == t.config.Connection:
		return no(sdk.CodeEmailConflict, "the e-mail address belongs to the user "+h.email.UserID+" of the connection")
	case h.id == nil && h.email != nil:
		v.held = h.email // a passwordless user gets the id that Auth0 chooses
	case h.id == nil:
		v.outcome.Action, v.outcome.TargetID, v.outcome.Detail = sdk.Created, t.idOf(r), joinNotes(r.notes)
		return v
	}
	return t.compare(u, v)
}

// compare is about an account that is there.
func (t *live) compare(u *sdk.User, v verdict) verdict {
	want, all := v.record.fields(), v.held.fields()
	now := compared(all, want)
	last, rest := sent(u.Prior.State)
	fresh := t.secret(v.record)
	if len(rest) == 0 {
		last = fresh // nobody knows better
	}
	v.outcome.TargetID, v.outcome.State = v.held.UserID, t.state(last, all)
	v.fields = t.env.Fingerprints.Diff(rest, now, want, func(_, value string) string { return value })
	if !bytes.Equal(last, fresh) {
		if v.held.LoginsCount > 0 {
			// Its owner has signed in: the password is Auth0's now.
			v.outcome.State = t.state(fresh, all)
		} else {
			v.rehash = true
			v.fields = append(v.fields, sdk.FieldChange{Field: fieldPassword, Old: string(last), New: string(fresh)})
		}
	}
	for _, f := range v.fields {
		v.outcome.Changed = append(v.outcome.Changed, f.Field)
	}
	switch {
	case len(v.fields) == 0:
		v.outcome.Action = sdk.Unchanged
	case u.Existing != sdk.Update:
		v.outcome.Action, v.outcome.Code = sdk.Skipped, sdk.CodeExistsDiffers
		v.outcome.Detail = "the account is there and differs in " + strings.Join(v.outcome.Changed, ", ")
		v.outcome.Hint, v.outcome.Changed = "change or delete it in the tenant; an existing account is never overwritten", nil
	case u.Expect != nil && !bytes.Equal(u.Expect, v.outcome.State):
		v.outcome.Action, v.outcome.Code = sdk.Rejected, sdk.CodeMoved
		v.outcome.Detail = "the account has changed in the tenant since it was looked at"
		v.outcome.Changed = nil
	default:
		v.outcome.Action = sdk.Updated
	}
	return v
}

// connectionOf is the connection that gets r, idOf its id there.
func (t *live) connectionOf(r *record) string {
	if r.connection != "" {
		return r.connection
	}
	return t.config.Connection
}

func (t *live) idOf(r *record) string {
	if r.connection != "" {
		return r.connection + "|" + r.UserID
	}
	return r.targetID()
}

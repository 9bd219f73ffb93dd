package wire

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// EncodeUser fails on text that is not UTF-8, because protobuf strings cannot
// hold it and one such user would break the whole message, and on a class that
// is none of the three.
func EncodeUser(u *pluginapi.User) (*pluginpb.User, error) {
	class, ok := classes[u.Class]
	if !ok {
		return nil, fmt.Errorf("password class %q is none of the three", u.Class)
	}
	t := &texts{}
	p := &pluginpb.User{
		SourceId:      t.check("source id", u.SourceID),
		Id:            t.check("id", u.ID),
		Username:      t.check("username", u.Username),
		Email:         t.check("email", u.Email),
		EmailVerified: u.EmailVerified,
		Phone:         t.check("phone", u.Phone),
		PhoneVerified: u.PhoneVerified,
		GivenName:     t.check("given name", u.GivenName),
		FamilyName:    t.check("family name", u.FamilyName),
		Enabled:       u.Enabled,
		Created:       encodeTime(u.Created),
		LastActive:    encodeTime(u.LastActive),
		PasswordClass: class,
		Tenants:       t.checkAll("tenant", u.Tenants),
		MetadataJson:  u.Metadata,
		Existing:      pluginpb.Existing_EXISTING_LEAVE,
		ExpectState:   u.Expect,
	}
	if u.Existing == pluginapi.Update {
		p.Existing = pluginpb.Existing_EXISTING_UPDATE
	}
	if u.Prior.TargetID != "" || u.Prior.State != nil || u.Prior.InDoubt || len(u.Prior.Linked) > 0 {
		p.Prior = &pluginpb.Prior{
			TargetId: t.check("target id", u.Prior.TargetID), State: u.Prior.State, InDoubt: u.Prior.InDoubt, Linked: t.checkAll("target id", u.Prior.Linked),
		}
	}
	if !u.Password.IsZero() {
		p.Password = &pluginpb.Password{
			Scheme:  string(u.Password.Scheme),
			Encoded: t.check("password hash", u.Password.Encode()),
		}
	}
	for _, a := range u.OtherEmails {
		p.OtherEmails = append(p.OtherEmails, &pluginpb.Address{Email: t.check("other email", a.Email), Verified: a.Verified})
	}
	for _, id := range u.Identities {
		p.Identities = append(p.Identities, &pluginpb.Identity{
			Provider: t.check("identity", id.Provider), Subject: t.check("identity", id.Subject), Name: t.check("identity", id.Name),
		})
	}
	for _, d := range u.TOTP {
		p.Totp = append(p.Totp, &pluginpb.TotpDevice{
			Name:     t.check("TOTP device", d.Name),
			Secret:   t.check("TOTP secret", d.Secret.Reveal()),
			Period:   durationpb.New(d.Period),
			Skew:     int64(d.Skew),
			Verified: d.Verified,
			Created:  encodeTime(d.Created),
		})
	}
	for i := range u.Passkeys {
		p.Passkeys = append(p.Passkeys, encodePasskey(t, &u.Passkeys[i]))
	}
	if len(u.Roles) > 0 {
		p.Roles = make(map[string]*pluginpb.RoleNames, len(u.Roles))
		for tenant, names := range u.Roles {
			p.Roles[t.check("tenant", tenant)] = &pluginpb.RoleNames{Names: t.checkAll("role", names)}
		}
	}
	return p, t.err
}

// DecodeUser fails on an enum value that this version does not know.
func DecodeUser(p *pluginpb.User) (pluginapi.User, error) {
	class, ok := decode(classes, p.GetPasswordClass())
	if !ok {
		return pluginapi.User{}, fmt.Errorf("user %s: unknown password class %d", p.GetSourceId(), p.GetPasswordClass())
	}
	u := pluginapi.User{
		SourceID:      p.GetSourceId(),
		ID:            p.GetId(),
		Username:      p.GetUsername(),
		Email:         p.GetEmail(),
		EmailVerified: p.EmailVerified,
		Phone:         p.GetPhone(),
		PhoneVerified: p.PhoneVerified,
		GivenName:     p.GetGivenName(),
		FamilyName:    p.GetFamilyName(),
		Enabled:       p.GetEnabled(),
		Created:       decodeTime(p.GetCreated()),
		LastActive:    decodeTime(p.GetLastActive()),
		Password:      canonical.ParsePasswordHash(p.GetPassword().GetEncoded()),
		Class:         class,
		Tenants:       p.GetTenants(),
		Metadata:      json.RawMessage(p.MetadataJson),
		Prior: pluginapi.Prior{
			TargetID: p.GetPrior().GetTargetId(), State: p.GetPrior().GetState(), InDoubt: p.GetPrior().GetInDoubt(), Linked: p.GetPrior().GetLinked(),
		},
		Expect: p.ExpectState,
	}
	switch p.GetExisting() {
	case pluginpb.Existing_EXISTING_UNSPECIFIED, pluginpb.Existing_EXISTING_LEAVE:
	case pluginpb.Existing_EXISTING_UPDATE:
		u.Existing = pluginapi.Update
	default:
		return pluginapi.User{}, fmt.Errorf("user %s: unknown rule %d for an existing account", p.GetSourceId(), p.GetExisting())
	}
	for _, a := range p.GetOtherEmails() {
		u.OtherEmails = append(u.OtherEmails, pluginapi.Address{Email: a.GetEmail(), Verified: a.Verified})
	}
	for _, id := range p.GetIdentities() {
		u.Identities = append(u.Identities, pluginapi.Identity{Provider: id.GetProvider(), Subject: id.GetSubject(), Name: id.GetName()})
	}
	for _, d := range p.GetTotp() {
		u.TOTP = append(u.TOTP, canonical.TOTPDevice{
			Name:     d.GetName(),
			Secret:   canonical.NewSecret(d.GetSecret()),
			Period:   d.GetPeriod().AsDuration(),
			Skew:     int(d.GetSkew()),
			Verified: d.GetVerified(),
			Created:  decodeTime(d.GetCreated()),
		})
	}
	for _, k := range p.GetPasskeys() {
		u.Passkeys = append(u.Passkeys, decodePasskey(k))
	}
	if len(p.GetRoles()) > 0 {
		u.Roles = make(map[string][]string, len(p.GetRoles()))
		for tenant, roles := range p.GetRoles() {
			u.Roles[tenant] = roles.GetNames()
		}
	}
	return u, nil
}

func encodePasskey(t *texts, k *pluginapi.Passkey) *pluginpb.Passkey {
	return &pluginpb.Passkey{
		Id:                 t.check("passkey", k.ID),
		RelyingPartyId:     t.check("relying party", k.RelyingParty),
		AttestedCredential: k.Attested,
		UserHandle:         k.UserHandle,
		Counter:            k.Counter,
		Transports:         t.checkAll("transport", k.Transports),
		Name:               t.check("passkey", k.Name),
		Created:            encodeTime(k.Created),
	}
}

func decodePasskey(p *pluginpb.Passkey) pluginapi.Passkey {
	return pluginapi.Passkey{
		ID: p.GetId(), RelyingParty: p.GetRelyingPartyId(), Attested: p.GetAttestedCredential(), UserHandle: p.GetUserHandle(),
		Counter: p.GetCounter(), Transports: p.GetTransports(), Name: p.GetName(), Created: decodeTime(p.GetCreated()),
	}
}

var classes = map[pluginapi.Class]pluginpb.PasswordClass{
	pluginapi.HashCarried: pluginpb.PasswordClass_PASSWORD_CLASS_HASH_CARRIED,
	pluginapi.NeedsReset:  pluginpb.PasswordClass_PASSWORD_CLASS_NEEDS_RESET,
	pluginapi.NoPassword:  pluginpb.PasswordClass_PASSWORD_CLASS_NO_PASSWORD,
}

// decode looks an enum value up in a table of at most a few entries.
func decode[G, P comparable](table map[G]P, p P) (G, bool) {
	for g, have := range table {
		if have == p {
			return g, true
		}
	}
	var zero G
	return zero, false
}

func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func decodeTime(p *timestamppb.Timestamp) time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.AsTime()
}

// texts remembers the first text that protobuf cannot hold.
type texts struct{ err error }

func (t *texts) check(field, s string) string {
	if t.err == nil && !utf8.ValidString(s) {
		t.err = fmt.Errorf("%s is not UTF-8 text", field)
	}
	return s
}

func (t *texts) checkAll(field string, all []string) []string {
	for _, s := range all {
		t.check(field, s)
	}
	return all
}

package pluginapi

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// Every change that a target could be asked to write must show.
func TestDigest(t *testing.T) {
	t.Parallel()
	yes := true
	base := func() User {
		return User{
			SourceID: "s", ID: "i", Username: "u", Email: "e", EmailVerified: &yes, Phone: "p", GivenName: "g", FamilyName: "f",
			OtherEmails: []Address{{Email: "o"}}, Enabled: true, Created: time.UnixMilli(5), Class: HashCarried,
			Password:   canonical.ParsePasswordHash("$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"),
			Identities: []Identity{{"google", "1", "n"}}, TOTP: []canonical.TOTPDevice{{Name: "t", Secret: canonical.NewSecret("x"), Period: time.Second}},
			Tenants: []string{"a", "b"}, Roles: map[string][]string{"a": {"r"}, "b": {"s"}}, Metadata: json.RawMessage(`{}`),
		}
	}
	key := []byte("key")
	u := base()
	want := u.Digest(key)
	for name, change := range map[string]func(*User){
		"id":               func(u *User) { u.ID = "j" },
		"username":         func(u *User) { u.Username, u.Email = "ue", "" }, // where one ends and the next begins
		"email":            func(u *User) { u.Email = "E" },
		"verified":         func(u *User) { u.EmailVerified = nil },
		"unverified":       func(u *User) { u.EmailVerified = new(false) },
		"phone":            func(u *User) { u.Phone = "" },
		"phone verified":   func(u *User) { u.PhoneVerified = &yes },
		"given name":       func(u *User) { u.GivenName = "" },
		"family name":      func(u *User) { u.FamilyName = "x" },
		"other emails":     func(u *User) { u.OtherEmails = nil },
		"other verified":   func(u *User) { u.OtherEmails[0].Verified = &yes },
		"enabled":          func(u *User) { u.Enabled = false },
		"created":          func(u *User) { u.Created = time.Time{} },
		"class":            func(u *User) { u.Class = NeedsReset },
		"password":         func(u *User) { u.Password = canonical.PasswordHash{} },
		"identity":         func(u *User) { u.Identities[0].Subject = "2" },
		"totp secret":      func(u *User) { u.TOTP[0].Secret = canonical.NewSecret("y") },
		"totp period":      func(u *User) { u.TOTP[0].Period = time.Minute },
		"tenants":          func(u *User) { u.Tenants = []string{"ab"} },
		"roles":            func(u *User) { u.Roles = map[string][]string{"a": {"r", "s"}} },
		"roles of another": func(u *User) { u.Roles = map[string][]string{"a": {"s"}, "b": {"r"}} },
		"metadata":         func(u *User) { u.Metadata = json.RawMessage(`{"a":1}`) },
	} {
		changed := base()
		change(&changed)
		if bytes.Equal(changed.Digest(key), want) {
			t.Errorf("%s: the digest does not change", name)
		}
	}
	same := base()
	same.Prior, same.Existing, same.Expect, same.LastActive = Prior{TargetID: "t"}, Update, []byte{1}, time.UnixMilli(9)
	if !bytes.Equal(same.Digest(key), want) {
		t.Error("what is not written changes the digest")
	}
	if bytes.Equal(same.Digest([]byte("other key")), want) {
		t.Error("the digest does not depend on the key")
	}
}

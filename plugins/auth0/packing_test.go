package auth0

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
)

// TestRequestsStayBelowTheLimit packs users of very different sizes, with
// characters that grow when they are encoded, and measures what would be sent.
func TestRequestsStayBelowTheLimit(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	limit, err := importjob.Room("con_0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	h := importjob.NewBuffer(limit, (*record).encoded)
	m := mapper{config: Config{}.withDefaults()}
	left := map[string]bool{}
	for n := range 6_000 {
		u := person(n, func(u *sdk.User) {
			size := random.IntN(300)
			if n%50 == 0 {
				size = random.IntN(30_000)
			}
			u.Metadata = json.RawMessage(fmt.Sprintf(`{"note":%q}`, strings.Repeat("<&é>", size/4)))
		})
		r, refused := m.user(&u)
		if refused != nil {
			t.Fatal(refused)
		}
		h.Add(r)
		left[r.UserID] = true
	}
	total, requests := 0, 0
	for h.Len() > 0 {
		last := !h.Full(1)
		users := h.Cut()
		body := importjob.Array(users, (*record).encoded)
		if len(body) > limit {
			t.Fatalf("%d bytes of users, %d are left for them", len(body), limit)
		}
		if !last {
			total, requests = total+importjob.Budget-limit+len(body), requests+1
		}
		var decoded []map[string]any
		if err := json.Unmarshal(body, &decoded); err != nil {
			t.Fatal(err)
		}
		for _, u := range decoded {
			id := u["user_id"].(string)
			if !left[id] {
				t.Fatalf("user %s came twice", id)
			}
			delete(left, id)
		}
	}
	if len(left) != 0 || h.Full(0) {
		t.Errorf("%d users were not sent, or some are still counted", len(left))
	}
	if fill := float64(total) / float64(requests*importjob.Budget); fill < 0.98 || requests < 10 {
		t.Errorf("%d requests are filled to %.3f", requests, fill)
	}
}

func TestOneUserThatFillsARequest(t *testing.T) {
	t.Parallel()
	m := mapper{config: Config{}.withDefaults()}
	u := person(1, func(u *sdk.User) {
		u.Metadata = json.RawMessage(`{"note":"` + strings.Repeat("x", importjob.Budget) + `"}`)
	})
	if _, refused := m.user(&u); refused == nil || refused.Code != sdk.CodeUserTooLarge {
		t.Errorf("%+v", refused)
	}
	u.Metadata = json.RawMessage(`{"note":"` + strings.Repeat("x", softProfile) + `"}`)
	if r, refused := m.user(&u); refused != nil || !strings.Contains(joinNotes(r.notes), "profile") {
		t.Errorf("%+v", refused)
	}
}

// TestMappedUsersFitTheSchema maps users with everything an account can have.
func TestMappedUsersFitTheSchema(t *testing.T) {
	t.Parallel()
	m := mapper{config: Config{}.withDefaults(), assignRoles: true, organizations: true, seats: true}
	full := person(1, everything)
	r, refused := m.user(&full)
	if refused != nil {
		t.Fatal(refused)
	}
	if err := simulator.ValidateFile(importjob.Array([]*record{r}, (*record).encoded)); err != nil {
		t.Errorf("%v\n%s", err, r.body)
	}
	const want = `{"user_id":"00000000-0000-4000-8000-000000000001","email":"ann@example.com","email_verified":true,` +
		`"given_name":"Ann","family_name":"Ö","name":"Ann Ö","blocked":true,` +
		`"custom_password_hash":{"algorithm":"bcrypt","hash":{"value":"$2a$11` + tail + `","encoding":"utf8"}},` +
		`"app_metadata":{"supertokens":{"id":"00000000-0000-4000-8000-000000000001","joined":"2023-11-14T22:13:20.123Z","phone":"+4912345",` +
		`"phone_verified":true,"other_emails":[{"email":"b@example.com","verified":false}],"identities":[{"provider":"google","user_id":"7"}],` +
		`"tenants":["acme","public"],"roles":{"acme":["owner"],"public":["admin"]},"metadata":{"plan":"x"}}},` +
		`"mfa_factors":[{"totp":{"secret":"JBSWY3DPEHPK3PXP"}}]}`
	if string(r.body) != want {
		t.Errorf("got  %s\nwant %s", r.body, want)
	}
	if roles, organizations := r.belongs.Text(); roles != "admin" || organizations != "acme (owner)" {
		t.Errorf("roles %s, organizations %s", roles, organizations)
	}
}

// TestUsersThatDoNotFit lists what is refused or left for later, and why.
func TestUsersThatDoNotFit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*sdk.User)
		action sdk.Action
		code   sdk.Code
	}{
		{"no address", func(u *sdk.User) { u.Email = "" }, sdk.Rejected, sdk.CodeEmailMissing},
		{"no host", func(u *sdk.User) { u.Email = "ann" }, sdk.Rejected, sdk.CodeEmailInvalid},
		{"space", func(u *sdk.User) { u.Email = "a b@example.com" }, sdk.Rejected, sdk.CodeEmailInvalid},
		{"long local part", func(u *sdk.User) { u.Email = strings.Repeat("a", 65) + "@example.com" }, sdk.Rejected, sdk.CodeEmailInvalid},
		{"space in id", func(u *sdk.User) { u.ID = "a b" }, sdk.Rejected, sdk.CodeIDInvalid},
		{"long id", func(u *sdk.User) { u.ID = strings.Repeat("a", 250) }, sdk.Rejected, sdk.CodeIDTooLong},
		{"long name", func(u *sdk.User) { u.GivenName = strings.Repeat("é", 151) }, sdk.Rejected, sdk.CodeFieldTooLong},
		{"bad secret", func(u *sdk.User) { everything(u); u.TOTP[0].Secret = sdk.NewSecret("not base32!") }, sdk.Rejected, sdk.CodeTOTPInvalid},
		{"social", func(u *sdk.User) {
			u.Class, u.Password, u.Identities = sdk.NoPassword, sdk.PasswordHash{}, []sdk.Identity{{Provider: "google", Subject: "7"}}
		}, sdk.Skipped, codeSocialDeferred},
		{"code", func(u *sdk.User) { u.Class, u.Password = sdk.NoPassword, sdk.PasswordHash{} }, sdk.Skipped, codePasswordlessDeferred},
		{"firebase", func(u *sdk.User) { u.Class, u.Password = sdk.NeedsReset, sdk.PasswordHash{} }, sdk.Skipped, codeHashDeferred},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := person(1, test.change)
			_, o := mapper{config: Config{}.withDefaults()}.user(&u)
			if o == nil || o.Action != test.action || o.Code != test.code || o.Detail == "" || o.Hint == "" {
				t.Errorf("%+v", o)
			}
		})
	}
}

func everything(u *sdk.User) {
	u.Email, u.GivenName, u.FamilyName, u.Enabled = "Ann@Example.com", "Ann", "Ö", false
	u.Phone, u.PhoneVerified = "+4912345", new(true)
	u.OtherEmails = []sdk.Address{{Email: "b@example.com"}}
	u.Identities = []sdk.Identity{{Provider: "google", Subject: "7", Name: "Ann"}}
	u.TOTP = []sdk.TOTPDevice{{Name: "phone", Secret: sdk.NewSecret("JBSWY3DPEHPK3PXP"), Period: 30e9, Verified: true}}
	u.Tenants = []string{"acme", "public"}
	u.Roles = map[string][]string{"public": {"admin"}, "acme": {"owner"}}
	u.Metadata = json.RawMessage(`{ "plan": "x" }`)
}

func TestMetadataThatAuth0DoesNotTake(t *testing.T) {
	t.Parallel()
	u := person(1, func(u *sdk.User) { u.Metadata = json.RawMessage(`{"a":[{"b.c":1}]}`) })
	r, refused := mapper{config: Config{}.withDefaults()}.user(&u)
	if refused != nil {
		t.Fatal(refused)
	}
	if err := simulator.ValidateFile(importjob.Array([]*record{r}, (*record).encoded)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(r.body), `"metadata_json":"{\"a\":[{\"b.c\":1}]}"`) || len(r.notes) == 0 {
		t.Errorf("%s, notes %v", r.body, r.notes)
	}
}

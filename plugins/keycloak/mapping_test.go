package keycloak

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var testMapper = mapper{
	defaultRole: "default-roles-customers", aliases: map[string]string{"google-workspaces": "google"}, tenants: tenantsAsGroups,
}

func everything() sdk.User {
	return person(1, func(u *sdk.User) {
		u.Username, u.Email = "Ada@Example.COM", "Ada@Example.COM"
		u.GivenName, u.FamilyName = "Ada", "Lovelace & <Byron>"
		u.Phone, u.PhoneVerified = "+36301234567", new(true)
		u.OtherEmails = []sdk.Address{{Email: "ada@work.example"}}
		u.Password = canonical.ParsePasswordHash(argon2Hash)
		u.TOTP = []sdk.TOTPDevice{
			{Name: "iPhone", Secret: secretOf("JBSWY3DPEHPK3PXP"), Period: 30 * time.Second, Created: joined.Add(time.Hour)},
			{Name: "iphone ", Secret: secretOf("jbsw y3dp ehpk 3pxp aa======"), Period: time.Minute},
		}
		u.Identities = []sdk.Identity{
			{Provider: "google", Subject: "108", Name: "ada@gmail.example"},
			{Provider: "google-workspaces", Subject: "109"},
			{Provider: "github", Subject: "gh-1"},
		}
		u.Roles = map[string][]string{"public": {"admin", "editor"}, "eu": {"editor", "rôle spécial"}}
		u.Tenants = []string{"eu", "public"}
		u.Metadata = json.RawMessage(`{"email":"evil@example.com","plan":{"tier":"gold", "seats":5},"big":9007199254740993,"exp":1.25e-07,"on":true,"none":null,"tags":["x","y",3,true],"mixed":["x",{"z":null}],"empty":[],"text":"a\nb🙂","nul":"a\u0000b"}`)
	})
}

func TestMapGolden(t *testing.T) {
	t.Parallel()
	users := map[string]sdk.User{
		"bcrypt":     person(1),
		"everything": everything(),
		"needs-reset": person(2, func(u *sdk.User) {
			u.Password, u.Class = sdk.PasswordHash{}, sdk.NeedsReset
			u.EmailVerified = nil
		}),
		"phone-only": person(3, func(u *sdk.User) {
			u.Username, u.Email, u.EmailVerified = "+36301234567", "", nil
			u.Phone = "+36301234567"
			u.Password, u.Class = sdk.PasswordHash{}, sdk.NoPassword
			u.Created = time.UnixMilli(0)
			u.Enabled = false
		}),
	}
	for name, u := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep, rejected := testMapper.user(&u)
			if rejected != nil {
				t.Fatalf("rejected: %+v", rejected)
			}
			got, err := json.MarshalIndent(struct {
				User  *representation `json:"user"`
				Notes []string        `json:"notes"`
			}{rep, rep.notes}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("representation changed (-want +got):\n%s", d)
			}
		})
	}
}

// The vector was checked against BouncyCastle, which the server verifies with.
func TestArgon2Padding(t *testing.T) {
	t.Parallel()
	data, secret, ok := passwordCredential(canonical.ParsePasswordHash(argon2Hash))
	if !ok {
		t.Fatal("not supported")
	}
	want := passwordSecret{Value: "sNKznPF1BV4VQoRexVINndQnYd7QV9WZ59fKGV59v48=", Salt: "MDEyMzQ1Njc4OWFiY2RlZg==", AdditionalParameters: map[string][]string{}}
	if d := cmp.Diff(want, secret); d != "" {
		t.Error(d)
	}
	wantData := passwordData{Algorithm: "argon2", HashIterations: 1, AdditionalParameters: map[string][]string{
		"type": {"id"}, "version": {"1.3"}, "memory": {"87795"}, "parallelism": {"2"}, "hashLength": {"32"},
	}}
	if d := cmp.Diff(wantData, data); d != "" {
		t.Error(d)
	}
	old, _, _ := passwordCredential(canonical.ParsePasswordHash("$argon2i$m=16,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$sNKznPF1BV4VQoRexVINndQnYd7QV9WZ59fKGV59v48"))
	if v := old.AdditionalParameters; v["version"][0] != "1.0" || v["type"][0] != "i" {
		t.Errorf("a PHC string without v= is version 1.0 of type i, not %v", v)
	}
}

func TestHashSupport(t *testing.T) {
	t.Parallel()
	rest := bcryptHash[3:]
	for text, want := range map[string]bool{
		"$2a" + rest: true, "$2b" + rest: true, "$2y" + rest: true, "$2x" + rest: true,
		argon2Hash: true, "md5:123": false,
	} {
		h := canonical.ParsePasswordHash(text)
		if got := capabilities(Config{}.withDefaults()).Accepts(h); got != want {
			t.Errorf("declared %s: %v, want %v", h.Shape(), got, want)
		}
		if _, _, got := passwordCredential(h); got != want {
			t.Errorf("mapped %s: %v, want %v", h.Shape(), got, want)
		}
	}
}

func TestMapRejects(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	tests := []struct {
		name   string
		change func(*sdk.User)
		want   sdk.Code
	}{
		{"external id of 128", func(u *sdk.User) { u.ID = strings.Repeat("x", 128) }, sdk.CodeIDTooLong},
		{"36 characters are 38 UTF-16 units", func(u *sdk.User) { u.ID = strings.Repeat("x", 34) + "🙂🙂" }, sdk.CodeIDTooLong},
		{"no id", func(u *sdk.User) { u.ID = "" }, sdk.CodeIDInvalid},
		{"dots", func(u *sdk.User) { u.ID = ".." }, sdk.CodeIDInvalid},
		{"federated", func(u *sdk.User) { u.ID = "f:1:2" }, sdk.CodeIDInvalid},
		{"slash", func(u *sdk.User) { u.ID = "a/b" }, sdk.CodeIDInvalid},
		{"semicolon", func(u *sdk.User) { u.ID = "a;b" }, sdk.CodeIDInvalid},
		{"tab", func(u *sdk.User) { u.ID = "a\tb" }, sdk.CodeIDInvalid},
		{"no username", func(u *sdk.User) { u.Username = " " }, sdk.CodeUsernameMissing},
		{"username", func(u *sdk.User) { u.Username = long }, sdk.CodeFieldTooLong},
		{"unknown hash", func(u *sdk.User) { u.Password = canonical.ParsePasswordHash("md5:123") }, sdk.CodeHashUnsupported},
		{"not base32", func(u *sdk.User) { u.TOTP = []sdk.TOTPDevice{{Secret: secretOf("0189"), Period: time.Minute}} }, sdk.CodeTOTPInvalid},
		{"no secret", func(u *sdk.User) { u.TOTP = []sdk.TOTPDevice{{Period: time.Minute}} }, sdk.CodeTOTPInvalid},
		{"no period", func(u *sdk.User) { u.TOTP = []sdk.TOTPDevice{{Secret: secretOf("JBSWY3DPEHPK3PXP")}} }, sdk.CodeTOTPInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := person(1, tt.change)
			rep, rejected := testMapper.user(&u)
			if rejected == nil {
				t.Fatalf("mapped to %+v", rep)
			}
			if rejected.Code != tt.want || rejected.Action != sdk.Rejected || rejected.SourceID != u.SourceID {
				t.Errorf("got %+v, want code %s", rejected, tt.want)
			}
			if rejected.Detail == "" || rejected.Hint == "" {
				t.Error("no words for the operator")
			}
		})
	}
}

// A value that is too long costs the value, and the person only where that is asked for.
func TestMapLeavesOut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for name, tt := range map[string]struct {
		change func(*sdk.User)
		want   sdk.Feature
	}{
		"email":        {func(u *sdk.User) { u.Email = long }, sdk.PartEmail},
		"given name":   {func(u *sdk.User) { u.GivenName = long }, sdk.CarriesNames},
		"family name":  {func(u *sdk.User) { u.FamilyName = long }, sdk.CarriesNames},
		"role":         {func(u *sdk.User) { u.Roles = map[string][]string{"public": {long, "short"}} }, sdk.CarriesRoles},
		"tenant":       {func(u *sdk.User) { u.Tenants = []string{long, "eu"} }, sdk.CarriesTenants},
		"subject":      {func(u *sdk.User) { u.Identities = []sdk.Identity{{Provider: "google", Subject: long}} }, sdk.CarriesIdentities},
		"metadata key": {func(u *sdk.User) { u.Metadata = fmt.Appendf(nil, `{%q:1}`, long) }, sdk.CarriesMetadata},
	} {
		u := person(1, tt.change)
		rep, rejected := testMapper.user(&u)
		if rejected != nil || len(rep.losses) != 1 || rep.losses[0].Feature != tt.want || !strings.Contains(rep.losses[0].Detail, "Keycloak allows 255") || strings.Contains(text(rep), long) {
			t.Errorf("%s: %+v, %+v", name, rep, rejected)
		}
		strict := testMapper
		strict.strict = true
		if _, rejected := strict.user(&u); rejected == nil || rejected.Code != codeProfileRefused || rejected.Hint == "" {
			t.Errorf("%s, strictly: %+v", name, rejected)
		}
	}
}

func TestMapAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sdk.User){
		"36 characters":      func(u *sdk.User) { u.ID = strings.Repeat("x", 36) },
		"auth0":              func(u *sdk.User) { u.ID = "auth0|5f7c8ec7c33c6c004bbafe82" },
		"unicode id":         func(u *sdk.User) { u.ID = "ünïcode 🙂" },
		"255 in username":    func(u *sdk.User) { u.Username = strings.Repeat("x", 255) },
		"metadata no object": func(u *sdk.User) { u.Metadata = json.RawMessage(`["a"]`) },
		"metadata no JSON":   func(u *sdk.User) { u.Metadata = json.RawMessage(`{broken`) },
	} {
		u := person(1, change)
		if _, rejected := testMapper.user(&u); rejected != nil {
			t.Errorf("%s: %+v", name, rejected)
		}
		if !HoldsID(u.ID) {
			t.Errorf("%s: the id %q is not held", name, u.ID)
		}
	}
	if HoldsID("f:directory:7") || HoldsID(strings.Repeat("x", 37)) {
		t.Error("an id is held that users are rejected for")
	}
}

func TestEmailAsUsername(t *testing.T) {
	t.Parallel()
	m := testMapper
	m.emailAsUsername = true
	u := person(1, func(u *sdk.User) { u.Username, u.Email = "ada", "Ada@example.com" })
	if rep, _ := m.user(&u); rep.Username != "ada@example.com" {
		t.Errorf("username %q", rep.Username)
	}
	u.Email = ""
	if rep, _ := m.user(&u); rep.Username != "ada" {
		t.Errorf("username %q without an e-mail address", rep.Username)
	}
}

func TestTenantGroups(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tenants []string
		groups  bool
		want    []string
	}{
		{nil, true, nil},
		{[]string{"public"}, true, nil},
		{[]string{"eu", "public"}, true, []string{"/tenants/eu", "/tenants/public"}},
		{[]string{"eu"}, true, []string{"/tenants/eu"}},
		{[]string{"eu"}, false, nil},
	} {
		m := testMapper
		m.tenants = map[bool]string{true: tenantsAsGroups, false: "none"}[tt.groups]
		u := person(1, func(u *sdk.User) { u.Tenants = tt.tenants })
		rep, _ := m.user(&u)
		if d := cmp.Diff(tt.want, rep.Groups); d != "" {
			t.Errorf("tenants %v: %s", tt.tenants, d)
		}
	}
}

func TestUniqueLabels(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 300)
	got := make([]string, 0, 8)
	taken := map[string]bool{}
	for _, name := range []string{"Phone", "phone ", "PHONE", "", " ", "İ", "ı", long, long} {
		got = append(got, uniqueLabel(name, taken))
	}
	want := []string{"Phone", "phone 2", "PHONE 3", "", "", "İ", "ı 2", long[:255*2], long[:253*2] + " 2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCredentialIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, id := range []string{credentialID("a", "otp", "x"), credentialID("a", "otp", "y"), credentialID("a", "password", "x"), credentialID("ao", "tp", "x")} {
		if seen[id] || len(id) != 36 {
			t.Errorf("credential id %q", id)
		}
		seen[id] = true
	}
	if id := credentialID("a", "otp", "x"); !ownCredential("a", id) || ownCredential("b", id) || ownCredential("a", "c2088843-b067-5361-85a5-926a9446b233") || ownCredential("a", "x") {
		t.Error("ids of a load are not told from others'")
	}
	// Fixed for ever: the id is how a server recognises what it was sent before.
	if got := credentialID("a", "otp", "x"); got != "c2088843-b067-8361-a9d8-811764252134" {
		t.Errorf("credential id changed to %s", got)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	u := everything()
	rep, _ := testMapper.user(&u)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		printed := fmt.Sprintf(verb, *rep)
		for _, secret := range []string{"sNKznPF1", "MDEyMzQ1", "JBSWY3DP"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%s shows %s", verb, secret)
			}
		}
	}
}

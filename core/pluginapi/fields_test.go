package pluginapi

import (
	"encoding/hex"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// sample has something in every field.
func sample() User {
	yes := true
	return User{
		SourceID: "s", ID: "i", Username: "u", Email: "e", EmailVerified: &yes, Phone: "p", PhoneVerified: &yes, GivenName: "g", FamilyName: "f",
		OtherEmails: []Address{{Email: "o", Verified: &yes}}, Enabled: true, Created: time.UnixMilli(5), LastActive: time.UnixMilli(6), Class: HashCarried,
		Password:   canonical.ParsePasswordHash("$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"),
		Identities: []Identity{{"google", "1", "n"}}, TOTP: []canonical.TOTPDevice{{Name: "t", Secret: canonical.NewSecret("x"), Period: time.Second}},
		Passkeys: []Passkey{{ID: "aWQ", RelyingParty: "example.org", Attested: []byte{1}, UserHandle: []byte{2}, Counter: 3, Transports: []string{"usb"}, Name: "key", Created: time.Unix(9, 8).UTC()}},
		Tenants:  []string{"a"}, Roles: map[string][]string{"a": {"r"}}, Metadata: json.RawMessage(`{"k":1}`),
		Existing: Update, Prior: Prior{TargetID: "t"}, Expect: []byte{1},
	}
}

// fieldFor is the field that stands for a field of the struct.
func fieldFor(list []Field, u *User, i int) *Field {
	at := reflect.ValueOf(u).Elem().Field(i).Addr().Pointer()
	for n := range list {
		p := reflect.ValueOf(list[n].At(u))
		if p.Pointer() == at && p.Type().Elem() == reflect.TypeFor[User]().Field(i).Type {
			return &list[n]
		}
	}
	return nil
}

// missing names the fields of the struct that a list does not have.
func missing(list []Field) (names []string) {
	var u User
	for i, typ := 0, reflect.TypeFor[User](); i < typ.NumField(); i++ {
		if fieldFor(list, &u, i) == nil {
			names = append(names, typ.Field(i).Name)
		}
	}
	return names
}

func TestEveryFieldOfUserIsListed(t *testing.T) {
	t.Parallel()
	for _, name := range missing(fields) {
		t.Errorf("User.%s is not in Fields", name)
	}
	if typ := reflect.TypeFor[User](); typ.NumField() != len(fields) {
		t.Errorf("User has %d fields, Fields %d", typ.NumField(), len(fields))
	}
	if t.Failed() {
		return
	}
	// And whoever is left out is named.
	for i := range fields {
		var u User
		got := missing(slices.Delete(slices.Clone(fields), i, i+1))
		if len(got) != 1 || reflect.ValueOf(&u).Elem().FieldByName(got[0]).Addr().Pointer() != reflect.ValueOf(fields[i].At(&u)).Pointer() {
			t.Errorf("without %s, these are missing: %q", fields[i].Name, got)
		}
	}
}

func TestFieldsAreWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	full := sample()
	for i := range fields {
		f := &fields[i]
		if f.Name == "" || seen[f.Name] {
			t.Errorf("field %d: the name %q is empty or taken", i, f.Name)
		}
		seen[f.Name] = true
		if f.merge == nil {
			t.Errorf("%s: nobody says what becomes of it when accounts are made one", f.Name)
		}
		if f.Rules != Hidden && (f.Kind == other || f.Kind > Word) {
			t.Errorf("%s: rules can do nothing with its type", f.Name)
		}
		if f.Feature != "" && f.Feature.Lost() == "" {
			t.Errorf("%s: there is no feature %q", f.Name, f.Feature)
		}
		var none User
		if f.Empty(&full) || !f.Empty(&none) {
			t.Errorf("%s: empty where it is not, or the other way round", f.Name)
		}
	}
	for _, feature := range Features() {
		if has := slices.ContainsFunc(fields, func(f Field) bool { return f.Feature == feature }); has == (feature == CarriesRolePermissions) {
			t.Errorf("a field, or none, has the feature %s", feature)
		}
		if feature.Lost() == "" {
			t.Errorf("nobody says what is lost without %s", feature)
		}
	}
}

// The constants are the features.
func TestEveryFeatureIsListed(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "feature.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Carries") {
			found++
			if lit, ok := v.Values[0].(*ast.BasicLit); !ok || !slices.Contains(Features(), Feature(strings.Trim(lit.Value, `"`))) {
				t.Errorf("%s is not in Features", v.Names[0].Name)
			}
		}
		return true
	})
	if found != len(Features()) {
		t.Errorf("%d constants, %d features", found, len(Features()))
	}
}

// Every written field changes the digest, and no other does.
func TestEveryWrittenFieldIsDigested(t *testing.T) {
	t.Parallel()
	key, full := []byte("key"), sample()
	want := string(full.Digest(key))
	for i := range fields {
		f, changed := &fields[i], sample()
		reflect.ValueOf(f.At(&changed)).Elem().SetZero()
		if got := string(changed.Digest(key)) != want; got == f.Unwritten {
			t.Errorf("%s: the digest changes: %v", f.Name, got)
		}
	}
}

// Digests are in journals, so a change of this one has a run look at every account again.
func TestDigestIsStable(t *testing.T) {
	t.Parallel()
	u := sample()
	const want = "779447f5e9b657001dce6d4b436591c3"
	if got := hex.EncodeToString(u.Digest([]byte("key"))); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// What is withheld is gone, what is not stays, and nothing is lost that was not there.
func TestWithheld(t *testing.T) {
	t.Parallel()
	for _, feature := range Features() {
		caps := Capabilities{}
		for _, other := range Features() {
			if other != feature {
				caps.Carries = append(caps.Carries, other)
			}
		}
		u, full, none := sample(), sample(), User{}
		want := []Feature{feature}
		if feature == CarriesRolePermissions { // what it is about is no part of a user
			want = nil
		}
		if lost := caps.Withheld().From(&u); !slices.Equal(lost, want) {
			t.Errorf("without %s, %q are lost", feature, lost)
		}
		if lost := caps.Withheld().From(&none); lost != nil {
			t.Errorf("without %s, somebody who has nothing loses %q", feature, lost)
		}
		for i := range fields {
			f := &fields[i]
			if gone := f.Feature == feature && feature != CarriesID; gone != f.Empty(&u) {
				t.Errorf("without %s, %s is gone: %v", feature, f.Name, f.Empty(&u))
			}
			if f.Empty(&full) {
				t.Errorf("%s has changed elsewhere", f.Name)
			}
		}
	}
}

// Nobody signs in without changing a counter, which is no reason to write.
func TestDigestHasNoCounters(t *testing.T) {
	t.Parallel()
	key, u, later := []byte("key"), sample(), sample()
	later.Passkeys[0].Counter = 7
	if string(u.Digest(key)) != string(later.Digest(key)) {
		t.Error("a sign-in with a passkey changes the digest")
	}
}

// A guest brings whatever the account lacks, but for what says who it is.
func TestMergeBringsEveryField(t *testing.T) {
	t.Parallel()
	own := []string{"source_id", "id", "username", "email", "email_verified", "enabled", "created", "last_active", "existing", "prior", "expect"}
	u, guest := User{Class: NoPassword}, sample()
	Merge(&u, &guest)
	for i := range fields {
		f := &fields[i]
		if stays := slices.Contains(own, f.Name); stays != f.Empty(&u) {
			t.Errorf("%s: brought by the guest: %v", f.Name, !f.Empty(&u))
		}
	}
	full, other := sample(), sample()
	other.SourceID, other.Phone, other.GivenName, other.Metadata = "s2", "p2", "g2", json.RawMessage(`{"k":2,"l":3}`)
	other.Identities = append(other.Identities, Identity{Provider: "another", Subject: "s"}) // beside one that both have
	other.Tenants, other.Roles = []string{"b"}, map[string][]string{"a": {"q"}, "b": {"s"}}
	Merge(&full, &other)
	if full.SourceID != "s" || full.Phone != "p" || full.GivenName != "g" || string(full.Metadata) != `{"k":1,"l":3}` ||
		!slices.Equal(full.Tenants, []string{"a", "b"}) || !slices.Equal(full.Roles["a"], []string{"q", "r"}) || len(full.Identities) != 2 || len(full.TOTP) != 1 {
		t.Errorf("the account itself does not win: %v, %s, %v, %v", full.Phone, full.Metadata, full.Tenants, full.Roles)
	}
}

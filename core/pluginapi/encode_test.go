package pluginapi

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
)

// What is encoded is what comes back: everything but how the account is to be treated.
func TestEncodedUserComesBack(t *testing.T) {
	t.Parallel()
	secrets := cmp.Exporter(func(reflect.Type) bool { return true })
	full := sample()
	full.Passkeys = append(full.Passkeys, Passkey{
		ID: "id", RelyingParty: "example.org", Attested: []byte{1}, UserHandle: []byte{2}, Counter: 7, Transports: []string{"usb"}, Name: "key", Created: time.Unix(1_700_000_000, 5),
	})
	everythingSet(t, full.Passkeys[len(full.Passkeys)-1])
	full.TOTP = append(full.TOTP, canonical.TOTPDevice{Name: "u", Secret: canonical.NewSecret("y"), Period: time.Minute, Skew: -1, Verified: true, Created: time.Unix(1_700_000_000, 5)})
	everythingSet(t, full.TOTP[len(full.TOTP)-1])
	full.OtherEmails, full.Identities = []Address{{Email: "o", Verified: new(false)}}, []Identity{{"google", "1", "n"}}
	everythingSet(t, full.OtherEmails[0])
	everythingSet(t, full.Identities[0])
	full.EmailVerified, full.Created = new(false), time.Unix(-5, 7).UTC()
	full.Roles = map[string][]string{"a": {"r", "s"}, "b": nil}
	unknown := User{SourceID: "x", Password: canonical.ParsePasswordHash("no hash"), Class: NeedsReset}
	for name, u := range map[string]User{"full": full, "empty": {}, "unknown hash": unknown} {
		want := u
		want.Existing, want.Prior, want.Expect = "", Prior{}, nil
		raw := u.Encode([]byte("before"))
		got := sample() // of which nothing stays
		if err := got.Decode(raw[len("before"):]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, secrets, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// everythingSet makes sure that an example shows the loss of any of its parts.
func everythingSet(t *testing.T, example any) {
	t.Helper()
	v := reflect.ValueOf(example)
	for f, value := range v.Fields() {
		if value.IsZero() {
			t.Errorf("the example of a %s has no %s: nobody would miss it", v.Type(), f.Name)
		}
	}
}

// A field of a type that nobody encodes would be lost on the way to the target.
func TestEveryFieldIsEncoded(t *testing.T) {
	t.Parallel()
	full := sample()
	var back User
	if err := back.Decode(full.Encode(nil)); err != nil {
		t.Fatal(err)
	}
	for i := range fields {
		f := &fields[i]
		treatment := f.Name == "existing" || f.Name == "prior" || f.Name == "expect"
		if f.Empty(&back) != treatment {
			t.Errorf("%s comes back: %v", f.Name, !f.Empty(&back))
		}
	}
}

// What was cut off or continued is no user, and nothing makes the decoder panic.
func TestDecodeRefusesWhatIsDamaged(t *testing.T) {
	t.Parallel()
	full := sample()
	raw := full.Encode(nil)
	var u User
	for n := range raw {
		if err := u.Decode(raw[:n]); err == nil {
			t.Errorf("%d of %d bytes are a user", n, len(raw))
		}
	}
	if err := u.Decode(append(raw, 0)); err == nil {
		t.Error("a byte too many is taken for nothing")
	}
}

func FuzzDecode(f *testing.F) {
	full := sample()
	f.Add(full.Encode(nil))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		var u User
		_ = u.Decode(raw)
	})
}

package canonical_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// filled gives every field of a value, however deep, something that is not zero. Fields that
// are not exported are those of types that give is asked for.
func filled(v reflect.Value, n *int, give map[reflect.Type]any) {
	*n++
	if made, ok := give[v.Type()]; ok {
		v.Set(reflect.ValueOf(made))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(rune('a' + *n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*n * 1000))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n, give)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(v.Index(i), n, give)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key, n, give)
		filled(value, n, give)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			filled(v.Field(i), n, give)
		}
	default:
		panic(v.Type().String())
	}
}

// An account that has everything, also fields that nobody has thought of yet, comes back as
// it was; so does one that has nothing, or nothing in what it has.
func TestEncodedAccountComesBack(t *testing.T) {
	t.Parallel()
	var full canonical.User
	n := 0
	filled(reflect.ValueOf(&full).Elem(), &n, map[reflect.Type]any{
		reflect.TypeFor[time.Time]():              time.UnixMilli(1_700_000_000_123).UTC(),
		reflect.TypeFor[canonical.Secret]():       canonical.NewSecret("JBSWY3DPEHPK3PXP"),
		reflect.TypeFor[canonical.PasswordHash](): canonical.ParsePasswordHash("$2a$11$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde"),
	})
	unverified := canonical.Login{Verified: new(false), Tenants: []string{}, Email: new(""), Passkeys: []canonical.Passkey{}}
	for name, u := range map[string]canonical.User{
		"everything": full,
		"nothing":    {},
		"empty": {
			Logins: []canonical.Login{unverified, {}}, Roles: map[string][]string{}, Metadata: json.RawMessage{}, TOTPDevices: []canonical.TOTPDevice{}, Warnings: []canonical.Warning{},
			ExternalIDInfo: new(""), TimeJoined: time.UnixMilli(0).UTC(), LastActive: time.UnixMilli(-1).UTC(),
		},
		"strange": {ID: "\x00é\xff", Logins: []canonical.Login{{Password: canonical.ParsePasswordHash("plain nonsense")}}},
	} {
		encoded := u.Encode([]byte("before"))
		got := canonical.User{ID: "of an earlier one", Metadata: json.RawMessage("{}")}
		if err := got.Decode(encoded[len("before"):]); err != nil || !reflect.DeepEqual(u, got) {
			t.Errorf("%s: %v: accounts differ", name, err)
		}
		for cut := range encoded[len("before"):] {
			if got.Decode(encoded[len("before"):][:cut]) == nil {
				t.Fatalf("%s: cut after %d bytes is taken for whole", name, cut)
			}
		}
		if got.Decode(append(encoded[len("before"):], 0)) == nil {
			t.Errorf("%s: more than an account is taken for one", name)
		}
	}
}

func FuzzDecodedAccount(f *testing.F) {
	u := canonical.User{ID: "a", Logins: []canonical.Login{{Email: new("a@example.org"), Tenants: []string{"t"}}}}
	f.Add(u.Encode(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var u, again canonical.User
		if u.Decode(b) != nil {
			return
		}
		if err := again.Decode(u.Encode(nil)); err != nil || !reflect.DeepEqual(u, again) {
			t.Errorf("differs: %v", err)
		}
	})
}

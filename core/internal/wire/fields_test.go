package wire

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// fill puts something into a field, whatever it is.
func fill(t *testing.T, f *pluginapi.Field, u *pluginapi.User) {
	t.Helper()
	switch p := f.At(u).(type) {
	case *string:
		*p = "text of " + f.Name
	case *bool:
		*p = true
	case **bool:
		*p = new(false)
	case *time.Time:
		*p = time.UnixMilli(7).UTC()
	case *pluginapi.Class:
		*p = pluginapi.HashCarried
	case *pluginapi.Existing:
		*p = pluginapi.Update
	case *pluginapi.Prior:
		*p = pluginapi.Prior{TargetID: "t", State: []byte{1}, InDoubt: true, Linked: []string{"l"}}
	case *[]byte:
		*p = []byte{2}
	case *json.RawMessage:
		*p = json.RawMessage(`{"a":9007199254740993}`)
	case *canonical.PasswordHash:
		*p = canonical.ParsePasswordHash(hashes[0])
	case *[]pluginapi.Address:
		*p = []pluginapi.Address{{Email: "a", Verified: new(true)}, {Email: "b"}}
	case *[]pluginapi.Identity:
		*p = []pluginapi.Identity{{Provider: "a", Subject: "b", Name: "c"}}
	case *[]canonical.TOTPDevice:
		*p = []canonical.TOTPDevice{{Name: "a", Secret: canonical.NewSecret("b"), Period: time.Second, Skew: 1, Verified: true, Created: time.UnixMilli(8).UTC()}}
	case *[]pluginapi.Passkey:
		*p = []pluginapi.Passkey{{
			ID: "a", RelyingParty: "b", Attested: []byte{3}, UserHandle: []byte{4}, Counter: 5, Transports: []string{"usb"}, Name: "c", Created: time.UnixMilli(9).UTC(),
		}}
	case *[]string:
		*p = []string{"a", "b"}
	case *map[string][]string:
		*p = map[string][]string{"a": {"b", "c"}}
	default:
		t.Fatalf("%s: this test has nothing to put into a %T", f.Name, p)
	}
}

// Each field alone survives the way to a plugin, and nothing else appears.
func TestEachFieldSurvives(t *testing.T) {
	t.Parallel()
	for _, f := range pluginapi.Fields() {
		want := pluginapi.User{Class: pluginapi.NoPassword}
		fill(t, &f, &want)
		if f.Empty(&want) {
			t.Errorf("%s: nothing was put into it", f.Name)
		}
		p, err := EncodeUser(&want)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		got, err := DecodeUser(trip(t, p))
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		if diff := cmp.Diff(reflect.ValueOf(f.At(&want)).Elem().Interface(), reflect.ValueOf(f.At(&got)).Elem().Interface(), exact); diff != "" {
			t.Errorf("%s does not survive (-want +got):\n%s", f.Name, diff)
		}
		for _, other := range pluginapi.Fields() {
			if other.Empty(&want) != other.Empty(&got) {
				t.Errorf("%s: on its way %s has become another one", f.Name, other.Name)
			}
		}
	}
}

package scim

import (
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// Without a list nobody says how people sign in at a provider; what is listed is on.
func TestSignIns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listed []string
		want   []sdk.SignIn
	}{
		{nil, nil},
		{[]string{"password", "social:google"}, []sdk.SignIn{{Way: sdk.SignInPassword, State: sdk.SwitchOn}, {Way: sdk.SignInSocial, Provider: "google", State: sdk.SwitchOn}}},
	} {
		target, err := newTarget(Config{Mode: modeFiles, Out: t.TempDir(), SignIns: test.listed}, sdk.Env{})
		if err != nil {
			t.Fatal(err)
		}
		f := target.(*files)
		if got := f.SignIns(); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.listed, got, test.want)
		}
		if n := len(f.Capabilities().SignIns); n != len(test.want) {
			t.Errorf("%v: %d are declared", test.listed, n)
		}
	}
	if _, err := newTarget(Config{Mode: modeFiles, Out: t.TempDir(), SignIns: []string{"telepathy"}}, sdk.Env{}); err == nil || !strings.Contains(err.Error(), "telepathy") {
		t.Errorf("a way that there is not: %v", err)
	}
}

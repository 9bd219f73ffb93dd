package sqltarget

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// A preset knows the ways to sign in of its library, as far as the tables serve them; the
// configuration says which are on. Tables of one's own have none that nobody has listed.
func TestSignIns(t *testing.T) {
	t.Parallel()
	own := []Table{{Name: "people", Per: "account", Key: []string{"id"}, Columns: map[string]Column{"id": {Field: "id"}}}}
	listed, parts := []string{"password", "social:google"}, []string{"passkey", "phone-number"}
	const off = "email_code=off email_reset=off"
	for name, test := range map[string]struct {
		config          Config
		declared, found string
	}{
		"own tables":             {Config{Tables: own}, "", ""},
		"own tables, listed":     {Config{Tables: own, SignIns: listed}, "password social:google", "password=on social:google=on"},
		"Better Auth":            {Config{Preset: "better-auth"}, "email_code email_reset password social", ""},
		"Better Auth with parts": {Config{Preset: "better-auth", With: parts}, "email_code email_reset passkey password sms_code social", ""},
		"Better Auth, listed":    {Config{Preset: "better-auth", SignIns: listed}, "email_code email_reset password social social:google", off + " password=on social:google=on social=off"},
		"Auth.js":                {Config{Preset: "authjs"}, "email_code social", ""},
	} {
		test.config.Mode, test.config.Out, test.config.IDLength = modeFiles, t.TempDir(), 255
		target, err := newTarget(test.config, sdk.Env{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := target.(*files)
		if got := ways(f.Capabilities().SignIns); got != test.declared {
			t.Errorf("%s declares %q, want %q", name, got, test.declared)
		}
		if got := ways(f.SignIns()); got != test.found {
			t.Errorf("%s finds %q, want %q", name, got, test.found)
		}
	}
	_, err := newTarget(Config{Mode: modeFiles, Out: t.TempDir(), IDLength: 255, Tables: own, SignIns: []string{"social:", "telepathy"}}, sdk.Env{})
	if err == nil || !strings.Contains(err.Error(), "telepathy") || !strings.Contains(err.Error(), `"social:"`) {
		t.Errorf("ways that there are not: %v", err)
	}
}

func ways(all []sdk.SignIn) string {
	var out []string
	for _, s := range all {
		text := string(s.Way)
		if s.Provider != "" {
			text += ":" + s.Provider
		}
		if s.State != sdk.SwitchUnknown {
			state, _ := s.State.MarshalText()
			text += fmt.Sprintf("=%s", state)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

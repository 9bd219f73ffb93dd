package canonical

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// The markers are parts of secrets; none may be in any rendering.
const (
	hashMarker  = "VYMke6bA9Nzc9Ne1NBY3FulsvVc"
	totpMarker  = "JBSWY3DPEHPK3PXP"
	plainMarker = "clear-text-marker"
	sepMarker   = "c2VwYXJhdG9y" // base64 of "separator"
)

func secretUser() User {
	email := "ada@example.org"
	return User{
		InternalID: "i", ID: "v", Roles: map[string][]string{"public": {"admin"}},
		Logins: []Login{
			{Recipe: EmailPassword, ID: "i", Email: &email, Password: ParsePasswordHash("$2a$11$" + hashMarker + ".uabXkG3mrHFbm0n.p592T/ABm")},
			{Recipe: EmailPassword, ID: "j", Email: &email, Password: ParsePasswordHash("$f_scrypt$4/NA6w==$" + sepMarker + "$m=14$r=8$s=" + sepMarker)},
			{Recipe: EmailPassword, ID: "k", Email: &email, Password: ParsePasswordHash(plainMarker)},
		},
		TOTPDevices: []TOTPDevice{{Name: "phone", Secret: NewSecret(totpMarker), Period: 30 * time.Second}},
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	u := secretUser()
	values := map[string]any{
		"user": u, "pointer": &u, "logins": u.Logins, "login": u.Logins[0], "login pointer": &u.Logins[0],
		"hash": u.Logins[0].Password, "hash pointer": &u.Logins[0].Password, "firebase": u.Logins[1].Password.Firebase,
		"firebase value": *u.Logins[1].Password.Firebase, "totp": u.TOTPDevices, "secret": u.TOTPDevices[0].Secret,
		"nested": struct{ U User }{u}, "map": map[string]any{"u": u, "s": u.TOTPDevices[0].Secret},
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out []string
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				out = append(out, fmt.Sprintf(verb, v))
			}
			encoded, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(encoded))
			for _, handler := range []func(*bytes.Buffer) slog.Handler{
				func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
				func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			} {
				var b bytes.Buffer
				slog.New(handler(&b)).Info("m", "v", v)
				out = append(out, b.String())
			}
			for _, text := range out {
				for _, marker := range []string{hashMarker, totpMarker, plainMarker, sepMarker, "separator"} {
					if strings.Contains(text, marker) || strings.Contains(text, fmt.Sprintf("%x", marker)) {
						t.Errorf("%q is shown in %s", marker, text)
					}
				}
			}
		})
	}
}

func TestRevealJSONHasTheSecrets(t *testing.T) {
	t.Parallel()
	u := secretUser()
	line, err := u.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, marker := range []string{hashMarker, totpMarker, plainMarker} {
		if !bytes.Contains(line, []byte(marker)) {
			t.Errorf("%q is missing from %s", marker, line)
		}
	}
}

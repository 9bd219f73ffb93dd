package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
)

// What an earlier run has said of an account that was written since is history.
func TestRememberForgetsWhatIsOver(t *testing.T) {
	t.Parallel()
	said := journal.Reason{Detail: "d", Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesRoles, Code: "acme.no_role"}}, Run: 2}
	for run, want := range map[int64]bool{2: true, 3: false} {
		r := Remember(journal.Entry{Action: pluginapi.Updated, Run: run}, said)
		if got := r.Detail != "" && len(r.Losses) > 0; got != want {
			t.Errorf("written by run %d: %+v", run, r)
		}
	}
}

func TestExplanationShowsShapes(t *testing.T) {
	t.Parallel()
	email, phone, yes := "ada@example.co.uk", "+15550100", true
	const hash = "$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"
	u := &canonical.User{
		InternalID: "i", ID: "ext", App: "public", Metadata: []byte(`{"secret_note":"likes tea"}`), Roles: map[string][]string{"t1": {"admin"}},
		Logins: []canonical.Login{
			{Recipe: canonical.EmailPassword, ID: "i", Email: &email, Verified: &yes, Password: canonical.ParsePasswordHash(hash), Tenants: []string{"t1"}},
			{Recipe: canonical.Passwordless, ID: "j", Phone: &phone},
		},
		TOTPDevices: []canonical.TOTPDevice{{Name: "phone", Secret: canonical.NewSecret("JBSWY3DPEHPK3PXP")}},
	}
	e := Explanation{
		SourceID: "i", VisibleID: "ext", Account: Shape(u), Class: pluginapi.HashCarried, Losses: []mapping.Loss{mapping.Loss(pluginapi.CarriesTOTP)},
		Journal: Remember(journal.Entry{Action: pluginapi.Updated, Origin: journal.Adopted, TargetID: "t", Run: 3, Code: diag.LoadDrift}, journal.Reason{
			Run: 3, Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "auditor"}},
		}),
		Words: diag.Words{{Code: "acme.no_role", Meaning: "Acme has no such role"}},
		Next:  Mask(pluginapi.Change{Outcome: pluginapi.Outcome{Action: pluginapi.Updated}, Fields: []pluginapi.FieldChange{{Field: "email", Old: email, New: "b@x.org"}, {Field: "phone", New: phone}, {Field: "given_name", Old: "Ada"}}}),
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text": func(b *bytes.Buffer) error { return e.WriteText(b) }, "json": func(b *bytes.Buffer) error { return e.WriteJSON(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{email, phone, hash[7:], "JBSWY", "likes tea"} {
			if strings.Contains(b.String(), hidden) {
				t.Errorf("%s shows %q", name, hidden)
			}
		}
		for _, shown := range []string{"a***@e***.uk", "+15***00", "bcrypt 2a cost 11", "secret_note", "admin", "load.drift", "Ada", "ext", "auditor"} {
			if !strings.Contains(b.String(), shown) {
				t.Errorf("%s lacks %q:\n%s", name, shown, b.String())
			}
		}
	}
	var text bytes.Buffer
	if err := e.WriteText(&text); err != nil || !strings.Contains(text.String(), "not taken: roles auditor (acme.no_role): Acme has no such role") {
		t.Errorf("%v: what was lost is not said in\n%s", err, text.String())
	}
	if got := maskEmail("no address"); got != "n***" {
		t.Error(got)
	}
}

package mapping

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func ada() *canonical.User {
	return &canonical.User{
		App: "public", InternalID: "i", ID: "ext", Roles: map[string][]string{"public": {"admin", "user"}},
		Logins:   []canonical.Login{{Recipe: canonical.EmailPassword, ID: "i", Email: p("Ada@Example.org"), Verified: p(true), Tenants: []string{"public"}}},
		Metadata: raw(`{"first_name":"Ada","tier":"gold","logins":9007199254740993,"address":{"city":"London"}}`),
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		set  map[string]Rule
		want func(*pluginapi.User)
	}{
		"copy":              {map[string]Rule{"username": {Copy: "id"}}, func(u *pluginapi.User) { u.Username = "ext" }},
		"copy from inside":  {map[string]Rule{"family_name": {Copy: "metadata.address.city"}}, func(u *pluginapi.User) { u.FamilyName = "London" }},
		"constant":          {map[string]Rule{"enabled": {Constant: raw(`false`)}}, func(u *pluginapi.User) { u.Enabled = false }},
		"null removes":      {map[string]Rule{"given_name": {Constant: raw(`null`)}}, func(u *pluginapi.User) { u.GivenName = "" }},
		"default is unused": {map[string]Rule{"given_name": {Default: raw(`"X"`)}}, func(*pluginapi.User) {}},
		"default":           {map[string]Rule{"family_name": {Default: raw(`"Unknown"`)}}, func(u *pluginapi.User) { u.FamilyName = "Unknown" }},
		"template":          {map[string]Rule{"username": {Template: "{{{given_name}}}-{metadata.logins}"}}, func(u *pluginapi.User) { u.Username = "{Ada}-9007199254740993" }},
		"lookup":            {map[string]Rule{"roles.public": {Lookup: "metadata.tier", Table: map[string]json.RawMessage{"gold": raw(`["vip"]`)}}}, func(u *pluginapi.User) { u.Roles = map[string][]string{"public": {"vip"}} }},
		"lookup of nothing": {map[string]Rule{"family_name": {Lookup: "metadata.none", Table: map[string]json.RawMessage{"a": raw(`"b"`)}, Default: raw(`"c"`)}}, func(u *pluginapi.User) { u.FamilyName = "c" }},
		"cel text":          {map[string]Rule{"email": {CEL: `email.lowerAscii()`}}, func(u *pluginapi.User) { u.Email, u.Username = "ada@example.org", "ada@example.org" }},
		"cel list":          {map[string]Rule{"roles.public": {CEL: `roles["public"].filter(r, r != "admin")`}}, func(u *pluginapi.User) { u.Roles = map[string][]string{"public": {"user"}} }},
		"cel metadata": {map[string]Rule{"metadata.n": {CEL: `metadata.logins + 1`}}, func(u *pluginapi.User) {
			u.Metadata = raw(`{"address":{"city":"London"},"first_name":"Ada","logins":9007199254740993,"n":9007199254740994,"tier":"gold"}`)
		}},
		"another address is nobody's proof": {map[string]Rule{"email": {Constant: raw(`"x@example.org"`)}}, func(u *pluginapi.User) {
			u.Email, u.Username, u.EmailVerified = "x@example.org", "x@example.org", p(false)
		}},
		"rules read the account as it came": {map[string]Rule{"given_name": {Copy: "family_name"}, "family_name": {Copy: "given_name"}}, func(u *pluginapi.User) { u.GivenName, u.FamilyName = "", "Ada" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, _ := Map(ada(), everything())
			tt.want(&want)
			r, found := Compile(Spec{Set: tt.set}, policy.Policies{})
			if len(found) > 0 {
				t.Fatal(found)
			}
			account := ada()
			got, _, excluded := r.Map(account, everything())
			if excluded != nil {
				t.Fatal(excluded)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(canonical.PasswordHash{}, canonical.Secret{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(ada(), account, cmp.AllowUnexported(canonical.PasswordHash{}, canonical.Secret{})); diff != "" {
				t.Errorf("the account itself was changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExclusions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spec     Spec
		policies policy.Policies
		change   func(*canonical.User)
		want     Exclusion
	}{
		"filter":               {spec: Spec{Filter: `"guest" in roles["public"]`}, want: Exclusion{pluginapi.Skipped, diag.MapFiltered, "mapping.filter is false for it"}},
		"no entry":             {spec: Spec{Set: map[string]Rule{"given_name": {Lookup: "metadata.tier", Table: map[string]json.RawMessage{"a": raw(`"b"`)}}}}, want: Exclusion{pluginapi.Rejected, diag.MapNoEntry, "mapping.set.given_name: " + errNoEntry.Error()}},
		"missing key":          {spec: Spec{Set: map[string]Rule{"given_name": {CEL: `string(metadata.nothing)`}}}, want: Exclusion{pluginapi.Rejected, diag.MapFailed, "mapping.set.given_name: a key that the expression reads does not exist; test for it with has(…)"}},
		"wrong type":           {spec: Spec{Set: map[string]Rule{"given_name": {Copy: "metadata.address"}}}, want: Exclusion{pluginapi.Rejected, diag.MapFailed, "mapping.set.given_name: it is not text"}},
		"errors quote nothing": {spec: Spec{Set: map[string]Rule{"enabled": {CEL: `int(metadata.tier) > 0`}}}, want: Exclusion{pluginapi.Rejected, diag.MapFailed, "mapping.set.enabled: a value cannot be converted"}},
		"endless": {
			spec: Spec{Filter: `logins.all(a, logins.all(b, logins.all(c, logins.all(d, a.id + b.id + c.id + d.id != ""))))`},
			change: func(u *canonical.User) {
				for range 60 {
					u.Logins = append(u.Logins, u.Logins[0])
				}
			},
			want: Exclusion{pluginapi.Rejected, diag.MapFailed, "mapping.filter: it takes too long"},
		},
		"long id": {policies: policy.Policies{LongID: policy.Skip}, change: func(u *canonical.User) { u.ID = strings.Repeat("x", 40) }, want: Exclusion{pluginapi.Skipped, diag.LoadIDTooLong, "the id has 40 characters, the target takes 36"}},
		"hash": {
			policies: policy.Policies{Password: policy.Reject},
			change: func(u *canonical.User) {
				u.Logins[0].Password = canonical.ParsePasswordHash("$f_scrypt$4/NA6w==$c3RldGxzYWx0$m=14$r=8$s=Bw==")
			},
			want: Exclusion{pluginapi.Rejected, diag.MapHashUnsupported, "the target cannot verify the hash of its password, and policies.password does not allow a reset"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, found := Compile(tt.spec, tt.policies)
			if len(found) > 0 {
				t.Fatal(found)
			}
			u := ada()
			if tt.change != nil {
				tt.change(u)
			}
			caps := everything()
			caps.MaxIDLength = 36
			_, _, excluded := r.Map(u, caps)
			if excluded == nil {
				t.Fatal("it is loaded")
			}
			if diff := cmp.Diff(tt.want, *excluded); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	u := ada()
	u.ID = strings.Repeat("x", 40)
	caps := everything()
	caps.MaxIDLength = 36
	r, _ := Compile(Spec{}, policy.Policies{LongID: policy.Internal})
	if out, lost, excluded := r.Map(u, caps); excluded != nil || out.ID != "i" || len(lost) != 1 || lost[0] != LossExternalID {
		t.Errorf("id %q, lost %v, excluded %v", out.ID, lost, excluded)
	}
}

func TestCompileErrorsSayWhere(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spec Spec
		path string
		code diag.Code
		pos  diag.Pos
		hint string
	}{
		"field":            {Spec{Set: map[string]Rule{"usernme": {Copy: "id"}}}, "/set/usernme", diag.MapUnknownField, diag.Pos{}, `did you mean "username"?`},
		"source":           {Spec{Set: map[string]Rule{"username": {Copy: "emial"}}}, "/set/username/copy", diag.MapUnknownField, diag.Pos{}, `did you mean "email"?`},
		"in a template":    {Spec{Set: map[string]Rule{"username": {Template: "ä{phne}"}}}, "/set/username/template", diag.MapUnknownField, diag.Pos{Line: 1, Col: 3}, `did you mean "phone"?`},
		"brace":            {Spec{Set: map[string]Rule{"username": {Template: "{id"}}}, "/set/username/template", diag.MapBadTemplate, diag.Pos{Line: 1, Col: 1}, "write {{ or }} for the brace itself"},
		"cel name":         {Spec{Filter: "true &&\n  emial != \"\""}, "/filter", diag.MapBadExpression, diag.Pos{Line: 2, Col: 3}, `did you mean "email"?`},
		"cel syntax":       {Spec{Filter: `email ==`}, "/filter", diag.MapBadExpression, diag.Pos{Line: 1, Col: 9}, ""},
		"cel type":         {Spec{Set: map[string]Rule{"enabled": {CEL: `"yes"`}}}, "/set/enabled/cel", diag.MapBadExpression, diag.Pos{}, ""},
		"constant type":    {Spec{Set: map[string]Rule{"enabled": {Constant: raw(`"yes"`)}}}, "/set/enabled/constant", diag.ConfigWrongType, diag.Pos{}, ""},
		"two at once":      {Spec{Set: map[string]Rule{"username": {Copy: "id", CEL: "id"}}}, "/set/username", diag.ConfigConflict, diag.Pos{}, ""},
		"none":             {Spec{Set: map[string]Rule{"username": {}}}, "/set/username", diag.ConfigMissingField, diag.Pos{}, ""},
		"lookup, no table": {Spec{Set: map[string]Rule{"username": {Lookup: "id"}}}, "/set/username", diag.ConfigMissingField, diag.Pos{}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, found := Compile(tt.spec, policy.Policies{})
			if len(found) != 1 {
				t.Fatalf("%d findings: %+v", len(found), found)
			}
			d := found[0]
			if d.Path != tt.path || d.Code != tt.code || d.Pos != tt.pos || tt.hint != "" && d.Hint != tt.hint {
				t.Errorf("%+v", d)
			}
		})
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`email.lowerAscii()`, "{id}-{metadata.a}")
	f.Add(`roles.all(t, roles[t].size() > 0)`, "{{}}")
	f.Fuzz(func(t *testing.T, expression, template string) {
		r, found := Compile(Spec{Filter: expression, Set: map[string]Rule{"metadata.x": {Template: template}}}, policy.Policies{})
		if !found.HasErrors() {
			r.Map(ada(), everything()) // anything but a panic
		}
	})
}

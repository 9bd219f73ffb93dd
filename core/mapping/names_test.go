package mapping_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

func namesOf(t *testing.T, text string) (*mapping.Names, diag.List) {
	t.Helper()
	var rules map[string]mapping.Rule
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		t.Fatal(err)
	}
	return mapping.CompileNames(rules)
}

func TestNamesOfATenant(t *testing.T) {
	t.Parallel()
	names, found := namesOf(t, `{"slug":{"cel":"tenant.lowerAscii().replace('_','-')"},"firm":{"lookup":"tenant","table":{"Acme_1":"acme-inc"}},"both":{"template":"{tenant}!"}}`)
	if found.HasErrors() {
		t.Fatal(found)
	}
	for text, want := range map[string]string{
		"customers-{slug}": "customers-acme-1", "{tenant}/{firm}": "Acme_1/acme-inc", "{{tenant}}": "{tenant}", "none": "none", "{both}{both}": "Acme_1!Acme_1!", "": "",
	} {
		template, found := names.Template(text, "/x")
		if found.HasErrors() {
			t.Fatalf("%s: %v", text, found)
		}
		if got, err := template.Of("Acme_1"); got != want || err != nil {
			t.Errorf("%s is %q, %v, want %q", text, got, err, want)
		}
	}
	template, _ := names.Template("{firm}", "/x")
	if got, err := template.Of("globex"); err == nil || !strings.Contains(err.Error(), "{firm}: the table has no entry") {
		t.Errorf("a tenant that the table does not have is %q, %v", got, err)
	}
}

func TestWrongNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rules, template, code, says string }{
		{`{"slug":{"cel":"tennant"}}`, "", "map.bad_expression", `did you mean "tenant"?`},
		{`{"slug":{"cel":"email"}}`, "", "map.bad_expression", "undeclared reference to 'email'"},
		{`{"slug":{"template":"{email}"}}`, "", "map.unknown_field", `"email" is not a field of a tenant`},
		{`{"slug":{"cel":"1"}}`, "", "map.bad_expression", "text is needed"},
		{`{"tenant":{"cel":"tenant"}}`, "", "config.conflict", "no name for another value"},
		{`{}`, "{tennant}", "map.unknown_field", `did you mean "tenant"?`},
		{`{}`, "{email}", "map.unknown_field", "write {{ or }}"},
		{`{}`, "a{tenant", "map.bad_template", "without a matching brace"},
		{`{}`, "a}b", "map.bad_template", "without a matching brace"},
	} {
		names, found := namesOf(t, c.rules)
		if c.template != "" {
			_, found = names.Template(c.template, "/x")
		}
		if len(found) != 1 || string(found[0].Code) != c.code || !strings.Contains(found[0].Summary+found[0].Hint, c.says) {
			t.Errorf("%s %s: %v", c.rules, c.template, found)
		}
	}
}

// Rules read the name of the target where there are several, and only there.
func TestRulesOfSeveralTargets(t *testing.T) {
	t.Parallel()
	spec := mapping.Spec{Set: map[string]mapping.Rule{"id": {Template: "{target}.{id}"}, "roles": {CEL: `target == "acme" ? roles : {}`}}}
	if _, found := mapping.Compile(spec, policy.Policies{}); !found.HasErrors() {
		t.Error("rules for one target read the name of a target")
	}
	rules, found := mapping.CompileForTargets(spec, policy.Policies{})
	if found.HasErrors() {
		t.Fatal(found)
	}
	account := &canonical.User{InternalID: "1", ID: "1", Roles: map[string][]string{"acme": {"admin"}}}
	acme, _, _ := rules.For("acme").Map(account, pluginapi.Capabilities{Carries: pluginapi.Features()})
	globex, _, _ := rules.For("globex").Map(account, pluginapi.Capabilities{Carries: pluginapi.Features()})
	if acme.ID != "acme.1" || len(acme.Roles) != 1 || globex.ID != "globex.1" || len(globex.Roles) != 0 {
		t.Errorf("acme has %s %v, globex %s %v", acme.ID, acme.Roles, globex.ID, globex.Roles)
	}
}

// An account that several targets get keeps its id in the first of them, and can have others
// in the others: the same in every run.
func TestIDsByHome(t *testing.T) {
	t.Parallel()
	spec := mapping.Spec{Set: map[string]mapping.Rule{"id": {CEL: `target == home ? id : uuid5(target + " " + id)`}}}
	rules, found := mapping.CompileForTargets(spec, policy.Policies{})
	if found.HasErrors() {
		t.Fatal(found)
	}
	one := &canonical.User{InternalID: "1", ID: "1"}
	both := &canonical.User{InternalID: "1", ID: "1", Warnings: []canonical.Warning{mapping.Home("acme")}}
	for _, target := range []string{"acme", "globex"} {
		alone, _, _ := rules.For(target).Map(one, pluginapi.Capabilities{})
		several, _, _ := rules.For(target).Map(both, pluginapi.Capabilities{})
		again, _, _ := rules.For(target).Map(both, pluginapi.Capabilities{})
		if alone.ID != "1" || (target == "acme") != (several.ID == "1") || several.ID != again.ID {
			t.Errorf("%s: %s alone, %s, %s", target, alone.ID, several.ID, again.ID)
		}
	}
}

// Who is kept out of a target for being in several has a reason; what the filter leaves out
// is left out for that.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	rules, _ := mapping.CompileForTargets(mapping.Spec{Filter: `id != "2"`}, policy.Policies{})
	for _, c := range []struct {
		id, target string
		action     pluginapi.Action
		code       diag.Code
	}{
		{"1", "", pluginapi.Rejected, diag.MapSeveralTenants}, {"1", "acme", pluginapi.Skipped, diag.MapSeveralTenants}, {"2", "acme", pluginapi.Skipped, diag.MapFiltered},
	} {
		_, _, out := rules.Map(&canonical.User{InternalID: c.id, ID: c.id, Warnings: []canonical.Warning{{Code: "other"}, mapping.Elsewhere(c.target)}}, pluginapi.Capabilities{})
		if out == nil || out.Action != c.action || out.Code != c.code {
			t.Errorf("%+v: %+v", c, out)
		}
	}
}

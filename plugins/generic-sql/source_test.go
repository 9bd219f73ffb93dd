package sqltarget

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// An expression that repeats something is ended when it takes too long; what is done by
// expressions that repeat nothing is not counted, as it is little.
func TestExpressionsThatRepeatAreBounded(t *testing.T) {
	t.Parallel()
	user := sdk.User{ID: "u", Email: "Ada@Example.com", Tenants: strings.Fields(strings.Repeat("tenant ", 200))}
	for text, repeats := range map[string]bool{
		`email != '' ? dyn(lower(email)) : null`:                                 false,
		`uuid5('credential ' + id)`:                                              false,
		`size(tenants) > 0 && 'public' in tenants ? tenants[0] : 'none'`:         false,
		`tenants.all(a, tenants.all(b, tenants.all(c, a == b && b == c)))`:       true,
		`email.replace('a', email + email).replace('a', email).replace('a', '')`: true,
	} {
		envs, err := environments()
		if err != nil {
			t.Fatal(err)
		}
		checked, issues := envs[perAccount].Compile(text)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", text, issues.Err())
		}
		if short(checked) == repeats {
			t.Errorf("%s: it repeats something: %t", text, repeats)
		}
	}
	endless, problem := compileCEL(`tenants.all(a, tenants.all(b, tenants.all(c, a == b && b == c)))`, perAccount)
	if problem != "" {
		t.Fatal(problem)
	}
	if v, err := endless.eval(&item{user: &user}); err == nil {
		t.Errorf("eight million comparisons gave %v", v)
	}
}

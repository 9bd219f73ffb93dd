package mapping_test

import (
	"encoding/json"
	"fmt"
	"log"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// Rules of an operator decide what an account becomes; what the target cannot hold is
// said, and an account that a filter leaves out is excluded with the reason.
func ExampleCompile() {
	rules, problems := mapping.Compile(mapping.Spec{
		Filter: `!roles.exists(tenant, "suspended" in roles[tenant])`,
		Set: map[string]mapping.Rule{
			"email":       {CEL: "email.lowerAscii()"},
			"family_name": {Default: json.RawMessage(`"-"`)},
		},
	}, policy.Policies{})
	if err := problems.Err(); err != nil {
		log.Fatal(err) // each problem points at the rule that it is about
	}
	caps := pluginapi.Capabilities{Carries: []pluginapi.Feature{pluginapi.CarriesID, pluginapi.CarriesNames}, MaxIDLength: 36}

	address := "Ada@Example.org"
	account := canonical.User{
		InternalID: "1", ID: "ada", Roles: map[string][]string{"public": {"editor"}},
		Logins: []canonical.Login{{ID: "1", VisibleID: "ada", Recipe: canonical.EmailPassword, Email: &address}},
	}
	user, lost, _ := rules.Map(&account, caps)
	fmt.Printf("%s <%s> %q\n", user.ID, user.Email, user.FamilyName)
	fmt.Println("lost:", lost)

	account.Roles["public"] = []string{"suspended"}
	_, _, excluded := rules.Map(&account, caps)
	fmt.Println(excluded.Action, excluded.Code)
	// Output:
	// ada <ada@example.org> "-"
	// lost: [roles]
	// skipped map.filtered
}

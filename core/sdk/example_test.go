package sdk_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// Config is the configuration of the plugin; the schema that stetl checks a file
// against is made of it.
type Config struct {
	Domain string     `json:"domain" jsonschema:"where the directory is"`
	Token  sdk.Secret `json:"token" jsonschema:"token of an administrator"`
}

// Directory is the target. This one keeps its accounts in memory.
type Directory struct {
	mu       sync.Mutex
	accounts map[string]string // address by id
}

// Load implements [sdk.Target]: every user gets one outcome.
func (d *Directory) Load(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range users {
		o := sdk.Outcome{SourceID: u.SourceID, TargetID: u.ID, Action: sdk.Created}
		switch email, there := d.accounts[u.ID]; {
		case there && email == u.Email:
			o.Action = sdk.Unchanged
		case there:
			o.Action, o.Code = sdk.Skipped, "load.exists_differs"
		case slices.Contains(slices.Collect(maps.Values(d.accounts)), u.Email):
			o.Action, o.Code, o.Hint = sdk.Rejected, "load.email_conflict", "two people of the directory cannot share an address"
		default:
			d.accounts[u.ID] = u.Email
		}
		out.Report(o)
	}
	return nil
}

// plugin is what the program serves.
func plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "acme", Version: "1.0.0",
		Capabilities: sdk.Capabilities{
			Hashes:  []sdk.HashSupport{{Scheme: sdk.Bcrypt}},
			Carries: []sdk.Feature{sdk.CarriesID},
		},
		New: func(context.Context, Config, sdk.Env) (sdk.Target, error) {
			return &Directory{accounts: map[string]string{}}, nil
		},
	}
}

// A plugin is a program whose main function is
//
//	func main() { sdk.Serve(plugin()) }
//
// Serve ends the process when a person has started it, so that this example calls Run,
// which returns the same words instead.
func ExampleServe() {
	err := sdk.Run(plugin())
	fmt.Println(strings.ReplaceAll(err.Error(), "; ", "\n"))
	// Output:
	// acme 1.0.0 is a target plugin of stetl, not a command of its own
	// stetl starts it, if the configuration says "plugin: acme" and the executable is beside stetl as stetl-plugin-acme
}

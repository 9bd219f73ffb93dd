package conformance_test

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/conformance"
)

// list is a target that forgets whom it has: a user who is sent twice is created twice.
type list struct {
	mu    sync.Mutex
	names []string
}

// Load implements [sdk.Target].
func (l *list) Load(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range users {
		l.names = append(l.names, u.Username)
		out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: fmt.Sprint(len(l.names))})
	}
	return nil
}

// Every rule of the protocol is tried on a plugin. In a test of your own, Test does it,
// with a subtest for each rule.
func ExampleRun() {
	target := &list{}
	plugin := sdk.Plugin[struct{}]{
		Name: "list", Version: "1.0.0", Capabilities: sdk.Capabilities{Carries: []sdk.Feature{sdk.CarriesNames}},
		New: func(context.Context, struct{}, sdk.Env) (sdk.Target, error) { return target, nil },
	}
	report, err := conformance.Run(context.Background(), conformance.Suite{
		Start: conformance.InProcess(plugin, struct{}{}),
		Inspect: func(context.Context) (string, error) {
			target.mu.Lock()
			defer target.mu.Unlock()
			return fmt.Sprint(target.names), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Status == conformance.Failed {
			fmt.Printf("%s: %s\n", r.Rule, r.Promise)
		}
	}
	// Output:
	// idempotent: loading twice equals loading once
	// large: a user of 8 MiB, or with a thousand values, is loaded or rejected, and costs nobody else anything
	// leave: an account that is there and differs is skipped, not overwritten
	// update: an update writes what differs, once, and only to the account that was planned for
	// lost-answer: a user whose answer was lost is looked up, not created again
	// given-and-taken: what the source takes away from an account is taken away, and what it gives is given, in every part that the plugin declares
	// same-account: an account that a run has made is found again by its target id, whatever its name and address have become
	// exchange: two people who exchange their addresses both keep an account, and end with the right one or are named
	// looks: what the host remembers of an account is never taken for what the target has
}

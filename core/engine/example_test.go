package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// people is a source: accounts in the order of their internal ids.
type people []canonical.User

// Accounts implements [engine.Source].
func (p people) Accounts(_ context.Context, emit func([]canonical.User) error) error { return emit(p) }

// directory is a target. Its plugin would be a child process; the engine knows nothing
// of processes.
type directory map[string]string

// Capabilities implements [engine.Target].
func (directory) Capabilities() pluginapi.Capabilities {
	return pluginapi.Capabilities{Carries: []pluginapi.Feature{pluginapi.CarriesID}, MaxIDLength: 36, UniqueEmail: true}
}

// Check implements [engine.Target].
func (directory) Check(context.Context, pluginapi.Needs) (pluginapi.Checked, error) {
	return pluginapi.Checked{}, nil
}

// Plan implements [engine.Target].
func (directory) Plan(context.Context, []pluginapi.User) ([]pluginapi.Change, error) { return nil, nil }

// Load implements [engine.Target].
func (d directory) Load(_ context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	outcomes := make([]pluginapi.Outcome, len(users))
	for i, u := range users {
		d[u.ID] = u.Email
		outcomes[i] = pluginapi.Outcome{SourceID: u.SourceID, TargetID: u.ID, Action: pluginapi.Created}
	}
	return outcomes, nil
}

// Finish implements [engine.Target].
func (directory) Finish(context.Context) error { return nil }

// Every account of the source has one outcome: who wants what another one keeps is
// rejected, with the reason, and never sent.
func ExampleRun() {
	person := func(id, email string) canonical.User {
		return canonical.User{InternalID: id, ID: id, Logins: []canonical.Login{{ID: id, VisibleID: id, Recipe: canonical.EmailPassword, Email: &email}}}
	}
	source := people{person("1", "ada@example.org"), person("2", "grace@example.org"), person("3", "ada@example.org")}
	dst := directory{}

	result, err := engine.Run(context.Background(), source, dst, engine.Options{Outcome: func(c pluginapi.Change) {
		if c.Action == pluginapi.Rejected {
			fmt.Println(c.SourceID, c.Code)
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d read, %d created, %d rejected\n", result.Summary.Read, result.Summary.Created, result.Summary.Rejected)
	fmt.Println(dst)
	// Output:
	// 3 map.duplicate_username
	// 3 read, 2 created, 1 rejected
	// map[1:ada@example.org 2:grace@example.org]
}

package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/supertokens"
)

// Choice says which accounts a run is about. Its conditions add up; the zero value is
// everybody.
type Choice struct {
	// Flags is how the operator has said it, for messages and reports: a text for each
	// condition, which names no account. A choice without one is none.
	Flags []string
	// IDs names accounts one by one, by any of their ids.
	IDs []engine.Named
	// Tenants, when not empty, are those of which an account must be in one.
	Tenants []string
	// Sample, when above 0, is how many accounts are chosen, for a rehearsal.
	Sample int
	// OnlyRejects are those that earlier runs have rejected or left in doubt.
	OnlyRejects bool
}

// wantsPart says how a part of the accounts was asked for, empty where it was not.
func wantsPart(c *Choice, plan *engine.Plan) []string {
	if plan != nil && plan.Part != "" {
		return []string{"--plan, of a plan that was made with " + plan.Part}
	}
	return c.Flags
}

// needsEveryone says that the target cannot get a part of the accounts.
func needsEveryone(given []string) error {
	return diag.List{{
		Code:    diag.RunNeedsEveryone,
		Summary: strings.Join(given, " and ") + ": this target is written as a whole every time, and a part would replace all accounts that are there; nothing was written",
		Detail: "For files of some accounts, leave the others out with mapping.filter, in a configuration of its own with an output folder of its own.\n" +
			"Another output folder alone changes nothing about this rule.",
		Hint: "run without it; stetl explain ID shows what becomes of one account",
	}}.Err()
}

// choose decides which accounts a run is about; nil when it is about all.
func choose(ctx context.Context, m *Migration, src engine.Source, o engine.Options, c *Choice) (*engine.Part, error) {
	if len(c.Flags) == 0 {
		return nil, nil //nolint:nilnil // about all
	}
	choice := engine.Choice{Flag: strings.Join(c.Flags, " "), IDs: c.IDs, Tenants: c.Tenants, Sample: c.Sample}
	if err := knownTenants(m.source.src, c.Tenants); err != nil {
		return nil, err
	}
	if c.OnlyRejects {
		var err error
		if choice.Among, err = openRejects(ctx, &m.journal); err != nil {
			return nil, err
		}
	}
	part, err := engine.Choose(ctx, src, m.target, o, choice)
	if list := (*diag.ListError)(nil); errors.As(err, &list) {
		return nil, err
	}
	return part, classify(ctx, err)
}

// mostTenants bounds how many tenants a message lists.
const mostTenants = 30

// knownTenants makes sure that the app has the tenants.
func knownTenants(src *supertokens.Source, tenants []string) error {
	var known []string
	for _, app := range src.Apps() {
		if app.ID == src.App() {
			known = app.Tenants
		}
	}
	var problems diag.List
	for _, t := range tenants {
		if slices.Contains(known, t) {
			continue
		}
		list := strings.Join(known[:min(len(known), mostTenants)], ", ")
		if more := len(known) - mostTenants; more > 0 {
			list += fmt.Sprintf(" and %d more", more)
		}
		d := diag.Diagnostic{
			Code: diag.RunUnknownTenant, Summary: fmt.Sprintf("--only-tenant: app %s has no tenant %q; nothing was written", src.App(), t), Detail: "It has " + list + ".",
		}
		if like := diag.Suggest(t, known); like != "" {
			d.Hint = fmt.Sprintf("did you mean %q?", like)
		}
		problems.Add(d)
	}
	return problems.Err()
}

// openRejects are the accounts that earlier runs have not loaded.
func openRejects(ctx context.Context, j *runJournal) (map[string]bool, error) {
	if j.scope == nil {
		return nil, UsageError{errors.New("--only-rejects: no run has been made yet")}
	}
	open := map[string]bool{}
	for e, err := range j.scope.Accounts(ctx) {
		if err != nil {
			return nil, RefusedError{err}
		}
		if e.Open() {
			open[e.SourceID] = true
		}
	}
	return open, nil
}

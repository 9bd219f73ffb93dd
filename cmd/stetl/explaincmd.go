package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/target"
)

func (a *app) explainCommand() *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use:   "explain USER --config FILE | explain CODE",
		Short: "Tell everything about one account: source, mapping, journal, target; or what a code means",
		Long: `explain looks an account up by its internal id, the id applications have stored,
the id of one of its logins, the target's id or an e-mail address. It shows what
SuperTokens has of it (addresses as shapes, no secrets), what the mapping makes of
it, what runs have done with it, and what a run would do now. It writes nothing.

Given a code, as in reports, it says what the code means and what to do. Codes of a
plugin that is not bundled take the configuration that names the plugin.`,
		Example: `  stetl explain 6c0f3a52-0b39-4a49-a06b-66a4a43c4d1e --config configs/quickstart.yaml
  stetl explain load.exists_differs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.explainNamed(cmd.Context(), args[0], offline) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&offline, "offline", false, "do not ask the target")
	return c
}

// explainNamed explains a code, or else an account.
func (a *app) explainNamed(ctx context.Context, name string, offline bool) (err error) {
	if code, ok := explained(name); ok {
		return a.print(&code)
	}
	if a.configPath == "" && diag.Code(name).WellFormed() {
		return usageError{fmt.Errorf("%s is no code of stetl or of a bundled plugin; with --config FILE it can be one of another plugin, or an account", name)}
	}
	p, err := a.openProject(ctx, peek, newStatus(a.err, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	if info, ok := p.words().Lookup(diag.Code(name)); ok {
		return a.print(&report.Code{Info: info, Of: p.cfg.Target.Plugin})
	}
	return p.explainUser(ctx, name, offline)
}

func (p *project) explainUser(ctx context.Context, name string, offline bool) error {
	if err := p.openSource(ctx); err != nil {
		return err
	}
	acc := p.accounts()

	var e report.Explanation
	entry, known, err := p.remembered(ctx, name)
	if err != nil {
		return refusedError{err}
	}
	found, err := lookUp(ctx, acc, name, entry.SourceID)
	switch {
	case err != nil:
		return classify(ctx, err)
	case len(found) > 1:
		return usageError{fmt.Errorf("several accounts have it; name one of them: %s", strings.Join(idsOfAccounts(found), ", "))}
	case len(found) == 0 && !known:
		return usageError{errors.New("neither the source nor the journal has such an account")}
	case len(found) == 1:
		u := found[0]
		mapped, losses, aside := p.rules.Map(u, p.target.Capabilities())
		e = report.Explanation{SourceID: u.InternalID, VisibleID: u.ID, Account: report.Shape(u), Losses: losses, Plugin: p.cfg.Target.Plugin, Class: mapped.Class, Aside: aside}
		if !known {
			if entry, known, err = p.remembered(ctx, u.InternalID); err != nil {
				return refusedError{err}
			}
		}
	default:
		e.SourceID, e.VisibleID = entry.SourceID, entry.VisibleID
	}
	if known {
		reason, _, err := p.scope.Reason(ctx, entry.SourceID)
		if err != nil {
			return refusedError{err}
		}
		e.Journal = report.Remember(entry, reason)
	}
	if len(found) == 1 && !offline && p.target.Capabilities().Can(target.CanPlan) {
		if e.Next, err = p.predict(ctx, acc, e.SourceID); err != nil {
			return classify(ctx, err)
		}
	}
	e.Words = p.words()
	return p.app.print(&e)
}

// remembered is what the journal has of an account, by any of its ids.
func (p *project) remembered(ctx context.Context, id string) (journal.Entry, bool, error) {
	if p.scope == nil {
		return journal.Entry{}, false, nil
	}
	return p.scope.Account(ctx, id)
}

// lookUp reads the source for accounts that are meant: by an id, else by address.
func lookUp(ctx context.Context, acc *accounts, name, sourceID string) ([]*canonical.User, error) {
	var byID, byEmail []*canonical.User
	err := acc.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			u := users[i]
			switch {
			case u.InternalID == name || u.ID == name || sourceID != "" && u.InternalID == sourceID,
				slices.ContainsFunc(u.Logins, func(l canonical.Login) bool { return l.ID == name || l.VisibleID == name }):
				byID = append(byID, &u)
			case slices.ContainsFunc(u.Logins, func(l canonical.Login) bool { return l.Email != nil && strings.EqualFold(*l.Email, name) }):
				byEmail = append(byEmail, &u)
			}
		}
		return nil
	})
	if len(byID) > 0 {
		return byID, err
	}
	return byEmail, err
}

func idsOfAccounts(users []*canonical.User) []string {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.InternalID
	}
	return ids
}

// predict asks what a run would do with one account.
func (p *project) predict(ctx context.Context, acc *accounts, sourceID string) (*target.Change, error) {
	o := p.engineOptions()
	o.DryRun, o.Progress = true, nil
	o.Part = engine.Only("", map[string]bool{sourceID: true})
	var next *target.Change
	o.Outcome = func(c target.Change) {
		if c.SourceID == sourceID {
			next = report.Mask(c)
		}
	}
	_, err := engine.Run(ctx, acc, p.target, o)
	if errors.Is(err, engine.ErrRefused) { // what the preflight says is about the target, not about this account
		err = nil
	}
	return next, err
}

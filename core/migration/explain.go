package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/signin"
)

// Explain tells everything about one account: what the source has of it, what the
// mapping makes of it, what runs have done with it and, unless offline, what a run
// would do now. The name is any id of the account, in source or target, or an e-mail
// address.
func (m *Migration) Explain(ctx context.Context, name string, offline bool) (*report.Explanation, error) {
	if err := m.openSource(ctx); err != nil {
		return nil, err
	}
	src := reading(m, nil)
	entry, known, err := m.journal.account(ctx, name)
	if err != nil {
		return nil, RefusedError{err}
	}
	found, err := lookUp(ctx, src, name, entry.SourceID)
	var e *report.Explanation
	switch {
	case err != nil:
		return nil, classify(ctx, err)
	case len(found) > 1:
		return nil, UsageError{fmt.Errorf("several accounts have it; name one of them: %s", strings.Join(internalIDs(found), ", "))}
	case len(found) == 0 && !known:
		return nil, UsageError{errors.New("neither the source nor the journal has such an account")}
	case len(found) == 1:
		e = explain(m, found[0])
		if !known {
			if entry, known, err = m.journal.account(ctx, e.SourceID); err != nil {
				return nil, RefusedError{err}
			}
		}
	default:
		e = &report.Explanation{SourceID: entry.SourceID, VisibleID: entry.VisibleID}
	}
	if known {
		reason, _, err := m.journal.scope.Rejects.Reason(ctx, entry.SourceID)
		if err != nil {
			return nil, RefusedError{err}
		}
		e.Journal = report.Remember(entry, reason)
	}
	if len(found) == 1 && !offline && m.target.Capabilities().Can(pluginapi.CanPlan) {
		var ways []signin.Way
		if e.Next, ways, err = predict(ctx, m, src, e.SourceID); err != nil {
			return nil, classify(ctx, err)
		}
		if ways != nil {
			e.SignIn = ways
		}
	}
	e.Words = m.plugin.words()
	return e, nil
}

// explain says what the source has of an account, and what the mapping makes of it.
func explain(m *Migration, u *canonical.User) *report.Explanation {
	caps := m.target.Capabilities()
	mapped, losses, excluded := m.rules.Map(u, caps)
	e := &report.Explanation{SourceID: u.InternalID, VisibleID: u.ID, Account: report.Shape(u), Losses: losses, Plugin: m.cfg.Target.Plugin, Class: mapped.Class, Exclusion: excluded}
	if target := (signin.Target{Declared: caps.SignIns}); excluded == nil && target.Known() {
		e.SignIn = target.Ways(signin.Of(&mapped))
	}
	return e
}

// ExplainCode says what a code of the plugin means; false for one that is none of its.
// [diag.Words] of the core and of findings are among them.
func (m *Migration) ExplainCode(code diag.Code) (report.Code, bool) {
	info, ok := m.plugin.words().Lookup(code)
	return report.Code{Info: info, Of: m.cfg.Target.Plugin}, ok
}

// lookUp reads the source for accounts that are meant: by an id, else by address.
func lookUp(ctx context.Context, src engine.Source, name, sourceID string) ([]*canonical.User, error) {
	var byID, byEmail []*canonical.User
	err := src.Accounts(ctx, func(users []canonical.User) error {
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

func internalIDs(users []*canonical.User) []string {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.InternalID
	}
	return ids
}

// predict asks what a run would do with one account.
func predict(ctx context.Context, m *Migration, src engine.Source, sourceID string) (*pluginapi.Change, []signin.Way, error) {
	o := engineOptions(m)
	o.DryRun, o.Progress = true, nil
	o.Part = engine.Only("", map[string]bool{sourceID: true})
	var next *pluginapi.Change
	var signIn []signin.Way
	o.SignIn = func(_ string, ways []signin.Way) { signIn = ways }
	o.Outcome = func(c pluginapi.Change) {
		if c.SourceID == sourceID {
			next = report.Mask(c)
		}
	}
	_, err := engine.Run(ctx, src, m.target, o)
	if errors.Is(err, engine.ErrRefused) { // what the preflight says is about the target, not about this account
		err = nil
	}
	return next, signIn, err
}

package migration

import (
	"context"
	"errors"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// Checked is what an examination of source and target has found.
type Checked struct {
	// Found are problems of the target; one that is an error would keep a run from
	// beginning.
	Found diag.List
	// RolePermissions counts what roles allow; nil when they allow nothing.
	RolePermissions *engine.RolePermissions
	// Source is where the accounts are, and Completeness whether it is whole.
	Source       string
	Completeness supertokens.Completeness
	// Journal is the folder that every instance of the bridge needs; empty without a bridge,
	// and where the journal is in a database.
	Journal string
}

// Check reads every account and examines the target for what a run would ask of it. It
// writes nothing.
func (m *Migration) Check(ctx context.Context) (*Checked, error) {
	if err := m.openSource(ctx); err != nil {
		return nil, err
	}
	o := engineOptions(m)
	o.Broker = broker(m.cfg.Bridge)
	result, err := engine.Check(ctx, reading(m, nil), m.target, o)
	if err != nil {
		return nil, classify(ctx, err)
	}
	c := &Checked{
		Found:           append(m.cfg.Target.Locate(result.Diagnostics), checkBridge(ctx, m, diag.Warning)...),
		RolePermissions: result.RolePermissions, Source: m.source.src.Where(),
	}
	misplaced, err := m.journal.misplaced(ctx, m.cfg.Config)
	if err != nil {
		return nil, RefusedError{err}
	}
	c.Found.Add(misplaced...)
	c.Completeness, _ = m.source.src.Completeness()
	if m.cfg.Bridge.Set {
		c.Journal = m.cfg.Journal
	}
	return c, nil
}

// Fix has the plugin apply the remedies that it knows to the settings of the target,
// and to no accounts, or with undo put back what that has changed: then the source is not
// asked. The list says what was done.
func (m *Migration) Fix(ctx context.Context, undo bool) (diag.List, error) {
	f := pluginapi.Fixing{Undo: undo}
	if !undo {
		if err := m.openSource(ctx); err != nil {
			return nil, err
		}
		var err error
		if f.Needs, err = engine.Survey(ctx, reading(m, nil), m.target, engineOptions(m)); err != nil {
			return nil, classify(ctx, err)
		}
	}
	done, err := m.plugin.current().Fix(ctx, f)
	return m.cfg.Target.Locate(done.Found), classify(ctx, err)
}

// Setup has the plugin make what a run and the bridge need at the target before anything
// else works, as an administrator of the target. What is there is compared and left as it
// is. The list says what differs; the source is not asked.
func Setup(ctx context.Context, m *Migration, s pluginapi.Setup) ([]pluginapi.SetupStep, diag.List, error) {
	b := broker(m.cfg.Bridge)
	if b != nil && len(m.cfg.Bridge.Clients) > 0 {
		b.ClientSecret = m.cfg.Bridge.Clients[0].Secret
	}
	done, err := m.plugin.current().Fix(ctx, pluginapi.Fixing{Setup: &s, Needs: pluginapi.Needs{Broker: b}})
	return done.Steps, m.cfg.Target.Locate(done.Found), classify(ctx, err)
}

// broker is the bridge as the target sees it, without its secret.
func broker(c config.Bridge) *pluginapi.Broker {
	if !c.Set {
		return nil
	}
	b := &pluginapi.Broker{Issuer: c.Issuer, Exchange: c.Exchange.Audience != "", Algorithm: c.SigningAlgorithm}
	if key, err := cutover.ParseSigningKey(c.SigningKey); err == nil { // which has its own
		b.Algorithm = string(cutover.AlgorithmOf(key))
	}
	if len(c.Clients) > 0 {
		b.ClientID = c.Clients[0].ID
	}
	return b
}

// VerifyOptions say what [Migration.Verify] compares.
type VerifyOptions struct {
	// Sample, when above 1, compares one account in so many.
	Sample int
	// All counts also who is on one side only; see [engine.Options].
	All bool
}

// Verify reads accounts that runs have loaded back from the target and compares them with
// the source. It writes nothing.
func (m *Migration) Verify(ctx context.Context, v VerifyOptions) (*report.Verification, error) {
	if m.target.Capabilities().Whole {
		return nil, RefusedError{errors.New("this target is written as a whole, as import files are: there is nothing to read back")}
	}
	if err := m.openSource(ctx); err != nil {
		return nil, err
	}
	r := &report.Verification{Source: m.source.src.Where(), Target: m.cfg.TargetText(), Words: m.plugin.words()}
	o := engineOptions(m)
	o.All = v.All
	o.Outcome = func(c pluginapi.Change) { r.Changes = append(r.Changes, c) }
	var err error
	r.Result, err = engine.Verify(ctx, reading(m, nil), m.target, o, v.Sample)
	return r, classify(ctx, err)
}

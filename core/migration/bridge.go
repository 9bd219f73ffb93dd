package migration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// bridgeConnections is the size of the pool: a connection is held while the
// target is asked.
const bridgeConnections = 24

// Bridge serves what the section bridge of the configuration asks for, until ctx ends,
// and then lets running requests end. The log receives the audit trail.
func (m *Migration) Bridge(ctx context.Context, log *slog.Logger) error {
	cfg := m.cfg.Config
	settings := cfg.Bridge
	if !settings.Set {
		return UsageError{fmt.Errorf("%s has no section bridge; see docs/bridge.md", cfg.Path)}
	}
	options := sourceOptions(cfg)
	options.AcceptIncomplete = m.o.Accept
	refused := func(err error) error { return RefusedError{sourceError(cfg, err)} }
	if !settings.Database.IsZero() {
		options.URL, options.Dump = settings.Database, ""
		refused = func(err error) error { return RefusedError{sourceErrorAt(cfg, "/bridge/database", err)} }
	}
	sessions, err := session.Open(ctx, options, session.Config{Connections: bridgeConnections})
	if err != nil {
		return refused(err)
	}
	defer sessions.Close()
	db, err := cutover.Open(ctx, sessions, cutover.Options{Schema: settings.Schema, FirebaseSignerKey: cfg.Source.FirebaseSignerKey})
	if errors.As(err, new(*supertokens.IncompleteError)) {
		return refused(err)
	}
	if err != nil {
		return RefusedError{err}
	}
	m.plugin.restarted = func() { log.Warn("the plugin has died and is started again") }
	o := bridge.Options{Config: settings, DB: db, Target: bridgeTarget{m.target}, Accounts: bridgeAccounts{&m.journal}, Log: log, Lazy: m.o.Lazy}
	if settings.SigningKey.IsZero() {
		o.Key, err = db.SigningKey(ctx)
	} else {
		o.Key, err = cutover.ParseSigningKey(settings.SigningKey)
	}
	if err != nil {
		return RefusedError{fmt.Errorf("bridge.signing_key: %w", err)}
	}
	server, err := bridge.New(o) //nolint:contextcheck // a scrape of metrics brings no context of its own
	if err != nil {
		return UsageError{err}
	}
	if err := server.Run(ctx); err != nil {
		return RefusedError{err}
	}
	return nil
}

// bridgeAccounts knows from the journal which account is whose.
type bridgeAccounts struct{ journal *runJournal }

// TargetID implements [bridge.Accounts]. Where no run has loaded the account, its
// visible id is the best guess.
func (b bridgeAccounts) TargetID(ctx context.Context, u session.User) (string, bool, error) {
	if b.journal.scope == nil {
		return u.ID, false, nil
	}
	entry, known, err := b.journal.scope.Get(ctx, u.InternalID)
	if err != nil || !known || entry.TargetID == "" {
		return u.ID, false, err
	}
	return entry.TargetID, true, nil
}

// bridgeTarget asks the plugin, which is started again when it has died. What it was
// being asked then fails; asking again works.
type bridgeTarget struct{ target *engine.Restarting }

func (b bridgeTarget) alive(ctx context.Context) (bridge.Target, error) {
	current, err := b.target.Alive(ctx)
	if err != nil {
		return nil, err
	}
	asked, ok := current.(bridge.Target)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return asked, nil
}

// SetPassword implements [bridge.Target].
func (b bridgeTarget) SetPassword(ctx context.Context, change pluginapi.PasswordChange) error {
	t, err := b.alive(ctx)
	if err != nil {
		return err
	}
	return t.SetPassword(ctx, change)
}

// StartReset implements [bridge.Target].
func (b bridgeTarget) StartReset(ctx context.Context, r pluginapi.Reset) (string, error) {
	t, err := b.alive(ctx)
	if err != nil {
		return "", err
	}
	return t.StartReset(ctx, r)
}

// Exchange implements [bridge.Target].
func (b bridgeTarget) Exchange(ctx context.Context, assertion pluginapi.Assertion) (pluginapi.Tokens, error) {
	t, err := b.alive(ctx)
	if err != nil {
		return pluginapi.Tokens{}, err
	}
	return t.Exchange(ctx, assertion)
}

package migration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
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
		return noBridge(cfg)
	}
	found := checkBridge(ctx, m, diag.Error)
	for _, d := range found {
		if d.Severity == diag.Warning {
			log.Warn(d.Summary, slog.String("code", string(d.Code)), slog.String("setting", d.Path), slog.String("hint", d.Hint))
		}
	}
	if found.HasErrors() {
		return RefusedError{found.Err()}
	}
	sessions, db, err := openBridge(ctx, cfg, m.o.Accept, bridgeConnections)
	if err != nil {
		return err
	}
	defer sessions.Close()
	m.plugin.restarted = func() { log.Warn("the plugin has died and is started again") }
	o := bridge.Options{Config: settings, DB: db, Target: bridgeTarget{m.target}, Accounts: bridgeAccounts{&m.journal}, Log: log, Lazy: m.o.Lazy, Uses: bridgeUses(settings), Metrics: m.o.Metrics}
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

// openBridge opens the source as the bridge does, with its own tables.
func openBridge(ctx context.Context, cfg *config.Config, accept []supertokens.GapCode, connections int) (*session.Store, *cutover.DB, error) {
	refused := func(err error) error { return RefusedError{sourceError(cfg, err)} }
	if !cfg.Bridge.Database.IsZero() {
		refused = func(err error) error { return RefusedError{sourceErrorAt(cfg, "/bridge/database", err)} }
	}
	sessions, err := session.Open(ctx, bridgeSource(cfg, accept), session.Config{Connections: connections, WithoutHashes: cfg.Bridge.Lazy.Token.IsZero()})
	if err != nil {
		return nil, nil, refused(err)
	}
	db, err := cutover.Open(ctx, sessions, cutover.Options{Schema: cfg.Bridge.Schema, FirebaseSignerKey: cfg.Source.FirebaseSignerKey, Algorithm: cutover.Algorithm(cfg.Bridge.SigningAlgorithm)})
	if err == nil {
		return sessions, db, nil
	}
	sessions.Close()
	if errors.As(err, new(*supertokens.IncompleteError)) {
		return nil, nil, refused(err)
	}
	return nil, nil, RefusedError{err}
}

// bridgeSource says how the bridge opens the source: as a role of its own, if there is one.
func bridgeSource(cfg *config.Config, accept []supertokens.GapCode) supertokens.Options {
	options := sourceOptions(cfg)
	options.AcceptIncomplete = accept
	if !cfg.Bridge.Database.IsZero() {
		options.URL, options.Dump = cfg.Bridge.Database, ""
	}
	return options
}

// BridgeUnlock ends lock-outs of the bridge that a configuration describes, and says how
// many there were. The log gets the audit trail.
func BridgeUnlock(ctx context.Context, cfg *Config, which bridge.Unlocking, log *slog.Logger) (int, error) {
	if err := cfg.Err(); err != nil {
		return 0, err
	}
	if !cfg.Bridge.Set {
		return 0, noBridge(cfg.Config)
	}
	sessions, db, err := openBridge(ctx, cfg.Config, nil, 2)
	if err != nil {
		return 0, err
	}
	defer sessions.Close()
	ended, err := bridge.Unlock(ctx, db, cfg.Bridge.Tenant, which, log)
	if err != nil {
		return 0, RefusedError{err}
	}
	return ended, nil
}

// TryBridge says what a hand-over of one session would come to, known by its handle or one
// of its tokens. It changes nothing.
func TryBridge(ctx context.Context, m *Migration, presented string) (bridge.Trial, error) {
	cfg := m.cfg.Config
	if !cfg.Bridge.Set {
		return bridge.Trial{}, noBridge(cfg)
	}
	store, err := session.Open(ctx, bridgeSource(cfg, m.o.Accept), session.Config{Connections: 1, WithoutHashes: cfg.Bridge.Lazy.Token.IsZero()})
	if err != nil {
		return bridge.Trial{}, RefusedError{sourceError(cfg, err)}
	}
	defer store.Close()
	t, err := bridge.Try(ctx, store, bridgeAccounts{&m.journal}, cfg.Bridge, presented)
	if err != nil {
		return t, RefusedError{err}
	}
	return t, nil
}

func noBridge(cfg *config.Config) error {
	return UsageError{fmt.Errorf("%s has no section bridge; see docs/bridge.md", cfg.Path)}
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

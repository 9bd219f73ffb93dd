package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/core/target"
)

func (a *app) bridgeCommand() *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:   "bridge --config FILE",
		Short: "Serve the cut-over: sessions and links of SuperTokens go on working",
		Long: `bridge serves what the section bridge of the configuration asks for: an OpenID
provider whose login is a valid SuperTokens session, a hand-over for applications,
the pages behind links that are in mailboxes, and a check of passwords that the
target cannot verify. It runs until it gets SIGINT or SIGTERM, and then lets
running requests end. See docs/bridge.md.

--print-sql ROLE prints the statements that make the tables of the bridge and give
a role the least rights it needs, and serves nothing.`,
		Example: "  stetl bridge --config keycloak.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if role != "" {
				return a.printBridgeSQL(cmd.Context(), role)
			}
			return a.bridge(cmd.Context())
		},
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	c.Flags().StringVar(&role, "print-sql", "", "print tables and grants for this `ROLE`, and exit")
	return c
}

// bridgeConnections is the size of the pool: a connection is held while the
// target is asked.
const bridgeConnections = 24

func (a *app) bridge(ctx context.Context) (err error) {
	p, err := a.openProject(ctx, peek, newStatus(a.err, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	settings := p.cfg.Bridge
	if !settings.Set {
		return usageError{fmt.Errorf("%s has no section bridge; see docs/bridge.md", p.cfg.Path)}
	}
	options := sourceOptions(p.cfg)
	if options.AcceptIncomplete, err = a.acceptedGaps(); err != nil {
		return err
	}
	if !settings.Database.IsZero() {
		options.URL, options.Dump = settings.Database, ""
	}
	sessions, err := session.Open(ctx, options, session.Config{Connections: bridgeConnections})
	if err != nil {
		return refusedError{sourceError(p.cfg, err)}
	}
	defer sessions.Close()
	db, err := cutover.Open(ctx, sessions, cutover.Options{Schema: settings.Schema, FirebaseSignerKey: p.cfg.Source.FirebaseSignerKey})
	if errors.As(err, new(*supertokens.IncompleteError)) {
		return refusedError{sourceError(p.cfg, err)}
	}
	if err != nil {
		return refusedError{err}
	}
	log := slog.New(slog.NewJSONHandler(a.err, nil))
	o := bridge.Options{Config: settings, DB: db, Target: newBridgeTarget(p, log), Accounts: bridgeAccounts{p}, Log: log, Lazy: lazyContracts()}
	if o.Key, err = cutover.ParseSigningKey(settings.SigningKey); settings.SigningKey.IsZero() {
		o.Key, err = db.SigningKey(ctx)
	}
	if err != nil {
		return refusedError{fmt.Errorf("bridge.signing_key: %w", err)}
	}
	slog.SetDefault(o.Log)       // the OpenID library's
	server, err := bridge.New(o) //nolint:contextcheck // a scrape of metrics brings no context of its own
	if err != nil {
		return usageError{err}
	}
	if err := server.Run(ctx); err != nil {
		return refusedError{err}
	}
	return nil
}

func (a *app) printBridgeSQL(ctx context.Context, role string) (err error) {
	cfg, tables, err := a.openTables(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	for _, statement := range cutover.Grants(tables, cfg.Bridge.Schema, role) {
		if _, err := fmt.Fprintln(a.out, statement+";"); err != nil {
			return err
		}
	}
	return nil
}

// bridgeAccounts knows from the journal which account is whose.
type bridgeAccounts struct{ p *project }

// TargetID implements [bridge.Accounts]. Where no run has loaded the account, its
// visible id is the best guess.
func (b bridgeAccounts) TargetID(ctx context.Context, u session.User) (string, bool, error) {
	if b.p.scope == nil {
		return u.ID, false, nil
	}
	entry, known, err := b.p.scope.Get(ctx, u.InternalID)
	if err != nil || !known || entry.TargetID == "" {
		return u.ID, false, err
	}
	return entry.TargetID, true, nil
}

// asked is a plugin as the bridge sees it.
type asked interface {
	bridge.Target
	// Exited tells whether the process is gone.
	Exited() bool
}

// bridgeTarget asks the plugin, and starts it again when it has died. What it was
// being asked then fails; asking again works.
type bridgeTarget struct {
	open func(context.Context) (asked, error)
	log  *slog.Logger

	mu      sync.Mutex
	current asked
	failed  time.Time // when starting it again did not work
	cause   error
}

const (
	// A plugin that does not start is not tried again for each visitor.
	restartPause   = 5 * time.Second
	restartTimeout = 20 * time.Second
)

func newBridgeTarget(p *project, log *slog.Logger) *bridgeTarget {
	return &bridgeTarget{current: p.client(), log: log, open: func(ctx context.Context) (asked, error) {
		if _, err := p.relaunch(ctx); err != nil {
			return nil, err
		}
		return p.client(), nil
	}}
}

func (b *bridgeTarget) do(ctx context.Context, ask func(asked) error) error {
	client, err := b.living(ctx)
	if err != nil {
		return err
	}
	return ask(client)
}

// living is a plugin whose process is there.
func (b *bridgeTarget) living(ctx context.Context) (asked, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.current.Exited() {
		return b.current, nil
	}
	if time.Since(b.failed) < restartPause {
		return nil, b.cause
	}
	b.log.Warn("the plugin has died and is started again")
	// Others wait for this, too: that one visitor leaves is no reason to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartTimeout)
	defer cancel()
	fresh, err := b.open(ctx)
	if err != nil {
		b.failed, b.cause = time.Now(), fmt.Errorf("start the plugin again: %w", err)
		return nil, b.cause
	}
	b.current = fresh
	return fresh, nil
}

// SetPassword implements [bridge.Target].
func (b *bridgeTarget) SetPassword(ctx context.Context, change target.PasswordChange) error {
	return b.do(ctx, func(c asked) error { return c.SetPassword(ctx, change) })
}

// StartReset implements [bridge.Target].
func (b *bridgeTarget) StartReset(ctx context.Context, r target.Reset) (location string, err error) {
	err = b.do(ctx, func(c asked) (err error) {
		location, err = c.StartReset(ctx, r)
		return err
	})
	return location, err
}

// Exchange implements [bridge.Target].
func (b *bridgeTarget) Exchange(ctx context.Context, assertion target.Assertion) (tokens target.Tokens, err error) {
	err = b.do(ctx, func(c asked) (err error) {
		tokens, err = c.Exchange(ctx, assertion)
		return err
	})
	return tokens, err
}

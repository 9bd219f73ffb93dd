package migration

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

// findPlugin finds the plugin of a configuration, which may say where it is and which
// executables may run, and returns how to launch it.
func findPlugin(cfg *config.Config, o plugin.Options) (plugin.Location, plugin.Options, error) {
	o.WorkDir = filepath.Dir(cfg.Path)
	var err error
	for _, p := range []struct {
		from string
		to   *string
	}{{cfg.Target.Path, &o.Path}, {cfg.Target.Dir, &o.Dir}} {
		if p.from == "" {
			continue
		}
		if *p.to, err = filepath.Abs(p.from); err != nil {
			return plugin.Location{}, o, err
		}
	}
	if o.Lock, err = plugin.ReadLock(filepath.Join(filepath.Dir(cfg.Path), plugin.LockName)); err != nil {
		return plugin.Location{}, o, err
	}
	place, err := plugin.Find(cfg.Target.Plugin, o)
	if err != nil {
		return place, o, pluginError(cfg, err)
	}
	return place, o, nil
}

// describePlugin asks the plugin of a configuration what it is.
func describePlugin(ctx context.Context, cfg *config.Config, o plugin.Options) (plugin.Info, error) {
	place, o, err := findPlugin(cfg, o)
	if err != nil {
		return plugin.Info{}, RefusedError{err}
	}
	client, err := plugin.Launch(ctx, place, o)
	if err != nil {
		return plugin.Info{}, RefusedError{pluginError(cfg, err)}
	}
	return client.Info(), closePlugin(ctx, client)
}

// closePlugin lets a plugin end in peace also when the run was interrupted.
func closePlugin(ctx context.Context, client *plugin.Client) error {
	if err := client.Close(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("end the plugin: %w", err)
	}
	return nil
}

// launcher starts the plugin of a configuration, as often as it takes.
type launcher struct {
	cfg     *config.Config
	options plugin.Options
	place   plugin.Location
	clients []*plugin.Client // all that were started, the last one is at work
	roles   []pluginapi.Role // what the plugin knows of them
	// restarted, when set, hears of every start after the first.
	restarted func()
}

func (l *launcher) launch(ctx context.Context) (*plugin.Client, error) {
	client, err := plugin.Launch(ctx, l.place, l.options)
	if err == nil {
		l.clients = append(l.clients, client)
	}
	return client, err
}

// relaunch replaces a plugin whose process has died.
func (l *launcher) relaunch(ctx context.Context) (engine.Target, error) {
	if l.restarted != nil {
		l.restarted()
	}
	client, err := l.launch(ctx)
	if err != nil {
		return nil, err
	}
	found, err := client.Configure(ctx, l.cfg.Target.RevealJSON())
	if err == nil {
		err = found.Err()
	}
	if err == nil && l.roles != nil {
		err = plugin.DefineRoles(ctx, client, l.roles)
	}
	if err != nil { // who is not configured is not at work
		l.clients = l.clients[:len(l.clients)-1]
		return nil, errors.Join(err, closePlugin(ctx, client))
	}
	return client, nil
}

// defineRoles tells the plugin what roles allow, and whichever comes after it.
func (l *launcher) defineRoles(ctx context.Context, roles []pluginapi.Role) error {
	l.roles = roles
	return plugin.DefineRoles(ctx, l.current(), roles)
}

// current is the plugin that is at work now.
func (l *launcher) current() *plugin.Client { return l.clients[len(l.clients)-1] }

// words explain the codes of the plugin.
func (l *launcher) words() diag.Words { return l.current().Info().Codes }

// close ends the plugin. Of those that have died, their death was reported by who
// missed them. One that does not end in peace is only mentioned: what it did is done.
func (l *launcher) close(ctx context.Context) {
	for i, client := range l.clients {
		if err := closePlugin(ctx, client); err != nil && i == len(l.clients)-1 && l.options.Log != nil {
			l.options.Log.WarnContext(ctx, "the plugin did not end properly; no account is affected", "code", diag.PluginCloseFailed, "error", err)
		}
	}
}

// canaries asks whichever plugin is at work; its memory is the journal.
type canaries struct {
	plugin *launcher
	*runJournal
}

// Login implements [engine.Canary].
func (c canaries) Login(ctx context.Context, login pluginapi.Login) (bool, error) {
	return c.plugin.current().Login(ctx, login)
}

// Undo implements [engine.Canary].
func (c canaries) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	return c.plugin.current().Undo(ctx, accounts)
}

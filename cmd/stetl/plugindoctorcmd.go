package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/report"
)

// foreignPlugins lists the executables in dir that claim to be plugins, without
// running them; an empty dir is that of this executable.
func foreignPlugins(dir string) ([]string, error) {
	if dir == "" {
		self, err := os.Executable()
		if err == nil {
			self, err = filepath.EvalSymlinks(self)
		}
		if err != nil {
			return nil, fmt.Errorf("find the folder of this executable: %w", err)
		}
		dir = filepath.Dir(self)
	}
	return filepath.Glob(filepath.Join(strings.NewReplacer(`\`, `\\`, "[", `\[`, "*", `\*`, "?", `\?`).Replace(dir), plugin.Prefix+"*"))
}

func pluginDoctorCommand(a *app) *cobra.Command {
	var lock, log string
	c := &cobra.Command{
		Use: "doctor FILE|NAME",

		ValidArgsFunction: firstOnly(completePlugins),

		Short: "Find out why a plugin does not start",
		Long: `doctor starts the plugin, asks for its description, and ends it. It names the first
problem, its remedy, and the first and last lines of the plugin's stderr. It does not
configure the plugin, and contacts no target.`,
		Example: "  stetl plugin doctor ./stetl-plugin-acme",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runDoctor(cmd.Context(), a, args[0], lock, log) },
	}
	a.jsonFlag(c)
	c.Flags().StringVar(&lock, "lock", plugin.LockName, "lock `FILE` with the accepted checksums, if it exists")
	c.Flags().StringVar(&log, "log", "", "`FILE` for the complete log of the plugin")
	return c
}

// heard keeps what a plugin logs: the beginning, the end, and all of it in a file.
type heard struct {
	mu          sync.Mutex
	first, last []string
	dropped     int
	all         io.Writer // nil keeps no more
}

// wordsAtEach is how many lines of the beginning and of the end are shown.
const wordsAtEach = 5

// Write takes one line of a log.
func (h *heard) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := strings.TrimRight(string(line), "\n")
	if runes := []rune(text); len(runes) > 500 {
		text = string(runes[:500]) + "…"
	}
	switch {
	case len(h.first) < wordsAtEach:
		h.first = append(h.first, text)
	case len(h.last) < wordsAtEach:
		h.last = append(h.last, text)
	default:
		h.last = append(h.last[1:], text)
		h.dropped++
	}
	if h.all == nil {
		return len(line), nil
	}
	return h.all.Write(line)
}

// lines are what is shown.
func (h *heard) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.first)
	if h.dropped > 0 {
		out = append(out, fmt.Sprintf("… %d more lines", h.dropped))
	}
	return append(out, h.last...)
}

func runDoctor(ctx context.Context, a *app, what, lock, log string) error {
	loc, o, err := locatePlugin(a, what)
	var info plugin.Info
	said := &heard{}
	if log != "" {
		f, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return refusedError(err)
		}
		defer func() { _ = f.Close() }()
		said.all = f
	}
	o.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err == nil {
		if o.Lock, err = plugin.ReadLock(lock); err != nil {
			return refusedError(err)
		}
		info, err = plugin.Examine(ctx, loc, o)
	}
	wrong, isPlugin := errors.AsType[*plugin.Error](err)
	if err != nil && !isPlugin {
		return refusedError(err)
	}
	switch {
	case a.asJSON:
		result := map[string]any{"ok": wrong == nil, "path": loc.Path, "name": info.Name, "version": info.Version, "log": said.lines()}
		if wrong != nil {
			result["code"], result["cause"], result["fix"] = wrong.Code, wrong.Cause, wrong.Fix
		}
		err = report.WriteJSON(a.out, result)
	case wrong != nil:
		_, err = fmt.Fprintf(a.out, "%s\n  cause: %s\n  fix:   %s\n  code:  %s\n", cmp.Or(loc.Path, what), wrong.Cause, wrong.Fix, wrong.Code)
	default:
		_, err = fmt.Fprintf(a.out, "%s\n  plugin %s %s starts, answers and ends as it should\n", loc.Path, info.Name, info.Version)
	}
	if !a.asJSON && err == nil && len(said.lines()) > 0 {
		_, err = fmt.Fprintf(a.out, "  it logs:\n    %s\n", strings.Join(said.lines(), "\n    "))
	}
	if err == nil && wrong != nil {
		return silentError{exitRefused}
	}
	return err
}

func pluginLockCommand(a *app) *cobra.Command {
	var lock string
	c := &cobra.Command{
		Use: "lock FILE|NAME…",

		ValidArgsFunction: completePlugins,

		Short: "Accept these executables of plugins, and no others, from now on",
		Long: `lock writes the checksums of plugins to stetl.lock. Put this file beside the
configuration and into version control. If the file exists, every plugin that is not
part of stetl must be in it, and is verified at each start. Checksums for other
platforms are kept as long as the version is the same.

A plugin may be a folder stetl-plugin-NAME with a launcher of the same name in it. Then
the whole folder is verified, and a copy of it runs. A script that is a single file is
refused, because its checksum does not cover what it starts.`,
		Example: "  stetl plugin lock ./stetl-plugin-acme",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, what := range args {
				if err := runLock(cmd.Context(), a, what, lock); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&lock, "lock", plugin.LockName, "lock `FILE` to write")
	return c
}

func runLock(ctx context.Context, a *app, what, path string) error {
	loc, o, err := locatePlugin(a, what)
	if err != nil {
		return err
	}
	if loc.Bundled {
		_, err := fmt.Fprintf(a.out, "%s is part of stetl and needs no lock\n", loc.Name)
		return err
	}
	if err := plugin.Pinnable(loc); err != nil {
		return refusedError(err)
	}
	before, err := plugin.Checksum(loc)
	if err != nil {
		return refusedError(err)
	}
	info, err := plugin.Examine(ctx, loc, o)
	if err != nil {
		return refusedError(err)
	}
	l, err := plugin.ReadLock(path)
	if err != nil {
		return refusedError(err)
	}
	if l == nil {
		l = plugin.NewLock(path)
	}
	l.Pin(info.Name, info.Version, before)
	if err := l.Write(); err != nil {
		return refusedError(err)
	}
	_, err = fmt.Fprintf(a.out, "%s %s for %s: sha256 %s\n", info.Name, info.Version, plugin.Platform(), before)
	return err
}

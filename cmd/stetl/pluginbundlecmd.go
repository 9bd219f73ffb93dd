package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/plugin"
)

func pluginBundleCommand(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "bundle FILE|NAME… --out BUNDLE",

		ValidArgsFunction: completePlugins,

		Short: "Pack plugins for a machine without a network",
		Long: `bundle writes executables of plugins and their checksums into one file. "stetl plugin
install" unpacks it on another machine of the same platform.`,
		Example: "  stetl plugin bundle ./stetl-plugin-acme --out plugins.tar.gz",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usageError(errors.New("--out BUNDLE is missing"))
			}
			return runBundle(cmd.Context(), a, args, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "`FILE` to write")
	return c
}

func runBundle(ctx context.Context, a *app, what []string, out string) error {
	var packed []plugin.Packed
	for _, w := range what {
		loc, o, err := locatePlugin(a, w)
		if err != nil {
			return err
		}
		if loc.Bundled {
			return usageError(fmt.Errorf("%s is part of stetl and needs no bundle", loc.Name))
		}
		if err := plugin.Pinnable(loc); err != nil {
			return refusedError(err)
		}
		info, err := plugin.Examine(ctx, loc, o)
		if err != nil {
			return refusedError(err)
		}
		packed = append(packed, plugin.Packed{Path: loc.Path, Root: loc.Root, Name: info.Name, Version: info.Version})
	}
	err := replaceFile(out, func(w io.Writer) error { return plugin.WriteBundle(w, packed) })
	if err != nil {
		return refusedError(err)
	}
	for _, p := range packed {
		if _, err := fmt.Fprintf(a.out, "%s %s for %s\n", p.Name, p.Version, plugin.Platform()); err != nil {
			return err
		}
	}
	return nil
}

func pluginInstallCommand(a *app) *cobra.Command {
	var dir, lock string
	var yes bool
	c := &cobra.Command{
		Use:   "install BUNDLE",
		Short: "Unpack plugins from a bundle and accept their checksums",
		Long: `install verifies the checksums of the plugins in a bundle, unpacks them, and writes the
checksums to stetl.lock. If anything in the bundle is wrong, it installs nothing. It
asks before it replaces a checksum in stetl.lock; --yes answers the question.`,
		Example: "  stetl plugin install plugins.tar.gz --dir ./plugins",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInstall(cmd.Context(), a, args[0], dir, lock, yes)
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "`FOLDER` to unpack to, created if it is missing; the target.plugin_dir of a configuration")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&lock, "lock", plugin.LockName, "lock `FILE` to write, beside the configuration")
	return c
}

func runInstall(ctx context.Context, a *app, bundle, dir, path string, yes bool) error {
	f, err := os.Open(bundle)
	if err != nil {
		return refusedError(err)
	}
	defer func() { _ = f.Close() }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	lock, err := plugin.ReadLock(path)
	if err != nil {
		return refusedError(err)
	}
	if lock == nil {
		lock = plugin.NewLock(path)
	}
	done, err := plugin.InstallBundle(f, dir, lock, func(p plugin.Installed, pinned plugin.Locked) error {
		if yes {
			return nil
		}
		return a.confirm(ctx, fmt.Sprintf("%s accepts another %s, of version %s. Replace it by version %s with sha256 %s?", path, p.Name, pinned.Version, p.Version, p.SHA256))
	})
	if errors.As(err, new(migration.UsageError)) || ctx.Err() != nil { // nobody has said yes
		return err
	}
	if err != nil {
		return refusedError(err)
	}
	if err := lock.Write(); err != nil {
		return refusedError(err)
	}
	for _, p := range done {
		if _, err := fmt.Fprintf(a.out, "%s %s: %s, sha256 %s\n", p.Name, p.Version, p.Path, p.SHA256); err != nil {
			return err
		}
	}
	return nil
}

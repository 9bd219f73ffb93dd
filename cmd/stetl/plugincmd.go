package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/report"
)

func pluginCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "plugin",
		Short: "List, describe and equip target plugins",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(pluginListCommand(a), pluginDescribeCommand(a), pluginAssetsCommand(a), pluginTestCommand(a),
		pluginNewCommand(a), pluginDoctorCommand(a), pluginLockCommand(a), pluginBundleCommand(a), pluginInstallCommand(a), pluginDocsCommand(a))
	return c
}

func pluginListCommand(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the plugins of this executable, and those beside it",
		Example: "  stetl plugin list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			lines := bundledNames()
			foreign, err := foreignPlugins(dir)
			if err != nil {
				return err
			}
			for _, path := range foreign {
				lines = append(lines, plugin.NameOf(path)+"\t"+path)
			}
			_, err = fmt.Fprintln(a.out, strings.Join(lines, "\n"))
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "`FOLDER` to search, instead of that of stetl")
	return c
}

func pluginDescribeCommand(a *app) *cobra.Command {
	var settings string
	c := &cobra.Command{
		Use: "describe NAME|FILE",

		ValidArgsFunction: firstOnly(completePlugins),

		Short: "Print as JSON what a plugin declares",
		Long: `describe prints what a plugin declares: capabilities, abilities, codes, and the schema
and the fields of its configuration. The capabilities can depend on the configuration:
give one with --config or --settings. Without one the plugin gets an empty
configuration, if it accepts that. No target is contacted.`,
		Example: "  stetl plugin describe generic-scim",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, configured, err := describeConfigured(cmd.Context(), a, args[0], settings)
			if err != nil {
				return err
			}
			if !configured {
				fmt.Fprintln(a.err, "What it can do depends on its configuration: name one with --config or --settings.")
			}
			enc := json.NewEncoder(a.out)
			enc.SetIndent("", "  ")
			return enc.Encode(map[string]any{
				"format_version": report.FormatVersion,
				"name":           info.Name, "version": info.Version, "protocol": fmt.Sprintf("%d.%d", info.Protocol, info.Minor), "configured": configured,
				"capabilities": info.Capabilities, "abilities": info.Capabilities.Abilities,
				"config_schema": info.ConfigSchema, "config_fields": info.ConfigFields, "codes": info.Codes,
			})
		},
	}
	a.configFlag(c)
	c.Flags().StringVar(&settings, "settings", "", "configuration of the plugin, a `JSON` object")
	return c
}

// describeConfigured asks a plugin what it is, and what it can do as configured.
func describeConfigured(ctx context.Context, a *app, name, settings string) (info plugin.Info, configured bool, err error) {
	location, o, err := locatePlugin(a, name)
	if err != nil {
		return info, false, err
	}
	raw, err := pluginSettings(a, settings, &o)
	if err != nil {
		return info, false, err
	}
	client, err := plugin.Launch(ctx, location, o)
	if err != nil {
		return info, false, refusedError(err)
	}
	info = client.Info()
	found, err := client.Configure(ctx, raw)
	switch {
	case err == nil && !found.HasErrors():
		info.Capabilities, configured = client.Capabilities(), true
	case settings != "" || a.configPath != "": // the one that was given has to be right
		err = refusedError(errors.Join(err, found.Err()))
	default:
		err = nil
	}
	if closeErr := client.Close(ctx); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("end the plugin: %w", closeErr))
	}
	return info, configured, err
}

// describePlugin asks a plugin what it is.
func describePlugin(ctx context.Context, a *app, name string) (plugin.Info, error) {
	location, o, err := locatePlugin(a, name)
	if err != nil {
		return plugin.Info{}, err
	}
	client, err := plugin.Launch(ctx, location, o)
	if err != nil {
		return plugin.Info{}, refusedError(err)
	}
	if err := client.Close(ctx); err != nil {
		return plugin.Info{}, fmt.Errorf("end the plugin: %w", err)
	}
	return client.Info(), nil
}

func pluginAssetsCommand(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:               "assets NAME --out DIR",
		ValidArgsFunction: cobra.FixedCompletions(bundledNames(), cobra.ShellCompDirectiveNoFileComp),

		Short:   "Write the files that a target needs on its servers",
		Example: "  stetl plugin assets keycloak --out providers",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return writeAssets(a, args[0], out) },
	}
	c.Flags().StringVar(&out, "out", ".", "`FOLDER` to write to")
	return c
}

func writeAssets(a *app, name, dir string) error {
	b, ok := bundledPlugins()[name]
	if !ok {
		return usageError(fmt.Errorf("no bundled plugin is called %q; there are: %s", name, strings.Join(bundledNames(), ", ")))
	}
	if len(b.assets) == 0 {
		_, err := fmt.Fprintf(a.out, "Plugin %s needs no files on its target's servers.\n", name)
		return err
	}
	for file, content := range b.assets {
		path := filepath.Join(dir, file)
		err := replaceFile(path, func(w io.Writer) error {
			_, err := w.Write(content.content)
			return err
		})
		if err != nil {
			return err
		}
		// A server runs as another user than the one who writes the file.
		if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // nothing secret in it
			return refusedError(err)
		}
		if _, err := fmt.Fprintf(a.out, "wrote %s: %s\n", path, content.purpose); err != nil {
			return err
		}
	}
	return nil
}

// serveName is the hidden subcommand of a bundled plugin's process.
const serveName = "plugin-serve"

// serveCommand is how this executable becomes the child process of a bundled
// plugin.
func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:    serveName + " NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, ok := bundledPlugins()[args[0]]
			if !ok {
				return usageError(fmt.Errorf("no bundled plugin is called %q", args[0]))
			}
			b.serve()
			return nil
		},
	}
}

func configCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Help with configuration files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file, for editors",
		Example: "  stetl config schema > stetl.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schemas := map[string][]byte{}
			for _, name := range bundledNames() {
				info, err := describePlugin(cmd.Context(), a, name)
				if err != nil {
					return err
				}
				schemas[name] = info.ConfigSchema
			}
			schema, err := config.Schema(schemas)
			if err != nil {
				return err
			}
			_, err = a.out.Write(schema)
			return err
		},
	})
	return c
}

func versionCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  stetl version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.asJSON {
				return report.WriteJSON(a.out, map[string]any{"version": builtVersion(), "go": runtime.Version()})
			}
			_, err := fmt.Fprintln(a.out, versionText())
			return err
		},
	}
	a.jsonFlag(c)
	return c
}

// builtVersion is the version that the build has set, or that Go knows.
func builtVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return version
}

// versionText is what a person is shown.
func versionText() string { return "stetl " + builtVersion() + " (" + runtime.Version() + ")" }

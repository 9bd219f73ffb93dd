package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/telemetry"
)

// version is set at build time.
var version = "dev"

// streams are the process's, or a test's.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is what every command shares.
type app struct {
	streams
	common     common
	log        *slog.Logger // from begin on
	configPath string
	asJSON     bool
	quiet      bool
	// targets are those of several that a command is about.
	targets []string
	// accept are the codes of gaps in spite of which the source is read.
	accept []string
	// telemetry is where spans and metrics go, if anywhere.
	telemetry *telemetry.Telemetry
}

// run is the whole program: it returns the exit code.
func run(args []string, s streams) int {
	ctx, stop := interruptible(context.Background(), s.err)
	defer stop()
	a := &app{streams: s}
	root := rootCommand(a)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := a.observed(ctx, func(ctx context.Context) (string, error) {
		c, err := root.ExecuteContextC(ctx)
		if sig := (signalError{}); errors.As(context.Cause(ctx), &sig) && err != nil {
			err = sig
		}
		return c.CommandPath(), err
	})
	if err != nil {
		a.explain(err)
	}
	return exitCode(err)
}

// interruptible cancels on the first SIGINT, SIGTERM or SIGHUP and remembers which; the
// second one ends the process, as the default action is back by then.
func interruptible(parent context.Context, say io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 1)
	// A terminal that is closed, or a connection that is lost, is no reason to be cut off.
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case sig := <-ch:
			signal.Stop(ch)
			fmt.Fprintln(say, "stetl: finishing the requests that are under way; a second signal ends it at once")
			cancel(signalError{sig})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

func rootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "stetl",
		Short: "Move the users of a SuperTokens installation into another identity provider",
		Long: `stetl moves users out of SuperTokens into Keycloak, Auth0, any SCIM 2.0 provider, a SQL
database, or another target with a plugin. Old passwords go on working if the target
can verify their hashes. User ids stay the same, and every account has an outcome.

Begin with init, inspect and check. Then see what run --dry-run shows, then run.`,
		Example:       "  stetl check\n  stetl run --dry-run\n  stetl run",
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.begin(cmd) },
	}
	a.common.add(root)
	root.Flags().Bool("version", false, "print the version")
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(commandLineError{wordFlag(cmd, err), cmd.CommandPath()})
	})
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Before a run:", []*cobra.Command{initCommand(a), inspectCommand(a), checkCommand(a), planCommand(a), mapCommand(a)}},
		{"The run:", []*cobra.Command{runCommand(a), verifyCommand(a), undoCommand(a)}},
		{"After a run:", []*cobra.Command{reportCommand(a), rejectsCommand(a), explainCommand(a), idmapCommand(a)}},
		{"While applications change over:", []*cobra.Command{bridgeCommand(a), sessionsCommand(a), keysCommand(a)}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = group.title
			root.AddCommand(c)
		}
	}
	root.AddCommand(configCommand(a), exportCommand(a), generateCommand(a), journalCommand(a), pluginCommand(a), versionCommand(a), manCommand(), serveCommand())
	wrapArgs(root)
	fitHelp(root, widthOf(a.out))
	return root
}

// wrapArgs makes cobra's complaints about arguments, and about flags that exclude each
// other, usage errors that say what was meant.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError(commandLineError{wordArgs(cmd, args, err), cmd.CommandPath()})
			}
			if err := cmd.ValidateFlagGroups(); err != nil { // before cobra does
				return usageError(commandLineError{err, cmd.CommandPath()})
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// wordArgs has a complaint about an argument that a command does not take say what it
// does take.
func wordArgs(cmd *cobra.Command, args []string, err error) error {
	if !strings.HasPrefix(err.Error(), "unknown command") {
		return err
	}
	if !cmd.HasSubCommands() {
		err = fmt.Errorf("%s takes only flags, and %q is not a flag", cmd.CommandPath(), args[0])
		if cmd.Flag("config") != nil {
			err = fmt.Errorf("%w; did you mean --config %s?", err, args[0])
		}
		return err
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
		if slices.Contains(sub.SuggestFor, args[0]) {
			return fmt.Errorf("%w; did you mean %s?", err, sub.Name())
		}
	}
	if like := diag.Suggest(args[0], names); like != "" {
		err = fmt.Errorf("%w; did you mean %s?", err, like)
	}
	return err
}

// wordFlag has a complaint about an unknown flag name the one that was probably meant.
func wordFlag(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if like := diag.Suggest(unknown.GetSpecifiedName(), names); like != "" {
		err = fmt.Errorf("%w; did you mean --%s?", err, like)
	}
	return err
}

func (a *app) configFlag(c *cobra.Command) {
	c.Flags().StringVarP(&a.configPath, "config", "c", "", "configuration, a YAML `FILE` (default $"+configVariable+", or "+configName+" in this folder)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag exists
}

// targetFlag lets an operator name one of several targets.
func targetFlag(a *app, c *cobra.Command) {
	c.Flags().Func("target", "the target of this `NAME`, where the configuration has targets", func(name string) error {
		if len(a.targets) > 0 {
			return errors.New("this command is about one target")
		}
		a.targets = []string{name}
		return nil
	})
}

// targetsFlag lets an operator name some of several targets.
func targetsFlag(a *app, c *cobra.Command) {
	c.Flags().StringArrayVar(&a.targets, "target", nil, "only the target of this `NAME`, where the configuration has targets; may be repeated")
}

func outFlag(c *cobra.Command, out *string) {
	c.Flags().StringVar(out, "out", "", "write to this `FILE` (mode 0600) instead of standard output")
}

func (a *app) jsonFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.asJSON, "json", false, "print one JSON object to standard output")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// widthOf is how many columns a terminal has; 0 when it does not say.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stetl/stetl/core/diag"
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
	configPath string
	asJSON     bool
	quiet      bool
	// planKey is the key of a plan that was, or is to be, made without a journal.
	planKey []byte
}

// run is the whole program: it returns the exit code.
func run(args []string, s streams) int {
	ctx, stop := interruptible(context.Background(), s.err)
	defer stop()
	a := &app{streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if sig := (signalError{}); errors.As(context.Cause(ctx), &sig) && err != nil {
		err = sig
	}
	if err != nil {
		a.explain(err)
	}
	return exitCode(err)
}

// interruptible cancels on the first SIGINT or SIGTERM and remembers which; the
// second one ends the process, as the default action is back by then.
func interruptible(parent context.Context, say io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case sig := <-ch:
			signal.Stop(ch)
			fmt.Fprintln(say, "stetl: finishing what is on its way; a second signal ends it at once")
			cancel(signalError{sig})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stetl",
		Short: "Move the users of a SuperTokens installation into another identity provider",
		Long: `stetl moves users out of SuperTokens into Keycloak, or into what a plugin
loads. The old password still works, the user id stays what the application
stored, and every single account is accounted for.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		a.runCommand(), a.planCommand(), a.verifyCommand(), a.undoCommand(),
		a.inspectCommand(), a.checkCommand(), a.exportCommand(),
		a.keysCommand(), a.sessionsCommand(), a.bridgeCommand(),
		a.pluginCommand(), a.configCommand(), a.versionCommand(), serveCommand(),
	)
	root.AddCommand(a.afterCommands()...)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// wrapArgs turns cobra's complaints about arguments into usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

func (a *app) configFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.configPath, "config", "", "configuration file (YAML)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag exists
}

func (a *app) jsonFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.asJSON, "json", false, "print one JSON object to standard output")
}

// explain prints an error once, for a person, on standard error.
func (a *app) explain(err error) {
	var list *diag.ListError
	switch {
	case errors.As(err, &list):
		_ = diag.Write(a.err, list.List, diag.Options{Color: isTerminal(a.err) && os.Getenv("NO_COLOR") == ""})
	case errors.As(err, new(silentError)):
	default:
		fmt.Fprintf(a.err, "stetl: %s\n", diag.PrintableText(err.Error()))
		if errors.As(err, new(usageError)) {
			fmt.Fprintln(a.err, `Run "stetl --help" for the commands and their flags.`)
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stetl/stetl/core/migration"
)

func undoCommand(a *app) *cobra.Command {
	var yes bool
	var o migration.UndoOptions
	c := &cobra.Command{
		Use: "undo [-c FILE]",

		SuggestFor: []string{"rollback", "revert", "destroy", "delete"},

		Short: "Take back what runs have done in the target",
		Long: `undo deletes the accounts that runs have created, and restores those that runs have
changed, if they are still as the run has left them. It keeps and lists accounts that
somebody has changed since, and, if the target can tell, accounts of people who have
signed in since, unless --signed-in is given. It keeps everything that no run has
made. It deletes roles, groups and the like that runs have created, when nobody has
them any more.

With --gone it only switches accounts on again that runs have switched off, because
their people were no longer in the source (policies.gone). If somebody has registered
again with the same address, the account that a run has made for that is deleted
first, by the rules above. It first lists the accounts that it cannot switch on.

undo says what it will do, and asks; --yes answers the question. If an undo was
stopped, start it again: it goes on.`,
		Example: "  stetl undo --yes\n  stetl undo --gone --yes",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runUndo(cmd.Context(), a, yes, o) },
	}
	a.configFlag(c)
	targetFlag(a, c)
	a.jsonFlag(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&o.Gone, "gone", false, "only switch accounts on again that runs have switched off because of policies.gone, in the place of new registrations")
	c.Flags().BoolVar(&o.SignedIn, "signed-in", false, "also delete accounts of people who have signed in since")
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	return c
}

func runUndo(ctx context.Context, a *app, yes bool, o migration.UndoOptions) (err error) {
	status := newStatus(a.err, a.quiet)
	defer status.clear()
	cfg, m, err := openMigration(ctx, a, migration.Options{}, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	count, err := m.CountUndo(ctx)
	if err != nil {
		return err
	}
	if !yes && o.Gone {
		if err := askReturn(ctx, a, m, cfg.TargetText(), o); err != nil {
			return err
		}
	} else if !yes {
		fmt.Fprintf(a.err, "%s: %d accounts to delete, %d to restore; %d accounts that no run has made stay as they are.\n",
			cfg.TargetText(), count.Made, count.Adopted, count.Left)
		if count.Doubtful > 0 {
			fmt.Fprintf(a.err, "%d more were sent, and it is unknown whether they exist: undo looks for them, or names them.\n", count.Doubtful)
		}
		if err := a.confirm(ctx, "Take them back?"); err != nil {
			return err
		}
	}
	r, err := m.Undo(ctx, o)
	status.clear()
	if r == nil {
		return err
	}
	// Also of an undo that was stopped: what it did is done, and what it kept has a name.
	if err := errors.Join(err, a.print(r)); err != nil {
		return err
	}
	if len(r.Kept)+len(r.Partly) > 0 || r.Result.Untidy != "" {
		return silentError{exitRejects}
	}
	return nil
}

// askReturn says whose accounts can be switched on again, and whose cannot, and asks.
func askReturn(ctx context.Context, a *app, m *migration.Migration, target string, o migration.UndoOptions) error {
	o.DryRun = true
	r, err := m.Undo(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%s: %d accounts that runs have switched off will be switched on again, %d stay as they are.\n", target, r.Result.Restored, len(r.Kept))
	if r.Result.Deleted > 0 {
		fmt.Fprintf(a.err, "%d accounts of people who have registered again with the same address will be deleted for that.\n", r.Result.Deleted)
	}
	for _, k := range r.Kept {
		fmt.Fprintf(a.err, "  %s  %s: %s\n", k.SourceID, k.Code, k.Detail)
	}
	return a.confirm(ctx, "Switch them on?")
}

// confirm asks a person. Where there is none, the answer has to be a flag. A signal ends
// the question.
func (a *app) confirm(ctx context.Context, question string) error {
	if !atTerminal(a.in) {
		return usageError(errors.New("there is no terminal to ask on; --yes confirms"))
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	return answered(ctx, a.in)
}

// atTerminal says whether a person can answer.
func atTerminal(r io.Reader) bool {
	in, ok := r.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// answered reads a line that says yes.
func answered(ctx context.Context, in io.Reader) error {
	said := make(chan string, 1)
	go func() { // it ends with the process, if nobody ever answers
		line, _ := bufio.NewReader(in).ReadString('\n')
		said <- line
	}()
	select {
	case line := <-said:
		if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
			return nil
		}
		return usageError(errors.New("nothing was done"))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

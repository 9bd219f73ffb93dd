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

		Short: "Take back what the runs so far did to the target",
		Long: `undo deletes the accounts that runs have created and gives those that they changed
their former state back, each only while it is as the run left it. Accounts that
somebody has changed since are listed and kept, and so is everything that no run
has made, and, where the target tells, whoever has signed in since, unless
--signed-in is given. Roles, groups and the like that runs have created go when
nobody has them any more.

With --gone, it switches accounts on again that runs have switched off because their
people had gone from the source (policies.gone), as they were, and leaves all others
alone. Where somebody has registered again with the same address, the account that a
run has made for that goes first, by the rules above. It says first of whom it cannot.
An undo that was stopped is taken up by another. It says what it will do and asks
first; --yes is the answer.`,
		Example: "  stetl undo --yes\n  stetl undo --gone --yes",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runUndo(cmd.Context(), a, yes, o) },
	}
	a.configFlag(c)
	a.jsonFlag(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&o.Gone, "gone", false, "switch accounts on again whose people had gone from the source, in the place of those that have registered again, and leave all others alone")
	c.Flags().BoolVar(&o.SignedIn, "signed-in", false, "delete accounts although their people have signed in since")
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
		fmt.Fprintf(a.err, "%s: %d accounts to delete, %d to restore; %d that no run has made stay as they are.\n",
			cfg.TargetText(), count.Made, count.Adopted, count.Left)
		if count.Doubtful > 0 {
			fmt.Fprintf(a.err, "%d more were sent, and nobody knows whether they are there: they are looked for, or named.\n", count.Doubtful)
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
	if len(r.Kept) > 0 || r.Result.Untidy != "" {
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
	fmt.Fprintf(a.err, "%s: %d accounts of people who had gone are to be switched on again, %d stay as they are.\n", target, r.Result.Restored, len(r.Kept))
	if r.Result.Deleted > 0 {
		fmt.Fprintf(a.err, "%d accounts of people who have registered again with the same address are to be deleted for that.\n", r.Result.Deleted)
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
		return usageError(errors.New("nobody is there to confirm; --yes says that it is meant"))
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

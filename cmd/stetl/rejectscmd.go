package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/report"
)

func rejectsCommand(a *app) *cobra.Command {
	var out string
	var recipients, codes []string
	var stranded bool
	c := &cobra.Command{
		Use:   "rejects [-c FILE]",
		Short: "List the accounts that runs have rejected or left in doubt",
		Long: `rejects lists every account that a run has read and that is not in the target, as one
JSON object per line: its ids, the code, the part of the account that it is about, the
reason in words, and what to do. Correct the cause and run again with --only-rejects.

With --stranded it lists other accounts: those that were loaded, but whose people have
no way to sign in at the target, as the last run has found.

With --recipient, or rejects.recipients in the configuration, each line also has the
account with its password hashes, encrypted with age for that key. It is the account
as it was rejected, if the configuration had recipients then; otherwise the account as
it is in the source now (payload_of). changed says that it is different since.

  jq -r .payload | base64 -d | age -d -i KEYFILE`,
		Example: `  stetl rejects
  stetl rejects --code map.duplicate_username
  stetl rejects --stranded`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if stranded {
				return runStranded(cmd.Context(), a, out)
			}
			return runRejects(cmd.Context(), a, out, codes, recipients)
		},
	}
	a.configFlag(c)
	targetFlag(a, c)
	acceptFlag(c, &a.accept)
	outFlag(c, &out)
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "age public `KEY` (age1…) to encrypt the accounts to; may be repeated")
	c.Flags().BoolVar(&stranded, "stranded", false, "list the people who were loaded and have no way to sign in")
	c.MarkFlagsMutuallyExclusive("stranded", "recipient")
	c.Flags().StringArrayVar(&codes, "code", nil, "only accounts with this `CODE`; may be repeated")
	_ = c.RegisterFlagCompletionFunc("code", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeReasons(a, cmd)
	}) // the flag exists
	c.MarkFlagsMutuallyExclusive("stranded", "code")
	return c
}

func runRejects(ctx context.Context, a *app, out string, codes, recipients []string) (err error) {
	m, past, err := openPast(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	list, err := past.Rejects(ctx, recipients...)
	if err != nil {
		return err
	}
	if len(codes) > 0 {
		list = slices.DeleteFunc(list, func(r report.Reject) bool { return !slices.Contains(codes, r.Code) })
	}
	sayWhatChanged(a.err, list)
	return a.save(out, func(w io.Writer) error { return report.WriteRejects(w, list) })
}

// runStranded lists who has no way to sign in.
func runStranded(ctx context.Context, a *app, out string) (err error) {
	m, past, err := openPast(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	list, err := past.Stranded(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(a.err, "stetl: as far as is known, everybody has a way to sign in")
	}
	return a.save(out, func(w io.Writer) error { return report.WriteRejects(w, list) })
}

// sayWhatChanged tells a person what the payloads of the list are of.
func sayWhatChanged(w io.Writer, list []report.Reject) {
	var now, changed int
	for i := range list {
		if list[i].Changed {
			changed++
		}
		if list[i].PayloadOf == report.OfNow {
			now++
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "stetl: no account is rejected or in doubt")
	}
	if changed > 0 {
		fmt.Fprintf(w, "stetl: %d accounts have changed in the source since they were rejected, or are gone. They are listed as they were then, encrypted for the rejects.recipients of that run\n", changed)
	}
	if now > 0 {
		fmt.Fprintf(w, "stetl: %d accounts are listed as they are in the source now, because no rejects.recipients were configured when they were rejected\n", now)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/internal/supertokensgen"
)

func generateCommand(a *app) *cobra.Command {
	o := supertokensgen.Options{}
	var generation, out string
	c := &cobra.Command{
		Use:   "generate --out FILE",
		Short: "Write a dump of an invented SuperTokens database, for rehearsals",
		Long: `generate writes a file like one of pg_dump, of a SuperTokens database with this many
invented accounts: every login method, linked accounts, duplicates, unusual hashes,
and other things that real databases have. The same flags give the same bytes. The
passwords are random and unknown, so nobody can sign in with them.

A generation is a form of SuperTokens' tables; G4 is that of cores 7 to 11.`,
		Example: "  stetl generate --accounts 2000 --generation G4 --out rehearsal.sql",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			o.Generation = supertokensgen.Generation(generation)
			switch {
			case o.Accounts < 0:
				return usageError(errors.New("--accounts must be 0 or more"))
			case !slices.Contains(supertokensgen.Generations(), o.Generation):
				return usageError(fmt.Errorf("--generation %s: use one of %s", generation, strings.Join(generations(), ", ")))
			}
			if err := a.save(out, func(w io.Writer) error { return supertokensgen.Write(w, o) }); err != nil {
				return err
			}
			if out != "" {
				fmt.Fprintf(a.err, "wrote %s: %s accounts, generation %s\nnext: stetl init --dump %s\n", out, report.Number(o.Accounts), generation, out)
			}
			return nil
		},
	}
	c.Flags().IntVar(&o.Accounts, "accounts", 1000, "how many accounts, a `NUMBER`")
	c.Flags().StringVar(&generation, "generation", string(supertokensgen.G4), "`GENERATION` of the tables: "+strings.Join(generations(), ", "))
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "another `NUMBER` makes other accounts")
	outFlag(c, &out)
	completeWith(c, "generation", generations()...)
	return c
}

func generations() []string {
	var all []string
	for _, g := range supertokensgen.Generations() {
		all = append(all, string(g))
	}
	return all
}

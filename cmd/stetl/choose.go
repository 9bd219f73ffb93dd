package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
)

// choiceFlags say which accounts a run is about.
type choiceFlags struct {
	users, usersFrom, tenants []string
	sample                    atLeastOne
	onlyRejects               bool
}

// atLeastOne is a number that is not told yet, or at least 1.
type atLeastOne int

// String implements [pflag.Value].
func (n *atLeastOne) String() string {
	if *n == 0 {
		return ""
	}
	return strconv.Itoa(int(*n))
}

// Set implements [pflag.Value].
func (n *atLeastOne) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 {
		return errors.New("it must be a number of accounts, 1 or more")
	}
	*n = atLeastOne(v)
	return nil
}

// Type implements [pflag.Value].
func (n *atLeastOne) Type() string { return "N" }

func (f *choiceFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.users, "user", nil, "only the account of this `ID`, internal or visible; may be repeated")
	c.Flags().StringArrayVar(&f.usersFrom, "users-from", nil, "only the accounts whose ids are in this `FILE`, one per line; - is standard input")
	c.Flags().Var(&f.sample, "sample", "only this many accounts, for a rehearsal: some of each kind, the same ones every time")
	c.Flags().StringArrayVar(&f.tenants, "only-tenant", nil, "only accounts that are in this `TENANT`; may be repeated")
	_ = c.MarkFlagFilename("users-from") // the flag exists
}

// given lists the flags that choose accounts, as they were given. It names no account:
// it is in reports that are handed on.
func (f *choiceFlags) given() []string {
	var all []string
	if len(f.users) > 0 {
		all = append(all, "--user")
	}
	for _, file := range f.usersFrom {
		all = append(all, "--users-from "+file)
	}
	if f.sample > 0 {
		all = append(all, "--sample "+f.sample.String())
	}
	for _, t := range f.tenants {
		all = append(all, "--only-tenant "+t)
	}
	if f.onlyRejects {
		all = append(all, "--only-rejects")
	}
	return all
}

// check looks at the flags alone.
func (f *choiceFlags) check(plan string) error {
	given := f.given()
	switch {
	case len(given) == 0:
		return nil
	case plan != "":
		return usageError(fmt.Errorf("%s: --plan executes exactly the saved plan; make the plan with this flag instead", given[0]))
	case slices.ContainsFunc(f.users, func(id string) bool { return strings.TrimSpace(id) == "" }):
		return usageError(errors.New("--user: the id is empty"))
	case slices.Contains(f.usersFrom, ""):
		return usageError(errors.New("--users-from: the name of the file is empty"))
	case len(f.users)+len(f.usersFrom) > 0 && (f.sample > 0 || len(f.tenants) > 0 || f.onlyRejects):
		return usageError(fmt.Errorf("%s: --user and --users-from name accounts one by one, and another condition could leave out some of them; use one or the other",
			strings.Join(given, " and ")))

	}
	return nil
}

// ids reads whom --user and --users-from name.
func (f *choiceFlags) ids(in io.Reader) ([]engine.Named, error) {
	var all []engine.Named
	for _, id := range f.users {
		all = append(all, engine.Named{ID: id, Place: "--user"})
	}
	for _, name := range f.usersFrom {
		more, err := readIDs(name, in)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func readIDs(name string, in io.Reader) ([]engine.Named, error) {
	if name == "-" {
		return engine.ReadIDs(in, "standard input")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, usageError(fmt.Errorf("--users-from: %w", err))
	}
	defer func() { _ = file.Close() }() // nothing was written to it
	ids, err := engine.ReadIDs(file, filepath.Clean(name))
	var list *diag.ListError
	if err != nil && !errors.As(err, &list) {
		err = usageError(fmt.Errorf("--users-from: %w", err))
	}
	return ids, err
}

// choice is what the flags choose; in is standard input.
func (f *choiceFlags) choice(in io.Reader) (migration.Choice, error) {
	ids, err := f.ids(in)
	return migration.Choice{Flags: f.given(), IDs: ids, Tenants: f.tenants, Sample: int(f.sample), OnlyRejects: f.onlyRejects}, err
}

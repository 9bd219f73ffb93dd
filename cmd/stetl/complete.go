package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/supertokens"
)

// completer is what cobra calls to complete an argument or the value of a flag.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completePlugins offers the plugins that there are. A file can be one, too.
func completePlugins(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := bundledNames()
	foreign, _ := foreignPlugins("") // a folder that cannot be read has none to offer
	for _, path := range foreign {
		names = append(names, plugin.NameOf(path))
	}
	return names, cobra.ShellCompDirectiveDefault
}

// firstOnly offers nothing after the first argument.
func firstOnly(c completer) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, begun)
	}
}

// completeCodes offers every code that can be explained, with what it means.
func completeCodes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	lists := [][]diag.Info{diag.Codes(), supertokens.Findings()}
	for _, name := range bundledNames() {
		lists = append(lists, bundledPlugins()[name].codes)
	}
	var out []string
	for _, list := range lists {
		for _, info := range list {
			out = append(out, cobra.CompletionWithDesc(string(info.Code), info.Meaning))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
}

// completionTime is how long a person waits for a suggestion.
const completionTime = 3 * time.Second

// completeReasons offers the codes of the accounts that are rejected or in doubt.
func completeReasons(a *app, cmd *cobra.Command) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	a.err, a.log = io.Discard, a.common.logger(io.Discard, 0, "")
	var out []string
	err := func() (err error) {
		m, past, err := openPast(ctx, a)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close(ctx)) }()
		list, err := past.Rejects(ctx)
		for _, r := range list {
			out = append(out, r.Code)
		}
		return err
	}()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	slices.Sort(out)
	return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
)

func exportCommand(a *app) *cobra.Command {
	var out string
	var secrets, roles bool
	c := &cobra.Command{
		Use:   "export [-c FILE]",
		Short: "Print every account as one JSON object per line",
		Long: `export prints the accounts of the source, before any mapping. It leaves out password
hashes and TOTP secrets, unless --include-secrets is given. That flag needs --out; the
file is created with mode 0600.

With --roles it prints the roles of the app instead, one JSON object per line: appId,
role and permissions. Roles that no account has are included.`,
		Example: `  stetl export --out accounts.ndjson
  stetl export --roles`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if secrets && out == "" {
				return usageError(errors.New("--include-secrets needs --out FILE: secrets are not printed"))
			}
			if roles {
				return exportRoles(cmd.Context(), a, out)
			}
			return runExport(cmd.Context(), a, out, secrets)
		},
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	outFlag(c, &out)
	c.Flags().BoolVar(&secrets, "include-secrets", false, "include password hashes and TOTP secrets; needs --out")
	c.Flags().BoolVar(&roles, "roles", false, "print roles with their permissions instead of accounts")
	c.MarkFlagsMutuallyExclusive("roles", "include-secrets")
	return c
}

func runExport(ctx context.Context, a *app, out string, secrets bool) (err error) {
	status := newStatus(a.err, out == "")
	defer status.clear()
	src, err := openSource(ctx, a, false, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return a.save(out, func(w io.Writer) error {
		buf := bufio.NewWriterSize(w, 1<<20)
		written := 0
		err := src.Read(ctx, func(b supertokens.Batch) error {
			written += len(b.Users)
			status.ranges(written, b)
			for i := range b.Users {
				if err := writeAccount(buf, &b.Users[i], secrets); err != nil {
					return err
				}
			}
			return nil
		})
		status.clear()
		if err != nil {
			return err
		}
		return buf.Flush()
	})
}

func exportRoles(ctx context.Context, a *app, out string) (err error) {
	status := newStatus(a.err, out == "")
	defer status.clear()
	src, err := openSource(ctx, a, false, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	status.clear()
	return a.save(out, func(w io.Writer) error {
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		for _, r := range src.Roles() {
			if err := lines.Encode(r); err != nil {
				return fmt.Errorf("write the export: %w", err)
			}
		}
		return nil
	})
}

func writeAccount(w *bufio.Writer, u *canonical.User, secrets bool) error {
	encode := u.MarshalJSON
	if secrets {
		encode = u.RevealJSON
	}
	line, err := encode()
	if err != nil {
		return fmt.Errorf("encode account %s: %w", u.InternalID, err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

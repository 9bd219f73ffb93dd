package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
)

func (a *app) exportCommand() *cobra.Command {
	var out string
	var secrets bool
	c := &cobra.Command{
		Use:   "export --config FILE",
		Short: "Print every account as one JSON object per line",
		Long: `export prints the accounts of the source as they were assembled, before any
mapping. Password hashes and TOTP secrets are left out unless --include-secrets
is given, which needs --out: such a file is created with mode 0600.`,
		Example: "  stetl export --config configs/quickstart.yaml --out accounts.ndjson",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if secrets && out == "" {
				return usageError{errors.New("--include-secrets needs --out FILE: secrets are not printed")}
			}
			return a.export(cmd.Context(), out, secrets)
		},
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	outFlag(c, &out)
	c.Flags().BoolVar(&secrets, "include-secrets", false, "include password hashes and TOTP secrets; needs --out")
	return c
}

func (a *app) export(ctx context.Context, out string, secrets bool) (err error) {
	cfg, err := a.soundConfig()
	if err != nil {
		return err
	}
	status := newStatus(a.err, out == "")
	accepted, err := a.acceptedGaps()
	if err != nil {
		return err
	}
	src, err := openSource(ctx, cfg, accepted, false, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	read := func(w io.Writer) error {
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
		switch {
		case err == nil:
			return buf.Flush()
		case errors.As(err, new(writeError)), ctx.Err() != nil:
			return err
		default:
			return refusedError{sourceError(cfg, err)}
		}
	}
	return a.save(out, read)
}

type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

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
		return writeError{fmt.Errorf("write the export: %w", err)}
	}
	return nil
}

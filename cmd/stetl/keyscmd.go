package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/supertokens/session"
)

func keysCommand(a *app) *cobra.Command {
	var format, out string
	var private bool
	export := &cobra.Command{
		Use:   "export [-c FILE]",
		Short: "Print the keys with which SuperTokens signs tokens",
		Long: `export prints all public signing keys that the database has, old ones included. With
them your APIs can verify SuperTokens' tokens without its core. Private keys are
included only with --private, which needs --out: with a private key anybody can make
sessions.`,
		Example: "  stetl keys export --format jwks",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "jwks" && format != "pem" {
				return usageError(fmt.Errorf("--format %s: use jwks or pem", format))
			}
			if private && out == "" {
				return usageError(errors.New("--private needs --out FILE: private keys are not printed"))
			}
			return exportKeys(cmd.Context(), a, format, out, private)
		},
	}
	a.configFlag(export)
	export.Flags().StringVar(&format, "format", "jwks", "`FORMAT`: jwks or pem")
	completeWith(export, "format", "jwks", "pem")
	outFlag(export, &out)
	export.Flags().BoolVar(&private, "private", false, "include the private keys; needs --out")
	c := &cobra.Command{
		Use: "keys", Short: "Signing keys of the source", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(export)
	return c
}

func exportKeys(ctx context.Context, a *app, format, out string, private bool) (err error) {
	cfg, tables, err := openTables(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	keys, err := session.ReadKeys(ctx, tables)
	if err != nil {
		return cfg.SourceError(err)
	}
	encode := map[string]func() ([]byte, error){
		"jwks": keys.JWKS, "pem": keys.PEM, "jwks private": keys.PrivateJWKS, "pem private": keys.PrivatePEM,
	}
	if private {
		format += " private"
	}
	text, err := encode[format]()
	if err != nil {
		return err
	}
	return a.save(out, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n", text)
		return err
	})
}

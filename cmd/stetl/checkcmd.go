package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
)

func checkCommand(a *app) *cobra.Command {
	var fix, undo bool
	var setup setupFlags
	c := &cobra.Command{
		Use: "check [-c FILE]",

		SuggestFor: []string{"validate", "preflight", "test"},

		Short: "Check configuration, source and target; write nothing",
		Long: `check reads the source, and tests whether the target has everything that a run needs.
It writes nothing, unless --fix is given. With --fix the plugin changes settings of
the target for which it knows a remedy, and no accounts. The earlier settings are
shown and stored; --undo-fix restores them.

With --admin-token, --fix first makes what is missing in the target: a place for the
users, a client for stetl with its roles, trust in the bridge. Existing things are
compared and left as they are. The token is not stored and not shown. --undo-fix does
not remove any of this. With --print nothing is made: check prints what would be made,
as JSON or as commands of the target's own tool.`,
		Example: `  stetl check
  stetl check -c keycloak.yaml --json
  stetl check -c keycloak.yaml --fix --admin-token env:KEYCLOAK_ADMIN_TOKEN
  stetl check -c keycloak.yaml --fix --print commands`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := setup.check(fix); err != nil {
				return usageError(err)
			}
			return runCheck(cmd.Context(), a, fix, undo, setup)
		},
	}
	a.configFlag(c)
	targetFlag(a, c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&fix, "fix", false, "let the plugin change settings of the target for which it knows a remedy")
	c.Flags().BoolVar(&undo, "undo-fix", false, "let the plugin restore the settings of the target that --fix has changed")
	c.MarkFlagsMutuallyExclusive("fix", "undo-fix")
	c.Flags().StringVar(&setup.token, "admin-token", "", "with --fix: also make what is missing in the target, with an administrator's token from `env:NAME` or file:PATH")
	c.Flags().StringVar(&setup.print, "print", "", "with --fix: make nothing, and print what would be made in an empty target, as `json` or commands")
	c.MarkFlagsMutuallyExclusive("admin-token", "print")
	return c
}

// setupFlags are about the target's side of a migration.
type setupFlags struct{ token, print string }

func (f setupFlags) check(fix bool) error {
	switch {
	case (f.token != "" || f.print != "") && !fix:
		return errors.New("--admin-token and --print need --fix")
	case f.print != "" && f.print != "json" && f.print != "commands":
		return fmt.Errorf("--print %q: use json or commands", f.print)
	}
	return nil
}

// read returns the token that a reference names.
func (f setupFlags) read() (canonical.Secret, error) {
	kind, name, _ := strings.Cut(f.token, ":")
	token := ""
	switch kind {
	case "env":
		token = os.Getenv(name)
	case "file":
		raw, err := os.ReadFile(name)
		if err != nil {
			return canonical.Secret{}, err
		}
		token = string(raw)
	default:
		return canonical.Secret{}, errors.New("--admin-token needs env:NAME or file:PATH, not the token itself: other users of the machine can see arguments")
	}
	if token = strings.TrimSpace(token); token == "" {
		return canonical.Secret{}, fmt.Errorf("there is no token in %s", f.token)
	}
	return canonical.NewSecret(token), nil
}

// setUp has the plugin make, or show, the target's side.
func setUp(ctx context.Context, a *app, m *migration.Migration, f setupFlags) error {
	s := pluginapi.Setup{Show: f.print != ""}
	if f.token != "" {
		var err error
		if s.AdminToken, err = f.read(); err != nil {
			return usageError(err)
		}
	}
	steps, found, err := migration.Setup(ctx, m, s)
	if errors.Is(err, errors.ErrUnsupported) {
		return usageError(errors.New("the plugin of this target cannot make anything in it: see its page in docs/"))
	}
	if err != nil {
		return err
	}
	if f.print == "json" {
		out := make([]json.RawMessage, 0, len(steps))
		for _, s := range steps {
			out = append(out, s.Request)
		}
		return report.WriteJSON(a.out, map[string]any{"requests": out})
	}
	for _, s := range steps {
		switch {
		case f.print == "":
			_, err = fmt.Fprintf(a.err, "made: %s\n", s.What)
		case s.Command == "":
			_, err = fmt.Fprintf(a.out, "# %s\n# %s\n", s.What, s.Request)
		default:
			_, err = fmt.Fprintf(a.out, "# %s\n%s\n", s.What, s.Command)
		}
		if err != nil {
			return err
		}
	}
	if err := diag.Write(a.err, found, diag.Options{}); err != nil {
		return err
	}
	if found.HasErrors() {
		return silentError{exitRefused}
	}
	return nil
}

func runCheck(ctx context.Context, a *app, fix, undo bool, setup setupFlags) (err error) {
	status := newStatus(a.err, false)
	defer status.clear()
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	if setup != (setupFlags{}) {
		err := setUp(ctx, a, m, setup)
		status.clear()
		if err != nil || setup.print != "" {
			return err
		}
	}
	if fix || undo {
		done, err := m.Fix(ctx, undo)
		status.clear()
		if err != nil {
			return showIncomplete(a, err)
		}
		if err := report.WriteFixes(a.err, done); err != nil {
			return err
		}
	}
	checked, err := m.Check(ctx)
	status.clear()
	if err != nil {
		return showIncomplete(a, err)
	}
	if a.asJSON {
		err = report.WriteDiagnosticsJSON(a.out, checked.Found, checked.RolePermissions, checked.Completeness)
	} else {
		err = report.WriteDiagnostics(a.screen(), checked.Found)
		if err == nil {
			err = report.WriteParagraphs(a.screen(), fmt.Sprintf("Source   %s\n         %s\n", checked.Source, report.CompletenessLine(checked.Completeness)))
		}
		if text := report.RolesText(checked.RolePermissions); err == nil && text != "" {
			err = report.WriteParagraphs(a.screen(), "Roles    "+text+"\n")
		}
		if err == nil && checked.Journal != "" {
			_, err = fmt.Fprintf(a.out, "Bridge   every instance needs this journal folder, not a copy of it: %s\n", checked.Journal)
		}
	}
	if err == nil && checked.Found.HasErrors() {
		return silentError{exitRefused}
	}
	return err
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand is for those who pack stetl.
func manCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "man --out FOLDER",
		Short:   "Write the manual pages, one for each command",
		Example: "  stetl man --out ./man1",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // pages that everybody reads
				return refusedError(err)
			}
			return writeManual(cmd.Root(), out)
		},
	}
	c.Flags().StringVar(&out, "out", ".", "`FOLDER` to write to")
	return c
}

// writeManual writes the page of a command and those below it.
func writeManual(c *cobra.Command, dir string) error {
	if c.Hidden || c.Name() == "help" {
		return nil
	}
	path := filepath.Join(dir, manName(c)+".1")
	err := replaceFile(path, func(w io.Writer) error {
		_, err := io.WriteString(w, manPage(c))
		return err
	})
	if err == nil {
		err = os.Chmod(path, 0o644) //nolint:gosec // a page that everybody reads
	}
	for _, sub := range c.Commands() {
		if err != nil {
			return err
		}
		err = writeManual(sub, dir)
	}
	return err
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage is the page of a command in the macros of man(7).
func manPage(c *cobra.Command) string {
	var b strings.Builder
	name := manName(c)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"stetl %s\" \"stetl\"\n", roff(strings.ToUpper(name)), roff(builtVersion()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	b.WriteString(".SH DESCRIPTION\n")
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		literal := strings.HasPrefix(paragraph, "  ")
		if literal {
			b.WriteString(".nf\n")
		}
		b.WriteString(roff(paragraph) + "\n")
		if literal {
			b.WriteString(".fi\n")
		}
	}
	manFlags(&b, "OPTIONS", c.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n" + roff(c.Example) + "\n.fi\n")
	}
	if c.Parent() == nil {
		b.WriteString(manFiles + ".SH EXIT STATUS\n")
		for code, meaning := range exitMeanings {
			fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code, roff(meaning))
		}
		b.WriteString(".TP\n.B 129, 130, 143\nStopped by SIGHUP, SIGINT or SIGTERM.\n")
	}
	var also []string
	if c.Parent() != nil {
		also = append(also, manName(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			also = append(also, manName(sub))
		}
	}
	for i, other := range also {
		if i == 0 {
			b.WriteString(".SH SEE ALSO\n")
		}
		end := map[bool]string{true: ",", false: ""}[i < len(also)-1]
		fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(other), end)
	}
	return b.String()
}

const manFiles = `.SH ENVIRONMENT
.TP
.B STETL_CONFIG
The configuration that is taken where \-\-config names none.
.TP
.B STETL_JOURNAL_KEY
The secret of a journal in PostgreSQL where the configuration has no journal_key.
.TP
.B NO_COLOR
No colours, whatever its value.
.TP
.B HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, TMPDIR
As usual.
.SH FILES
.TP
.I stetl.yaml
The configuration that is taken where nothing names any.
.TP
.I .stetl
The journal, beside the configuration.
.TP
.I stetl.lock
The checksums of the plugins that may run.
`

func manFlags(b *strings.Builder, title string, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if first {
			fmt.Fprintf(b, ".SH %s\n", title)
			first = false
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(name+" "+value)), roff(usage))
	})
}

// roff has a text taken as it stands: a hyphen stays one, and no line is a command.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "’", "'").Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

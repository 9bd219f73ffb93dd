package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// isPage compares a page with what the code makes of it, or writes it with -update.
func isPage(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(projectRoot, "docs", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), text); diff != "" {
		t.Errorf("run go test ./cmd/stetl -run Page -update:\n%s", diff)
	}
}

// TestCommandsPage writes docs/commands.md and holds it.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Commands

Every command with its flags. This page is written from the program: ` + "`go test ./cmd/stetl -run Page -update`" + `. ` +
		"The flag `--help` of each command says the same. [Exit codes](troubleshooting.md#by-exit-code) are on another page.\n")
	root := rootCommand(&app{})
	b.WriteString("\n| command | what it does |\n|---|---|\n")
	eachCommand(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), cell(c.Short))
	})
	eachCommand(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.CommandPath(), cell(c.Short))
		if c.Long != "" {
			fmt.Fprintf(&b, "\n%s\n", strings.ReplaceAll(marked(c.Long), "<", "&lt;"))
		}
		fmt.Fprintf(&b, "\n```\n%s\n```\n", c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(&b, "\nFor example:\n\n```sh\n%s\n```\n", outdented(c.Example))
		}
		rows := ""
		flags := func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			if value != "" {
				name += " " + value
			}
			def := f.DefValue
			if def == "false" || def == "[]" || def == "0" {
				def = ""
			}
			if def != "" {
				def = "`" + def + "`"
			}
			rows += fmt.Sprintf("| `%s` | %s | %s |\n", name, def, marked(cell(usage)))
		}
		c.NonInheritedFlags().VisitAll(flags)
		c.InheritedFlags().VisitAll(flags)
		if rows != "" {
			b.WriteString("\n| flag | by default | what it does |\n|---|---|---|\n" + rows)
		}
	})
	isPage(t, "commands.md", b.String())
}

// eachCommand calls f with every command that does something, in the order of their names.
func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	if c.Hidden {
		return
	}
	if c.HasParent() && (!c.HasSubCommands() || c.Flags().HasFlags()) {
		f(c)
	}
	for _, sub := range c.Commands() {
		eachCommand(sub, f)
	}
}

// flagName is a flag in a sentence.
var flagName = regexp.MustCompile(`--[a-z][a-z-]+`)

// marked has flags as code, which a page does not break after the first dash.
func marked(text string) string { return flagName.ReplaceAllString(text, "`$0`") }

// outdented takes the two blanks from the lines of an example that help shows it with.
func outdented(example string) string {
	var lines []string
	for line := range strings.Lines(example) {
		lines = append(lines, strings.TrimPrefix(strings.TrimRight(line, "\n"), "  "))
	}
	return strings.Join(lines, "\n")
}

// TestConfigurationPage writes docs/configuration.md and holds it.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "asks every plugin for its schema")
	own, err := config.Schema(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Configuration

Every key of a configuration file. This page is written from the schemas that the program checks a file with: ` + "`go test ./cmd/stetl -run Page -update`" + `.
` + "`stetl config schema`" + ` prints them for editors. How the parts work together: [targets](plugins.md), [mapping and policies](mapping.md),
[limits](operations.md#limits), [the bridge](bridge.md).

Values can refer to others: ` + "`${env:NAME}`" + ` is a variable of the environment, ` + "`${file:PATH}`" + ` the content of a file. A *secret* must be such a reference.

| key | what it is |
|---|---|
`)
	schemaRows(t, &b, own)
	for _, name := range bundledNames() {
		var described struct {
			Schema json.RawMessage `json:"config_schema"`
		}
		r := runStetl(t, nil, "plugin", "describe", name)
		if err := json.Unmarshal([]byte(r.stdout), &described); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n## target.config of %s\n\nWith `plugin: %s`.\n\n| key | what it is |\n|---|---|\n", name, name)
		schemaRows(t, &b, described.Schema)
	}
	isPage(t, "configuration.md", b.String())
}

func schemaRows(t *testing.T, b *strings.Builder, raw []byte) {
	t.Helper()
	var schema schemaNode
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	before := b.Len()
	schema.rows(b, "")
	if strings.Count(b.String()[before:], "\n") < 10 {
		t.Error("a schema has hardly any keys")
	}
}

// TestExitCodesOfPages: a page that explains exit codes explains all of them.
func TestExitCodesOfPages(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"operations", "troubleshooting", "agents"} {
		text, err := os.ReadFile(filepath.Join(projectRoot, "docs", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		rows := map[int]int{}
		for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(string(text), -1) {
			code, _ := strconv.Atoi(row[1]) // digits
			rows[code]++
		}
		for code := range exitMeanings {
			if rows[code] != 1 {
				t.Errorf("docs/%s.md has %d rows for the exit code %d", page, rows[code], code)
			}
		}
	}
}

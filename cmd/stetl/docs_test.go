package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const projectRoot = "../.."

// pages are the README, everything below docs/ and the example configurations,
// by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{"README.md", "docs", "configs"} {
		err := filepath.WalkDir(filepath.Join(projectRoot, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !slices.Contains([]string{".md", ".yaml"}, filepath.Ext(path)) {
				return err
			}
			text, err := os.ReadFile(path)
			all[path] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d pages found", len(all))
	}
	return all
}

var (
	fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	// A command line is inline code, a line of a shell block or one in a comment.
	inline  = regexp.MustCompile("`(stetl [^`]+)`")
	shell   = regexp.MustCompile(`(?m)^[# ]*(?:\w+=\S+ +)*(?:stetl|go run \./cmd/stetl) (.*)$`)
	link    = regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`)
	endings = []string{"|", ">", "#", "&&", "<", "2>", "…", "\\", ";"}
)

// blocks are the parts of a page in a language; what is not Markdown is one.
func blocks(path, text, language string) (all []string) {
	if filepath.Ext(path) != ".md" {
		return []string{text}
	}
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			all = append(all, m[2])
		}
	}
	return all
}

// TestExamplesNameTheirVariables: what an example reads from the environment is
// exported in the lines at its top.
func TestExamplesNameTheirVariables(t *testing.T) {
	t.Parallel()
	read := regexp.MustCompile(`(?m)^[^#\n]*\$\{env:(\w+)\}`)
	found := 0
	for path, text := range pages(t) {
		if filepath.Base(filepath.Dir(path)) != "configs" {
			continue
		}
		for _, m := range read.FindAllStringSubmatch(text, -1) {
			found++
			if !regexp.MustCompile(`(?m)^#   export .*\b` + m[1] + `=`).MatchString(text) {
				t.Errorf("%s does not export %s", path, m[1])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d variables found", found)
	}
}

// TestDocumentedDependencies: every module that is required directly is on its page,
// once, and in the version of go.mod where the page names one.
func TestDocumentedDependencies(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(projectRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(projectRoot, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v(\S+)$`).FindAllStringSubmatch(string(mod), -1)
	if len(direct) < 20 {
		t.Fatalf("only %d modules found in go.mod", len(direct))
	}
	for _, m := range direct {
		var rows []string
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "|") && strings.Contains(strings.Split(line, "|")[1], "`"+m[1]+"`") {
				rows = append(rows, line)
			}
		}
		switch {
		case len(rows) > 1:
			t.Errorf("%s has %d rows", m[1], len(rows))
		case len(rows) == 1 && !strings.Contains(strings.Split(rows[0], "|")[2], m[2]):
			t.Errorf("go.mod has %s %s, and the page says: %s", m[1], m[2], rows[0])
		case len(rows) == 0 && !strings.Contains(string(page), "`"+m[1]+"`"):
			t.Errorf("%s is not explained", m[1])
		}
	}
}

// TestDocumentedCommands has every command line in the documentation parsed: a
// command or flag that does not exist fails, and so does a command that no page
// mentions.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	mentioned := map[string]bool{}
	for path, text := range pages(t) {
		var lines []string
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			lines = append(lines, strings.TrimPrefix(m[1], "stetl "))
		}
		for _, b := range blocks(path, text, "sh") {
			for _, m := range shell.FindAllStringSubmatch(b, -1) {
				lines = append(lines, m[1])
			}
		}
		for _, line := range lines {
			root := rootCommand(&app{streams: streams{out: io.Discard, err: io.Discard}})
			root.InitDefaultHelpCmd()
			root.InitDefaultCompletionCmd()
			args := strings.Fields(line)
			if end := slices.IndexFunc(args, func(a string) bool { return slices.Contains(endings, a) }); end >= 0 {
				args = args[:end]
			}
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == root {
				t.Errorf("%s: stetl %s: no such command", path, line)
				continue
			}
			mentioned[cmd.CommandPath()] = true
			for _, arg := range rest {
				name, isFlag := strings.CutPrefix(arg, "--")
				name, _, _ = strings.Cut(strings.TrimRight(name, ",.]"), "=")
				if isFlag && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: stetl %s: %s has no flag --%s", path, line, cmd.CommandPath(), name)
				}
			}
		}
	}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Runnable() && !c.Hidden && !c.HasSubCommands() && !mentioned[c.CommandPath()] {
			t.Errorf("no page of the documentation mentions %s", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(rootCommand(&app{}))
}

// TestDocumentedConfiguration loads every example: the files in configs/, the
// parts of configurations in the documentation, and those of a target's own
// configuration on the page that has its name.
func TestDocumentedConfiguration(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "asks every plugin for its schema")
	parts := []string{"source:", "target:", "targets:", "policies:", "limits:", "journal:", "mapping:", "bridge:"}
	schemas := map[string][]byte{}
	for _, name := range bundledNames() {
		var described struct {
			Schema json.RawMessage `json:"config_schema"`
		}
		r := runStetl(t, nil, "plugin", "describe", name)
		if err := json.Unmarshal([]byte(r.stdout), &described); err != nil {
			t.Fatal(err)
		}
		schemas[name] = described.Schema
	}
	for path, text := range pages(t) {
		plugin := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if plugin == "scim" {
			plugin = "generic-scim"
		}
		for _, b := range blocks(path, text, "yaml") {
			whole := b
			top := slices.DeleteFunc(strings.Split(b, "\n"), func(l string) bool { return l == "" || strings.ContainsAny(l[:1], " #-") })
			known := len(top) > 0 && !slices.ContainsFunc(top, func(l string) bool {
				return !slices.ContainsFunc(parts, func(p string) bool { return strings.HasPrefix(l, p) })
			})
			switch {
			case !known && schemas[plugin] == nil:
				t.Errorf("%s: an example that is neither a part of a configuration nor one of a target's:\n%s", path, b)
				continue
			case !known:
				whole = "source: {dump: x.sql}\ntarget:\n  plugin: " + plugin + "\n  config:\n    " + strings.ReplaceAll(b, "\n", "\n    ")
			default:
				if !slices.ContainsFunc(top, func(l string) bool { return strings.HasPrefix(l, "source:") }) {
					whole += "\nsource: {dump: x.sql}\n"
				}
				if !slices.ContainsFunc(top, func(l string) bool { return strings.HasPrefix(l, "target:") || strings.HasPrefix(l, "targets:") }) {
					whole += "\ntarget: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}\n"
				}
			}
			cfg, problems := config.Load("example.yaml", config.Env{
				Lookup: func(string) (string, bool) { return "https://example.com", true },
				ReadFile: func(name string) ([]byte, error) {
					if filepath.Base(name) == "example.yaml" {
						return []byte(whole), nil
					}
					return []byte("content"), nil
				},
			})
			if schema := schemas[cfg.Target.Plugin]; schema != nil {
				problems.Add(cfg.Target.Validate(schema)...)
			}
			for _, p := range problems {
				// A part of a target's configuration need not be all of it.
				if known || p.Code != "config.missing_field" {
					t.Errorf("%s: %s: %s\n%s", path, p.Code, p.Summary, whole)
				}
			}
		}
	}
}

// TestDocumentedLinks follows every link from a page of the repository to another file,
// and to a heading.
func TestDocumentedLinks(t *testing.T) {
	t.Parallel()
	headings, links := map[string][]string{}, 0
	of := func(path string) []string {
		if headings[path] == nil {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			headings[path] = anchors(string(text))
		}
		return headings[path]
	}
	err := filepath.WalkDir(projectRoot, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && (name == "node_modules" || name == "dist" || name == "target" || name == ".git"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md" && name != "llms.txt":
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
			links++
			to := path
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(path), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if heading := strings.TrimPrefix(m[2], "#"); heading != "" && filepath.Ext(to) == ".md" && !slices.Contains(of(to), heading) {
				t.Errorf("%s: %s has no heading #%s", path, to, heading)
			}
		}
		return err
	})
	if err != nil || links < 100 {
		t.Errorf("%d links followed: %v", links, err)
	}
}

var (
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	noAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names by which links reach the headings of a page.
func anchors(text string) []string {
	all := []string{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		for n, base := 1, name; slices.Contains(all, name); n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		all = append(all, name)
	}
	return all
}

// TestDeploymentExamples: the configurations of the examples are good, and the commands
// in manifests and units exist.
func TestDeploymentExamples(t *testing.T) {
	t.Parallel()
	root := filepath.Join(projectRoot, "examples", "deploy")
	configs, err := filepath.Glob(filepath.Join(root, "kubernetes", "config", "*.yaml"))
	if err != nil || len(configs) != 2 {
		t.Fatal(configs, err)
	}
	for _, path := range configs {
		_, problems := config.Load(path, config.Env{ReadFile: func(name string) ([]byte, error) {
			if name == path || filepath.Base(name) == filepath.Base(path) {
				return os.ReadFile(path)
			}
			return []byte("postgres://reader@db/supertokens"), nil // a secret
		}})
		for _, p := range problems {
			t.Errorf("%s: %s: %s", path, p.Code, p.Summary)
		}
	}
	command := regexp.MustCompile(`(?m)args: \[([^\]]+)\]|^ExecStart=/usr/bin/stetl (.*)$|(?:run: |^ +)stetl ([^|>\n]*)`)
	found := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			found++
			c, rest, err := rootCommand(&app{}).Find(strings.Fields(strings.ReplaceAll(m[1], ",", "") + m[2] + m[3]))
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err != nil || !c.HasParent() {
				t.Errorf("%s: %s: %v", path, m[0], err)
			}
		}
		return err
	})
	if err != nil || found != 7 {
		t.Errorf("%d commands found: %v", found, err)
	}
}

// TestFlagsAreDescribed: help without a sentence is no help.
func TestFlagsAreDescribed(t *testing.T) {
	t.Parallel()
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no description", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(rootCommand(&app{}))
}

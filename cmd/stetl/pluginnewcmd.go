package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/examples"
)

//go:embed scaffold
var scaffold embed.FS

// project of a plugin that is to be written.
type scaffolded struct {
	Name, Title, Env string
	module           string
	lang             string
	// checkout is a local one of stetl, empty for a released version.
	checkout string
}

func pluginNewCommand(a *app) *cobra.Command {
	var dir, module, checkout, lang string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a working project for a plugin of your own",
		Long: `new writes a project that works at once and keeps every rule of the plugin protocol. In
Go: a target with a REST API, its tests, and an invented identity provider for the
tests. In Python and Node: a target that appends to a file, and a package with the
protocol. Replace the target by your own, one file at a time.`,
		Example: "  stetl plugin new acme --lang python --dir ./acme",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if lang != langGo {
				return newOther(a, args[0], lang, dir)
			}
			p, err := newScaffolded(args[0], module, checkout)
			if err != nil {
				return err
			}
			if dir == "" {
				dir = plugin.Prefix + p.Name
			}
			if err := p.write(dir); err != nil {
				return err
			}
			uses := "github.com/stetl/stetl " + released()
			if p.checkout != "" {
				uses = "the checkout of stetl in " + p.checkout
			}
			_, err = fmt.Fprintf(a.out, "wrote %s, which uses %s\nnext: cd %s && make test\n", dir, uses, dir)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "`FOLDER` to write to; it must be empty or absent (default stetl-plugin-NAME)")
	c.Flags().StringVar(&lang, "lang", langGo, "`LANGUAGE` of the project: go, python or node")
	completeWith(c, "lang", "go", "python", "node")
	c.Flags().StringVar(&module, "module", "", "`PATH` of the Go module (default stetl-plugin-NAME)")
	c.Flags().StringVar(&checkout, "stetl", "", "use the checkout of stetl in this `FOLDER` (default: the released version of this program, or the checkout that it was built in)")
	return c
}

// released is the version of this program that the Go module proxy has, empty for one
// that was built in a checkout.
func released() string {
	if strings.HasPrefix(version, "v") {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Sum != "" {
		return info.Main.Version
	}
	return ""
}

// builtIn is the checkout that this program was built in, empty where it is gone or the
// build left out paths.
func builtIn() string {
	_, file, _, _ := runtime.Caller(0)
	if dir := filepath.Join(filepath.Dir(file), "..", ".."); filepath.IsAbs(file) && isCheckout(dir) == nil {
		return dir
	}
	return ""
}

func isCheckout(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "core", "sdk"))
	return err
}

// maxPluginName keeps "stetl-plugin-NAME" and the socket beside it far from what file
// systems allow.
const maxPluginName = 50

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// langGo is the language of a project where none is named.
const langGo = "go"

// others are what projects in other languages are made of.
var others = map[string]struct {
	// name is that of the plugin in the example, files what else is called differently.
	name  string
	files *strings.Replacer
	needs string
}{
	"python": {"ndjson-py", strings.NewReplacer("ndjson_target", "target"), "Python 3.10 or newer with pip"},
	"node":   {"ndjson-js", strings.NewReplacer(), "Node 18 or newer with npm"},
}

// newOther writes a project in another language.
func newOther(a *app, name, lang, dir string) error {
	from, ok := others[lang]
	if !ok {
		return usageError(fmt.Errorf("--lang %s: use go, node or python", lang))
	}
	p, err := named(name)
	if err != nil {
		return err
	}
	p.lang = lang
	if dir == "" {
		dir = plugin.Prefix + p.Name
	}
	if err := p.write(dir); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "wrote %s, which takes %s\nnext: cd %s && make check\n", dir, from.needs, dir)
	return err
}

// otherFiles are those of a project in another language.
func (p scaffolded) otherFiles() (map[string][]byte, error) {
	from, files := others[p.lang], map[string][]byte{}
	rename := strings.NewReplacer(from.name, p.Name)
	err := fs.WalkDir(examples.Others, p.lang, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(at, ".pyc") {
			return err
		}
		raw, err := examples.Others.ReadFile(at)
		at = strings.TrimPrefix(at, p.lang+"/")
		if !strings.HasPrefix(at, "stetl") { // the package stays as it is
			raw = []byte(from.files.Replace(rename.Replace(string(raw))))
		}
		files[from.files.Replace(at)] = raw
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("copy the example: %w", err)
	}
	return files, p.fill(files, map[string]string{
		".github/workflows/ci.yaml": "other.ci.yaml.tmpl",
		"Makefile":                  "other.Makefile.tmpl", "README.md": "other.README.md.tmpl", ".gitignore": "other.gitignore.tmpl", p.Name + ".yaml": "other.yaml.tmpl",
	})
}

// Needs is what a project in another language takes, for its page.
func (p scaffolded) Needs() string { return others[p.lang].needs }

// Target is the file that is to be replaced.
func (p scaffolded) Target() string {
	return map[string]string{"python": "target.py", "node": "target.js"}[p.lang]
}

// named is a project of that name.
func named(name string) (scaffolded, error) {
	name = strings.TrimPrefix(name, plugin.Prefix)
	switch {
	case !pluginName.MatchString(name) || len(name) > maxPluginName:
		return scaffolded{}, usageError(fmt.Errorf("%q is not a plugin name: begin with a letter and use lower-case letters, digits and single dashes, %d at most", name, maxPluginName))
	case slices.Contains(bundledNames(), name):
		return scaffolded{}, usageError(fmt.Errorf("%s is a bundled plugin of stetl, which would be used instead: choose another name", name))
	}
	return scaffolded{
		Name: name, Title: strings.ToUpper(name[:1]) + name[1:], lang: langGo,
		Env: strings.ToUpper(strings.ReplaceAll(name, "-", "_")),
	}, nil
}

func newScaffolded(name, module, checkout string) (scaffolded, error) {
	p, err := named(name)
	if err != nil {
		return p, err
	}
	name, p.module = p.Name, module
	if p.module == "" {
		p.module = plugin.Prefix + name
	}
	if checkout == "" && released() == "" {
		if checkout = builtIn(); checkout == "" {
			return p, usageError(errors.New("this program was not released: name a checkout of stetl with --stetl"))
		}
	}
	if checkout != "" {
		var err error
		if p.checkout, err = filepath.Abs(checkout); err != nil {
			return p, err
		}
		if err := isCheckout(p.checkout); err != nil {
			return p, usageError(fmt.Errorf("%s is not a checkout of stetl: %w", checkout, err))
		}
	}
	return p, nil
}

// templates are the files that the example does not have, by their names in a project.
func (p scaffolded) templates() map[string]string {
	return map[string]string{
		".github/workflows/ci.yaml": "ci.yaml.tmpl",
		"Makefile":                  "Makefile.tmpl", "README.md": "README.md.tmpl", ".gitignore": "gitignore.tmpl", p.Name + ".yaml": "config.yaml.tmpl",
	}
}

// write fills dir, which must not hold anything.
func (p scaffolded) write(dir string) error {
	switch entries, err := os.ReadDir(dir); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return refusedError(err)
	case len(entries) > 0:
		return refusedError(fmt.Errorf("%s is not empty: name another folder with --dir", dir))
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	for name, content := range files {
		at := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(at), 0o755) //nolint:gosec // a source tree
		if err == nil {
			err = os.WriteFile(at, content, 0o644) //nolint:gosec // a source file
		}
		if err != nil {
			return refusedError(err)
		}
	}
	return nil
}

func (p scaffolded) files() (map[string][]byte, error) {
	if p.lang != langGo {
		return p.otherFiles()
	}
	files := map[string][]byte{}
	rename := strings.NewReplacer("github.com/stetl/stetl/examples/rest", p.module, "acme", p.Name, "Acme", p.Title, "ACME", p.Env)
	err := fs.WalkDir(examples.Rest, "rest", func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := examples.Rest.ReadFile(at)
		if err != nil {
			return err
		}
		content, err := format.Source([]byte(rename.Replace(string(raw))))
		files[strings.TrimPrefix(at, "rest/")] = content
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("copy the example: %w", err)
	}
	if err := p.fill(files, p.templates()); err != nil {
		return nil, err
	}
	return files, p.modules(files)
}

// fill adds files that are made from templates.
func (p scaffolded) fill(files map[string][]byte, templates map[string]string) error {
	for name, from := range templates {
		t, err := template.ParseFS(scaffold, path.Join("scaffold", from))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, p); err != nil {
			return err
		}
		files[name] = b.Bytes()
	}
	return nil
}

// modules adds go.mod and, for a checkout, go.sum: then the versions are those of
// the checkout, and nothing has to be downloaded that it did not need.
func (p scaffolded) modules(files map[string][]byte) error {
	mod := "module " + p.module + "\n\ngo 1.26.0\n"
	if p.checkout == "" {
		files["go.mod"] = []byte(mod + "\nrequire github.com/stetl/stetl " + released() + "\n")
		return nil
	}
	theirs, err := os.ReadFile(filepath.Join(p.checkout, "go.mod"))
	if err == nil {
		files["go.sum"], err = os.ReadFile(filepath.Join(p.checkout, "go.sum"))
	}
	if err != nil {
		return refusedError(err)
	}
	mod += fmt.Sprintf("\nreplace github.com/stetl/stetl => %s\n\nrequire github.com/stetl/stetl v0.0.0\n", p.checkout)
	needed := neededModules(p.checkout)
	for _, block := range regexp.MustCompile(`(?ms)^require \(\n.*?^\)\n`).FindAllString(string(theirs), -1) {
		mod += "\n" + onlyModules(block, needed)
	}
	files["go.mod"] = []byte(mod)
	return nil
}

// neededModules are the modules that a project compiles, its tests among it; nil, where
// they cannot be found out, is all of them.
func neededModules(checkout string) map[string]bool {
	list := exec.CommandContext(context.Background(), "go", "list", "-deps", "-test", "-f", "{{with .Module}}{{.Path}}{{end}}", "./examples/rest/...")
	list.Dir = checkout
	out, err := list.Output()
	if err != nil {
		return nil
	}
	needed := map[string]bool{}
	for module := range strings.Lines(string(out)) {
		needed[strings.TrimSpace(module)] = true
	}
	return needed
}

// onlyModules leaves out of a block of requirements what is not needed.
func onlyModules(block string, needed map[string]bool) string {
	var kept strings.Builder
	for line := range strings.Lines(block) {
		module, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if needed == nil || !strings.HasPrefix(line, "\t") || needed[module] {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenceFile is a file whose text has to go along with a program.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([.-].*)?$`)

// licences collects the texts of every module that the program is built from on any
// platform, and of Go itself. A module without one is an error: it could not be handed on.
func (r *release) licences(to string) error {
	dirs := map[string]string{} // by module and version
	for _, platform := range r.Platforms {
		goos, arch, _ := strings.Cut(platform, "/")
		list := command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", r.program())
		list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch)
		out, err := list.Output()
		if err != nil {
			return fmt.Errorf("list the modules for %s: %w", platform, err)
		}
		for line := range strings.Lines(string(out)) {
			if name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				dirs[name] = dir
			}
		}
	}
	root, err := command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	dirs["Go, its runtime and standard library"] = strings.TrimSpace(string(root))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s is licensed under the %s, see LICENSE. It is built from these, under their own licences:\n", r.Command, r.License)
	var problems []error
	names := make([]string, 0, len(dirs))
	for name := range dirs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s\n", name)
	}
	for _, name := range names {
		entries, err := os.ReadDir(dirs[name])
		if err != nil {
			return err
		}
		found := false
		for _, e := range entries {
			if e.IsDir() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dirs[name], e.Name()))
			if err != nil {
				return err
			}
			found = true
			fmt.Fprintf(&b, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 80), name, e.Name(), bytes.TrimSpace(text))
		}
		if !found {
			problems = append(problems, fmt.Errorf("%s has no file with a licence", name))
		}
	}
	return errors.Join(append(problems, os.WriteFile(to, b.Bytes(), 0o644))...) //nolint:gosec // nothing secret in it
}

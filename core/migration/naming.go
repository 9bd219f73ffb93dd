package migration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
)

// naming makes the configuration of each target from the common one.
type naming struct {
	cfg       *config.Config
	templates map[string]*mapping.Template // by path and text
}

// newNaming compiles the names and templates of a configuration.
func newNaming(cfg *config.Config) (*naming, diag.List) {
	n := &naming{cfg: cfg, templates: map[string]*mapping.Template{}}
	var rules map[string]mapping.Rule
	if cfg.Targets.Names != nil && json.Unmarshal(cfg.Targets.Names, &rules) != nil {
		return n, nil // the schema has said why
	}
	names, found := mapping.CompileNames(rules)
	for i := range found {
		found[i].Path = "/targets/names" + found[i].Path
	}
	broken := found.HasErrors()
	cfg.Targets.Templates(func(text, path string) {
		t, problems := names.Template(text, path)
		if broken { // a name that is wrong is no unknown one
			problems = slices.DeleteFunc(problems, func(d diag.Diagnostic) bool { return d.Code == diag.MapUnknownField })
		}
		found.Add(problems...)
		n.templates[path+"\n"+text] = t
	})
	return n, cfg.Locate(found)
}

// plainTenant are ids that can be part of any name, such as that of a realm or a file.
var plainTenant = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// target is the configuration with the target of that name.
func (n *naming) target(name string) (*config.Config, diag.List) {
	var found diag.List
	if n.cfg.Targets.EachTenant && !plainTenant.MatchString(name) {
		found.Add(diag.Diagnostic{
			Code: diag.TargetsBadTenant, Summary: fmt.Sprintf("the id of tenant %q cannot be part of a name", name), Path: "/targets",
			Hint: "leave the tenant out with exclude, or use a list of targets",
		})
		return nil, n.cfg.Locate(found)
	}
	target := n.cfg.Targets.Target(name, func(text, path string) string {
		t := n.templates[path+"\n"+text]
		if t == nil {
			return text // there is none in it, or it is wrong, which is known
		}
		out, err := t.Of(name)
		if err != nil {
			found.Add(diag.Diagnostic{Code: diag.ConfigInvalidValue, Summary: fmt.Sprintf("for tenant %s there is no value: %v", name, err), Path: path})
		}
		return out
	})
	return n.cfg.ForTarget(target), n.cfg.Locate(found)
}

// ForTarget is the configuration of one of several targets: it has the source as this target
// gets it.
func (c *Config) ForTarget(name string) (*Config, error) {
	t := &c.Targets
	switch {
	case c.problems.HasErrors():
		return nil, c.Err()
	case !t.Set:
		return nil, UsageError{fmt.Errorf("--target %s: %s has one target, and no targets", name, c.Path)}
	case !t.Has(name):
		return nil, UsageError{fmt.Errorf("--target %s: %s has no such target%s", name, c.Path, c.likeTarget(name))}
	}
	n, _ := newNaming(c.Config) // Load has said what is wrong
	one, found := n.target(name)
	if found.HasErrors() {
		return nil, found.Err()
	}
	return &Config{Config: one, problems: c.problems, share: &share{target: name, routing: newRouting(c.Config)}}, nil
}

// likeTarget says which targets there are, as far as the configuration knows.
func (c *Config) likeTarget(name string) string {
	names := c.Targets.Include
	for _, l := range c.Targets.Listed {
		names = append(slices.Clip(names), l.Name)
	}
	if like := diag.Suggest(name, names); like != "" {
		return fmt.Sprintf("; did you mean %s?", like)
	}
	if len(names) > 0 {
		return ": it has " + strings.Join(names[:min(len(names), mostTenants)], ", ")
	}
	return ": the tenant is left out"
}

// errManyTargets says that a command is about one target, and there are several.
func errManyTargets(c *Config) error {
	which := "the id of a tenant"
	if len(c.Targets.Listed) > 0 {
		which = strings.TrimPrefix(c.likeTarget(""), ": it has ")
	}
	return UsageError{fmt.Errorf("%s has several targets: name one with --target (%s)", c.Path, which)}
}

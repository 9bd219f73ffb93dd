package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/diag"
)

// targetsSection is the name of the section about several targets.
const targetsSection = "targets"

// Everything is, among tenants that are left out, all that no target names.
const Everything = "*"

// defaultParallel is how many targets are handled at a time where nothing is said.
const defaultParallel = 4

// Targets are several targets that get accounts from one reading of the source: one for each
// tenant, or those of a list.
type Targets struct {
	// Set says that there is such a section.
	Set bool
	// EachTenant makes every tenant a target, whose name is the tenant's id: those in
	// Include, or all where that is empty.
	EachTenant bool
	Include    []string
	// LeaveOut are tenants whose accounts no target gets.
	LeaveOut []string
	// Names are the rules for names in templates, as JSON; core/mapping understands them.
	Names json.RawMessage
	// Parallel is how many targets are handled at a time.
	Parallel int
	// Listed are the targets of a list.
	Listed []Listed

	file *file
	root *node
	dir  string
}

// Listed is a target of a list. Without tenants it gets everybody.
type Listed struct {
	Name    string
	Tenants []string
	at      int // its place in the list
}

// configsOf are the configurations of plugins in a section about several targets.
func configsOf(section *node) (all []*node) {
	add := func(n *node) {
		if n != nil {
			all = append(all, n)
		}
	}
	if section == nil {
		return nil
	}
	add(section.get("config"))
	if overrides := section.get("overrides"); overrides != nil {
		for _, tenant := range overrides.names {
			add(overrides.get(tenant, "config"))
		}
	}
	for _, item := range section.items {
		add(item.get("config"))
	}
	return all
}

// checkTargets finds what the schema cannot say.
func checkTargets(f *file) {
	section := f.root.get(targetsSection)
	several := f.root.get("policies", "several_tenants")
	if section.absent() {
		if !several.absent() {
			f.add(diag.Diagnostic{
				Code: diag.ConfigConflict, Summary: "policies.several_tenants is about several targets, and there is one", Path: diag.Pointer(several.path...),
				Hint: "leave it out, or write targets instead of target",
			}, several.key)
		}
		return
	}
	if target := f.root.get("target"); target != nil {
		later := section
		if target.key.line > section.key.line {
			later = target
		}
		f.add(diag.Diagnostic{
			Code: diag.ConfigConflict, Summary: "the configuration has both target and targets", Path: diag.Pointer(later.path...), Hint: "keep one of them",
		}, later.key)
	}
	if bridge := f.root.get(bridgeSection); bridge != nil {
		f.add(diag.Diagnostic{
			Code: diag.ConfigConflict, Summary: "a bridge serves one target, and the configuration has targets", Path: diag.Pointer(bridge.path...),
			Hint: "write a configuration with target and the same journal for the target that the bridge serves",
		}, bridge.key)
	}
	if section.kind == array {
		checkListed(f, section)
		return
	}
	for _, n := range configsOf(section) {
		n.walk(func(n *node) { checkBraces(f, n) })
	}
	twice := texts(section.get("include"))
	if exclude := section.get("exclude"); exclude != nil {
		for _, n := range exclude.items {
			if slices.Contains(twice, n.str()) {
				f.add(diag.Diagnostic{Code: diag.ConfigConflict, Summary: fmt.Sprintf("tenant %q is both in include and in exclude", n.str()), Path: diag.Pointer(n.path...), Hint: "keep one of them"}, n.at)
			}
		}
	}
}

// checkBraces says what {tenant} without quotes is in YAML.
func checkBraces(f *file, n *node) {
	if n.kind != object || len(n.names) != 1 || !n.fields[n.names[0]].absent() || n.bad {
		return
	}
	n.bad = true
	f.add(diag.Diagnostic{
		Code: diag.ConfigWrongType, Summary: human(n.path) + " is a mapping: a template in braces is text", Path: diag.Pointer(n.path...),
		Hint: fmt.Sprintf(`write it in quotes: "{%s}"`, n.names[0]),
	}, n.at)
}

// checkListed looks for names and tenants that a list has twice.
func checkListed(f *file, section *node) {
	names, left := map[string]bool{}, map[string]bool{}
	targets := 0
	for _, item := range section.items {
		for _, t := range texts(item.get("leave_out")) {
			left[t] = true
		}
		if item.get("leave_out") == nil {
			targets++
		}
	}
	for _, item := range section.items {
		if name := item.get("name"); !name.absent() {
			if names[name.str()] {
				f.add(diag.Diagnostic{Code: diag.ConfigConflict, Summary: fmt.Sprintf("two targets are called %q", name.str()), Path: diag.Pointer(name.path...), Hint: "give each a name of its own"}, name.at)
			}
			names[name.str()] = true
		}
		if tenants := item.get("tenants"); tenants != nil {
			for _, n := range tenants.items {
				if left[n.str()] {
					f.add(diag.Diagnostic{Code: diag.ConfigConflict, Summary: fmt.Sprintf("tenant %q has a target and is left out", n.str()), Path: diag.Pointer(n.path...), Hint: "keep one of them"}, n.at)
				}
			}
		}
	}
	if targets == 0 {
		f.add(diag.Diagnostic{Code: diag.ConfigMissingField, Summary: "targets leaves tenants out and has no target", Path: diag.Pointer(section.path...), Hint: "add a target with name and plugin"}, section.anchor())
	}
}

// texts are those of a list.
func texts(n *node) (all []string) {
	if n == nil {
		return nil
	}
	for _, item := range n.items {
		all = append(all, item.str())
	}
	return all
}

// readTargets copies the section into its fields.
func readTargets(f *file, dir string) Targets {
	section := f.root.get(targetsSection)
	if section.absent() {
		return Targets{}
	}
	t := Targets{Set: true, Parallel: defaultParallel, file: f, root: section, dir: dir}
	switch section.kind {
	case array:
		for i, item := range section.items {
			if item.get("leave_out") != nil {
				t.LeaveOut = append(t.LeaveOut, texts(item.get("leave_out"))...)
				continue
			}
			t.Listed = append(t.Listed, Listed{Name: item.get("name").str(), Tenants: texts(item.get("tenants")), at: i})
		}
	default:
		t.EachTenant = true
		t.Include, t.LeaveOut = texts(section.get("include")), texts(section.get("exclude"))
		if names := section.get("names"); names != nil && names.kind == object {
			t.Names = mustJSON(names.decoded(func(n *node) (any, bool) { return n.val, !n.absent() }))
		}
		if n, ok := nodeVal(section.get("parallel")).(int64); ok && n > 0 {
			t.Parallel = int(n)
		}
	}
	return t
}

func nodeVal(n *node) any {
	if n == nil {
		return nil
	}
	return n.val
}

// Plugins are the names of the plugins, each once.
func (t *Targets) Plugins() (all []string) {
	add := func(n *node) {
		if name := n.get("plugin").str(); name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if t.root == nil {
		return nil
	}
	add(t.root)
	for _, item := range t.root.items {
		add(item)
	}
	return all
}

// Places gives every tenant that the section names, with where it does so as a JSON pointer.
func (t *Targets) Places(see func(tenant, path string)) {
	if t.root == nil {
		return
	}
	list := func(n *node) {
		if n == nil {
			return
		}
		for _, item := range n.items {
			if item.str() != Everything {
				see(item.str(), diag.Pointer(item.path...))
			}
		}
	}
	list(t.root.get("include"))
	list(t.root.get("exclude"))
	if overrides := t.root.get("overrides"); overrides != nil {
		for _, tenant := range overrides.names {
			see(tenant, diag.Pointer(overrides.fields[tenant].path...))
		}
	}
	for _, item := range t.root.items {
		list(item.get("tenants"))
		list(item.get("leave_out"))
	}
}

// Templates gives every text of the plugin's configuration that can be a template, with its
// place as a JSON pointer; none where the targets are a list. Text that a reference stands
// for is never one.
func (t *Targets) Templates(see func(text, path string)) {
	if !t.EachTenant {
		return
	}
	for _, n := range configsOf(t.root) {
		n.walk(func(n *node) {
			for _, p := range literals(n) {
				if strings.ContainsAny(p.text, "{}") {
					see(p.text, diag.Pointer(n.path...))
				}
			}
		})
	}
}

// literals are the parts of a text that stand in the file.
func literals(n *node) (all []piece) {
	text, ok := n.val.(string)
	switch {
	case n.kind != scalar || !ok || n.bad:
		return nil
	case n.pieces == nil:
		return []piece{{text, true}}
	}
	for _, p := range n.pieces {
		if p.literal {
			all = append(all, p)
		}
	}
	return all
}

// Has says whether the section has a target of that name. Where every tenant has one, only
// the source knows which there are.
func (t *Targets) Has(name string) bool {
	switch {
	case t.EachTenant && len(t.Include) > 0:
		return slices.Contains(t.Include, name)
	case t.EachTenant:
		return !slices.Contains(t.LeaveOut, name) && !slices.Contains(t.LeaveOut, Everything)
	}
	return slices.ContainsFunc(t.Listed, func(l Listed) bool { return l.Name == name })
}

// Target is the target of that name, which the section has; expand replaces the templates of
// a text, and is not called where the targets are a list. Its configuration is a copy that
// has its own state.
func (t *Targets) Target(name string, expand func(text, path string) string) Target {
	place := []string{targetsSection}
	section := t.root
	if !t.EachTenant {
		i := slices.IndexFunc(t.Listed, func(l Listed) bool { return l.Name == name })
		at := t.Listed[i].at
		place, section = append(place, strconv.Itoa(at)), t.root.items[at]
		expand = nil
	}
	path := func(n *node) string {
		if n.str() == "" {
			return ""
		}
		return within(t.dir, n.str())
	}
	base := append(slices.Clip(place), "config")
	out := Target{
		Plugin: section.get("plugin").str(), Path: path(section.get("path")), Dir: path(section.get("plugin_dir")), file: t.file, base: base,
	}
	written := section.get("config")
	if written.absent() {
		written = newObject(base, section.get("plugin").anchor())
	} else {
		out.written = append(out.written, written)
	}
	out.config = copied(written, base, expand)
	if t.EachTenant {
		if own := section.get("overrides", name, "config"); own != nil && own.kind == object {
			out.written = append(out.written, own)
			override(out.config, copied(own, base, expand))
		}
	}
	return out
}

// copied copies a tree, and replaces the templates in its texts. Nodes stand where they were
// written; their paths begin at base.
func copied(n *node, base []string, expand func(text, path string) string) *node {
	out := *n
	out.path, out.fields, out.items, out.names = base, nil, nil, slices.Clone(n.names)
	if n.fields != nil {
		out.fields = make(map[string]*node, len(n.fields))
		for name, child := range n.fields {
			out.fields[name] = copied(child, append(slices.Clip(base), name), expand)
		}
	}
	for i, item := range n.items {
		out.items = append(out.items, copied(item, append(slices.Clip(base), strconv.Itoa(i)), expand))
	}
	if text, ok := n.val.(string); ok && expand != nil && !n.bad && n.kind == scalar {
		if n.pieces == nil {
			out.val = expand(text, diag.Pointer(n.path...))
			return &out
		}
		var b strings.Builder
		for _, p := range n.pieces {
			if p.literal {
				p.text = expand(p.text, diag.Pointer(n.path...))
			}
			b.WriteString(p.text)
		}
		out.expansion = b.String()
		out.val = out.expansion
	}
	return &out
}

// override puts the fields of a mapping over those of another one; null removes one.
func override(n, over *node) {
	for _, name := range over.names {
		with, is := over.fields[name], n.fields[name]
		switch {
		case with.absent():
			delete(n.fields, name)
			n.names = slices.DeleteFunc(n.names, func(have string) bool { return have == name })
		case is != nil && is.kind == object && with.kind == object:
			override(is, with)
		default:
			if is == nil {
				n.names = append(n.names, name)
			}
			n.fields[name] = with
		}
	}
}

// ForTarget is the configuration with this one of its targets.
func (c *Config) ForTarget(t Target) *Config {
	one := *c
	one.Target = t
	return &one
}

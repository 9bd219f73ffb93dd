package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// Draft is a configuration that is to be written.
type Draft struct {
	// From says where the source comes from, for a comment.
	From   string
	Source Source
	Target Target
}

// Source is where the users are.
type Source struct {
	// Dump is a file; else Deployed says what the settings of the core say.
	Dump     string
	Deployed *supertokens.Deployed
	// Found are the installations that are there, as far as anybody could look.
	Found []supertokens.Installation
}

// Target is where the users go.
type Target struct {
	Plugin string
	// Path is the executable of a plugin that is not beside stetl.
	Path   string
	Fields []pluginapi.ConfigField
	// Answers are values by key, as they stand in the file.
	Answers map[string]string
	// Proposed is what the plugin proposes when it has looked at the target: values that
	// hold where there is no answer, and comments by the JSON pointer of what they are about.
	Proposed pluginapi.Proposal
}

// modeKey is the field that chooses among the modes of a plugin.
const modeKey = "mode"

// modes are those that descriptions of fields begin with, for fields of one mode only.
var modes = regexp.MustCompile(`^(live|files): `)

// mode is the one that the plugin works in.
func (t *Target) mode() string {
	if given := t.Answers[modeKey]; given != "" {
		return given
	}
	for _, f := range t.Fields {
		var value string
		if f.Key == modeKey && json.Unmarshal(f.Default, &value) == nil {
			return value
		}
	}
	return ""
}

// applies says whether a field is one of the mode.
func (t *Target) applies(f *pluginapi.ConfigField) bool {
	m := modes.FindStringSubmatch(f.Description)
	return m == nil || m[1] == t.mode()
}

// Wanted are the fields that a new configuration should have, in the order to ask for
// them: those that must be there, and those that the plugin has a title for. Their
// descriptions no longer say of which mode they are.
func (t *Target) Wanted() (out []pluginapi.ConfigField) {
	for _, f := range t.Fields {
		if t.applies(&f) && (f.Required || f.Title != "") {
			f.Description = modes.ReplaceAllString(f.Description, "")
			out = append(out, f)
		}
	}
	return out
}

// Variable is the variable that a field refers to.
func (t *Target) Variable(key string) string {
	name := strings.TrimPrefix(t.Plugin, "generic-") + "_" + key
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// Set takes an answer, KEY=VALUE. Of a secret only a reference is taken.
func (t *Target) Set(answer string) error {
	key, value, ok := strings.Cut(answer, "=")
	at := slices.IndexFunc(t.Fields, func(f pluginapi.ConfigField) bool { return f.Key == key })
	switch {
	case !ok:
		return fmt.Errorf("%q is not KEY=VALUE", answer)
	case at < 0:
		var known []string
		for _, f := range t.Fields {
			known = append(known, f.Key)
		}
		return fmt.Errorf("the plugin %s has no field %s; it has %s", t.Plugin, key, strings.Join(known, ", "))
	case t.Fields[at].Secret && !config.IsReference(value):
		return fmt.Errorf("%s is a secret and must not be written into a file: give a reference, such as ${env:%s}", key, t.Variable(key))
	}
	t.Answers[key] = value
	return nil
}

// Write writes the configuration.
func (d *Draft) Write() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Written by stetl init from %s. For all keys see stetl config schema.\n", d.From)
	b.WriteString("# A secret must be a reference: ${env:NAME} or ${file:PATH}.\n\nsource:\n")
	d.Source.write(&b)
	fmt.Fprintf(&b, "\ntarget:\n  plugin: %s\n", scalar(d.Target.Plugin))
	if d.Target.Path != "" {
		fmt.Fprintf(&b, "  path: %s\n", scalar(d.Target.Path))
	}
	if err := d.Target.write(&b); err != nil {
		return nil, err
	}
	b.WriteString(rest)
	return b.Bytes(), nil
}

// rest are sections that work without a word.
const rest = `
# What was sent and what became of it, for later runs and for undo. Keep it.
# journal: ./.stetl

# Decisions about accounts; what holds is shown.
# policies:
#   existing: skip     # or adopt: accounts that are there already are taken over
#   drift: keep        # or overwrite: what others have changed in the target
#   skip: []           # codes of accounts that may be left out

# A run that would do more is stopped before it writes.
# limits:
#   resets: 100        # accounts that will need a new password
#   stranded: 0        # people who will have no way to sign in
`

func (s *Source) write(b *bytes.Buffer) {
	d := s.Deployed
	if d == nil {
		fmt.Fprintf(b, "  dump: %s\n", scalar(s.Dump))
		s.installation(b, "", "")
		return
	}
	fmt.Fprintf(b, "  # The database %s.\n  url: %s\n", d.Database, scalar(d.URL))
	s.installation(b, d.Schema, d.TablePrefix)
	if len(d.Tables) > 0 {
		b.WriteString("  # Tables that were renamed one by one.\n  tables:\n")
		for _, name := range slices.Sorted(maps.Keys(d.Tables)) {
			fmt.Fprintf(b, "    %s: %s\n", name, scalar(d.Tables[name]))
		}
	}
	if d.MigrationMode != "" {
		fmt.Fprintf(b, "  migration_mode: %s\n", scalar(d.MigrationMode))
	}
	if d.FirebaseKey != "" {
		fmt.Fprintf(b, "  # For passwords that were imported from Firebase.\n  firebase_signer_key: ${env:%s}\n", d.FirebaseKey)
	}
}

// installation writes which of those that were found is meant.
func (s *Source) installation(b *bytes.Buffer, schema, prefix string) {
	line := func(name, value, found string, needed bool) {
		switch {
		case value != "":
			fmt.Fprintf(b, "  %s: %s\n", name, scalar(value))
		case needed:
			fmt.Fprintf(b, "  %s: %s\n", name, scalar(found))
		default:
			fmt.Fprintf(b, "  # %s: %s\n", name, scalar(found))
		}
	}
	in, app := s.Chosen()
	several := len(s.Found) > 1
	if several {
		b.WriteString("  # Several installations were found; the largest one is chosen.\n")
		for _, f := range s.Found {
			for _, a := range f.Apps {
				fmt.Fprintf(b, "  #   schema %s, prefix %q, generation %s, app %s: %d login methods\n", f.Schema, f.TablePrefix, f.Generation, a.ID, a.Users)
			}
		}
	} else {
		b.WriteString("  # These were detected.\n")
	}
	line("schema", schema, in.Schema, several)
	line("table_prefix", prefix, in.TablePrefix, several && in.TablePrefix != "")
	if len(in.Apps) > 1 && !several {
		var others []string
		for _, a := range in.Apps {
			others = append(others, fmt.Sprintf("%s with %d login methods", a.ID, a.Users))
		}
		fmt.Fprintf(b, "  # There are the apps %s.\n", strings.Join(others, ", "))
	}
	line("app", "", app, app != "public" || len(in.Apps) > 1)
}

// Chosen is the installation and the app with the most login methods.
func (s *Source) Chosen() (in supertokens.Installation, app string) {
	in, app = supertokens.Installation{Schema: "public"}, "public"
	most := -1
	for _, f := range s.Found {
		for _, a := range f.Apps {
			if a.Users > most {
				most, in, app = a.Users, f, a.ID
			}
		}
	}
	return in, app
}

// tree is a mapping in the order of its fields.
type tree struct {
	names []string
	below map[string]*tree
	field *pluginapi.ConfigField
}

func (t *tree) at(name string) *tree {
	if t.below == nil {
		t.below = map[string]*tree{}
	}
	if t.below[name] == nil {
		t.names = append(t.names, name)
		t.below[name] = &tree{}
	}
	return t.below[name]
}

func (t *Target) write(b *bytes.Buffer) error {
	var proposed map[string]json.RawMessage
	if len(t.Proposed.Config) > 0 {
		if err := json.Unmarshal(t.Proposed.Config, &proposed); err != nil {
			return fmt.Errorf("what the plugin %s proposes is not a JSON object: %w", t.Plugin, err)
		}
	}
	root := &tree{}
	for i := range t.Fields {
		f := &t.Fields[i]
		if !t.applies(f) {
			continue
		}
		at := root
		for _, step := range strings.Split(f.Key, ".") {
			at = at.at(step)
		}
		at.field = f
	}
	b.WriteString("  config:\n")
	w := targetWriter{Target: t, b: b, proposed: proposed}
	return w.mapping(root, "    ", true)
}

// targetWriter writes target.config.
type targetWriter struct {
	*Target
	b        *bytes.Buffer
	proposed map[string]json.RawMessage
}

// mapping writes what is below a level. Where that is not in use, all of it is comments.
func (w *targetWriter) mapping(t *tree, indent string, used bool) error {
	for _, name := range t.names {
		sub := t.below[name]
		if sub.field == nil {
			below := w.uses(sub)
			w.line(indent, used && below, name+":")
			if err := w.mapping(sub, indent+"  ", used && below); err != nil {
				return err
			}
			continue
		}
		if err := w.field(sub.field, name, indent, used); err != nil {
			return err
		}
	}
	return nil
}

// uses says whether a field below has a value.
func (w *targetWriter) uses(t *tree) bool {
	if t.field != nil {
		_, used := w.value(t.field)
		return used
	}
	return slices.ContainsFunc(t.names, func(n string) bool { return w.uses(t.below[n]) })
}

// value is that of a field: an answer, or a reference where one is wanted; else one to
// show.
func (w *targetWriter) value(f *pluginapi.ConfigField) (text string, used bool) {
	if given, ok := w.Answers[f.Key]; ok {
		return scalar(given), true
	}
	wanted := f.Required || f.Title != ""
	switch {
	case wanted && (f.Secret || len(f.Default) == 0 && len(f.Example) == 0):
		return "${env:" + w.Variable(f.Key) + "}", true
	case f.Secret:
		return "${env:" + w.Variable(f.Key) + "}", false
	case len(f.Default) > 0:
		return string(f.Default), false
	case len(f.Example) > 0:
		return string(f.Example), f.Required
	}
	return "", false
}

func (w *targetWriter) field(f *pluginapi.ConfigField, name, indent string, used bool) error {
	about := modes.ReplaceAllString(f.Description, "")
	if raw, ok := w.proposed[f.Key]; ok && w.Answers[f.Key] == "" {
		w.comment(indent, about)
		return w.proposal(raw, name, indent, "/"+f.Key)
	}
	text, on := w.value(f)
	w.comment(indent, about)
	w.line(indent, used && on, strings.TrimRight(name+": "+text, " "))
	return nil
}

// proposal writes a value that the plugin proposes, with its comments.
func (w *targetWriter) proposal(raw json.RawMessage, name, indent, pointer string) error {
	var value any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return fmt.Errorf("what the plugin %s proposes for %s: %w", w.Plugin, pointer, err)
	}
	w.comment(indent, w.Proposed.Comments[pointer])
	w.tree(value, indent, name+":", indent+"  ", pointer)
	return nil
}

// tree writes a value behind a key or a dash; what is short stays on the line.
func (w *targetWriter) tree(value any, indent, begin, below, pointer string) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 || w.short(v, pointer) {
			break
		}
		if strings.HasSuffix(begin, ":") {
			w.line(indent, true, begin)
			begin, indent = "", below
		}
		for i, name := range keys(v) {
			at := pointer + "/" + escaped(name)
			if i == 0 && begin != "" { // an item of a list begins behind its dash
				w.tree(v[name], indent, begin+" "+scalar(name)+":", below+"  ", at)
				indent = below
				continue
			}
			w.comment(indent, w.Proposed.Comments[at])
			w.tree(v[name], indent, scalar(name)+":", indent+"  ", at)
		}
		return
	case []any:
		if len(v) == 0 || !slices.ContainsFunc(v, func(item any) bool { _, object := item.(map[string]any); return object }) {
			break
		}
		w.line(indent, true, begin)
		for i, item := range v {
			at := pointer + "/" + strconv.Itoa(i)
			w.comment(below, w.Proposed.Comments[at])
			w.tree(item, below, "-", below+"  ", at)
		}
		return
	}
	w.line(indent, true, begin+" "+flow(value))
}

// short says whether a mapping fits on a line: nothing in it has a comment or is one.
func (w *targetWriter) short(v map[string]any, pointer string) bool {
	for name, value := range v {
		switch value.(type) {
		case map[string]any, []any:
			return false
		}
		if w.Proposed.Comments[pointer+"/"+escaped(name)] != "" {
			return false
		}
	}
	return len(v) <= 2 && strings.Count(pointer, "/") > 3
}

// keys are in the order that a reader wants: what tells things apart comes first.
func keys(v map[string]any) []string {
	first := []string{"name", "per", "key", "account", "columns"}
	all := slices.Sorted(maps.Keys(v))
	slices.SortStableFunc(all, func(a, b string) int {
		rank := func(s string) int {
			if i := slices.Index(first, s); i >= 0 {
				return i
			}
			return len(first)
		}
		return rank(a) - rank(b)
	})
	return all
}

func escaped(step string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(step) }

// flow is a value on one line.
func flow(value any) string {
	switch v := value.(type) {
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, scalar(name)+": "+flow(v[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, item := range v {
			parts = append(parts, flow(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return inFlow(v)
	}
	raw, _ := json.Marshal(value) // decoded from JSON
	return string(raw)
}

// comment writes a text in lines of a readable length.
func (w *targetWriter) comment(indent, text string) {
	const width = 100
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+len(word) > width {
			fmt.Fprintf(w.b, "%s# %s\n", indent, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		fmt.Fprintf(w.b, "%s# %s\n", indent, line)
	}
}

func (w *targetWriter) line(indent string, used bool, text string) {
	if used {
		fmt.Fprintf(w.b, "%s%s\n", indent, text)
		return
	}
	fmt.Fprintf(w.b, "%s# %s\n", indent, text)
}

var (
	plainText = regexp.MustCompile(`^([A-Za-z_/$]|\.{1,2}/)[A-Za-z0-9_./@:+${}=' ~-]*$`)
	number    = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)
)

// scalar is a text as YAML has it: as it is where that means the same.
func scalar(text string) string {
	special := slices.Contains([]string{"null", "yes", "no", "on", "off", "~"}, strings.ToLower(text))
	plain := plainText.MatchString(text) && !strings.Contains(text, ": ") && !strings.HasSuffix(text, ":") && !special && !strings.HasSuffix(text, " ")
	if plain || number.MatchString(text) {
		return text
	}
	if json.Valid([]byte(text)) && strings.ContainsAny(text[:1], "[{") { // a list or a mapping
		return text
	}
	raw, _ := json.Marshal(text) // a text
	return string(raw)
}

// inFlow is a text between brackets, where more has a meaning.
func inFlow(text string) string {
	if plain := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`); plain.MatchString(text) {
		return scalar(text)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a text
	return strings.TrimSpace(b.String())
}

// ErrNoSettings is returned when nothing says where SuperTokens is.
var ErrNoSettings = errors.New("no settings of SuperTokens found here")

// Variables are those of the environment that a configuration refers to, comments left
// out.
func Variables(text []byte) (names []string) {
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, r := range config.References(line) {
			if r.Scheme == "env" && !slices.Contains(names, r.Name) {
				names = append(names, r.Name)
			}
		}
	}
	return names
}

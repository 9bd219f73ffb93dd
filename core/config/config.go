package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/policy"
)

// Config is one configuration file, checked and with references expanded. Paths
// in it are resolved against the folder of the file. Printing or encoding it
// shows no secret; fields that are plain strings, such as names and paths, show
// even where a reference supplied them.
type Config struct {
	Path   string `json:"path"` // as given to Load
	Source Source `json:"source"`
	Target Target `json:"target"`
	// Targets are there instead of Target where there are several.
	Targets Targets `json:"-"`
	// Journal is the folder of the journal; empty when it is in the database at JournalURL,
	// whose keys are made from JournalKey.
	Journal    string           `json:"journal,omitempty"`
	JournalURL canonical.Secret `json:"journal_url,omitzero"`
	JournalKey canonical.Secret `json:"journal_key,omitzero"`
	// Policies are the operator's decisions about accounts, without their Limits.
	Policies policy.Policies `json:"policies,omitzero"`
	// Limits stop a run that would do more than was expected of it.
	Limits policy.Limits `json:"limits,omitzero"`
	// Rejects is about the accounts that runs have rejected.
	Rejects Rejects `json:"rejects,omitzero"`
	// Mapping is the section of that name as JSON; core/mapping understands it.
	Mapping json.RawMessage `json:"mapping,omitempty"`
	// Bridge serves the cut-over.
	Bridge Bridge `json:"bridge,omitzero"`

	file *file
}

// Source says where SuperTokens is. Exactly one of URL and Dump is set. What is
// absent (nil or empty) is to be detected; an empty TablePrefix that was given
// means that tables have none.
type Source struct {
	URL               canonical.Secret  `json:"url,omitzero"`
	Dump              string            `json:"dump,omitempty"`
	Schema            string            `json:"schema,omitempty"`
	TablePrefix       *string           `json:"table_prefix,omitempty"`
	Tables            map[string]string `json:"tables,omitempty"` // usual name to actual name
	App               string            `json:"app,omitempty"`
	MigrationMode     string            `json:"migration_mode,omitempty"` // of a core from 12.0 on
	FirebaseSignerKey canonical.Secret  `json:"firebase_signer_key,omitzero"`
	// LeftUnderInternalID is "take" where what the core does not see any more is to be
	// taken all the same.
	LeftUnderInternalID string `json:"left_under_internal_id,omitempty"`
	// Charset is what texts in MySQL have wrongly come through.
	Charset string `json:"charset,omitempty"`
	// LockTables has tables of MySQL locked while several connections begin.
	LockTables bool `json:"lock_tables,omitempty"`
}

// Rejects says to whom the accounts in a list of rejects are encrypted.
type Rejects struct {
	// Recipients are age public keys.
	Recipients []string `json:"recipients,omitempty"`
}

// Target is the plugin and its own configuration, which only the plugin's schema
// understands: call Validate before anything else.
type Target struct {
	Plugin string
	// Path is the executable of the plugin, and Dir a folder to look for it in; both
	// empty when it lies beside this executable.
	Path, Dir string

	file   *file
	config *node // nil when the file was too broken to find it
	valid  bool  // a schema has found nothing wrong with it
	// base is where config stands in the file, for one of several targets; its nodes are
	// copies then, of those that written has.
	base    []string
	written []*node
}

// defaultJournal is where the journal goes when the file does not say, relative
// to the folder of the file.
const defaultJournal = ".stetl"

// JournalKeyVariable is where journal_key comes from when the file does not say.
const JournalKeyVariable = "STETL_JOURNAL_KEY"

var targetConfig = []string{"target", "config"}

// Load reads the file at path. It returns every problem it finds, sorted by
// position; only a list without errors makes the Config fit for use. The Config
// is never nil, so that Target.Validate can still add what a plugin's schema
// finds in a file that has other errors.
func Load(path string, env Env) (*Config, diag.List) {
	f := &file{path: path}
	cfg := &Config{Path: path, file: f, Target: Target{file: f}}
	text, err := env.readFile(path)
	switch {
	case err != nil:
		return cfg, diag.List{{
			Code:    diag.ConfigUnreadable,
			Summary: "the configuration file " + reason(err),
			Pos:     diag.Pos{File: path},
		}}
	case len(text) > maxBytes:
		return cfg, diag.List{{
			Code:    diag.ConfigTooLarge,
			Summary: "the configuration file is " + errTooLarge.Error(),
			Pos:     diag.Pos{File: path},
		}}
	}
	f.parse(text)
	if f.root == nil {
		return cfg, f.take()
	}
	dir := filepath.Dir(path)
	x := expander{file: f, env: env, dir: dir, seen: map[Reference]resolved{}}
	f.root.walk(x.expand)
	f.check()
	cfg.fill(dir)
	if key, ok := env.lookup(JournalKeyVariable); ok && cfg.JournalKey.IsZero() {
		cfg.JournalKey = canonical.NewSecret(key)
	}
	return cfg, f.take()
}

// check validates everything but the inside of target.config.
func (f *file) check() {
	schemas := []*jsonschema.Schema{ownSchema()}
	judge(f.root, schemas, false, false)
	for _, plugin := range append(configsOf(f.root.get(targetsSection)), f.root.get(targetConfig...)) {
		if plugin != nil {
			plugin.walk(func(n *node) { n.secret, n.hidden = false, !n.whole })
		}
	}
	url, bridgeURL, journal := f.root.get("source", "url"), f.root.get(bridgeSection, "database"), f.root.get("journal")
	if IsAddress(journal.str()) { // else it is a folder, and no secret
		journal.secret, journal.hidden = true, !journal.whole
	}
	f.checkSecrets(f.root, func(n *node) bool {
		if n == url || n == bridgeURL || n == journal {
			return !clearPassword(n.text)
		}
		return len(n.refs) > 0
	})
	validation{file: f, root: f.root, schema: ownSchema()}.run(f.root.decoded(func(n *node) (any, bool) {
		return n.val, !n.declared || !n.absent() // "app:" says as much as no app at all
	}))

	f.checkBridge()
	checkTargets(f)
	source := f.root.get("source")
	if source == nil || source.kind != object {
		return
	}
	dump := source.get("dump")
	switch {
	case url.absent() && dump.absent():
		f.add(diag.Diagnostic{
			Code:    diag.ConfigMissingField,
			Summary: `source needs "url" or "dump"`,
			Path:    "/source",
		}, source.anchor())
	case !url.absent() && !dump.absent():
		later := dump
		if url.key.line > dump.key.line {
			later = url
		}
		f.add(diag.Diagnostic{
			Code:    diag.ConfigConflict,
			Summary: "source has both url and dump",
			Path:    diag.Pointer(later.path...),
			Hint:    "keep one of them",
		}, later.key)
	}
}

// databaseAddress is an address of a database: a URL, also behind a word such as jdbc or
// psql, or keywords and values.
var databaseAddress = regexp.MustCompile(`(?i)://|\b(?:host|hostaddr|port|dbname|database|user|username|user id|password|pwd|service|passfile|server)\s*=`)

// IsAddress says whether the place of a journal is an address of a database, and not the
// name of a folder, which would have the password in it.
func IsAddress(place string) bool { return databaseAddress.MatchString(place) }

// fill copies the checked tree into the fields of c.
func (c *Config) fill(dir string) {
	path := func(n *node) string {
		if n.str() == "" {
			return ""
		}
		return within(dir, n.str())
	}
	root := c.file.root
	source := root.get("source")
	c.Source = Source{
		URL:               canonical.NewSecret(source.get("url").str()),
		Dump:              path(source.get("dump")),
		Schema:            source.get("schema").str(),
		App:               source.get("app").str(),
		MigrationMode:     source.get("migration_mode").str(),
		FirebaseSignerKey: canonical.NewSecret(source.get("firebase_signer_key").str()),

		LeftUnderInternalID: source.get("left_under_internal_id").str(),
		Charset:             source.get("charset").str(),
		LockTables:          source.get("lock_tables").isTrue(),
	}
	if prefix := source.get("table_prefix"); !prefix.absent() {
		c.Source.TablePrefix = new(prefix.str())
	}
	if tables := source.get("tables"); tables != nil && len(tables.names) > 0 {
		c.Source.Tables = make(map[string]string, len(tables.names))
		for _, name := range tables.names {
			c.Source.Tables[name] = tables.fields[name].str()
		}
	}
	for name, into := range map[string]any{"policies": &c.Policies, "limits": &c.Limits, "rejects": &c.Rejects, bridgeSection: &c.Bridge} {
		if section := root.get(name); section != nil && section.kind == object {
			raw := mustJSON(section.decoded(func(n *node) (any, bool) { return n.val, !n.absent() }))
			// An error has been reported by the schema, more helpfully.
			_ = json.Unmarshal(raw, into)
		}
	}
	if section := root.get("mapping"); section != nil && section.kind == object {
		c.Mapping = mustJSON(section.decoded(func(n *node) (any, bool) { return n.val, true })) // a null removes a field
	}
	if section := root.get(bridgeSection); section != nil && section.kind == object {
		c.Bridge = c.Bridge.withDefaults()
		c.Bridge.Set = true
		c.Bridge.TLS.Certificate, c.Bridge.TLS.Key = path(section.get("tls", "certificate")), path(section.get("tls", "key"))
		c.Bridge.Pages.Templates = path(section.get("pages", "templates"))
	}
	switch place := root.get("journal").str(); {
	case place == "":
		c.Journal = filepath.Join(dir, defaultJournal)
	case IsAddress(place):
		c.JournalURL = canonical.NewSecret(place)
	default:
		c.Journal = within(dir, place)
	}
	c.JournalKey = canonical.NewSecret(root.get("journal_key").str())

	c.Target.Plugin = root.get("target", "plugin").str()
	c.Target.Path, c.Target.Dir = path(root.get("target", "path")), path(root.get("target", "plugin_dir"))
	c.Target.config = root.get(targetConfig...)
	if plugin := root.get("target", "plugin"); plugin != nil && c.Target.config.absent() {
		c.Target.config = newObject(targetConfig, plugin.at)
	}
	c.Targets = readTargets(c.file, dir)
}

// NeedTarget reports that there is no target, for commands that are about one.
func (c *Config) NeedTarget() diag.List {
	if c.file.root == nil || c.file.root.get("target") != nil || c.Target.base != nil {
		return nil
	}
	c.file.add(diag.Diagnostic{
		Code:    diag.ConfigMissingField,
		Summary: `the configuration needs "target"`,
		Path:    "/target",
		Hint:    "inspect and export need no target, but a run does",
	}, c.file.root.anchor())
	return c.file.take()
}

// CheckTables reports the names under source.tables that are not in renamable.
func (c *Config) CheckTables(renamable []string) diag.List {
	if c.file.root == nil {
		return nil
	}
	tables := c.file.root.get("source", "tables")
	if tables == nil {
		return nil
	}
	for _, name := range tables.names {
		if slices.Contains(renamable, name) {
			continue
		}
		d := diag.Diagnostic{
			Code:    diag.ConfigUnknownTable,
			Summary: fmt.Sprintf("%q is not a table that SuperTokens allows to be renamed", name),
			Path:    diag.Pointer(tables.fields[name].path...),
			Detail:  "renamable: " + strings.Join(slices.Sorted(slices.Values(renamable)), ", "),
		}
		if meant := diag.Suggest(name, renamable); meant != "" {
			d.Hint, d.Detail = fmt.Sprintf("did you mean %q?", meant), ""
		}
		c.file.add(d, tables.fields[name].key)
	}
	return c.file.take()
}

// Locate returns a copy of list in which every diagnostic with a Path, a JSON
// pointer into this file, has the position and the excerpt of that value, or of
// the nearest one around it. A diagnostic that has a line and a column but no file
// is about that place inside the value's text. It is for problems found later: a dump that does
// not open, a database that does not answer.
func (c *Config) Locate(list diag.List) diag.List {
	return c.file.locate(c.file.root, nil, list)
}

// minMasked is the length from which a secret is looked for in texts.
const minMasked = 4

// Locate is [Config.Locate] for diagnostics of the plugin, whose paths start at
// target.config. It also masks secrets of this configuration that the plugin
// repeats in its texts.
func (t *Target) Locate(list diag.List) diag.List {
	if t.config == nil {
		return slices.Clone(list)
	}
	located := t.locate(list)
	var secrets []string
	t.config.walk(func(n *node) {
		// A shorter text is no secret, and masking it would spoil every word.
		if s := n.str(); n.secret && len(s) >= minMasked {
			secrets = append(secrets, s)
		}
	})
	// Longest first: a secret that starts another one must not leave its rest.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, canonical.Redacted)
	}
	mask := strings.NewReplacer(pairs...)
	for i, d := range located {
		located[i].Summary, located[i].Detail, located[i].Hint = mask.Replace(d.Summary), mask.Replace(d.Detail), mask.Replace(d.Hint)
	}
	return located
}

// locate gives diagnostics their place in the file.
func (t *Target) locate(list diag.List) diag.List {
	if t.base == nil {
		return t.file.locate(t.file.root, targetConfig, list)
	}
	// The nodes of one of several targets stand where they were written, which is not
	// always at their path.
	top := t.config
	for i := len(t.base) - 1; i >= 0; i-- {
		above := newObject(t.base[:i], t.config.at)
		above.fields[t.base[i]] = top
		top = above
	}
	return t.file.locate(top, t.base, list)
}

// Validate checks the plugin's configuration against the JSON Schema the plugin
// declares. Every leaf error gets its place in the file; a field marked
// "writeOnly": true is a secret, which must not stand in the file as clear text.
//
// It also decides the types: the text of a whole-scalar reference becomes a
// number or a boolean where the schema wants one and does not allow a string.
// Validate changes what the other methods return; it is not safe for concurrent
// use with them.
func (t *Target) Validate(schema []byte) diag.List {
	if t.config == nil || t.config.kind != object {
		return nil // Load has said why
	}
	s, err := compile(schema)
	if err != nil {
		plugin := t.file.root.nearest(append(slices.Clip(t.place()[:len(t.place())-1]), "plugin"))
		t.file.add(diag.Diagnostic{
			Code:    diag.ConfigPluginSchema,
			Summary: "the configuration schema that this plugin declares cannot be used",
			Detail:  err.Error(),
			Path:    diag.Pointer(plugin.path...),
			Hint:    "report it to the author of the plugin",
		}, plugin.anchor())
		return t.file.take()
	}
	for _, n := range append(t.written, t.config) {
		judge(n, []*jsonschema.Schema{s}, false, false)
	}
	t.file.checkSecrets(t.config, func(n *node) bool { return len(n.refs) > 0 })
	validation{file: t.file, root: t.config, schema: s}.run(t.clear())
	found := t.file.take()
	t.valid = !found.HasErrors()
	return found
}

// place is where the configuration of the plugin stands in the file.
func (t *Target) place() []string {
	if t.base == nil {
		return targetConfig
	}
	return t.base
}

// PluginPath is the place of the plugin's name in the file, as a JSON pointer.
func (t *Target) PluginPath() string {
	place := t.place()
	return diag.Pointer(append(slices.Clip(place[:len(place)-1]), "plugin")...)
}

// clear returns the decoded configuration with secrets in it.
func (t *Target) clear() any {
	return t.config.decoded(func(n *node) (any, bool) { return n.val, true })
}

// RevealJSON returns the plugin's configuration as JSON with secrets in clear
// text. It is for the message to the plugin's process and for nothing else.
func (t *Target) RevealJSON() []byte {
	if t.config == nil {
		return []byte("{}")
	}
	return mustJSON(t.clear())
}

// PlainJSON returns the plugin's configuration without its secrets. Which ones are
// secrets is known after Validate. Inside a list null keeps the place of a secret.
func (t *Target) PlainJSON() []byte {
	if t.config == nil {
		return []byte("{}")
	}
	return mustJSON(t.config.decoded(func(n *node) (any, bool) { return n.val, !n.secret || n.val == nil }))
}

// MarshalJSON shows the plugin and its configuration. What is a secret is masked, and of
// an address only scheme, host and path are shown. Once Validate has found nothing wrong,
// it does not matter where a value came from: a name is no secret because it stands in
// the environment. Before, every reference is masked, as it can be in the wrong field.
func (t Target) MarshalJSON() ([]byte, error) {
	shown := struct {
		Plugin string `json:"plugin"`
		Config any    `json:"config,omitempty"`
	}{Plugin: t.Plugin}
	if t.config != nil {
		shown.Config = t.config.decoded(func(n *node) (any, bool) { return n.shown(t.valid), true })
	}
	return json.Marshal(shown)
}

// mustJSON encodes what node.decoded returns, which is JSON by construction.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("core/config: decoded tree is not JSON: " + err.Error())
	}
	return b
}

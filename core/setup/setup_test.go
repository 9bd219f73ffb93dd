package setup_test

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/setup"
	"github.com/stetl/stetl/core/supertokens"
)

// acme has a field of each kind.
func acme() setup.Target {
	return setup.Target{Plugin: "generic-acme", Answers: map[string]string{}, Fields: []pluginapi.ConfigField{
		{Key: "mode", Description: "live or files", Default: json.RawMessage(`"live"`)},
		{Key: "url", Description: "live: base URL", Required: true},
		{Key: "auth.token", Description: "live: the token", Secret: true, Title: "Token"},
		{Key: "auth.type", Description: "how to sign in", Default: json.RawMessage(`"bearer"`)},
		{Key: "out", Description: "files: folder to write", Title: "Folder", Example: json.RawMessage(`"./out"`)},
		{Key: "parallel", Description: "requests at the same time", Default: json.RawMessage(`8`)},
		{Key: "tls.ca_file", Description: "authorities"},
		{Key: "rules", Description: "what goes where"},
	}}
}

func write(t *testing.T, d setup.Draft) string {
	t.Helper()
	text, err := d.Write()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is the part of a configuration below a heading.
func section(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

// problems are what the configuration is refused for.
func problems(text string) []string {
	_, found := config.Load("stetl.yaml", config.Env{
		Lookup: func(string) (string, bool) { return "https://example.com/value", true },
		ReadFile: func(name string) ([]byte, error) {
			if filepath.Base(name) != "stetl.yaml" {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
	})
	var out []string
	for _, d := range found {
		out = append(out, string(d.Code)+" "+d.Path)
	}
	return out
}

func TestWriteTarget(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set  []string
		want string
	}{
		"without answers": {nil, `
  plugin: generic-acme
  config:
    # live or files
    # mode: "live"
    # base URL
    url: ${env:ACME_URL}
    auth:
      # the token
      token: ${env:ACME_AUTH_TOKEN}
      # how to sign in
      # type: "bearer"
    # requests at the same time
    # parallel: 8
    # tls:
      # authorities
      # ca_file:
    # what goes where
    # rules:
`},
		"another mode": {[]string{"mode=files", "parallel=2", `rules=[a, "b"]`}, `
  plugin: generic-acme
  config:
    # live or files
    mode: files
    # auth:
      # how to sign in
      # type: "bearer"
    # folder to write
    # out: "./out"
    # requests at the same time
    parallel: 2
    # tls:
      # authorities
      # ca_file:
    # what goes where
    rules: "[a, \"b\"]"
`},
	} {
		target := acme()
		for _, s := range tt.set {
			if err := target.Set(s); err != nil {
				t.Fatal(err)
			}
		}
		text := write(t, setup.Draft{From: "x", Source: setup.Source{Dump: "x.sql"}, Target: target})
		if d := cmp.Diff(tt.want, section(text, "target:", "\n\n# What")+"\n"); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Every text that a person can give comes back as it was, whatever it means in YAML.
func TestScalarsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"plain", "no", "null", "~", "on", "a: b", "a #b", "#", "- x", "{a}", "[x", "'", `"`, `\`, "ends ", " begins", "äöü", "@x", "%", "&a", "*a", "!t", "1.2.3", "a:", "0x1f", "1e3", "01", "=", "", "true", "12",
		"${file:a b}", "a\tb", "a\nb", "2024-01-01", ".5", ".inf", ".nan", "./out", "../x", "..", ".hidden", "?", "|", ">", "`", ":a", "-",
	} {
		target := setup.Target{Plugin: "acme", Fields: []pluginapi.ConfigField{{Key: "text"}}, Answers: map[string]string{}}
		if err := target.Set("text=" + text); err != nil {
			t.Fatal(err)
		}
		written := write(t, setup.Draft{Source: setup.Source{Dump: "x.sql"}, Target: target})
		cfg, found := config.Load("stetl.yaml", config.Env{ReadFile: func(name string) ([]byte, error) {
			if name == "stetl.yaml" {
				return []byte(written), nil
			}
			return []byte("of a file"), nil
		}})
		if found.HasErrors() {
			t.Errorf("%q: %v in\n%s", text, found, written)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(cfg.Target.RevealJSON(), &got); err != nil {
			t.Fatal(err)
		}
		want := any(text)
		switch text {
		case "${file:a b}":
			want = "of a file"
		case "true": // what a field with a flag or a number needs
			want = true
		case "12":
			want = 12.0
		}
		if d := cmp.Diff(want, got["text"]); d != "" {
			t.Errorf("%q (-want +got):\n%s", text, d)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	target := acme()
	for answer, want := range map[string]string{
		"url":                    "not KEY=VALUE",
		"nothing=1":              "no field nothing; it has mode, url",
		"auth.token=hunter2":     "${env:ACME_AUTH_TOKEN}",
		"auth.token=a${env:X}":   "must not be written",
		"auth.token=$${env:X}":   "must not be written",
		"auth.token=${vault:X}":  "must not be written",
		"auth.token=${env:}":     "must not be written",
		"auth.token=${env:X}${}": "must not be written",
	} {
		err := target.Set(answer)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", answer, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the secret: %v", answer, err)
		}
	}
	if len(target.Answers) != 0 {
		t.Errorf("refused answers were kept: %v", target.Answers)
	}
	for _, answer := range []string{"auth.token=${env:X}", "auth.token=${file:/run/a b}", "url=a=b"} {
		if err := target.Set(answer); err != nil {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if target.Answers["url"] != "a=b" {
		t.Errorf("%v", target.Answers)
	}
}

// Who is asked for what depends on the mode.
func TestWanted(t *testing.T) {
	t.Parallel()
	target := acme()
	keys := func() (out []string) {
		for _, f := range target.Wanted() {
			out = append(out, f.Key)
		}
		return out
	}
	if d := cmp.Diff([]string{"url", "auth.token"}, keys()); d != "" {
		t.Error(d)
	}
	target.Answers["mode"] = "files"
	if d := cmp.Diff([]string{"out"}, keys()); d != "" {
		t.Error(d)
	}
}

func TestWriteProposal(t *testing.T) {
	t.Parallel()
	target := setup.Target{Plugin: "sql", Answers: map[string]string{"parallel": "2"}, Fields: []pluginapi.ConfigField{
		{Key: "tables", Description: "tables to write"}, {Key: "parallel"}, {Key: "hashes"}, {Key: "unique", Description: "identifiers"},
	}}
	target.Proposed = pluginapi.Proposal{
		Config: json.RawMessage(`{"parallel": 9, "hashes": [], "unique": ["email", "no"], "tables": [
			{"columns": {"id": {"field": "id"}, "a/b": {"cel": "x == ''", "once": true}}, "key": ["id"], "name": "people"}, {"name": "roles", "columns": {}}]}`),
		Comments: map[string]string{"/tables/0": "The people.", "/tables/0/columns/a~1b": "A moment.", "/hashes": "None yet.", "/tables": "Two were found."},
	}
	want := `
  plugin: sql
  config:
    # tables to write
    # Two were found.
    tables:
      # The people.
      - name: people
        key: [id]
        columns:
          # A moment.
          a/b: {cel: "x == ''", once: true}
          id: {field: id}
      - name: roles
        columns: {}
    parallel: 2
    # None yet.
    hashes: []
    # identifiers
    unique: [email, "no"]
`
	text := write(t, setup.Draft{Source: setup.Source{Dump: "x.sql"}, Target: target})
	if d := cmp.Diff(want, section(text, "target:", "\n\n# What")+"\n"); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if found := problems(text); len(found) > 0 {
		t.Errorf("%v in\n%s", found, text)
	}
	target.Proposed.Config = json.RawMessage(`[]`)
	d := setup.Draft{Target: target}
	if _, err := d.Write(); err == nil || !strings.Contains(err.Error(), "not a JSON object") {
		t.Errorf("a proposal that is a list: %v", err)
	}
}

func TestWriteSource(t *testing.T) {
	t.Parallel()
	one := supertokens.Installation{Schema: "login", TablePrefix: "st", Apps: []supertokens.App{{ID: "public", Users: 3}, {ID: "shop", Users: 5}}}
	two := supertokens.Installation{Schema: "old", Generation: "G2", Apps: []supertokens.App{{ID: "public", Users: 2}}}
	for name, tt := range map[string]struct {
		source setup.Source
		want   string
	}{
		"a dump in which nobody has looked": {setup.Source{Dump: "a b.sql"}, `
  dump: a b.sql
  # These were detected.
  # schema: public
  # table_prefix: ""
  # app: public
`},
		"one installation with two apps": {setup.Source{Dump: "x.sql", Found: []supertokens.Installation{one}}, `
  dump: x.sql
  # These were detected.
  # schema: login
  # table_prefix: st
  # There are the apps public with 3 login methods, shop with 5 login methods.
  app: shop
`},
		"two installations": {setup.Source{Dump: "x.sql", Found: []supertokens.Installation{two, one}}, `
  dump: x.sql
  # Several installations were found; the largest one is chosen.
  #   schema old, prefix "", generation G2, app public: 2 login methods
  #   schema login, prefix "st", generation , app public: 3 login methods
  #   schema login, prefix "st", generation , app shop: 5 login methods
  schema: login
  table_prefix: st
  app: shop
`},
		"a core": {setup.Source{Deployed: &supertokens.Deployed{
			Database: "supertokens on db", URL: "${env:POSTGRESQL_CONNECTION_URI}", Schema: "auth", Tables: map[string]string{"users": "u", "roles": "no"},
			MigrationMode: "MIGRATED", FirebaseKey: "KEY",
		}}, `
  # The database supertokens on db.
  url: ${env:POSTGRESQL_CONNECTION_URI}
  # These were detected.
  schema: auth
  # table_prefix: ""
  # app: public
  # Tables that were renamed one by one.
  tables:
    roles: "no"
    users: u
  migration_mode: MIGRATED
  # For passwords that were imported from Firebase.
  firebase_signer_key: ${env:KEY}
`},
	} {
		text := write(t, setup.Draft{From: "here", Source: tt.source, Target: setup.Target{Plugin: "keycloak"}})
		if d := cmp.Diff(tt.want, section(text, "source:", "\ntarget:")); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// What stands there as a comment is good when the comment sign is taken away.
func TestCommentedSectionsAreGood(t *testing.T) {
	t.Parallel()
	text := write(t, setup.Draft{Source: setup.Source{Dump: "x.sql"}, Target: setup.Target{Plugin: "acme"}})
	head, tail, found := strings.Cut(text, "\n# What was sent")
	if !found {
		t.Fatalf("no sections in\n%s", text)
	}
	var b strings.Builder
	sections := 0
	for line := range strings.Lines("# What was sent" + tail) {
		bare := strings.TrimPrefix(line, "# ")
		if strings.HasPrefix(bare, "journal:") || strings.HasPrefix(bare, "policies:") || strings.HasPrefix(bare, "limits:") {
			sections++
		} else if !strings.HasPrefix(bare, "  ") {
			continue
		}
		b.WriteString(bare)
	}
	if got := problems(head + "\n" + b.String()); len(got) > 0 || sections != 3 {
		t.Errorf("%d sections, %v in\n%s", sections, got, b.String())
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	got := setup.Variables([]byte("a: ${env:ONE}:${env:TWO}\n# ${env:COMMENT}\nb: ${file:x} ${env:ONE}\n  # x ${env:C}\nc: $${env:LITERAL}\n"))
	if d := cmp.Diff([]string{"ONE", "TWO"}, got); d != "" {
		t.Error(d)
	}
}

func TestChosen(t *testing.T) {
	t.Parallel()
	var none setup.Source
	if in, app := none.Chosen(); in.Schema != "public" || app != "public" {
		t.Errorf("nothing was found: %+v, %s", in, app)
	}
	if got := (&setup.Target{Plugin: "generic-acme"}).Variable("a-b.c"); got != "ACME_A_B_C" {
		t.Errorf("the variable is called %s", got)
	}
}

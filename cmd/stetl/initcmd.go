package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/setup"
	"github.com/stetl/stetl/core/supertokens"
)

// initFlags are those of init.
type initFlags struct {
	from, dump, target, out string
	set                     []string
	force                   bool
}

func initCommand(a *app) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration, from the settings of the SuperTokens core",
		Long: `init writes a configuration with comments. It reads the address of SuperTokens'
database from a docker-compose file, a file of variables, or the config.yaml of the
core. Without --from it looks for such a file in this folder, and for the variables in
the environment. It finds the installation in the database. Then the plugin of the
target proposes its part: on a terminal init asks for values, else --set gives them.
For your own tables, generic-sql reads the tables and proposes a mapping.

It writes no secret, only references to secrets. At the end it checks both sides, as
stetl check does, and says what is left to do. It writes one file and nothing else.`,
		Example: `  stetl init --from docker-compose.yml --target keycloak --out keycloak.yaml
  stetl init --dump supertokens.sql --target keycloak --set mode=files \
    --set realm=customers --set out=./import --out files.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInit(cmd.Context(), a, f) },
	}
	a.jsonFlag(c)
	c.Flags().StringVar(&f.from, "from", "", "docker-compose `FILE`, file of variables, or config.yaml of the core")
	c.Flags().StringVar(&f.dump, "dump", "", "read the source from this `FILE` of pg_dump or mysqldump instead")
	c.Flags().StringVar(&f.target, "target", "", "`PLUGIN` of the target: its name, or its executable")
	c.Flags().StringVar(&f.out, "out", configName, "`FILE` to write")
	c.Flags().StringArrayVar(&f.set, "set", nil, "value for the configuration of the target, `KEY=VALUE`; may be repeated")
	c.Flags().BoolVar(&f.force, "force", false, "replace an existing file")
	_ = c.RegisterFlagCompletionFunc("target", completePlugins) // the flag exists
	c.MarkFlagsMutuallyExclusive("from", "dump")
	return c
}

// deploymentNames are the files that init looks for.
var deploymentNames = []string{"docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml", ".env", "config.yaml"}

// initialised is what init says at the end.
type initialised struct {
	File   string   `json:"file"`
	Source string   `json:"source"`
	Target string   `json:"target"`
	Ready  bool     `json:"ready"`
	Left   []string `json:"left_to_do"`
}

func runInit(ctx context.Context, a *app, f initFlags) error {
	if _, err := os.Stat(f.out); err == nil && !f.force {
		return usageError(fmt.Errorf("%s exists: --force replaces it, --out writes another file", f.out))
	}
	in := &initialising{app: a, flags: f, answers: bufio.NewReader(a.in), secrets: map[string]string{}}
	if err := in.source(ctx); err != nil {
		return err
	}
	if err := in.target(ctx); err != nil {
		return err
	}
	text, err := in.draft.Write()
	if err != nil {
		return err
	}
	err = replaceFile(f.out, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	in.examine(ctx)
	return in.tell()
}

// initialising is one init. Its methods are the steps, in their order.
type initialising struct {
	*app
	flags   initFlags
	answers *bufio.Reader
	draft   setup.Draft
	// secrets are values by the variable that the configuration refers to, from where
	// they were found: for looking, not for writing.
	secrets map[string]string
	left    []string
}

func (in *initialising) leave(format string, args ...any) {
	in.left = append(in.left, fmt.Sprintf(format, args...))
}

// source finds out where SuperTokens is, and looks there.
func (in *initialising) source(ctx context.Context) error {
	d := &in.draft
	if in.flags.dump != "" {
		relative, err := relativeTo(in.flags.out, in.flags.dump)
		if err != nil {
			return err
		}
		d.From, d.Source.Dump = filepath.Base(in.flags.dump), relative
	} else {
		found, err := in.deployment()
		if err != nil {
			return err
		}
		published := func(host, port string) (string, bool) {
			at, ok := found.Published[host+":"+port]
			return at, ok
		}
		if d.Source.Deployed = supertokens.FromSettings(found.Settings, published); d.Source.Deployed == nil {
			return usageError(fmt.Errorf("%s has no database setting of a SuperTokens core, such as POSTGRESQL_CONNECTION_URI", found.Path))
		}
		d.From = found.Path
		if found.Service != "" {
			d.From += ", service " + found.Service
		}
		maps.Copy(in.secrets, d.Source.Deployed.Secrets)
		if text := d.Source.Deployed.Left; text != "" {
			in.leave("%s", text)
		}
	}
	list, err := in.installations(ctx)
	if err != nil {
		in.leave("have the source readable: %s", firstLine(err))
		return nil
	}
	d.Source.Found = list
	return nil
}

// deployment reads the file that says how the core is deployed.
func (in *initialising) deployment() (*config.Deployment, error) {
	if in.flags.from != "" {
		found, err := config.ReadDeployment(in.flags.from, config.Env{}, supertokens.IsSetting)
		if err != nil {
			return nil, usageError(err)
		}
		return found, nil
	}
	environment := &config.Deployment{Path: "the environment", Settings: map[string]string{}}
	for _, entry := range os.Environ() {
		if name, value, ok := strings.Cut(entry, "="); ok && supertokens.IsSetting(name) {
			environment.Settings[name] = value
		}
	}
	if len(environment.Settings) > 0 {
		return environment, nil
	}
	for _, name := range deploymentNames {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		if found, err := config.ReadDeployment(name, config.Env{}, supertokens.IsSetting); err == nil && slices.ContainsFunc(slices.Collect(maps.Keys(found.Settings)), supertokens.IsSetting) {
			return found, nil
		}
	}
	return nil, usageError(fmt.Errorf("%w: name the docker-compose file, the file of variables or the config.yaml of the core with --from, or a dump with --dump", setup.ErrNoSettings))
}

// lookTime is how long init waits for a database.
const lookTime = 20 * time.Second

// load reads the draft as the configuration that it is going to be, with the secrets that
// are known.
func (in *initialising) load(text []byte) *migration.Config {
	path := in.flags.out
	return migration.Load(path, config.Env{
		Lookup: func(name string) (string, bool) {
			if v, ok := os.LookupEnv(name); ok {
				return v, true
			}
			v, ok := in.secrets[name]
			return v, ok
		},
		ReadFile: func(name string) ([]byte, error) {
			if name == path {
				return text, nil
			}
			return os.ReadFile(name)
		},
	})
}

// installations looks into the source.
func (in *initialising) installations(ctx context.Context) ([]supertokens.Installation, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	draft := setup.Draft{Source: in.draft.Source, Target: setup.Target{Plugin: "none"}}
	text, err := draft.Write()
	if err != nil {
		return nil, err
	}
	found, err := migration.Installations(ctx, in.load(text))
	if err != nil {
		return nil, err
	}
	return found.Installations, nil
}

// target asks what the plugin of the target has to be told.
func (in *initialising) target(ctx context.Context) error {
	what := in.flags.target
	if what == "" && atTerminal(in.in) {
		var err error
		if what, err = in.ask(ctx, "Where do the users go? One of "+strings.Join(bundledNames(), ", ")+", or the executable of your own plugin.", ""); err != nil {
			return err
		}
	}
	if what == "" {
		return usageError(fmt.Errorf("--target PLUGIN is missing: use one of %s, or the executable of your own plugin", strings.Join(bundledNames(), ", ")))
	}
	loc, o, err := locatePlugin(in.app, what)
	if err != nil {
		return err
	}
	client, err := plugin.Launch(ctx, loc, o)
	if err != nil {
		return refusedError(err)
	}
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }() // it has written nothing
	t := &in.draft.Target
	*t = setup.Target{Plugin: client.Info().Name, Fields: client.Info().ConfigFields, Answers: map[string]string{}}
	if !loc.Bundled && loc.Path != "" {
		if t.Path, err = relativeTo(in.flags.out, loc.Path); err != nil {
			return err
		}
	}
	for _, answer := range in.flags.set {
		if err := t.Set(answer); err != nil {
			return usageError(err)
		}
	}
	if err := in.questions(ctx); err != nil {
		return err
	}
	return in.proposal(ctx, client)
}

// questions asks for what the plugin wants to know, where somebody can answer.
func (in *initialising) questions(ctx context.Context) error {
	t := &in.draft.Target
	if !atTerminal(in.in) {
		return nil
	}
	for _, f := range t.Wanted() {
		if _, answered := t.Answers[f.Key]; answered || f.Secret {
			continue
		}
		usual := ""
		if shown := cmp.Or(string(f.Default), string(f.Example)); shown != "" && json.Unmarshal([]byte(shown), &usual) != nil {
			continue // a list or a number: it is in the file, with what holds
		}
		reference := "${env:" + t.Variable(f.Key) + "}" // stands in the file where there is no answer
		said, err := in.ask(ctx, cmp.Or(f.Title, f.Key)+": "+f.Description, cmp.Or(usual, reference))
		if err != nil {
			return err
		}
		if said != reference {
			t.Answers[f.Key] = said
		}
	}
	return nil
}

// ask reads one line of an answer. What is usual is the answer of an empty line.
func (in *initialising) ask(ctx context.Context, question, usual string) (string, error) {
	if width := widthOf(in.err); width > 0 {
		question = report.Fill(question, width)
	}
	if usual != "" {
		usual = strings.TrimSpace(usual)
		question += "\n  [" + usual + "]"
	}
	fmt.Fprint(in.err, question, "\n  > ")
	said := make(chan string, 1)
	go func() { // it ends with the process, if nobody ever answers
		line, _ := in.answers.ReadString('\n')
		said <- strings.TrimSpace(line)
	}()
	select {
	case line := <-said:
		return cmp.Or(line, usual), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// proposal has the plugin look at the target, where it can propose more.
func (in *initialising) proposal(ctx context.Context, client *plugin.Client) error {
	known, err := in.known()
	if err != nil {
		return err
	}
	p, found, err := plugin.Propose(ctx, client, known)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return refusedError(err)
	}
	in.draft.Target.Proposed = p
	for _, d := range found {
		in.leave("%s", strings.TrimSuffix(diag.Printable(d.Summary)+": "+diag.Printable(d.Hint), ": "))
	}
	return nil
}

// known is what is known of the plugin's configuration so far, references resolved as far
// as they can be.
func (in *initialising) known() ([]byte, error) {
	text, err := in.draft.Write()
	if err != nil {
		return nil, err
	}
	return in.load(text).Target.RevealJSON(), nil
}

// examine does what check does with the file, and notes what is left to do.
func (in *initialising) examine(ctx context.Context) {
	text, err := os.ReadFile(in.flags.out)
	if err != nil {
		in.leave("%s", firstLine(err))
		return
	}
	missing := map[string]bool{}
	for _, name := range setup.Variables(text) {
		if _, ok := os.LookupEnv(name); ok {
			continue
		}
		missing[name] = true
		switch _, known := in.secrets[name]; {
		case known && in.draft.Source.Deployed.Left == "":
			in.leave("export %s=…   as %s has it", name, in.draft.From)
		default:
			in.leave("export %s=…", name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := *in.app
	a.configPath, a.err = in.flags.out, io.Discard
	m, err := openConfig(ctx, &a, in.load(text), migration.Options{ReadOnly: true}, newStatus(io.Discard, true))
	if err == nil {
		defer func() { _ = m.Close(context.WithoutCancel(ctx)) }() // it has only read
		checked, checkErr := m.Check(ctx)
		if err = checkErr; err == nil {
			err = checked.Found.Err()
		}
	}
	if list, ok := errors.AsType[*diag.ListError](err); ok {
		for _, d := range list.List {
			if d.Severity != diag.Error || d.Code == diag.ConfigUnresolvedReference {
				continue
			}
			in.leave("%s", strings.TrimSuffix(diag.Printable(d.Summary)+": "+diag.Printable(d.Hint), ": "))
		}
		return
	}
	if err != nil {
		in.leave("%s", firstLine(err))
	}
}

// tell says what was written, and what is left to do.
func (in *initialising) tell() error {
	d := &in.draft
	done := initialised{File: in.flags.out, Source: d.From, Target: d.Target.Plugin, Ready: len(in.left) == 0, Left: in.left}
	if in.asJSON {
		if done.Left == nil {
			done.Left = []string{}
		}
		return report.WriteJSON(in.out, done)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "wrote %s\n", in.flags.out)
	chosen, app := d.Source.Chosen()
	if len(d.Source.Found) > 0 {
		fmt.Fprintf(&b, "  source: %s; SuperTokens %s, schema %s, app %s\n", d.From, chosen.Generation, chosen.Schema, app)
	} else {
		fmt.Fprintf(&b, "  source: %s\n", d.From)
	}
	fmt.Fprintf(&b, "  target: %s\n", d.Target.Plugin)
	config := ""
	if in.flags.out != configName {
		config = " -c " + in.flags.out
	}
	if len(in.left) == 0 {
		fmt.Fprintf(&b, "stetl check accepts it. Next: stetl run --dry-run%s\n", config)
	} else {
		b.WriteString("Left to do:\n")
		for i, text := range in.left {
			fmt.Fprintf(&b, "  %d. %s\n", i+1, text)
		}
		fmt.Fprintf(&b, "Then: stetl check%s\n", config)
	}
	_, err := in.out.Write(b.Bytes())
	return err
}

// relativeTo is a path as a configuration names it.
func relativeTo(config, path string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(config))
	if err != nil {
		return "", err
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if relative, err := filepath.Rel(dir, absolute); err == nil && !strings.HasPrefix(relative, filepath.Join("..", "..", "..")) {
		return "./" + filepath.ToSlash(relative), nil
	}
	return absolute, nil
}

// firstLine is what an error says first.
func firstLine(err error) string {
	if list, ok := errors.AsType[*diag.ListError](err); ok && len(list.List) > 0 {
		return diag.Printable(list.List[0].Summary)
	}
	line, _, _ := strings.Cut(diag.PrintableText(err.Error()), "\n")
	return line
}

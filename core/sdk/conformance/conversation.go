package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/sdk"
)

// conversationRules are about what is said before and around accounts.
func conversationRules() []Rule {
	return []Rule{
		{Name: "describe", Promise: "Describe gives a name, a version, the schema of the configuration, and capabilities that exist", try: tryDescribe},
		{Name: "configure", Promise: "a configuration with a field missing or too many is refused with a diagnostic that points at it", try: tryConfigure},
		{Name: "order", Promise: "a call out of order is refused and does no harm", try: tryOrder},
		{
			Name: "check", Promise: "Check finds a target that is in order in order", try: tryCheck,
			unless: unable(pluginapi.CanCheck),
		},
		{
			Name: "propose", Promise: "what Propose proposes is accepted by Configure, holds no secret, and changes nothing", try: tryPropose,
			unless: unable(pluginapi.CanPropose),
		},
	}
}

// unable is the reason for skipping the rules about an ability.
func unable(a pluginapi.Ability) func(*kit) string {
	return func(k *kit) string {
		if k.caps.Can(a) {
			return ""
		}
		return fmt.Sprintf("the plugin cannot %s", a)
	}
}

var (
	validName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

	abilities = []pluginapi.Ability{
		sdk.CanCheck, sdk.CanFix, sdk.CanUndoFix, sdk.CanSetup, sdk.CanPlan, sdk.CanUndo, sdk.CanUndoInDoubt, sdk.CanTidy, sdk.CanDisable, sdk.CanLogin, sdk.CanSetPassword, sdk.CanStartReset, sdk.CanExchange, sdk.CanPropose,
	}
)

func tryDescribe(ctx context.Context, p *probe) error {
	return p.with(ctx, func(_ context.Context, i *instance) error {
		if !validName.MatchString(i.info.Name) {
			p.fail("the name %q has something else than lower-case letters, digits and single dashes", i.info.Name)
		}
		if place := p.suite.Start.place.Name; place != "" && place != i.info.Name {
			p.fail("the executable is called %s and says that its name is %s", place, i.info.Name)
		}
		if i.info.Version == "" {
			p.fail("it has no version")
		}
		if err := compile(i.info.ConfigSchema); err != nil {
			p.fail("the schema of the configuration: %v", err)
		}
		for _, name := range openSecrets(i.info.ConfigSchema) {
			p.fail("the field %s of the configuration has the name of a secret and is not marked writeOnly: its value is shown in headers, reports and plans", name)
		}
		p.fields(i.info.ConfigFields)
		for _, caps := range []pluginapi.Capabilities{i.info.Capabilities, i.Capabilities()} {
			p.signIns(caps.SignIns)
			p.identifiers(&caps)
			for _, f := range caps.Carries {
				if !slices.Contains(pluginapi.Features(), f) {
					p.fail("there is no feature %q", f)
				}
			}
			for _, a := range caps.Abilities {
				if !slices.Contains(abilities, a) {
					p.fail("there is no ability %q", a)
				}
			}
			if b := caps.Batch; b.Users < 0 || b.Bytes < 0 || b.InFlight < 0 || caps.MaxIDLength < 0 {
				p.fail("a limit is negative: %+v, ids of %d", b, caps.MaxIDLength)
			}
		}
		return nil
	})
}

// fields looks at what a plugin proposes for a configuration.
func (p *probe) fields(all []pluginapi.ConfigField) {
	seen := map[string]bool{}
	for _, f := range all {
		if f.Key == "" || seen[f.Key] {
			p.fail("the proposed field %q of the configuration has no key, or comes twice", f.Key)
		}
		seen[f.Key] = true
		if f.Secret && (f.Default != nil || f.Example != nil) {
			p.fail("the proposed field %s of the configuration is a secret, and has a value", f.Key)
		}
	}
}

// signIns looks at ways to sign in, wherever they are listed.
func (p *probe) signIns(all []pluginapi.SignIn) {
	for _, s := range all {
		if !slices.Contains(pluginapi.SignInWays(), s.Way) {
			p.fail("there is no way to sign in called %q", s.Way)
		}
		if s.Provider != "" && s.Way != pluginapi.SignInSocial {
			p.fail("the way to sign in %q has the provider %q, which only %s has", s.Way, s.Provider, pluginapi.SignInSocial)
		}
	}
}

var identifiers = []pluginapi.Identifier{sdk.IdentifierID, sdk.IdentifierUsername, sdk.IdentifierEmail, sdk.IdentifierPhone, sdk.IdentifierIdentity}

// identifiers looks at what is said of identifiers.
func (p *probe) identifiers(caps *pluginapi.Capabilities) {
	named := slices.Concat(caps.UniqueInTenant, slices.Collect(maps.Keys(caps.FoldsCase)), slices.Collect(maps.Keys(caps.Folding)))
	for _, i := range named {
		if !slices.Contains(identifiers, i) {
			p.fail("there is no identifier %q", i)
		}
	}
	for i, f := range caps.Folding {
		if n := f.Normalization; n != "" && n != sdk.NFC && n != sdk.NFKC {
			p.fail("%s: there is no form of Unicode called %q", i, n)
		}
	}
}

var secretName = regexp.MustCompile(`(?i)(^|[_-])(token|secret|passw(or)?d|passphrase|(api|private)[_-]?key)$|[a-z](Token|Secret|Passw(or)?d|Passphrase|(Api|API|Private)Key)$`)

// openSecrets are fields of a configuration that hold a secret, as far as their names tell,
// and that the schema does not mark as such.
func openSecrets(schema json.RawMessage) (names []string) {
	var root struct {
		Properties map[string]struct {
			Type      string `json:"type"`
			WriteOnly bool   `json:"writeOnly"`
		} `json:"properties"`
	}
	if json.Unmarshal(schema, &root) != nil {
		return nil // compile says so
	}
	for _, name := range slices.Sorted(maps.Keys(root.Properties)) {
		if p := root.Properties[name]; p.Type == "string" && !p.WriteOnly && secretName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

func compile(schema json.RawMessage) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return err
	}
	if object, _ := doc.(map[string]any); object["type"] != "object" {
		return errors.New(`it is not of "type": "object"`)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		return err
	}
	_, err = c.Compile("config.json")
	return err
}

func tryConfigure(ctx context.Context, p *probe) error {
	return p.fresh(ctx, func(ctx context.Context, i *instance) error {
		var schema struct {
			Required             []string        `json:"required"`
			AdditionalProperties json.RawMessage `json:"additionalProperties"`
		}
		var config map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(i.info.ConfigSchema, &schema), json.Unmarshal(p.suite.Start.config, &config)); err != nil {
			return err
		}
		wrong := map[string]map[string]json.RawMessage{}
		for _, name := range schema.Required {
			less := cloneWithout(config, name)
			wrong["/"+name] = less
		}
		if string(schema.AdditionalProperties) == "false" {
			more := cloneWithout(config, "")
			more["no-such-field"] = json.RawMessage("true")
			wrong["/no-such-field"] = more
		}
		for path, config := range wrong {
			raw, err := json.Marshal(config)
			if err != nil {
				return err
			}
			list, err := i.configure(ctx, raw)
			if err != nil {
				p.fail("a configuration that is wrong in %s is answered with an error of the call instead of a diagnostic: %v", path, err)
				continue
			}
			p.watch.diagnostics(list)
			if !slices.ContainsFunc(list, func(d diag.Diagnostic) bool { return d.Severity == diag.Error && d.Path == path }) {
				p.fail("no error points at %s in a configuration that is wrong there", path)
			}
		}
		sent := p.suite.Front.requests()
		list, err := i.configure(ctx, nil)
		if err = errors.Join(err, list.Err()); err != nil {
			p.fail("after refused configurations, a good one is refused too: %v", err)
		}
		if n := p.suite.Front.requests() - sent; n > 0 {
			p.fail("Configure sent %d requests: it is to look at the configuration alone, and Check at the target", n)
		}
		return nil
	})
}

func cloneWithout(config map[string]json.RawMessage, name string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for key, value := range config {
		if key != name {
			out[key] = value
		}
	}
	return out
}

func tryOrder(ctx context.Context, p *probe) error {
	early := p.fresh(ctx, func(ctx context.Context, i *instance) error {
		out, err := i.Load(ctx, p.people(1))
		if err == nil || out[0].Action != pluginapi.InDoubt {
			p.fail("a Load before Configure was answered: %s", out[0].Action)
		}
		return nil
	})
	return errors.Join(early, p.with(ctx, func(ctx context.Context, i *instance) error {
		if list, err := i.configure(ctx, nil); err == nil && !list.HasErrors() {
			p.fail("a second Configure after one that went well was accepted")
		}
		out, err := i.Load(ctx, p.people(1))
		if err != nil {
			return fmt.Errorf("load after a refused call: %w", err)
		}
		if a := out[0].Action; a == pluginapi.InDoubt {
			p.fail("after a refused call, a user is in doubt: %s", out[0].Detail)
		}
		return nil
	}))
}

func tryCheck(ctx context.Context, p *probe) error {
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		found, err := i.Check(ctx, pluginapi.Needs{Users: 1})
		if err != nil {
			return err
		}
		p.watch.diagnostics(found.Diagnostics)
		p.signIns(found.SignIns)
		for _, d := range found.Diagnostics {
			if d.Severity == diag.Error {
				p.fail("it finds: %s (%s)", d.Summary, d.Code)
			}
		}
		return nil
	})
}

// tryPropose asks for proposals as stetl init does: with what a person was asked for, and
// with a whole configuration.
func tryPropose(ctx context.Context, p *probe) error {
	before, err := p.inspect(ctx)
	if err != nil {
		return err
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(p.suite.Start.config, &whole); err != nil {
		return err
	}
	asked := map[string]json.RawMessage{}
	for _, f := range p.info.ConfigFields {
		if value, ok := whole[f.Key]; ok && (f.Required || f.Title != "") {
			asked[f.Key] = value
		}
	}
	for _, known := range []map[string]json.RawMessage{asked, whole} {
		err := p.fresh(ctx, func(ctx context.Context, i *instance) error { return tryProposal(ctx, p, i, known) })
		if err != nil {
			return err
		}
	}
	after, err := p.inspect(ctx)
	if before != after {
		p.fail("it has changed the target")
	}
	return err
}

// tryProposal looks at what is proposed where some fields are known.
func tryProposal(ctx context.Context, p *probe, i *instance, known map[string]json.RawMessage) error {
	raw, err := json.Marshal(known)
	if err != nil {
		return err
	}
	proposed, list, err := i.propose(ctx, raw)
	if err != nil {
		return err
	}
	p.watch.diagnostics(list)
	if len(proposed.Config) == 0 {
		proposed.Config = []byte("{}")
	}
	var value any
	merged := map[string]json.RawMessage{}
	if err := errors.Join(json.Unmarshal(proposed.Config, &value), json.Unmarshal(proposed.Config, &merged)); err != nil {
		p.fail("the proposal is not a JSON object: %v", err)
		return nil
	}
	if secrets := conversation.Secrets(i.info.ConfigSchema, proposed.Config); len(secrets) > 0 {
		p.fail("the proposal holds the value of a secret")
	}
	for pointer := range proposed.Comments {
		if !reaches(value, pointer) {
			p.fail("a comment is about %s, which is not in the proposal", pointer)
		}
	}
	if list.HasErrors() {
		return nil // it says itself what has to be decided first
	}
	maps.Copy(merged, known) // what somebody has said counts
	if raw, err = json.Marshal(merged); err != nil {
		return err
	}
	found, err := i.configure(ctx, raw)
	if err != nil {
		return fmt.Errorf("configure what was proposed: %w", err)
	}
	for _, d := range found {
		if d.Severity == diag.Error {
			p.fail("Configure refuses what was proposed: %s (%s %s)", d.Summary, d.Code, d.Path)
		}
	}
	return nil
}

// reaches says whether a JSON pointer leads to something.
func reaches(value any, pointer string) bool {
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := value.(type) {
		case map[string]any:
			below, ok := v[step]
			if !ok {
				return false
			}
			value = below
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n < 0 || n >= len(v) {
				return false
			}
			value = v[n]
		default:
			return false
		}
	}
	return true
}

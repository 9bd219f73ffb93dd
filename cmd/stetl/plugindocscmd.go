package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

func pluginDocsCommand(a *app) *cobra.Command {
	var settings, out string
	c := &cobra.Command{
		Use: "docs NAME|FILE",

		ValidArgsFunction: firstOnly(completePlugins),

		Short: "Write a page about a plugin",
		Long: `docs writes a page in Markdown from what a plugin declares: its configuration, what it
carries and can do, its codes. The capabilities can depend on the configuration: give
one with --config or --settings.`,
		Example: "  stetl plugin docs ./stetl-plugin-acme --out acme.md",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, _, err := describeConfigured(cmd.Context(), a, args[0], settings)
			if err != nil {
				return err
			}
			page, err := pluginPage(&info)
			if err != nil {
				return refusedError(err)
			}
			if out == "" {
				_, err = io.WriteString(a.out, page)
				return err
			}
			return replaceFile(out, func(w io.Writer) error {
				_, err := io.WriteString(w, page)
				return err
			})
		},
	}
	a.configFlag(c)
	c.Flags().StringVar(&settings, "settings", "", "configuration of the plugin, a `JSON` object")
	c.Flags().StringVar(&out, "out", "", "`FILE` to write, instead of standard output")
	return c
}

// schemaNode is what a page shows of a JSON Schema.
type schemaNode struct {
	Type        any                    `json:"type"`
	Description string                 `json:"description"`
	Default     json.RawMessage        `json:"default"`
	Enum        []any                  `json:"enum"`
	Required    []string               `json:"required"`
	Properties  map[string]*schemaNode `json:"properties"`
	Items       *schemaNode            `json:"items"`
	WriteOnly   bool                   `json:"writeOnly"`
}

// pluginPage is a page about a plugin.
func pluginPage(info *plugin.Info) (string, error) {
	var schema schemaNode
	if err := json.Unmarshal(info.ConfigSchema, &schema); err != nil {
		return "", fmt.Errorf("read the schema of the configuration: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# stetl-plugin-%s\n\nA target plugin of stetl, version %s, which speaks version %d.%d of the protocol.\n", info.Name, cmp.Or(info.Version, "unknown"), info.Protocol, info.Minor)
	fmt.Fprintf(&b, "\n## Configuration\n\n```yaml\ntarget:\n  plugin: %s\n  config: {…}\n```\n\n| key | what it is |\n|---|---|\n", info.Name)
	schema.rows(&b, "")
	c := &info.Capabilities
	b.WriteString("\n## What it carries\n\n| | |\n|---|---|\n")
	fact := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", name, cell(text))
		}
	}
	fact("password hashes", hashesText(c.Hashes))
	fact("kept", joined(c.Carries))
	fact("lost", joined(lost(c)))
	fact("can", joined(c.Abilities))
	if c.MaxIDLength > 0 {
		fact("ids", fmt.Sprintf("kept, up to %d bytes", c.MaxIDLength))
	} else {
		fact("ids", "given by the target")
	}
	if c.NoUsernames {
		fact("user names", "none")
	}
	if c.UniqueEmail {
		fact("addresses", "no two users may have the same")
	}
	if c.UniqueIdentities {
		fact("social identities", "no two users may have the same")
	}
	fact("unique in one tenant only", joined(c.UniqueInTenant))
	for _, i := range slices.Sorted(maps.Keys(c.FoldsCase)) {
		fact("letter case of "+string(i), map[bool]string{true: "does not tell apart", false: "tells apart"}[c.FoldsCase[i]])
	}
	if c.Whole {
		fact("runs", "each replaces what earlier ones wrote")
	}
	if len(info.Codes) > 0 {
		b.WriteString("\n## Codes\n\n| code | what it means | what to do |\n|---|---|---|\n")
		for _, code := range info.Codes {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", code.Code, cell(code.Meaning), cell(code.Remedy))
		}
	}
	return b.String(), nil
}

// rows are those of a table, one for each property, and for those below it.
func (s *schemaNode) rows(b *strings.Builder, prefix string) {
	// What has to be there comes first.
	names := slices.SortedFunc(maps.Keys(s.Properties), func(a, b string) int {
		required := func(name string) int {
			if slices.Contains(s.Required, name) {
				return 0
			}
			return 1
		}
		return cmp.Or(required(a)-required(b), strings.Compare(a, b))
	})
	for _, name := range names {
		p := s.Properties[name]
		if p == nil {
			continue
		}
		var notes []string
		if kind := p.typeText(); kind != "" {
			notes = append(notes, kind)
		}
		if slices.Contains(s.Required, name) {
			notes = append(notes, "required")
		}
		if p.WriteOnly {
			notes = append(notes, "secret")
		}
		if len(p.Default) > 0 {
			notes = append(notes, "default `"+string(p.Default)+"`")
		}
		about := p.Description
		if len(p.Enum) > 0 {
			about = strings.TrimSuffix(about, ".")
		}
		for i, value := range p.Enum {
			about += map[bool]string{true: "; one of ", false: ", "}[i == 0] + fmt.Sprintf("`%v`", value)
		}
		about = strings.TrimPrefix(about, "; ")
		if len(notes) > 0 {
			about = strings.TrimSpace("*" + strings.Join(notes, ", ") + ".* " + about)
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", prefix+name, cell(about))
		p.rows(b, prefix+name+".")
	}
}

func (s *schemaNode) typeText() string {
	text := fmt.Sprint(s.Type)
	if many, ok := s.Type.([]any); ok {
		text = strings.Trim(strings.Join(strings.Fields(fmt.Sprint(many)), " or "), "[]")
	}
	switch {
	case s.Type == nil:
		return ""
	case s.Items != nil && s.Items.Type != nil:
		return text + " of " + s.Items.typeText()
	}
	return text
}

// cell is a text as a cell of a table may hold it.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

func joined[T ~string](all []T) string {
	text := make([]string, len(all))
	for i, one := range all {
		text[i] = "`" + string(one) + "`"
	}
	return strings.Join(text, ", ")
}

func lost(c *pluginapi.Capabilities) []pluginapi.Feature {
	return slices.DeleteFunc(slices.Clone(pluginapi.Features()), func(f pluginapi.Feature) bool { return c.Has(f) })
}

func hashesText(all []pluginapi.HashSupport) string {
	var out []string
	for _, h := range all {
		text := "`" + string(h.Scheme) + "`"
		var bounds []string
		if len(h.Variants) > 0 {
			bounds = append(bounds, strings.Join(h.Variants, ", "))
		}
		if h.MinCost > 0 || h.MaxCost > 0 {
			bounds = append(bounds, fmt.Sprintf("cost %d to %d", h.MinCost, h.MaxCost))
		}
		if h.MaxMemoryKiB > 0 {
			bounds = append(bounds, fmt.Sprintf("memory up to %d KiB", h.MaxMemoryKiB))
		}
		if len(bounds) > 0 {
			text += " (" + strings.Join(bounds, "; ") + ")"
		}
		out = append(out, text)
	}
	return cmp.Or(strings.Join(out, ", "), "none: everybody needs a new password")
}

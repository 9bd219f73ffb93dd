package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Deployment is what a file says of how a program is deployed.
type Deployment struct {
	// Path is the file, and Service the service in it, where it has several.
	Path, Service string
	// Settings are the variables or fields by name. They can hold secrets.
	Settings map[string]string
	// Published are the ports of this machine that lead to one of a service, by
	// "service:port".
	Published map[string]string
}

// ReadDeployment reads a docker-compose file, a file of variables, or a YAML file with one
// setting a line. Of the services of a docker-compose file it takes the one that wanted
// knows the most settings of.
func ReadDeployment(path string, env Env, wanted func(name string) bool) (*Deployment, error) {
	text, err := env.readFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s %s", path, reason(err))
	}
	d := &Deployment{Path: path, Settings: map[string]string{}, Published: map[string]string{}}
	var doc yaml.Node
	if err := decode(yaml.NewDecoder(bytes.NewReader(text)), &doc); err != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		d.Settings = variables(string(text))
		if len(d.Settings) == 0 {
			return nil, fmt.Errorf("%s is neither a docker-compose file nor one of variables or settings", path)
		}
		return d, nil
	}
	root := doc.Content[0]
	services := entry(root, "services")
	if services == nil {
		each := func(name string, v *yaml.Node) {
			if v.Kind == yaml.ScalarNode {
				d.Settings[name] = v.Value
			}
		}
		entries(root, each)
		return d, nil
	}
	return d, d.compose(services, env, wanted)
}

// compose reads the services of a docker-compose file.
func (d *Deployment) compose(services *yaml.Node, env Env, wanted func(name string) bool) error {
	dir := filepath.Dir(d.Path)
	beside := map[string]string{} // what docker compose itself takes variables from
	if text, err := env.readFile(filepath.Join(dir, ".env")); err == nil {
		beside = variables(string(text))
	}
	lookup := func(name string) (string, bool) {
		if v, ok := env.lookup(name); ok {
			return v, true
		}
		v, ok := beside[name]
		return v, ok
	}
	var problems []error
	most := 0
	entries(services, func(name string, service *yaml.Node) {
		d.ports(name, entry(service, "ports"), lookup)
		settings := map[string]string{}
		for _, file := range scalars(entry(service, "env_file")) {
			text, err := env.readFile(within(dir, file))
			if err != nil {
				problems = append(problems, fmt.Errorf("the env_file %s of service %s %s", file, name, reason(err)))
				continue
			}
			for k, v := range variables(string(text)) {
				settings[k] = v
			}
		}
		for k, v := range environment(entry(service, "environment"), lookup) {
			settings[k] = v
		}
		known := 0
		for k := range settings {
			if wanted(k) {
				known++
			}
		}
		if known > most {
			most, d.Service, d.Settings = known, name, settings
		}
	})
	if most == 0 {
		return errors.Join(append(problems, fmt.Errorf("no service of %s has the settings of a SuperTokens core", d.Path))...)
	}
	return nil
}

// ports notes which ports of this machine lead to a service.
func (d *Deployment) ports(service string, list *yaml.Node, lookup func(string) (string, bool)) {
	if list == nil {
		return
	}
	for _, item := range list.Content {
		published, target := "", ""
		if item.Kind == yaml.MappingNode {
			if n := entry(item, "published"); n != nil {
				published = n.Value
			}
			if n := entry(item, "target"); n != nil {
				target = n.Value
			}
		} else {
			parts := strings.Split(interpolated(strings.SplitN(item.Value, "/", 2)[0], lookup), ":")
			if len(parts) < 2 {
				continue // any port
			}
			published, target = parts[len(parts)-2], parts[len(parts)-1]
		}
		if _, err := strconv.Atoi(published); err == nil && target != "" {
			d.Published[service+":"+target] = published
		}
	}
}

// environment is a mapping, or a list of NAME=VALUE.
func environment(n *yaml.Node, lookup func(string) (string, bool)) map[string]string {
	out := map[string]string{}
	if n == nil {
		return out
	}
	add := func(name, value string, given bool) {
		if !given { // taken from the environment
			value, _ = lookup(name)
		}
		out[name] = interpolated(value, lookup)
	}
	if n.Kind == yaml.MappingNode {
		entries(n, func(name string, v *yaml.Node) { add(name, v.Value, v.ShortTag() != "!!null") })
		return out
	}
	for _, line := range scalars(n) {
		name, value, given := strings.Cut(line, "=")
		add(name, value, given)
	}
	return out
}

var interpolation = regexp.MustCompile(`\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?\}|\$([A-Za-z_][A-Za-z0-9_]*)`)

// interpolated replaces variables as docker compose does.
func interpolated(text string, lookup func(string) (string, bool)) string {
	return interpolation.ReplaceAllStringFunc(text, func(ref string) string {
		m := interpolation.FindStringSubmatch(ref)
		if ref == "$$" {
			return "$"
		}
		value, set := lookup(m[1] + m[4])
		if strings.HasSuffix(m[2], "-") && (!set || value == "" && m[2] == ":-") {
			return m[3]
		}
		return value
	})
}

var variable = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)$`)

// variables reads lines of NAME=VALUE.
func variables(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.TrimSpace(line)
		m := variable.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(line, "#") {
			continue
		}
		value := m[2]
		switch {
		case len(value) > 1 && strings.ContainsAny(value[:1], `"'`) && strings.LastIndex(value, value[:1]) > 0:
			value = value[1:strings.LastIndex(value, value[:1])]
		default:
			value, _, _ = strings.Cut(value, " #")
			value = strings.TrimSpace(value)
		}
		out[m[1]] = value
	}
	return out
}

// entry is the value under a name, aliases and merges followed; nil where there is none.
func entry(n *yaml.Node, name string) (found *yaml.Node) {
	entries(n, func(key string, v *yaml.Node) {
		if key == name {
			found = v
		}
	})
	return found
}

// entries calls visit for what is in a mapping; what is merged into it comes first.
func entries(n *yaml.Node, visit func(name string, v *yaml.Node)) {
	n = followed(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for merged := range slices.Chunk(n.Content, 2) {
		if len(merged) == 2 && merged[0].ShortTag() == "!!merge" {
			entries(merged[1], visit)
		}
	}
	for pair := range slices.Chunk(n.Content, 2) {
		if len(pair) == 2 && pair[0].ShortTag() != "!!merge" {
			visit(pair[0].Value, followed(pair[1]))
		}
	}
}

func followed(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < maxDepth; i++ {
		n = n.Alias
	}
	return n
}

// scalars are the texts of a list, or one text.
func scalars(n *yaml.Node) (out []string) {
	n = followed(n)
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode:
		out = append(out, n.Value)
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if item = followed(item); item.Kind == yaml.ScalarNode {
				out = append(out, item.Value)
			} else if path := entry(item, "path"); path != nil {
				out = append(out, path.Value)
			}
		}
	}
	return out
}

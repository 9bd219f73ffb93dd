package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/diag"
)

// Env is the world outside the file. The zero value is the real one.
type Env struct {
	// Lookup finds an environment variable; default [os.LookupEnv].
	Lookup func(name string) (string, bool)
	// ReadFile reads the configuration file and referenced files; the default
	// reads from disk and refuses more than 1 MiB.
	ReadFile func(path string) ([]byte, error)
}

func (e Env) lookup(name string) (string, bool) {
	if e.Lookup == nil {
		return os.LookupEnv(name)
	}
	return e.Lookup(name)
}

func (e Env) readFile(path string) ([]byte, error) {
	if e.ReadFile == nil {
		return readBounded(path)
	}
	return e.ReadFile(path)
}

var errTooLarge = errors.New("larger than 1 MiB")

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing to lose
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(b) > maxBytes {
		err = errTooLarge
	}
	return b, err
}

// reason says why a file cannot be read, without repeating its path.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return "cannot be read: " + err.Error()
}

const (
	schemeEnv  = "env"
	schemeFile = "file"
)

// Reference stands in a value for something outside of the file: ${env:NAME} or
// ${file:PATH}.
type Reference struct {
	Scheme string // env or file
	Name   string
}

// String is the reference as it is written.
func (r Reference) String() string { return "${" + r.Scheme + ":" + r.Name + "}" }

// References are those in a text, in its order. $${ begins none, and what comes after a
// malformed one does not count.
func References(text string) (all []Reference) {
	parts, _, _ := segments(text)
	for _, p := range parts {
		if p.ref != (Reference{}) {
			all = append(all, p.ref)
		}
	}
	return all
}

// IsReference says whether a text is one reference and nothing else.
func IsReference(text string) bool {
	parts, what, _ := segments(text)
	return what == "" && len(parts) == 1 && parts[0].ref != (Reference{})
}

// Lookup returns what a reference stands for, on a command line also without its brackets, as
// in env:NAME; false where the text is none.
func Lookup(text string, env Env) (value string, is bool, err error) {
	ref := strings.TrimSuffix(strings.TrimPrefix(text, "${"), "}")
	scheme, name, _ := strings.Cut(ref, ":")
	if name == "" || scheme != schemeEnv && scheme != schemeFile {
		return "", false, nil
	}
	x := expander{env: env, dir: "."}
	r := x.read(scheme, name)
	if r.problem != "" {
		return "", true, errors.New(r.problem)
	}
	return r.text, true, nil
}

// segment is a piece of a text: as it stands, or a reference.
type segment struct {
	literal string
	ref     Reference
}

// segments takes a text apart. Where a reference is malformed, it says what is wrong, and
// perhaps what was meant.
func segments(text string) (out []segment, what, hint string) {
	literal := func(s string) {
		switch last := len(out) - 1; {
		case s == "":
		case last >= 0 && out[last].ref == (Reference{}):
			out[last].literal += s
		default:
			out = append(out, segment{literal: s})
		}
	}
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			literal(text)
			return out, "", ""
		}
		if i > 0 && text[i-1] == '$' {
			literal(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		literal(text[:i])
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return out, "a reference that is not closed with }", ""
		}
		scheme, name, _ := strings.Cut(text[i+len("${"):i+end], ":")
		text = text[i+end+1:]
		if name == "" || scheme != schemeEnv && scheme != schemeFile {
			if name == "" && environmentName.MatchString(scheme) {
				hint = fmt.Sprintf("did you mean ${env:%s}?", scheme)
			}
			return out, "a reference of unknown form", hint
		}
		out = append(out, segment{ref: Reference{scheme, name}})
	}
}

// expander replaces references. What a reference yields is text: it is never
// parsed again, neither as YAML nor for further references.
type expander struct {
	*file
	env  Env
	dir  string
	seen map[Reference]resolved
}

type resolved struct {
	text    string
	problem string
	hint    string
}

func (x *expander) expand(n *node) {
	text, ok := n.val.(string)
	if !ok || n.kind != scalar || !strings.Contains(text, "${") {
		return
	}
	parts, what, hint := segments(text)
	if what != "" {
		x.malformed(n, what, hint)
		return
	}
	var out strings.Builder
	for _, p := range parts {
		part := piece{p.literal, true}
		if p.ref != (Reference{}) {
			n.refs = append(n.refs, p.ref.String())
			part = piece{x.resolve(n, p.ref), false}
		}
		n.pieces = append(n.pieces, part)
		out.WriteString(part.text)
	}
	n.expansion = out.String()
	n.val = n.expansion
	if n.whole = len(n.refs) == 1 && n.refs[0] == n.text; n.whole {
		n.hidden = false // nothing literal in it
	}
}

var environmentName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// resolve returns what one reference of n stands for. Where there is nothing, it
// records why and returns "".
func (x *expander) resolve(n *node, ref Reference) string {
	r, known := x.seen[ref]
	if !known {
		r = x.read(ref.Scheme, ref.Name)
		x.seen[ref] = r
	}
	if r.problem != "" {
		n.bad = true
		x.add(diag.Diagnostic{
			Code:    diag.ConfigUnresolvedReference,
			Summary: r.problem,
			Detail:  human(n.path) + " refers to it",
			Path:    diag.Pointer(n.path...),
			Hint:    r.hint,
		}, n.at)
	}
	return r.text
}

func (x *expander) read(scheme, name string) resolved {
	if scheme == schemeEnv {
		v, ok := x.env.lookup(name)
		switch {
		case !ok:
			return resolved{problem: fmt.Sprintf("environment variable %s is not set", visible(name)), hint: "set it for this command"}
		case !utf8.ValidString(v):
			return resolved{problem: fmt.Sprintf("environment variable %s is not UTF-8 text", visible(name)), hint: "encode it, for example as base64"}
		}
		return resolved{text: v}
	}
	path := within(x.dir, name)
	b, err := x.env.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return resolved{problem: fmt.Sprintf("file %q does not exist", path), hint: "paths are relative to the folder of the configuration file"}
	case err != nil:
		return resolved{problem: fmt.Sprintf("file %q %s", path, reason(err)), hint: "check its permissions and that it is a regular file"}
	case !utf8.Valid(b):
		return resolved{problem: fmt.Sprintf("file %q is not UTF-8 text", path), hint: "encode it, for example as base64"}
	}
	text, cut := strings.CutSuffix(string(b), "\n")
	if cut {
		text = strings.TrimSuffix(text, "\r")
	}
	return resolved{text: text}
}

// malformed never shows the text: half a reference may be part of a password.
func (x *expander) malformed(n *node, what, hint string) {
	n.bad, n.refs = true, nil
	if hint == "" {
		hint = "write ${env:NAME}, ${file:PATH}, or $${ for a literal ${"
	}
	x.add(diag.Diagnostic{
		Code:    diag.ConfigBadReference,
		Summary: human(n.path) + " holds " + what,
		Path:    diag.Pointer(n.path...),
		Hint:    hint,
	}, n.at)
}

// visible quotes a name unless it looks like an ordinary one.
func visible(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}

// within resolves a path of the configuration against its folder.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

package config

import (
	"encoding/json"

	"github.com/stetl/stetl/core/diag"
)

// LoadExamples reads a YAML file with a list under "tests", in the form of
// mapping.tests of a configuration, and returns that list as JSON.
func LoadExamples(path string, env Env) (json.RawMessage, diag.List) {
	f := &file{path: path}
	text, err := env.readFile(path)
	if err != nil {
		return nil, diag.List{{Code: diag.ConfigUnreadable, Summary: "the file of examples " + reason(err), Pos: diag.Pos{File: path}}}
	}
	f.parse(text)
	if f.root == nil {
		return nil, f.take()
	}
	tests := f.root.get("tests")
	if tests == nil || tests.kind != array {
		f.add(diag.Diagnostic{Code: diag.ConfigMissingField, Summary: `a file of examples has a list under "tests"`}, place{1, 1})
		return nil, f.take()
	}
	return mustJSON(tests.decoded(func(n *node) (any, bool) { return n.val, true })), f.take()
}

package auth0

import (
	"bytes"
	_ "embed"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed import.schema.json
var importSchema []byte

var compileSchema = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(importSchema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c, c.AddResource("import.schema.json", doc)
})

var (
	fileSchema = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile("import.schema.json") })
	userSchema = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile("import.schema.json#/$defs/user") })
)

var compiling sync.Mutex

func compile(url string) (*jsonschema.Schema, error) {
	compiling.Lock()
	defer compiling.Unlock()
	c, err := compileSchema()
	if err != nil {
		return nil, err
	}
	return c.Compile(url)
}

// ValidateFile checks an import file against the published schema.
func ValidateFile(file []byte) error {
	schema, err := fileSchema()
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}

package engine

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stetl/stetl/core/pluginapi"
)

// What is written is what the published schema says, and what it forbids is
// refused by it.
func TestPlanHasTheSchema(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("plan.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"before the first run": []byte("0123456789abcdef"), "after it": nil} {
		p := NewPlan("public", "acme (realm r)", []byte("settings"), key)
		p.Part = "--sample 9"
		dst := newIDP()
		dst.accounts[id(4)] = "theirs"
		_, err := Run(t.Context(), people(9), dst, Options{DryRun: true, Outcome: func(c pluginapi.Change) { p.Add(c, []byte("digest")) }})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := p.Write(&out); err != nil {
			t.Fatal(err)
		}
		for text, valid := range map[string]bool{
			out.String(): true,
			strings.Replace(out.String(), `"created"`, `"destroyed"`, 1):    false,
			strings.Replace(out.String(), `"format": 1`, `"format": 2`, 1):  false,
			strings.Replace(out.String(), `"users"`, `"accounts"`, 1):       false,
			strings.Replace(out.String(), `"--sample 9"`, `""`, 1):          false,
			strings.Replace(out.String(), `"source"`, `"passwordHash"`, 1):  false,
			strings.Replace(out.String(), `"settings"`, `"preferences"`, 1): false,
		} {
			instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(instance); (err == nil) != valid {
				t.Errorf("%s, valid should be %v: %v\n%s", name, valid, err, text)
			}
		}
		if back, err := ReadPlan(&out); err != nil || len(back.Users) != 9 || back.Part != p.Part || back.Fits("public", []byte("settings")) != nil {
			t.Errorf("%s: %+v, %v", name, back, err)
		}
		if p.Fits("other", []byte("settings")) == nil || p.Fits("public", []byte("others")) == nil {
			t.Errorf("%s: the plan fits another app or other settings", name)
		}
	}
}

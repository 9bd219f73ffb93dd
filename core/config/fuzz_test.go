package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stetl/stetl/core/diag"
)

// FuzzLoad: no text makes loading, validating or printing panic; every diagnostic
// points into the text; nothing that came through a reference is shown.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/diagnostics/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	schema := pluginSchema(f)
	f.Fuzz(func(t *testing.T, text string) {
		cfg, list := Load("stetl.yaml", testEnv("stetl.yaml", []byte(text)))
		list.Add(cfg.CheckTables([]string{"users"})...)
		list.Add(cfg.Target.Validate(schema)...)
		list.Add(cfg.Target.Locate(diag.List{{Code: "x.y", Summary: "x", Path: "/auth/token"}})...)
		lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
		for _, d := range list {
			if d.Code == "x.y" && d.Pos.Line == 0 {
				continue // no tree to look it up in
			}
			if d.Pos.Line < 1 || d.Pos.Line > len(lines) || d.Pos.Col < 1 || d.Pos.Col > utf8.RuneCountInString(lines[d.Pos.Line-1])+1 {
				t.Errorf("%s points outside of the text: %+v", d.Code, d.Pos)
			}
			if s := d.Snippet; s.Text != "" && s.Col > utf8.RuneCountInString(s.Text)+1 {
				t.Errorf("%s underlines outside of its excerpt: %+v", d.Code, s)
			}
			if _, ok := diag.Lookup(d.Code); !ok && d.Code != "x.y" {
				t.Errorf("code %s is not registered", d.Code)
			}
		}
		shown := render(t, list)
		// Names and paths are no secrets: what is referred to there does show.
		cfg.Source = Source{URL: cfg.Source.URL, FirebaseSignerKey: cfg.Source.FirebaseSignerKey}
		cfg.Journal, cfg.Target.Plugin = "", ""
		for _, v := range []any{cfg, *cfg, cfg.Target} {
			b, err := json.Marshal(v)
			if err != nil {
				t.Errorf("encode: %v", err)
			}
			shown += string(b) + fmt.Sprintf("%+v", v)
		}
		if strings.Contains(shown, canary) && !strings.Contains(text, canary) {
			t.Errorf("a referenced value is shown:\n%s", shown)
		}
	})
}

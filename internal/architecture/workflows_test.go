package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// workflow is what the tests look at in a workflow of GitHub Actions.
type workflow struct {
	On          any
	Permissions map[string]string
	Jobs        map[string]struct {
		Uses    string
		Timeout int `yaml:"timeout-minutes"`
		Steps   []struct{ Uses, Run string }
	}
}

// TestWorkflows: the workflows are YAML, say what they may do and how long they may take,
// and every make target and every file in them is there.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	files = append(files, "../../examples/deploy/github/rehearsal.yml")
	targets := regexp.MustCompile(`\bmake ([a-z-]+)`)
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(raw, &w); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if w.On == nil || w.Permissions["contents"] != "read" || len(w.Jobs) == 0 {
			t.Errorf("%s: when does it run, what may it do, what does it do?", path)
		}
		for name, job := range w.Jobs {
			if local, ok := strings.CutPrefix(job.Uses, "./"); ok {
				if _, err := os.Stat(filepath.Join("../..", local)); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				continue
			}
			if job.Timeout == 0 || len(job.Steps) == 0 {
				t.Errorf("%s: %s has no bound of time, or no steps", path, name)
			}
			for _, step := range job.Steps {
				for _, m := range targets.FindAllStringSubmatch(step.Run, -1) {
					if !strings.Contains(string(makefile), "\n"+m[1]+":") {
						t.Errorf("%s: there is no make %s", path, m[1])
					}
				}
				if step.Uses != "" && !strings.Contains(step.Uses, "@v") {
					t.Errorf("%s: %s in no version", path, step.Uses)
				}
			}
		}
	}
}

// TestTemplates: the forms for issues have what makes them forms.
func TestTemplates(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../.github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var form struct {
			Name, Description string
			Links             []struct{ Name, URL, About string } `yaml:"contact_links"`
			Body              []struct {
				Type, ID   string
				Attributes struct{ Label, Value string }
			}
		}
		if err := yaml.Unmarshal(raw, &form); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if filepath.Base(path) == "config.yml" {
			if len(form.Links) == 0 {
				t.Errorf("%s has no link", path)
			}
			continue
		}
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s is no form", path)
		}
		for _, part := range form.Body {
			if part.Type != "markdown" && (part.ID == "" || part.Attributes.Label == "") {
				t.Errorf("%s: a field has no id or no label", path)
			}
		}
	}
}

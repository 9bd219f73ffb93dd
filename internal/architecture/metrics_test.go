package architecture

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	textdiff "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/telemetry"
)

// definedMetric is one as the code defines it for Prometheus.
type definedMetric struct {
	name, kind, help string
	labels           []string
}

// definedMetrics reads the definitions in a file.
func definedMetrics(t *testing.T, path string) (all []definedMetric) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		opts, ok := call.Args[0].(*ast.CompositeLit)
		if !ok {
			return true
		}
		typ, ok := opts.Type.(*ast.SelectorExpr)
		if !ok || !strings.HasSuffix(typ.Sel.Name, "Opts") {
			return true
		}
		m := definedMetric{kind: strings.ToLower(strings.TrimSuffix(typ.Sel.Name, "Opts"))}
		for _, element := range opts.Elts {
			field, ok := element.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			switch key := fmt.Sprint(field.Key); key {
			case "Name":
				m.name = text(field.Value)
			case "Help":
				m.help = text(field.Value)
			case "ConstLabels":
				m.labels = append(m.labels, "plugin")
			}
		}
		if len(call.Args) > 1 {
			if labels, ok := call.Args[1].(*ast.CompositeLit); ok {
				for _, label := range labels.Elts {
					m.labels = append(m.labels, text(label))
				}
			}
		}
		if m.name != "" {
			slices.Sort(m.labels)
			all = append(all, m)
		}
		return true
	})
	return all
}

func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok {
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	return ""
}

// TestMetricsPage writes docs/metrics.md and holds it; every metric has a name for
// OpenTelemetry as well.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	names := map[string]telemetry.Metric{}
	for _, m := range telemetry.Metrics() {
		names[m.Name] = m
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat a run and the bridge count, for Prometheus and for OpenTelemetry. [Watch it at work](monitor.md) says how to switch them on. Nothing in them is about a single account.\n" +
		"This page is written from the code: `go test ./internal/architecture -update`.\n")
	count := 0
	for _, part := range []struct{ title, file string }{{"Of a run", "../../cmd/stetl/metrics.go"}, {"Of the bridge", "../../core/bridge/metrics.go"}} {
		b.WriteString("\n## " + part.title + "\n\n| Prometheus | OpenTelemetry | unit | kind | labels | what it says |\n|---|---|---|---|---|---|\n")
		for _, m := range definedMetrics(t, part.file) {
			count++
			named, ok := names[m.name]
			if !ok || m.help == "" {
				t.Errorf("%s has no name in core/telemetry, or says nothing", m.name)
			}
			labels := make([]string, len(m.labels))
			for i, l := range m.labels {
				labels[i] = "`" + l + "`"
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | %s | %s | %s |\n", m.name, named.OTel, named.Unit, m.kind, strings.Join(labels, ", "), m.help)
		}
	}
	if count != len(names) {
		t.Errorf("%d metrics are defined and %d have a name for OpenTelemetry", count, len(names))
	}
	b.WriteString("\nBeside these, Prometheus also gets what every Go program shows (`go_…`, `process_…`).\n")
	const path = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := textdiff.Diff(string(before), b.String()); diff != "" {
		t.Errorf("run go test ./internal/architecture -update:\n%s", diff)
	}
}

// panel is a panel of a dashboard.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ RefID, Expr string }
}

// TestDashboard: the dashboard has the form that Grafana loads, its panels do not lie over
// each other, and it is about the metrics that there are, all of them.
func TestDashboard(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../examples/grafana/stetl.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID, Title    string
		SchemaVersion int
		Templating    struct{ List []struct{ Name, Type string } }
		Panels        []panel
	}
	if err := json.Unmarshal(raw, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || dashboard.Title == "" || dashboard.SchemaVersion < 30 || len(dashboard.Panels) < 5 {
		t.Fatalf("no dashboard: %+v", dashboard)
	}
	if len(dashboard.Templating.List) != 1 || dashboard.Templating.List[0].Type != "datasource" {
		t.Error("nobody can choose the data source")
	}
	known := map[string]bool{}
	for _, m := range telemetry.Metrics() {
		known[m.Name] = false
	}
	word := regexp.MustCompile(`stetl_\w+`)
	ids := map[int]bool{}
	for i, p := range dashboard.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %d %q: its id is taken, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 1 || p.GridPos.H < 1 {
			t.Errorf("%s is outside of the grid", p.Title)
		}
		for _, other := range dashboard.Panels[:i] {
			if overlap(p, other) {
				t.Errorf("%s lies over %s", p.Title, other.Title)
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, name := range word.FindAllString(target.Expr, -1) {
				base := cmp.Or(regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, ""), name)
				if _, ok := known[base]; !ok {
					t.Errorf("%s asks for %s, which there is not", p.Title, name)
				}
				known[base] = true
			}
		}
	}
	for name, shown := range known {
		if !shown {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func overlap(a, b panel) bool {
	return a.GridPos.X < b.GridPos.X+b.GridPos.W && b.GridPos.X < a.GridPos.X+a.GridPos.W &&
		a.GridPos.Y < b.GridPos.Y+b.GridPos.H && b.GridPos.Y < a.GridPos.Y+a.GridPos.H
}

package wire

import (
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginpb"
)

// EncodeDiagnostics leaves Pos and Snippet behind: a plugin knows paths into
// its configuration, only the host knows the file.
func EncodeDiagnostics(l diag.List) []*pluginpb.Diagnostic {
	var out []*pluginpb.Diagnostic
	for _, d := range l {
		severity := pluginpb.Severity_SEVERITY_ERROR
		if d.Severity == diag.Warning {
			severity = pluginpb.Severity_SEVERITY_WARNING
		}
		out = append(out, &pluginpb.Diagnostic{
			Severity: severity,
			Code:     clean(string(d.Code)),
			Summary:  clean(d.Summary),
			Detail:   clean(d.Detail),
			Path:     clean(d.Path),
			Hint:     clean(d.Hint),
		})
	}
	return out
}

// DecodeDiagnostics reads every severity but a warning as an error.
func DecodeDiagnostics(all []*pluginpb.Diagnostic) diag.List {
	var out diag.List
	for _, p := range all {
		severity := diag.Error
		if p.GetSeverity() == pluginpb.Severity_SEVERITY_WARNING {
			severity = diag.Warning
		}
		out = append(out, diag.Diagnostic{
			Severity: severity,
			Code:     diag.Code(p.GetCode()),
			Summary:  p.GetSummary(),
			Detail:   p.GetDetail(),
			Path:     p.GetPath(),
			Hint:     p.GetHint(),
		})
	}
	return out
}

package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// maxLine bounds one line of a plugin's output; the rest of it is dropped.
const maxLine = 64 << 10

// logWriter turns the output of a plugin into records of the host's log. It
// believes nothing: whatever arrives, it neither fails nor grows.
type logWriter struct {
	log *slog.Logger
	// pid is asked once, with the first line.
	pid func() int
	// scrub takes secrets of the configuration out of text.
	scrub func(string) string

	mu       sync.Mutex
	line     []byte
	cut      bool // the line is over maxLine
	inPanic  bool // a Go stack trace follows
	panicked string
	last     []string
}

// Write never fails.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, complete := bytes.Cut(p, []byte("\n"))
		if room := maxLine - len(w.line); len(part) > room {
			part, w.cut = part[:room], true
		}
		w.line = append(w.line, part...)
		if complete {
			w.flush()
		}
		p = rest
	}
	return n, nil
}

// end writes out a last line without newline.
func (w *logWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
}

func (w *logWriter) flush() {
	line := bytes.TrimRight(w.line, "\r")
	if len(line) > 0 {
		if w.pid != nil {
			w.log, w.pid = w.log.With("pid", w.pid()), nil
		}
		if w.cut || !w.structured(line) {
			w.text(line)
		}
	}
	w.line, w.cut = w.line[:0], false
	if cap(w.line) > maxLine/4 {
		w.line = nil
	}
}

// structured logs a line of slog's or hclog's JSON; false when it is neither.
func (w *logWriter) structured(line []byte) bool {
	if line[0] != '{' {
		return false
	}
	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if dec.Decode(&fields) != nil || dec.InputOffset() != int64(len(line)) {
		return false
	}
	msg, ok := pick(fields, "msg", "@message")
	if !ok {
		return false
	}
	name, _ := pick(fields, "level", "@level")
	for _, known := range []string{"time", "@timestamp", "plugin", "pid"} {
		delete(fields, known)
	}
	level := parseLevel(name)
	if level >= slog.LevelWarn {
		w.remember(w.clean(strings.TrimSuffix(msg+": "+text(fields["error"]), ": ")))
	}
	ctx := context.Background()
	if !w.log.Enabled(ctx, level) {
		return true
	}
	attrs := make([]slog.Attr, 0, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(w.clean(key), w.cleanValue(fields[key])))
	}
	w.log.LogAttrs(ctx, level, w.clean(msg), attrs...)
	return true
}

// text is v if that is a text.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// text logs a line that is not JSON: output of a library, or a stack trace.
func (w *logWriter) text(line []byte) {
	text := w.clean(string(line))
	if w.cut {
		text += " … (cut)"
	}
	if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
		w.inPanic = true
		w.panicked = text
	}
	w.remember(text)
	level := slog.LevelInfo
	if w.inPanic {
		level = slog.LevelError
	}
	w.log.Log(context.Background(), level, text)
}

// remember keeps the last few messages for the error after a crash.
func (w *logWriter) remember(text string) {
	const keep, width = 3, 300
	if runes := []rune(text); len(runes) > width {
		text = string(runes[:width]) + "…"
	}
	w.last = append(w.last, text)
	if len(w.last) > keep {
		w.last = slices.Delete(w.last, 0, 1)
	}
}

// lastWords is what an error about the end of the plugin should quote.
func (w *logWriter) lastWords() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panicked != "" {
		return w.panicked
	}
	return strings.Join(w.last, " / ")
}

// pick takes the first of keys that is a text out of fields.
func pick(fields map[string]any, keys ...string) (string, bool) {
	for _, key := range keys {
		if text, ok := fields[key].(string); ok {
			delete(fields, key)
			return text, true
		}
	}
	return "", false
}

// parseLevel knows slog's and hclog's names and those of other loggers.
func parseLevel(name string) slog.Level {
	var level slog.Level
	switch strings.ToLower(name) {
	case "trace", "debug":
		return slog.LevelDebug
	case "warning":
		return slog.LevelWarn
	case "fatal", "panic", "critical":
		return slog.LevelError
	}
	if level.UnmarshalText([]byte(name)) != nil {
		return slog.LevelInfo
	}
	return level
}

// clean takes out secrets and what could drive a terminal.
func (w *logWriter) clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(w.scrub(text), string(unicode.ReplacementChar)))
}

func (w *logWriter) cleanValue(v any) any {
	switch v := v.(type) {
	case string:
		return w.clean(v)
	case []any:
		for i := range v {
			v[i] = w.cleanValue(v[i])
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, part := range v {
			out[w.clean(key)] = w.cleanValue(part)
		}
		return out
	case json.Number:
		return json.Number(w.clean(v.String()))
	default: // bool and nil
		return v
	}
}

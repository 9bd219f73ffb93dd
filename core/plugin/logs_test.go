package plugin

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLogWriter(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		want string // slog's text format, without time
	}{
		"slog":                {`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"slow","ms":12,"where":{"a":[1,true,null]}}`, `level=WARN msg=slow pid=7 ms=12 where="map[a:[1 true <nil>]]"`},
		"slog, own level":     {`{"level":"INFO+2","msg":"m"}`, `level=INFO+2 msg=m pid=7`},
		"hclog":               {`{"@level":"error","@message":"listen","@module":"plugin","@timestamp":"x","error":"in use"}`, `level=ERROR msg=listen pid=7 @module=plugin error="in use"`},
		"trace is debug":      {`{"level":"trace","msg":"m"}`, `level=DEBUG msg=m pid=7`},
		"pino's number":       {`{"level":30,"msg":"m"}`, `level=INFO msg=m pid=7 level=30`},
		"unknown level":       {`{"level":"loud","msg":"m"}`, `level=INFO msg=m pid=7`},
		"no level":            {`{"msg":"m"}`, `level=INFO msg=m pid=7`},
		"message no text":     {`{"@message":1}`, `level=INFO msg="{\"@message\":1}" pid=7`},
		"JSON, not an object": {`[1,2]`, `level=INFO msg=[1,2] pid=7`},
		"JSON and more":       {`{"msg":"m"} trailing`, `level=INFO msg="{\"msg\":\"m\"} trailing" pid=7`},
		"plain":               {"Hello there\r", `level=INFO msg="Hello there" pid=7`},
		"origin forged":       {`{"msg":"m","plugin":"evil","pid":1}`, `level=INFO msg=m pid=7`},
		"escape sequences":    {"\x1b[2Jgone\x07", "level=INFO msg=\"\ufffd[2Jgone\ufffd\" pid=7"},
		"escapes in JSON":     {`{"msg":"a\u001b[2J","k\u001b":"\u202ev"}`, "level=INFO msg=\"a\ufffd[2J\" pid=7 \"k\ufffd\"=\"\ufffdv\""},
		"binary":              {"\xff\xfe\x00", "level=INFO msg=\"\ufffd\ufffd\" pid=7"},
		"empty lines":         {"\n\n\na\n\n", `level=INFO msg=a pid=7`},
		"secret":              {"token=hunter2", `level=INFO msg="token=‹secret›" pid=7`},
		"secret in JSON":      {`{"msg":"m","hunter2":{"x":["hunter2"]},"error":"bad hunter2"}`, `level=INFO msg=m pid=7 error="bad ‹secret›" ‹secret›=map[x:[‹secret›]]`},
		"panic":               {"panic: boom\n\ngoroutine 1 [running]:\nmain.main()", "level=ERROR msg=\"panic: boom\" pid=7\nlevel=ERROR msg=\"goroutine 1 [running]:\" pid=7\nlevel=ERROR msg=main.main() pid=7"},
		"deep JSON":           {`{"msg":` + strings.Repeat("[", 20000) + "}", "level=INFO msg=\"{\\\"msg\\\":" + strings.Repeat("[", 20000) + "}\" pid=7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			w := testWriter(&out)
			// The size of writes must not matter.
			for _, b := range []byte(tc.in) {
				if n, err := w.Write([]byte{b}); n != 1 || err != nil {
					t.Fatalf("write: %d, %v", n, err)
				}
			}
			w.end()
			if diff := cmp.Diff(tc.want, strings.TrimSuffix(out.String(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLogWriterBoundsLines(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := testWriter(&out)
	for range 1 << 10 {
		_, _ = w.Write([]byte(strings.Repeat("x", 1<<10)))
	}
	_, _ = w.Write([]byte("\nnext\n"))
	if n := out.Len(); n > maxLine+200 {
		t.Errorf("a line of 1 MiB became %d bytes", n)
	}
	if got := out.String(); !strings.Contains(got, "… (cut)") || !strings.Contains(got, "msg=next") {
		t.Errorf("the end of the log is %q", got[len(got)-80:])
	}
}

func TestLastWords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"nothing":        {"", ""},
		"last of many":   {"a\nb\nc\nd\n", "b / c / d"},
		"panic wins":     {"a\npanic: boom\n\ngoroutine 1\nx\ny\nz\n", "panic: boom"},
		"routine logs":   {`{"level":"INFO","msg":"all well"}` + "\n", ""},
		"logged trouble": {`{"level":"ERROR","msg":"listen","error":"in use"}` + "\n", "listen: in use"},
		"without secret": {"bad token hunter2\n", "bad token ‹secret›"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := testWriter(&strings.Builder{})
			_, _ = w.Write([]byte(tc.in))
			if got := w.lastWords(); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzLogWriter(f *testing.F) {
	for _, seed := range []string{`{"@message":1}`, `{"msg":"m","level":"WARN","a":{"b":[1e400]}}`, "\xff\n{\n}", "panic: x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out strings.Builder
		w := testWriter(&out)
		if n, err := w.Write(in); n != len(in) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		w.end()
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("the secret got through: %q", out.String())
		}
		if strings.ContainsAny(out.String(), "\x1b\x00\x07") {
			t.Errorf("control characters got through: %q", out.String())
		}
	})
}

func testWriter(out *strings.Builder) *logWriter {
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return &logWriter{
		log:   slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: drop})),
		pid:   func() int { return 7 },
		scrub: strings.NewReplacer("hunter2", "‹secret›").Replace,
	}
}

func TestEnvironLevel(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4: "DEBUG", slog.LevelDebug: "DEBUG", slog.LevelInfo: "INFO", slog.LevelWarn: "WARN", slog.LevelError: "ERROR",
	} {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
		if got := lowest(t.Context(), log).String(); got != want {
			t.Errorf("%s: %s, want %s", level, got, want)
		}
	}
}

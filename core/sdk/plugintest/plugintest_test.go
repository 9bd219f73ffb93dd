package plugintest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

type config struct {
	Token sdk.Secret `json:"token"`
}

type target struct{ token sdk.Secret }

func (t target) Load(_ context.Context, users []sdk.User, out sdk.Outcomes) error {
	for _, u := range users {
		out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: fmt.Sprint(len(t.token.Reveal()))})
	}
	return nil
}

var example = sdk.Plugin[config]{
	Name: "example", Version: "1",
	New: func(_ context.Context, c config, _ sdk.Env) (sdk.Target, error) { return target{c.Token}, nil },
}

func TestServe(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]any{
		"map":  map[string]any{"token": "abc"},
		"text": `{"token": "abc"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := plugintest.Serve(t, example, config)
			out, err := c.Load(t.Context(), []sdk.User{{SourceID: "u", Class: sdk.NoPassword}})
			if err != nil || out[0].TargetID != "3" || c.Info.Name != "example" {
				t.Errorf("%+v, %v, %+v", out, err, c.Info)
			}
		})
	}
}

func TestServeFailsTheTest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config any
		want   string
	}{
		"config struct with a secret": {config{sdk.NewSecret("abc")}, "pass a map or JSON text"},
		"no configuration":            {nil, `"token" is missing`},
		"not encodable":               {map[string]any{"token": make(chan int)}, "encode the configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				plugintest.Serve(r, example, tc.config)
			}()
			<-done
			if !strings.Contains(r.fatal, tc.want) {
				t.Errorf("failure %q, want %q", r.fatal, tc.want)
			}
		})
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Fatal(args ...any) {
	r.fatal = fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

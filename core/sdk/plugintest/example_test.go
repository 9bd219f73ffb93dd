package plugintest_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

// A test of a plugin talks to it as stetl does, through the protocol, without a process.
func ExampleServe() {
	test := func(t testing.TB) { // in a test: func TestLoad(t *testing.T)
		c := plugintest.Serve(t, example, map[string]any{"token": "secret"})
		outcomes, err := c.Load(t.Context(), []sdk.User{{SourceID: "u1", Class: sdk.NoPassword}, {SourceID: "u2", Class: sdk.NoPassword}})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomes {
			fmt.Println(o.SourceID, o.Action)
		}
	}

	t := &exampleTB{ctx: context.Background()}
	test(t)
	t.end()
	// Output:
	// u1 created
	// u2 created
}

// exampleTB stands for the test that an example has none of.
type exampleTB struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

func (t *exampleTB) Helper()                  {}
func (t *exampleTB) Output() io.Writer        { return io.Discard }
func (t *exampleTB) Context() context.Context { return t.ctx }
func (t *exampleTB) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (t *exampleTB) end() {
	for _, f := range t.cleanups {
		f()
	}
}

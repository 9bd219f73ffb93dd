package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/stetl/stetl/core/policy"
)

// Whoever is to be asked is asked with everything known, and before anything is written.
func TestConfirmComesBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	var asked []Intent
	f := newFake()
	confirm := func(answer error) func(context.Context, Intent) error {
		return func(_ context.Context, i Intent) error {
			if n := f.calls["load"] + f.calls["finish"]; n > 0 {
				t.Errorf("%d calls that write came before the question", n)
			}
			asked = append(asked, i)
			return answer
		}
	}
	if _, err := Run(t.Context(), people(7), f, Options{Confirm: confirm(no)}); !errors.Is(err, no) || f.calls["load"] > 0 {
		t.Errorf("no: %v, %v", err, f.calls)
	}
	if _, err := Run(t.Context(), people(7), f, Options{Confirm: confirm(no), DryRun: true}); err != nil || len(asked) != 1 {
		t.Errorf("a dry run asks: %v, %v", err, asked)
	}
	// What a limit forbids is no question.
	limits := policy.Limits{Resets: policy.Limit{Set: true, Count: -1}}
	if _, err := Run(t.Context(), people(7), f, Options{Confirm: confirm(nil), Policies: policy.Policies{Limits: limits}}); !errors.Is(err, ErrLimit) || len(asked) != 1 {
		t.Errorf("beyond a limit: %v, %v", err, asked)
	}
	if _, err := Run(t.Context(), people(7), f, Options{Confirm: confirm(nil)}); err != nil || f.calls["load"] == 0 || len(asked) != 2 || asked[1].Accounts != 7 {
		t.Errorf("yes: %v, %v, %v", err, f.calls, asked)
	}
}

package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// exiting is a target whose process may have ended.
type exiting struct {
	Target
	dead bool
}

func (m *exiting) Exited() bool { return m.dead }

// A service gets a new process each time the old one has ended, also when that does
// not work at first, as when its executable is being replaced.
func TestAliveStartsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, down, opened := &exiting{}, errors.New("down"), 0
		r := NewRestarting(first, func(context.Context) (Target, error) {
			if opened++; opened == 1 {
				return nil, down
			}
			return &exiting{}, nil
		})
		alive := func(want error) Target {
			t.Helper()
			got, err := r.Alive(t.Context())
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			return got
		}
		if alive(nil) != first || opened != 0 {
			t.Error("a process that is there was replaced")
		}
		first.dead = true
		alive(down)
		alive(down)
		if opened != 1 {
			t.Errorf("tried %d times within the pause", opened)
		}
		time.Sleep(failurePause)
		for range 2 * mostRestarts { // more than a run is granted
			current, ok := alive(nil).(*exiting)
			if !ok || current.dead || alive(nil) != current {
				t.Fatal("not a process that is there")
			}
			current.dead = true
		}
		if want := 1 + 2*mostRestarts; opened != want {
			t.Errorf("started %d times, want %d", opened, want)
		}
		// Who asks and leaves takes the restart from nobody.
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Alive(gone); err != nil {
			t.Errorf("the asker has left: %v", err)
		}
	})
}

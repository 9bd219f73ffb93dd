package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/target"
)

// mortal is a plugin that may be dead.
type mortal struct {
	bridge.Target
	dead  bool
	asked int
}

func (m *mortal) Exited() bool { return m.dead }

func (m *mortal) SetPassword(context.Context, target.PasswordChange) error {
	m.asked++
	return nil
}

// TestPluginOfTheBridgeIsStartedAgain: also when that does not work at first, as
// when the target is down.
func TestPluginOfTheBridgeIsStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := &mortal{}, &mortal{}
		down, opened := errors.New("down"), 0
		b := &bridgeTarget{current: first, log: slog.New(slog.DiscardHandler), open: func(context.Context) (asked, error) {
			if opened++; opened == 1 {
				return nil, down
			}
			return second, nil
		}}
		set := func(want error) {
			t.Helper()
			if err := b.SetPassword(t.Context(), target.PasswordChange{}); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		set(nil)
		first.dead = true
		set(down)
		set(down)
		if opened != 1 {
			t.Errorf("started %d times within the pause", opened)
		}
		time.Sleep(restartPause)
		set(nil)
		set(nil)
		if opened != 2 || first.asked != 1 || second.asked != 2 {
			t.Errorf("started %d times; asked %d and %d", opened, first.asked, second.asked)
		}
	})
}

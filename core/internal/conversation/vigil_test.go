package conversation

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// A plugin that answers one user and then says nothing is told, and in the end given up.
func TestSilenceIsToldAndEnds(t *testing.T) {
	t.Parallel()
	heard, ended := make(chan Silence, 100), false
	s, log := start(t, &rogue{load: func(st *loadStream) error {
		req, err := (*st).Recv()
		if err == nil {
			err = (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Outcomes: created("a")})
		}
		if err != nil {
			return err
		}
		<-(*st).Context().Done()
		return nil
	}}, Options{
		notice: time.Millisecond, SilenceLimit: 100 * time.Millisecond, GiveUp: func() { ended = true },
		Silence: func(s Silence) {
			select {
			case heard <- s:
			default:
			}
		},
	})
	outcomes, err := s.Load(t.Context(), users("a", "b"))
	silent, ok := errors.AsType[*SilentError](err)
	if !ok || silent.Batch != 1 || silent.Users != 2 || silent.Call != "Load" || !ended || !s.GivenUp() {
		t.Fatalf("%v, %+v", err, silent)
	}
	if outcomes[0].Action != pluginapi.Created || outcomes[1].Action != pluginapi.InDoubt || outcomes[1].Code != diag.PluginSilent {
		t.Errorf("%+v", outcomes)
	}
	if first := <-heard; first.Batch != 1 || first.For <= 0 || !strings.Contains(log.String(), "waiting for Load of batch 1 with 2 users") {
		t.Errorf("told %+v, and in the log\n%s", first, log)
	}
}

// What a plugin says ends a silence, and that is told as well.
func TestSilenceEnds(t *testing.T) {
	t.Parallel()
	heard := make(chan Silence, 1000)
	s, _ := start(t, &rogue{load: func(st *loadStream) error {
		req, err := (*st).Recv()
		if err != nil {
			return err
		}
		<-heard // it is silent until somebody has heard so
		return (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Outcomes: created("a"), Done: true})
	}}, Options{notice: time.Millisecond, Silence: func(s Silence) {
		select {
		case heard <- s:
		default:
		}
	}})
	if _, err := s.Load(t.Context(), users("a")); err != nil {
		t.Fatal(err)
	}
	for { // the last word is that it is over
		if last := <-heard; last.For == 0 {
			break
		}
	}
	s.vigil.mu.Lock()
	defer s.vigil.mu.Unlock()
	if len(s.vigil.open) != 0 || !s.vigil.told.IsZero() {
		t.Errorf("still waiting for %+v", s.vigil.open)
	}
}

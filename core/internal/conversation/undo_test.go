package conversation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

type undoStream = grpc.BidiStreamingServer[pluginpb.UndoStreamRequest, pluginpb.UndoStreamResponse]

// undoer is a plugin that takes accounts back.
type undoer struct {
	rogue
	minor  uint32
	whole  func(*pluginpb.UndoRequest) (*pluginpb.UndoResponse, error)
	stream func(undoStream) error
}

func (u *undoer) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	caps := pluginapi.Capabilities{Abilities: []pluginapi.Ability{pluginapi.CanUndo}}
	return &pluginpb.DescribeResponse{Name: "rogue", ConfigSchemaJson: []byte("{}"), Capabilities: wire.EncodeCapabilities(&caps), Minor: u.minor}, nil
}

func (u *undoer) Undo(_ context.Context, req *pluginpb.UndoRequest) (*pluginpb.UndoResponse, error) {
	if u.whole == nil {
		return nil, status.Error(codes.Unimplemented, "no")
	}
	return u.whole(req)
}

func (u *undoer) UndoStream(st undoStream) error {
	if u.stream == nil {
		return status.Error(codes.Unimplemented, "no")
	}
	return u.stream(st)
}

func deleted(a *pluginpb.Account) *pluginpb.Outcome {
	return &pluginpb.Outcome{SourceId: a.GetSourceId(), Action: pluginpb.Action_ACTION_DELETED}
}

// large are accounts with pre-images, more than fits into one message.
func large(n, size int) []pluginapi.Account {
	all := make([]pluginapi.Account, n)
	for i := range all {
		all[i] = pluginapi.Account{SourceID: fmt.Sprint(i), Before: bytes.Repeat([]byte{1}, size)}
	}
	return all
}

func TestUndoIsCutBySize(t *testing.T) {
	t.Parallel()
	for name, minor := range map[string]uint32{"as a stream": 2, "of an older plugin": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			answer := func(req *pluginpb.UndoRequest) *pluginpb.UndoResponse {
				calls++
				resp := &pluginpb.UndoResponse{}
				for _, a := range req.GetAccounts() {
					resp.Outcomes = append(resp.Outcomes, deleted(a))
				}
				return resp
			}
			s, _ := start(t, &undoer{
				minor: minor, whole: func(req *pluginpb.UndoRequest) (*pluginpb.UndoResponse, error) { return answer(req), nil },
				stream: func(st undoStream) error {
					req, err := st.Recv()
					if err != nil {
						return err
					}
					return st.Send(&pluginpb.UndoStreamResponse{Outcomes: answer(req.GetUndo()).GetOutcomes()})
				},
			}, Options{})
			accounts := append(large(180, 100<<10), pluginapi.Account{SourceID: "huge", Before: make([]byte, wire.MaxUser)}, pluginapi.Account{SourceID: "0"})
			outcomes, err := s.Undo(t.Context(), accounts)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				want, code := pluginapi.Deleted, diag.Code("")
				switch i {
				case 180:
					want, code = pluginapi.Rejected, diag.LoadUserTooLarge
				case 181:
					want, code = pluginapi.Rejected, diag.LoadDuplicateUser
				}
				if o.SourceID != accounts[i].SourceID || o.Action != want || o.Code != code {
					t.Errorf("account %d: %+v", i, o)
				}
			}
			if calls < 18 {
				t.Errorf("%d calls for 18 MB, of which each brings 1 MiB at most", calls)
			}
		})
	}
}

// A plugin that says minor version 2 and has no stream is asked the old way.
func TestUndoWithoutStream(t *testing.T) {
	t.Parallel()
	s, _ := start(t, &undoer{minor: 2, whole: func(req *pluginpb.UndoRequest) (*pluginpb.UndoResponse, error) {
		return &pluginpb.UndoResponse{Outcomes: []*pluginpb.Outcome{deleted(req.GetAccounts()[0])}}, nil
	}}, Options{})
	outcomes, err := s.Undo(t.Context(), []pluginapi.Account{{SourceID: "a"}})
	if err != nil || outcomes[0].Action != pluginapi.Deleted {
		t.Errorf("%+v, %v", outcomes, err)
	}
}

// What a plugin has said before it breaks counts.
func TestUndoKeepsPartialResults(t *testing.T) {
	t.Parallel()
	s, log := start(t, &undoer{minor: 2, stream: func(st undoStream) error {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		first := deleted(req.GetUndo().GetAccounts()[0])
		if err := st.Send(&pluginpb.UndoStreamResponse{Outcomes: []*pluginpb.Outcome{first, first, {SourceId: "stranger"}}}); err != nil {
			return err
		}
		return status.Error(codes.Internal, "broken")
	}}, Options{})
	outcomes, err := s.Undo(t.Context(), []pluginapi.Account{{SourceID: "a"}, {SourceID: "b"}})
	if err == nil || outcomes[0].Action != pluginapi.Deleted || outcomes[1].Action != pluginapi.InDoubt || !strings.Contains(outcomes[1].Detail, "broken") {
		t.Errorf("%+v, %v", outcomes, err)
	}
	if n := strings.Count(log.String(), "plugin broke the protocol"); n != 2 {
		t.Errorf("%d complaints in\n%s", n, log)
	}
}

// An undo that is taken back ends with what is known by then.
func TestUndoIsTakenBack(t *testing.T) {
	t.Parallel()
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	s, _ := start(t, &undoer{minor: 2, stream: func(st undoStream) error {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		cancel(reason)
		if next, err := st.Recv(); err != nil || next.GetCancel() == nil {
			return fmt.Errorf("no cancel: %w", err)
		}
		return st.Send(&pluginpb.UndoStreamResponse{Outcomes: []*pluginpb.Outcome{deleted(req.GetUndo().GetAccounts()[0])}})
	}}, Options{})
	outcomes, err := s.Undo(ctx, []pluginapi.Account{{SourceID: "a"}, {SourceID: "b"}})
	if !errors.Is(err, reason) || outcomes[0].Action != pluginapi.Deleted || outcomes[1].Action != pluginapi.InDoubt {
		t.Errorf("%+v, %v", outcomes, err)
	}
}

// What is too large to be kept is not, and nothing is undone on the strength of it.
func TestOutcomesAreBounded(t *testing.T) {
	t.Parallel()
	s, log := start(t, &rogue{load: func(st *loadStream) error {
		req, err := (*st).Recv()
		if err != nil {
			return err
		}
		return (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Done: true, Outcomes: []*pluginpb.Outcome{
			{SourceId: "a", Action: pluginpb.Action_ACTION_UPDATED, State: make([]byte, wire.MaxState+1), Before: make([]byte, wire.MaxBefore+1)},
			{SourceId: "b", Action: pluginpb.Action_ACTION_UPDATED, State: make([]byte, wire.MaxState), Before: make([]byte, 8)},
		}})
	}}, Options{})
	outcomes, err := s.Load(t.Context(), users("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := outcomes[0], outcomes[1]; len(a.State) != 32 || a.Before != nil || len(b.State) != wire.MaxState || len(b.Before) != 8 {
		t.Errorf("%d and %d bytes of state, %d and %d of pre-image", len(a.State), len(b.State), len(a.Before), len(b.Before))
	}
	if n := strings.Count(log.String(), "plugin broke the protocol"); n != 2 {
		t.Errorf("%d complaints in\n%s", n, log)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	var q quota
	q.restore(map[string][]byte{"old": make([]byte, wire.MaxSavedAll-wire.MaxSaved)})
	ok := func() error { return nil }
	broken := errors.New("disk full")
	for _, step := range []struct {
		what, key string
		value     []byte
		write     func() error
		err       string
	}{
		{what: "no key", value: []byte("x"), write: ok, err: "a key of 0 bytes"},
		{what: "a long key", key: strings.Repeat("k", wire.MaxSavedKey+1), value: []byte("x"), write: ok, err: "a key of 1025 bytes"},
		{what: "a large value", key: "k", value: make([]byte, wire.MaxSaved+1), write: ok, err: "a value of 1048577 bytes"},
		{what: "too much in all", key: "k", value: make([]byte, wire.MaxSaved), write: ok, err: "remove some"},
		{what: "what cannot be written", key: "k", value: []byte("x"), write: func() error { return broken }, err: "disk full"},
		{what: "a small one", key: "k", value: make([]byte, 1000), write: ok},
		{what: "in its place", key: "k", value: make([]byte, 2000), write: ok},
		{what: "a removal", key: "old", write: ok},
		{what: "now there is room", key: "k2", value: make([]byte, wire.MaxSaved), write: ok},
	} {
		err := q.keep(step.key, step.value, step.write)
		if (err == nil) != (step.err == "") || err != nil && !strings.Contains(err.Error(), step.err) {
			t.Errorf("%s: %v", step.what, err)
		}
	}
	if q.all != 1+2000+2+wire.MaxSaved {
		t.Errorf("%d bytes are counted", q.all)
	}
}

package conversation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// Undo takes accounts back and returns one outcome for each, in their order, also
// together with an error. It cuts them into batches by number and by size, as Load does.
// Accounts without an answer are in doubt.
func (s *Session) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	u := undoing{session: s, results: make([]pluginapi.Outcome, len(accounts))}
	failure := s.able(pluginapi.CanUndo)
	for part := range u.parts(accounts) {
		if failure == nil {
			failure = u.send(ctx, part)
		}
		code, detail := diag.PluginNoAnswer, "the plugin ended the call without an answer for this account"
		if failure != nil {
			detail = "no answer: " + reason(failure)
		}
		for id, i := range part.index {
			if u.results[i].Action == "" {
				u.results[i] = inDoubt(id, code, detail).Outcome
			}
		}
	}
	return u.results, failure
}

// undoing is one call of Undo.
type undoing struct {
	session *Session
	results []pluginapi.Outcome
}

// undoPart is what is sent at once.
type undoPart struct {
	accounts []*pluginpb.Account
	index    map[string]int
}

// parts cuts accounts by number and size. Those that cannot be sent get their outcome here.
func (u *undoing) parts(accounts []pluginapi.Account) iter.Seq[undoPart] {
	most := limits(u.session.Capabilities().Batch)
	return func(yield func(undoPart) bool) {
		next, size := undoPart{index: map[string]int{}}, 0
		seen := make(map[string]bool, len(accounts))
		for i, p := range wire.EncodeAccounts(accounts) {
			n := proto.Size(p) + fieldOverhead
			switch {
			case seen[accounts[i].SourceID]:
				u.results[i] = rejected(accounts[i].SourceID, diag.LoadDuplicateUser, "another account of the same call has this source id").Outcome
				continue
			case n > wire.MaxUser:
				u.results[i] = rejected(accounts[i].SourceID, diag.LoadUserTooLarge, fmt.Sprintf("%d bytes with its pre-image, a plugin takes at most %d", n, wire.MaxUser)).Outcome
				continue
			}
			seen[accounts[i].SourceID] = true
			if len(next.accounts) == most.Users || len(next.accounts) > 0 && size+n > most.Bytes {
				if !yield(next) {
					return
				}
				next, size = undoPart{index: map[string]int{}}, 0
			}
			next.accounts, size = append(next.accounts, p), size+n
			next.index[accounts[i].SourceID] = i
		}
		if len(next.accounts) > 0 {
			yield(next)
		}
	}
}

// streamedUndo is the minor version from which on a plugin tells outcomes of an undo one
// by one.
const streamedUndo = 2

// send has the plugin work on one part.
func (u *undoing) send(ctx context.Context, part undoPart) error {
	s := u.session
	req := &pluginpb.UndoRequest{Accounts: part.accounts}
	if minorOf(s) >= streamedUndo {
		err := u.stream(ctx, req, part)
		if status.Code(err) != codes.Unimplemented {
			return err
		}
	}
	p, err := call(ctx, s, "Undo", undoTimeout, s.client.Undo, req)
	u.deliver(p.GetOutcomes(), part)
	return err
}

// stream is one call of UndoStream.
func (u *undoing) stream(ctx context.Context, req *pluginpb.UndoRequest, part undoPart) error {
	const name = "Undo"
	s := u.session
	if ctx.Err() != nil {
		return left(ctx, s, name)
	}
	streaming, end := context.WithCancel(s.ctx)
	defer end()
	defer s.vigil.begin(watched{call: name, users: len(req.GetAccounts())})()
	st, err := s.client.UndoStream(streaming) //nolint:contextcheck // it outlives ctx by a moment, for what is known by then
	if err == nil {
		// Of an error of Send, Recv knows the reason.
		_ = st.Send(&pluginpb.UndoStreamRequest{Kind: &pluginpb.UndoStreamRequest_Undo{Undo: req}})
	}
	if err != nil {
		_, err = s.explain(name, err)
		return err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			p, recvErr := st.Recv()
			if recvErr != nil {
				err = recvErr
				return
			}
			hear(s, p.GetPulse())
			u.deliver(p.GetOutcomes(), part)
		}
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		_ = st.Send(&pluginpb.UndoStreamRequest{Kind: &pluginpb.UndoStreamRequest_Cancel{Cancel: &pluginpb.CancelUndo{}}})
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
		defer stop()
		select {
		case <-gone:
		case <-grace.Done():
			end()
			<-gone // so that nobody writes results any more
		}
		return left(ctx, s, name)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case status.Code(err) == codes.Unimplemented:
		return err
	}
	_, err = s.explain(name, err)
	return err
}

// deliver takes in what the plugin says about accounts of a part. One caller at a time.
func (u *undoing) deliver(outcomes []*pluginpb.Outcome, part undoPart) {
	s := u.session
	for _, raw := range outcomes {
		o, err := wire.DecodeOutcome(raw)
		i, known := part.index[o.SourceID]
		switch {
		case err != nil:
			s.bug("unreadable answer", "call", "Undo", "error", s.Scrub(err.Error()))
		case !known || u.results[i].Action != "":
			s.bug("answer for an account that was not asked for, or twice", "call", "Undo", "source_id", s.Scrub(o.SourceID))
		default:
			keep(s, &o)
			u.results[i] = o
		}
	}
}

package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/wire"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// rogue is a plugin that was not written with the SDK and keeps no promise.
type rogue struct {
	pluginpb.UnimplementedTargetServiceServer
	schema string
	limits pluginapi.BatchLimits
	codes  []*pluginpb.CodeInfo
	load   func(*loadStream) error
}

type loadStream = grpc.BidiStreamingServer[pluginpb.LoadRequest, pluginpb.LoadResponse]

func (r *rogue) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	caps := pluginapi.Capabilities{Batch: r.limits}
	return &pluginpb.DescribeResponse{Name: "rogue", ConfigSchemaJson: []byte(r.schema), Capabilities: wire.EncodeCapabilities(&caps), Codes: r.codes}, nil
}

func (r *rogue) Configure(_ context.Context, req *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	// An echo: the worst a plugin can do with its configuration.
	return &pluginpb.ConfigureResponse{
		Diagnostics:  []*pluginpb.Diagnostic{{Severity: pluginpb.Severity_SEVERITY_WARNING, Summary: string(req.GetConfigJson())}},
		Capabilities: wire.EncodeCapabilities(&pluginapi.Capabilities{Batch: r.limits}),
	}, nil
}

func (r *rogue) Load(st loadStream) error { return r.load(&st) }

// start connects a session to r. The log is complete once stop was called.
func start(t *testing.T, r pluginpb.TargetServiceServer, o Options) (*Session, *strings.Builder) {
	t.Helper()
	if r, ok := r.(*rogue); ok && r.schema == "" {
		r.schema = "{}"
	}
	lis := bufconn.Listen(1 << 16)
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage))
	pluginpb.RegisterTargetServiceServer(srv, r)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(lis) })
	conn, err := grpc.NewClient("passthrough:///", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	o.Name, o.Log = "rogue", slog.New(slog.NewTextHandler(log, nil))
	s := New(conn, o)
	t.Cleanup(func() {
		s.cancel()
		_ = conn.Close()
		srv.Stop()
		wg.Wait()
	})
	if _, err := s.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, log
}

func users(ids ...string) []pluginapi.User {
	out := make([]pluginapi.User, len(ids))
	for i, id := range ids {
		out[i] = pluginapi.User{SourceID: id, Class: pluginapi.NoPassword}
	}
	return out
}

func created(ids ...string) []*pluginpb.Outcome {
	var out []*pluginpb.Outcome
	for _, id := range ids {
		out = append(out, &pluginpb.Outcome{SourceId: id, Action: pluginpb.Action_ACTION_CREATED})
	}
	return out
}

// TestWordsAreBounded: a target that answers with a page of HTML for each user.
func TestWordsAreBounded(t *testing.T) {
	t.Parallel()
	if got := bounded(strings.Repeat("é", maxWords)); len(got) > maxWords+40 || !utf8.ValidString(got) || !strings.HasSuffix(got, "… (16384 bytes)") {
		t.Errorf("%d bytes, ending %q", len(got), got[len(got)-20:])
	}
	s, _ := start(t, &rogue{load: func(st *loadStream) error {
		req, err := (*st).Recv()
		if err != nil {
			return err
		}
		long := strings.Repeat("x", 1<<20)
		return (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Done: true, Outcomes: []*pluginpb.Outcome{
			{SourceId: "a", Action: pluginpb.Action_ACTION_REJECTED, Code: "load.target_refused", Detail: long, Hint: long},
		}})
	}}, Options{})
	outcomes, err := s.Load(t.Context(), users("a"))
	if err != nil || len(outcomes[0].Detail) > maxWords+40 || len(outcomes[0].Hint) > maxWords+40 {
		t.Errorf("%d and %d bytes, %v", len(outcomes[0].Detail), len(outcomes[0].Hint), err)
	}
}

func TestLoadKeepsTheBooks(t *testing.T) {
	t.Parallel()
	type want struct {
		action pluginapi.Action
		code   diag.Code
	}
	ok, noAnswer := want{pluginapi.Created, ""}, want{pluginapi.InDoubt, diag.PluginNoAnswer}
	for name, tc := range map[string]struct {
		answer func(batch uint64) []*pluginpb.LoadResponse
		end    error // of the stream, after the answers; nil waits for the host
		want   []want
		err    string // of Load
		log    string
	}{
		"in any order and in pieces": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: created("c")}, {BatchId: b}, {BatchId: b, Outcomes: created("a", "b"), Done: true}}
			},
			want: []want{ok, ok, ok},
		},
		"hole": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: created("a", "c"), Done: true}}
			},
			want: []want{ok, noAnswer, ok},
			log:  "batch ended without an answer for every user",
		},
		"second answer": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				rejected := &pluginpb.Outcome{SourceId: "a", Action: pluginpb.Action_ACTION_REJECTED}
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: append(created("a", "b", "c"), rejected), Done: true}}
			},
			want: []want{ok, ok, ok},
			log:  "second answer for a user",
		},
		"no code": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Done: true, Outcomes: []*pluginpb.Outcome{
					{SourceId: "a", Action: pluginpb.Action_ACTION_REJECTED, Code: "It went wrong\n"},
					{SourceId: "b", Action: pluginpb.Action_ACTION_SKIPPED, Code: "my-idp.too_old"},
					{SourceId: "c", Action: pluginpb.Action_ACTION_REJECTED, Code: "wrong"},
				}}}
			},
			want: []want{{pluginapi.Rejected, diag.PluginBrokeProtocol}, {pluginapi.Skipped, "my-idp.too_old"}, {pluginapi.Rejected, diag.PluginBrokeProtocol}},
			log:  "a code that is none",
		},
		"stranger": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: created("a", "b", "c", "d"), Done: true}}
			},
			want: []want{ok, ok, ok},
			log:  "answer for a user who is not in the batch",
		},
		"unknown action": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: append(created("a", "b"), &pluginpb.Outcome{SourceId: "c", Action: 77}), Done: true}}
			},
			want: []want{ok, ok, noAnswer},
			log:  "unknown action 77",
		},
		"another batch": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: 99, Outcomes: created("a"), Done: true}, {BatchId: b, Outcomes: created("a", "b", "c"), Done: true}}
			},
			want: []want{ok, ok, ok},
			log:  "answer to a batch that is not open",
		},
		"done twice": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				all := &pluginpb.LoadResponse{BatchId: b, Outcomes: created("a", "b", "c"), Done: true}
				return []*pluginpb.LoadResponse{all, all}
			},
			want: []want{ok, ok, ok},
		},
		"stream ends": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: created("b")}}
			},
			end:  errEOF,
			want: []want{noAnswer, ok, noAnswer},
			err:  "ended the stream of Load on its own",
		},
		"stream fails": {
			answer: func(b uint64) []*pluginpb.LoadResponse {
				return []*pluginpb.LoadResponse{{BatchId: b, Outcomes: created("b")}}
			},
			end:  wire.Broken("disk full"),
			want: []want{noAnswer, ok, noAnswer},
			err:  "plugin rogue: Load: disk full",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, log := start(t, &rogue{load: func(st *loadStream) error {
				req, err := (*st).Recv()
				if err != nil {
					return err
				}
				for _, resp := range tc.answer(req.GetBatch().GetId()) {
					if err := (*st).Send(resp); err != nil {
						return err
					}
				}
				switch {
				case errors.Is(tc.end, errEOF):
					return nil
				case tc.end != nil:
					return tc.end
				}
				_, _ = (*st).Recv() // the end of the stream
				return nil
			}}, Options{})
			outcomes, err := s.Load(t.Context(), users("a", "b", "c"))
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			var got []want
			for i, o := range outcomes {
				if o.SourceID != string(rune('a'+i)) {
					t.Errorf("outcome %d is of %s", i, o.SourceID)
				}
				got = append(got, want{o.Action, o.Code})
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			for _, l := range openStreams(s) {
				_ = l.drain(t.Context())
			}
			if !strings.Contains(log.String(), tc.log) {
				t.Errorf("log %q, want %q", log, tc.log)
			}
		})
	}
}

var errEOF = errors.New("end the stream without an error")

// echo answers every batch completely.
func echo(st *loadStream) error {
	for {
		req, err := (*st).Recv()
		if err != nil {
			return nil //nolint:nilerr // the host is done
		}
		b := req.GetBatch()
		var ids []string
		for _, u := range b.GetUsers() {
			ids = append(ids, u.GetSourceId())
		}
		if err := (*st).Send(&pluginpb.LoadResponse{BatchId: b.GetId(), Outcomes: created(ids...), Done: true}); err != nil {
			return err
		}
	}
}

func TestUsersWhoCannotBeSent(t *testing.T) {
	t.Parallel()
	s, _ := start(t, &rogue{load: echo}, Options{})
	in := users("a", "b", "a", "c", "d")
	in[1].Email = "\xff"
	in[3].Metadata = json.RawMessage(strings.Repeat(" ", wire.MaxUser))
	outcomes, err := s.Load(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	want := []pluginapi.Outcome{
		{SourceID: "a", Action: pluginapi.Created},
		{SourceID: "b", Action: pluginapi.Rejected, Code: diag.LoadInvalidUser, Detail: "email is not UTF-8 text"},
		{SourceID: "a", Action: pluginapi.Rejected, Code: diag.LoadDuplicateUser, Detail: "another user of the same batch has this source id"},
		{SourceID: "c", Action: pluginapi.Rejected, Code: diag.LoadUserTooLarge, Detail: outcomes[3].Detail},
		{SourceID: "d", Action: pluginapi.Created},
	}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Error(diff)
	}
}

func TestBatchesAreCut(t *testing.T) {
	t.Parallel()
	const big = 300
	for name, tc := range map[string]struct {
		limits pluginapi.BatchLimits
		users  int
		size   int // of each user's metadata
		want   []int
	}{
		"defaults":       {pluginapi.BatchLimits{}, 401, 0, []int{200, 200, 1}},
		"by number":      {pluginapi.BatchLimits{Users: 3}, 7, 0, []int{3, 3, 1}},
		"by bytes":       {pluginapi.BatchLimits{Bytes: 3*big + 100}, 7, big, []int{3, 3, 1}},
		"one at least":   {pluginapi.BatchLimits{Bytes: 10}, 3, big, []int{1, 1, 1}},
		"default bytes":  {pluginapi.BatchLimits{}, 3, 600 << 10, []int{1, 1, 1}},
		"never too many": {pluginapi.BatchLimits{Users: -1, Bytes: -1, InFlight: -1}, 2, 0, []int{2}},
		"nobody":         {pluginapi.BatchLimits{}, 0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sizes []int
			s, _ := start(t, &rogue{limits: tc.limits, load: func(st *loadStream) error {
				for {
					req, err := (*st).Recv()
					if err != nil {
						return nil //nolint:nilerr // the host is done
					}
					sizes = append(sizes, len(req.GetBatch().GetUsers()))
					if err := (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Done: true}); err != nil {
						return err
					}
				}
			}}, Options{})
			var in []pluginapi.User
			for i := range tc.users {
				in = append(in, users(fmt.Sprint(i))...)
				in[i].Metadata = json.RawMessage(strings.Repeat(" ", tc.size))
			}
			if _, err := s.Load(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, sizes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A plugin that reads nothing must not hold callers beyond their context, and
// what never left must not look like work in doubt.
func TestContextEndsAWait(t *testing.T) {
	t.Parallel()
	got := make(chan uint64, 10)
	s, _ := start(t, &rogue{limits: pluginapi.BatchLimits{Users: 1, InFlight: 2}, load: func(st *loadStream) error {
		for {
			req, err := (*st).Recv()
			if err != nil {
				return nil //nolint:nilerr // the host is done
			}
			if c := req.GetCancel(); c != nil {
				// The first cancelled batch was in fact done.
				if c.GetBatchId() == 1 {
					_ = (*st).Send(&pluginpb.LoadResponse{BatchId: 1, Outcomes: created("a"), Done: true})
				}
				continue
			}
			got <- req.GetBatch().GetId()
		}
	}}, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-got
		<-got
		cancel(errors.New("enough"))
	}()
	outcomes, err := s.Load(ctx, users("a", "b", "c"))
	if err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error %v", err)
	}
	if o := outcomes[0]; o.Action != pluginapi.Created {
		t.Errorf("reported after the cancellation: %+v", o)
	}
	if o := outcomes[1]; o.Action != pluginapi.InDoubt || o.Code != diag.PluginNoAnswer || !strings.Contains(o.Detail, "enough") {
		t.Errorf("never reported: %+v", o)
	}
	if o := outcomes[2]; o.Action != pluginapi.InDoubt || o.Code != diag.PluginNotSent {
		t.Errorf("never sent: %+v", o)
	}
}

func TestExplainedEnd(t *testing.T) {
	t.Parallel()
	cause := errors.New("it fell over")
	s, _ := start(t, &rogue{load: func(st *loadStream) error {
		_, _ = (*st).Recv()
		return context.Canceled // what a vanished peer looks like
	}}, Options{Explain: func() (diag.Code, error) { return diag.PluginCrash, cause }})
	outcomes, err := s.Load(t.Context(), users("a"))
	if !errors.Is(err, cause) || outcomes[0].Code != diag.PluginCrash || outcomes[0].Detail != "it fell over" {
		t.Errorf("outcome %+v, error %v", outcomes[0], err)
	}
}

func TestUnableAndUnknown(t *testing.T) {
	t.Parallel()
	s, _ := start(t, &rogue{}, Options{})
	if _, err := s.Plan(t.Context(), users("a")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("plan: %v", err)
	}
	if _, err := s.Check(t.Context(), pluginapi.Needs{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("check: %v", err)
	}
	if err := s.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "does not know the call Finish") {
		t.Errorf("finish: %v", err)
	}
}

func TestDescribeRefusesGarbage(t *testing.T) {
	t.Parallel()
	r := &rogue{}
	s, _ := start(t, r, Options{})
	r.schema = "not json"
	if _, err := s.Describe(t.Context()); err == nil || !strings.Contains(err.Error(), "not JSON") {
		t.Errorf("error %v", err)
	}
}

// A plugin that was not written with the SDK may say anything about what was lost.
func TestLossesAreJudged(t *testing.T) {
	t.Parallel()
	loss := &pluginpb.PartLoss{Feature: "roles", Code: "acme.no_role", Attribute: "admin", Detail: strings.Repeat("x", 1<<20)}
	s, log := start(t, &rogue{load: func(st *loadStream) error {
		req, err := (*st).Recv()
		if err != nil {
			return err
		}
		out := created("a", "b", "c", "d")
		out[0].Losses = []*pluginpb.PartLoss{loss, {Feature: "totp", Code: "No such"}, {Code: "acme.no_role"}}
		out[1].Action, out[1].Code, out[1].Losses = pluginpb.Action_ACTION_REJECTED, "acme.full", []*pluginpb.PartLoss{loss}
		for range maxLosses + 1 {
			out[2].Losses = append(out[2].Losses, &pluginpb.PartLoss{Feature: "roles", Code: "acme.no_role"})
		}
		return (*st).Send(&pluginpb.LoadResponse{BatchId: req.GetBatch().GetId(), Done: true, Outcomes: out})
	}}, Options{})
	out, err := s.Load(t.Context(), users("a", "b", "c", "d"))
	if err != nil {
		t.Fatal(err)
	}
	got := out[0].Losses
	if len(got) != 3 || got[0].Code != "acme.no_role" || got[0].Attribute != "admin" || len(got[0].Detail) > maxWords+40 ||
		got[1].Code != diag.PluginBrokeProtocol || got[2].Code != diag.PluginBrokeProtocol {
		t.Errorf("losses %.200v", got)
	}
	if out[1].Losses != nil || len(out[2].Losses) != maxLosses || out[3].Losses != nil {
		t.Errorf("of a rejected account %v, of many %d, of none %v", out[1].Losses, len(out[2].Losses), out[3].Losses)
	}
	if text := log.String(); !strings.Contains(text, "losses of an account that was not written") || !strings.Contains(text, "without a feature or a code") {
		t.Errorf("log %s", text)
	}
}

// Words of a plugin count only for codes of its own.
func TestDeclaredCodesAreJudged(t *testing.T) {
	t.Parallel()
	s, log := start(t, &rogue{codes: []*pluginpb.CodeInfo{
		{Code: "acme.quota", Meaning: "m", Remedy: "r"}, {Code: "load.moved", Meaning: "m", Remedy: "r"}, {Code: "acme.empty"},
	}}, Options{})
	if got := s.info.Codes; len(got) != 1 || got[0].Code != "acme.quota" {
		t.Errorf("codes %v", got)
	}
	if n := strings.Count(log.String(), "none of its own"); n != 2 {
		t.Errorf("%d lines in the log: %s", n, log)
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	const schema = `{
		"properties": {
			"url": {"type": "string"},
			"token": {"type": "string", "writeOnly": true},
			"short": {"type": "string", "writeOnly": true},
			"auth": {"oneOf": [{"properties": {"password": {"writeOnly": true}}}, {"$ref": "#/$defs/oauth~1x"}]},
			"list": {"items": {"writeOnly": true}},
			"tree": {"$ref": "#/properties/tree"}
		},
		"additionalProperties": {"writeOnly": true},
		"$defs": {"oauth/x": {"properties": {"client": {"properties": {"secret": {"writeOnly": true}}}}}}
	}`
	const config = `{
		"url": "https://visible", "token": "tok-123", "short": "abc",
		"auth": {"password": "pass\"word", "client": {"secret": "tok-1234"}},
		"list": ["first", "second"], "else": "otherwise", "tree": {"a": 1}
	}`
	s, _ := start(t, &rogue{schema: schema}, Options{})
	if got := s.Scrub("tok-123"); got != "tok-123" {
		t.Errorf("before Configure: %q", got)
	}
	list, err := s.Configure(t.Context(), []byte(config), "")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"at https://visible with tok-123": "at https://visible with ‹secret›",
		"tok-1234":                        "‹secret›", // not ‹secret›4
		`pass"word first second`:          "‹secret› ‹secret› ‹secret›",
		"otherwise abc":                   "‹secret› abc",
	} {
		if got := s.Scrub(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if strings.Contains(list[0].Summary, "tok-123") {
		t.Errorf("diagnostic %q", list[0].Summary)
	}
}

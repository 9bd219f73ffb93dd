package sdk_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

// memory is a journal that can be full.
type memory struct {
	mu    sync.Mutex
	saved map[string][]byte
	full  bool
}

func (m *memory) Saved(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.saved), nil
}

func (m *memory) Save(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.full:
		return errors.New("no space left on device")
	case value == nil:
		delete(m.saved, key)
	default:
		m.saved[key] = value
	}
	return nil
}

// jobs saves a job id before it reports, and pulses.
type jobs struct {
	env  sdk.Env
	want string // what an earlier run must have saved
}

func (j *jobs) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	if got, _ := j.env.Journal.Get("job"); string(got) != j.want {
		return errors.New("the journal holds " + string(got))
	}
	j.env.Pulse(sdk.Pulse{Limit: 3, Reason: "busy"})
	if err := j.env.Journal.Put(ctx, "job", []byte("job-2")); err != nil {
		return err
	}
	if err := j.env.Journal.Put(ctx, "gone", nil); err != nil {
		return err
	}
	for _, u := range users {
		out.Report(sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, State: []byte{1, 2}})
	}
	return nil
}

func (j *jobs) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	j.env.Pulse(sdk.Pulse{Reason: "listing", Done: 2, Total: 3})
	for _, u := range users {
		out.Report(sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}})
	}
	return nil
}

func (j *jobs) plugin() sdk.Plugin[noConfig] {
	return sdk.Plugin[noConfig]{Name: "jobs", New: func(_ context.Context, _ noConfig, env sdk.Env) (sdk.Target, error) {
		j.env = env
		return j, nil
	}}
}

func TestJournalOfAPlugin(t *testing.T) {
	t.Parallel()
	m := &memory{saved: map[string][]byte{"job": []byte("job-1"), "gone": {1}}}
	var pulses []sdk.Pulse
	j := &jobs{want: "job-1"}
	c := plugintest.ServeWith(t, j.plugin(), nil, plugintest.Host{Memory: m, Pulse: func(p sdk.Pulse) { pulses = append(pulses, p) }})
	if err := j.env.Journal.Put(t.Context(), "job", []byte("x")); err == nil || !strings.Contains(err.Error(), "none is") {
		t.Errorf("put without a load: %v", err)
	}
	outcomes, err := c.Load(t.Context(), users(2))
	if err != nil || outcomes[1].Action != sdk.Created || len(outcomes[1].State) != 2 {
		t.Fatalf("load: %+v, %v", outcomes, err)
	}
	if got := string(m.held()["job"]); got != "job-2" || len(m.held()) != 1 {
		t.Errorf("memory holds %q", m.held())
	}
	if got, _ := j.env.Journal.Get("job"); string(got) != "job-2" {
		t.Errorf("the plugin reads %q", got)
	}
	if err := c.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(pulses) != 1 || pulses[0].Limit != 3 {
		t.Errorf("pulses %+v", pulses)
	}
}

// pulsing says how it gets on while it plans and while it takes back.
type pulsing struct {
	loader
	env sdk.Env
}

func (p *pulsing) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	p.env.Pulse(sdk.Pulse{Reason: "plans"})
	out.Report(sdk.Change{Outcome: sdk.Outcome{SourceID: users[0].SourceID, Action: sdk.Created}})
	return nil
}

func (p *pulsing) Undo(_ context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	p.env.Pulse(sdk.Pulse{Reason: "undoes"})
	out.Report(sdk.Outcome{SourceID: accounts[0].SourceID, Action: sdk.Deleted})
	return nil
}

// A plan and an undo can take long as well, and are no silence then.
func TestPulsesOfPlansAndUndos(t *testing.T) {
	t.Parallel()
	for want, do := range map[string]func(c *plugintest.Client) error{
		"plans": func(c *plugintest.Client) error { _, err := c.Plan(t.Context(), users(1)); return err },
		"undoes": func(c *plugintest.Client) error {
			_, err := c.Undo(t.Context(), []sdk.Account{{SourceID: "1"}})
			return err
		},
	} {
		var pulses []sdk.Pulse
		p := sdk.Plugin[noConfig]{Name: "pulsing", New: func(_ context.Context, _ noConfig, env sdk.Env) (sdk.Target, error) {
			return &pulsing{env: env}, nil
		}}
		c := plugintest.ServeWith(t, p, nil, plugintest.Host{Pulse: func(p sdk.Pulse) { pulses = append(pulses, p) }})
		if err := do(c); err != nil || len(pulses) != 1 || pulses[0].Reason != want {
			t.Errorf("%s: %v, pulses %+v", want, err, pulses)
		}
	}
}

// A plan tells how far it is, and keeps nothing.
func TestPulsesOfAPlan(t *testing.T) {
	t.Parallel()
	var pulses []sdk.Pulse
	j := &jobs{}
	c := plugintest.ServeWith(t, j.plugin(), nil, plugintest.Host{Memory: &memory{}, Pulse: func(p sdk.Pulse) { pulses = append(pulses, p) }})
	if _, err := c.Plan(t.Context(), users(2)); err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(t.Context()); err != nil { // the stream is over
		t.Fatal(err)
	}
	if len(pulses) != 1 || pulses[0] != (sdk.Pulse{Reason: "listing", Done: 2, Total: 3}) {
		t.Errorf("pulses %+v", pulses)
	}
}

// What could not be made durable is an error of Put, so nothing is sent after it.
func TestJournalThatIsFull(t *testing.T) {
	t.Parallel()
	j := &jobs{}
	c := plugintest.ServeWith(t, j.plugin(), nil, plugintest.Host{Memory: &memory{full: true}})
	outcomes, err := c.Load(t.Context(), users(1))
	if err != nil {
		t.Fatal(err)
	}
	if o := outcomes[0]; o.Action != sdk.InDoubt || !strings.Contains(o.Detail, "save job: no space left on device") {
		t.Errorf("outcome %+v", o)
	}
}

func (m *memory) held() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.saved)
}

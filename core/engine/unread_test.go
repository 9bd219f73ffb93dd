package engine

import (
	"context"
	"maps"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// shy is a target that shows all of an account but its password: of what no run has
// noted, it cannot say whether it is as wanted.
type shy struct {
	*idp
	passwords map[string]string
}

func (s *shy) unread(u *pluginapi.User, c *pluginapi.Change) {
	if c.Action != pluginapi.Unchanged || string(u.Prior.State) == s.state(u) {
		return
	}
	c.State = nil
	if u.Existing == pluginapi.Update {
		c.Action, c.Fields = pluginapi.Updated, []pluginapi.FieldChange{{Field: "password", Old: pluginapi.UnreadValue}}
		return
	}
	c.Losses = []pluginapi.PartLoss{{Feature: pluginapi.PartPassword, Code: diag.LoadUnread}}
}

func (s *shy) state(u *pluginapi.User) string { return shape(u) + " " + u.Password.Encode() }

func (s *shy) Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	out, err := s.idp.Plan(ctx, users)
	for i := range out {
		s.unread(&users[i], &out[i])
	}
	return out, err
}

func (s *shy) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	out, err := s.idp.Load(ctx, users)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range out {
		u, c := &users[i], pluginapi.Change{Outcome: out[i]}
		s.unread(u, &c)
		if c.Action == pluginapi.Created || c.Action == pluginapi.Updated {
			s.passwords[u.ID] = u.Password.Encode()
			c.State = []byte(s.state(u))
		}
		out[i] = c.Outcome
	}
	return out, err
}

// A lost journal: what the target does not show is not believed. Nobody is said to be as
// wanted of whom nobody can tell, in no run and not by verify, until the operator has it
// sent again.
func TestLostJournal(t *testing.T) {
	t.Parallel()
	dst, src := &shy{newIDP(), map[string]string{}}, people(7)
	if _, _, err := newProject(t).do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	dst.passwords[id(3)] = "an old one" // the source has changed it since
	p := newProject(t)
	verify := func(what string, match, unread int) {
		t.Helper()
		p.with(func(_ *journal.Scope, o Options) {
			v, err := Verify(context.Background(), src, dst, o, 0)
			if err != nil || v.Match != match || v.Unread != unread || v.Different() != 0 {
				t.Errorf("%s, verify: %+v, %v", what, v, err)
			}
		})
	}
	before := maps.Clone(dst.passwords)
	for range 2 {
		res, _, err := p.do(src, dst, nil)
		if err != nil || res.Summary != (pluginapi.Summary{Read: 7, Unchanged: 7}) || res.Unread != 7 {
			t.Errorf("with a new journal: %+v, unread %d, %v", res.Summary, res.Unread, err)
		}
		verify("with a new journal", 0, 7)
	}
	if !maps.Equal(before, dst.passwords) {
		t.Error("passwords of accounts that are not to be taken over were sent")
	}
	dry, _, err := p.do(src, dst, func(o *Options) { o.Policies.Adopt, o.DryRun = true, true })
	if err != nil || dry.Summary.Updated != 7 {
		t.Errorf("plan of an adoption: %+v, %v", dry.Summary, err)
	}
	res, _, err := p.do(src, dst, func(o *Options) { o.Policies.Adopt = true })
	if err != nil || res.Summary.Updated != 7 || res.Unread != 0 || dst.passwords[id(3)] == "an old one" {
		t.Errorf("adopting: %+v, unread %d, %v", res.Summary, res.Unread, err)
	}
	verify("after an adoption", 7, 0)
	if res, _, err = p.do(src, dst, nil); err != nil || res.Summary.Unchanged != 7 || res.Unread != 0 {
		t.Errorf("the run after that: %+v, unread %d, %v", res.Summary, res.Unread, err)
	}
}

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/pluginapi"
)

// idp is an identity provider with a memory: it keeps the contract of plugins, and
// counts every write.
type idp struct {
	mu       sync.Mutex
	caps     pluginapi.Capabilities
	accounts map[string]string // id → "username email given"
	foreign  map[string]bool   // ids that a test put there
	writes   int
	deletes  int
	batches  int
	// before, when set, is called with each batch of Load, before anything is
	// written; after, when set, may lose the answer.
	before func(batch int, users []pluginapi.User) error
	after  func(batch int) error
	// passwords says what Login answers, by password class; nil accepts the right one.
	login func(l pluginapi.Login, right bool) (bool, error)
	known map[string]string // username → password hash, for Login
	saved map[string][]byte
	// signIns is what a check says of the ways to sign in.
	signIns []pluginapi.SignIn
	found   diag.List // what Check says
	// taken are addresses that accounts have, with their ids, and nobody else can get.
	taken map[string]string
	// once says that no two accounts have the same address.
	once bool
}

func (p *idp) Saved(context.Context) (map[string][]byte, error) { return maps.Clone(p.saved), nil }

func (p *idp) Save(_ context.Context, key string, value []byte) error {
	p.saved[key] = value
	if value == nil {
		delete(p.saved, key)
	}
	return nil
}

func newIDP() *idp {
	return &idp{accounts: map[string]string{}, foreign: map[string]bool{}, known: map[string]string{}, saved: map[string][]byte{}, caps: pluginapi.Capabilities{
		Abilities: []pluginapi.Ability{pluginapi.CanCheck, pluginapi.CanPlan, pluginapi.CanUndo, pluginapi.CanLogin}, Batch: pluginapi.BatchLimits{Users: 5, InFlight: 3},
		Hashes: []pluginapi.HashSupport{{Scheme: canonical.Bcrypt}},
	}}
}

func shape(u *pluginapi.User) string { return u.Username + " " + u.Email + " " + u.GivenName }

func (p *idp) Capabilities() pluginapi.Capabilities { return p.caps }

func (p *idp) Check(context.Context, pluginapi.Needs) (pluginapi.Checked, error) {
	return pluginapi.Checked{Diagnostics: p.found, SignIns: p.signIns}, nil
}

func (p *idp) Finish(context.Context) error { return nil }

func (p *idp) compare(u *pluginapi.User) pluginapi.Change {
	now, there := p.accounts[u.ID]
	c := pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: u.SourceID, TargetID: u.ID}}
	if holder := p.taken[u.Email]; !there && holder != "" {
		c.Action, c.TargetID, c.Code, c.Detail = pluginapi.Rejected, "", diag.LoadEmailConflict, "the address belongs to the account "+holder+" of the target"
		return c
	}
	for id, a := range p.accounts {
		if !p.once {
			break
		}
		if words := strings.Fields(strings.TrimPrefix(a, "off ")); id != u.ID && len(words) > 1 && words[1] == u.Email {
			c.Action, c.TargetID, c.Code, c.Holder, c.Detail = pluginapi.Rejected, "", diag.LoadEmailConflict, id, "somebody has the address"
			return c
		}
	}
	if !there {
		c.Action, c.TargetID = pluginapi.Created, ""
		return c
	}
	c.State = []byte(now)
	if now == shape(u) {
		c.Action = pluginapi.Unchanged
		return c
	}
	drift := len(u.Prior.State) > 0 && string(u.Prior.State) != now
	c.Fields = []pluginapi.FieldChange{{Field: "all", Old: now, New: shape(u), Drift: drift}}
	if u.Existing != pluginapi.Update {
		c.Action, c.Code = pluginapi.Skipped, diag.LoadExistsDiffers
		return c
	}
	if u.Expect != nil && !bytes.Equal(u.Expect, c.State) {
		c.Action, c.Code = pluginapi.Rejected, diag.LoadMoved
		return c
	}
	c.Action = pluginapi.Updated
	return c
}

func (p *idp) Plan(_ context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []pluginapi.Change
	for i := range users {
		out = append(out, p.compare(&users[i]))
	}
	return out, nil
}

func (p *idp) Load(_ context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches++
	var out []pluginapi.Outcome
	lost := func(err error) ([]pluginapi.Outcome, error) {
		out = nil
		for _, u := range users {
			out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.InDoubt, Code: diag.PluginNoAnswer, Detail: err.Error()})
		}
		return out, err
	}
	if p.before != nil {
		if err := p.before(p.batches, users); err != nil {
			return lost(err)
		}
	}
	for i := range users {
		u := &users[i]
		c := p.compare(u)
		switch c.Action {
		case pluginapi.Created:
			p.writes++
			c.TargetID = u.ID
		case pluginapi.Updated:
			p.writes++
			c.Before = []byte(p.accounts[u.ID])
		default:
			out = append(out, c.Outcome)
			continue
		}
		p.accounts[u.ID] = shape(u)
		p.known[u.Username] = u.Password.Encode()
		c.State = []byte(shape(u))
		out = append(out, c.Outcome)
	}
	if p.after != nil {
		if err := p.after(p.batches); err != nil {
			return lost(err)
		}
	}
	return out, nil
}

func (p *idp) Undo(_ context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []pluginapi.Outcome
	for _, a := range accounts {
		o := pluginapi.Outcome{SourceID: a.SourceID, TargetID: a.TargetID}
		now, there := p.accounts[a.TargetID]
		switch {
		case !there:
			o.Action = pluginapi.Unchanged
		case a.Disable && a.InDoubt && now == "off "+string(a.State):
			o.Action, o.State, o.Before = pluginapi.Updated, []byte(now), a.State
		case a.State != nil && string(a.State) != now:
			o.Action, o.Code = pluginapi.Skipped, diag.LoadMoved
		case a.DryRun && !a.Disable && a.Before == nil:
			o.Action = pluginapi.Deleted
		case a.DryRun:
			o.Action = pluginapi.Updated
		case a.Disable:
			p.writes++
			off := "off " + strings.TrimPrefix(now, "off ")
			if a.Release {
				off = "off gone gone@gone.invalid " + a.TargetID
			}
			p.accounts[a.TargetID] = off
			o.Action, o.State, o.Before = pluginapi.Updated, []byte(off), []byte(now)
		case a.Before != nil:
			p.writes++
			p.accounts[a.TargetID] = string(a.Before)
			o.Action = pluginapi.Updated
		default:
			p.writes++
			p.deletes++
			delete(p.accounts, a.TargetID)
			o.Action = pluginapi.Deleted
		}
		out = append(out, o)
	}
	return out, nil
}

func (p *idp) Login(_ context.Context, l pluginapi.Login) (bool, error) {
	right := !strings.HasPrefix(l.Password.Reveal(), "x")
	if p.login != nil {
		return p.login(l, right)
	}
	return right, nil
}

func (p *idp) snapshot() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]string{}
	for id, a := range p.accounts {
		out[id] = a
	}
	return out
}

// project is a journal in a folder, opened for one run after the other.
type project struct {
	t   testing.TB
	dir string
	run int64
}

func newProject(t testing.TB) *project { return &project{t: t, dir: t.TempDir()} }

// with opens the journal for the time of f, as a process does.
func (p *project) with(f func(s *journal.Scope, o Options)) {
	p.t.Helper()
	j, err := sqlite.Open(context.Background(), p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			p.t.Errorf("close the journal: %v", err)
		}
	}()
	s, err := j.Scope(context.Background(), "public", "idp")
	if err != nil {
		p.t.Fatal(err)
	}
	p.run++
	f(s, Options{Journal: s, Run: p.run, Key: j.FingerprintKey()})
}

// do runs once and returns what came of it.
func (p *project) do(src Source, dst Target, change func(*Options)) (*Result, map[string]pluginapi.Change, error) {
	p.t.Helper()
	var result *Result
	var err error
	seen := map[string]pluginapi.Change{}
	p.with(func(_ *journal.Scope, o Options) {
		o.Outcome = func(c pluginapi.Change) { seen[c.SourceID] = c }
		if change != nil {
			change(&o)
		}
		result, err = Run(context.Background(), src, dst, o)
	})
	return result, seen, err
}

// rename gives the n-th account another e-mail address.
func rename(src listed, n int, email string) listed {
	out := slices.Clone(src)
	logins := slices.Clone(out[n].Logins)
	logins[0].Email = &email
	out[n].Logins = logins
	return out
}

var errKilled = errors.New("killed")

func id(n int) string { return fmt.Sprintf("u%04d", n) }

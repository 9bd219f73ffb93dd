package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

func TestSecondRunSendsNothing(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(23)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	writes, batches := dst.writes, dst.batches
	res, _, err := p.do(src, dst, nil)
	if err != nil || res.Summary != (pluginapi.Summary{Read: 23, Unchanged: 23}) {
		t.Errorf("second run: %+v, %v", res.Summary, err)
	}
	if dst.writes != writes || dst.batches != batches {
		t.Errorf("the second run sent %d batches and wrote %d accounts", dst.batches-batches, dst.writes-writes)
	}
}

func TestDeltaTouchesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(23)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	writes := dst.writes
	src = append(rename(src, 7, "new@example.org")[:20], people(25)[24]) // one changed, three removed, one new
	res, _, err := p.do(src, dst, nil)
	if err != nil || res.Summary != (pluginapi.Summary{Read: 21, Created: 1, Updated: 1, Unchanged: 19}) {
		t.Errorf("delta: %+v, %v", res.Summary, err)
	}
	if diff := cmp.Diff([]string{id(20), id(21), id(22)}, res.Removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if dst.writes != writes+2 || dst.accounts[id(7)] != "new@example.org new@example.org " || dst.deletes > 0 {
		t.Errorf("%d writes, account is %q", dst.writes-writes, dst.accounts[id(7)])
	}
}

// What others have changed in the target is not written over in silence.
func TestDriftIsAPolicy(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(9)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	dst.accounts[id(3)] = "somebody changed this"
	delete(dst.accounts, id(4))
	changed := rename(rename(src, 3, "a@example.org"), 4, "b@example.org")
	res, seen, err := p.do(changed, dst, nil)
	if err != nil || res.Summary.Skipped != 2 || res.Drifted != 2 || seen[id(3)].Code != diag.LoadDrift || seen[id(4)].Code != diag.LoadDrift {
		t.Fatalf("%+v, %v, %+v", res.Summary, err, seen)
	}
	if dst.accounts[id(3)] != "somebody changed this" {
		t.Errorf("the account is %q now", dst.accounts[id(3)])
	}
	res, _, err = p.do(changed, dst, func(o *Options) { o.Policies.OverwriteDrift = true })
	if err != nil || res.Summary.Updated != 1 || res.Summary.Created != 1 || dst.accounts[id(3)] != "a@example.org a@example.org " {
		t.Errorf("overwriting: %+v, %v, %q", res.Summary, err, dst.accounts[id(3)])
	}
	// What has not changed at the source is not looked at, and that is said.
	for want, full := range []bool{true, false} {
		dst.accounts[id(3)] = "somebody changed this again"
		res, _, err = p.do(changed, dst, func(o *Options) { o.Policies.OverwriteDrift, o.Full = true, full })
		if err != nil || len(res.Diagnostics) != want || full != (dst.accounts[id(3)] == "a@example.org a@example.org ") {
			t.Errorf("full %v: %+v, %v, %q", full, res.Diagnostics, err, dst.accounts[id(3)])
		}
	}
}

// Who registers again meets the account of before: the reject names whose it was, in plan
// and run.
func TestRejectNamesWhoHasGone(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(3)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	dst.taken = map[string]string{"user1@example.org": id(1)}
	again := append(listed{}, src[2:]...)
	again = append(again, rename(people(5), 4, "user1@example.org")[4])
	for _, dry := range []bool{true, false} {
		_, seen, err := p.do(again, dst, func(o *Options) { o.DryRun = dry })
		if c := seen[id(4)]; err != nil || c.Code != diag.LoadEmailConflict || !strings.Contains(c.Detail, "has made that account for "+id(1)+", who is no longer") {
			t.Errorf("dry %v: %v, %+v", dry, err, c)
		}
	}
}

// An account that somebody else made is left alone unless a policy says so, and
// then within a limit.
func TestExistingAccountsAreAPolicy(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(9)
	dst.accounts[id(2)], dst.accounts[id(3)] = "theirs", "theirs too"
	same := "user4@example.org user4@example.org "
	dst.accounts[id(4)] = same
	res, _, err := p.do(src, dst, nil)
	if err != nil || res.Summary != (pluginapi.Summary{Read: 9, Created: 6, Unchanged: 1, Skipped: 2}) || dst.accounts[id(2)] != "theirs" {
		t.Fatalf("leaving: %+v, %v", res.Summary, err)
	}
	_, _, err = p.do(src, dst, func(o *Options) {
		o.Policies.Adopt, o.Policies.Limits.Adoptions = true, policy.Limit{Set: true, Count: 1}
	})
	if !errors.Is(err, ErrLimit) || dst.accounts[id(2)] != "theirs" {
		t.Fatalf("beyond the limit: %v", err)
	}
	res, _, err = p.do(src, dst, func(o *Options) { o.Policies.Adopt = true })
	if err != nil || res.Summary.Updated != 2 {
		t.Fatalf("adopting: %+v, %v", res.Summary, err)
	}
	p.with(func(s *journal.Scope, _ Options) {
		undone, err := Undo(context.Background(), s, dst, UndoOptions{})
		if err != nil || undone.Deleted != 6 || undone.Restored != 2 || undone.Left != 1 || len(undone.Kept) > 0 {
			t.Errorf("undo: %+v, %v", undone, err)
		}
	})
	if diff := cmp.Diff(map[string]string{id(2): "theirs", id(3): "theirs too", id(4): same}, dst.snapshot()); diff != "" {
		t.Errorf("after the undo (-want +got):\n%s", diff)
	}
}

func TestUndoKeepsWhatWasTouched(t *testing.T) {
	t.Parallel()
	p, dst := newProject(t), newIDP()
	if _, _, err := p.do(people(12), dst, nil); err != nil {
		t.Fatal(err)
	}
	dst.accounts[id(5)] = "touched"
	delete(dst.accounts, id(6))
	p.with(func(s *journal.Scope, _ Options) {
		undone, err := Undo(context.Background(), s, dst, UndoOptions{})
		if err != nil || undone.Deleted != 10 || undone.Gone != 1 || undone.Kept[diag.LoadMoved] != 1 {
			t.Errorf("undo: %+v, %v", undone, err)
		}
	})
	if diff := cmp.Diff(map[string]string{id(5): "touched"}, dst.snapshot()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// finding is a target whose undo looks for accounts in doubt, by their ids.
type finding struct{ *idp }

func (f finding) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	for i, a := range accounts {
		if a.InDoubt {
			accounts[i].TargetID = a.ID
		}
	}
	return f.idp.Undo(ctx, accounts)
}

// An account that was sent and has no answer is not hidden from an undo: it is looked for
// where the target can, and named where it cannot.
func TestUndoOfWhatHasNoAnswer(t *testing.T) {
	t.Parallel()
	for name, can := range map[string]bool{"the target can look": true, "it cannot": false} {
		p, dst := newProject(t), newIDP()
		dst.after = func(int) error { return errKilled } // it is there, and nobody knows
		if _, _, err := p.do(people(3), dst, nil); err == nil || len(dst.accounts) != 3 {
			t.Fatalf("%s: %v, %v", name, err, dst.accounts)
		}
		dst.after = nil
		delete(dst.accounts, id(2))
		if can {
			dst.caps.Abilities = append(dst.caps.Abilities, pluginapi.CanUndoInDoubt)
		}
		p.with(func(s *journal.Scope, _ Options) {
			var named []string
			undone, err := Undo(context.Background(), s, finding{dst}, UndoOptions{Report: func(o pluginapi.Outcome) {
				if o.Code == diag.UndoInDoubt {
					named = append(named, o.Detail)
				}
			}})
			if err != nil || undone.Doubtful != 3 || undone.Left != 0 {
				t.Errorf("%s: %+v, %v", name, undone, err)
			}
			if can && (undone.Deleted != 2 || undone.Gone != 1 || len(dst.accounts) != 0) {
				t.Errorf("%s: %+v, left %v", name, undone, dst.accounts)
			}
			if !can && (undone.Kept[diag.UndoInDoubt] != 3 || len(named) != 3 || !strings.Contains(named[0], id(0))) {
				t.Errorf("%s: %+v, named %q", name, undone, named)
			}
		})
	}
}

// weighed is a target that notes how much of pre-images an undo hands over at once.
type weighed struct {
	*idp
	most int
}

func (w *weighed) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	size := 0
	for _, a := range accounts {
		size += len(a.Before)
	}
	w.most = max(w.most, size)
	return w.idp.Undo(ctx, accounts)
}

// Two hundred megabytes of pre-images go into the journal and out of it again, and little
// of it is in memory at once.
func TestUndoOfLargePreImages(t *testing.T) {
	t.Parallel()
	const n, size = 2000, 100 << 10
	testenv.Slow(t, "writes 200 MB")
	p, dst := newProject(t), newIDP()
	dst.caps.Batch.Users = 200
	was := map[string]string{}
	filler := strings.Repeat("x", size)
	for i := range n {
		was[id(i)] = "was " + id(i) + filler
	}
	dst.accounts = maps.Clone(was)
	res, _, err := p.do(people(n), dst, func(o *Options) { o.Policies.Adopt = true })
	if err != nil || res.Summary.Updated != n {
		t.Fatalf("%+v, %v", res.Summary, err)
	}
	p.with(func(s *journal.Scope, _ Options) {
		w := &weighed{idp: dst}
		undone, err := Undo(context.Background(), s, w, UndoOptions{})
		if err != nil || undone.Restored != n || len(undone.Kept) > 0 || w.most > undoBytes+size+100 {
			t.Errorf("%+v, %v, %d bytes at once", undone, err, w.most)
		}
	})
	if !maps.Equal(was, dst.snapshot()) {
		t.Error("not everybody is as before")
	}
}

// The target commits, the answer is lost: no duplicate, no loss, and it is known
// whose the account is.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(23)
	dst.after = func(batch int) error {
		if batch == 2 {
			return errors.New("connection reset")
		}
		return nil
	}
	if res, _, err := p.do(src, dst, nil); err == nil || res.Summary.InDoubt != 5 {
		t.Fatalf("first run: %+v, %v", res.Summary, err)
	}
	dst.after = nil
	res, _, err := p.do(src, dst, nil)
	if err != nil || res.Summary.Accounted() != 23 || res.Summary.InDoubt+res.Summary.Rejected > 0 || dst.writes != 23 {
		t.Errorf("second run: %+v, %v, %d writes", res.Summary, err, dst.writes)
	}
	p.with(func(s *journal.Scope, _ Options) {
		if undone, err := Undo(context.Background(), s, dst, UndoOptions{}); err != nil || undone.Deleted != 23 {
			t.Errorf("undo: %+v, %v", undone, err)
		}
	})
}

// mortal is a journal of a process that is killed at the n-th call: from then on
// nothing is written any more, neither here nor in the target.
type mortal struct {
	*journal.Scope
	left atomic.Int64
}

func (m *mortal) killed() bool { return m.left.Load() < 0 }

func (m *mortal) die() error {
	if m.left.Add(-1) < 0 {
		return errKilled
	}
	return nil
}

func (m *mortal) Mark(run int64, e []journal.Entry) (int64, error) {
	if err := m.die(); err != nil {
		return 0, err
	}
	n, err := m.Scope.Mark(run, e)
	if err == nil {
		err = m.die() // after it was written
	}
	return n, err
}

func (m *mortal) Record(batch int64, e []journal.Entry) error {
	if err := m.die(); err != nil {
		return err
	}
	if err := m.Scope.Record(batch, e); err != nil {
		return err
	}
	return m.die()
}

// Killed at any moment, any number of times, the next run ends where an
// undisturbed one would have.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "kills a run at every moment")
	undisturbed := func(src listed) map[string]string {
		p, dst := newProject(t), newIDP()
		if _, _, err := p.do(src, dst, nil); err != nil {
			t.Fatal(err)
		}
		return dst.snapshot()
	}
	first, second := people(23), rename(people(25), 3, "changed@example.org")
	wantFirst, want := undisturbed(first), undisturbed(second)
	kill := func(t testing.TB, p *project, dst *idp, src Source, at int) (done bool) {
		m := &mortal{}
		m.left.Store(int64(at))
		dst.before = func(int, []pluginapi.User) error {
			if m.killed() {
				return errKilled // a dead process sends nothing
			}
			return nil
		}
		_, _, err := p.do(src, dst, func(o *Options) {
			m.Scope, _ = o.Journal.(*journal.Scope)
			o.Journal = m
		})
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatalf("killed at %d: %v", at, err)
		}
		return err == nil
	}
	for at := 0; ; at++ {
		p, dst := newProject(t), newIDP()
		done := kill(t, p, dst, first, at)
		dst.before = nil
		if _, _, err := p.do(first, dst, nil); err != nil {
			t.Fatalf("killed at %d, then: %v", at, err)
		}
		if diff := cmp.Diff(wantFirst, dst.snapshot()); diff != "" || dst.writes != 23 {
			t.Fatalf("killed at %d: %d writes (-want +got):\n%s", at, dst.writes, diff)
		}
		if done {
			break
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		p, dst := newProject(t), newIDP()
		dst.caps.Batch = pluginapi.BatchLimits{Users: rapid.IntRange(1, 6).Draw(rt, "users"), InFlight: rapid.IntRange(1, 16).Draw(rt, "in flight")}
		for _, src := range []listed{first, second} {
			for range rapid.IntRange(0, 3).Draw(rt, "kills") {
				kill(t, p, dst, src, rapid.IntRange(0, 60).Draw(rt, "at"))
			}
			dst.before = nil
			res, _, err := p.do(src, dst, nil)
			if err != nil || res.Summary.InDoubt > 0 {
				rt.Fatalf("after the kills: %+v, %v", res.Summary, err)
			}
		}
		if diff := cmp.Diff(want, dst.snapshot()); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// A journal that cannot be written stops the run before more is sent.
func TestJournalThatIsFull(t *testing.T) {
	t.Parallel()
	p, dst := newProject(t), newIDP()
	full := errors.New("no space left on device")
	res, _, err := p.do(people(50), dst, func(o *Options) {
		scope, _ := o.Journal.(*journal.Scope)
		b := &broken{Scope: scope, err: full}
		b.after.Store(3)
		o.Journal = b
	})
	if !errors.Is(err, full) || res.Summary.Read != res.Summary.Accounted() || dst.writes >= 50 {
		t.Errorf("%+v, %v, %d writes", res.Summary, err, dst.writes)
	}
	res, _, err = p.do(people(50), dst, nil)
	if err != nil || len(dst.accounts) != 50 || dst.writes != 50 || res.Summary.InDoubt > 0 {
		t.Errorf("resumed: %+v, %v, %d writes", res.Summary, err, dst.writes)
	}
}

type broken struct {
	*journal.Scope
	err   error
	after atomic.Int64
}

func (b *broken) Record(n int64, e []journal.Entry) error {
	if b.after.Add(-1) < 0 {
		return b.err
	}
	return b.Scope.Record(n, e)
}

// leased is a journal that another run can hold from the second mark on.
type leased struct {
	*journal.Scope
	marks atomic.Int32
}

func (l *leased) Mark(run int64, e []journal.Entry) (int64, error) {
	l.marks.Add(1)
	return l.Scope.Mark(run, e)
}

func (l *leased) Held() error {
	if l.marks.Load() > 1 {
		return errors.New("somebody else holds it")
	}
	return nil
}

// A run that was held up between a mark and sending sends nothing, once another one can have
// begun.
func TestNothingIsSentWithoutTheLease(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(23)
	dst.caps.Batch.Users, dst.caps.Batch.InFlight = 5, 1
	_, _, err := p.do(src, dst, func(o *Options) {
		scope, ok := o.Journal.(*journal.Scope)
		if !ok {
			t.Fatal("another journal")
		}
		o.Journal = &leased{Scope: scope}
	})
	if err == nil || !strings.Contains(err.Error(), "somebody else holds it") || dst.writes > 5 {
		t.Errorf("%d accounts were written, %v", dst.writes, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(20)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	changed := src
	for i := range 5 {
		changed = rename(changed, i, fmt.Sprintf("new%d@example.org", i))
	}
	writes := dst.writes
	for _, limit := range []policy.Limit{{Set: true, Count: 4}, {Set: true, Percent: 20}, {Set: true}} {
		res, _, err := p.do(changed, dst, func(o *Options) { o.Policies.Limits.Updates = limit })
		if !errors.Is(err, ErrLimit) || dst.writes != writes || res.Summary.Read != 0 {
			t.Errorf("limit %+v: %v, %d writes", limit, err, dst.writes-writes)
		}
	}
	if _, _, err := p.do(changed, dst, func(o *Options) { o.Policies.Limits.Updates = policy.Limit{Set: true, Percent: 25} }); err != nil {
		t.Errorf("within the limit: %v", err)
	}
}

func TestStopsWhenTooMuchFails(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.load = func(users []pluginapi.User) ([]pluginapi.Outcome, error) {
		var out []pluginapi.Outcome
		for _, u := range users {
			out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Rejected, Code: diag.LoadTargetRefused})
		}
		return out, nil
	}
	res, err := Run(t.Context(), people(500), f, Options{Policies: policy.Policies{Limits: policy.Limits{Failures: policy.Limit{Set: true, Count: 10}, Window: 20}}})
	if !errors.Is(err, ErrLimit) || res.Summary.Rejected < 10 || res.Summary.Rejected > 60 {
		t.Errorf("%v, %+v", err, res.Summary)
	}
}

func TestDryRunPredictsTheRun(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(30)
	dst.accounts[id(1)] = "theirs"
	if _, _, err := p.do(src[:20], dst, nil); err != nil {
		t.Fatal(err)
	}
	dst.accounts[id(2)] = "changed by others"
	dst.accounts[id(3)] = "changed by others"
	src = rename(rename(src, 2, "two@example.org"), 5, "five@example.org")
	before := maps.Clone(dst.accounts)
	planned, changes, err := p.do(src, dst, func(o *Options) { o.DryRun = true })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, dst.snapshot()); diff != "" {
		t.Errorf("the dry run wrote:\n%s", diff)
	}
	if planned.Drifted != 2 || len(changes[id(3)].Fields) != 1 || !changes[id(3)].Fields[0].Drift {
		t.Errorf("drift: %d, %+v", planned.Drifted, changes[id(3)])
	}
	res, _, err := p.do(src, dst, nil)
	if err != nil || res.Summary != planned.Summary {
		t.Errorf("planned %+v, done %+v, %v", planned.Summary, res.Summary, err)
	}
}

// A dry run after a run that was killed looks up whom that one has sent. Who is there
// is unchanged, and who is not, yet, is in doubt and not simply created. The plan of
// it can be executed.
func TestDryRunAfterAKill(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(20)
	arrived := map[string]bool{id(7): true, id(8): true}
	p.with(func(s *journal.Scope, o Options) { // what is left of the killed run
		var marks []journal.Entry
		for _, n := range []int{7, 8, 9} {
			marks = append(marks, journal.Entry{SourceID: id(n), VisibleID: id(n), Class: pluginapi.NoPassword})
		}
		if _, err := s.Mark(o.Run, marks); err != nil {
			t.Fatal(err)
		}
	})
	for i := range src {
		if u, _ := mapping.Map(&src[i], dst.caps); arrived[u.SourceID] {
			dst.accounts[u.ID] = shape(&u)
		}
	}
	read, err := sqlite.Read(t.Context(), p.dir) // as a dry run does
	if err != nil {
		t.Fatal(err)
	}
	scope, err := read.Scope(t.Context(), "public", "idp")
	if err != nil {
		t.Fatal(err)
	}
	plan, seen := NewPlan("public", "idp", nil, nil), map[string]pluginapi.Change{}
	var digests sync.Map
	planned, err := Run(t.Context(), src, dst, Options{
		DryRun: true, Journal: scope, Key: read.FingerprintKey(),
		Digest: func(id string, digest []byte) { digests.Store(id, digest) },
		Outcome: func(c pluginapi.Change) {
			seen[c.SourceID] = c
			digest, _ := digests.Load(c.SourceID)
			plan.Add(c, digest.([]byte))
		},
	})
	if err := errors.Join(err, read.Close()); err != nil {
		t.Fatal(err)
	}
	if want := (pluginapi.Summary{Read: 20, Created: 17, Unchanged: 2, InDoubt: 1}); planned.Summary != want || dst.writes != 0 {
		t.Errorf("planned %+v, want %+v; %d writes", planned.Summary, want, dst.writes)
	}
	if c := seen[id(9)]; c.Action != pluginapi.InDoubt || c.Code != diag.LoadUnknownAnswer || !strings.Contains(c.Detail, "looks it up") {
		t.Errorf("the one that has not arrived: %+v", c.Outcome)
	}
	if c := seen[id(7)]; c.Action != pluginapi.Unchanged {
		t.Errorf("one that has arrived: %+v", c.Outcome)
	}
	// Meanwhile it arrives: the run that executes the plan looks it up.
	u, _ := mapping.Map(&src[9], dst.caps)
	dst.accounts[u.ID] = shape(&u)
	res, _, err := p.do(src, dst, func(o *Options) { o.Plan = plan })
	if want := (pluginapi.Summary{Read: 20, Created: 17, Unchanged: 3}); err != nil || res.Summary != want || dst.writes != 17 {
		t.Errorf("done %+v, %v, want %+v; %d writes", res.Summary, err, want, dst.writes)
	}
}

// An update whose answer was lost can look like drift. It is none, for the dry run as
// for the run.
func TestDryRunOfALostUpdate(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(9)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	p.with(func(s *journal.Scope, o Options) {
		if _, err := s.Mark(o.Run, []journal.Entry{{SourceID: id(3), VisibleID: id(3)}}); err != nil {
			t.Fatal(err)
		}
	})
	dst.accounts[id(3)] = "what the lost update has made of it"
	src = rename(src, 3, "newer@example.org")
	planned, _, err := p.do(src, dst, func(o *Options) { o.DryRun = true })
	if err != nil {
		t.Fatal(err)
	}
	res, _, err := p.do(src, dst, nil)
	if want := (pluginapi.Summary{Read: 9, Updated: 1, Unchanged: 8}); err != nil || planned.Summary != want || res.Summary != want {
		t.Errorf("planned %+v, done %+v, %v; want %+v", planned.Summary, res.Summary, err, want)
	}
}

func TestPlanIsExecutedToTheLetter(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(10)
	if _, _, err := p.do(src[:6], dst, nil); err != nil {
		t.Fatal(err)
	}
	src = rename(rename(rename(src, 0, "zero@example.org"), 1, "one@example.org"), 2, "two@example.org")
	plan := NewPlan("public", "idp", nil, nil)
	p.with(func(_ *journal.Scope, o Options) {
		var digests sync.Map
		o.Digest = func(id string, digest []byte) { digests.Store(id, digest) }
		o.DryRun, o.Outcome = true, func(c pluginapi.Change) {
			digest, _ := digests.Load(c.SourceID)
			plan.Add(c, digest.([]byte))
		}
		if _, err := Run(t.Context(), src, dst, o); err != nil {
			t.Fatal(err)
		}
	})
	// Meanwhile: the target moves, the source moves, somebody signs up.
	dst.accounts[id(1)] = "moved"
	late := append(rename(src, 2, "later@example.org"), people(11)[10])
	res, seen, err := p.do(late, dst, func(o *Options) { o.Plan, o.Policies.OverwriteDrift = plan, true })
	if err != nil {
		t.Fatal(err)
	}
	if res.Summary != (pluginapi.Summary{Read: 11, Created: 4, Updated: 1, Unchanged: 3, Skipped: 1, Rejected: 2}) {
		t.Errorf("summary %+v", res.Summary)
	}
	for source, want := range map[string]diag.Code{id(0): "", id(1): diag.LoadMoved, id(2): diag.PlanSourceMoved, id(10): diag.PlanNotPlanned} {
		if seen[source].Code != want {
			t.Errorf("%s: %+v, want %s", source, seen[source], want)
		}
	}
	if dst.accounts[id(1)] != "moved" {
		t.Errorf("the moved account is %q", dst.accounts[id(1)])
	}
}

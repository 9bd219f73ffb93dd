package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// liar is a target that confirms everything and does something else.
type liar struct {
	*idp
	// after is called with each user that was confirmed.
	confirmed func(u *pluginapi.User)
	// hidden says who cannot be seen yet.
	hidden func(u *pluginapi.User) bool
}

func (l *liar) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	out, err := l.idp.Load(ctx, users)
	if l.confirmed == nil {
		return out, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range users {
		l.confirmed(&users[i])
	}
	return out, err
}

func (l *liar) Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	out, err := l.idp.Plan(ctx, users)
	for i := range users {
		if l.hidden != nil && l.hidden(&users[i]) {
			out[i] = pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: users[i].SourceID, Action: pluginapi.Created}}
		}
		for n := range out[i].Fields {
			if out[i].Fields[n].Old == "elsewhere" {
				out[i].Fields[n].Field = "tenants"
			}
			if out[i].Fields[n].Old == "dropped" {
				out[i].Fields[n] = pluginapi.FieldChange{Field: "phone", New: "+15550100", Drift: out[i].Fields[n].Drift}
			}
		}
	}
	return out, err
}

// What a target has confirmed and does not hold is named by the run that wrote it,
// and looked at again by the next one.
func TestReadBackFindsWhatTheTargetDidNotDo(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), &liar{idp: newIDP()}, people(20)
	dst.confirmed = func(u *pluginapi.User) {
		switch u.SourceID {
		case id(2): // dropped silently
			delete(dst.accounts, u.ID)
		case id(5):
			dst.accounts[u.ID] = "altered"
		case id(7):
			dst.accounts[u.ID] = "dropped"
		case id(11):
			dst.accounts[u.ID] = "elsewhere"
		}
	}
	seen := map[string]diag.Code{}
	options := func(o *Options) {
		o.ReadBack, o.patience = 1, []time.Duration{time.Millisecond}
		o.Different = func(c pluginapi.Change) { seen[c.SourceID] = c.Code }
	}
	res, _, err := p.do(src, dst, options)
	want := map[string]diag.Code{id(2): diag.VerifyMissing, id(5): diag.VerifyDiffers, id(7): diag.VerifyDropped, id(11): diag.VerifyMisplaced}
	if diff := cmp.Diff(want, seen); diff != "" || !errors.Is(err, ErrDiffers) {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	if b := res.ReadBack; b.Compared != 20 || b.Match != 16 {
		t.Errorf("%+v", b)
	}
	dst.confirmed = nil
	clear(seen)
	res, outcomes, err := p.do(src, dst, options)
	if err != nil || len(seen) > 0 {
		t.Errorf("the next run: %v, %v", err, seen)
	}
	// The one that was not there is made; the others were changed by somebody.
	s := res.Summary
	if s.Created != 1 || outcomes[id(2)].Action != pluginapi.Created || res.Reasons[diag.LoadDrift] != 3 || s.Unchanged != 16 {
		t.Errorf("the next run: %+v %v", s, res.Reasons)
	}
	if b := res.ReadBack; b == nil || b.Compared != 1 || b.Match != 1 {
		t.Errorf("the next run: %+v", b)
	}
}

// Many targets confirm first and show later.
func TestReadBackWaitsForWhatIsLate(t *testing.T) {
	t.Parallel()
	p, dst := newProject(t), &liar{idp: newIDP()}
	var asked atomic.Int64
	dst.hidden = func(u *pluginapi.User) bool { return u.SourceID == id(3) && asked.Add(1) <= 2 }
	res, _, err := p.do(people(12), dst, func(o *Options) {
		o.ReadBack, o.patience = 1, []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	})
	if err != nil || res.ReadBack.Match != 12 || asked.Load() != 3 {
		t.Errorf("%v, %+v, asked %d times", err, res.ReadBack, asked.Load())
	}
}

func TestReadBackIsAChoice(t *testing.T) {
	t.Parallel()
	for every, want := range map[int]func(compared int) bool{
		0: func(n int) bool { return n == 0 },
		1: func(n int) bool { return n == 200 },
		4: func(n int) bool { return n > 10 && n < 120 },
	} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			t.Parallel()
			res, err := Run(t.Context(), people(200), newIDP(), Options{ReadBack: every})
			compared := 0
			if res.ReadBack != nil {
				compared = res.ReadBack.Compared
			}
			if err != nil || !want(compared) {
				t.Errorf("%v, compared %d", err, compared)
			}
		})
	}
}

// Where the number of updates is known only on looking, the limit holds on the way.
func TestUpdatesAreLimitedOnTheWay(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(40)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	changed := src
	for i := range 30 {
		changed = rename(changed, i, fmt.Sprintf("new%d@example.org", i))
	}
	writes := dst.writes
	res, _, err := p.do(changed, dst, func(o *Options) {
		o.Full, o.Policies.Limits.Updates = true, policy.Limit{Set: true, Count: 12}
	})
	if !errors.Is(err, ErrLimit) || dst.writes-writes > 12 || res.Summary.Updated != dst.writes-writes {
		t.Errorf("%v, %d writes, %+v", err, dst.writes-writes, res.Summary)
	}
}

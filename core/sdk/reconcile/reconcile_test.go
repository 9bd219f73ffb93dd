package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// target is one that shows everything but the password and the authenticator, keeps
// addresses in lower case and forgets nick names.
type target struct{ reconcile.Judge }

func newTarget() *target {
	return &target{reconcile.Judge{Fingerprints: sdk.Fingerprints{}, Forgets: func(g string) bool { return g == "nick" }}}
}

var (
	ada = map[string]string{"name": "Ada", "email": "Ada@X", "nick": "a"}
	// What the target makes of it.
	kept = map[string]string{"name": "Ada", "email": "ada@x"}
)

func wanted(password, totp string) reconcile.Wanted {
	return reconcile.Wanted{Fields: ada, Secrets: []reconcile.Secret{
		{Field: "password", Feature: sdk.PartPassword, Value: password}, {Field: "totp", Feature: sdk.CarriesTOTP, Value: totp},
	}}
}

func with(fields map[string]string, name, value string) map[string]string {
	fields = maps.Clone(fields)
	fields[name] = value
	return fields
}

func TestFound(t *testing.T) {
	t.Parallel()
	j := newTarget()
	loaded := j.Left(wanted("hash", "seed"), kept, nil)
	type want struct {
		Action  sdk.Action
		Code    sdk.Code
		Fields  []string
		Send    []string
		Losses  []sdk.PartLoss
		Resumed bool
		Drift   bool
	}
	unread := []sdk.PartLoss{{Feature: sdk.PartPassword, Code: sdk.CodeUnread}, {Feature: sdk.CarriesTOTP, Code: sdk.CodeUnread}}
	tests := map[string]struct {
		user sdk.User
		w    reconcile.Wanted
		held reconcile.Held
		want want
	}{
		"as it was left": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}}, wanted("hash", "seed"), reconcile.Held{Fields: kept}, want{Action: sdk.Unchanged},
		},
		"another password": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("other", "seed"),
			reconcile.Held{Fields: kept},
			want{Action: sdk.Updated, Fields: []string{"password"}, Send: []string{"password"}},
		},
		"the authenticator is gone at the source": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("hash", ""),
			reconcile.Held{Fields: kept},
			want{Action: sdk.Updated, Fields: []string{"totp"}, Send: []string{"totp"}},
		},
		"a field was taken away": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("hash", "seed"),
			reconcile.Held{Fields: with(kept, "role", "admin")},
			want{Action: sdk.Updated, Fields: []string{"role"}, Drift: true},
		},
		"a field of others": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("hash", "seed"),
			reconcile.Held{Fields: with(kept, "role", "admin"), Answerable: kept},
			want{Action: sdk.Unchanged},
		},
		"somebody else has touched a field that the target rewrites": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("hash", "seed"),
			reconcile.Held{Fields: with(kept, "email", "eve@x")},
			want{Action: sdk.Updated, Fields: []string{"email"}, Drift: true},
		},
		"another password, and the person has chosen one there": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("other", "seed"),
			reconcile.Held{Fields: kept, Personal: map[string]bool{"password": true}},
			want{Action: sdk.Unchanged, Losses: []sdk.PartLoss{{Feature: sdk.PartPassword, Code: sdk.CodePartKept}}},
		},
		"another password, and a doubt: the person has chosen one there, which no run replaces": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded, InDoubt: true}},
			wanted("other", ""),
			reconcile.Held{Fields: kept, Personal: map[string]bool{"password": true}, Equal: map[string]bool{"totp": true}},
			want{Action: sdk.Unchanged, Losses: []sdk.PartLoss{{Feature: sdk.PartPassword, Code: sdk.CodePartKept}}},
		},
		"the same password as ever, and a doubt: the person has chosen one there": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded, InDoubt: true}},
			wanted("hash", ""),
			reconcile.Held{Fields: kept, Personal: map[string]bool{"password": true}, Equal: map[string]bool{"totp": true}},
			want{Action: sdk.Unchanged},
		},
		"there before, with a password of the person's own of which nobody knows whether it is another": {
			sdk.User{}, wanted("hash", ""), reconcile.Held{Fields: ada, Personal: map[string]bool{"password": true}}, want{Action: sdk.Unchanged, Losses: unread[:1]},
		},
		"taken over, with such a password": {
			sdk.User{Existing: sdk.Update},
			wanted("hash", ""),
			reconcile.Held{Fields: ada, Personal: map[string]bool{"password": true}},
			want{Action: sdk.Unchanged, Losses: []sdk.PartLoss{{Feature: sdk.PartPassword, Code: sdk.CodePartKept}}},
		},
		"there before, different, and with such a password": {
			sdk.User{},
			wanted("hash", "seed"),
			reconcile.Held{Fields: with(ada, "name", "Grace"), Personal: map[string]bool{"password": true}},
			want{Action: sdk.Skipped, Code: sdk.CodeExistsDiffers, Fields: []string{"name", "totp"}},
		},
		"the authenticator is gone at the source, and a doubt: its removal may not have arrived": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded, InDoubt: true}},
			wanted("hash", ""),
			reconcile.Held{Fields: kept, Equal: map[string]bool{"password": true}},
			want{Action: sdk.Updated, Fields: []string{"totp"}, Send: []string{"totp"}},
		},
		"there before, and equal as far as it is shown": {
			sdk.User{}, wanted("hash", "seed"), reconcile.Held{Fields: ada}, want{Action: sdk.Unchanged, Losses: unread},
		},
		"there before, and known to be equal by another way": {
			sdk.User{}, wanted("hash", ""), reconcile.Held{Fields: ada, Equal: map[string]bool{"password": true}}, want{Action: sdk.Unchanged},
		},
		"there before, and seen to have no password": {
			sdk.User{},
			wanted("hash", ""),
			reconcile.Held{Fields: ada, Equal: map[string]bool{"password": false}},
			want{Action: sdk.Skipped, Code: sdk.CodeExistsDiffers, Fields: []string{"password"}},
		},
		"somebody has taken the authenticator away": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("hash", "seed"),
			reconcile.Held{Fields: kept, Equal: map[string]bool{"totp": false}},
			want{Action: sdk.Updated, Fields: []string{"totp"}, Send: []string{"totp"}, Drift: true},
		},
		"there before, with a password of the person's own that is known to be another": {
			sdk.User{Existing: sdk.Update},
			wanted("hash", ""),
			reconcile.Held{Fields: ada, Personal: map[string]bool{"password": true}, Equal: map[string]bool{"password": false}},
			want{Action: sdk.Unchanged, Losses: []sdk.PartLoss{{Feature: sdk.PartPassword, Code: sdk.CodePartKept}}},
		},
		"the person has chosen another password since, and the source has not": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}},
			wanted("hash", "seed"),
			reconcile.Held{Fields: kept, Personal: map[string]bool{"password": true}, Equal: map[string]bool{"password": false}},
			want{Action: sdk.Unchanged},
		},
		"there before, without secrets to send": {
			sdk.User{}, wanted("", ""), reconcile.Held{Fields: ada}, want{Action: sdk.Unchanged},
		},
		"there before, and different": {
			sdk.User{},
			wanted("hash", ""),
			reconcile.Held{Fields: with(ada, "name", "Eve")},
			want{Action: sdk.Skipped, Code: sdk.CodeExistsDiffers, Fields: []string{"name", "password"}},
		},
		"taken over": {
			sdk.User{Existing: sdk.Update},
			wanted("hash", ""),
			reconcile.Held{Fields: ada},
			want{Action: sdk.Updated, Fields: []string{"password"}, Send: []string{"password"}},
		},
		"not as planned": {
			sdk.User{Existing: sdk.Update, Expect: []byte("another"), Prior: sdk.Prior{State: loaded}},
			wanted("other", "seed"),
			reconcile.Held{Fields: kept},
			want{Action: sdk.Rejected, Code: sdk.CodeMoved, Fields: []string{"password"}},
		},
		"of an interrupted load": {
			sdk.User{Prior: sdk.Prior{InDoubt: true}},
			wanted("hash", ""),
			reconcile.Held{Fields: with(ada, "name", ""), Marked: true},
			want{Action: sdk.Created, Fields: []string{"name", "password"}, Send: []string{"password"}, Resumed: true},
		},
		"sent once, and only the name in common": {
			sdk.User{Prior: sdk.Prior{InDoubt: true}},
			wanted("", ""),
			reconcile.Held{Fields: with(ada, "name", "")},
			want{Action: sdk.Skipped, Code: sdk.CodeExistsDiffers, Fields: []string{"name"}},
		},
		"an update whose answer was lost": {
			sdk.User{Existing: sdk.Update, Prior: sdk.Prior{InDoubt: true, State: loaded}},
			wanted("hash", "seed"),
			reconcile.Held{Fields: kept},
			want{Action: sdk.Updated, Fields: []string{"password", "totp"}, Send: []string{"password", "totp"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.held.ID = "t1"
			v := j.Found(&tt.user, tt.w, tt.held)
			got := want{Action: v.Outcome.Action, Code: v.Outcome.Code, Losses: v.Outcome.Losses, Resumed: v.Resumed}
			for _, f := range v.Fields {
				got.Fields = append(got.Fields, f.Field)
				got.Drift = got.Drift || f.Drift
			}
			for _, s := range tt.w.Secrets {
				if v.Send[s.Field] {
					got.Send = append(got.Send, s.Field)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if v.Outcome.TargetID != "t1" {
				t.Errorf("the account is said to be %q", v.Outcome.TargetID)
			}
		})
	}
}

// TestStateIsStable: whatever is looked at twice has one state, as a condition of a plan
// is compared with it.
func TestStateIsStable(t *testing.T) {
	t.Parallel()
	j := newTarget()
	loaded := j.Left(wanted("hash", "seed"), kept, nil)
	u := sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: loaded}}
	for _, w := range []reconcile.Wanted{wanted("hash", "seed"), wanted("other", "seed")} {
		first := j.Found(&u, w, reconcile.Held{Fields: kept}).Outcome.State
		u.Expect = first
		if v := j.Found(&u, w, reconcile.Held{Fields: kept}); v.Outcome.Action == sdk.Rejected {
			t.Error("an account that nobody touched is said to have moved")
		}
		u.Expect = nil
		if string(first) != string(loaded) {
			t.Error("the state of an account that nobody touched is not the one that was left")
		}
	}
}

// TestLeftAndFoundAgree: an account that is found as it was left, by somebody who knows
// nothing of it, has the state that was left.
func TestLeftAndFoundAgree(t *testing.T) {
	t.Parallel()
	j := newTarget()
	w := reconcile.Wanted{Fields: kept}
	if v := j.Found(&sdk.User{}, w, reconcile.Held{Fields: kept}); string(v.Outcome.State) != string(j.Left(w, kept, nil)) {
		t.Error("the two differ")
	}
}

// TestReshapedNoMore: a value that the target has kept in another form, and that has been
// as it is wanted since, is a difference when it is wanted again.
func TestReshapedNoMore(t *testing.T) {
	t.Parallel()
	j := newTarget()
	held := reconcile.Held{Fields: kept}
	u := sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: j.Left(wanted("", ""), kept, nil)}}
	alike := wanted("", "")
	alike.Fields = kept
	v := j.Found(&u, alike, held)
	u.Prior.State = v.Outcome.State
	if again := j.Found(&u, wanted("", ""), held); v.Outcome.Action != sdk.Unchanged || len(again.Differences) != 1 {
		t.Errorf("%s, then %v", v.Outcome.Action, again.Differences)
	}
}

// TestOpenSecrets: what could not be written is tried again, and what stays as the person
// has chosen it is named whenever somebody looks.
func TestOpenSecrets(t *testing.T) {
	t.Parallel()
	j := newTarget()
	u := sdk.User{Existing: sdk.Update, Prior: sdk.Prior{State: j.Left(wanted("hash", "seed"), kept, map[string]bool{"totp": true})}}
	if v := j.Found(&u, wanted("hash", "seed"), reconcile.Held{Fields: kept}); !v.Send["totp"] || v.Send["password"] {
		t.Errorf("to be sent: %v, want the authenticator", v.Send)
	}
	u.Prior.State = j.Left(wanted("hash", "seed"), kept, map[string]bool{"email": true})
	if v := j.Found(&u, wanted("hash", "seed"), reconcile.Held{Fields: kept}); len(v.Differences) != 1 || v.Differences[0].Field != "email" {
		t.Errorf("to be written: %v, want the address that was refused", v.Differences)
	}
	personal := reconcile.Held{Fields: kept, Personal: map[string]bool{"password": true}}
	u.Prior.State = j.Left(wanted("hash", ""), kept, nil)
	v := j.Found(&u, wanted("other", ""), personal)
	u.Prior.State = j.Left(wanted("other", ""), kept, v.Unsent())
	if again := j.Found(&u, wanted("other", ""), personal); len(again.Outcome.Losses) != 1 || len(v.Outcome.Losses) != 1 {
		t.Errorf("losses %v, then %v, want the password both times", v.Outcome.Losses, again.Outcome.Losses)
	}
}

// TestParseState: what is no state, or half of one, tells nothing and harms nobody.
func TestParseState(t *testing.T) {
	t.Parallel()
	j := newTarget()
	whole := j.Left(wanted("hash", "seed"), kept, nil)
	if s := reconcile.ParseState(whole); !s.Recorded(j.Fingerprints, "email") || s.Recorded(j.Fingerprints, "nick") || !s.Untouched(j.Fingerprints, kept) || s.IsZero() {
		t.Error("the state does not tell what was left")
	}
	if s := reconcile.ParseState(whole); !s.Holds(j.Fingerprints, "email", kept["email"]) || s.Holds(j.Fingerprints, "email", "other") || s.Holds(j.Fingerprints, "nick", "") {
		t.Error("the state does not tell which value was left")
	}
	if s := reconcile.ParseState(whole); s.SentAnother(j.Fingerprints, "password", "hash") || !s.SentAnother(j.Fingerprints, "password", "other") ||
		s.SentAnother(j.Fingerprints, "nick", "other") || reconcile.ParseState(nil).SentAnother(j.Fingerprints, "password", "other") {
		t.Error("the state does not tell what was sent")
	}
	unread := j.Found(&sdk.User{}, wanted("hash", ""), reconcile.Held{Fields: ada}).Outcome.State
	if s := reconcile.ParseState(unread); s.KnowsSecrets() || s.IsZero() || !reconcile.ParseState(whole).KnowsSecrets() {
		t.Error("a state of an account that was there before is taken for one that a run has left")
	}
	for n := range 12 {
		if s := reconcile.ParseState(whole[:n]); !s.IsZero() {
			t.Errorf("%d bytes of a state are taken for one", n)
		}
	}
	if s := reconcile.ParseState([]byte("\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); !s.IsZero() {
		t.Error("a part that is longer than all is taken for one")
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	j := newTarget()
	if v := j.Absent(&sdk.User{}); v.Outcome.Action != sdk.Created {
		t.Errorf("nobody is there: %+v", v.Outcome)
	}
	if v := j.Absent(&sdk.User{Expect: []byte("state")}); v.Outcome.Code != sdk.CodeMoved {
		t.Errorf("an account has gone since it was looked at: %+v", v.Outcome)
	}
}

func TestMissed(t *testing.T) {
	t.Parallel()
	left := reconcile.Missed([]reconcile.Difference{{Field: "role", Held: "admin"}, {Field: "name", Held: "A", Want: "B"}}, map[string]string{"role": "admin", "name": "B"})
	if len(left) != 1 || left[0].Field != "role" {
		t.Errorf("still there: %v, want the role", left)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	c := reconcile.NewClaims()
	name := func(v string) reconcile.Claim {
		return reconcile.Claim{Kind: "name", Value: v, Code: sdk.CodeUsernameConflict}
	}
	id := func(v string) reconcile.Claim { return reconcile.Claim{Kind: "id", Value: v, Code: sdk.CodeIDConflict} }
	one, two := &sdk.User{SourceID: "1"}, &sdk.User{SourceID: "2"}
	for range 2 {
		if o := c.Take(one, id("a"), name("ada"), name("")); o != nil {
			t.Fatalf("the first: %+v", o)
		}
	}
	if o := c.Take(two, id("b"), name("ada")); o == nil || o.Code != sdk.CodeUsernameConflict || o.SourceID != "2" {
		t.Errorf("the second with the same name: %+v", o)
	}
	if o := c.Take(two, id("b"), name("")); o != nil {
		t.Errorf("nothing was taken when something could not be: %+v", o)
	}
	c.Release(name("ada"))
	if o := c.Take(two, name("ada")); o != nil {
		t.Errorf("after it was given back: %+v", o)
	}
}

// An account that is older than the first load is of none, whatever mark it carries.
func TestOlder(t *testing.T) {
	t.Parallel()
	j, doubt := newTarget(), &sdk.User{Prior: sdk.Prior{InDoubt: true}}
	other := map[string]string{"name": "Somebody"}
	for _, older := range []bool{false, true} {
		differs := j.Found(doubt, reconcile.Wanted{Fields: ada}, reconcile.Held{Fields: other, Marked: true, Older: older})
		equal := j.Found(doubt, reconcile.Wanted{Fields: ada}, reconcile.Held{Fields: ada, Marked: true, Older: older})
		if differs.Resumed == older || (differs.Outcome.Code == sdk.CodeExistsDiffers) != older || (equal.Outcome.Code == sdk.CodeThereBefore) != older || equal.Outcome.Action != sdk.Unchanged {
			t.Errorf("older is %v: one that differs %+v, one that is equal %+v", older, differs.Outcome, equal.Outcome)
		}
	}
	notes := journal{}
	first := reconcile.NewBeginning(notes)
	now := time.Now()
	if first.Older(now.Add(-time.Hour)) {
		t.Error("older than loads that have not begun")
	}
	if err := first.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	noted := string(notes["loads_began"])
	later := reconcile.NewBeginning(notes)
	if err := later.Note(t.Context()); err != nil || string(notes["loads_began"]) != noted {
		t.Errorf("noted anew: %v", err)
	}
	for _, b := range []*reconcile.Beginning{first, later} {
		if !b.Older(now.Add(-time.Hour)) || b.Older(now.Add(-time.Minute)) || b.Older(time.Time{}) {
			t.Error("a wrong answer")
		}
	}
}

type journal map[string][]byte

func (j journal) Get(key string) ([]byte, bool) { v, ok := j[key]; return v, ok }

func (j journal) Put(_ context.Context, key string, value []byte) error {
	j[key] = value
	return nil
}

// However much there is of an account, the host keeps the state, which tells an account that
// nobody has touched from another one.
func TestStateOfManyValuesIsKept(t *testing.T) {
	t.Parallel()
	const hostKeeps = 4 << 10
	for _, n := range []int{10, 60, 250, 260, 2000} {
		j := newTarget()
		w, shown := reconcile.Wanted{Fields: map[string]string{}}, map[string]string{}
		for i := range n {
			name := fmt.Sprint("field", i)
			w.Fields[name], shown[name] = "As Sent", "as shown"
			w.Secrets = append(w.Secrets, reconcile.Secret{Field: name, Value: "secret"})
		}
		left := j.Left(w, shown, nil)
		if len(left) > hostKeeps {
			t.Errorf("of %d values, the state has %d bytes, and the host keeps %d", n, len(left), hostKeeps)
		}
		state := reconcile.ParseState(left)
		if !state.KnowsSecrets() || !state.Untouched(j.Fingerprints, shown) || state.Untouched(j.Fingerprints, with(shown, "field1", "another")) {
			t.Errorf("of %d values, the state does not tell whether somebody has touched them", n)
		}
	}
}

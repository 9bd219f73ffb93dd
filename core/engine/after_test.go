package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// hashed gives people passwords of two kinds.
func hashed(t *testing.T, n int) listed {
	t.Helper()
	out := people(n)
	for i := range out {
		raw, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		variant := "$2a"
		if i%2 == 1 {
			variant = "$2y"
		}
		out[i].Logins[0].Password = canonical.ParsePasswordHash(variant + string(raw[3:]))
	}
	return out
}

func TestCanariesProvePasswords(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), hashed(t, 6)
	dst.login = func(l pluginapi.Login, _ bool) (bool, error) { // a target that really checks
		stored := "$2a" + strings.TrimLeft(dst.known[l.Username], "$2aby")
		return bcrypt.CompareHashAndPassword([]byte(strings.Replace(stored, "$2a0", "$2a$0", 1)), []byte(l.Password.Reveal())) == nil, nil
	}
	withCanary := func(o *Options) { o.Canary = dst }
	res, _, err := p.do(src, dst, withCanary)
	if err != nil {
		t.Fatal(err)
	}
	want := []Proof{{Shape: "bcrypt 2a cost 4", Proven: true}, {Shape: "bcrypt 2y cost 4", Proven: true}}
	if diff := cmp.Diff(want, res.Canaries); diff != "" || res.Summary.Created != 6 {
		t.Errorf("%+v (-want +got):\n%s", res.Summary, diff)
	}
	if len(dst.accounts) != 6 {
		t.Errorf("the canaries stayed: %v", dst.accounts)
	}
	writes := dst.writes
	if res, _, err := p.do(src, dst, withCanary); err != nil || len(res.Canaries) != 0 || dst.writes != writes {
		t.Errorf("with nothing to prove: %+v, %v", res.Canaries, err)
	}
}

// A canary has a password that somebody might find: it must not outlive a run that
// is killed, or whose answer is lost.
func TestCanariesOfAKilledRunAreRemoved(t *testing.T) {
	t.Parallel()
	for name, interrupt := range map[string]func(dst *idp){
		"while it signs in": func(dst *idp) {
			dst.login = func(pluginapi.Login, bool) (bool, error) { panic("killed") }
		},
		"the answer is lost":   func(dst *idp) { dst.after = func(int) error { return errors.New("killed") } },
		"it never got there":   func(dst *idp) { dst.before = func(int, []pluginapi.User) error { return errors.New("killed") } },
		"it cannot be removed": func(*idp) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst, src := newProject(t), newIDP(), hashed(t, 6)
			undo := &refusing{idp: dst, refuses: true}
			interrupt(dst)
			func() {
				defer func() { _ = recover() }()
				_, _, err := p.do(src, dst, func(o *Options) { o.Canary = undo })
				if err == nil {
					t.Error("the run was not interrupted")
				}
			}()
			if len(dst.saved) == 0 {
				t.Error("nothing is remembered")
			}
			dst.login, dst.after, dst.before, undo.refuses = nil, nil, nil, false
			res, _, err := p.do(src, dst, func(o *Options) { o.Canary = undo })
			if err != nil || res.Summary.Created != 6 || len(dst.accounts) != 6 || len(dst.saved) != 0 {
				t.Errorf("%v, %+v: %d accounts, remembered: %v", err, res.Summary, len(dst.accounts), dst.saved)
			}
		})
	}
}

// refusing does not take accounts back for a while.
type refusing struct {
	*idp
	refuses bool
}

func (r *refusing) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	if r.refuses {
		return nil, errors.New("killed")
	}
	return r.idp.Undo(ctx, accounts)
}

func TestRedCanaryStopsTheRun(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		login func(pluginapi.Login, bool) (bool, error)
		want  string
	}{
		"accepts anything": {func(pluginapi.Login, bool) (bool, error) { return true, nil }, "accepts a wrong password"},
		"accepts nothing":  {func(pluginapi.Login, bool) (bool, error) { return false, nil }, "refuses the right password"},
		"cannot be asked":  {func(pluginapi.Login, bool) (bool, error) { return false, errors.New("no such client") }, "no such client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst := newIDP()
			dst.login = tc.login
			res, err := Run(t.Context(), hashed(t, 3), dst, Options{Canary: dst})
			if !errors.Is(err, ErrCanary) || !strings.Contains(err.Error(), tc.want) || res.Canaries[0].Proven {
				t.Errorf("error %v, proof %+v", err, res.Canaries)
			}
			if len(dst.accounts) != 0 || res.Summary.Read != 0 {
				t.Errorf("left in the target: %v", dst.accounts)
			}
		})
	}
}

// What cannot be proven is named and stops nothing, unless it is required: a kind of hash
// that this program cannot make, and a target that cannot be asked.
func TestNotProven(t *testing.T) {
	t.Parallel()
	people := hashed(t, 3)
	odd := "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q"
	people[2].Logins[0].Password = canonical.ParsePasswordHash(odd)
	takesAll := func() *idp {
		dst := newIDP()
		dst.caps.Hashes = append(dst.caps.Hashes, pluginapi.HashSupport{Scheme: canonical.Argon2d})
		return dst
	}
	deaf := takesAll()
	deaf.caps.Abilities = []pluginapi.Ability{pluginapi.CanPlan, pluginapi.CanUndo}
	refuses := takesAll()
	refuses.login = func(pluginapi.Login, bool) (bool, error) {
		return false, &pluginapi.Failure{Code: diag.TargetLoginUnavailable, Detail: "the client has no password grant"}
	}
	for name, tt := range map[string]struct {
		dst            *idp
		proven, unmade int
	}{"a kind of hash": {takesAll(), 2, 1}, "no way to ask": {deaf, 0, 1}, "it does not answer": {refuses, 0, 2}} {
		required := Options{Canary: tt.dst, Policies: policy.Policies{Canary: policy.CanaryRequired}}
		if res, err := Run(t.Context(), people, tt.dst, required); !errors.Is(err, ErrNotProven) || res.Summary.Read != 0 || len(tt.dst.accounts) != 0 {
			t.Errorf("%s, required: %v", name, err)
		}
		res, err := Run(t.Context(), people, tt.dst, Options{Canary: tt.dst})
		var proven, unasked int
		for _, p := range res.Canaries {
			if p.Proven {
				proven++
			}
			if p.Unasked && !p.Proven && p.Problem != "" {
				unasked++
			}
		}
		if err != nil || res.Summary.Created != 3 || proven != tt.proven || unasked != tt.unmade {
			t.Errorf("%s: %v, %+v, proofs %+v", name, err, res.Summary, res.Canaries)
		}
	}
}

// What a target says beforehand of the proof has the weight that the policies give to it.
func TestProofSaidBeforehand(t *testing.T) {
	t.Parallel()
	for canary, want := range map[policy.Canary]string{"": "warning", policy.CanaryRequired: "error", policy.CanaryOff: ""} {
		dst := newIDP()
		dst.found = diag.List{{Severity: diag.Warning, Code: diag.TargetLoginUnavailable, Summary: "no grant"}}
		checked, err := Check(t.Context(), hashed(t, 1), dst, Options{Policies: policy.Policies{Canary: canary}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, d := range checked.Diagnostics {
			got += d.Severity.String()
		}
		if got != want {
			t.Errorf("policies.canary %q: %q, want %q", canary, got, want)
		}
	}
}

// Kinds of hashes beyond those that are tried are not passed over in silence.
func TestManyKindsOfHashes(t *testing.T) {
	t.Parallel()
	people := people(mostCanaries + 3)
	for i := range people {
		odd := fmt.Sprintf("$argon2d$v=19$m=%d,t=2,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q", 64+i)
		people[i].Logins[0].Password = canonical.ParsePasswordHash(odd)
	}
	dst := newIDP()
	dst.caps.Hashes = append(dst.caps.Hashes, pluginapi.HashSupport{Scheme: canonical.Argon2d})
	res, err := Run(t.Context(), people, dst, Options{Canary: dst})
	named := 0
	for _, p := range res.Canaries {
		if p.Unasked && strings.Contains(p.Problem, "of them are tested") {
			named++
		}
	}
	if err != nil || len(res.Canaries) != mostCanaries+3 || named != 3 {
		t.Errorf("%v, %d proofs, %d named as not tried", err, len(res.Canaries), named)
	}
}

func TestHashLike(t *testing.T) {
	t.Parallel()
	for _, like := range []string{
		"$2b$04$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm",
		"$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q",
		"$argon2i$v=19$m=64,t=3,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q",
	} {
		parsed := canonical.ParsePasswordHash(like)
		got, err := hashLike(parsed, "password")
		if err != nil || got.Shape() != parsed.Shape() || got.Encode() == like {
			t.Errorf("%s: %v, %v", parsed.Shape(), got, err)
		}
	}
	for _, like := range []string{"nonsense", "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q"} {
		if _, err := hashLike(canonical.ParsePasswordHash(like), "password"); err == nil {
			t.Errorf("a hash like %.9s was made", like)
		}
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(20)
	dst.accounts[id(9)] = "theirs"
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	verify := func(sample int) (*Verification, map[string]diag.Code) {
		seen := map[string]diag.Code{}
		var v *Verification
		p.with(func(_ *journal.Scope, o Options) {
			o.Outcome = func(c pluginapi.Change) { seen[c.SourceID] = c.Code }
			var err error
			if v, err = Verify(context.Background(), src, dst, o, sample); err != nil {
				t.Fatal(err)
			}
		})
		return v, seen
	}
	writes := dst.writes
	if v, _ := verify(1); v.Different() != 0 || v.Match != 19 || v.Expected != 1 || v.Read != 20 {
		t.Errorf("as it should be: %+v", v)
	}
	delete(dst.accounts, id(3))
	dst.accounts[id(4)] = "altered"
	v, seen := verify(1)
	want := map[string]diag.Code{id(3): diag.VerifyMissing, id(4): diag.VerifyDiffers}
	if diff := cmp.Diff(want, seen); diff != "" || v.Different() != 2 {
		t.Errorf("%+v (-want +got):\n%s", v, diff)
	}
	if v, _ := verify(4); v.Compared >= 15 {
		t.Errorf("a sample of a quarter compared %d", v.Compared)
	}
	if dst.writes != writes {
		t.Error("verify wrote")
	}
}

// With All, zero differences says that both sides hold the same people.
func TestVerifyAllComparesBothSides(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(12)
	dst.accounts[id(9)] = "theirs"
	if _, _, err := p.do(src[:11], dst, nil); err != nil {
		t.Fatal(err)
	}
	verify := func(src Source, skip ...diag.Code) (*Verification, map[string]diag.Code) {
		seen := map[string]diag.Code{}
		var v *Verification
		p.with(func(_ *journal.Scope, o Options) {
			o.All, o.Policies.Skip = true, skip
			o.Outcome = func(c pluginapi.Change) { seen[c.SourceID] = c.Code }
			var err error
			if v, err = Verify(context.Background(), src, dst, o, 1); err != nil {
				t.Fatal(err)
			}
		})
		return v, seen
	}
	for _, tt := range []struct {
		name string
		src  Source
		skip []diag.Code
		want map[string]diag.Code
	}{
		{"one of others, one that came later", src, nil, map[string]diag.Code{id(9): diag.VerifyNotLoaded, id(11): diag.VerifyNotLoaded}},
		{"one that is gone", append(src[1:9:9], src[10]), nil, map[string]diag.Code{id(0): diag.VerifyGone}},
		{"one that is left to others on purpose", src[:11], []diag.Code{diag.LoadExistsDiffers}, map[string]diag.Code{}},
	} {
		v, seen := verify(tt.src, tt.skip...)
		if diff := cmp.Diff(tt.want, seen); diff != "" || v.Different() != len(tt.want) || v.Match != v.Compared-len(tt.want) {
			t.Errorf("%s: %+v (-want +got):\n%s", tt.name, v, diff)
		}
	}
}

// dying is a target whose process dies with certain users, or at certain calls.
type dying struct {
	*idp
	dead   bool
	poison string
	calls  *[]int // kill at these calls of Load
	count  *int
}

type death struct{}

func (death) Error() string { return "plugin died: signal: killed" }
func (death) Crashed() bool { return true }

func (d *dying) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	out := make([]pluginapi.Outcome, len(users))
	for i, u := range users {
		out[i] = pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.InDoubt, Code: diag.PluginCrash}
	}
	d.mu.Lock()
	*d.count++
	kill := d.dead || slices.Contains(*d.calls, *d.count)
	d.mu.Unlock()
	if kill {
		d.dead = true
		return out, death{}
	}
	if n := slices.IndexFunc(users, func(u pluginapi.User) bool { return u.SourceID == d.poison }); n >= 0 {
		d.dead = true
		if n > 0 { // some of the batch was done before the end
			_, _ = d.idp.Load(ctx, users[:n])
		}
		return out, death{}
	}
	return d.idp.Load(ctx, users)
}

func TestDeadPluginIsStartedAgain(t *testing.T) {
	t.Parallel()
	base := newIDP()
	base.caps.Batch.InFlight = 1
	count, starts := 0, 0
	fresh := func(poison string, calls ...int) *dying {
		return &dying{idp: base, poison: poison, calls: &calls, count: &count}
	}
	restarting := func(poison string, calls ...int) *Restarting {
		r := NewRestarting(fresh(poison, calls...), func(context.Context) (Target, error) {
			starts++
			return fresh(poison, calls...), nil
		})
		r.wait = 0
		return r
	}
	res, err := Run(t.Context(), people(23), restarting("", 2, 4), Options{})
	if err != nil || res.Summary != (pluginapi.Summary{Read: 23, Created: 23}) || base.writes != 23 || starts != 2 {
		t.Errorf("two deaths: %+v, %v, %d writes, %d starts", res.Summary, err, base.writes, starts)
	}

	base.accounts, base.writes, count, starts = map[string]string{}, 0, 0, 0
	seen := map[string]pluginapi.Change{}
	res, err = Run(t.Context(), people(23), restarting(id(13)), Options{Outcome: func(c pluginapi.Change) { seen[c.SourceID] = c }})
	if err != nil || res.Summary.Rejected != 1 || res.Summary.Created+res.Summary.Unchanged != 22 || seen[id(13)].Code != diag.PluginCrash || base.writes != 22 {
		t.Errorf("a poisonous user: %+v, %v, %d writes, %+v", res.Summary, err, base.writes, seen[id(13)])
	}

	count, starts = 0, 0
	base.accounts = map[string]string{}
	always := make([]int, 1000)
	for i := range always {
		always[i] = i
	}
	res, err = Run(t.Context(), people(23), restarting("", always...), Options{})
	if err == nil || res.Summary.Read != res.Summary.Accounted() || starts > poisonRestarts || base.writes != 22 {
		t.Errorf("a plugin that always dies: %+v, %v, %d starts", res.Summary, err, starts)
	}
}

// Who was in the target before stays so when the process dies with the batch: the answer
// that was lost is no sign that the account is a run's.
func TestDeadPluginMakesNobodyOurs(t *testing.T) {
	t.Parallel()
	calls, count := []int{1}, 0
	second := &remembering{newIDP(), map[string]bool{}, nil}
	r := NewRestarting(&dying{idp: second.idp, calls: &calls, count: &count}, func(context.Context) (Target, error) { return second, nil })
	r.wait = 0
	users := []pluginapi.User{{SourceID: "a", ID: "a"}, {SourceID: "b", ID: "b"}}
	there := journal.Entry{SourceID: "b", Origin: journal.Found}
	l := &loader{dst: r}
	if _, err := l.send(t.Context(), users, []journal.Entry{{SourceID: "a"}, there}); err != nil || len(second.doubts) != 2 || !second.doubts["a"] || second.doubts["b"] {
		t.Errorf("in doubt: %v, %v", second.doubts, err)
	}
}

// late is a target whose process dies when it has written everybody, with their answers.
type late struct{ *idp }

func (l late) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	out, _ := l.idp.Load(ctx, users)
	for i := range out {
		out[i] = pluginapi.Outcome{SourceID: users[i].SourceID, Action: pluginapi.InDoubt, Code: diag.PluginCrash}
	}
	return out, death{}
}

// What a process has made before it died is of the run, whether the next one finds it or no
// process lives: an undo takes it back, or names it.
func TestUndoOfWhatDeadPluginsHaveMade(t *testing.T) {
	t.Parallel()
	for name, lives := range map[string]bool{"the next process finds it": true, "no process lives": false} {
		p, base := newProject(t), newIDP()
		r := NewRestarting(late{base}, func(context.Context) (Target, error) {
			if lives {
				return base, nil
			}
			return late{base}, nil
		})
		r.wait = 0
		if _, _, err := p.do(people(12), r, nil); (err == nil) != lives || len(base.accounts) == 0 {
			t.Fatalf("%s: %v, %d accounts", name, err, len(base.accounts))
		}
		named := ""
		p.with(func(s *journal.Scope, _ Options) {
			_, err := Undo(context.Background(), s, base, UndoOptions{Report: func(o pluginapi.Outcome) { named += o.Detail + "\n" }})
			if err != nil {
				t.Errorf("%s: undo: %v", name, err)
			}
		})
		if lives && len(base.accounts) > 0 {
			t.Errorf("%s: %d are left", name, len(base.accounts))
		}
		for id := range base.accounts {
			if !strings.Contains(named, id) {
				t.Errorf("%s: %s is left, and nobody says so", name, id)
			}
		}
	}
}

// Several batches in flight die with one process, which is replaced once.
func TestOneDeathOneRestart(t *testing.T) {
	t.Parallel()
	base, starts := newIDP(), 0
	var once sync.Once
	var all sync.WaitGroup
	all.Add(3)
	first := &intercepted{idp: base, load: func() error {
		all.Done()
		all.Wait() // all three are in there
		return death{}
	}}
	r := NewRestarting(first, func(context.Context) (Target, error) {
		starts++
		once.Do(func() {})
		return base, nil
	})
	r.wait = 0
	res, err := Run(t.Context(), people(15), r, Options{})
	if err != nil || res.Summary.Created != 15 || starts != 1 {
		t.Errorf("%+v, %v, %d starts", res.Summary, err, starts)
	}
}

type intercepted struct {
	*idp
	load func() error
}

func (g *intercepted) Load(_ context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	err := g.load()
	out := make([]pluginapi.Outcome, len(users))
	for i, u := range users {
		out[i] = pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.InDoubt, Code: diag.PluginCrash, Detail: fmt.Sprint(err)}
	}
	return out, err
}

// remembering notes what a target is told of earlier runs.
type remembering struct {
	*idp
	doubts map[string]bool
	undone []string
}

func (r *remembering) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	for _, u := range users {
		r.doubts[u.ID] = u.Prior.InDoubt
	}
	return r.idp.Load(ctx, users)
}

func (r *remembering) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	for _, a := range accounts {
		r.undone = append(r.undone, a.ID)
	}
	return r.idp.Undo(ctx, accounts)
}

// An account that was there before stays others' when a run that has sent it is killed: it
// is no account that the killed run has made, which would be completed, or undone.
func TestKilledRunMakesNobodyOurs(t *testing.T) {
	t.Parallel()
	src, p := people(5), newProject(t)
	dst := &remembering{newIDP(), map[string]bool{}, nil}
	dst.caps.Abilities = append(dst.caps.Abilities, pluginapi.CanUndoInDoubt)
	dst.caps.Batch.InFlight = 1
	dst.accounts[id(2)], dst.accounts[id(3)] = "theirs", "user3@example.org user3@example.org "
	if res, _, err := p.do(src, dst, nil); err != nil || res.Summary != (pluginapi.Summary{Read: 5, Created: 3, Unchanged: 1, Skipped: 1}) {
		t.Fatalf("%+v, %v", res.Summary, err)
	}
	full := func(o *Options) { o.Full = true }
	dst.before = func(int, []pluginapi.User) error { return errKilled }
	if _, _, err := p.do(src, dst, full); !errors.Is(err, errKilled) {
		t.Fatalf("%v", err)
	}
	dst.before = nil
	undo := func() *Undoing {
		var u *Undoing
		dst.undone = nil
		p.with(func(s *journal.Scope, _ Options) {
			var err error
			if u, err = Undo(context.Background(), s, dst, UndoOptions{}); err != nil {
				t.Fatal(err)
			}
		})
		return u
	}
	clear(dst.doubts)
	res, _, err := p.do(src, dst, nil)
	if err != nil || res.Summary.Unchanged != 4 || res.Summary.Skipped != 1 || len(dst.doubts) != 2 || dst.doubts[id(2)] || dst.doubts[id(3)] {
		t.Errorf("the run after that: %+v, %v; in doubt: %v", res.Summary, err, dst.doubts)
	}
	dst.before = func(int, []pluginapi.User) error { return errKilled }
	if _, _, err := p.do(src, dst, full); !errors.Is(err, errKilled) {
		t.Fatalf("%v", err)
	}
	dst.before = nil
	if u := undo(); u.Deleted != 3 || u.Kept[diag.UndoInDoubt] != 2 || slices.Contains(dst.undone, id(2)) || slices.Contains(dst.undone, id(3)) {
		t.Errorf("%+v, the target was asked about %v", u, dst.undone)
	}
	if len(dst.accounts) != 2 {
		t.Errorf("left: %v", dst.accounts)
	}
}

// unique refuses an address that another account has, as targets do.
type unique struct{ *idp }

func (t *unique) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	out := make([]pluginapi.Outcome, len(users))
	for i := range users {
		u := users[i : i+1]
		if t.taken(&u[0]) {
			out[i] = pluginapi.Outcome{SourceID: u[0].SourceID, Action: pluginapi.Rejected, Code: diag.LoadEmailConflict, Detail: "taken", Hint: "change it"}
			continue
		}
		one, err := t.idp.Load(ctx, u)
		if err != nil {
			return out, err
		}
		out[i] = one[0]
	}
	return out, nil
}

func (t *unique) taken(u *pluginapi.User) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, has := range t.accounts {
		if other != u.ID && strings.Fields(has)[1] == u.Email {
			return true
		}
	}
	return false
}

// Addresses that accounts of different batches pass on are carried in one run, however long
// the chain and however bad the order; one that nobody gives away is a conflict, once.
func TestAddressesArePassedOn(t *testing.T) {
	t.Parallel()
	src, p := people(23), newProject(t)
	dst := &unique{newIDP()}
	dst.caps.Batch.InFlight = 1
	if res, _, err := p.do(src, dst, nil); err != nil || res.Summary.Created != 23 {
		t.Fatalf("%+v, %v", res.Summary, err)
	}
	for n := range 20 { // each gets the address of the next, who has it until then
		src = rename(src, n, fmt.Sprintf("user%d@example.org", n+1))
	}
	src = rename(src, 20, "new@example.org")
	dst.accounts["theirs"] = "x theirs@example.org "
	src = rename(src, 21, "theirs@example.org")
	res, seen, err := p.do(src, dst, nil)
	if err != nil || res.Summary != (pluginapi.Summary{Read: 23, Updated: 21, Unchanged: 1, Rejected: 1}) {
		t.Errorf("%+v, %v", res.Summary, err)
	}
	if c := seen[id(21)]; c.Code != diag.LoadEmailConflict {
		t.Errorf("%+v", c)
	}
	if has := dst.accounts[id(0)]; !strings.Contains(has, "user1@example.org") {
		t.Errorf("the first has %s", has)
	}
}

// tidying is a target that has something beside accounts.
type tidying struct {
	*idp
	left     []int // after each call
	err      error // of the last
	calls    int
	signedIn int // accounts that go although their people have signed in
}

func (t *tidying) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	for _, a := range accounts {
		if a.SignedIn {
			t.signedIn++
		}
	}
	return t.idp.Undo(ctx, accounts)
}

func (t *tidying) Tidy(context.Context) (removed, left int, err error) {
	t.calls++
	if t.calls == len(t.left) {
		return 1, t.left[t.calls-1], t.err
	}
	return 1, t.left[t.calls-1], nil
}

// What runs have created beside accounts goes step by step, after the accounts, also where
// there are none any more, and changes nothing of what became of them.
func TestUndoTidiesUp(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		left   []int
		err    error
		calls  int
		untidy string
	}{
		"at once":         {[]int{0}, nil, 1, ""},
		"in steps":        {[]int{200, 100, 0}, nil, 3, ""},
		"without an end":  {[]int{200, 200, 0}, nil, 2, "200 things"},
		"and is cut off":  {[]int{200, 100}, errors.New("no answer"), 2, "no answer"},
		"and cannot":      {nil, nil, 0, ""},
		"fails the first": {[]int{0}, errors.New("no answer"), 1, "no answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst := newProject(t), &tidying{idp: newIDP(), left: tt.left, err: tt.err}
			if tt.left != nil {
				dst.caps.Abilities = append(dst.caps.Abilities, pluginapi.CanTidy)
			}
			if _, _, err := p.do(people(7), dst, nil); err != nil {
				t.Fatal(err)
			}
			for again, deleted := range []int{7, 0} {
				dst.calls = 0
				var steps int
				p.with(func(s *journal.Scope, _ Options) {
					u, err := Undo(context.Background(), s, dst, UndoOptions{SignedIn: again == 0, Tidying: func(int, int) { steps++ }})
					if err != nil || u.Deleted != deleted || u.Tidied != tt.calls || dst.calls != tt.calls || !strings.Contains(u.Untidy, tt.untidy) || (u.Untidy == "") != (tt.untidy == "") {
						t.Errorf("%+v, %v, %d calls", u, err, dst.calls)
					}
				})
				if steps != max(0, tt.calls-1) {
					t.Errorf("%d steps were told of %d calls", steps, tt.calls)
				}
			}
			if dst.signedIn != 7 {
				t.Errorf("%d accounts were to go with whoever has signed in", dst.signedIn)
			}
		})
	}
}

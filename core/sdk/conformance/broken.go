package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// brokenRules are about work that ends in the middle of an account.
func brokenRules() []Rule {
	return []Rule{
		{
			Name: "broken-off", Promise: "an update that is broken off, at any of its requests, is finished by the next run", try: tryBrokenOff, times: 5,
			unless: unlessUpdatesBreak,
		},
		{
			Name: "undo-broken-off", Promise: "an undo that is broken off, at any of its requests, is finished by the next undo", try: tryUndoBrokenOff, times: 5,
			unless: func(k *kit) string {
				if reason := unable(pluginapi.CanUndo)(k); reason != "" {
					return reason
				}
				return unlessUpdatesBreak(k)
			},
		},
	}
}

func unlessUpdatesBreak(k *kit) string {
	if reason := unlessFront(k); reason != "" {
		return reason
	}
	return unlessWhole(k)
}

// errKilled ends work as the death of the process would.
var errKilled = errors.New("the process was killed")

// mostRequests bounds how many requests of one account are tried. Nobody needs so many.
const mostRequests = 60

// breaking does something once for each of its requests that can change the target, and
// kills it there: before the request arrives, and before its answer does. It ends when
// there is no such request any more. What is to be done is prepared by trial, and returned.
func breaking(ctx context.Context, p *probe, trial func(ctx context.Context, when string) (work, judge func(context.Context) error, err error)) error {
	for _, arrives := range []bool{false, true} {
		for n := 1; n <= mostRequests && len(p.problems) == 0; n++ {
			when := fmt.Sprintf("killed before request %d arrives", n)
			if arrives {
				when = fmt.Sprintf("killed before the answer to request %d arrives", n)
			}
			work, judge, err := trial(ctx, when)
			if err != nil {
				return err
			}
			soon, kill := context.WithCancelCause(ctx)
			restore := p.suite.Front.kill(n, arrives, func() { kill(errKilled) })
			err = work(soon)
			reached := restore()
			kill(nil)
			if err != nil && !errors.Is(err, errKilled) {
				return fmt.Errorf("%s: %w", when, err)
			}
			if !reached {
				break
			}
			if err := judge(ctx); err != nil {
				return fmt.Errorf("%s: %w", when, err)
			}
		}
	}
	return nil
}

// everything is a user with all that the plugin declares, in one of two versions that have
// no value in common.
func everything(k *kit, u pluginapi.User, second bool) pluginapi.User {
	other, digit := map[bool]string{true: "b"}[second], map[bool]int{true: 1}[second]
	k.made++
	u.GivenName, u.FamilyName = "Ada"+other, "Example"+other
	u.Username, u.Email = other+u.Username, other+u.Email
	u.Phone, u.PhoneVerified = fmt.Sprintf("+1202557%04d", k.made%10000), new(true)
	u.Roles = map[string][]string{"public": {"kit-kept-" + k.run, "kit-role" + other + "-" + k.run}, "kit-tenant-" + k.run: {"kit-seat" + other + "-" + k.run}}
	u.Tenants = []string{"public", "kit-tenant-" + k.run}
	u.TOTP = []canonical.TOTPDevice{{
		Name: "phone", Secret: canonical.NewSecret(k.watch.secret([]string{"JBSWY3DPEHPK3PXP", "KRSXG5CTMVRXEZLU"}[digit])), Period: 30 * time.Second, Skew: 1, Verified: true,
	}}
	u.Metadata = json.RawMessage(`{"plan":"pro` + other + `"}`)
	u.Identities = []pluginapi.Identity{{Provider: "google", Subject: fmt.Sprintf("%s-%d", k.run, k.made)}}
	u.Passkeys = []pluginapi.Passkey{k.passkey()}
	k.caps.Withheld().From(&u)
	return u
}

// bare is the user after the source has taken away what can be taken away.
func bare(k *kit, u pluginapi.User) pluginapi.User {
	u.Phone, u.PhoneVerified, u.TOTP, u.Metadata, u.Identities, u.Passkeys = "", nil, nil, nil, nil, nil
	u.Roles, u.Tenants = map[string][]string{"public": {"kit-kept-" + k.run}}, []string{"public"}
	k.caps.Withheld().From(&u)
	return u
}

// twice is somebody as the source has had it, and has it now, with the passwords.
func twice(p *probe, taken bool) (before, after pluginapi.User, passwords map[string]bool, err error) {
	if unlessPasswords(p.kit) == "" {
		before, after, passwords, err = p.twoPasswords()
	} else {
		before = p.person()
		after = before
	}
	before = everything(p.kit, before, false)
	if !taken {
		return before, everything(p.kit, after, true), passwords, err
	}
	hash := after.Password
	after = bare(p.kit, before)
	after.Password = hash
	return before, after, passwords, err
}

// lostFeatures are the parts that an account lacks, in order.
func lostFeatures(o pluginapi.Outcome) string {
	var all []string
	for _, l := range o.Losses {
		all = append(all, string(l.Feature))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// fieldsOf are the fields that a plan would change, without what is in each: some plugins
// name a field after the identity that it is about, which is another one for each person.
func fieldsOf(ctx context.Context, p *probe, u pluginapi.User) (fields string, err error) {
	if !p.caps.Can(pluginapi.CanPlan) {
		return "", nil
	}
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		seen, err := i.Plan(ctx, may([]pluginapi.User{u}))
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		var names []string
		subject := regexp.MustCompile(regexp.QuoteMeta(p.run) + "-[0-9]+")
		for _, f := range seen[0].Fields {
			names = append(names, subject.ReplaceAllLiteralString(f.Field, "…"))
		}
		slices.Sort(names)
		fields = strings.Join(slices.Compact(names), ", ")
		return nil
	})
	return fields, err
}

// afterDeath is what a host knows of somebody whom a killed run has sent.
func afterDeath(u pluginapi.User, out []pluginapi.Outcome) pluginapi.User {
	u.Prior.InDoubt = true
	if len(out) == 1 && out[0].Action.MayLose() {
		u.Prior = pluginapi.Prior{TargetID: out[0].TargetID, State: out[0].State}
	}
	return u
}

func tryBrokenOff(ctx context.Context, p *probe) error {
	for _, taken := range []bool{false, true} { // everything gets another value, or goes
		whole, err := unbroken(ctx, p, taken)
		if err != nil || len(p.problems) > 0 || p.pointless != "" || whole.nothing {
			return err
		}
		err = breaking(ctx, p, func(ctx context.Context, when string) (work, judge func(context.Context) error, err error) {
			before, after, passwords, err := twice(p, taken)
			if err != nil {
				return nil, nil, err
			}
			first, err := p.load(ctx, []pluginapi.User{before})
			if err != nil {
				return nil, nil, err
			}
			p.expect("somebody with all that there is", first, pluginapi.Created)
			sent := may(known([]pluginapi.User{after}, first))
			var torn []pluginapi.Outcome
			work = func(soon context.Context) error {
				return p.with(ctx, func(_ context.Context, i *instance) (err error) {
					torn, err = i.Load(soon, sent)
					return err
				})
			}
			judge = func(ctx context.Context) error {
				return finished(ctx, p, when, before, afterDeath(sent[0], torn), whole, passwords)
			}
			return work, judge, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// update is what becomes of an update that nothing breaks off.
type update struct {
	// lost are the parts that it could not carry, back the fields in which the account differs
	// from what it was.
	lost, back string
	// nothing says that the plugin declares nothing that could be taken away.
	nothing bool
	// signsIn says that the new password works. With a second factor it does not by itself.
	signsIn bool
}

// unbroken is how it goes when nothing breaks.
func unbroken(ctx context.Context, p *probe, taken bool) (w update, err error) {
	before, after, passwords, err := twice(p, taken)
	if err != nil {
		return w, err
	}
	first, err := p.load(ctx, []pluginapi.User{before})
	if err != nil {
		return w, err
	}
	p.expect("somebody with all that there is", first, pluginapi.Created)
	if len(p.problems) > 0 {
		return w, nil
	}
	out, ok, err := p.update(ctx, known([]pluginapi.User{after}, first))
	if err != nil || !ok {
		return w, err
	}
	if w.nothing = taken && out[0].Action == pluginapi.Unchanged; w.nothing {
		return w, nil // another rule sees what should have gone
	}
	p.expect("everything changed", out, pluginapi.Updated)
	w.lost = lostFeatures(out[0])
	if w.back, err = fieldsOf(ctx, p, known([]pluginapi.User{before}, out)[0]); err != nil || !p.caps.Can(pluginapi.CanLogin) {
		return w, err
	}
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		for password, right := range passwords {
			if right {
				w.signsIn, err = i.Login(ctx, pluginapi.Login{TargetID: out[0].TargetID, Username: after.Username, Password: canonical.NewSecret(password)})
			}
		}
		return err
	})
	return w, err
}

// finished loads somebody of whom an update was broken off, and compares what has become of
// it with one of whom it was not.
func finished(ctx context.Context, p *probe, when string, before, sent pluginapi.User, whole update, passwords map[string]bool) error {
	out, err := p.load(ctx, may([]pluginapi.User{sent}))
	if err != nil {
		return err
	}
	p.expect(when+", in the next run", out, pluginapi.Updated, pluginapi.Unchanged, pluginapi.Created)
	if got := lostFeatures(out[0]); got != whole.lost {
		p.fail("%s, the next run says that the account lacks %q, want %q", when, got, whole.lost)
	}
	if out[0].TargetID != sent.Prior.TargetID {
		p.fail("%s, the account has the id %q, it had %q", when, out[0].TargetID, sent.Prior.TargetID)
	}
	if len(p.problems) > 0 {
		return nil
	}
	again, err := p.load(ctx, may(known([]pluginapi.User{sent}, out)))
	if err != nil {
		return err
	}
	if again[0].Action != pluginapi.Unchanged {
		p.fail("%s, the next run says %s, and the one after it %s, want unchanged", when, say(out[0]), say(again[0]))
	}
	fields, err := fieldsOf(ctx, p, known([]pluginapi.User{before}, again)[0])
	if err != nil {
		return err
	}
	if fields != whole.back {
		p.fail("%s and finished, the account differs from what it was in %q, want %q", when, fields, whole.back)
	}
	if !whole.signsIn {
		return nil
	}
	return p.signsIn(ctx, &sent, sent.Prior.TargetID, when+" and finished", passwords)
}

func tryUndoBrokenOff(ctx context.Context, p *probe) error {
	return breaking(ctx, p, func(ctx context.Context, when string) (work, judge func(context.Context) error, err error) {
		u := everything(p.kit, p.person(), false)
		made, err := p.load(ctx, []pluginapi.User{u})
		if err != nil {
			return nil, nil, err
		}
		p.expect("somebody with all that there is", made, pluginapi.Created)
		accounts := accountsOf(made)
		accounts[0].ID = u.ID
		work = func(soon context.Context) error {
			return p.with(ctx, func(_ context.Context, i *instance) error {
				out, err := i.Undo(soon, accounts)
				p.watch.outcomes(out)
				return err
			})
		}
		judge = func(ctx context.Context) error {
			out, err := p.undo(ctx, accounts)
			if err != nil {
				return err
			}
			p.expect("an undo "+when+", in the next undo", out, pluginapi.Deleted, pluginapi.Unchanged)
			again, err := p.load(ctx, []pluginapi.User{u})
			if err == nil {
				p.expect("an undo "+when+" and finished, loaded again", again, pluginapi.Created)
			}
			return err
		}
		return work, judge, nil
	})
}

package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// changeRules are about accounts that are there: what changes in them, what was there
// before, what nobody can tell.
func changeRules() []Rule {
	return []Rule{
		{
			Name: "changed-password", Promise: "a changed password is an update; then the new one works and the old one does not", try: tryChangedPassword,
			unless: unlessPasswords,
		},
		{
			Name: "unread", Promise: "a password that nobody remembers having sent is not taken for the right one", try: tryUnread,
			unless: unlessPasswords,
		},
		{
			Name: "given-and-taken", Promise: "what the source takes away from an account is taken away, and what it gives is given, in every part that the plugin declares", try: tryParts,
			unless: unlessWhole,
		},
		{
			Name: "undo-in-doubt", Promise: "an account that was sent without an answer is found by an undo and removed, and where there is none that is said", try: tryUndoInDoubt,
			unless: unable(pluginapi.CanUndoInDoubt),
		},
		{
			Name: "same-account", Promise: "an account that a run has made is found again by its target id, whatever its name and address have become", try: trySameAccount,
			unless: unlessWhole,
		},
		{
			Name: "taken", Promise: "a name or an address that somebody else has costs only the one who wants it", try: tryTaken,
			unless: unlessWhole,
		},
		{
			Name: "exchange", Promise: "two people who exchange their addresses both keep an account, and end with the right one or are named", try: tryExchange,
			unless: unlessWhole,
		},
	}
}

func unlessPasswords(k *kit) string {
	if !k.caps.Accepts(canonical.ParsePasswordHash(k.bcrypt())) {
		return "the plugin does not take bcrypt"
	}
	return unlessWhole(k)
}

// may has the host say that accounts may be changed.
func may(users []pluginapi.User) []pluginapi.User {
	users = slices.Clone(users)
	for i := range users {
		users[i].Existing = pluginapi.Update
	}
	return users
}

// update loads users whom runs have loaded before. It is false when the plugin never
// changes accounts, which makes the rule pointless.
func (p *probe) update(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, bool, error) {
	out, err := p.load(ctx, may(users))
	if err != nil {
		return nil, false, err
	}
	if slices.ContainsFunc(out, func(o pluginapi.Outcome) bool {
		return o.Action == pluginapi.Skipped && o.Code == diag.LoadExistsDiffers
	}) {
		p.pointless = "the plugin never changes accounts"
		return nil, false, nil
	}
	return out, true, nil
}

// hashOf is the hash of a password, as the plugin takes it.
func (p *probe) hashOf(password string) (canonical.PasswordHash, error) {
	shape := canonical.ParsePasswordHash(p.bcrypt())
	hash, err := bcrypt.GenerateFromPassword([]byte(p.watch.secret(password)), shape.Cost)
	if err != nil {
		return canonical.PasswordHash{}, err
	}
	return canonical.ParsePasswordHash("$" + shape.Variant + string(hash[3:])), nil
}

// signsIn tries passwords of an account, where the plugin can.
func (p *probe) signsIn(ctx context.Context, u *pluginapi.User, targetID, when string, passwords map[string]bool) error {
	if !p.caps.Can(pluginapi.CanLogin) {
		return nil
	}
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		for password, want := range passwords {
			got, err := i.Login(ctx, pluginapi.Login{TargetID: targetID, Username: u.Username, Password: canonical.NewSecret(password)})
			switch {
			case err != nil:
				p.fail("%s, a login cannot be tried: %v", when, err)
			case got && !want:
				p.fail("%s, another password works", when)
			case !got && want:
				p.fail("%s, the right password does not work", when)
			}
		}
		return nil
	})
}

// twoPasswords are somebody with one password, and the same with another.
func (p *probe) twoPasswords() (first, second pluginapi.User, passwords map[string]bool, err error) {
	before, after := "before-"+p.run+"-Aa1!", "after-"+p.run+"-Aa1!"
	first = p.person()
	if first.Password, err = p.hashOf(before); err != nil {
		return first, second, nil, err
	}
	second = first
	second.Password, err = p.hashOf(after)
	return first, second, map[string]bool{before: false, after: true}, err
}

func tryChangedPassword(ctx context.Context, p *probe) error {
	first, second, passwords, err := p.twoPasswords()
	if err != nil {
		return err
	}
	loaded, err := p.load(ctx, []pluginapi.User{first})
	if err != nil {
		return err
	}
	p.expect("somebody with a password", loaded, pluginapi.Created)
	again := known([]pluginapi.User{second}, loaded)
	out, ok, err := p.update(ctx, again)
	if err != nil || !ok {
		return err
	}
	switch o := out[0]; {
	case o.Action == pluginapi.Updated:
	case o.Action.MayLose() && len(o.Losses) > 0: // named
		return nil
	case o.Action == pluginapi.Skipped, o.Action == pluginapi.Rejected: // named
		return nil
	default:
		p.fail("an account whose password has changed ends as %s: the old one works on, and nobody is told", say(o))
		return nil
	}
	if err := p.signsIn(ctx, &second, loaded[0].TargetID, "with a changed password", passwords); err != nil {
		return err
	}
	if out, err = p.load(ctx, may(known([]pluginapi.User{second}, out))); err == nil {
		p.expect("with the changed password once more", out, pluginapi.Unchanged)
	}
	return err
}

func tryUnread(ctx context.Context, p *probe) error {
	first, second, passwords, err := p.twoPasswords()
	if err != nil {
		return err
	}
	loaded, err := p.load(ctx, []pluginapi.User{first})
	if err != nil {
		return err
	}
	p.expect("somebody with a password", loaded, pluginapi.Created)
	out, err := p.load(ctx, []pluginapi.User{second}) // by a host that remembers nothing
	if err != nil {
		return err
	}
	switch o := out[0]; {
	case o.Action == pluginapi.Updated, o.Action == pluginapi.Created:
		return nil // another rule
	case o.Action == pluginapi.Unchanged && o.Settled():
		p.fail("an account of another password, which the host does not remember, ends as unchanged: say what is unread with %s", diag.LoadUnread)
	}
	second.Prior.TargetID = loaded[0].TargetID // to be taken over
	out, ok, err := p.update(ctx, []pluginapi.User{second})
	if err != nil || !ok {
		return err
	}
	if o := out[0]; o.Action != pluginapi.Updated {
		if !o.Action.MayLose() || len(o.Losses) == 0 {
			p.fail("taken over, it ends as %s, want updated", say(o))
		}
		return nil
	}
	return p.signsIn(ctx, &second, loaded[0].TargetID, "with a changed password", passwords)
}

// part is something that an account can have or not.
type part struct {
	name string
	// feature is what a target has to declare; empty for what every target has.
	feature pluginapi.Feature
	give    func(k *kit, u *pluginapi.User)
	// lack is how an account is without it; nil is as people are.
	lack func(u *pluginapi.User)
}

var parts = []part{
	{"names", pluginapi.CarriesNames, func(_ *kit, u *pluginapi.User) { u.GivenName, u.FamilyName = "Grace", "Hopper" }, func(u *pluginapi.User) { u.GivenName, u.FamilyName = "", "" }},
	{"phone", pluginapi.CarriesPhone, func(k *kit, u *pluginapi.User) {
		k.made++
		u.Phone, u.PhoneVerified = fmt.Sprintf("+1202556%04d", k.made%10000), new(true)
	}, nil},
	{"roles", pluginapi.CarriesRoles, func(k *kit, u *pluginapi.User) { u.Roles = map[string][]string{"public": {"kit-" + k.run}} }, nil},
	{"tenants", pluginapi.CarriesTenants, func(k *kit, u *pluginapi.User) { u.Tenants = []string{"public", "kit-" + k.run} }, nil},
	{"totp", pluginapi.CarriesTOTP, func(k *kit, u *pluginapi.User) {
		u.TOTP = []canonical.TOTPDevice{{
			Name: "phone", Secret: canonical.NewSecret(k.watch.secret("JBSWY3DPEHPK3PXP")), Period: 30 * time.Second, Skew: 1, Verified: true,
		}}
	}, nil},
	{"metadata", pluginapi.CarriesMetadata, func(_ *kit, u *pluginapi.User) { u.Metadata = json.RawMessage(`{"plan":"pro"}`) }, nil},
	// Somebody who is shut out at the source and not here, or who is trusted here and not there,
	// is a hole in a wall.
	{"a closed account", "", func(_ *kit, u *pluginapi.User) { u.Enabled = false }, nil},
	{"email_verified", pluginapi.CarriesEmailVerified, func(*kit, *pluginapi.User) {}, func(u *pluginapi.User) { u.EmailVerified = new(false) }},
	{"a number of 16 digits in the metadata", pluginapi.CarriesMetadata, func(_ *kit, u *pluginapi.User) { u.Metadata = json.RawMessage(`{"n":9007199254740993}`) }, func(u *pluginapi.User) {
		u.Metadata = json.RawMessage(`{"n":9007199254740992}`)
	}},
	{"identities", pluginapi.CarriesIdentities, func(k *kit, u *pluginapi.User) {
		k.made++
		u.Identities = []pluginapi.Identity{{Provider: "google", Subject: fmt.Sprintf("%s-%d", k.run, k.made)}}
	}, nil},
	{"passkeys", pluginapi.CarriesPasskeys, func(k *kit, u *pluginapi.User) { u.Passkeys = []pluginapi.Passkey{k.passkey()} }, nil},
}

// trial is a part that one person gets and another loses.
type trial struct {
	part
	// Without becomes full, and with becomes bare.
	without, with, full, bare pluginapi.User
}

// trials are those of all parts that the plugin declares.
func trials(p *probe) (all []trial) {
	for _, part := range parts {
		if part.feature != "" && !p.caps.Has(part.feature) {
			continue
		}
		t := trial{part: part, without: p.person(), with: p.person()}
		for u := range slices.Values([]*pluginapi.User{&t.without, &t.with}) {
			u.GivenName, u.FamilyName = "Ada", "Example"
		}
		t.full, t.bare = t.without, t.with
		if part.lack != nil {
			part.lack(&t.without)
			part.lack(&t.bare)
		}
		part.give(p.kit, &t.with)
		part.give(p.kit, &t.full)
		for u := range slices.Values([]*pluginapi.User{&t.without, &t.with, &t.full, &t.bare}) {
			p.caps.Withheld().From(u)
		}
		all = append(all, t)
	}
	return all
}

// pairs are two people of each trial, in the order of the trials.
func pairs(all []trial, of func(*trial) (_, _ pluginapi.User)) (users []pluginapi.User) {
	for i := range all {
		one, two := of(&all[i])
		users = append(users, one, two)
	}
	return users
}

// tryParts gives each part to somebody who lacks it, and takes it away from somebody who
// has it. That it was done is what the plugin itself sees afterwards: the same again is
// no change, the opposite is one.
func tryParts(ctx context.Context, p *probe) error {
	before := func(t *trial) (_, _ pluginapi.User) { return t.without, t.with }
	after := func(t *trial) (_, _ pluginapi.User) { return t.full, t.bare }
	candidates := trials(p)
	made, err := p.load(ctx, pairs(candidates, before))
	if err != nil {
		return err
	}
	var all []trial
	var loaded []pluginapi.Outcome
	for i, t := range candidates {
		two := made[2*i : 2*i+2]
		if two[0].Action != pluginapi.Created || two[1].Action != pluginapi.Created {
			continue // the target wants everybody to have it, or nobody: no fault
		}
		if slices.ContainsFunc(two[1].Losses, func(l pluginapi.PartLoss) bool { return l.Feature == t.feature }) {
			continue // the plugin says itself that it was not carried
		}
		all, loaded = append(all, t), append(loaded, two...)
	}
	exchanged := known(pairs(all, after), loaded)
	out, err := p.load(ctx, may(exchanged))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(out, func(o pluginapi.Outcome) bool {
		return o.Action != pluginapi.Skipped || o.Code != diag.LoadExistsDiffers
	}) {
		p.pointless = "the plugin never changes accounts"
		return nil
	}
	again, err := p.load(ctx, may(known(exchanged, out)))
	if err != nil {
		return err
	}
	var seen []pluginapi.Change
	if p.caps.Can(pluginapi.CanPlan) {
		err = p.with(ctx, func(ctx context.Context, i *instance) (err error) {
			seen, err = i.Plan(ctx, may(known(pairs(all, before), out)))
			return err
		})
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	for i, o := range out {
		part, what, back := all[i/2].part, []string{"given", "taken away"}[i%2], []string{"taken away", "given"}[i%2]
		if o.Action == pluginapi.Unchanged && len(o.Losses) == 0 {
			p.fail("%s: %s at the source, and the account ends as %s", part.name, what, say(o))
		}
		if len(out[i&^1].Losses)+len(out[i|1].Losses) > 0 {
			continue
		}
		p.expect(part.name+", the same again", again[i:i+1], pluginapi.Unchanged)
		if seen != nil && seen[i].Action == pluginapi.Unchanged && len(seen[i].Losses) == 0 && o.Action == pluginapi.Updated {
			p.fail("%s: after an update, the plugin sees no difference when it is to be %s again: the update was not done", part.name, back)
		}
	}
	return nil
}

func trySameAccount(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 2)
	if err != nil {
		return err
	}
	renamed := known(users, first)
	for i := range renamed {
		renamed[i].Email, renamed[i].Username = "moved-"+renamed[i].Email, "moved-"+renamed[i].Username
	}
	out, ok, err := p.update(ctx, renamed)
	if err != nil || !ok {
		return err
	}
	for i, o := range out {
		if o.Action == pluginapi.Created || o.TargetID != "" && o.TargetID != first[i].TargetID {
			p.fail("an account with another name and address ends as %s with the id %q, it had %q", say(o), o.TargetID, first[i].TargetID)
		}
	}
	return nil
}

func tryTaken(ctx context.Context, p *probe) error {
	strangers, _, err := p.seed(ctx, 1)
	if err != nil {
		return err
	}
	users := p.people(5)
	users[1].Username, users[1].Email = strangers[0].Username, strangers[0].Email
	users[3].Username, users[3].Email = users[0].Username, users[0].Email
	var planned []pluginapi.Change
	if p.caps.Can(pluginapi.CanPlan) {
		err := p.with(ctx, func(ctx context.Context, i *instance) (err error) {
			planned, err = i.Plan(ctx, users)
			return err
		})
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	out, err := p.load(ctx, users)
	if err != nil {
		p.fail("with somebody whose name is taken: %v", err)
		return nil
	}
	if planned != nil && (planned[1].Action != out[1].Action || planned[1].Code != out[1].Code) {
		p.fail("where a stranger has the name, planned %s, then %s", say(planned[1].Outcome), say(out[1]))
	}
	for _, i := range []int{2, 4} {
		if out[i].Action != pluginapi.Created {
			p.fail("beside users whose names are taken, a good one ends as %s", say(out[i]))
		}
	}
	if out[1].Action == pluginapi.InDoubt {
		p.fail("a user whose name a stranger has is %s, want an outcome that is certain", say(out[1]))
	}
	// Whoever is in doubt comes out of it in the next run.
	var doubtful []pluginapi.User
	for i, o := range out {
		if o.Action == pluginapi.InDoubt {
			users[i].Prior.InDoubt = true
			doubtful = append(doubtful, users[i])
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	if out, err = p.load(ctx, doubtful); err == nil {
		for _, o := range out {
			if o.Action == pluginapi.InDoubt {
				p.fail("a user who was in doubt still is after the next run: %s", say(o))
			}
		}
	}
	return err
}

func tryExchange(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 2)
	if err != nil {
		return err
	}
	crossed := known(users, first)
	crossed[0].Email, crossed[1].Email = users[1].Email, users[0].Email
	crossed[0].Username, crossed[1].Username = users[1].Username, users[0].Username
	out, ok, err := p.update(ctx, crossed)
	if err != nil || !ok {
		return err
	}
	for i, o := range out {
		if o.Action == pluginapi.Created || o.Action == pluginapi.Unchanged && len(o.Losses) == 0 {
			p.fail("one of two people who have exchanged their addresses, with the account %q, ends as %s", first[i].TargetID, say(o))
		}
	}
	if !p.caps.Can(pluginapi.CanPlan) {
		return nil
	}
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		seen, err := i.Plan(ctx, may(known(users, out)))
		for n, c := range seen {
			if c.Action == pluginapi.Created {
				p.fail("afterwards the account %q of one of the two is not there: %s", first[n].TargetID, strings.TrimSpace(say(c.Outcome)))
			}
		}
		return err
	})
}

func tryUndoInDoubt(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 2)
	if err != nil {
		return err
	}
	nobody := p.person()
	out, err := p.undo(ctx, []pluginapi.Account{
		{SourceID: users[0].SourceID, ID: users[0].ID, InDoubt: true}, {SourceID: nobody.SourceID, ID: nobody.ID, InDoubt: true},
	})
	if err != nil {
		return err
	}
	if o := out[0]; o.Action != pluginapi.Deleted && (o.Action != pluginapi.Skipped || o.TargetID != first[0].TargetID) {
		p.fail("an account that was sent and is there ends as %s with the id %q, want deleted, or skipped with its id", say(o), o.TargetID)
	}
	if o := out[1]; o.Action != pluginapi.Unchanged && (o.Action != pluginapi.Skipped || o.Code != diag.UndoInDoubt) { // not every target can prove it
		p.fail("somebody who was sent and is not there ends as %s, want unchanged, or skipped %s", say(o), diag.UndoInDoubt)
	}
	if out[0].Action != pluginapi.Deleted {
		return nil
	}
	if out, err = p.load(ctx, users); err != nil {
		return err
	}
	p.expect("loaded after it", out[:1], pluginapi.Created)
	p.expect("whom nobody took back", out[1:], pluginapi.Unchanged)
	return nil
}

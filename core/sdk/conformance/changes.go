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
func (p *probe) signsIn(ctx context.Context, u *pluginapi.User, targetID string, passwords map[string]bool) error {
	if !p.caps.Can(pluginapi.CanLogin) {
		return nil
	}
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		for password, want := range passwords {
			got, err := i.Login(ctx, pluginapi.Login{TargetID: targetID, Username: u.Username, Password: canonical.NewSecret(password)})
			switch {
			case err != nil:
				p.fail("a login cannot be tried: %v", err)
			case got && !want:
				p.fail("the old password still works")
			case !got && want:
				p.fail("the new password does not work")
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
	if err := p.signsIn(ctx, &second, loaded[0].TargetID, passwords); err != nil {
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
	return p.signsIn(ctx, &second, loaded[0].TargetID, passwords)
}

// part is something that an account can have or not.
type part struct {
	feature pluginapi.Feature
	give    func(k *kit, u *pluginapi.User)
}

var parts = []part{
	{pluginapi.CarriesNames, func(_ *kit, u *pluginapi.User) { u.GivenName, u.FamilyName = "Grace", "Hopper" }},
	{pluginapi.CarriesPhone, func(k *kit, u *pluginapi.User) {
		k.made++
		u.Phone, u.PhoneVerified = fmt.Sprintf("+1202556%04d", k.made%10000), new(true)
	}},
	{pluginapi.CarriesRoles, func(k *kit, u *pluginapi.User) { u.Roles = map[string][]string{"public": {"kit-" + k.run}} }},
	{pluginapi.CarriesTenants, func(k *kit, u *pluginapi.User) { u.Tenants = []string{"public", "kit-" + k.run} }},
	{pluginapi.CarriesTOTP, func(k *kit, u *pluginapi.User) {
		u.TOTP = []canonical.TOTPDevice{{
			Name: "phone", Secret: canonical.NewSecret(k.watch.secret("JBSWY3DPEHPK3PXP")), Period: 30 * time.Second, Skew: 1, Verified: true,
		}}
	}},
	{pluginapi.CarriesMetadata, func(_ *kit, u *pluginapi.User) { u.Metadata = json.RawMessage(`{"plan":"pro"}`) }},
}

// tryParts gives each part to somebody who lacks it, and takes it away from somebody who
// has it. That it was done is what the plugin itself sees afterwards: the same again is
// no change, the opposite is one.
func tryParts(ctx context.Context, p *probe) error {
	for _, part := range parts {
		if !p.caps.Has(part.feature) {
			continue
		}
		without, with := p.person(), p.person()
		without.GivenName, without.FamilyName, with.GivenName, with.FamilyName = "Ada", "Example", "Ada", "Example"
		if part.feature == pluginapi.CarriesNames {
			without.GivenName, without.FamilyName = "", ""
		}
		bare := with
		bare.GivenName, bare.FamilyName = without.GivenName, without.FamilyName
		full := without
		part.give(p.kit, &with)
		part.give(p.kit, &full)
		for u := range slices.Values([]*pluginapi.User{&without, &with, &full, &bare}) {
			p.caps.Withheld().From(u)
		}
		loaded, err := p.load(ctx, []pluginapi.User{without, with})
		if err != nil {
			return err
		}
		if loaded[0].Action != pluginapi.Created || loaded[1].Action != pluginapi.Created {
			continue // the target wants everybody to have it, or nobody: no fault
		}
		if slices.ContainsFunc(loaded[1].Losses, func(l pluginapi.PartLoss) bool { return l.Feature == part.feature }) {
			continue // the plugin says itself that it was not carried
		}
		exchanged := known([]pluginapi.User{full, bare}, loaded)
		out, ok, err := p.update(ctx, exchanged)
		if err != nil || !ok {
			return err
		}
		for i, what := range []string{"given", "taken away"} {
			if o := out[i]; o.Action == pluginapi.Unchanged && len(o.Losses) == 0 {
				p.fail("%s was %s at the source, and the account ends as %s", part.feature, what, say(o))
			}
		}
		now := known(exchanged, out)
		if again, err := p.load(ctx, may(now)); err != nil {
			return err
		} else if len(out[0].Losses)+len(out[1].Losses) == 0 {
			p.expect(string(part.feature)+", the same again", again, pluginapi.Unchanged)
		}
		var seen []pluginapi.Change
		if !p.caps.Can(pluginapi.CanPlan) {
			continue
		}
		err = p.with(ctx, func(ctx context.Context, i *instance) (err error) {
			seen, err = i.Plan(ctx, may(known([]pluginapi.User{without, with}, out)))
			return err
		})
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		for i, what := range []string{"taken away", "given"} {
			if seen[i].Action == pluginapi.Unchanged && len(seen[i].Losses) == 0 && len(out[i].Losses) == 0 && out[i].Action == pluginapi.Updated {
				p.fail("%s: after an update, the plugin sees no difference when it is to be %s again: the update was not done", part.feature, what)
			}
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
	out, err := p.load(ctx, users)
	if err != nil {
		p.fail("with somebody whose name is taken: %v", err)
		return nil
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

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// accountRules are about what becomes of users.
func accountRules() []Rule {
	return []Rule{
		{Name: "outcomes", Promise: "every user of every batch gets exactly one outcome", try: tryOutcomes},
		{Name: "idempotent", Promise: "loading twice equals loading once", try: tryIdempotent},
		{
			Name: "plan", Promise: "a plan writes nothing and predicts what the load then does", try: tryPlan,
			unless: unable(pluginapi.CanPlan),
		},
		{Name: "poison", Promise: "a user that the target cannot take costs nobody else anything", try: tryPoison},
		{Name: "large", Promise: "a user of 8 MiB, or with a thousand values, is loaded or rejected, and costs nobody else anything", try: tryLarge},
		{
			Name: "leave", Promise: "an account that is there and differs is skipped, not overwritten", try: tryLeave,
			unless: unlessWhole,
		},
		{
			Name: "update", Promise: "an update writes what differs, once, and only to the account that was planned for", try: tryUpdate,
			unless: unlessWhole,
		},
		{
			Name: "lost-answer", Promise: "a user whose answer was lost is looked up, not created again", try: tryLostAnswer,
			unless: unlessWhole,
		},
		{
			Name: "undo", Promise: "an undo deletes what a load created, and nothing that has changed since", try: tryUndo,
			unless: unable(pluginapi.CanUndo),
		},
		{
			Name: "disable", Promise: "an account is switched off and on again, or gives its address free, only while nobody has touched it, and a look writes nothing", try: tryDisable,
			unless: unable(pluginapi.CanDisable),
		},
		{
			Name: "login", Promise: "the right password is accepted and a wrong one refused", try: tryLogin,
			unless: func(k *kit) string {
				if !k.caps.Accepts(canonical.ParsePasswordHash(k.bcrypt())) {
					return "the plugin does not take bcrypt"
				}
				return unable(pluginapi.CanLogin)(k)
			},
		},
	}
}

func unlessWhole(k *kit) string {
	if k.caps.Whole {
		return "every run replaces what earlier ones wrote"
	}
	return ""
}

// say is how an outcome is quoted.
func say(o pluginapi.Outcome) string {
	text := string(o.Action)
	if o.Code != "" {
		text += " " + string(o.Code)
	}
	if len(o.Changed) > 0 {
		text += " in " + strings.Join(o.Changed, ", ")
	}
	if o.Detail != "" {
		text += " (" + shorten(o.Detail) + ")"
	}
	return text
}

// expect compares outcomes with what they should be.
func (p *probe) expect(when string, out []pluginapi.Outcome, want ...pluginapi.Action) {
	for _, o := range out {
		if !slices.Contains(want, o.Action) {
			p.fail("%s: a user ends as %s, want %s", when, say(o), want[0])
		}
	}
}

// seed loads n ordinary people, who must all be taken.
func (p *probe) seed(ctx context.Context, n int) ([]pluginapi.User, []pluginapi.Outcome, error) {
	users := p.people(n)
	out, err := p.load(ctx, users)
	if err != nil {
		return nil, nil, err
	}
	p.expect("ordinary people", out, pluginapi.Created)
	if len(p.problems) > 0 {
		return nil, nil, errStop
	}
	return users, out, nil
}

// known gives users what a host would remember of them.
func known(users []pluginapi.User, out []pluginapi.Outcome) []pluginapi.User {
	users = slices.Clone(users)
	for i := range users {
		users[i].Prior = pluginapi.Prior{TargetID: out[i].TargetID, State: out[i].State}
	}
	return users
}

func tryOutcomes(ctx context.Context, p *probe) error {
	// More than one batch, where batches are not huge.
	size := p.caps.Batch.Users
	if size <= 0 {
		size = 200
	}
	users := p.crowd(min(2*size+6, 500))
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for i, o := range out {
		if o.Action == pluginapi.Created {
			switch {
			case o.TargetID == "" && p.caps.Whole: // whoever imports the files gives the id
			case o.TargetID == "":
				p.fail("user %d of %d was created, and nobody says as what: target_id is empty", i+1, len(out))
			case ids[o.TargetID]:
				p.fail("user %d of %d was created as %q, like another one", i+1, len(out), o.TargetID)
			}
			ids[o.TargetID] = true
		}
		switch {
		case o.Code == diag.PluginNoAnswer:
			p.fail("user %d of %d has no outcome", i+1, len(out))
		case o.Action == pluginapi.InDoubt:
			p.fail("user %d of %d is in doubt although nothing went wrong: %s", i+1, len(out), say(o))
		}
	}
	return nil
}

func tryIdempotent(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 20)
	if err != nil {
		return err
	}
	want := pluginapi.Unchanged
	if p.caps.Whole {
		want = pluginapi.Created
	}
	before, err := p.inspect(ctx)
	if err != nil {
		return err
	}
	for _, again := range []struct {
		how   string
		users []pluginapi.User
	}{
		{"loaded again by a host that remembers nothing", users},
		{"loaded again by a host that remembers", known(users, first)},
	} {
		out, err := p.load(ctx, again.users)
		if err != nil {
			return err
		}
		p.expect(again.how, out, want)
		for i, o := range out {
			if o.TargetID != first[i].TargetID {
				p.fail("%s: the account now has the id %q, it had %q", again.how, o.TargetID, first[i].TargetID)
			}
			unread := slices.ContainsFunc(o.Losses, func(l pluginapi.PartLoss) bool { return l.Code == diag.LoadUnread })
			if len(o.State) == 0 && len(first[i].State) > 0 {
				p.fail("%s: the account has no state any more, so that nothing protects it from an undo", again.how)
			}
			if len(o.State) > 0 && len(first[i].State) > 0 && !unread && !bytes.Equal(o.State, first[i].State) {
				p.fail("%s: the state of an account that nobody touched is another one", again.how)
			}
		}
	}
	after, err := p.inspect(ctx)
	if err == nil && after != before {
		p.fail("loading again has changed the target")
	}
	if err != nil || p.caps.Whole {
		return err
	}
	return tryCrowdAgain(ctx, p)
}

// tryCrowdAgain loads people of every kind twice, the second time in another order: what one
// of them has must not come from the one before.
func tryCrowdAgain(ctx context.Context, p *probe) error {
	users := p.crowd(12)
	first, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	var taken []pluginapi.User
	for i, o := range first {
		if o.Action == pluginapi.Created && len(o.Losses) == 0 {
			taken = append(taken, known(users[i:i+1], first[i:i+1])...)
		}
	}
	slices.Reverse(taken)
	out, err := p.load(ctx, may(taken))
	for i, o := range out {
		if o.Action != pluginapi.Unchanged {
			p.fail("somebody with %s, loaded again in another order, ends as %s %v", kindOf(&taken[i]), say(o), o.Changed)
		}
	}
	return err
}

// kindOf says what is special about one of a crowd.
func kindOf(u *pluginapi.User) string {
	switch {
	case len(u.Metadata) > 0 || u.Phone != "" || len(u.TOTP) > 0:
		return "everything"
	case u.Email == "":
		return "no address"
	case !u.Enabled:
		return "a closed account"
	case u.FamilyName == "":
		return "no names"
	case u.FamilyName != "Example":
		return "letters of other scripts"
	}
	return "nothing special"
}

func tryPlan(ctx context.Context, p *probe) error {
	users := p.crowd(12)
	before, err := p.inspect(ctx)
	if err != nil {
		return err
	}
	written := p.suite.Front.writes()
	var plans [2][]pluginapi.Change
	for n := range plans {
		err := p.with(ctx, func(ctx context.Context, i *instance) (err error) {
			plans[n], err = i.Plan(ctx, users)
			return err
		})
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		p.watch.changes(plans[n])
	}
	if after, err := p.inspect(ctx); err != nil || after != before {
		p.fail("the plan has changed the target (%v)", err)
	}
	if n := p.suite.Front.writes() - written; n > 0 {
		p.fail("the plan sent %d requests that could change something", n)
	}
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	for i, o := range out {
		first, second := plans[0][i].Outcome, plans[1][i].Outcome
		switch {
		case o.Code == diag.PluginNoAnswer: // another rule
		case first.Code == diag.PluginNoAnswer || second.Code == diag.PluginNoAnswer:
			p.fail("the plan has no change for a user")
		case first.Action != second.Action:
			p.fail("the first plan says %s, the second one %s: planning has changed something", say(first), say(second))
		case second.Action != o.Action || second.Code != o.Code:
			p.fail("planned %s, then %s", say(second), say(o))
		}
	}
	return nil
}

func tryPoison(ctx context.Context, p *probe) error {
	for what, bad := range p.poison() {
		users := slices.Insert(p.people(4), 2, bad)
		out, err := p.load(ctx, users)
		if err != nil {
			p.fail("with somebody in the batch who %s: %v", what, err)
			continue
		}
		for i, o := range out {
			switch {
			case i == 2 && o.Action == pluginapi.InDoubt:
				p.fail("a user who %s is %s, want an outcome that is certain", what, say(o))
			case i != 2 && o.Action != pluginapi.Created:
				p.fail("beside a user who %s, a good one ends as %s", what, say(o))
			}
		}
	}
	return nil
}

func tryLarge(ctx context.Context, p *probe) error {
	users := p.people(4)
	users[1].Metadata = json.RawMessage(`{"big":"` + strings.Repeat("m", 8<<20) + `"}`)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`"key%d":"%d"`, i, i))
	}
	users[3].Metadata = json.RawMessage("{" + strings.Join(many, ",") + "}")
	for i := range users {
		p.caps.Withheld().From(&users[i])
	}
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	p.expect("8 MiB", out[1:2], pluginapi.Created, pluginapi.Rejected)
	p.expect("beside 8 MiB", []pluginapi.Outcome{out[0], out[2]}, pluginapi.Created)
	p.expect("1000 keys in the metadata", out[3:], pluginapi.Created, pluginapi.Rejected)
	if p.caps.Whole || out[3].Action != pluginapi.Created || len(out[3].Losses) > 0 || len(p.problems) > 0 {
		return nil
	}
	if out, err = p.load(ctx, known(users[3:], out[3:])); err == nil {
		p.expect("1000 keys in the metadata, once more", out, pluginapi.Unchanged)
	}
	return err
}

// changed is the same people with other values in fields that every target has.
func changed(users []pluginapi.User) []pluginapi.User {
	users = slices.Clone(users)
	for i := range users {
		users[i].Email = "new-" + users[i].Email
		users[i].GivenName = "Grace"
	}
	return users
}

func tryLeave(ctx context.Context, p *probe) error {
	users, _, err := p.seed(ctx, 3)
	if err != nil {
		return err
	}
	out, err := p.load(ctx, changed(users))
	if err != nil {
		return err
	}
	for _, o := range out {
		if o.Action != pluginapi.Skipped || o.Code != diag.LoadExistsDiffers {
			p.fail("an account with another address and name ends as %s, want skipped %s", say(o), diag.LoadExistsDiffers)
		}
	}
	if out, err = p.load(ctx, users); err == nil {
		p.expect("afterwards, as it was first", out, pluginapi.Unchanged)
	}
	return err
}

func tryUpdate(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 3)
	if err != nil {
		return err
	}
	update := changed(known(users, first))
	for i := range update {
		update[i].Existing = pluginapi.Update
	}
	stale := slices.Clone(update)
	for i := range stale {
		stale[i].Expect = []byte("another state")
	}
	refused, err := p.load(ctx, stale)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(refused, func(o pluginapi.Outcome) bool {
		return o.Action != pluginapi.Skipped || o.Code != diag.LoadExistsDiffers
	}) {
		p.pointless = "the plugin never changes accounts"
		return nil
	}
	for _, o := range refused {
		if o.Action != pluginapi.Rejected || o.Code != diag.LoadMoved {
			p.fail("an account that is in another state than planned ends as %s, want rejected %s", say(o), diag.LoadMoved)
		}
	}
	var planned []pluginapi.Change
	if p.caps.Can(pluginapi.CanPlan) {
		err := p.with(ctx, func(ctx context.Context, i *instance) (err error) {
			planned, err = i.Plan(ctx, update)
			return err
		})
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		p.watch.changes(planned)
	}
	for i, c := range planned { // as a saved plan does
		switch {
		case c.Action != pluginapi.Updated || len(first[i].State) == 0:
		case len(c.State) == 0:
			p.fail("the plan of an update does not say in which state the account is, so that a saved plan changes it in any")
		default:
			update[i].Expect = c.State
		}
	}
	out, err := p.load(ctx, update)
	if err != nil {
		return err
	}
	for i := range update {
		update[i].Expect = nil
	}
	for i, c := range planned {
		if c.Action != out[i].Action || c.Code != out[i].Code {
			p.fail("planned %s, then %s", say(c.Outcome), say(out[i]))
		}
		if c.Action == pluginapi.Updated && len(c.Fields) == 0 {
			p.fail("the plan of an update does not say which fields it would change")
		}
	}
	p.expect("with another address and name", out, pluginapi.Updated)
	for i, o := range out {
		if o.Action == pluginapi.Updated && len(o.Changed) == 0 {
			p.fail("an update does not say which fields it changed")
		}
		if o.Action == pluginapi.Updated && o.TargetID != first[i].TargetID {
			p.fail("an update reports the id %q, the account has %q", o.TargetID, first[i].TargetID)
		}
		if o.Action == pluginapi.Updated && len(o.State) == 0 && len(first[i].State) > 0 {
			p.fail("an update leaves no state, so that nothing protects the account from an undo")
		}
		if o.Action == pluginapi.Updated && p.caps.Can(pluginapi.CanUndo) && o.Before == nil {
			p.fail("an update gives no pre-image, so it cannot be undone")
		}
	}
	if out, err = p.load(ctx, update); err == nil {
		p.expect("updated once more", out, pluginapi.Unchanged)
	}
	return err
}

func tryLostAnswer(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 3)
	if err != nil {
		return err
	}
	users = append(users, p.person()) // of whom nothing ever arrived
	for i := range users {
		users[i].Prior = pluginapi.Prior{InDoubt: true}
	}
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	p.expect("in doubt, and there", out[:3], pluginapi.Unchanged, pluginapi.Created)
	p.expect("in doubt, and not there", out[3:], pluginapi.Created)
	for i, o := range first {
		if out[i].TargetID != o.TargetID {
			p.fail("the account that is found has the id %q, it was created with %q", out[i].TargetID, o.TargetID)
		}
	}
	return nil
}

// undo takes accounts back with a plugin that was just started.
func (p *probe) undo(ctx context.Context, accounts []pluginapi.Account) (out []pluginapi.Outcome, err error) {
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		out, err = i.Undo(ctx, accounts)
		p.watch.outcomes(out)
		return err
	})
	return out, err
}

func accountsOf(out []pluginapi.Outcome) []pluginapi.Account {
	var all []pluginapi.Account
	for _, o := range out {
		all = append(all, pluginapi.Account{SourceID: o.SourceID, TargetID: o.TargetID, State: o.State, Before: o.Before})
	}
	return all
}

func tryUndo(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 4)
	if err != nil {
		return err
	}
	accounts := accountsOf(first)
	for i := range accounts {
		if len(accounts[i].State) == 0 {
			p.fail("a load leaves no state, so an undo cannot know whether the account is as it was left")
			return nil
		}
	}
	accounts[2].State = nil // of somebody whom the host has just made itself
	accounts[3].State = []byte("another state")
	out, err := p.undo(ctx, accounts)
	if err != nil {
		return err
	}
	p.expect("created by the load", out[:3], pluginapi.Deleted)
	if o := out[3]; o.Action != pluginapi.Skipped || o.Code != diag.LoadMoved {
		p.fail("an account that is in another state than was left ends as %s, want skipped %s", say(o), diag.LoadMoved)
	}
	if out, err = p.undo(ctx, accounts[:3]); err != nil {
		return err
	}
	p.expect("undone again", out, pluginapi.Unchanged)
	if out, err = p.load(ctx, users); err != nil {
		return err
	}
	p.expect("loaded after the undo", out[:3], pluginapi.Created)
	p.expect("kept by the undo", out[3:], pluginapi.Unchanged)
	return nil
}

func tryDisable(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 4)
	if err != nil {
		return err
	}
	accounts := accountsOf(first)
	accounts[3].State = []byte("another state")
	before, err := p.inspect(ctx)
	if err != nil {
		return err
	}
	written := p.suite.Front.writes()
	for _, disable := range []bool{true, false} {
		want := pluginapi.Deleted
		if disable {
			want = pluginapi.Updated
		}
		for i := range accounts {
			accounts[i].Disable, accounts[i].DryRun = disable, true
		}
		out, err := p.undo(ctx, accounts)
		if err != nil {
			return err
		}
		p.expect("looked at", out[:3], want)
		p.moved("looked at", out[3])
	}
	if after, err := p.inspect(ctx); err != nil || after != before {
		p.fail("a look has changed the target (%v)", err)
	}
	if n := p.suite.Front.writes() - written; n > 0 {
		p.fail("a look sent %d requests that could change something", n)
	}
	for i := range accounts {
		accounts[i].Disable, accounts[i].DryRun = true, false
	}
	off, err := p.undo(ctx, accounts)
	if err != nil {
		return err
	}
	p.expect("switched off", off[:3], pluginapi.Updated)
	p.moved("switched off", off[3])
	if len(p.problems) > 0 {
		return nil
	}
	for i := range off[:3] {
		if len(off[i].State) == 0 || len(off[i].Before) == 0 || bytes.Equal(off[i].State, first[i].State) {
			p.fail("an account that was switched off has no state of its own, or no pre-image")
			return nil
		}
	}
	// One comes back, one goes, and one makes room for somebody with the same address.
	accounts = accountsOf(off[:3])
	accounts[1].Before, accounts[2].Before = nil, nil
	accounts[2].Disable, accounts[2].Release = true, true
	out, err := p.undo(ctx, accounts)
	if err != nil {
		return err
	}
	p.expect("switched on again, and given free", []pluginapi.Outcome{out[0], out[2]}, pluginapi.Updated)
	p.expect("switched off before", out[1:2], pluginapi.Deleted)
	var back []pluginapi.Outcome
	heir := p.person()
	heir.Username, heir.Email = users[2].Username, users[2].Email
	again, err := p.load(ctx, append(known(users[:1], first[:1]), heir))
	if err != nil {
		return err
	}
	p.expect("switched off and on", again[:1], pluginapi.Unchanged)
	p.expect("somebody with the address that was given free", again[1:], pluginapi.Created)
	if len(p.problems) > 0 {
		return nil
	}
	// The one with the address goes, and the one that had it comes back as it was.
	if back, err = p.undo(ctx, accountsOf(again[1:])); err != nil {
		return err
	}
	p.expect("somebody with the address that was given free, taken back", back, pluginapi.Deleted)
	accounts = accountsOf(out[2:])
	accounts[0].Before = off[2].Before
	if back, err = p.undo(ctx, accounts); err != nil {
		return err
	}
	p.expect("switched on again after it had given its address free", back, pluginapi.Updated)
	if again, err = p.load(ctx, known(users[2:3], first[2:3])); err != nil {
		return err
	}
	p.expect("switched off, given free, and as it was", again, pluginapi.Unchanged)
	return nil
}

// moved says that an account which is in another state than was left has to stay.
func (p *probe) moved(when string, o pluginapi.Outcome) {
	if o.Action != pluginapi.Skipped || o.Code != diag.LoadMoved {
		p.fail("%s: an account that is in another state than was left ends as %s, want skipped %s", when, say(o), diag.LoadMoved)
	}
}

func tryLogin(ctx context.Context, p *probe) error {
	password := p.watch.secret("right-" + p.run + "-Aa1!")
	u := p.person()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), u.Password.Cost)
	if err != nil {
		return err
	}
	u.Password = canonical.ParsePasswordHash("$" + u.Password.Variant + string(hash[3:]))
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		out, err := i.Load(ctx, []pluginapi.User{u})
		if err != nil {
			return err
		}
		if err := i.Finish(ctx); err != nil {
			return err
		}
		p.expect("somebody with a password", out, pluginapi.Created)
		for text, want := range map[string]bool{password: true, "wrong-" + p.run + "-Aa1!": false} {
			got, err := i.Login(ctx, pluginapi.Login{TargetID: out[0].TargetID, Username: u.Username, Password: canonical.NewSecret(text)})
			switch {
			case err != nil:
				p.fail("a login cannot be tried: %v", err)
			case got != want:
				p.fail("a login with the right password (%v) gives %v", want, got)
			}
		}
		// No password at all, which some targets take for a question without a login.
		if got, err := i.Login(ctx, pluginapi.Login{TargetID: out[0].TargetID, Username: u.Username}); err == nil && got {
			p.fail("a login with an empty password is accepted")
		}
		return nil
	})
}

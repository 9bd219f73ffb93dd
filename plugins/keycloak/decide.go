package keycloak

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// verdict is what is to become of one user.
type verdict struct {
	reconcile.Verdict
	user   *representation // nil when mapping rejected the user
	wanted reconcile.Wanted
	last   reconcile.State
	held   *detail // nil when there is no account
	parked *detail // as it was before it stepped aside, nil if it has not
	// left are fields that are to differ, since they cannot be written.
	left map[string]bool
	// kept are the differences in them.
	kept []sdk.FieldChange
	// wishes are the identities that the account is to be linked to and is not.
	wishes []wish
	// moves are links that come to this account from others that are ways to sign in to it
	// by now.
	moves []move
}

// change is what a plan says. Of an account that stays as it is although it differs, since
// nobody can write that, it says the differences, for whoever compares both sides.
func (v *verdict) change() sdk.Change {
	c := sdk.Change{Outcome: v.Outcome, Fields: v.Fields}
	if c.Action == sdk.Unchanged {
		c.Fields = v.kept
	}
	return c
}

// writes says that an account that is there is to be changed.
func (v *verdict) writes() bool {
	return v.held != nil && (v.Outcome.Action == sdk.Updated || v.Resumed)
}

// differs returns the difference in a field, nil where there is none.
func (v *verdict) differs(field string) *reconcile.Difference {
	i := slices.IndexFunc(v.Differences, func(d reconcile.Difference) bool { return d.Field == field })
	if i < 0 {
		return nil
	}
	return &v.Differences[i]
}

// lose notes a part that is not written.
func (v *verdict) lose(feature sdk.Feature, code sdk.Code, attribute, detail string) {
	v.Outcome.Losses = append(v.Outcome.Losses, sdk.PartLoss{Feature: feature, Code: code, Attribute: attribute, Detail: detail})
}

// giveUp notes that a field cannot be written, so that it stays different.
func (v *verdict) giveUp(field string, feature sdk.Feature, code sdk.Code, attribute, detail string) {
	for _, f := range v.Fields {
		if f.Field == field {
			f.Drift = false // nobody is asked about it
			v.kept = append(v.kept, f)
		}
	}
	v.leave(field)
	v.lose(feature, code, attribute, detail)
	if v.left == nil {
		v.left = map[string]bool{}
	}
	v.left[field] = true
}

// leave has a field stay as it is.
func (v *verdict) leave(field string) {
	delete(v.Send, field)
	v.Differences = slices.DeleteFunc(v.Differences, func(d reconcile.Difference) bool { return d.Field == field })
	v.Fields = slices.DeleteFunc(v.Fields, func(f sdk.FieldChange) bool { return f.Field == field })
	v.Outcome.Changed = slices.DeleteFunc(v.Outcome.Changed, func(name string) bool { return name == field })
	if len(v.Differences) == 0 && len(v.Send) == 0 && v.Outcome.Action == sdk.Updated {
		v.Outcome.Action, v.Outcome.Changed = sdk.Unchanged, nil
	}
}

func reject(u *sdk.User, code sdk.Code, detail, hint string) *sdk.Outcome {
	return &sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: code, Detail: detail, Hint: hint}
}

// claimsOf are the identifiers that only one account of a run can have.
func claimsOf(u *representation, emailsOnce bool) (names, links []reconcile.Claim) {
	names = []reconcile.Claim{
		{Kind: "id", Value: u.ID, Code: sdk.CodeIDConflict},
		{Kind: "user name", Value: u.Username, Code: sdk.CodeUsernameConflict},
	}
	if emailsOnce {
		names = append(names, reconcile.Claim{Kind: "e-mail address", Value: u.Email, Code: sdk.CodeEmailConflict})
	}
	for _, f := range u.FederatedIdentities {
		links = append(links, reconcile.Claim{Kind: f.IdentityProvider + " identity", Value: f.UserID, Code: sdk.CodeIdentityConflict})
	}
	return names, links
}

// decision is about the users of one batch.
type decision struct {
	*openRealm
	users []sdk.User
	all   []*verdict // of users, in order
	from  *memberIndex
	plan  bool
	// proven are accounts that are exactly as the last load has left them, by id.
	proven map[string]*detail
	// equal says which credentials accounts are known to have, or not.
	equal map[string]map[string]bool
}

// decide says what is to become of each user, in order. It only reads, and it is
// the whole difference between a plan and a load.
func (r *openRealm) decide(ctx context.Context, users []sdk.User, claims *reconcile.Claims, from *memberIndex) ([]*verdict, error) {
	d := &decision{openRealm: r, users: users, all: make([]*verdict, len(users)), from: from, plan: claims == r.planned}
	return d.all, d.make(ctx, claims)
}

func (r *decision) make(ctx context.Context, claims *reconcile.Claims) error {
	users, out := r.users, r.all
	expected := map[string]bool{} // of the ids that are asked for
	strangers := 0
	for i := range users {
		out[i] = r.begin(&users[i])
		if users[i].Existing != sdk.Update {
			strangers++
		}
	}
	if err := r.directory.expect(ctx, strangers); err != nil {
		return err
	}
	for i, v := range out {
		if v.user == nil {
			continue
		}
		for _, id := range idsOf(&users[i]) {
			ours := users[i].Existing == sdk.Update || users[i].Prior.TargetID != ""
			was, asked := expected[id]
			if asked || ours || r.directory.mayHave("id", id) {
				expected[id] = was || ours
			}
		}
	}
	if err := r.prove(ctx); err != nil {
		return err
	}
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(expected)), func(id string) bool { return r.proven[id] != nil })
	found, err := r.reader.some(ctx, ids, func(id string) bool { return expected[id] }, r.from)
	if err != nil {
		return err
	}
	maps.Copy(found, r.proven)
	if err := r.ask(ctx, found); err != nil {
		return err
	}
	var absent []int
	for i, v := range out {
		if v.user == nil {
			continue
		}
		if err := r.recognise(ctx, v, &users[i], found); err != nil {
			return err
		}
		if v.held == nil && v.user != nil {
			absent = append(absent, i)
		}
	}
	if err := r.arrive(ctx, absent); err != nil {
		return err
	}
	if err := r.exchange(ctx); err != nil {
		return err
	}
	linking := &linking{decision: r, claims: claims}
	for i, v := range out {
		if v.Outcome.Action != sdk.Created && !v.writes() {
			continue
		}
		names, links := claimsOf(v.user, r.directory.emailsOnce)
		if rejected := claims.Take(&users[i], append(names, links...)...); rejected != nil {
			v.Verdict = reconcile.Verdict{Outcome: *rejected}
			continue
		}
		if err := linking.wish(ctx, v); err != nil {
			return err
		}
	}
	return linking.settle(ctx)
}

// prove has the server say which accounts are exactly as a load would leave them today and
// the last one has left them. Nothing else of them is read. Others are looked at as ever.
func (r *decision) prove(ctx context.Context) error {
	if !r.reader.matches || r.reader.tenancy {
		return nil
	}
	asked := map[string]*detail{}
	var all []string
	for i, v := range r.all {
		u := &r.users[i]
		if v.user == nil || u.Existing != sdk.Update || u.Prior.InDoubt || len(idsOf(u)) > 1 {
			continue
		}
		made := r.view.made(v.user)
		if bytes.Equal(u.Prior.State, r.view.left(made, r.view.wanted(v.user), v.last, nil)) {
			asked[made.ID] = made
			all = append(all, expectation(made, r.reader.defaultRole))
		}
	}
	equal, err := provided{r.api}.matching(ctx, all)
	maps.DeleteFunc(asked, func(id string, _ *detail) bool { return !equal[id] })
	r.proven = asked
	return err
}

// ask has the server say of credentials of which no run knows what was sent, whether they
// are the ones of the source.
func (r *decision) ask(ctx context.Context, found map[string]*detail) (err error) {
	if !r.compares {
		return nil
	}
	var all []question
	for i, v := range r.all {
		if v.user == nil || found[v.user.ID] == nil || !v.last.IsZero() && !r.users[i].Prior.InDoubt {
			continue
		}
		q := question{v.user.ID, map[string]mark{}}
		for _, c := range v.user.Credentials {
			if c.Type == typePassword {
				q.Credentials[typePassword] = fingerprintOf(c)
			} else {
				q.Credentials[c.ID] = fingerprintOf(c)
			}
		}
		if len(q.Credentials) > 0 {
			all = append(all, q)
		}
	}
	if len(all) > 0 {
		r.equal, err = provided{r.api}.compare(ctx, all)
	}
	return err
}

// begin maps a user.
func (r *openRealm) begin(u *sdk.User) *verdict {
	v := &verdict{last: reconcile.ParseState(u.Prior.State)}
	rep, rejected := r.mapper.user(u)
	if rejected != nil {
		v.Outcome = *rejected
		return v
	}
	v.user = rep
	return v
}

// idsOf are the ids under which the account of a user may be: the one that a run has
// made it with comes first, whatever id the user has by now.
func idsOf(u *sdk.User) []string {
	if known := u.Prior.TargetID; known != "" && known != u.ID && HoldsID(known) {
		return []string{known, u.ID}
	}
	return []string{u.ID}
}

// recognise compares a user with the account that is its own, if it is among those found.
func (r *decision) recognise(ctx context.Context, v *verdict, u *sdk.User, found map[string]*detail) error {
	for _, id := range idsOf(u) {
		d := found[id]
		if d == nil {
			continue
		}
		if err := r.compare(ctx, v, u, d); err != nil {
			return err
		}
		if r.from == nil && r.proven[id] == nil || v.Outcome.Action == sdk.Unchanged {
			return nil
		}
		// The index of members may be of before, and a proof has no ids of roles: they only prove that
		// nothing differs.
		d, err := r.reader.one(ctx, id, nil, nil)
		if err != nil {
			return err
		}
		*v = *r.begin(u)
		if d == nil {
			return nil
		}
		return r.compare(ctx, v, u, d)
	}
	return nil
}

// compare decides about a user whose account is there.
func (r *decision) compare(ctx context.Context, v *verdict, u *sdk.User, d *detail) error {
	if d.ID != u.ID { // a server keeps an id for good
		known := *u
		known.ID = d.ID
		if v.user, _ = r.mapper.user(&known); v.user == nil {
			return nil
		}
	}
	refused, err := r.members.withhold(ctx, v.user, d)
	if err != nil {
		return err
	}
	v.held, v.wanted = d, r.view.wanted(v.user)
	h := r.view.held(d, v.wanted, v.last)
	know(&h, v.user, r.equal[d.ID])
	h.Marked = h.Marked || onlyUnfinished(v, u, h)
	v.Verdict = r.view.judge.Found(u, v.wanted, h)
	if !v.Outcome.Action.MayLose() {
		return nil
	}
	v.Outcome.Losses = slices.Concat(v.Outcome.Losses, v.user.losses, refused)
	if d.ID != u.ID {
		v.lose(sdk.CarriesID, sdk.CodePartRefused, "", fmt.Sprintf("the account keeps the id %s: Keycloak cannot change ids", d.ID))
	}
	if !v.writes() && u.Existing != sdk.Update {
		return nil
	}
	r.keepOff(v, u, h)
	if v.differs(fieldUsername) != nil && !r.editUsername {
		v.giveUp(fieldUsername, sdk.PartUsername, sdk.CodePartFailed, "", "the realm does not allow changing user names")
	}
	keepNames(v)
	for _, d := range slices.Clone(v.Differences) {
		if name := strings.TrimPrefix(d.Field, prefixAttribute); r.mapper.profile != nil && (name != d.Field || profileField(name)) && !r.mapper.profile.takesChanges(name) {
			v.giveUp(d.Field, featureOf(d.Field), sdk.CodePartFailed, name, "the realm's user profile does not let administrators change it")
		}
	}
	for _, s := range v.wanted.Secrets {
		if hidden := s.Field == fieldHiddenAttributes || s.Field == fieldHiddenIdentities; hidden && v.Send[s.Field] {
			v.giveUp(s.Field, s.Feature, sdk.CodePartRefused, "", "the realm hides it, and accepts it for new accounts only")
		}
	}
	if v.Outcome.Action == sdk.Unchanged && len(v.left) > 0 { // all else is as wanted, which the next look is to know
		open := v.Unsent()
		maps.Copy(open, v.left)
		v.Outcome.State = r.view.judge.Left(v.wanted, h.Fields, open)
	}
	return nil
}

// keepNames leaves authenticators alone whose names others' have.
func keepNames(v *verdict) {
	if !v.Send[fieldTOTP] {
		return
	}
	const why = "the person has another authenticator of that name"
	labels, devices := othersLabels(v.held), 0
	var taken []string
	for _, c := range v.user.Credentials {
		if c.Type != typeOTP {
			continue
		}
		devices++
		if labels[foldLabel(c.UserLabel)] {
			taken = append(taken, c.UserLabel)
		}
	}
	if len(taken) == 0 {
		return
	}
	for _, label := range taken[1:] {
		v.lose(sdk.CarriesTOTP, sdk.CodePartKept, label, why)
	}
	own := slices.ContainsFunc(v.held.Credentials, func(c heldCredential) bool { return c.Type == typeOTP && ownCredential(v.held.ID, c.ID) })
	if devices == len(taken) && !own {
		v.giveUp(fieldTOTP, sdk.CarriesTOTP, sdk.CodePartKept, taken[0], why)
		return
	}
	v.lose(sdk.CarriesTOTP, sdk.CodePartKept, taken[0], why)
	if v.left == nil {
		v.left = map[string]bool{}
	}
	v.left[fieldTOTP] = true
}

// profileField says that a field of an account is one of the user profile.
func profileField(field string) bool {
	switch field {
	case fieldUsername, fieldEmail, fieldGivenName, fieldFamilyName:
		return true
	}
	return false
}

// onlyUnfinished says that an account that was sent, and of which nothing was heard, is
// one that a load has made and not finished. The server makes accounts whole but for
// their organizations.
func onlyUnfinished(v *verdict, u *sdk.User, h reconcile.Held) bool {
	if !u.Prior.InDoubt {
		return false
	}
	for field, value := range v.wanted.Fields {
		if field != fieldTenancy && h.Answerable[field] != value {
			return false
		}
	}
	return true
}

// keepOff leaves an account switched off that is taken over and that others have
// switched off.
func (r *decision) keepOff(v *verdict, u *sdk.User, h reconcile.Held) {
	d := v.differs(fieldEnabled)
	if d == nil || d.Want != "true" || !v.last.IsZero() || u.Prior.InDoubt || v.Resumed {
		return
	}
	v.leave(fieldEnabled)
	v.user.Enabled = false
	v.Outcome.Detail = "the account was switched off in the realm, and stays switched off"
	if v.Outcome.Action == sdk.Unchanged { // the next run is to know, too
		v.Outcome.State = r.view.judge.Left(v.wanted, h.Fields, v.Unsent())
	}
}

// arrive decides about users whose account was not found by its id.
func (r *decision) arrive(ctx context.Context, absent []int) error {
	users, out := r.users, r.all
	reps := make([]*representation, len(absent))
	for n, i := range absent {
		reps[n] = out[i].user
	}
	held, err := r.directory.find(ctx, reps, false)
	if err != nil {
		return err
	}
	taken, err := r.elsewhere(ctx, reps)
	if err != nil {
		return err
	}
	leaving := leavers(out)
	for n, i := range absent {
		v, u, h := out[i], &users[i], held[n]
		if h.err != nil {
			v.Outcome = refusal(u.SourceID, h.err)
			continue
		}
		if h.id != nil {
			d, err := r.reader.again(ctx, h.id.ID)
			if err != nil {
				return err
			}
			if d != nil {
				if err := r.compare(ctx, v, u, d); err != nil {
					return err
				}
				continue
			}
		}
		judge := &r.view.judge
		switch {
		case h.username != nil && !leaving.has(fieldUsername, h.username):
			v.Outcome = judge.Conflict(u, sdk.CodeUsernameConflict, "the user name", h.username.ID)
			if err := r.nameEarlier(ctx, v, h.username.ID); err != nil {
				return err
			}
		case h.email != nil && !leaving.has(fieldEmail, h.email):
			v.Outcome = judge.Conflict(u, sdk.CodeEmailConflict, "the e-mail address", h.email.ID)
			if err := r.nameEarlier(ctx, v, h.email.ID); err != nil {
				return err
			}
		case taken[v.user.ID]:
			v.Outcome = sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "another realm of the server has an account of this id", Hint: idElsewhere}
		default:
			v.Verdict = judge.Absent(u)
			if v.Outcome.Action != sdk.Created {
				continue
			}
			refused, err := r.members.withhold(ctx, v.user, nil)
			if err != nil {
				return err
			}
			v.wanted = r.view.wanted(v.user)
			v.Outcome.TargetID, v.Outcome.Detail, v.Outcome.Losses = v.user.ID, joinNotes(v.user.notes), slices.Concat(v.user.losses, refused)
		}
	}
	return nil
}

// idElsewhere is what to do about an id that another realm has.
const idElsewhere = "the id may belong to a user of another realm of this server, because ids are unique across realms; see the server's log"

// elsewhere says which ids other realms of the server have, where it can be asked. A load
// does not ask: the server tells when it refuses to create such an account.
func (r *decision) elsewhere(ctx context.Context, users []*representation) (map[string]bool, error) {
	if !r.plan || !r.other || len(users) == 0 {
		return nil, nil
	}
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	return provided{r.api}.elsewhere(ctx, ids)
}

// nameEarlier says so where an account in the way is one that a load has made: its person
// has gone from the source, or is there under another id.
func (r *decision) nameEarlier(ctx context.Context, v *verdict, holder string) error {
	mine, err := ownAccount(ctx, r, holder)
	if err != nil || !mine {
		return err
	}
	v.Outcome.Detail += ", which an earlier run has made: the person has probably registered again or got another id, and this is the old account"
	v.Outcome.Hint = "if the person of account " + holder + " is no longer in SuperTokens, delete that account, then run again"
	return nil
}

// leaving are values that accounts give up in this batch, with whom they belong to.
type leaving map[[2]string]string

func (l leaving) has(field string, holder *account) bool {
	return l[[2]string{field, identifier(holder, field)}] == holder.ID
}

func identifier(a *account, field string) string {
	if field == fieldEmail {
		return a.Email
	}
	return a.Username
}

// identifiers are the fields that accounts exchange.
var identifiers = []string{fieldUsername, fieldEmail}

func leavers(all []*verdict) leaving {
	l := leaving{}
	for _, v := range all {
		if !v.writes() {
			continue
		}
		for _, field := range identifiers {
			if d := v.differs(field); d != nil {
				l[[2]string{field, d.Held}] = v.held.ID
			}
		}
	}
	return l
}

// exchange looks who has the names and addresses that accounts are to get. Those of an
// account that gives its own up in the same batch are free; others cost that part.
func (r *decision) exchange(ctx context.Context) error {
	known, err := r.wantedBy(ctx)
	if err != nil {
		return err
	}
	other := func(v *verdict, field, value string, free leaving) (*account, error) {
		key := [2]string{field, value}
		if _, asked := known[key]; !asked {
			found, err := r.api.userBy(ctx, field, value)
			if err != nil && !refused(err) { // what is refused here is refused again when it is written
				return nil, fmt.Errorf("look up who has the %s: %w", field, err)
			}
			known[key] = found
		}
		if h := known[key]; h != nil && h.ID != v.held.ID && !free.has(field, h) {
			return h, nil
		}
		return nil, nil //nolint:nilnil // nobody is in the way
	}
	obstacle := func(v *verdict, field, value string, free leaving) (string, error) {
		h, err := other(v, field, value, free)
		if h != nil {
			return "it belongs to the account " + h.ID + " of the realm", nil
		}
		if err != nil || field != fieldEmail || !r.emailLogin {
			return "", err
		}
		if h, err = other(v, fieldUsername, value, free); h != nil {
			return "account " + h.ID + " of the realm has it as user name, so it cannot be the address of another account", nil
		}
		return "", err
	}
	for again := true; again; {
		again = false
		free := leavers(r.all)
		for _, v := range r.all {
			if !v.writes() {
				continue
			}
			for _, field := range identifiers {
				d := v.differs(field)
				if d == nil || d.Want == "" || field == fieldEmail && !r.directory.emailsOnce {
					continue
				}
				why, err := obstacle(v, field, d.Want, free)
				if err != nil {
					return err
				}
				if why == "" {
					continue
				}
				v.giveUp(field, featureOf(field), sdk.CodePartFailed, "", why)
				again = true
			}
		}
	}
	return nil
}

// wantedBy looks with one request who has the names and addresses that accounts are to get,
// where the provider tells.
func (r *decision) wantedBy(ctx context.Context) (map[[2]string]*account, error) {
	holder := map[[2]string]*account{}
	if !r.directory.asks || len(r.directory.federations) > 0 {
		return holder, nil
	}
	var all []identifiersOf
	for _, v := range r.all {
		if !v.writes() {
			continue
		}
		var w identifiersOf
		if d := v.differs(fieldUsername); d != nil {
			w.Username = d.Want
		}
		if d := v.differs(fieldEmail); d != nil {
			if r.directory.emailsOnce {
				w.Email = d.Want
			}
			if r.emailLogin && d.Want != "" { // then it must be nobody's user name
				all = append(all, identifiersOf{Username: d.Want})
			}
		}
		if w != (identifiersOf{}) {
			all = append(all, w)
		}
	}
	found, err := provided{r.api}.holders(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("look up who has names and addresses: %w", err)
	}
	for i, f := range found {
		for _, x := range []struct{ field, want, id string }{{fieldUsername, all[i].Username, f.Username}, {fieldEmail, all[i].Email, f.Email}} {
			if x.want == "" {
				continue
			}
			holder[[2]string{x.field, x.want}] = nil
			if x.id != "" {
				holder[[2]string{x.field, x.want}] = &account{ID: x.id, Username: x.want, Email: x.want} // of which one is asked for
			}
		}
	}
	return holder, nil
}

func joinNotes(notes []string) string { return strings.Join(slices.Compact(notes), "; ") }

func joinList(names []string) string { return strings.Join(names, separator) }

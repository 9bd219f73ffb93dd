package engine

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// survey is what is known of all accounts before the target is touched. It is complete
// when it is made, and nobody changes it.
type survey struct {
	// total is how many accounts the source has, amount how many of them the run is
	// about.
	total, amount int
	// classes and losses are those of the accounts that the run is about; withheld
	// counts those who lose something of an undeclared feature.
	classes  map[pluginapi.Class]int
	losses   map[mapping.Loss]int
	withheld map[pluginapi.Feature]int
	// removed lists who is in the target and not in the source any more, in order.
	removed []string
	// gone lists who was never loaded and is not in the source any more.
	gone []string
	// linked lists accounts that runs have loaded and that are ways to sign in to others by
	// now, with whose.
	linked map[string]string
	// former are the ids in the target of accounts that runs have made and that are ways to
	// sign in to an account by now, by its id.
	former map[string][]string
	// work has every account that something is to be done about.
	work      *workSet
	conflicts *conflicts
	demand    *demand
	roles     *roleHolders
	signIns   *signIns
	statuses  []status // by place
	// chosen are those that the run is about, unless everyone is.
	chosen   places
	everyone bool
}

// about says whether the run is about the account at a place.
func (s *survey) about(place int) bool { return s.everyone || s.chosen.has(place) }

// status of an account of the work set, with all policies applied.
func (s *survey) status(place int) status { return s.statuses[place] }

// unchanged is how many accounts are as the last run left them, and need no further look.
func (s *survey) unchanged() int { return s.amount - s.work.count }

func (s *survey) close() error { return s.work.close() }

// surveyor makes a survey. It knows the source and the journal, and no target.
type surveyor struct {
	src      Source
	journal  Journal // nil knows nobody
	mapping  *mapping.Rules
	caps     *pluginapi.Capabilities
	policies policy.Collision
	// part is who the run is about, nil for everybody.
	part *Part
	// full takes nobody for unchanged. everybody has accounts in the work set that are.
	full, everybody bool
	key             []byte
	roles           *roleHolders
	// loaded is what the journal holds of an account that a run has loaded, nil where none
	// has. It is nil where nobody wants to know who is linked.
	loaded func(sourceID string) (*journal.Entry, error)
	// allLinked wants to know it of everybody, also of those for whom nothing is to be done.
	allLinked bool
	progress  func(done int)

	withheld pluginapi.Withheld
	claims   *claims
	known    *cursor
	made     *survey
}

// survey reads every account, once in nearly all cases, and decides what can be decided
// without the target. Whoever gets a survey closes it.
func (v *surveyor) survey(ctx context.Context) (_ *survey, err error) {
	if v.known, err = openCursor(ctx, v.journal); err != nil {
		return nil, err
	}
	defer v.known.close()
	v.withheld, v.claims = v.caps.Withheld(), newClaims(v.caps)
	v.made = &survey{
		classes: map[pluginapi.Class]int{}, losses: map[mapping.Loss]int{}, withheld: map[pluginapi.Feature]int{}, work: &workSet{}, demand: newDemand(), signIns: newSignIns(), roles: v.roles,
		everyone: v.part == nil, linked: map[string]string{}, former: map[string][]string{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.claims.close(), v.made.close())
		}
	}()
	if err := v.src.Accounts(ctx, v.read); err != nil {
		return nil, err
	}
	if err := v.known.end(); err != nil {
		return nil, err
	}
	v.made.removed, v.made.gone = v.known.removed, v.known.gone
	slices.Sort(v.made.removed)
	if err := v.resolve(ctx); err != nil {
		return nil, err
	}
	return v.made, nil
}

// read takes in the next accounts of the source.
func (v *surveyor) read(users []canonical.User) error {
	var it item // one for all, as it is large
	for i := range users {
		it.place = v.made.total + i
		if err := v.see(&users[i], &it); err != nil {
			return err
		}
	}
	v.made.total += len(users)
	v.progress(v.made.total)
	return nil
}

// see takes in one account; it is scratch space.
func (v *surveyor) see(account *canonical.User, it *item) error {
	s := v.made
	lost, chosen := v.prepare(account, it), v.part == nil || v.part.has(account)
	if chosen {
		v.count(it)
	}
	if it.out == nil && v.wants(&it.user) {
		if err := v.claims.add(it.place, &it.user); err != nil {
			return err
		}
	}
	if chosen && it.out == nil && v.roles.add(&it.user) && !v.caps.Has(pluginapi.CarriesRolePermissions) {
		lost = append(lost, mapping.Loss(pluginapi.CarriesRolePermissions))
	}
	lost = mapping.Withhold(&it.user, v.withheld, lost)
	known, err := v.known.find(it.user.SourceID)
	if err != nil {
		return err
	}
	status := statusOf(known, v.full, &it.user, v.key)
	s.statuses = append(s.statuses, status)
	if err := v.link(account, status); err != nil {
		return err
	}
	switch {
	case !chosen:
		return nil
	case it.out == nil:
		s.lose(lost)
		s.demand.add(status, &it.user)
		s.signIns.add(&it.user, 1)
	}
	if it.out == nil && status == statusUnchanged && !v.everybody {
		return nil
	}
	return s.work.add(it, account)
}

// count takes in an account that the run is about.
func (v *surveyor) count(it *item) {
	s := v.made
	s.amount++
	if !s.everyone {
		s.chosen.add(it.place)
	}
	class := it.user.Class
	if it.out != nil && it.out.Code == diag.MapFiltered {
		class = pluginapi.Filtered
	}
	s.classes[class]++
}

// link notes ways to sign in that were accounts when a run loaded them, where somebody wants
// to know.
func (v *surveyor) link(account *canonical.User, of status) error {
	if v.loaded == nil || !v.allLinked && of == statusUnchanged {
		return nil
	}
	for i := range account.Logins {
		id := account.Logins[i].ID
		if id == account.InternalID {
			continue
		}
		e, err := v.loaded(id)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		v.made.linked[id] = account.InternalID
		if e.Ours() && e.TargetID != "" {
			v.made.former[account.InternalID] = append(v.made.former[account.InternalID], e.TargetID)
		}
	}
	return nil
}

// wants says whether an account wants anything in the target: one that takes the users of
// a tenant alone has all that others want to give away.
func (v *surveyor) wants(u *pluginapi.User) bool {
	return v.caps.OnlyTenant == "" || slices.Contains(u.Tenants, v.caps.OnlyTenant)
}

// prepare maps an account, before anything is withheld: who joined first, and who has
// proven an address, counts also for a target that cannot hold it.
func (v *surveyor) prepare(account *canonical.User, it *item) []mapping.Loss {
	var lost []mapping.Loss
	lost, it.out = v.mapping.Into(&it.user, account, v.caps)
	it.proven = it.user.EmailVerified != nil && *it.user.EmailVerified
	return lost
}

// lose counts what the target will not hold of an account.
func (s *survey) lose(lost []mapping.Loss) {
	for _, l := range lost {
		s.losses[l]++
		if f, ok := l.Undeclared(); ok {
			s.withheld[f]++
		}
	}
}

// resolve decides who keeps what several accounts want, and corrects what the survey has
// said of them.
func (v *surveyor) resolve(ctx context.Context) error {
	groups, err := v.claims.groups()
	if err != nil {
		return err
	}
	s := v.made
	s.conflicts = decide(groups, v.policies, v.claims.keys)
	if s.conflicts.none() {
		return nil
	}
	met := s.work.members.has
	missing := s.conflicts.missing(met, s.about)
	err = s.work.each(s.conflicts.party, func(it *item) error {
		s.conflicts.meet(it)
		return nil
	})
	if err == nil && len(missing) > 0 {
		err = v.fetch(ctx, missing)
	}
	if err != nil {
		return err
	}
	s.conflicts.link()
	for loss, n := range s.conflicts.losses(s.about) {
		s.losses[loss] += n
	}
	return s.work.each(s.conflicts.changes, func(it *item) error { return v.correct(ctx, it) })
}

// fetch reads the source again, for accounts that the survey took for unchanged and that
// have a part in a conflict.
func (v *surveyor) fetch(ctx context.Context, missing places) error {
	place := 0
	var it item
	return v.src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			it.place = place
			if place++; !missing.has(it.place) {
				continue
			}
			_ = v.prepare(&users[i], &it)
			v.withheld.From(&it.user)
			it.where = appendWhere(nil, &users[i])
			v.made.conflicts.meet(&it)
			if v.made.about(it.place) {
				if err := v.made.work.add(&it, &users[i]); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	})
}

// correct replaces what is said of an account that does not get what it wants, or is made
// one with another, by what becomes of it.
func (v *surveyor) correct(ctx context.Context, it *item) error {
	if it.out != nil {
		return nil
	}
	s, status := v.made, v.made.statuses[it.place]
	s.demand.take(status, &it.user)
	s.signIns.add(&it.user, -1)
	if s.conflicts.resolve(it.place, &it.user) != nil {
		return nil
	}
	if status > statusInDoubt {
		e, err := entryOf(ctx, v.journal, it.user.SourceID)
		if err != nil {
			return err
		}
		known := e.Known()
		status = statusOf(&known, v.full, &it.user, v.key)
		s.statuses[it.place] = status
	}
	s.demand.add(status, &it.user)
	s.signIns.add(&it.user, 1)
	return nil
}

// report writes into a result what the survey has counted.
func (s *survey) report(r *Result, plugin string, caps *pluginapi.Capabilities) {
	maps.Copy(r.Classes, s.classes)
	maps.Copy(r.Losses, s.losses)
	r.RolePermissions = s.roles.count(caps.Has(pluginapi.CarriesRolePermissions))
	if len(s.withheld) > 0 {
		r.Withheld = &Withheld{Plugin: plugin, Features: s.withheld}
	}
	if r.Chosen != nil {
		r.Chosen.Count, r.Chosen.Of = s.amount, s.total
	}
}

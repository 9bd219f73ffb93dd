package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Choice says which accounts a run is to be about. Its conditions add up: an account
// is chosen that fulfils all of them. The zero value chooses everybody.
type Choice struct {
	// Flag is how the operator has said it, for reports. It names no account.
	Flag string
	// IDs names accounts one by one, by any of their ids.
	IDs []Named
	// Among, when not nil, holds the source ids of those that can be chosen.
	Among map[string]bool
	// Tenants, when not empty, are those of which an account must be in one.
	Tenants []string
	// Sample, when above 0, is how many accounts are chosen, for a rehearsal.
	Sample int
}

// Choose reads every account, where the choice takes that, and says who is chosen. Ids
// that are of no account or of several are an error with diagnostics, and then nobody
// is. Accounts that mapping.filter leaves out get into no sample.
func Choose(ctx context.Context, src Source, dst Target, o Options, c Choice) (*Part, error) {
	fits := c.fits()
	switch {
	case len(c.IDs) > 0:
		s := newSearch(c.IDs)
		if err := read(ctx, src, o, s.see); err != nil {
			return nil, err
		}
		found, logins, err := s.result()
		if err != nil {
			return nil, err
		}
		part := Only(c.Flag, found)
		part.Logins, part.has = logins, both(part.has, fits)
		return part, nil
	case c.Sample > 0:
		s := newSampler(c.Sample)
		fits = both(fits, unfiltered(dst, o))
		if err := read(ctx, src, o, func(u *canonical.User) {
			if fits(u) {
				s.see(u)
			}
		}); err != nil {
			return nil, err
		}
		return Only(c.Flag, s.pick()), nil
	default:
		return &Part{Flag: c.Flag, has: fits}, nil
	}
}

// fits is the conditions that an account fulfils or not by itself.
func (c *Choice) fits() func(*canonical.User) bool {
	among, tenants := c.Among, c.Tenants
	return func(u *canonical.User) bool {
		if among != nil && !among[u.InternalID] {
			return false
		}
		return len(tenants) == 0 || slices.ContainsFunc(u.Logins, func(l canonical.Login) bool {
			return slices.ContainsFunc(l.Tenants, func(t string) bool { return slices.Contains(tenants, t) })
		})
	}
}

func both(a, b func(*canonical.User) bool) func(*canonical.User) bool {
	return func(u *canonical.User) bool { return a(u) && b(u) }
}

// unfiltered says which accounts the mapping does not leave out.
func unfiltered(dst Target, o Options) func(*canonical.User) bool {
	if o.Mapping == nil {
		return func(*canonical.User) bool { return true }
	}
	caps := dst.Capabilities()
	var mapped pluginapi.User
	return func(u *canonical.User) bool {
		_, excluded := o.Mapping.Into(&mapped, u, &caps)
		return excluded == nil || excluded.Code != diag.MapFiltered
	}
}

// read shows every account to a choice.
func read(ctx context.Context, src Source, o Options, see func(*canonical.User)) error {
	n := 0
	return src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			see(&users[i])
		}
		n += len(users)
		if o.Progress != nil {
			o.Progress(Progress{Phase: Choosing, Done: n})
		}
		return ctx.Err()
	})
}

// Named is an id that somebody has given for an account.
type Named struct {
	ID string
	// Exact says that blanks at its ends belong to it. Without, they do where an account
	// has such an id, and else not.
	Exact bool
	// Place is where it was given: a flag, or file and line.
	Place string
}

// match is an account that has an id, and as what.
type match struct{ account, as string }

// sought is one id and those who have it.
type sought struct {
	Named
	// exact are accounts that have it as it stands, loose those that have it but for
	// blanks at its ends.
	exact, loose []match
}

// search looks for the accounts that ids belong to.
type search struct {
	all []*sought
	// byText has them by their ids without blanks at the ends.
	byText map[string][]*sought
}

func newSearch(ids []Named) *search {
	s := &search{byText: map[string][]*sought{}}
	for _, id := range ids {
		text := strings.TrimSpace(id.ID)
		if slices.ContainsFunc(s.byText[text], func(o *sought) bool { return o.ID == id.ID && o.Exact == id.Exact }) {
			continue
		}
		one := &sought{Named: id}
		s.all, s.byText[text] = append(s.all, one), append(s.byText[text], one)
	}
	return s
}

// The kinds of ids, for messages.
const (
	asInternal = "internal id"
	asVisible  = "visible id"
	asLogin    = "login method's id"
)

func (s *search) see(u *canonical.User) {
	s.has(u, u.InternalID, asInternal)
	s.has(u, u.ID, asVisible)
	for i := range u.Logins {
		s.has(u, u.Logins[i].ID, asLogin)
		s.has(u, u.Logins[i].VisibleID, asLogin)
	}
}

func (s *search) has(u *canonical.User, id, as string) {
	for _, one := range s.byText[strings.TrimSpace(id)] {
		switch {
		case one.ID == id:
			one.exact = another(one.exact, u, as)
		case !one.Exact:
			one.loose = another(one.loose, u, as)
		}
	}
}

// another adds an account that is not there yet. Two are enough to say that an id is
// ambiguous.
func another(all []match, u *canonical.User, as string) []match {
	if len(all) == 2 || len(all) == 1 && all[0].account == u.InternalID {
		return all
	}
	return append(all, match{strings.Clone(u.InternalID), as})
}

// result is who was found, and which ids were those of login methods.
func (s *search) result() (found map[string]bool, logins map[string]string, err error) {
	found = map[string]bool{}
	var unknown, ambiguous []string
	for _, one := range s.all {
		all := one.exact
		if len(all) == 0 {
			all = one.loose
		}
		switch len(all) {
		case 0:
			unknown = append(unknown, fmt.Sprintf("%s: %q", one.Place, one.ID))
		case 1:
			found[all[0].account] = true
			if all[0].as == asLogin {
				if logins == nil {
					logins = map[string]string{}
				}
				logins[one.ID] = all[0].account
			}
		default:
			ambiguous = append(ambiguous, fmt.Sprintf("%s: %q is the %s of account %q and the %s of account %q",
				one.Place, one.ID, all[0].as, all[0].account, all[1].as, all[1].account))
		}
	}
	var problems diag.List
	if len(unknown) > 0 {
		problems.Add(diag.Diagnostic{
			Code: diag.RunUnknownAccount, Summary: fmt.Sprintf("%d of %d given ids belong to no account of the source; nothing was written", len(unknown), len(s.all)),
			Detail: shortened(unknown), Hint: "correct them or leave them out; an account of another app (source.app) is not found either",
		})
	}
	if len(ambiguous) > 0 {
		problems.Add(diag.Diagnostic{
			Code: diag.RunAmbiguousAccount, Summary: fmt.Sprintf("%d of %d given ids belong to more than one account; nothing was written", len(ambiguous), len(s.all)),
			Detail: shortened(ambiguous), Hint: "use another id of the account; in a file of --users-from, write an id with blanks in quotation marks",
		})
	}
	return found, logins, problems.Err()
}

// mostNamed bounds how many ids a message names.
const mostNamed = 10

func shortened(lines []string) string {
	text := strings.Join(lines[:min(len(lines), mostNamed)], "\n")
	if more := len(lines) - mostNamed; more > 0 {
		text += fmt.Sprintf("\n… and %d more", more)
	}
	return text
}

package supertokens

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/duplicates"
)

// Review collects what an operator should know, over one whole reading.
type Review struct {
	accounts int
	findings findings
	// shown finds identifiers that several accounts show.
	shown duplicates.Finder
	met   map[string]bool // codes of the account that is looked at
	// near finds ids that are the same to a collation, nil where none compares.
	near *nearIDs
}

// NewReview starts with what the source as a whole was found to be.
func NewReview(s *Source) *Review {
	r := &Review{findings: s.general.clone(), met: map[string]bool{}}
	if s.catalog.collates {
		r.near = &nearIDs{}
	}
	return r
}

// Add looks at one batch of [Source.Read]. It fails where the disk does.
func (r *Review) Add(b Batch) error {
	for _, o := range b.Orphans {
		r.findings.add(WarnOrphanRow, o.Table+" "+o.ID, "rows with ids that belong to no user; they are not moved")
		if err := r.near.orphan(o); err != nil {
			return err
		}
	}
	for i := range b.Users {
		if err := r.account(&b.Users[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Review) account(u *canonical.User) error {
	a := duplicates.Account{Place: r.accounts, ID: u.InternalID}
	r.accounts++
	if u.ID != u.InternalID {
		if err := r.shown.Add(a, externalID, u.ID); err != nil {
			return err
		}
	}
	if err := r.near.account(u); err != nil {
		return err
	}
	for i := range u.Logins {
		l := &u.Logins[i]
		var errs [3]error
		if l.Identity != nil {
			errs[0] = r.shown.AddHash(a, thirdParty, r.shown.Hasher().Of(l.Identity.Provider, l.Identity.Subject))
		}
		if l.Email != nil && !l.FakeEmail {
			errs[1] = r.shown.Add(a, email, strings.ToLower(*l.Email))
		}
		if l.Phone != nil {
			errs[2] = r.shown.Add(a, phone, phoneDigits(*l.Phone))
		}
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	clear(r.met)
	for _, w := range u.Warnings { // an account counts once for each code
		if !r.met[w.Code] {
			r.met[w.Code] = true
			r.findings.add(w.Code, u.InternalID, w.Detail)
		}
	}
	return nil
}

// phoneDigits is a phone number without the spelling that old rows have.
func phoneDigits(phone string) string {
	return strings.Map(func(r rune) rune {
		if r == '+' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, phone)
}

// The kinds of identifiers.
const (
	email duplicates.Kind = 1 << iota
	phone
	thirdParty
	externalID
)

var sharedCodes = map[duplicates.Kind]string{email: WarnDuplicateEmail, phone: WarnDuplicatePhone, thirdParty: WarnDuplicateThirdParty, externalID: WarnDuplicateExternalID}

// Findings lists everything met, by code, in order of first appearance; identifiers
// that accounts share come last, each once.
func (r *Review) Findings() ([]Finding, error) {
	groups, err := r.shown.Groups()
	if err != nil {
		return nil, err
	}
	all := r.findings.clone()
	for _, g := range groups {
		all.add(sharedCodes[g.Kind], g.Accounts[0].ID, fmt.Sprintf("shared with %s; a target that wants it unique takes one of them", g.Accounts[1].ID))
	}
	if err := r.near.report(&all); err != nil {
		return nil, err
	}
	return all.list(), nil
}

// Close gives up what the review has on disk; there are no findings after it.
func (r *Review) Close() error { return errors.Join(r.shown.Close(), r.near.close()) }

func (f *findings) clone() findings {
	out := findings{order: slices.Clone(f.order), byCode: maps.Clone(f.byCode)}
	for code, found := range out.byCode {
		c := *found
		c.Examples = slices.Clone(c.Examples)
		out.byCode[code] = &c
	}
	return out
}

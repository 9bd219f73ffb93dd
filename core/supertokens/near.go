package supertokens

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/duplicates"
)

// nearIDs finds ids that differ, and are the same to a collation as MySQL's usual ones: the
// core, where it asks the server, finds rows of one under the other. Methods of nil do
// nothing.
type nearIDs struct {
	finder duplicates.Finder
	placed int
}

// A rank of what the finder holds.
const (
	rankAccount = iota
	rankOrphan
)

// collated is an id without what such collations do not compare.
func collated(id string) string {
	id = strings.TrimRight(id, " ")
	for i := range len(id) {
		if id[i] >= utf8.RuneSelf {
			id = strings.Map(func(r rune) rune {
				if unicode.Is(unicode.Mn, r) {
					return -1
				}
				return r
			}, norm.NFD.String(id))
			break
		}
	}
	return strings.ToLower(id)
}

func (n *nearIDs) add(what, id string, rank int64) error {
	n.placed++
	return n.finder.Add(duplicates.Account{Place: n.placed, ID: what, Rank: rank}, 1, collated(id))
}

func (n *nearIDs) orphan(o Orphan) error {
	if n == nil {
		return nil
	}
	return n.add(o.Table+" "+o.ID, o.ID, rankOrphan)
}

func (n *nearIDs) account(u *canonical.User) error {
	if n == nil {
		return nil
	}
	if err := n.add(u.ID, u.ID, rankAccount); err != nil || u.ID == u.InternalID {
		return err
	}
	return n.add(u.InternalID, u.InternalID, rankAccount)
}

// report names each row and each id once.
func (n *nearIDs) report(to *findings) error {
	if n == nil {
		return nil
	}
	groups, err := n.finder.Groups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		user, told := "", map[string]bool{}
		for _, a := range g.Accounts {
			if a.Rank != rankAccount || a.ID == user {
				continue
			}
			if user != "" {
				to.add(WarnIDsFolded, a.ID, fmt.Sprintf("the ids %q and %q differ in case, accents or blanks at the end only; they are different users here", user, a.ID))
			}
			user = a.ID
		}
		for _, a := range g.Accounts {
			if a.Rank == rankOrphan && user != "" && !told[a.ID] {
				told[a.ID] = true
				to.add(WarnCollation, a.ID, fmt.Sprintf("rows of %s differ from the id %q in case, accents or blanks at the end only: SuperTokens finds them where it asks the server; they are not taken", a.ID, user))
			}
		}
	}
	return nil
}

func (n *nearIDs) close() error {
	if n == nil {
		return nil
	}
	return n.finder.Close()
}

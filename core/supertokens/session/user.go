package session

import (
	"context"
	"errors"

	"github.com/stetl/stetl/core/supertokens"
)

// User is the account behind a session, a link or a login. ID, its visible id, is
// what applications store and what a target has kept.
type User = supertokens.Who

// Rows asks the database for the rows of accounts.
func (s *Store) Rows() supertokens.RowSource { return s.rows }

// User says whose session it is. [ErrNoUser] means that there is no such
// account: cores make sessions for any id.
func (s *Store) User(ctx context.Context, found Session) (User, error) {
	return s.user(ctx, s.sessions.VisibleID(columnUser, found.RowUserID))
}

// UserByVisibleID finds an account by the visible id of it or of one of its
// login methods, exactly as it is stored. [ErrSharedID] is for one that is of two.
func (s *Store) UserByVisibleID(ctx context.Context, id string) (User, error) {
	return s.user(ctx, supertokens.VisibleID(id))
}

// UserByInternalID finds an account by the internal id of it or of one of its
// login methods.
func (s *Store) UserByInternalID(ctx context.Context, id string) (User, error) {
	return s.user(ctx, supertokens.InternalID(id))
}

func (s *Store) user(ctx context.Context, id supertokens.ID) (User, error) {
	return s.tables.Who(ctx, s.rows, id)
}

// sameAccount tells whether two visible ids are of one account.
func (s *Store) sameAccount(ctx context.Context, a, b string) (bool, error) {
	var internal [2]string
	for i, id := range [2]string{a, b} {
		u, err := s.UserByVisibleID(ctx, id)
		if errors.Is(err, ErrNoUser) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		internal[i] = u.InternalID
	}
	return internal[0] == internal[1], nil
}

// LoginIDs are all ids under which sessions of the account may stand: internal
// and external ones of every login method.
func (s *Store) LoginIDs(ctx context.Context, u User) ([]string, error) {
	return s.tables.IDs(ctx, s.rows, supertokens.InternalID(u.InternalID))
}

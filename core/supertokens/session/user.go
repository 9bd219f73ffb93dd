package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/supertokens"
)

// User is the account behind a session, a link or a login.
type User struct {
	// ID is the visible id of the account: the external one where SuperTokens
	// maps one. It is what applications store and what a target has kept.
	ID string
	// InternalID is SuperTokens' own id of the account.
	InternalID string
	// LoginID is SuperTokens' own id of the login method.
	LoginID string
}

// recipeTables hold login methods.
var recipeTables = []supertokens.TableName{supertokens.EmailPasswordUsers, supertokens.ThirdPartyUsers, supertokens.PasswordlessUsers, supertokens.WebAuthnUsers}

// User says whose session it is. [ErrNoUser] means that there is no such
// account: cores make sessions for any id.
func (s *Store) User(ctx context.Context, found Session) (User, error) {
	return s.UserByVisibleID(ctx, found.RowUserID)
}

// UserByVisibleID finds an account by the visible id of it or of one of its
// login methods.
func (s *Store) UserByVisibleID(ctx context.Context, id string) (User, error) {
	// The mapping comes first: an external id may look like, and may even be,
	// the internal id of somebody else. Then nobody can tell whose it is, and it
	// is taken for nobody's.
	internal, err := s.mapped(ctx, "supertokens_user_id", "external_user_id", id)
	if err != nil {
		return User{}, err
	}
	if internal == "" || internal == id {
		return s.UserByInternalID(ctx, id)
	}
	u, err := s.UserByInternalID(ctx, internal)
	if err != nil {
		return User{}, err
	}
	switch other, err := s.UserByInternalID(ctx, id); {
	case errors.Is(err, ErrNoUser):
		return u, nil
	case err != nil:
		return User{}, err
	case other.InternalID != u.InternalID:
		return User{}, fmt.Errorf("its id is that of two accounts: %w", ErrNoUser)
	}
	return u, nil
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

// UserByInternalID finds an account by the internal id of it or of one of its
// login methods.
func (s *Store) UserByInternalID(ctx context.Context, id string) (User, error) {
	u := User{LoginID: id, InternalID: id}
	spine, ok := s.tables.Table(supertokens.Spine)
	switch users, _ := s.tables.Table(supertokens.EmailPasswordUsers); {
	case ok && users.Has("app_id"):
		column := "user_id"
		if spine.Has("primary_or_recipe_user_id") {
			column = "primary_or_recipe_user_id"
		}
		err := s.pool.QueryRow(ctx, "SELECT "+column+"::text FROM "+spine.SQL()+" WHERE app_id = $1 AND user_id = $2::bpchar",
			s.tables.App(), id).Scan(&u.InternalID)
		if errors.Is(err, pgx.ErrNoRows) {
			return User{}, ErrNoUser
		}
		if err != nil {
			return User{}, fmt.Errorf("look up a user: %w", err)
		}
		u.InternalID = strings.TrimRight(u.InternalID, " ")
	default:
		if err := s.inRecipes(ctx, id); err != nil {
			return User{}, err
		}
	}
	external, err := s.mapped(ctx, "external_user_id", "supertokens_user_id", u.InternalID)
	if err != nil {
		return User{}, err
	}
	u.ID = u.InternalID
	if external != "" {
		u.ID = external
	}
	return u, nil
}

// inRecipes looks for a login method where there is no reliable index of them.
func (s *Store) inRecipes(ctx context.Context, id string) error {
	for _, name := range recipeTables {
		from, ok := s.tables.Table(name)
		if !ok {
			continue
		}
		var one int
		err := s.pool.QueryRow(ctx, "SELECT 1 FROM "+from.SQL()+" WHERE user_id = $1::bpchar", id).Scan(&one)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("look up a user: %w", err)
		}
	}
	return ErrNoUser
}

// mapped reads one side of the id mapping by the other; "" when there is none.
func (s *Store) mapped(ctx context.Context, want, by, id string) (string, error) {
	from, ok := s.tables.Table(supertokens.UserIDMapping)
	if !ok {
		return "", nil
	}
	cast := ""
	if by == "supertokens_user_id" {
		cast = "::bpchar"
	}
	sql := "SELECT " + want + "::text FROM " + from.SQL() + " WHERE " + by + " = $1" + cast
	args := []any{id}
	if from.Has("app_id") {
		sql, args = sql+" AND app_id = $2", append(args, s.tables.App())
	}
	var out string
	err := s.pool.QueryRow(ctx, sql, args...).Scan(&out)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look up the id mapping of a user: %w", err)
	}
	return strings.TrimRight(out, " "), nil
}

// LoginIDs are all ids under which sessions of the account may stand: internal
// and external ones of every login method.
func (s *Store) LoginIDs(ctx context.Context, u User) ([]string, error) {
	internal := []string{u.InternalID}
	if spine, ok := s.tables.Table(supertokens.Spine); ok && spine.Has("primary_or_recipe_user_id") {
		rows, err := s.pool.Query(ctx, "SELECT user_id::text FROM "+spine.SQL()+" WHERE app_id = $1 AND primary_or_recipe_user_id = $2::bpchar",
			s.tables.App(), u.InternalID)
		if err != nil {
			return nil, fmt.Errorf("list the login methods of a user: %w", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("list the login methods of a user: %w", err)
		}
		for _, id := range found {
			internal = append(internal, strings.TrimRight(id, " "))
		}
	}
	out := append([]string{u.ID}, internal...)
	for _, id := range internal {
		external, err := s.mapped(ctx, "external_user_id", "supertokens_user_id", id)
		if err != nil {
			return nil, err
		}
		if external != "" {
			out = append(out, external)
		}
	}
	return out, nil
}

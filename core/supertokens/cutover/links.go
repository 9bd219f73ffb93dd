package cutover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// ErrNoLink is for a token that is unknown, used, expired, or of a user who is
// gone. Nobody is told which.
var ErrNoLink = errors.New("the link does not work, or not any more")

// ErrOldLink is the [ErrNoLink] of a token that there was: who presents it has not
// guessed.
var ErrOldLink = fmt.Errorf("its time is over: %w", ErrNoLink)

// maxLink bounds what is hashed; real tokens have 128 characters.
const maxLink = 1024

// Link is what a mailed token stands for.
type Link struct {
	User session.User
	// Email is the address it was mailed to; empty for reset tokens of cores
	// before 7.0, whose user has one address.
	Email string
}

// hashLink is how cores store mailed tokens: lower-case hex of SHA-256.
func hashLink(token string) (string, error) {
	if token == "" || len(token) > maxLink {
		return "", ErrNoLink
	}
	return fmt.Sprintf("%x", digest(token)), nil
}

const (
	tableVerify31 = supertokens.VerificationTokensOf31 // in core 3.1
	columnUser    = "user_id"
	columnVerify  = "is_email_verified" // of the users, in the same core
	tableReset    = supertokens.ResetTokens
	tableVerify   = supertokens.VerificationTokens
	tableVerified = supertokens.VerifiedEmails
	tablePassword = supertokens.EmailPasswordUsers
)

// Links are those that SuperTokens has mailed.
type Links struct{ *database }

// PeekReset tells whether a reset token would work now, and changes nothing.
func (l *Links) PeekReset(ctx context.Context, token string) error {
	from, err := l.sessions.Tables().Need(tableReset)
	if err != nil {
		return err
	}
	_, err = l.find(ctx, from, token)
	return err
}

// PeekVerification is [Links.PeekReset] for a token that verifies an address.
func (l *Links) PeekVerification(ctx context.Context, token string) error {
	from, err := l.verificationTokens()
	if err != nil {
		return err
	}
	_, err = l.find(ctx, from, token)
	return err
}

// verificationTokens is the table of tokens that verify an address. That of core
// 3.1 may have been left behind by an upgrade.
func (l *Links) verificationTokens() (supertokens.Table, error) {
	if _, ok := l.sessions.Tables().Table(tableVerify); !ok {
		if from, ok := l.sessions.Tables().Table(tableVerify31); ok {
			return from, nil
		}
	}
	return l.sessions.Tables().Need(tableVerify)
}

// verifiedColumn finds the column of the users that core 3.1 kept verification
// in, before it got a table.
func verifiedColumn(tables *supertokens.Tables) (users supertokens.Table, ok bool) {
	if _, later := tables.Table(tableVerified); later {
		return users, false
	}
	users, ok = tables.Table(tablePassword)
	return users, ok && users.Has(columnVerify)
}

// linkRow is the row of a token.
type linkRow struct {
	userID, token string
	email         *string
	expiry        int64
}

// ConsumeReset deletes all reset tokens of the user that this one belongs to and
// has use act on it, both or neither: when use fails, the link goes on working.
// A link works once, whatever instance it is presented to. With endSessions, the
// sessions of the account end, too.
func (l *Links) ConsumeReset(ctx context.Context, token string, endSessions bool, use func(Link) error) error {
	from, err := l.sessions.Tables().Need(tableReset)
	if err != nil {
		return err
	}
	r, err := l.find(ctx, from, token)
	if err != nil {
		return err
	}
	u, err := l.sessions.UserByInternalID(ctx, r.userID)
	if errors.Is(err, session.ErrNoUser) {
		return ErrNoLink
	}
	if err != nil {
		return err
	}
	link := Link{User: u}
	if r.email != nil {
		link.Email = *r.email
	} else if link.Email, err = l.addressOf(ctx, r.userID); err != nil {
		return err
	}
	var ids []string
	if endSessions {
		if ids, err = l.sessions.LoginIDs(ctx, u); err != nil {
			return err
		}
	}
	return l.consume(ctx, from, r, from.Equals(columnUser, 1), []any{r.userID}, func(tx supertokens.Statements) error {
		if err := use(link); err != nil || !endSessions {
			return err
		}
		return l.endSessions(ctx, tx, ids) // last: others wait for these rows
	})
}

// endSessions deletes all sessions of an account, by the ids that it goes by.
func (l *Links) endSessions(ctx context.Context, tx supertokens.Statements, ids []string) error {
	from, err := l.sessions.Tables().Need(supertokens.SessionInfo)
	if err != nil {
		return err
	}
	sql, args := "DELETE FROM "+from.SQL()+" WHERE "+from.AnyOf(columnUser, 1), []any{ids}
	if from.Has("app_id") {
		sql, args = sql+" AND "+from.Equals("app_id", 2), append(args, l.app)
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("revoke the sessions of an account: %w", err)
	}
	return nil
}

// ConsumeVerification deletes all tokens of this user and address, marks the
// address as verified in the source, and has use act on it, all or nothing.
func (l *Links) ConsumeVerification(ctx context.Context, token string, use func(Link) error) error {
	from, err := l.verificationTokens()
	if err != nil {
		return err
	}
	r, err := l.find(ctx, from, token)
	if err != nil {
		return err
	}
	// Of users with an external id, the token names that one.
	tables := l.sessions.Tables()
	u, err := tables.Who(ctx, l.sessions.Rows(), from.VisibleID(columnUser, r.userID))
	if errors.Is(err, session.ErrNoUser) || err == nil && r.email == nil {
		return ErrNoLink
	}
	if err != nil {
		return err
	}
	id, err := tables.VisibleIDOf(ctx, l.sessions.Rows(), u.LoginID)
	if err != nil {
		return err
	}
	return l.consume(ctx, from, r, from.Equals(columnUser, 1)+" AND "+from.Equals("email", 2), []any{r.userID, *r.email}, func(tx supertokens.Statements) error {
		if err := l.markVerified(ctx, tx, u, id, *r.email); err != nil {
			return err
		}
		return use(Link{User: u, Email: *r.email})
	})
}

// find reads what a token stands for. That happens before the transaction, which
// must not wait for a second connection.
func (l *Links) find(ctx context.Context, from supertokens.Table, token string) (linkRow, error) {
	hash, err := hashLink(token)
	if err != nil {
		return linkRow{}, err
	}
	q := supertokens.RowQuery{From: from, Columns: []string{columnUser, "email", "token_expiry"}, Where: []supertokens.RowMatch{{Column: "token", Values: []string{hash}}}}
	if from.Has("app_id") {
		q.Where = append(q.Where, supertokens.RowMatch{Column: "app_id", Values: []string{l.app}})
	}
	r, found := linkRow{token: hash}, false
	err = l.sessions.Rows().Rows(ctx, q, func(v [][]byte) (err error) {
		found, r.userID, r.email = true, string(v[0]), nil
		if v[1] != nil {
			email := string(v[1])
			r.email = &email
		}
		r.expiry, err = strconv.ParseInt(string(v[2]), 10, 64)
		return err
	})
	switch {
	case err != nil:
		return linkRow{}, fmt.Errorf("look up a link: %w", err)
	case !found:
		return linkRow{}, ErrNoLink
	case !l.now().Before(time.UnixMilli(r.expiry)):
		return linkRow{}, ErrOldLink
	}
	return r, nil
}

// consume deletes what where says; then acts when the token was among that: the second of
// two attempts finds nothing left.
func (l *Links) consume(ctx context.Context, from supertokens.Table, r linkRow, where string, args []any, then func(supertokens.Statements) error) error {
	if from.Has("app_id") {
		args = append(args, l.app)
		where += " AND " + from.Equals("app_id", len(args))
	}
	return l.once(ctx, func(tx supertokens.Statements) error {
		gone := false
		err := tx.Take(ctx, func(v [][]byte) error {
			gone = gone || string(v[0]) == r.token
			return nil
		}, "token", from.SQL(), where, args...)
		switch {
		case err != nil:
			return fmt.Errorf("consume a link: %w", err)
		case !gone:
			return ErrNoLink // somebody else was faster
		}
		return then(tx)
	})
}

// markVerified marks an address of a login as verified, under the id where the core
// looks for that.
func (l *Links) markVerified(ctx context.Context, tx supertokens.Statements, u session.User, visibleID, email string) error {
	if users, ok := verifiedColumn(l.sessions.Tables()); ok {
		_, err := tx.Exec(ctx, "UPDATE "+users.SQL()+" SET "+columnVerify+" = true WHERE "+users.Equals(columnUser, 1)+" AND "+users.Equals("email", 2), u.LoginID, email)
		if err != nil {
			return fmt.Errorf("mark an address as verified: %w", err)
		}
		return nil
	}
	into, err := l.sessions.Tables().Need(tableVerified)
	if err != nil {
		return err
	}
	columns, values := []string{columnUser, "email"}, []any{visibleID, email}
	if into.Has("app_id") {
		columns, values = append(columns, "app_id"), append(values, l.app)
	}
	err = tx.Put(ctx, into.SQL(), columns, values...)
	if err != nil {
		return fmt.Errorf("mark an address as verified: %w", err)
	}
	return nil
}

// addressOf is the address of a login with a password, empty when there is none.
func (l *Links) addressOf(ctx context.Context, userID string) (string, error) {
	found, err := l.sessions.Tables().PasswordLogin(ctx, l.sessions.Rows(), userID)
	if errors.Is(err, session.ErrNoUser) {
		return "", nil
	}
	return candidate(found).Email, err
}

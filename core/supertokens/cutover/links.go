package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// ErrNoLink is for a token that is unknown, used, expired, or of a user who is
// gone. Nobody is told which.
var ErrNoLink = errors.New("the link does not work, or not any more")

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
	tableVerify31 = "emailpassword_email_verification_tokens" // in core 3.1
	columnVerify  = "is_email_verified"                       // of the users, in the same core
	tableReset    = "emailpassword_pswd_reset_tokens"
	tableVerify   = "emailverification_tokens"
	tableVerified = "emailverification_verified_emails"
	tablePassword = "emailpassword_users"
)

// PeekReset tells whether a reset token would work now, and changes nothing.
func (d *DB) PeekReset(ctx context.Context, token string) error {
	from, err := d.sessions.Tables().Need(tableReset)
	if err != nil {
		return err
	}
	return d.peek(ctx, from, token)
}

// PeekVerification is [DB.PeekReset] for a token that verifies an address.
func (d *DB) PeekVerification(ctx context.Context, token string) error {
	from, err := d.verificationTokens()
	if err != nil {
		return err
	}
	return d.peek(ctx, from, token)
}

// verificationTokens is the table of tokens that verify an address.
func (d *DB) verificationTokens() (supertokens.Table, error) {
	if from, ok := d.sessions.Tables().Table(tableVerify31); ok {
		return from, nil
	}
	return d.sessions.Tables().Need(tableVerify)
}

func (d *DB) peek(ctx context.Context, from supertokens.Table, token string) error {
	hash, err := hashLink(token)
	if err != nil {
		return err
	}
	args := []any{hash, d.now().UnixMilli()}
	sql := "SELECT 1 FROM " + from.SQL() + " WHERE token = $1 AND token_expiry > $2"
	if from.Has("app_id") {
		sql, args = sql+" AND app_id = $3", append(args, d.app)
	}
	var one int
	switch err := d.pool.QueryRow(ctx, sql, args...).Scan(&one); {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNoLink
	case err != nil:
		return fmt.Errorf("look up a link: %w", err)
	}
	return nil
}

// row is one deleted token.
type linkRow struct {
	userID, token string
	email         *string
	expiry        int64
}

// ConsumeReset deletes all reset tokens of the user that this one belongs to and
// has use act on it, both or neither: when use fails, the link goes on working.
// A link works once, whatever instance it is presented to.
func (d *DB) ConsumeReset(ctx context.Context, token string, use func(Link) error) error {
	from, err := d.sessions.Tables().Need(tableReset)
	if err != nil {
		return err
	}
	email := "NULL::text"
	if from.Has("email") {
		email = "email"
	}
	return d.consume(ctx, token, from.SQL(), from.Has("app_id"), email, "user_id = $U", func(ctx context.Context, tx pgx.Tx, r linkRow) error {
		u, err := d.sessions.UserByInternalID(ctx, r.userID)
		if errors.Is(err, session.ErrNoUser) {
			return ErrNoLink
		}
		if err != nil {
			return err
		}
		link := Link{User: u}
		if r.email != nil {
			link.Email = *r.email
		} else if link.Email, err = d.addressOf(ctx, tx, r.userID); err != nil {
			return err
		}
		return use(link)
	})
}

// ConsumeVerification deletes all tokens of this user and address, marks the
// address as verified in the source, and has use act on it, all or nothing.
func (d *DB) ConsumeVerification(ctx context.Context, token string, use func(Link) error) error {
	from, err := d.verificationTokens()
	if err != nil {
		return err
	}
	return d.consume(ctx, token, from.SQL(), from.Has("app_id"), "email", "user_id = $U AND email = $E", func(ctx context.Context, tx pgx.Tx, r linkRow) error {
		// Of users with an external id, the token names that one.
		u, err := d.sessions.UserByVisibleID(ctx, r.userID)
		if errors.Is(err, session.ErrNoUser) {
			return ErrNoLink
		}
		if err != nil {
			return err
		}
		if err := d.markVerified(ctx, tx, r); err != nil {
			return err
		}
		return use(Link{User: u, Email: *r.email})
	})
}

func (d *DB) markVerified(ctx context.Context, tx pgx.Tx, r linkRow) error {
	sql, args := "", []any{r.userID, *r.email}
	if users, ok := d.sessions.Tables().Table(tablePassword); ok && users.Has(columnVerify) {
		sql = "UPDATE " + users.SQL() + " SET " + columnVerify + " = true WHERE user_id = $1::bpchar AND email = $2"
	} else {
		into, err := d.sessions.Tables().Need(tableVerified)
		if err != nil {
			return err
		}
		columns, values := "user_id, email", "$1, $2"
		if into.Has("app_id") {
			columns, values, args = "app_id, "+columns, "$3, "+values, append(args, d.app)
		}
		sql = "INSERT INTO " + into.SQL() + " (" + columns + ") VALUES (" + values + ") ON CONFLICT DO NOTHING"
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("mark an address as verified: %w", err)
	}
	return nil
}

// consume deletes by what the token names. The role needs no right to lock rows:
// DELETE does, and the second of two attempts finds nothing left.
func (d *DB) consume(ctx context.Context, token, table string, apps bool, email, whose string, then func(context.Context, pgx.Tx, linkRow) error) error {
	hash, err := hashLink(token)
	if err != nil {
		return err
	}
	app, args := "", []any{hash}
	if apps {
		app, args = " AND app_id = $2", append(args, d.app)
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		r := linkRow{token: hash}
		err := tx.QueryRow(ctx, "SELECT user_id, "+email+", token_expiry FROM "+table+" WHERE token = $1"+app, args...).Scan(&r.userID, &r.email, &r.expiry)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoLink
		case err != nil:
			return fmt.Errorf("look up a link: %w", err)
		case !d.now().Before(time.UnixMilli(r.expiry)):
			return ErrNoLink
		}
		r.userID = strings.TrimRight(r.userID, " ") // a CHAR(36) in some generations
		deleting := []any{r.userID}
		where := strings.ReplaceAll(whose, "$U", "$1")
		if strings.Contains(where, "$E") {
			where, deleting = strings.ReplaceAll(where, "$E", "$2"), append(deleting, *r.email)
		}
		if apps {
			deleting = append(deleting, d.app)
			where += fmt.Sprintf(" AND app_id = $%d", len(deleting))
		}
		rows, err := tx.Query(ctx, "DELETE FROM "+table+" WHERE "+where+" RETURNING token", deleting...)
		if err != nil {
			return fmt.Errorf("consume a link: %w", err)
		}
		gone, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("consume a link: %w", err)
		}
		for _, t := range gone {
			if t == r.token {
				return then(ctx, tx, r)
			}
		}
		return ErrNoLink // somebody else was faster
	})
}

func (d *DB) addressOf(ctx context.Context, tx pgx.Tx, userID string) (email string, err error) {
	from, err := d.sessions.Tables().Need(tablePassword)
	if err != nil {
		return "", err
	}
	sql, args := "SELECT email FROM "+from.SQL()+" WHERE user_id = $1::bpchar", []any{userID}
	if from.Has("app_id") {
		sql, args = sql+" AND app_id = $2", append(args, d.app)
	}
	err = tx.QueryRow(ctx, sql, args...).Scan(&email)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look up the address of a user: %w", err)
	}
	return email, nil
}

package cutover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// TicketAge is how long a ticket waits for its browser.
const TicketAge = time.Minute

// ErrNoTicket is for a ticket that is unknown, used, too old, or of another request.
var ErrNoTicket = errors.New("no such ticket, or not for this request")

// Binding is the one authorization request that a ticket is good for.
type Binding struct{ ClientID, Challenge string }

// IssueTicket keeps a session under a ticket, which stands for its tokens in one
// authorization request. The session stays as it is.
func (s *Logins) IssueTicket(ctx context.Context, ticket string, only Binding, l Login) error {
	now := s.now()
	if s.tickets.due(now, TicketAge) {
		if _, err := s.db.Exec(ctx, "DELETE FROM "+s.own.table("ticket")+" WHERE expires_ms < $1", now.UnixMilli()); err != nil {
			return fmt.Errorf("forget old tickets: %w", err)
		}
	}
	_, err := s.db.Exec(ctx, "INSERT INTO "+s.own.table("ticket")+
		" (ticket_hash, app_id, client_id, challenge, expires_ms, session_handle, tenant_id, created_ms, user_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		digest(ticket), s.app, only.ClientID, only.Challenge, now.Add(TicketAge).UnixMilli(), l.Session.Handle, l.Session.Tenant, l.Session.Created.UnixMilli(), l.UserID)
	if err != nil {
		return fmt.Errorf("issue a ticket: %w", err)
	}
	return nil
}

// TakeTicket gives what a ticket stands for, once. One that is presented with another
// request than its own stays good for that.
func (s *Logins) TakeTicket(ctx context.Context, ticket string, by Binding) (l Login, err error) {
	var created string
	found := false
	err = s.db.Take(ctx, texts([]*string{&l.Session.Handle, &l.Session.Tenant, &created, &l.UserID}, &found), "session_handle, tenant_id, created_ms, user_id",
		s.own.table("ticket"), "ticket_hash = $1 AND app_id = $2 AND client_id = $3 AND challenge = $4 AND expires_ms > $5",
		digest(ticket), s.app, by.ClientID, by.Challenge, s.now().UnixMilli())
	switch {
	case err != nil:
		return Login{}, fmt.Errorf("take a ticket: %w", err)
	case !found:
		return Login{}, ErrNoTicket
	}
	ms, err := strconv.ParseInt(created, 10, 64)
	if err != nil {
		return Login{}, fmt.Errorf("take a ticket: %w", err)
	}
	l.Session.Created = time.UnixMilli(ms)
	return l, nil
}

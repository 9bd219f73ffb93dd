package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Unlocking says whose lock-outs end. Exactly one of its fields is set.
type Unlocking struct {
	// Account is an account's id, the one that applications know, or its address.
	Account string
	// Client is a network address.
	Client string
	All    bool
}

// Check tells whether the choice says exactly one thing.
func (u Unlocking) Check() error {
	chosen := 0
	for _, set := range []bool{u.Account != "", u.Client != "", u.All} {
		if set {
			chosen++
		}
	}
	if chosen != 1 {
		return errors.New("choose an account, a network address, or all")
	}
	if _, ok := hop(u.Client); u.Client != "" && !ok {
		return errors.New("the network address cannot be read")
	}
	return nil
}

// Unlock ends lock-outs, at all instances, and says how many there were. It is for
// who has the machine: nothing that is served does this. The log gets the audit trail.
func Unlock(ctx context.Context, db *cutover.DB, tenant string, which Unlocking, log *slog.Logger) (ended int, err error) {
	if err := which.Check(); err != nil {
		return 0, err
	}
	var who slog.Attr
	switch {
	case which.All:
		who = slog.Bool("all", true)
		ended, err = db.Failures.UnlockAll(ctx)
	case which.Client != "":
		addr, _ := hop(which.Client)
		who = slog.String("client", network(addr))
		ended, err = db.Failures.Unlock(ctx, network(addr))
	default:
		var id string
		id, ended, err = unlockAccount(ctx, db, tenant, which.Account)
		who = slog.String("user", id)
	}
	if err != nil {
		return 0, err
	}
	log.Info("audit", slog.String("surface", surfaceMachine), slog.String("outcome", outcomeUnlocked), who, slog.Int("ended", ended))
	return ended, nil
}

// unlockAccount ends what is counted for an account, and for an address that is nobody's.
func unlockAccount(ctx context.Context, db *cutover.DB, tenant, name string) (id string, ended int, err error) {
	subject := nobody(name)
	c, err := db.Passwords.Candidate(ctx, tenant, name)
	switch {
	case err == nil:
		id, subject = c.User.ID, cutover.AccountSubject(c.User.InternalID)
	case !errors.Is(err, session.ErrNoUser):
		return "", 0, fmt.Errorf("find the account: %w", err)
	}
	ended, err = db.Failures.Unlock(ctx, subject)
	return id, ended, err
}

// network is the network address that counts: of an IPv6 address its network, as one
// subscriber has many.
func network(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

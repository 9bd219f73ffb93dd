package migration

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"filippo.io/age"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/report"
)

func parseRecipients(all []string) ([]age.Recipient, error) {
	var keys []age.Recipient
	for _, s := range all {
		key, err := age.ParseX25519Recipient(s)
		if err != nil {
			return nil, UsageError{errors.New("a recipient is not an age public key: it begins with age1, and age-keygen -y prints it")}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// reveal gives the accounts of the source that are wanted, with their secrets.
func reveal(ctx context.Context, src engine.Source, wanted func(id string) bool, use func(id string, clearText []byte) error) error {
	return src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			id := users[i].InternalID
			if !wanted(id) {
				continue
			}
			clearText, err := users[i].RevealJSON()
			if err == nil {
				err = use(id, clearText)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func seal(id string, clearText []byte, keys []age.Recipient) ([]byte, error) {
	sealed, err := journal.Seal(clearText, keys...)
	if err != nil {
		return nil, fmt.Errorf("encrypt account %s: %w", id, err)
	}
	return sealed, nil
}

// fingerprint tells an account from what it is later, and nothing of it to others.
func (j *runJournal) fingerprint(clearText []byte) []byte {
	mac := hmac.New(sha256.New, j.key)
	mac.Write([]byte("rejected account\n"))
	mac.Write(clearText)
	return mac.Sum(nil)[:16]
}

// keepPayloads has the journal keep the accounts that a run has not loaded, as it has
// read them, for rejects.recipients. The source still has the snapshot of the run.
func keepPayloads(ctx context.Context, j *runJournal, src engine.Source, notLoaded map[string]bool, keys []age.Recipient) error {
	if len(keys) == 0 {
		return nil
	}
	if len(notLoaded) == 0 {
		return j.scope.Rejects.KeepPayloads(nil)
	}
	payloads := map[string]journal.Payload{}
	flush := func() error {
		err := j.scope.Rejects.KeepPayloads(payloads)
		clear(payloads)
		return err
	}
	err := reveal(ctx, src, func(id string) bool { return notLoaded[id] }, func(id string, clearText []byte) error {
		sealed, err := seal(id, clearText, keys)
		if err != nil {
			return err
		}
		payloads[id] = journal.Payload{Digest: j.fingerprint(clearText), Encrypted: sealed}
		if len(payloads) >= portion {
			return flush()
		}
		return nil
	})
	if err := errors.Join(err, flush()); err != nil {
		return fmt.Errorf("keep the rejected accounts for rejects.recipients: %w", err)
	}
	return nil
}

// addPayloads reads the source and adds the accounts, encrypted. Each is a message of
// its own, so that a part of the list is worth as much as the whole. An account that is
// not any more what was rejected is given as it was, where the run has kept it.
func addPayloads(ctx context.Context, j *runJournal, src engine.Source, list []report.Reject, keys []age.Recipient) error {
	wanted := map[string]*report.Reject{}
	kept := map[string]journal.Payload{}
	for i := range list {
		r := &list[i]
		wanted[r.SourceID] = r
		payload, ok, err := j.scope.Rejects.Payload(ctx, r.SourceID)
		if err != nil {
			return RefusedError{err}
		}
		if ok {
			kept[r.SourceID] = payload
			r.Payload, r.PayloadOf, r.Changed = payload.Encrypted, report.OfRejection, true
		}
	}
	err := reveal(ctx, src, func(id string) bool { return wanted[id] != nil }, func(id string, clearText []byte) (err error) {
		r, was := wanted[id], kept[id]
		switch {
		case was.Digest == nil:
			r.PayloadOf = report.OfNow
		case hmac.Equal(was.Digest, j.fingerprint(clearText)):
			r.Changed = false
		default:
			return nil
		}
		r.Payload, err = seal(id, clearText, keys)
		return err
	})
	return classify(ctx, err)
}

package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/target"
)

func (a *app) rejectsCommand() *cobra.Command {
	var out string
	var recipients []string
	c := &cobra.Command{
		Use:   "rejects --config FILE",
		Short: "List the accounts that runs have rejected or left in doubt, one JSON object per line",
		Long: `rejects lists every account that is not in the target although a run has met it:
its ids, the code, the part of the account it is about, the reason in words and
what to do. Correct the cause and run again with --only-rejects.

With --recipient, or rejects.recipients in the configuration, each line also holds
the account with its password hashes, encrypted with age to that key: as it was
when it was rejected, if the configuration had recipients then, or as it is in the
source now (payload_of). It says what has changed since.

  jq -r .payload | base64 -d | age -d -i KEYFILE`,
		Example: `  stetl rejects --config configs/keycloak.yaml
  stetl run --config configs/keycloak.yaml --only-rejects`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rejects(cmd.Context(), out, recipients) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	outFlag(c, &out)
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "age public `KEY` (age1…) to encrypt the accounts to; may be repeated")
	return c
}

func (a *app) rejects(ctx context.Context, out string, recipients []string) (err error) {
	p, err := a.openMemory(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	keys, err := parseRecipients(append(slices.Clone(p.cfg.Rejects.Recipients), recipients...))
	if err != nil {
		return err
	}
	list, err := p.rejects(ctx)
	if err != nil {
		return refusedError{err}
	}
	if len(keys) > 0 && len(list) > 0 {
		if err := p.addPayloads(ctx, list, keys); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(a.err, "stetl: no account is rejected or in doubt")
	}
	return a.save(out, func(w io.Writer) error { return report.WriteRejects(w, list) })
}

func parseRecipients(all []string) ([]age.Recipient, error) {
	var keys []age.Recipient
	for _, s := range all {
		key, err := age.ParseX25519Recipient(s)
		if err != nil {
			return nil, usageError{errors.New("a recipient is not an age public key: it begins with age1, and age-keygen -y prints it")}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (p *project) rejects(ctx context.Context) ([]report.Reject, error) {
	var list []report.Reject
	for e, err := range p.scope.Accounts(ctx) {
		if err != nil {
			return nil, err
		}
		if !e.Open() {
			continue
		}
		list = append(list, report.Reject{
			SourceID: e.SourceID, VisibleID: e.VisibleID, TargetID: e.TargetID, Outcome: string(e.Outcome()), Code: string(e.Code),
			Accepted: slices.Contains(p.cfg.Policies.Skip, e.Code), Run: e.Run, At: e.At.UTC(),
		})
	}
	for i := range list { // not while the accounts are being read
		r := &list[i]
		reason, ok, err := p.scope.Reason(ctx, r.SourceID)
		if err != nil {
			return nil, err
		}
		if ok && reason.Run >= r.Run {
			r.Detail, r.Hint = reason.Detail, reason.Hint
		}
		r.Code = cmp.Or(r.Code, string(diag.LoadUnknownAnswer))
		if info, known := p.words().Lookup(diag.Code(r.Code)); known {
			r.Path, r.Permanent = info.Path, info.Permanent
			r.Detail, r.Hint = cmp.Or(r.Detail, info.Meaning), cmp.Or(r.Hint, info.Remedy)
		}
	}
	return list, nil
}

// addPayloads reads the source and adds the accounts, encrypted. Each is a message of
// its own, so that a part of the file is worth as much as the whole. An account that is
// not any more what was rejected is given as it was, where the run has kept it.
func (p *project) addPayloads(ctx context.Context, list []report.Reject, keys []age.Recipient) (err error) {
	wanted := map[string]*report.Reject{}
	kept := map[string]journal.Payload{}
	for i := range list {
		r := &list[i]
		wanted[r.SourceID] = r
		payload, ok, err := p.scope.Payload(ctx, r.SourceID)
		if err != nil {
			return refusedError{err}
		}
		if ok {
			kept[r.SourceID] = payload
			r.Payload, r.PayloadOf, r.Changed = payload.Encrypted, report.OfRejection, true
		}
	}
	if err := p.openSource(ctx); err != nil {
		return err
	}
	err = p.each(ctx, func(id string) bool { return wanted[id] != nil }, func(id string, clearText []byte) error {
		r, was := wanted[id], kept[id]
		switch {
		case was.Digest == nil:
			r.PayloadOf = report.OfNow
		case hmac.Equal(was.Digest, p.fingerprint(clearText)):
			r.Changed = false
		default:
			return nil
		}
		sealed, err := journal.Seal(clearText, keys...)
		if err != nil {
			return fmt.Errorf("encrypt account %s: %w", id, err)
		}
		r.Payload = sealed
		return nil
	})
	if err != nil {
		return classify(ctx, err)
	}
	var now, changed int
	for i := range list {
		if list[i].Changed {
			changed++
		}
		if list[i].PayloadOf == report.OfNow {
			now++
		}
	}
	if changed > 0 {
		fmt.Fprintf(p.app.err, "stetl: %d accounts have changed in the source since they were rejected, or have gone; they are given as they were then, for the rejects.recipients of that run\n", changed)
	}
	if now > 0 {
		fmt.Fprintf(p.app.err, "stetl: %d accounts are given as they are in the source now: when they were rejected, no rejects.recipients were configured\n", now)
	}
	return nil
}

// each gives the accounts of the source that are wanted, with their secrets.
func (p *project) each(ctx context.Context, wanted func(id string) bool, use func(id string, clearText []byte) error) error {
	return p.accounts().Accounts(ctx, func(users []canonical.User) error {
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

// fingerprint tells an account from what it is later, and nothing of it to others.
func (p *project) fingerprint(clearText []byte) []byte {
	mac := hmac.New(sha256.New, p.journal.FingerprintKey())
	mac.Write([]byte("rejected account\n"))
	mac.Write(clearText)
	return mac.Sum(nil)[:16]
}

// keepPayloads has the journal keep the accounts that this run has not loaded, as it
// has read them, for rejects.recipients. The source still has the snapshot of the run.
func (p *project) keepPayloads(ctx context.Context, notLoaded map[string]bool, keys []age.Recipient) error {
	if len(keys) == 0 {
		return nil
	}
	if len(notLoaded) == 0 {
		return p.scope.KeepPayloads(nil)
	}
	payloads := map[string]journal.Payload{}
	flush := func() error {
		err := p.scope.KeepPayloads(payloads)
		clear(payloads)
		return err
	}
	err := p.each(ctx, func(id string) bool { return notLoaded[id] }, func(id string, clearText []byte) error {
		sealed, err := journal.Seal(clearText, keys...)
		if err != nil {
			return fmt.Errorf("encrypt account %s: %w", id, err)
		}
		if payloads[id] = (journal.Payload{Digest: p.fingerprint(clearText), Encrypted: sealed}); len(payloads) >= 200 {
			return flush()
		}
		return nil
	})
	if err := errors.Join(err, flush()); err != nil {
		return fmt.Errorf("keep the rejected accounts for rejects.recipients: %w", err)
	}
	return nil
}

// keepReasons remembers in words why accounts were not loaded in the run of this id, or
// not as a whole, and collects who was not loaded.
func (p *project) keepReasons(o *engine.Options, run int64) (flush func() error, notLoaded map[string]bool) {
	before, waiting := o.Outcome, map[string]journal.Reason{}
	notLoaded = map[string]bool{}
	var failed error
	flush = func() error {
		if len(waiting) > 0 && failed == nil {
			failed = p.scope.KeepReasons(waiting)
			clear(waiting)
		}
		return failed
	}
	o.Outcome = func(c target.Change) {
		before(c)
		out := c.Action == target.Rejected || c.Action == target.InDoubt || c.Action == target.Skipped && slices.Contains(o.Policies.Skip, c.Code)
		if out {
			notLoaded[c.SourceID] = true
		}
		said := len(c.Losses) > 0 || out && c.Detail+c.Hint != ""
		if !said || failed != nil {
			return
		}
		if waiting[c.SourceID] = (journal.Reason{Detail: c.Detail, Hint: c.Hint, Losses: c.Losses, Run: run}); len(waiting) >= 200 {
			_ = flush() // kept in failed
		}
	}
	return flush, notLoaded
}

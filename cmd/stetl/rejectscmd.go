package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
the account as it is in the source now, with its password hashes, encrypted with
age to that key: jq -r .payload | base64 -d | age -d -i KEYFILE`,
		Example: `  stetl rejects --config configs/keycloak.yaml
  stetl run --config configs/keycloak.yaml --only-rejects`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rejects(cmd.Context(), out, recipients) },
	}
	a.configFlag(c)
	c.Flags().StringVar(&out, "out", "", "write to this file (mode 0600) instead of standard output")
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "age public key (age1…) to encrypt the accounts to; may be repeated")
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
	write := func(w io.Writer) error {
		b := bufio.NewWriter(w)
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		for i := range list {
			if err := enc.Encode(&list[i]); err != nil {
				return err
			}
		}
		return b.Flush()
	}
	if len(list) == 0 {
		fmt.Fprintln(a.err, "stetl: no account is rejected or in doubt")
	}
	if out != "" {
		return replaceFile(out, write)
	}
	return write(a.out)
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
		if e.Action != target.Rejected && e.Action != target.InDoubt && !e.Pending {
			continue
		}
		list = append(list, report.Reject{
			SourceID: e.SourceID, VisibleID: e.VisibleID, TargetID: e.TargetID, Outcome: string(e.Action), Code: string(e.Code),
			Path: report.PathOf(e.Code), Accepted: slices.Contains(p.cfg.Policies.Skip, e.Code), Run: e.Run, At: e.At.UTC(),
		})
		if e.Pending {
			list[len(list)-1].Outcome = string(target.InDoubt)
		}
	}
	for i := range list { // not while the accounts are being read
		r := &list[i]
		reason, ok, err := p.scope.Reason(ctx, r.SourceID)
		if err != nil {
			return nil, err
		}
		if ok {
			r.Detail, r.Hint = reason.Detail, reason.Hint
		}
		if info, known := diag.Lookup(diag.Code(r.Code)); known && r.Hint == "" {
			r.Hint = info.Remedy
		}
		if r.Code == "" {
			r.Code = string(diag.LoadUnknownAnswer)
			info, _ := diag.Lookup(diag.LoadUnknownAnswer)
			r.Hint = info.Remedy
		}
	}
	return list, nil
}

// addPayloads reads the source and encrypts the accounts. Each is a message of its
// own, so that a part of the file is worth as much as the whole.
func (p *project) addPayloads(ctx context.Context, list []report.Reject, keys []age.Recipient) (err error) {
	wanted := map[string]*report.Reject{}
	for i := range list {
		wanted[list[i].SourceID] = &list[i]
	}
	src, err := openSource(ctx, p.cfg, false, p.status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	err = newAccounts(src).Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			r := wanted[users[i].InternalID]
			if r == nil {
				continue
			}
			sealed, err := seal(&users[i], keys)
			if err != nil {
				return fmt.Errorf("encrypt account %s: %w", r.SourceID, err)
			}
			r.Payload = sealed
		}
		return nil
	})
	return classify(ctx, err)
}

func seal(u *canonical.User, keys []age.Recipient) ([]byte, error) {
	clearText, err := u.RevealJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, keys...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(clearText); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// keepReasons remembers in words why accounts were not loaded.
func (p *project) keepReasons(o *engine.Options) (flush func() error) {
	before, waiting := o.Outcome, map[string]journal.Reason{}
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
		known := c.Action == target.Rejected || c.Action == target.InDoubt || c.Action == target.Skipped && slices.Contains(o.Policies.Skip, c.Code)
		if !known || c.Detail+c.Hint == "" || failed != nil {
			return
		}
		if waiting[c.SourceID] = (journal.Reason{Detail: c.Detail, Hint: c.Hint}); len(waiting) >= 200 {
			_ = flush() // kept in failed
		}
	}
	return flush
}

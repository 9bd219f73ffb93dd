//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/sqlite"
	"github.com/stetl/stetl/core/pluginapi"
)

// contents are everything that a journal says of a scope.
type contents struct {
	Runs     []journal.Run
	Samples  []journal.Sample
	Settings []byte
	Saved    map[string][]byte
	Entries  []journal.Entry
	Before   map[string]string
	Reasons  map[string]journal.Reason
	Payloads map[string]journal.Payload
}

func read(t *testing.T, j journal.Journal, destination string, ids []string) contents {
	t.Helper()
	s, err := j.Scope(t.Context(), "public", destination)
	if err != nil {
		t.Fatal(err)
	}
	c := contents{Before: map[string]string{}, Reasons: map[string]journal.Reason{}, Payloads: map[string]journal.Payload{}}
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	c.Runs, err = s.Runs.List(t.Context(), math.MaxInt32)
	add(err)
	if len(c.Runs) > 0 {
		c.Samples, err = s.Runs.Samples(t.Context(), c.Runs[0].ID)
		add(err)
	}
	c.Settings, err = s.Runs.Settings(t.Context())
	add(err)
	c.Saved, err = s.Plugin.Saved(t.Context())
	add(err)
	for e, err := range s.Accounts(t.Context()) {
		add(err)
		c.Entries = append(c.Entries, e)
	}
	for _, id := range ids {
		before, err := s.Before(t.Context(), id)
		add(err)
		c.Before[id] = string(before)
		reason, ok, err := s.Rejects.Reason(t.Context(), id)
		add(err)
		if ok {
			c.Reasons[id] = reason
		}
		payload, ok, err := s.Rejects.Payload(t.Context(), id)
		add(err)
		if ok {
			c.Payloads[id] = payload
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return c
}

// A journal that was copied into a database and back is the one that it was.
func TestCopy(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	first, err := sqlite.Open(ctx, filepath.Join(dir, "first"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	var ids []string
	for _, destination := range []string{"here\nby two lines", "there"} {
		s, err := first.Scope(ctx, "public", destination)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			run, err := s.Runs.Begin(journal.Run{Source: "s", Target: "t", Program: "p", Settings: []byte{byte(n)}, Reading: []byte{2}, Began: time.UnixMilli(int64(n))})
			if err == nil && n < 2 {
				err = errors.Join(s.Runs.AddSample(run, journal.Sample{At: time.UnixMilli(7), Done: 5}), s.Runs.End(run, time.UnixMilli(9), map[string]int{"read": n}))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		var all []journal.Entry
		reasons, payloads := map[string]journal.Reason{}, map[string]journal.Payload{}
		for n := range 2500 {
			id := fmt.Sprintf("u%05d", n)
			e := journal.Entry{
				SourceID: id, VisibleID: "v" + id, TargetID: "t" + id, Action: pluginapi.Created, Class: pluginapi.HashCarried, Digest: []byte{1}, State: []byte{2},
				SignIn: "email", Origin: journal.Made, Run: 1,
			}
			if n%500 == 3 {
				e.Action, e.Code, e.Origin, e.Before, e.DisabledAt = pluginapi.Rejected, diag.LoadDrift, journal.Adopted, []byte("before "+id), time.UnixMilli(12)
				reasons[id], payloads[id] = journal.Reason{Detail: "no " + id, Run: 1}, journal.Payload{Digest: []byte{3}, Encrypted: []byte{4}}
				ids = append(ids, id)
			}
			all = append(all, e)
		}
		reasons["u99999"] = journal.Reason{Detail: "of one without an entry"}
		ids = append(ids, "u00001", "u99999")
		_, markErr := s.Mark(2, []journal.Entry{{SourceID: "sent"}})
		err = errors.Join(s.Record(0, all), s.Rejects.KeepReasons(reasons), s.Rejects.KeepPayloads(payloads), s.Plugin.Save(ctx, "k", []byte{0, 1}), markErr)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil { // what was sent is in doubt for whoever comes next
		t.Fatal(err)
	}
	if first, err = sqlite.Open(ctx, filepath.Join(dir, "first")); err != nil {
		t.Fatal(err)
	}
	_, o := somewhere(t)
	o.Key = first.FingerprintKey()
	shared, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shared.Close() }()
	last, err := sqlite.OpenKeyed(ctx, filepath.Join(dir, "last"), first.FingerprintKey())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = last.Close() }()
	for _, step := range []struct{ from, to journal.Archive }{{sqlite.Archive{Journal: first}, Archive{shared}}, {Archive{shared}, sqlite.Archive{Journal: last}}} {
		var said journal.Copied
		got, err := journal.Copy(ctx, step.from, step.to, func(c journal.Copied) { said = c })
		if err != nil || (got != journal.Copied{Scopes: 2, Runs: 6, Accounts: 5002}) || said.Accounts != 5002 {
			t.Fatalf("%+v, %+v, %v", got, said, err)
		}
	}
	if _, err := journal.Copy(ctx, sqlite.Archive{Journal: first}, Archive{shared}, func(journal.Copied) {}); !errors.Is(err, journal.ErrNotEmpty) {
		t.Errorf("into one that is not empty: %v", err)
	}
	for _, destination := range []string{"here\nby two lines", "there"} {
		want := read(t, first, destination, ids)
		for name, j := range map[string]journal.Journal{"in the database": shared, "in the last": last} {
			if diff := cmp.Diff(want, read(t, j, destination, ids)); diff != "" {
				t.Errorf("%s (-first +copy):\n%.2000s", name, diff)
			}
		}
		if len(want.Entries) != 2501 || len(want.Reasons) != 6 || len(want.Payloads) != 5 || want.Before["u00003"] != "before u00003" || !want.Entries[0].InDoubt {
			t.Errorf("there was less to copy: %d, %v, %+v", len(want.Entries), slices.Sorted(maps.Keys(want.Reasons)), want.Entries[0])
		}
	}
	// The next run has a number of its own.
	s, err := shared.Scope(ctx, "public", "there")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := s.Runs.Begin(journal.Run{}); err != nil || id != 7 {
		t.Errorf("the next run is %d, %v", id, err)
	}
}

// A copy that was broken off is no journal.
func TestBrokenCopyIsRefused(t *testing.T) {
	t.Parallel()
	_, o := somewhere(t)
	dir := t.TempDir()
	shared, _ := start(t, o)
	folder, err := sqlite.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Archive{shared}.Copying(t.Context(), true), sqlite.Archive{Journal: folder}.Copying(t.Context(), true), folder.Close()); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(context.Context) error{
		"folder":              func(ctx context.Context) error { _, err := sqlite.Open(ctx, dir); return err },
		"folder, to look":     func(ctx context.Context) error { _, err := sqlite.Read(ctx, dir); return err },
		"PostgreSQL":          func(ctx context.Context) error { _, err := Open(ctx, o); return err },
		"PostgreSQL, to look": func(ctx context.Context) error { _, err := Read(ctx, o); return err },
	} {
		if err := open(t.Context()); code(err) != diag.JournalIncomplete {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Archive{shared}).Copying(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), o); err != nil {
		t.Error(err)
	}
}

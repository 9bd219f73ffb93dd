package journaltest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

func outcomesReplaceMarks(t *testing.T, p *place) {
	j, s := p.start(t)
	if _, err := s.Mark(1, []journal.Entry{{SourceID: "b", VisibleID: "v\"b", Class: pluginapi.NoPassword}, {SourceID: "a", VisibleID: "va"}}); err != nil {
		t.Fatal(err)
	}
	j, s = p.crash(t, j)
	got := entries(t, s)
	if len(got) != 2 || got[1].VisibleID != "v\"b" || got[1].Class != pluginapi.NoPassword || got[1].Run != 1 {
		t.Fatalf("after a crash: %+v", got)
	}
	for _, e := range got {
		if !e.InDoubt || e.Action != pluginapi.InDoubt || e.Digest != nil {
			t.Errorf("after a crash: %+v", e)
		}
	}
	done := journal.Entry{
		SourceID: "a", VisibleID: "va", TargetID: "ta", Action: pluginapi.Created, Class: pluginapi.HashCarried,
		Digest: []byte{1}, State: []byte{2}, Origin: journal.Made, Run: 1,
	}
	batch, err := s.Mark(1, []journal.Entry{done})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Record(batch, []journal.Entry{done}); err != nil {
		t.Fatal(err)
	}
	j, s = p.crash(t, j)
	got = entries(t, s)
	equal(t, "recorded", done, got[0], ignoreTime)
	if !got[1].InDoubt {
		t.Error("the other account is no longer pending")
	}
	// A second mark keeps what is known from before.
	if _, err := s.Mark(2, []journal.Entry{{SourceID: "a", VisibleID: "va"}}); err != nil {
		t.Fatal(err)
	}
	_, s = p.crash(t, j)
	again := entries(t, s)[0]
	if !again.InDoubt || again.Origin != journal.Made || string(again.State) != "\x02" || again.TargetID != "ta" || again.Run != 2 {
		t.Errorf("after the second mark: %+v", again)
	}
	for _, id := range []string{"a", "va", "ta"} {
		if e, ok, err := s.Account(t.Context(), id); err != nil || !ok || e.SourceID != "a" {
			t.Errorf("account by %s: %+v, %v, %v", id, e, ok, err)
		}
	}
	if _, ok, err := s.Account(t.Context(), "nobody"); ok || err != nil {
		t.Errorf("nobody: %v, %v", ok, err)
	}
	if err := s.Forget([]string{"a"}); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, s); len(got) != 1 || got[0].SourceID != "b" {
		t.Errorf("after forgetting: %+v", got)
	}
}

// Whatever was confirmed is there after a crash, and nobody is in doubt who was not sent.
func crashAtEveryRecord(t *testing.T, p *place) {
	j, s := p.start(t)
	want := map[string]bool{} // whether the account is in doubt
	for step := range 6 {
		var all []journal.Entry
		for n := range 3 {
			all = append(all, journal.Entry{SourceID: fmt.Sprintf("%d-%d", step/2, n), Action: pluginapi.Created, Origin: journal.Made})
		}
		batch, err := s.Mark(1, all)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			want[all[i].SourceID] = true
		}
		if step%2 == 1 {
			if err := s.Record(batch, all); err != nil {
				t.Fatal(err)
			}
			for i := range all {
				want[all[i].SourceID] = false
			}
		}
		j, s = p.crash(t, j)
		got := map[string]bool{}
		for _, e := range entries(t, s) {
			got[e.SourceID] = e.InDoubt
		}
		equal(t, fmt.Sprintf("after step %d", step), want, got)
	}
}

// Who only looks sees what a killed run has sent as the next run will, and leaves the
// journal as it is.
func readerSeesMarks(t *testing.T, p *place) {
	j, s := p.start(t)
	record(t, s,
		journal.Entry{SourceID: "a", VisibleID: "va", TargetID: "ta", Action: pluginapi.Created, Origin: journal.Made, Digest: []byte{1}, State: []byte{2}, Run: 1},
		journal.Entry{SourceID: "d", VisibleID: "vd", TargetID: "td", Action: pluginapi.Created, Origin: journal.Made, Run: 1},
	)
	for _, name := range []string{"here", "elsewhere"} {
		if _, err := scope(t, j, name).Mark(2, []journal.Entry{{SourceID: "c", VisibleID: "v\"" + name, Class: pluginapi.NoPassword}, {SourceID: "a", VisibleID: "va"}}); err != nil {
			t.Fatal(err)
		}
	}
	looked := scope(t, p.read(t), "here")
	seen := entries(t, looked)
	one, ok, err := looked.Get(t.Context(), "c")
	if err != nil || !ok || !one.InDoubt || one.VisibleID != "v\"here" {
		t.Errorf("get: %+v, %v, %v", one, ok, err)
	}
	if found, ok, err := looked.Account(t.Context(), "v\"here"); err != nil || !ok || found.SourceID != "c" {
		t.Errorf("by visible id: %+v, %v, %v", found, ok, err)
	}
	_, s = p.crash(t, j) // takes the marks in
	later := entries(t, s)
	for i := range later { // of one that had an outcome, the run and time of the mark count then
		if later[i].SourceID == "a" {
			later[i].Run, later[i].At = seen[i].Run, seen[i].At
		}
	}
	equal(t, "what a reader sees", later, seen)
	if len(seen) != 3 || !seen[0].InDoubt || seen[2].InDoubt {
		t.Errorf("%+v", seen)
	}
}

// What an entry answers is the same whether the database or an entry says it, and comes in the
// order of bytes, in which sources are.
func answersAndOrder(t *testing.T, p *place) {
	_, s := p.start(t)
	var all []journal.Entry
	for i, id := range []string{"Z", "a", "\u00e9", "\U0001F600", "\uffee", "a\x00b", "a\x01b", "a\x01", "a", "A", "-", "a b"} {
		for _, action := range []pluginapi.Action{pluginapi.Created, pluginapi.Updated, pluginapi.Unchanged, pluginapi.Rejected, pluginapi.Skipped, pluginapi.InDoubt} {
			for _, targetID := range []string{"", "t"} {
				for _, origin := range []journal.Origin{journal.Unclear, journal.Made, journal.Adopted, journal.Found} {
					all = append(all, journal.Entry{
						SourceID: fmt.Sprintf("%s%d-%s-%s-%s", id, i/8, action, targetID, origin), VisibleID: "v" + id, TargetID: targetID, Action: action, Origin: origin,
						InDoubt: i%2 == 0, Digest: []byte(id),
					})
				}
			}
		}
	}
	record(t, s, all...)
	payloads, open := map[string]journal.Payload{}, 0
	for _, e := range all {
		payloads[e.SourceID] = journal.Payload{Digest: []byte{1}, Encrypted: []byte{2}}
	}
	if err := s.Rejects.KeepPayloads(payloads); err != nil { // of those alone that are open
		t.Fatal(err)
	}
	for _, e := range all[:96] {
		_, kept, err := s.Rejects.Payload(t.Context(), e.SourceID)
		if err != nil || kept != e.Open() {
			t.Errorf("%q is open for an entry: %v, for the database: %v, %v", e.SourceID, e.Open(), kept, err)
		}
		if kept {
			open++
		}
	}
	if open == 0 || open == 96 {
		t.Errorf("%d of 96 are open", open)
	}
	slices.SortFunc(all, func(x, y journal.Entry) int { return strings.Compare(x.SourceID, y.SourceID) })
	var want, got []journal.Known
	for _, e := range all {
		want = append(want, e.Known())
	}
	for k, err := range s.Known(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		k.Digest = slices.Clone(k.Digest)
		got = append(got, k)
	}
	equal(t, "known", want, got)
	equal(t, "accounts", all, entries(t, s), ignoreTime)
	for _, e := range all[:20] {
		one, found, err := s.Get(t.Context(), e.SourceID)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		equal(t, "one", e, one, ignoreTime)
	}
}

// Of an account that a batch has twice, the last entry counts.
func lastCounts(t *testing.T, p *place) {
	j, s := p.start(t)
	record(t, s, journal.Entry{SourceID: "a", TargetID: "1", Before: []byte("one")}, journal.Entry{SourceID: "b"}, journal.Entry{SourceID: "a", TargetID: "2", Before: []byte("two")})
	for range 2 {
		if _, err := s.Mark(3, []journal.Entry{{SourceID: "a", VisibleID: "x"}, {SourceID: "c"}, {SourceID: "a", VisibleID: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	_, s = p.crash(t, j)
	got := entries(t, s)
	if len(got) != 3 || got[0].TargetID != "2" || !got[0].InDoubt || got[1].InDoubt || !got[2].InDoubt {
		t.Errorf("%+v", got)
	}
	if before, err := s.Before(t.Context(), "a"); err != nil || string(before) != "one" {
		t.Errorf("pre-image %q, %v", before, err)
	}
}

// Who reads a journal can be stopped, though the database is not told.
func readingEnds(t *testing.T, p *place) {
	_, s := p.start(t)
	record(t, s, journal.Entry{SourceID: "a"}, journal.Entry{SourceID: "b"}, journal.Entry{SourceID: "c"})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var read []string
	var failed error
	for k, err := range s.Known(ctx) {
		failed = err
		if err == nil {
			read = append(read, k.SourceID)
		}
		stop()
	}
	if !errors.Is(failed, context.Canceled) || len(read) != 1 {
		t.Errorf("%q were read after the context had ended, with %v", read, failed)
	}
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context: %v", err)
	}
}

// Whoever is in the middle of all accounts keeps neither readers waiting nor the writer.
func readingCanBeLeft(t *testing.T, p *place) {
	_, s := p.start(t)
	for n := range 3 {
		record(t, s, journal.Entry{SourceID: fmt.Sprint("u", n)})
	}
	var stops []func()
	for range 20 {
		next, stop := iter.Pull2(s.Known(t.Context()))
		stops = append(stops, stop)
		if k, err, ok := next(); err != nil || !ok || k.SourceID != "u0" {
			t.Fatal(k, err, ok)
		}
	}
	if _, ok, err := s.Get(t.Context(), "u2"); err != nil || !ok {
		t.Error(ok, err)
	}
	record(t, s, journal.Entry{SourceID: "v"})
	for _, stop := range stops {
		stop()
	}
	for _, err := range s.Accounts(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if n := len(entries(t, s)); n != 4 {
		t.Errorf("%d accounts", n)
	}
}

// Readers see whole entries in order while somebody writes, and nobody who is there is
// passed over.
func besideTheWriter(t *testing.T, p *place) {
	_, s := p.start(t)
	const there = 500
	var first []journal.Entry
	for n := range there {
		first = append(first, journal.Entry{SourceID: fmt.Sprintf("u%05d", n), VisibleID: "v", Digest: []byte{1}})
	}
	record(t, s, first...)
	reader := scope(t, p.read(t), "here")
	done := make(chan struct{})
	var work sync.WaitGroup
	for range 2 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				n, last := 0, ""
				for e, err := range reader.Accounts(t.Context()) {
					if err != nil {
						t.Error(err)
						return
					}
					if e.SourceID <= last || e.VisibleID != "v" || len(e.Digest) != 1 {
						t.Errorf("%+v after %s", e, last)
					}
					last = e.SourceID
					n++
				}
				if n < there {
					t.Errorf("%d accounts", n)
				}
			}
		})
	}
	for round := range 20 {
		batch := make([]journal.Entry, 50)
		for i := range batch {
			batch[i] = journal.Entry{SourceID: fmt.Sprintf("u%05d-%d", i*10, round), VisibleID: "v", Digest: []byte{1}}
		}
		record(t, s, batch...)
	}
	close(done)
	work.Wait()
}

// Batches of several workers are recorded each as a whole, however they share transactions.
func writersShare(t *testing.T, p *place) {
	_, s := p.start(t)
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for n := range 5 {
				all := []journal.Entry{{SourceID: fmt.Sprintf("%d-%d", w, n), Origin: journal.Made}, {SourceID: fmt.Sprintf("%d-%d+", w, n), Origin: journal.Made}}
				batch, err := s.Mark(1, all)
				if err == nil {
					err = s.Record(batch, all)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	for _, e := range entries(t, s) {
		if e.InDoubt {
			t.Errorf("%s is in doubt", e.SourceID)
		}
	}
	if n := len(entries(t, s)); n != 80 {
		t.Errorf("%d accounts", n)
	}
}

// What cannot be stored is an error, loses nothing of what was confirmed, and the journal
// goes on once there is room.
func errorsWhileRecording(t *testing.T, p *place) {
	j, s := p.start(t)
	entry := func(n int) journal.Entry {
		return journal.Entry{SourceID: fmt.Sprintf("u%05d", n), Action: pluginapi.Created, State: make([]byte, 1000), Origin: journal.Made}
	}
	confirmed := 0
	for ; confirmed < 3; confirmed++ {
		record(t, s, entry(confirmed))
	}
	batch, err := s.Mark(1, []journal.Entry{{SourceID: "sent"}})
	if err != nil {
		t.Fatal(err)
	}
	heal, err := p.Fail(j)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	for failed == nil {
		if failed = s.Record(batch, []journal.Entry{entry(confirmed)}); failed == nil {
			confirmed++
			batch = 0
		}
		if confirmed > 1000 {
			t.Fatal("the disk is never full")
		}
	}
	if err := p.Crash(j); err != nil {
		t.Fatal(err)
	}
	if err := heal(); err != nil {
		t.Fatal(err)
	}
	_, s = p.start(t)
	got := 0
	for _, e := range entries(t, s) {
		if e.SourceID != "sent" {
			got++
		} else if !e.InDoubt {
			t.Error("what was sent is not in doubt")
		}
	}
	if got != confirmed {
		t.Errorf("%d accounts are left of %d that were confirmed; %v", got, confirmed, failed)
	}
	record(t, s, entry(confirmed))
}

// The first pre-image is the one from before this program came.
func firstPreImageStays(t *testing.T, p *place) {
	_, s := p.start(t)
	for _, before := range []string{"first", "second"} {
		record(t, s, journal.Entry{SourceID: "x", Before: []byte(before)})
	}
	if before, err := s.Before(t.Context(), "x"); err != nil || string(before) != "first" {
		t.Errorf("pre-image %q, %v", before, err)
	}
	if before, err := s.Before(t.Context(), "y"); err != nil || before != nil {
		t.Errorf("pre-image of nobody %q, %v", before, err)
	}
	if before, err := scope(t, p.read(t), "here").Before(t.Context(), "x"); err != nil || string(before) != "first" {
		t.Errorf("pre-image for a reader %q, %v", before, err)
	}
}

// An account that was switched off keeps when, and what it was; what it was goes when it is
// on again.
func disabledAccounts(t *testing.T, p *place) {
	_, s := p.start(t)
	at := time.UnixMilli(1_700_000_000_123)
	made := journal.Entry{SourceID: "a", VisibleID: "a", TargetID: "t", Action: pluginapi.Created, Origin: journal.Made}
	off := made
	off.DisabledAt, off.Before = at, []byte("before")
	again := off
	again.Before = []byte("later")
	anew := again
	anew.Before, anew.Anew = []byte("anew"), true
	on := made
	on.Before = []byte{}
	for _, step := range []struct {
		entry  journal.Entry
		at     time.Time
		before string
	}{{made, time.Time{}, ""}, {off, at, "before"}, {again, at, "before"}, {anew, at, "anew"}, {on, time.Time{}, ""}, {again, at, "later"}} {
		record(t, s, step.entry)
		e, _, err := s.Get(t.Context(), "a")
		before, beforeErr := s.Before(t.Context(), "a")
		if err != nil || beforeErr != nil || !e.DisabledAt.Equal(step.at) || string(before) != step.before {
			t.Errorf("%v, %q, %v, %v; want %v, %q", e.DisabledAt, before, err, beforeErr, step.at, step.before)
		}
	}
}

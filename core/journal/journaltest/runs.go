package journaltest

import (
	"bytes"
	"testing"
	"time"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

func scopesAreApart(t *testing.T, p *place) {
	j, one := p.start(t)
	two := scope(t, j, "there")
	record(t, one, journal.Entry{SourceID: "a", Before: []byte("b")})
	if err := one.Plugin.Save(t.Context(), "job", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Runs.Begin(journal.Run{Settings: []byte{}}); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, two); len(got) != 0 || len(saved(t, two)) != 0 {
		t.Errorf("the other scope holds %+v, %v", got, saved(t, two))
	}
	if before, err := two.Before(t.Context(), "a"); before != nil || err != nil {
		t.Errorf("the other scope has a pre-image: %v", err)
	}
	if _, ok, err := two.Runs.Last(t.Context(), true); ok || err != nil {
		t.Errorf("the other scope has a run: %v", err)
	}
	if err := two.Clear(); err != nil || len(entries(t, one)) != 1 {
		t.Errorf("clearing the other: %v, %v", entries(t, one), err)
	}
	if err := one.Plugin.Save(t.Context(), "job", nil); err != nil || len(saved(t, one)) != 0 {
		t.Errorf("removed: %v, %v", saved(t, one), err)
	}
}

func survivesClosing(t *testing.T, p *place) {
	j, s := p.start(t)
	key := j.FingerprintKey()
	record(t, s, journal.Entry{SourceID: "x", Before: []byte("what it was")})
	id, err := s.Runs.Begin(journal.Run{Source: "s", Target: "t", Settings: []byte{9}, Began: time.UnixMilli(5)})
	if err != nil || id != 1 {
		t.Fatalf("begin: %d, %v", id, err)
	}
	for _, value := range [][]byte{[]byte("one"), {}, {0, 1}} {
		if err := s.Plugin.Save(t.Context(), "k", value); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, s = p.start(t)
	if !bytes.Equal(j.FingerprintKey(), key) || len(key) != 32 {
		t.Error("the key has changed")
	}
	if before, err := s.Before(t.Context(), "x"); err != nil || string(before) != "what it was" {
		t.Errorf("pre-image %q, %v", before, err)
	}
	equal(t, "saved", map[string][]byte{"k": {0, 1}}, saved(t, s))
	if _, ok, err := s.Runs.Last(t.Context(), false); ok || err != nil {
		t.Errorf("an unfinished run counts as finished: %v", err)
	}
	if r, ok, err := s.Runs.Last(t.Context(), true); !ok || err != nil || r.ID != 1 || !r.Ended.IsZero() {
		t.Errorf("unfinished run: %+v, %v", r, err)
	}
	if err := s.Runs.End(1, time.UnixMilli(9), map[string]int{"read": 1}); err != nil {
		t.Fatal(err)
	}
	r, ok, err := s.Runs.Last(t.Context(), false)
	if !ok || err != nil || string(r.Result) != `{"read":1}` || r.Ended.UnixMilli() != 9 || r.Source != "s" || r.Target != "t" || string(r.Settings) != "\t" {
		t.Errorf("finished run: %+v, %v", r, err)
	}
	for n := range 3 {
		if err := s.Runs.AddSample(1, journal.Sample{At: time.UnixMilli(int64(10 - n)), Done: 3 - n}); err != nil {
			t.Fatal(err)
		}
	}
	samples, err := s.Runs.Samples(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "samples", []journal.Sample{{At: time.UnixMilli(8), Done: 1}, {At: time.UnixMilli(9), Done: 2}, {At: time.UnixMilli(10), Done: 3}}, samples)
}

// Only a run over all accounts that came to its end says what settings they are compared with.
func settings(t *testing.T, p *place) {
	_, s := p.start(t)
	for _, run := range []struct {
		settings string
		result   any
		want     string
	}{
		{"one", map[string]string{}, "one"},
		{"two", nil, "one"}, // killed
		{"three", map[string]string{"error": "stopped"}, "one"},
		{"", map[string]string{}, "one"}, // restricted
		{"four", map[string]string{}, "four"},
	} {
		id, err := s.Runs.Begin(journal.Run{Settings: []byte(run.settings), Reading: []byte("r" + run.settings), Began: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if run.result != nil {
			if err := s.Runs.End(id, time.Now(), run.result); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Runs.Settings(t.Context()); err != nil || string(got) != run.want {
			t.Errorf("after %+v: %q, %v", run, got, err)
		}
		if all, err := s.Runs.Readings(t.Context()); err != nil || string(all[id]) != "r"+run.settings {
			t.Errorf("readings: %v, %v", all, err)
		}
	}
}

func newestFirst(t *testing.T, p *place) {
	_, s := p.start(t)
	var ids []int64
	for range 3 {
		id, err := s.Runs.Begin(journal.Run{Source: "s", Target: "t", Settings: []byte("x"), Began: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := s.Runs.End(ids[1], time.Now(), map[string]int{"read": 1}); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs.List(t.Context(), 2)
	if err != nil || len(runs) != 2 || runs[0].ID != ids[2] || !runs[0].Ended.IsZero() || runs[1].Ended.IsZero() || string(runs[1].Result) != `{"read":1}` {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A run whose last step has failed leaves those in doubt that it has written.
func doubt(t *testing.T, p *place) {
	_, s := p.start(t)
	record(t, s,
		journal.Entry{SourceID: "a", Action: pluginapi.Created, Origin: journal.Made, Digest: []byte{1}, State: []byte{2}, Run: 7},
		journal.Entry{SourceID: "b", Action: pluginapi.Rejected, Digest: []byte{1}, Run: 7},
		journal.Entry{SourceID: "c", Action: pluginapi.Updated, Origin: journal.Adopted, Digest: []byte{1}, Run: 6},
	)
	if err := s.Runs.Doubt(7); err != nil {
		t.Fatal(err)
	}
	got := entries(t, s)
	if !got[0].InDoubt || got[0].Digest != nil || got[0].State == nil || got[1].InDoubt || got[1].Digest == nil || got[2].InDoubt || got[2].Digest == nil {
		t.Errorf("%+v", got)
	}
}

// secret is what nobody may find in what is kept.
const secret = "ada@example.org and her hash"

func contentsAreEncrypted(t *testing.T, p *place) {
	j, s := p.start(t)
	record(t, s, journal.Entry{SourceID: "x", Before: []byte(secret)}, journal.Entry{SourceID: "y", Before: []byte(secret)})
	if err := s.Rejects.KeepReasons(map[string]journal.Reason{"x": {Detail: secret}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := p.Recorded()
	if err != nil || len(raw) == 0 {
		t.Fatal(len(raw), err)
	}
	if bytes.Contains(raw, []byte(secret)) || bytes.Contains(raw, []byte("ada@")) {
		t.Error("what was there before can be read")
	}
	if bytes.Contains(raw, []byte("her hash")) {
		t.Error("a part of it can be read")
	}
}

func reasons(t *testing.T, p *place) {
	j, s := p.start(t)
	other := scope(t, j, "another")
	words := journal.Reason{Detail: "User exists", Hint: "merge", Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "admin"}}, Run: 2}
	for _, reasons := range []map[string]journal.Reason{{"a": {Detail: "old"}}, {"a": words, "b": words}} {
		if err := s.Rejects.KeepReasons(reasons); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b"} {
		got, ok, err := s.Rejects.Reason(t.Context(), id)
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", id, ok, err)
		}
		equal(t, id, words, got)
	}
	if _, ok, err := other.Rejects.Reason(t.Context(), "a"); ok || err != nil {
		t.Errorf("another target knows it: %v, %v", ok, err)
	}
	record(t, s, journal.Entry{SourceID: "a", Action: pluginapi.Rejected})
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.Rejects.Reason(t.Context(), "a"); ok {
		t.Error("a reason outlives Clear")
	}
	if _, ok, _ := s.Get(t.Context(), "a"); ok {
		t.Error("an account outlives Clear")
	}
}

// A rejected account is kept until it is loaded, for its own target.
func payloads(t *testing.T, p *place) {
	j, s := p.start(t)
	other := scope(t, j, "elsewhere")
	for _, s := range []*journal.Scope{s, other} {
		record(t, s, journal.Entry{SourceID: "a", Action: pluginapi.Rejected}, journal.Entry{SourceID: "b", Action: pluginapi.Rejected})
	}
	for _, version := range []byte{1, 2} {
		all := map[string]journal.Payload{"a": {Digest: []byte{version}, Encrypted: []byte{version, 7}}, "b": {Digest: []byte{version}, Encrypted: []byte{version}}}
		if err := s.Rejects.KeepPayloads(all); err != nil {
			t.Fatal(err)
		}
	}
	record(t, s, journal.Entry{SourceID: "b", Action: pluginapi.Created, TargetID: "tb"})
	if err := s.Rejects.KeepPayloads(nil); err != nil {
		t.Fatal(err)
	}
	got, ok, err := s.Rejects.Payload(t.Context(), "a")
	if err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
	equal(t, "payload", journal.Payload{Digest: []byte{2}, Encrypted: []byte{2, 7}}, got)
	for id, scope := range map[string]*journal.Scope{"b": s, "a": other} {
		if _, ok, err := scope.Rejects.Payload(t.Context(), id); ok || err != nil {
			t.Errorf("%s is kept: %v, %v", id, ok, err)
		}
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.Rejects.Payload(t.Context(), "a"); ok {
		t.Error("a payload outlives Clear")
	}
}

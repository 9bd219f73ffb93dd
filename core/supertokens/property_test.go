package supertokens

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// everything is what a source says: accounts with their secrets, their warnings,
// and orphans, in order.
func everything(t *testing.T, s *Source) []string {
	t.Helper()
	var lines, orphans []string
	err := s.Read(t.Context(), func(b Batch) error {
		for _, o := range b.Orphans {
			orphans = append(orphans, "orphan "+o.Table+" "+o.ID)
		}
		for i := range b.Users {
			line, err := b.Users[i].RevealJSON()
			if err != nil {
				return err
			}
			lines = append(lines, string(line))
			for _, w := range b.Users[i].Warnings {
				lines = append(lines, b.Users[i].InternalID+" "+w.Code+" "+w.Detail)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(orphans)
	return append(lines, orphans...)
}

// TestAnySplitGivesTheSame cuts the id space at random places, among them some
// that no id is near, and reads everything again.
func TestAnySplitGivesTheSame(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Options{Dump: fixture.Dump(t, name), Audit: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			want := everything(t, s)
			ids := []string{"", "-", "f", "~", "ext", "zzz"}
			for _, line := range want {
				var u struct {
					Internal string `json:"internalId"`
					Visible  string `json:"visibleId"`
				}
				if json.Unmarshal([]byte(line), &u) == nil {
					ids = append(ids, u.Internal, u.Visible, u.Internal[:len(u.Internal)/2])
				}
			}
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			for range 20 {
				var bounds []string
				for range random.IntN(40) {
					bounds = append(bounds, ids[random.IntN(len(ids))])
				}
				slices.Sort(bounds)
				bounds = slices.Compact(bounds)
				again, err := Open(t.Context(), Options{Dump: fixture.Dump(t, name), Audit: true})
				if err != nil {
					t.Fatal(err)
				}
				repartition(t, again, limits{redirects: 1 + random.IntN(100), parts: 1 + random.IntN(20)}, bounds)
				if diff := gocmp.Diff(want, everything(t, again)); diff != "" {
					t.Fatalf("seed %d, %d in a partition, %d parts of redirects, cut at %q (-whole +cut):\n%s", seed, again.partitioner.perPart, again.partitioner.redirects.parts, bounds, diff)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// cutter passes connections on to a server and breaks some of them.
type cutter struct {
	listener net.Listener
	server   string
	// after is how many bytes of the server reach the client before the
	// connection breaks; 0 means all. Each connection takes the next one.
	mu    sync.Mutex
	after []int64
	cuts  atomic.Int32
}

func newCutter(t *testing.T, dsn string, after ...int64) (throughCutter string, c *cutter) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c = &cutter{server: u.Host, after: after}
	if c.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() {
		_ = c.listener.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			client, err := c.listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { c.serve(client) })
		}
	})
	u.Host = c.listener.Addr().String()
	return u.String(), c
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	var limit int64
	c.mu.Lock()
	if len(c.after) > 0 {
		limit, c.after = c.after[0], c.after[1:]
	}
	c.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	if limit == 0 {
		_, _ = io.Copy(client, server)
		return
	}
	if _, err := io.CopyN(client, server, limit); err == nil {
		c.cuts.Add(1)
	}
}

// TestConnectionCutInTheMiddle breaks the reading connections of a live database
// after so many bytes that it happens inside of a table, again and again at
// other places. The connection that holds the snapshot stays.
func TestConnectionCutInTheMiddle(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	for _, after := range []int64{2_000, 5_000, 9_000, 14_000, 25_000, 40_000} {
		through, c := newCutter(t, dsn, 0, after, after*3/2) // the first connection holds the snapshot
		got, _, _, _ := export(t, Options{URL: canonical.NewSecret(through), RangeSize: 10})
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("cut after %d bytes (-undisturbed +disturbed):\n%s", after, diff)
		}
		if after <= 25_000 && c.cuts.Load() == 0 {
			t.Errorf("cut after %d bytes: no connection was cut", after)
		}
	}
}

// FuzzMetadata: whatever an application has stored, the account stays valid
// JSON, and JSON stays as it was stored.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[1]`, `{"a":{"b":[1.0,12345678901234567890]}}`, `{"isUsingTemporaryPassword":true}`, `{"name":"Ã\u0081"}`,
		`{"k":"\u00c3\u00a9"}`, "not json", "", "{\"a\":\"\xff\"}", `{"a":1,"a":2}`, "\x00", ` { "b" : 1 } `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		u := canonical.User{}
		(&assembler{}).metadata(&u, stored)
		if stored == nil {
			return
		}
		if !json.Valid(u.Metadata) {
			t.Fatalf("%q became %q, which is not JSON", stored, u.Metadata)
		}
		if json.Valid(stored) && !bytes.Equal(u.Metadata, stored) {
			t.Fatalf("%q became %q", stored, u.Metadata)
		}
		line, err := u.RevealJSON()
		if err != nil {
			t.Fatalf("%q cannot be exported: %v", stored, err)
		}
		var back struct{ Metadata json.RawMessage }
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("%q was exported as %q: %v", stored, line, err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, u.Metadata); err != nil {
			t.Fatal(err)
		}
		if got := string(back.Metadata); got != want.String() && (got != "" || want.String() != "null") {
			t.Fatalf("%q was exported as %s", want.String(), got)
		}
		for _, w := range u.Warnings {
			if len(stored) > 40 && strings.Contains(w.Detail, string(stored)) {
				t.Fatalf("a warning shows the metadata: %s", w.Detail)
			}
		}
	})
}

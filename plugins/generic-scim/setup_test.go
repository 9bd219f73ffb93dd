package scim

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
)

// The password is "testpass".
const bcryptHash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

func yes() *bool { v := true; return &v }

// person is an ordinary user; change adapts it.
func person(n int, change ...func(*sdk.User)) sdk.User {
	u := sdk.User{
		SourceID: fmt.Sprintf("source-%d", n),
		ID:       fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		Username: fmt.Sprintf("user%d@example.com", n), Email: fmt.Sprintf("user%d@example.com", n),
		GivenName: "Ada", FamilyName: fmt.Sprintf("Number %d", n),
		EmailVerified: yes(), Enabled: true, Created: time.UnixMilli(1_700_000_000_123),
		Password: canonical.ParsePasswordHash(bcryptHash), Class: sdk.NeedsReset,
		Tenants: []string{"public"},
	}
	for _, f := range change {
		f(&u)
	}
	return u
}

func people(from, to int) []sdk.User {
	var out []sdk.User
	for n := from; n <= to; n++ {
		out = append(out, person(n))
	}
	return out
}

// book collects outcomes.
type book struct {
	mu   sync.Mutex
	byID map[string]sdk.Change
	t    testing.TB
}

func newBook(t testing.TB) *book { return &book{t: t, byID: map[string]sdk.Change{}} }

func (b *book) record(c sdk.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, ok := b.byID[c.SourceID]; ok {
		b.t.Errorf("second outcome of %s: %v after %v", c.SourceID, c.Action, was.Action)
	}
	b.byID[c.SourceID] = c
}

type outcomes struct{ *book }

func (o outcomes) Report(out sdk.Outcome) { o.record(sdk.Change{Outcome: out}) }

type changes struct{ *book }

func (c changes) Report(change sdk.Change) { c.record(change) }

// counts is action to number of users.
func (b *book) counts() map[sdk.Action]int {
	out := map[sdk.Action]int{}
	for _, c := range b.byID {
		out[c.Action]++
	}
	return out
}

// of gives action and code of one user, as "rejected load.username_conflict".
func (b *book) of(source string) string {
	c := b.byID[source]
	return strings.TrimSpace(string(c.Action) + " " + string(c.Code))
}

// backOffNot is for tests that need no pauses.
func backOffNot(int, time.Duration) time.Duration { return time.Millisecond }

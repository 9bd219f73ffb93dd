package keycloak

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
)

const (
	// The password of all of them is "testpass".
	argon2Hash = "$argon2id$v=19$m=87795,t=1,p=2$MDEyMzQ1Njc4OWFiY2RlZg$sNKznPF1BV4VQoRexVINndQnYd7QV9WZ59fKGV59v48"
	bcryptHash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
)

var joined = time.UnixMilli(1_700_000_000_123)

func secretOf(s string) sdk.Secret { return sdk.NewSecret(s) }

func yes() *bool { v := true; return &v }

// person is an ordinary user; change adapts it.
func person(n int, change ...func(*sdk.User)) sdk.User {
	u := sdk.User{
		SourceID: fmt.Sprintf("source-%d", n),
		ID:       fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		Username: fmt.Sprintf("user%d@example.com", n), Email: fmt.Sprintf("user%d@example.com", n),
		EmailVerified: yes(), Enabled: true, Created: joined,
		Password: canonical.ParsePasswordHash(bcryptHash), Class: sdk.HashCarried,
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

// of gives action and code of one user, as "rejected load.email_conflict".
func (b *book) of(source string) string {
	c := b.byID[source]
	return strings.TrimSpace(string(c.Action) + " " + string(c.Code))
}

func load(t testing.TB, target sdk.Target, users []sdk.User) *book {
	t.Helper()
	b := newBook(t)
	if err := target.Load(t.Context(), users, outcomes{b}); err != nil {
		t.Fatalf("load: %v", err)
	}
	if len(b.byID) != len(users) {
		t.Fatalf("%d outcomes for %d users", len(b.byID), len(users))
	}
	return b
}

func plan(t testing.TB, target sdk.Planner, users []sdk.User) *book {
	t.Helper()
	b := newBook(t)
	if err := target.Plan(t.Context(), users, changes{b}); err != nil {
		t.Fatalf("plan: %v", err)
	}
	return b
}

// open makes a live target that does not wait long between attempts.
func open(t testing.TB, c Config) *live {
	t.Helper()
	c = c.withDefaults()
	if err := c.validate().Err(); err != nil {
		t.Fatal(err)
	}
	l := newLive(c, sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test"})
	l.api.patience = func() []backoff.RetryOption {
		return []backoff.RetryOption{backoff.WithBackOff(backoff.NewConstantBackOff(time.Millisecond)), backoff.WithMaxTries(4)}
	}
	t.Cleanup(func() {
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func codes(l sdk.Diagnostics) []string {
	var out []string
	for _, d := range l {
		out = append(out, d.Severity.String()+" "+string(d.Code))
	}
	slices.Sort(out)
	return out
}

func jwtOf(claims any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

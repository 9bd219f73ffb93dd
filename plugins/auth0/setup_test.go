package auth0

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
)

const (
	// The password of all of them is "testpass".
	argon2Hash = "$argon2id$v=19$m=87795,t=1,p=2$MDEyMzQ1Njc4OWFiY2RlZg$sNKznPF1BV4VQoRexVINndQnYd7QV9WZ59fKGV59v48"
	tail       = "$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	bcryptHash = "$2a$11" + tail
)

var joined = time.UnixMilli(1_700_000_000_123)

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

// count returns how many users had an action.
func (b *book) count(a sdk.Action) (n int) {
	for _, c := range b.byID {
		if c.Action == a {
			n++
		}
	}
	return n
}

type outcomes struct{ *book }

func (o outcomes) Report(out sdk.Outcome) { o.record(sdk.Change{Outcome: out}) }

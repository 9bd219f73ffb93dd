// Package targettest calls the targets of plugins in tests as their host does, without
// the protocol between: people to load, and a book of what becomes of them.
package targettest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
)

// Hashes of the password "testpass".
const (
	Bcrypt = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	Argon2 = "$argon2id$v=19$m=87795,t=1,p=2$MDEyMzQ1Njc4OWFiY2RlZg$sNKznPF1BV4VQoRexVINndQnYd7QV9WZ59fKGV59v48"
)

// Joined is when everybody did.
var Joined = time.UnixMilli(1_700_000_000_123)

// Person is an ordinary user; change adapts it.
func Person(n int, change ...func(*sdk.User)) sdk.User {
	u := sdk.User{
		SourceID: fmt.Sprintf("source-%d", n),
		ID:       fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		Username: fmt.Sprintf("user%d@example.com", n), Email: fmt.Sprintf("user%d@example.com", n),
		EmailVerified: new(true), Enabled: true, Created: Joined,
		Password: canonical.ParsePasswordHash(Bcrypt), Class: sdk.HashCarried,
		Tenants: []string{"public"},
	}
	for _, f := range change {
		f(&u)
	}
	return u
}

// People are those from one number to another.
func People(from, to int, change ...func(*sdk.User)) []sdk.User {
	var out []sdk.User
	for n := from; n <= to; n++ {
		out = append(out, Person(n, change...))
	}
	return out
}

// Book collects outcomes, one for each user, and fails the test at a second one. It is
// an [sdk.Outcomes].
type Book struct {
	tb   testing.TB
	mu   sync.Mutex
	ByID map[string]sdk.Change // by source id
}

// NewBook returns an empty book.
func NewBook(tb testing.TB) *Book { return &Book{tb: tb, ByID: map[string]sdk.Change{}} }

// Report implements [sdk.Outcomes].
func (b *Book) Report(o sdk.Outcome) { changes{b}.Report(sdk.Change{Outcome: o}) }

// changes is a book as [sdk.Changes].
type changes struct{ *Book }

// Report implements [sdk.Changes].
func (b changes) Report(c sdk.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, ok := b.ByID[c.SourceID]; ok {
		b.tb.Errorf("second outcome of %s: %v after %v", c.SourceID, c.Action, was.Action)
	}
	b.ByID[c.SourceID] = c
}

// Counts is action to number of users.
func (b *Book) Counts() map[sdk.Action]int {
	out := map[sdk.Action]int{}
	for _, c := range b.ByID {
		out[c.Action]++
	}
	return out
}

// Of gives action and code of one user, as "rejected load.email_conflict".
func (b *Book) Of(source string) string {
	c := b.ByID[source]
	return strings.TrimSpace(string(c.Action) + " " + string(c.Code))
}

// Load loads users, each of whom has to get an outcome.
func Load(tb testing.TB, target sdk.Target, users []sdk.User) *Book {
	tb.Helper()
	b := NewBook(tb)
	if err := target.Load(tb.Context(), users, b); err != nil {
		tb.Fatalf("load: %v", err)
	}
	if len(b.ByID) != len(users) {
		tb.Fatalf("%d outcomes for %d users", len(b.ByID), len(users))
	}
	return b
}

// Plan asks what a load would do.
func Plan(tb testing.TB, target sdk.Planner, users []sdk.User) *Book {
	tb.Helper()
	b := NewBook(tb)
	if err := target.Plan(tb.Context(), users, changes{b}); err != nil {
		tb.Fatalf("plan: %v", err)
	}
	return b
}

// Undo takes accounts back.
func Undo(tb testing.TB, target sdk.Undoer, accounts []sdk.Account) *Book {
	tb.Helper()
	b := NewBook(tb)
	if err := target.Undo(tb.Context(), accounts, b); err != nil {
		tb.Fatalf("undo: %v", err)
	}
	return b
}

// Files reads what a target has written into a folder, for a conformance suite.
func Files(dir string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return "", err
		}
		var all strings.Builder
		for _, file := range files { // in the order of their names
			content, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			all.Write(content)
		}
		return all.String(), nil
	}
}

// RoleFiles reads what a role allows from a folder with a file for each role that allows
// something.
func RoleFiles(dir string) func(context.Context, string) ([]string, error) {
	return func(_ context.Context, role string) (permissions []string, err error) {
		raw, err := os.ReadFile(filepath.Join(dir, "role-"+hex.EncodeToString([]byte(role))))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return permissions, errors.Join(err, json.Unmarshal(raw, &permissions))
	}
}

package scim

import (
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/internal/targettest"
)

// What tests of all targets share.
const bcryptHash = targettest.Bcrypt

type book = targettest.Book

var (
	newBook          = targettest.NewBook
	load, plan, undo = targettest.Load, targettest.Plan, targettest.Undo
)

// needsReset gives people a name, which many providers insist on, and a password that a
// provider does not take.
func needsReset(u *sdk.User) {
	u.GivenName, u.FamilyName = "Ada", "Number "+strings.TrimPrefix(u.SourceID, "source-")
	u.Class = sdk.NeedsReset
}

func person(n int, change ...func(*sdk.User)) sdk.User {
	return targettest.Person(n, append([]func(*sdk.User){needsReset}, change...)...)
}

func people(from, to int) []sdk.User { return targettest.People(from, to, needsReset) }

// backOffNot is for tests that need no pauses.
func backOffNot(int) time.Duration { return time.Millisecond }

// quick are the waits of such tests.
var quick = httpx.Options{FirstWait: time.Millisecond, MaxElapsed: 2 * time.Second}

package auth0

import (
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
)

const (
	tail       = "$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	bcryptHash = "$2a$11" + tail // SuperTokens' usual cost
	argon2Hash = targettest.Argon2
)

// What tests of all targets share.
type book = targettest.Book

var newBook = targettest.NewBook

// usual gives people a hash of the usual cost.
func usual(u *sdk.User) { u.Password = canonical.ParsePasswordHash(bcryptHash) }

func person(n int, change ...func(*sdk.User)) sdk.User {
	return targettest.Person(n, append([]func(*sdk.User){usual}, change...)...)
}

func people(from, to int) []sdk.User { return targettest.People(from, to, usual) }

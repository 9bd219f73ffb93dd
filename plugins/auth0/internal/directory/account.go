// Package directory knows which accounts are in the tenant: it looks up a few one by one,
// and many in an export of all of them. It does not know what they belong to, which is
// read with other calls.
package directory

import (
	"encoding/json"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Account is a user as the tenant shows it, as far as a load sets it.
type Account struct {
	UserID        string                     `json:"user_id"`
	Email         string                     `json:"email"`
	EmailVerified bool                       `json:"email_verified"`
	Username      string                     `json:"username"`
	PhoneNumber   string                     `json:"phone_number"`
	PhoneVerified bool                       `json:"phone_verified"`
	GivenName     string                     `json:"given_name"`
	FamilyName    string                     `json:"family_name"`
	Name          string                     `json:"name"`
	Blocked       bool                       `json:"blocked"`
	LoginsCount   int                        `json:"logins_count"`
	CreatedAt     tenant.Time                `json:"created_at"`
	AppMetadata   map[string]json.RawMessage `json:"app_metadata"`
	UserMetadata  map[string]json.RawMessage `json:"user_metadata"`
	Identities    []struct {
		Connection string `json:"connection"`
	} `json:"identities"`
}

// exported are the fields of an export; without a list, nobody says which come.
var exported = []string{
	"user_id", "email", "email_verified", "username", "phone_number", "phone_verified", "given_name", "family_name", "name", "blocked",
	"logins_count", "created_at", "app_metadata", "user_metadata", "identities",
}

// Connection is that of the account's first identity, empty when the tenant does not show
// it.
func (a *Account) Connection() string {
	if len(a.Identities) == 0 {
		return ""
	}
	return a.Identities[0].Connection
}

// In reports whether the account is of a connection, as far as the tenant shows it.
func (a *Account) In(connection string) bool {
	c := a.Connection()
	return c == "" || c == connection
}

// Question is about one user.
type Question struct {
	// Known is the id of the account that a load has made for the user, empty when none is
	// known; ID is the id that the user would get.
	Known, ID string
	// Email is in lower case, Connection the one that the user belongs to.
	Email, Connection string
	// Ours says that an account carries the user's mark.
	Ours func(*Account) bool
}

// Holders are the accounts in the way of one user, nil where there is none: one that has
// its id, or one of its connection that has its address.
type Holders struct {
	ID, Email *Account
	// Known says that ID is the account that a load has made.
	Known bool
	// Err says why nobody knows. It is about this user only.
	Err error
}

// recognised are holders in which an account that carries the user's mark counts as its
// own, even when the tenant has changed the id.
func (h Holders) recognised(q *Question) Holders {
	if h.ID == nil && h.Email != nil && q.Ours(h.Email) {
		return Holders{ID: h.Email}
	}
	return h
}

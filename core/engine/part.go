package engine

import "github.com/stetl/stetl/core/canonical"

// Part is the part of the accounts that a run is about. [Choose], [Only] and a saved
// plan make one. In a [Result] it says how many were chosen of how many.
type Part struct {
	Flag  string `json:"flag"`
	Count int    `json:"count"`
	Of    int    `json:"of"`
	// Logins holds the ids that were given and are those of a way to sign in, each with
	// the source id of the account that it belongs to and has chosen.
	Logins map[string]string `json:"logins,omitempty"`

	has func(u *canonical.User) bool
}

// Only is the part that has these source ids.
func Only(flag string, ids map[string]bool) *Part {
	return &Part{Flag: flag, has: func(u *canonical.User) bool { return ids[u.InternalID] }}
}

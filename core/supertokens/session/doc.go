// Package session knows SuperTokens' sessions: the signing keys in every
// generation of its database, the access tokens that were made with them
// (versions 1 to 5, of which 1 and 2 are no standard JWTs), the refresh tokens,
// and the rows that keep a session alive.
//
// [ReadKeys] reads the keys of a database or a dump. [Open] connects to a live
// database; its [Store] verifies tokens from that database alone, without a
// SuperTokens core, says whose they are, and revokes sessions:
//
//	store, err := session.Open(ctx, supertokens.Options{URL: url}, session.Config{})
//	found, err := store.VerifyAccess(ctx, token, session.Check{})
//	user, err := store.User(ctx, found)
//
// A token is good when its signature is by a key of the app, it has not
// expired, and its session is still there: revoking a session means deleting
// its row. Why a token was refused is one of the errors Err…; they never repeat
// any part of it.
package session

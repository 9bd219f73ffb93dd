// Package canonical is the account model that every other package speaks.
//
// A [User] is an account, not a database row: all ways to sign in that belong
// to one person, under the id that applications have stored. Sources produce
// it, mapping reshapes it, targets load it. The package imports nothing of
// ours, so that a plugin author can depend on it alone.
//
// Values that must not leak (password hashes, TOTP secrets, connection
// strings) have types whose every rendering is a shape. The clear value is
// reached only through methods called Reveal or Encode, which makes each use
// easy to find.
package canonical

// Package cutover is what the bridge does in the source database: it keeps the
// logins that are on their way, turns sessions and mailed links into something
// that works exactly once, and checks passwords against their stored hashes.
//
// [Open] adds a schema of its own to the database of a [session.Store]. All that
// must happen once, or be known to every instance, is a row in there and is
// decided by the database: a session is revoked in the transaction that
// redeems the code ([Logins.Redeem]), a link is consumed in the transaction that uses it
// ([Links.ConsumeReset]). Nothing is decided by what a process remembers.
//
// [Grants] lists the least a role needs.
package cutover

// Package signin predicts who can sign in after a move, and how.
//
// An [Account] is what somebody brings along: a password that the target can verify, other
// providers, an address or a number that a code can be sent to, passkeys. A [Target] is
// what the other side offers, as its plugin declares it and its check has found it. The
// two together give, for each way to sign in, whether it works there. An authenticator is
// a second step and no way.
//
// Nothing here is certain that nobody has seen: a way that the plugin declares and no
// check has looked at is unknown, and whoever has such a way is not stranded.
package signin

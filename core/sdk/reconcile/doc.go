// Package reconcile decides what becomes of a user whose account may already be in the
// target, so that every plugin decides alike. A plugin looks the account up and says what
// it shows; [Judge.Found] and [Judge.Absent] say what to do; the plugin writes, reads
// back, and [Judge.Left] makes the state that the host keeps for the next run.
//
// The decisions rest on three things:
//
//   - What the target shows is compared with what is wanted. A value that the target
//     keeps in a form of its own is no difference as long as neither side has changed.
//   - What the target never shows, a password hash for example, is compared with the
//     fingerprint of what was last sent. Where no run has noted one, nobody can tell, and
//     that is what is said: such a part is never taken for equal.
//   - Whose an account is. Only a proof that a load has made it, its mark or the id that
//     the journal knows, has an interrupted load go on with it. A name alone is no proof.
//
// The package does no I/O. Values of its types are safe for concurrent use, except where
// a method says otherwise.
package reconcile

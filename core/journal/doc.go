// Package journal is what runs leave behind for later ones, whatever it is kept in: package
// sqlite keeps it in a folder.
//
// It holds, per account, what was sent, what became of it and which state was
// left in the target. Marks are durable before anything is sent, and outcomes
// before they are counted, so that the process may be killed at any moment: the
// next run knows who is in doubt. It holds no password hash and no personal data
// beyond ids; contents are compared through digests keyed with a key of the
// journal's own, and pre-images are encrypted.
//
// What a [Journal] keeps is divided into scopes, one for each pair of an installation's app
// and a target, so that several configurations can share one. Package journaltest has what
// every kind of journal has to pass.
package journal

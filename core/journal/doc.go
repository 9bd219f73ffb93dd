// Package journal is what runs leave behind for later ones: one SQLite file in a folder of the
// operator's, which any SQLite tool can open.
//
// It holds, per account, what was sent, what became of it and which state was
// left in the target. Marks are durable before anything is sent, and outcomes
// before they are counted, so that the process may be killed at any moment: the
// next run knows who is in doubt. It holds no password hash and no personal data
// beyond ids; contents are compared through digests keyed with a key of the
// journal's own, and pre-images are encrypted.
//
// A [Journal] belongs to one process at a time. What it keeps is divided into
// scopes, one for each pair of an installation's app and a target, so that
// several configurations can share a folder.
package journal

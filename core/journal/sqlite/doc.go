// Package sqlite is the journal in a folder of the operator's: one SQLite file, which any
// SQLite tool can open. It is the default, and as much as one machine needs.
//
// A [Journal] belongs to one process at a time; others may look at it meanwhile. Contents are
// compared through digests keyed with a key of the journal's own. Pre-images are encrypted to
// a key that lies beside the file.
package sqlite

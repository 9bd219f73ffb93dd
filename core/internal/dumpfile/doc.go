// Package dumpfile is what files with dumps have in common, whichever database
// they are of: errors that say where, ways to compress, and the room in which a
// packed file is unpacked.
package dumpfile

// Package duplicates finds values that several accounts have, among more of them than
// memory should hold: values are known by a hash of 64 bits, and wait on disk.
package duplicates

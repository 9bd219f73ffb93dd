// Package shared finds values that several accounts have, among millions of them:
// values are known by a hash of 64 bits, and accounts by their place in the order of
// reading.
package shared

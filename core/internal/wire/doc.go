// Package wire is where Go values become protocol messages and back, together
// with the few constants both ends of the protocol must agree on.
//
// The conversions are pure functions: no I/O, no state, safe for concurrent
// use. Encode goes to the message, Decode comes from it; decoding what was
// encoded gives the same value, with times in UTC and empty slices as nil.
package wire

// Package handover holds the tests of what applications use on the day of the switch: the
// module for browsers, and the same call for back ends in three languages. See docs/bridge.md.
package handover

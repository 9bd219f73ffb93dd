// Package journaltest has what every kind of journal must pass. A kind gives it a [Place] for
// each case and calls [Run] from a test of its own.
package journaltest

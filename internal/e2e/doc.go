// Package e2e has no code: its tests run the built program, as people do, against
// real servers and doubles of them. What they look at is what a user can see:
// exit codes, output, and what is in the target afterwards.
package e2e
